SELECT *
FROM wg_leases
WHERE plan_id = :plan AND state IN ('granted', 'running', 'cancelling', 'unreachable', 'lost')
ORDER BY id
