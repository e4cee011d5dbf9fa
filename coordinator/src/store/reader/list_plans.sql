-- A range of ids, so that one plan and all of them are the same question.
SELECT
    p.*,
    CASE WHEN p.state = 'paused' THEN (
        SELECT e.text
        FROM wg_events AS e
        WHERE e.plan_id = p.id AND e.kind = 'plan_paused'
        ORDER BY e.number DESC
        LIMIT 1
    ) END AS pause_text,
    (SELECT count(*) FROM wg_waves AS w WHERE w.plan_id = p.id) AS waves,
    (SELECT count(*) FROM wg_waves AS w WHERE w.plan_id = p.id AND w.state = 'done') AS waves_done,
    (SELECT count(*) FROM wg_tasks AS t WHERE t.plan_id = p.id) AS tasks,
    (SELECT count(*) FROM wg_tasks AS t WHERE t.plan_id = p.id AND t.state IN ('done', 'skipped')) AS tasks_done,
    (SELECT count(*) FROM wg_tasks AS t WHERE t.plan_id = p.id AND t.state = 'leased') AS tasks_running,
    coalesce(u.used_in, 0) AS used_in,
    coalesce(u.used_out, 0) AS used_out,
    coalesce(u.used_cached, 0) AS used_cached,
    u.used_micro_usd,
    coalesce(u.has_unknown_cost, 0) AS has_unknown_cost
FROM wg_plans AS p
LEFT JOIN (
    -- total() instead of sum(): what workers claim may be too much for an integer, and sum() fails then.
    SELECT
        l.plan_id,
        CAST(total(iif(r.lease_id IS NULL, l.progress_in, r.used_in)) AS INTEGER) AS used_in,
        CAST(total(iif(r.lease_id IS NULL, l.progress_out, r.used_out)) AS INTEGER) AS used_out,
        CAST(total(iif(r.lease_id IS NULL, l.progress_cached, r.used_cached)) AS INTEGER) AS used_cached,
        iif(
            count(iif(r.lease_id IS NULL, l.progress_micro_usd, r.used_micro_usd)) > 0,
            CAST(total(iif(r.lease_id IS NULL, l.progress_micro_usd, r.used_micro_usd)) AS INTEGER),
            NULL
        ) AS used_micro_usd,
        max(
            EXISTS (
                SELECT 1
                FROM wg_usage AS m
                WHERE
                    m.lease_id = l.id
                    AND m.micro_usd IS NULL
                    AND m.used_in + m.used_out + m.cache_read + m.cache_write > 0
            )
        ) AS has_unknown_cost
    FROM wg_leases AS l
    -- What a lease without a result was last told to have used is all that is known of it.
    LEFT JOIN wg_results AS r ON r.lease_id = l.id
    WHERE l.plan_id BETWEEN :first AND :last
    GROUP BY l.plan_id
) AS u ON u.plan_id = p.id
WHERE p.switched_on = 1 AND p.id BETWEEN :first AND :last
ORDER BY p.id DESC
