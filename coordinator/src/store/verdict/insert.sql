INSERT INTO wg_verdicts (plan_id, wave_ix, round, candidate, source, decision, judge, note, at_ms)
VALUES (:plan, :wave_ix, :round, :candidate, :source, :decision, :judge, :note, :now)
