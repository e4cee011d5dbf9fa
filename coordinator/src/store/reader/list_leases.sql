SELECT
    l.*,
    coalesce(k.name, l.worker_id) AS worker_name,
    r.outcome,
    r.accepted,
    r.exit_code,
    r.summary,
    r.output_tail,
    r.output_json,
    r.run_ms,
    r.used_in,
    r.used_out,
    r.used_cached,
    r.used_micro_usd,
    r.model,
    r.session,
    r.findings
FROM wg_leases AS l
LEFT JOIN wg_workers AS k ON k.id = l.worker_id
LEFT JOIN wg_results AS r ON r.lease_id = l.id
WHERE l.plan_id = ?1
ORDER BY l.rowid
