INSERT INTO wg_events (at_ms, kind, plan_id, wave_ix, task_ix, lease_id, worker_id, actor, reason, text)
VALUES (:now, :kind, :plan, :wave_ix, :task_ix, :lease, :worker, :actor, :reason, :text)
