UPDATE wg_tasks
SET
    state = :state,
    reason = :reason,
    not_before_ms = :not_before_ms,
    attempt = :attempt,
    failures = :failures,
    losses = :losses,
    rejections = :rejections,
    evidence_only = :evidence_only,
    awaits_counsel = :awaits_counsel,
    spent_in = :spent_in,
    spent_out = :spent_out,
    spent_cached = :spent_cached,
    spent_micro_usd = :spent_micro_usd,
    budget_tokens = :budget_tokens,
    budget_micro_usd = :budget_micro_usd,
    result_lease = :result_lease,
    result_attempt = :result_attempt,
    result_worker = :result_worker,
    result_changes = :result_changes,
    result_base = :result_base
WHERE plan_id = :plan AND ix = :ix AND state = :was
