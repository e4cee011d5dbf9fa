INSERT INTO wg_evidence (verdict_id, ix, task_key, command, exit_code, timed_out, output_tail, run_ms)
VALUES (:verdict, :ix, :task_key, :command, :exit_code, :timed_out, :output_tail, :run_ms)
