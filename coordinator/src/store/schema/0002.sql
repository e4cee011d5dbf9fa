-- Agents: what they are asked for, what they use, and what is said to them.

-- What was estimated when the plan was approved; null tokens: nothing was kept then.
ALTER TABLE wg_plans ADD COLUMN estimated_standard_tokens INTEGER;
ALTER TABLE wg_plans ADD COLUMN estimated_standard_micro_usd INTEGER;
ALTER TABLE wg_plans ADD COLUMN estimated_max_tokens INTEGER;
ALTER TABLE wg_plans ADD COLUMN estimated_max_micro_usd INTEGER;
ALTER TABLE wg_plans ADD COLUMN estimated_coordinator_tokens INTEGER;
-- The date of the prices by which it was computed.
ALTER TABLE wg_plans ADD COLUMN estimated_prices_date TEXT;

-- What the coordinator's model is to be asked for.
ALTER TABLE wg_waves ADD COLUMN counsel TEXT CHECK (counsel IN ('briefing', 'triage'));
ALTER TABLE wg_waves ADD COLUMN counsel_failures INTEGER NOT NULL DEFAULT 0;

-- 0: no; 1: a coordinate lease is to ask about it; 2: one does.
ALTER TABLE wg_tasks ADD COLUMN awaits_counsel INTEGER NOT NULL DEFAULT 0;
ALTER TABLE wg_tasks ADD COLUMN spent_in INTEGER NOT NULL DEFAULT 0;
ALTER TABLE wg_tasks ADD COLUMN spent_out INTEGER NOT NULL DEFAULT 0;
ALTER TABLE wg_tasks ADD COLUMN spent_cached INTEGER NOT NULL DEFAULT 0;
ALTER TABLE wg_tasks ADD COLUMN spent_micro_usd INTEGER;
ALTER TABLE wg_tasks ADD COLUMN budget_tokens INTEGER;
ALTER TABLE wg_tasks ADD COLUMN budget_micro_usd INTEGER;
-- What an agent's attempts have made so far, where the next one goes on from it.
ALTER TABLE wg_tasks ADD COLUMN has_own INTEGER NOT NULL DEFAULT 0;
ALTER TABLE wg_tasks ADD COLUMN own_changes TEXT;
ALTER TABLE wg_tasks ADD COLUMN own_base TEXT;

-- A task that does not say what an agent may do has the default; null has no meaning any more.
UPDATE wg_tasks SET spec = json_set(spec, '$.permissions', 'edit') WHERE json_type(spec, '$.permissions') = 'null';

-- A CHECK cannot be changed: leases get a new table. Their results, which point to them and would forbid
-- it, are put aside first, and come back with their long texts last. So every reference is checked on its
-- way in, and nothing is renamed, which would change the text of what points to it.
CREATE TABLE wg_results_aside AS SELECT * FROM wg_results;
DROP TABLE wg_results;
CREATE TABLE wg_leases_aside AS SELECT * FROM wg_leases;
DROP TABLE wg_leases;

CREATE TABLE wg_leases (
    id TEXT PRIMARY KEY,
    plan_id INTEGER NOT NULL REFERENCES wg_plans (id),
    wave_ix INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('task', 'integrate', 'validate', 'coordinate')),
    task_ix INTEGER,
    attempt INTEGER,
    candidate TEXT,
    -- A coordinate lease's.
    purpose TEXT CHECK (purpose IN ('briefing', 'triage')),
    -- The tier that it was granted under.
    tier TEXT CHECK (tier IN ('sonnet', 'opus')),
    round INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    worker_id TEXT NOT NULL,
    -- What an agent spends from.
    runner TEXT,
    account TEXT,
    base TEXT,
    lost_after_ms INTEGER NOT NULL,
    granted_ms INTEGER NOT NULL,
    started_ms INTEGER,
    ended_ms INTEGER,
    progress_in INTEGER NOT NULL DEFAULT 0,
    progress_out INTEGER NOT NULL DEFAULT 0,
    progress_cached INTEGER NOT NULL DEFAULT 0,
    progress_micro_usd INTEGER,
    CHECK ((kind = 'task') = (task_ix IS NOT NULL AND attempt IS NOT NULL)),
    CHECK ((kind = 'coordinate') = (purpose IS NOT NULL))
) STRICT;

-- One lease for each attempt at a task.
CREATE UNIQUE INDEX wg_leases_by_task ON wg_leases (plan_id, task_ix, attempt) WHERE task_ix IS NOT NULL;
-- I9: at most one open lease for a task.
CREATE UNIQUE INDEX wg_leases_open_task ON wg_leases (plan_id, task_ix)
WHERE task_ix IS NOT NULL AND state IN ('granted', 'running', 'cancelling', 'unreachable');
CREATE INDEX wg_leases_by_plan ON wg_leases (plan_id, state);
CREATE INDEX wg_leases_open ON wg_leases (worker_id)
WHERE state IN ('granted', 'running', 'cancelling', 'unreachable');

