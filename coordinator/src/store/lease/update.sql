UPDATE wg_leases
SET
    state = :state,
    reason = :reason,
    started_ms = :started_ms,
    ended_ms = :ended_ms,
    progress_in = :progress_in,
    progress_out = :progress_out,
    progress_cached = :progress_cached,
    progress_micro_usd = :progress_micro_usd
WHERE id = :id AND state = :was
