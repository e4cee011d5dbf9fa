INSERT INTO token_usage (
    project_id, plan_id, wave_id, task_id, agent, model, input_tokens, output_tokens, cost_usd, created_at, execution_host
)
SELECT
    p.project_id,
    l.plan_id,
    w.key,
    t.key,
    CASE
        WHEN l.kind <> 'task' THEN coalesce(l.runner || '/', '') || l.kind
        ELSE coalesce(l.runner, json_extract(t.spec, '$.runner'))
    END,
    u.model,
    u.used_in + u.cache_write + u.cache_read,
    u.used_out,
    u.micro_usd / 1000000.0,
    datetime(:now / 1000, 'unixepoch'),
    k.host
FROM wg_usage AS u
INNER JOIN wg_leases AS l ON l.id = u.lease_id
INNER JOIN wg_waves AS w ON w.plan_id = l.plan_id AND w.ix = l.wave_ix
LEFT JOIN wg_tasks AS t ON t.plan_id = l.plan_id AND t.ix = l.task_ix
LEFT JOIN plans AS p ON p.id = l.plan_id
LEFT JOIN wg_workers AS k ON k.id = l.worker_id
WHERE u.lease_id = :lease AND u.model = :model
