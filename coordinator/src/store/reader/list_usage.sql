SELECT
    u.*,
    l.kind,
    l.attempt,
    coalesce(l.runner, '') AS runner,
    coalesce(l.account, '') AS account,
    coalesce(w.key, '') AS wave,
    coalesce(t.key, '') AS task,
    coalesce(k.name, l.worker_id) AS worker_name
FROM wg_usage AS u
INNER JOIN wg_leases AS l ON l.id = u.lease_id
LEFT JOIN wg_waves AS w ON w.plan_id = l.plan_id AND w.ix = l.wave_ix
LEFT JOIN wg_tasks AS t ON t.plan_id = l.plan_id AND t.ix = l.task_ix
LEFT JOIN wg_workers AS k ON k.id = l.worker_id
WHERE l.plan_id = ?1
ORDER BY l.rowid, u.model
