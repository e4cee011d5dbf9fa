SELECT r.summary, r.output_json
FROM wg_tasks AS t
INNER JOIN wg_results AS r ON r.lease_id = t.result_lease
WHERE t.plan_id = ?1 AND t.ix = ?2
