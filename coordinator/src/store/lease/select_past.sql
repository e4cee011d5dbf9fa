SELECT l.*, r.accepted
FROM wg_leases AS l
LEFT JOIN wg_results AS r ON r.lease_id = l.id
WHERE l.id = ?1
