-- The id before the name: a plan may be named like another's number.
SELECT id
FROM wg_plans
WHERE switched_on = 1 AND (id = :id OR name = :name)
ORDER BY id IS NOT :id
LIMIT 1
