-- Times are milliseconds since 1970 UTC. Digests and lease ids are lower-case hex.
CREATE TABLE wg_meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE wg_epochs (
    counter INTEGER PRIMARY KEY,
    nonce TEXT NOT NULL,
    started_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE wg_plans (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    -- 0 while its waves and tasks are still being stored: nobody sees it then.
    switched_on INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL CHECK (state IN ('awaiting_approval', 'running', 'paused', 'done', 'blocked', 'cancelled')),
    reason TEXT NOT NULL DEFAULT '',
    mode TEXT CHECK (mode IN ('standard', 'max')),
    tier TEXT CHECK (tier IN ('sonnet', 'opus')),
    file_name TEXT NOT NULL,
    submitted_by TEXT NOT NULL,
    base TEXT,
    tree TEXT,
    spent_in INTEGER NOT NULL DEFAULT 0,
    spent_out INTEGER NOT NULL DEFAULT 0,
    spent_cached INTEGER NOT NULL DEFAULT 0,
    spent_micro_usd INTEGER,
    budget_tokens INTEGER,
    budget_micro_usd INTEGER,
    created_ms INTEGER NOT NULL,
    approved_ms INTEGER,
    ended_ms INTEGER,
    -- I2: max runs under opus.
    CHECK (mode IS NOT 'max' OR tier = 'opus'),
    -- I3: nothing starts without a mode.
    CHECK (state IN ('awaiting_approval', 'cancelled') OR mode IS NOT NULL)
) STRICT;

-- Apart from the plan's row, which is written again with every result: these may be megabytes.
CREATE TABLE wg_plan_texts (
    plan_id INTEGER PRIMARY KEY REFERENCES wg_plans (id) ON DELETE CASCADE,
    -- The plan without its waves, as JSON.
    head TEXT NOT NULL,
    -- The file as it was submitted.
    source TEXT NOT NULL
) STRICT;

CREATE TABLE wg_waves (
    plan_id INTEGER NOT NULL REFERENCES wg_plans (id) ON DELETE CASCADE,
    ix INTEGER NOT NULL,
    key TEXT NOT NULL,
    -- The wave without its tasks, as JSON.
    spec TEXT NOT NULL,
    first_task INTEGER NOT NULL,
    task_count INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting',
    reason TEXT NOT NULL DEFAULT '',
    round INTEGER NOT NULL DEFAULT 1,
    candidate TEXT,
    target TEXT,
    target_moves INTEGER NOT NULL DEFAULT 0,
    integrate_failures INTEGER NOT NULL DEFAULT 0,
    validate_failures INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (plan_id, ix)
) STRICT, WITHOUT ROWID;

CREATE TABLE wg_tasks (
    plan_id INTEGER NOT NULL REFERENCES wg_plans (id) ON DELETE CASCADE,
    ix INTEGER NOT NULL,
    wave_ix INTEGER NOT NULL,
    key TEXT NOT NULL,
    -- The whole task, as JSON.
    spec TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending',
    reason TEXT NOT NULL DEFAULT '',
    not_before_ms INTEGER,
    attempt INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    losses INTEGER NOT NULL DEFAULT 0,
    rejections INTEGER NOT NULL DEFAULT 0,
    evidence_only INTEGER NOT NULL DEFAULT 0,
    -- The newest accepted successful result.
    result_lease TEXT,
    result_attempt INTEGER,
    result_worker TEXT,
    result_changes TEXT,
    result_base TEXT,
    PRIMARY KEY (plan_id, ix)
) STRICT;

-- Lists of plans count tasks by state without reading their texts.
CREATE INDEX wg_tasks_by_state ON wg_tasks (plan_id, state);

CREATE TABLE wg_leases (
    id TEXT PRIMARY KEY,
    plan_id INTEGER NOT NULL REFERENCES wg_plans (id),
    wave_ix INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('task', 'integrate', 'validate')),
    task_ix INTEGER,
    attempt INTEGER,
    candidate TEXT,
    round INTEGER NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    worker_id TEXT NOT NULL,
    base TEXT,
    lost_after_ms INTEGER NOT NULL,
    granted_ms INTEGER NOT NULL,
    started_ms INTEGER,
    ended_ms INTEGER,
    progress_in INTEGER NOT NULL DEFAULT 0,
    progress_out INTEGER NOT NULL DEFAULT 0,
    progress_cached INTEGER NOT NULL DEFAULT 0,
    progress_micro_usd INTEGER,
    CHECK ((kind = 'task') = (task_ix IS NOT NULL AND attempt IS NOT NULL))
) STRICT;

