SELECT f.task_key, f.text
FROM wg_findings AS f
WHERE
    f.verdict_id = (
        SELECT max(v.id)
        FROM wg_verdicts AS v
        INNER JOIN wg_findings AS g ON g.verdict_id = v.id
        WHERE
            v.plan_id = :plan
            AND v.wave_ix = :wave_ix
            AND v.decision IN ('rejected', 'challenged', 'escalated')
            AND g.task_key IN (:key, '')
    )
    AND f.task_key IN (:key, '')
ORDER BY f.ix