INSERT INTO wg_leases (
    id, plan_id, wave_ix, kind, task_ix, attempt, candidate, round, state, reason, worker_id, base,
    lost_after_ms, granted_ms, started_ms, ended_ms,
    progress_in, progress_out, progress_cached, progress_micro_usd
)
SELECT
    id, plan_id, wave_ix, kind, task_ix, attempt, candidate, round, state, reason, worker_id, base,
    lost_after_ms, granted_ms, started_ms, ended_ms,
    progress_in, progress_out, progress_cached, progress_micro_usd
FROM wg_leases_aside;
DROP TABLE wg_leases_aside;

CREATE TABLE wg_results (
    lease_id TEXT PRIMARY KEY REFERENCES wg_leases (id),
    -- 0: booked only, because the lease was not current any more.
    accepted INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    exit_code INTEGER,
    run_ms INTEGER NOT NULL,
    used_in INTEGER NOT NULL,
    used_out INTEGER NOT NULL,
    used_cached INTEGER NOT NULL,
    used_micro_usd INTEGER,
    changes TEXT,
    changed_files INTEGER NOT NULL,
    candidate TEXT,
    received_ms INTEGER NOT NULL,
    -- The model that answered, and the agent's session; empty where there was none.
    model TEXT NOT NULL DEFAULT '',
    session TEXT NOT NULL DEFAULT '',
    -- Long texts last: what comes before them is read without them.
    summary TEXT NOT NULL,
    output_tail TEXT NOT NULL,
    output_json TEXT NOT NULL,
    -- JSON: a list of texts, what an agent was denied.
    findings TEXT NOT NULL DEFAULT '[]'
) STRICT;

INSERT INTO wg_results (
    lease_id, accepted, outcome, exit_code, run_ms, used_in, used_out, used_cached, used_micro_usd, changes,
    changed_files, candidate, received_ms, summary, output_tail, output_json
)
SELECT
    lease_id, accepted, outcome, exit_code, run_ms, used_in, used_out, used_cached, used_micro_usd, changes,
    changed_files, candidate, received_ms, summary, output_tail, output_json
FROM wg_results_aside;
DROP TABLE wg_results_aside;

-- The ledger: what each model used in each lease.
CREATE TABLE wg_usage (
    lease_id TEXT NOT NULL REFERENCES wg_leases (id),
    model TEXT NOT NULL,
    used_in INTEGER NOT NULL,
    used_out INTEGER NOT NULL,
    cache_read INTEGER NOT NULL,
    cache_write INTEGER NOT NULL,
    micro_usd INTEGER,
    cost_source TEXT NOT NULL CHECK (cost_source IN ('unknown', 'agent', 'prices')),
    -- The date of the price by which the cost was computed; empty where none was.
    price_date TEXT NOT NULL,
    calls INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    -- Its row in token_usage, once the lease has come to an end.
    projected_id INTEGER,
    PRIMARY KEY (lease_id, model)
) STRICT, WITHOUT ROWID;

-- What the coordinator's model said to the executors of a wave.
CREATE TABLE wg_counsels (
    lease_id TEXT PRIMARY KEY REFERENCES wg_leases (id),
    note TEXT NOT NULL,
    -- JSON: a list of [task, guidance].
    tasks TEXT NOT NULL
) STRICT;

-- Accounts that ever were in trouble; the others are open.
CREATE TABLE wg_accounts (
    runner TEXT NOT NULL,
    account TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('open', 'waiting', 'probing', 'refused')),
    trouble TEXT NOT NULL DEFAULT '',
    until_ms INTEGER,
    -- The lease that tries it.
    lease_id TEXT,
    tries INTEGER NOT NULL,
    note TEXT NOT NULL,
    PRIMARY KEY (runner, account)
) STRICT, WITHOUT ROWID;

CREATE TABLE wg_gates (
    verdict_id INTEGER NOT NULL REFERENCES wg_verdicts (id) ON DELETE CASCADE,
    ix INTEGER NOT NULL,
    name TEXT NOT NULL,
    passed INTEGER NOT NULL,
    notes TEXT NOT NULL,
    PRIMARY KEY (verdict_id, ix)
) STRICT, WITHOUT ROWID;

-- runners is now a list of [name, version, account, [model, ...]]; no models: any.
UPDATE wg_workers SET runners = (
    SELECT json_group_array(json_insert(value, '$[#]', json('[]')) ORDER BY key) FROM json_each(runners)
);

-- What existing tools read of tokens and cost: a row for each model of each lease.
CREATE TABLE token_usage (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    project_id TEXT,
    plan_id INTEGER,
    wave_id TEXT,
    task_id TEXT,
    agent TEXT,
    model TEXT,
    input_tokens INTEGER,
    output_tokens INTEGER,
    cost_usd REAL,
    created_at TEXT,
    execution_host TEXT
);
