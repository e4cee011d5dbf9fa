UPDATE wg_waves
SET
    state = :state,
    reason = :reason,
    round = :round,
    candidate = :candidate,
    target = :target,
    target_moves = :target_moves,
    integrate_failures = :integrate_failures,
    validate_failures = :validate_failures,
    counsel = :counsel,
    counsel_failures = :counsel_failures
WHERE plan_id = :plan AND ix = :ix AND state = :was
