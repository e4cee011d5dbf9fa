INSERT INTO wg_leases (
    id, plan_id, wave_ix, kind, task_ix, attempt, candidate, purpose, tier, round, state, worker_id,
    runner, account, base, lost_after_ms, granted_ms
) VALUES (
    :id, :plan, :wave_ix, :kind, :task_ix, :attempt, :candidate, :purpose, :tier, :round, :state, :worker,
    :runner, :account, :base, :lost_after_ms, :granted_ms
)
