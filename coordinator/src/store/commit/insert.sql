INSERT OR REPLACE INTO wg_commits (
    plan_id, wave_ix, ix, lease_id, task_key, commit_id, subject, branch, request, at_ms
)
SELECT plan_id, wave_ix, :ix, id, :task_key, :commit_id, :subject, :branch, :request, :now
FROM wg_leases
WHERE id = :lease
