-- As bytes: another program may write anything into the column.
SELECT p.id, CAST(p.parallel_mode AS BLOB) AS parallel_mode
FROM plans AS p
INNER JOIN wg_plans AS w ON w.id = p.id
WHERE
    w.switched_on = 1
    AND w.state NOT IN ('done', 'cancelled')
    AND p.parallel_mode IS NOT w.mode
ORDER BY p.id
