SELECT
    l.*,
    p.name AS plan_name,
    w.key AS wave_key,
    t.key AS task_key
FROM wg_leases AS l
INNER JOIN wg_plans AS p ON p.id = l.plan_id
INNER JOIN wg_waves AS w ON w.plan_id = l.plan_id AND w.ix = l.wave_ix
LEFT JOIN wg_tasks AS t ON t.plan_id = l.plan_id AND t.ix = l.task_ix
WHERE l.state IN ('granted', 'running', 'cancelling', 'unreachable')
ORDER BY l.rowid
