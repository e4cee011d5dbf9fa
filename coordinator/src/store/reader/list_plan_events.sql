SELECT
    e.*,
    w.key AS wave_key,
    t.key AS task_key,
    coalesce(k.name, e.worker_id) AS worker_name
FROM wg_events AS e
LEFT JOIN wg_waves AS w ON w.plan_id = e.plan_id AND w.ix = e.wave_ix
LEFT JOIN wg_tasks AS t ON t.plan_id = e.plan_id AND t.ix = e.task_ix
LEFT JOIN wg_workers AS k ON k.id = e.worker_id
WHERE e.plan_id = :plan AND e.number > :after
ORDER BY e.number
LIMIT :limit