-- One lease for each attempt at a task.
CREATE UNIQUE INDEX wg_leases_by_task ON wg_leases (plan_id, task_ix, attempt) WHERE task_ix IS NOT NULL;
-- I9: at most one open lease for a task.
CREATE UNIQUE INDEX wg_leases_open_task ON wg_leases (plan_id, task_ix)
WHERE task_ix IS NOT NULL AND state IN ('granted', 'running', 'cancelling', 'unreachable');
CREATE INDEX wg_leases_by_plan ON wg_leases (plan_id, state);
CREATE INDEX wg_leases_open ON wg_leases (worker_id)
WHERE state IN ('granted', 'running', 'cancelling', 'unreachable');

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
    -- Long texts last: what comes before them is read without them.
    summary TEXT NOT NULL,
    output_tail TEXT NOT NULL,
    output_json TEXT NOT NULL
) STRICT;

CREATE TABLE wg_verdicts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    plan_id INTEGER NOT NULL REFERENCES wg_plans (id),
    wave_ix INTEGER NOT NULL,
    round INTEGER NOT NULL,
    candidate TEXT,
    source TEXT NOT NULL,
    decision TEXT NOT NULL,
    -- Who: a worker's name or a person.
    judge TEXT NOT NULL,
    note TEXT NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX wg_verdicts_by_wave ON wg_verdicts (plan_id, wave_ix);

CREATE TABLE wg_findings (
    verdict_id INTEGER NOT NULL REFERENCES wg_verdicts (id) ON DELETE CASCADE,
    ix INTEGER NOT NULL,
    -- Empty: the whole wave.
    task_key TEXT NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (verdict_id, ix)
) STRICT, WITHOUT ROWID;

CREATE TABLE wg_evidence (
    verdict_id INTEGER NOT NULL REFERENCES wg_verdicts (id) ON DELETE CASCADE,
    ix INTEGER NOT NULL,
    task_key TEXT NOT NULL,
    command TEXT NOT NULL,
    exit_code INTEGER,
    timed_out INTEGER NOT NULL,
    output_tail TEXT NOT NULL,
    run_ms INTEGER NOT NULL,
    PRIMARY KEY (verdict_id, ix)
) STRICT, WITHOUT ROWID;

CREATE TABLE wg_workers (
    id TEXT PRIMARY KEY,
    instance TEXT NOT NULL,
    name TEXT NOT NULL,
    host TEXT NOT NULL,
    version TEXT NOT NULL,
    -- Words, separated by spaces.
    roles TEXT NOT NULL,
    -- JSON: a list of [name, version, account].
    runners TEXT NOT NULL,
    -- JSON: a list of texts.
    labels TEXT NOT NULL,
    slots INTEGER,
    draining INTEGER NOT NULL,
    first_seen_ms INTEGER NOT NULL,
    last_seen_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE wg_events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    plan_id INTEGER,
    wave_ix INTEGER,
    task_ix INTEGER,
    lease_id TEXT,
    worker_id TEXT,
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    text TEXT NOT NULL
) STRICT;

CREATE INDEX wg_events_by_plan ON wg_events (plan_id, number);

-- What existing tools read, and the one column that they write: parallel_mode, a request.
CREATE TABLE plans (
    id INTEGER PRIMARY KEY,
    project_id TEXT NOT NULL,
    name TEXT NOT NULL,
    source_file TEXT,
    status TEXT NOT NULL DEFAULT 'todo' CHECK (status IN ('todo', 'doing', 'done', 'cancelled')),
    tasks_total INTEGER NOT NULL DEFAULT 0,
    tasks_done INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL,
    started_at TEXT,
    completed_at TEXT,
    cancelled_at TEXT,
    updated_at TEXT NOT NULL,
    description TEXT,
    parallel_mode TEXT,
    UNIQUE (project_id, name)
);
