SELECT *
FROM wg_plans AS p
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
