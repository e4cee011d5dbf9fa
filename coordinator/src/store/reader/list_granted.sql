-- Task leases by the events of their grants, which have a number to go on from.
SELECT l.*, t.key, e.number AS event_number
FROM wg_events AS e
INNER JOIN wg_leases AS l ON l.id = e.lease_id
INNER JOIN wg_tasks AS t ON t.plan_id = l.plan_id AND t.ix = l.task_ix
WHERE e.plan_id = :plan AND e.number > :after AND e.kind = 'lease_granted' AND (:task IS NULL OR t.key = :task)
ORDER BY e.number
LIMIT :limit
