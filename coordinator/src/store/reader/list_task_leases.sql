SELECT l.*, t.key
FROM wg_leases AS l
INNER JOIN wg_tasks AS t ON t.plan_id = l.plan_id AND t.ix = l.task_ix
WHERE l.plan_id = :plan AND (:task IS NULL OR t.key = :task)
ORDER BY l.rowid
