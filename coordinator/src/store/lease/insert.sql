INSERT INTO wg_leases (
    id, plan_id, wave_ix, kind, task_ix, attempt, candidate, round, state, worker_id, base, lost_after_ms, granted_ms
) VALUES (
    :id, :plan, :wave_ix, :kind, :task_ix, :attempt, :candidate, :round, :state, :worker, :base, :lost_after_ms, :granted_ms
)
