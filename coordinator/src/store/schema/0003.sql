-- Repositories: publishing by leases, and what tasks are built on.

-- JSON: places of tasks of the wave that its result conflicted with; the next attempt is built on theirs.
ALTER TABLE wg_tasks ADD COLUMN built_on TEXT NOT NULL DEFAULT '[]';

-- A CHECK cannot be changed: leases get a new table. What points to them is put aside, so that every reference
-- is checked on its way back.
CREATE TABLE wg_results_aside AS SELECT * FROM wg_results;
CREATE TABLE wg_usage_aside AS SELECT * FROM wg_usage;
CREATE TABLE wg_counsels_aside AS SELECT * FROM wg_counsels;
CREATE TABLE wg_leases_aside AS SELECT * FROM wg_leases;
DELETE FROM wg_results;
DELETE FROM wg_usage;
DELETE FROM wg_counsels;
DROP TABLE wg_leases;

CREATE TABLE wg_leases (
    id TEXT PRIMARY KEY,
    plan_id INTEGER NOT NULL REFERENCES wg_plans (id),
    wave_ix INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('task', 'integrate', 'validate', 'coordinate', 'publish')),
    task_ix INTEGER,
    attempt INTEGER,
    -- What is judged or published.
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
    CHECK ((kind = 'coordinate') = (purpose IS NOT NULL)),
    CHECK ((kind IN ('validate', 'publish')) = (candidate IS NOT NULL))
) STRICT;

-- One lease for each attempt at a task.
CREATE UNIQUE INDEX wg_leases_by_task ON wg_leases (plan_id, task_ix, attempt) WHERE task_ix IS NOT NULL;
-- I9: at most one open lease for a task.
CREATE UNIQUE INDEX wg_leases_open_task ON wg_leases (plan_id, task_ix)
WHERE task_ix IS NOT NULL AND state IN ('granted', 'running', 'cancelling', 'unreachable');
CREATE INDEX wg_leases_by_plan ON wg_leases (plan_id, state);
CREATE INDEX wg_leases_open ON wg_leases (worker_id)
WHERE state IN ('granted', 'running', 'cancelling', 'unreachable');

INSERT INTO wg_leases SELECT
    id, plan_id, wave_ix, kind, task_ix, attempt, candidate, purpose, tier, round, state, reason, worker_id, runner,
    account, base, lost_after_ms, granted_ms, started_ms, ended_ms, progress_in, progress_out, progress_cached,
    progress_micro_usd
FROM wg_leases_aside;
INSERT INTO wg_results SELECT * FROM wg_results_aside;
INSERT INTO wg_usage SELECT * FROM wg_usage_aside;
INSERT INTO wg_counsels SELECT * FROM wg_counsels_aside;
DROP TABLE wg_leases_aside;
DROP TABLE wg_results_aside;
DROP TABLE wg_usage_aside;
DROP TABLE wg_counsels_aside;

-- What reached a repository.
CREATE TABLE wg_commits (
    plan_id INTEGER NOT NULL REFERENCES wg_plans (id),
    wave_ix INTEGER NOT NULL,
    ix INTEGER NOT NULL,
    lease_id TEXT NOT NULL REFERENCES wg_leases (id),
    task_key TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- Empty where no branch was moved.
    branch TEXT NOT NULL,
    -- The address of the request that holds it; empty where there is none.
    request TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    PRIMARY KEY (plan_id, wave_ix, ix)
) STRICT, WITHOUT ROWID;
