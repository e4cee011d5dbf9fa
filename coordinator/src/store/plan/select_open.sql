SELECT
    p.*,
    x.head,
    CAST(d.parallel_mode AS BLOB) AS parallel_mode
FROM wg_plans AS p
INNER JOIN wg_plan_texts AS x ON x.plan_id = p.id
LEFT JOIN plans AS d ON d.id = p.id
WHERE
    p.switched_on = 1
    AND (
        p.state NOT IN ('done', 'cancelled')
        OR EXISTS (
            SELECT 1
            FROM wg_leases AS l
            WHERE l.plan_id = p.id AND l.state IN ('granted', 'running', 'cancelling', 'unreachable')
        )
    )
ORDER BY p.id
