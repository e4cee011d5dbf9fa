INSERT INTO wg_meta (key, value) VALUES
('database_id', '0123456789abcdef0123456789abcdef'),
('clean_stop', '0');
INSERT INTO wg_epochs (nonce, started_ms) VALUES ('fedcba9876543210fedcba9876543210', 1);
INSERT INTO wg_plans (
    name, switched_on, state, mode, tier, file_name, submitted_by, spent_in, spent_micro_usd, budget_micro_usd,
    created_ms, approved_ms, estimated_standard_tokens, estimated_standard_micro_usd, estimated_max_tokens,
    estimated_max_micro_usd, estimated_coordinator_tokens, estimated_prices_date
) VALUES (
    'greet', 1, 'running', 'max', 'opus', 'greet.yaml', 'ada', 7, 2000, 5000000, 1, 2, 90000, 288000, 80000,
    NULL, 50000, '2026-11-23'
);
INSERT INTO wg_plan_texts (plan_id, head, source)
VALUES (
    1,
    '{"name":"greet","project":{"workspace":"dir"},"thor":"agent",
      "thor_agent":{"runner":"claude","model":"sonnet"},"coordinator_runner":"claude","waves":[]}',
    'name: greet' || char(10)
);
INSERT INTO wg_waves (
    plan_id, ix, key, spec, first_task, task_count, state, round, counsel, counsel_failures
) VALUES (1, 0, 'W1', '{"key":"W1","depends_on":[],"tasks":[]}', 0, 2, 'running', 2, 'triage', 1);
INSERT INTO wg_tasks (
    plan_id, ix, wave_ix, key, spec, state, attempt, spent_in, spent_micro_usd, budget_micro_usd,
    result_lease, result_attempt, result_worker, has_own, built_on
) VALUES (
    1, 0, 0, 'T1-01',
    '{"key":"T1-01","title":"Greet","work":{"do":"Greet"},"runner":"claude","effort":1,"priority":1,
      "timeout_ms":1000,"max_failures":3,"on_lost":"retry","permissions":"read","allowed_tools":["Read"],
      "budget":{"tokens":null,"micro_usd":9000}}',
    'submitted', 1, 7, 2000, 9000, '00000000000000000000000000000001', 1, 'worker-1', 1, '[1]'
);
INSERT INTO wg_tasks (plan_id, ix, wave_ix, key, spec, state, attempt, awaits_counsel) VALUES (
    1, 1, 0, 'T1-02',
    '{"key":"T1-02","title":"Smile","work":{"do":"Smile"},"runner":"claude","effort":2,"priority":0,
      "timeout_ms":1000,"max_failures":3,"on_lost":"hold","permissions":"edit"}',
    'leased', 1, 1
);
INSERT INTO wg_leases (
    id, plan_id, wave_ix, kind, task_ix, attempt, purpose, tier, round, state, worker_id, runner, account,
    lost_after_ms, granted_ms, ended_ms
) VALUES
(
    '00000000000000000000000000000001', 1, 0, 'task', 0, 1, NULL, 'opus', 1, 'finished', 'worker-1',
    'claude', 'acc-1', 900000, 3, 4
),
(
    '00000000000000000000000000000002', 1, 0, 'task', 1, 1, NULL, 'opus', 2, 'running', 'worker-1',
    'claude', 'acc-1', 900000, 5, NULL
),
(
    '00000000000000000000000000000003', 1, 0, 'coordinate', NULL, NULL, 'briefing', 'opus', 1, 'finished',
    'worker-1', 'claude', 'acc-1', 900000, 2, 3
);
INSERT INTO wg_results (
    lease_id, accepted, outcome, run_ms, used_in, used_out, used_cached, used_micro_usd, changed_files,
    received_ms, model, session, summary, output_tail, output_json, findings
) VALUES
(
    '00000000000000000000000000000001', 1, 'succeeded', 1, 7, 0, 0, 2000, 1, 4, 'sonnet', 'session-1',
    'Said hello', '', '', '["no network"]'
),
('00000000000000000000000000000003', 1, 'succeeded', 1, 0, 0, 0, NULL, 0, 3, 'opus', '', '', '', '', '[]');
INSERT INTO wg_usage (
    lease_id, model, used_in, used_out, cache_read, cache_write, micro_usd, cost_source, price_date, calls, at_ms,
    projected_id
) VALUES ('00000000000000000000000000000001', 'sonnet', 7, 0, 0, 0, 2000, 'prices', '2026-11-23', 1, 4, 1);
INSERT INTO wg_counsels (lease_id, note, tasks)
VALUES ('00000000000000000000000000000003', 'Be kind', '[["T1-02","With teeth"]]');
INSERT INTO wg_leases (
    id, plan_id, wave_ix, kind, candidate, round, state, worker_id, lost_after_ms, granted_ms, ended_ms
) VALUES (
    '00000000000000000000000000000004', 1, 0, 'publish',
    '0101010101010101010101010101010101010101010101010101010101010101', 1, 'finished', 'worker-1', 900000, 4, 5
);
INSERT INTO wg_commits (plan_id, wave_ix, ix, lease_id, task_key, commit_id, subject, branch, request, at_ms)
VALUES (
    1, 0, 0, '00000000000000000000000000000004', 'T1-01', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'Greet',
    'main', '', 5
);
INSERT INTO wg_accounts (runner, account, state, trouble, until_ms, tries, note)
VALUES ('claude', 'acc-1', 'waiting', 'usage_limit', 9, 1, 'resets at nine');
INSERT INTO wg_verdicts (plan_id, wave_ix, round, source, decision, judge, note, at_ms)
VALUES (1, 0, 1, 'thor', 'rejected', 'thor-1', '', 4);
INSERT INTO wg_findings (verdict_id, ix, task_key, text) VALUES (1, 0, 'T1-02', 'no greeting');
INSERT INTO wg_evidence (verdict_id, ix, task_key, command, exit_code, timed_out, output_tail, run_ms)
VALUES (1, 0, 'T1-02', 'test -s hello.txt', 1, 0, '', 2);
INSERT INTO wg_gates (verdict_id, ix, name, passed, notes) VALUES (1, 0, 'kindness', 0, 'none');
INSERT INTO wg_workers (
    id, instance, name, host, version, roles, runners, labels, slots, draining, first_seen_ms, last_seen_ms
) VALUES (
    'worker-1', 'i', 'anvil', 'host', '0.1.0', 'executor thor',
    '[["shell","1","",[]],["claude","2","acc-1",["sonnet","opus"]]]', '[]', 2, 0, 1, 5
);
INSERT INTO wg_events (at_ms, kind, plan_id, actor, reason, text)
VALUES (2, 'plan_approved', 1, 'ada', '', 'by ada');
INSERT INTO plans (id, project_id, name, status, tasks_total, created_at, updated_at, parallel_mode)
VALUES (1, 'wavegate', 'greet', 'doing', 2, '2025-06-15 11:06:40', '2025-06-15 11:06:40', 'max');
INSERT INTO token_usage (project_id, plan_id, wave_id, task_id, agent, model, input_tokens, output_tokens, cost_usd)
VALUES ('wavegate', 1, 'W1', 'T1-01', 'claude', 'sonnet', 7, 0, 0.002);
