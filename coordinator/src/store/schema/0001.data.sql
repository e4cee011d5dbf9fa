INSERT INTO wg_meta (key, value) VALUES
('database_id', '0123456789abcdef0123456789abcdef'),
('clean_stop', '0');
INSERT INTO wg_epochs (nonce, started_ms) VALUES ('fedcba9876543210fedcba9876543210', 1);
INSERT INTO wg_plans (name, switched_on, state, mode, tier, file_name, submitted_by, created_ms, approved_ms)
VALUES ('greet', 1, 'running', 'standard', 'sonnet', 'greet.yaml', 'ada', 1, 2);
INSERT INTO wg_plan_texts (plan_id, head, source)
VALUES (1, '{"name":"greet","project":{"workspace":"dir"},"waves":[]}', 'name: greet' || char(10));
INSERT INTO wg_waves (plan_id, ix, key, spec, first_task, task_count, state, round)
VALUES (1, 0, 'W1', '{"key":"W1","depends_on":[],"tasks":[]}', 0, 2, 'running', 2);
INSERT INTO wg_tasks (
    plan_id, ix, wave_ix, key, spec, state, attempt, result_lease, result_attempt, result_worker
) VALUES (
    1, 0, 0, 'T1-01',
    '{"key":"T1-01","title":"Greet","work":{"run":"true"},"runner":"shell","effort":1,"priority":1,
      "timeout_ms":1000,"max_failures":3,"on_lost":"retry"}',
    'submitted', 1, '00000000000000000000000000000001', 1, 'worker-1'
);
INSERT INTO wg_tasks (plan_id, ix, wave_ix, key, spec, state, attempt) VALUES (
    1, 1, 0, 'T1-02',
    '{"key":"T1-02","title":"Smile","work":{"do":"Smile"},"runner":"claude","effort":2,"priority":0,
      "timeout_ms":1000,"max_failures":3,"on_lost":"hold"}',
    'leased', 1
);
INSERT INTO wg_leases (
    id, plan_id, wave_ix, kind, task_ix, attempt, round, state, worker_id, lost_after_ms, granted_ms, ended_ms
) VALUES
('00000000000000000000000000000001', 1, 0, 'task', 0, 1, 1, 'finished', 'worker-1', 900000, 3, 4),
('00000000000000000000000000000002', 1, 0, 'task', 1, 1, 2, 'running', 'worker-1', 900000, 5, NULL);
INSERT INTO wg_results (
    lease_id, accepted, outcome, run_ms, used_in, used_out, used_cached, changed_files, received_ms,
    summary, output_tail, output_json
) VALUES ('00000000000000000000000000000001', 1, 'succeeded', 1, 0, 0, 0, 1, 4, 'Said hello', '', '');
INSERT INTO wg_verdicts (plan_id, wave_ix, round, source, decision, judge, note, at_ms)
VALUES (1, 0, 1, 'thor', 'rejected', 'thor-1', '', 4);
INSERT INTO wg_findings (verdict_id, ix, task_key, text) VALUES (1, 0, 'T1-02', 'no greeting');
INSERT INTO wg_evidence (verdict_id, ix, task_key, command, exit_code, timed_out, output_tail, run_ms)
VALUES (1, 0, 'T1-02', 'test -s hello.txt', 1, 0, '', 2);
INSERT INTO wg_workers (
    id, instance, name, host, version, roles, runners, labels, slots, draining, first_seen_ms, last_seen_ms
) VALUES ('worker-1', 'i', 'anvil', 'host', '0.1.0', 'executor thor', '[["shell","1",""]]', '[]', 2, 0, 1, 5);
INSERT INTO wg_events (at_ms, kind, plan_id, actor, reason, text)
VALUES (2, 'plan_approved', 1, 'ada', '', 'by ada');
INSERT INTO plans (id, project_id, name, status, tasks_total, created_at, updated_at, parallel_mode)
VALUES (1, 'wavegate', 'greet', 'doing', 2, '2025-06-15 11:06:40', '2025-06-15 11:06:40', 'standard');
