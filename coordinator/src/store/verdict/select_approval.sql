-- The word by which the wave's candidate is approved: the newest one that approves.
SELECT round, source, judge, note
FROM wg_verdicts
WHERE plan_id = ?1 AND wave_ix = ?2 AND decision = 'approved'
ORDER BY id DESC
LIMIT 1
