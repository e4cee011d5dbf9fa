UPDATE wg_plans
SET
    state = :state,
    reason = :reason,
    mode = :mode,
    tier = :tier,
    tree = :tree,
    spent_in = :spent_in,
    spent_out = :spent_out,
    spent_cached = :spent_cached,
    spent_micro_usd = :spent_micro_usd,
    budget_tokens = :budget_tokens,
    budget_micro_usd = :budget_micro_usd,
    approved_ms = :approved_ms,
    ended_ms = :ended_ms
WHERE id = :id AND state = :was
