SELECT
    p.*,
    (SELECT count(*) FROM wg_waves AS w WHERE w.plan_id = p.id) AS waves,
    (SELECT count(*) FROM wg_waves AS w WHERE w.plan_id = p.id AND w.state = 'done') AS waves_done,
    (SELECT count(*) FROM wg_tasks AS t WHERE t.plan_id = p.id) AS tasks,
    (SELECT count(*) FROM wg_tasks AS t WHERE t.plan_id = p.id AND t.state IN ('done', 'skipped')) AS tasks_done,
    (SELECT count(*) FROM wg_tasks AS t WHERE t.plan_id = p.id AND t.state = 'leased') AS tasks_running,
    coalesce(u.used_in, 0) AS used_in,
    coalesce(u.used_out, 0) AS used_out,
    coalesce(u.used_cached, 0) AS used_cached,
    u.used_micro_usd
FROM wg_plans AS p
LEFT JOIN (
    SELECT
        l.plan_id,
        sum(r.used_in) AS used_in,
        sum(r.used_out) AS used_out,
        sum(r.used_cached) AS used_cached,
        sum(r.used_micro_usd) AS used_micro_usd
    FROM wg_results AS r
    INNER JOIN wg_leases AS l ON l.id = r.lease_id
    WHERE :plan IS NULL OR l.plan_id = :plan
    GROUP BY l.plan_id
) AS u ON u.plan_id = p.id
WHERE p.switched_on = 1 AND (:plan IS NULL OR p.id = :plan)
ORDER BY p.id DESC
