INSERT INTO wg_results (
    lease_id, accepted, outcome, exit_code, summary, output_tail, output_json, run_ms,
    used_in, used_out, used_cached, used_micro_usd, changes, changed_files, candidate, received_ms,
    model, session, findings
) VALUES (
    :lease, :accepted, :outcome, :exit_code, :summary, :output_tail, :output_json, :run_ms,
    :used_in, :used_out, :used_cached, :used_micro_usd, :changes, :changed_files, :candidate, :now,
    :model, :session, :findings
)
-- Only a copy of a result that is booked meets another; an accepted one that does is an error (I5).
ON CONFLICT (lease_id) DO UPDATE SET received_ms = received_ms WHERE excluded.accepted = 0
