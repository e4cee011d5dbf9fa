SELECT
    c.note,
    c.tasks,
    l.wave_ix,
    l.purpose,
    l.round,
    coalesce(k.name, l.worker_id) AS worker_name,
    r.model,
    r.used_in,
    r.used_out,
    r.used_cached,
    r.used_micro_usd,
    r.received_ms
FROM wg_counsels AS c
INNER JOIN wg_leases AS l ON l.id = c.lease_id
INNER JOIN wg_results AS r ON r.lease_id = c.lease_id
LEFT JOIN wg_workers AS k ON k.id = l.worker_id
WHERE l.plan_id = ?1
ORDER BY r.rowid
