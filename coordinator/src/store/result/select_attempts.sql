-- Every attempt at a task that came to an end with a word, newest first.
SELECT l.attempt, l.worker_id, r.outcome, r.summary, r.session
FROM wg_leases AS l
INNER JOIN wg_results AS r ON r.lease_id = l.id
WHERE l.plan_id = ?1 AND l.task_ix = ?2
ORDER BY l.attempt DESC
