//! Messages of a session.

use wavegate_engine::{
    Commit, Conflict, CostSource, Counsel, Digest, Hello, LeaseId, LeaseRow, LeaseWork, ModelUsage, Outcome,
    Published, Purpose, ReleaseReason, Report, Role, Runner, SessionEvent, SessionId, Talk, WorkerId,
    spec::{MergeMode, ProjectSpec, WorkSpec, WorkspaceKind},
};
use wavegate_proto::{PROTOCOL_VERSION, v1};

use super::{
    FieldError, MAX_NAME_BYTES, MAX_TAIL_BYTES, MAX_WORDS_BYTES,
    agent::{self, About},
    amount, clipped, finding_from_proto, finding_into_proto, maybe_digest, shortened, text_of,
    tier_into_proto, usage_from_proto, verdict_from_proto, wrong,
};
use crate::{
    driver::{Outgoing, Work, WorkBody},
    rpc::Services,
};

/// The address of a request is longer than a name.
const MAX_REQUEST_BYTES: usize = 2048;

/// A worker's message after its hello.
pub(crate) enum Incoming {
    Event(SessionEvent),
    /// A report that is an artifact.
    ReportIn {
        lease: LeaseId,
        digest: Digest,
    },
    /// Of a newer version: ignored.
    Unknown,
}

/// A message that cannot be read, and the lease whose worker waits for an answer to it.
pub(crate) struct Unreadable {
    pub(crate) lease: Option<String>,
    pub(crate) reason: String,
}

impl From<FieldError> for Unreadable {
    fn from(error: FieldError) -> Self {
        Self { lease: None, reason: error.to_string() }
    }
}

fn lease(text: &str) -> Result<LeaseId, FieldError> {
    text.parse().map_err(|error| wrong("lease_id", error))
}

/// Leases that a peer names; what is no lease id is none of ours.
fn leases(texts: &[String]) -> Vec<LeaseId> {
    texts.iter().filter_map(|text| text.parse().ok()).collect()
}

pub(crate) fn hello_from_proto(hello: v1::Hello) -> Result<Hello, FieldError> {
    for (field, text) in
        [("worker_id", &hello.worker_id), ("instance", &hello.instance), ("name", &hello.name)]
    {
        if text.is_empty() || text.len() > 256 {
            return Err(wrong(field, format!("{} bytes, expected 1 to 256", text.len())));
        }
    }
    let held = leases(&hello.held);
    let roles = hello.roles().filter_map(role_from_proto).collect();
    let runner = |runner: v1::Runner| Runner {
        name: runner.name,
        version: runner.version,
        account: runner.account,
        models: runner.models,
    };
    Ok(Hello {
        worker: WorkerId::from(hello.worker_id.as_str()),
        roles,
        held,
        instance: hello.instance,
        name: hello.name,
        host: hello.host,
        version: hello.version,
        runners: hello.runners.into_iter().map(runner).collect(),
        labels: hello.labels,
        slots: hello.slots,
        draining: hello.draining,
    })
}

/// Roles of a newer version are none that we could lease for.
fn role_from_proto(role: v1::Role) -> Option<Role> {
    match role {
        v1::Role::Executor => Some(Role::Executor),
        v1::Role::Thor => Some(Role::Thor),
        v1::Role::Coordinator => Some(Role::Coordinator),
        v1::Role::Unspecified => None,
    }
}

pub(crate) fn event_from_proto(message: v1::WorkerMessage) -> Result<Incoming, Unreadable> {
    use v1::worker_message::Message as M;
    let event = match message.message {
        None => return Ok(Incoming::Unknown),
        Some(M::Hello(hello)) => SessionEvent::Hello(Box::new(hello_from_proto(hello)?)),
        Some(M::Heartbeat(heartbeat)) => SessionEvent::Heartbeat {
            number: heartbeat.number,
            held: leases(&heartbeat.held),
            last_grant: heartbeat.last_grant,
        },
        Some(M::Started(started)) => SessionEvent::Started { lease: lease(&started.lease_id)? },
        Some(M::Progress(progress)) => SessionEvent::Progress {
            lease: lease(&progress.lease_id)?,
            usage: usage_from_proto(progress.usage)?,
            models: progress.models.into_iter().map(model_usage_from_proto).collect::<Result<_, _>>()?,
        },
        Some(M::Finished(finished)) => return finished_from_proto(finished),
        Some(M::Released(released)) => {
            let id = released.lease_id.clone();
            released_from_proto(released)
                .map_err(|error| Unreadable { lease: Some(id), reason: error.to_string() })?
        }
        Some(M::Draining(v1::Draining {})) => SessionEvent::Draining,
    };
    Ok(Incoming::Event(event))
}

/// What a worker's message means to the engine, read as sessions read it. None: it cannot be read, is of a
/// newer version, or its report is an artifact.
#[must_use]
pub fn event_of(message: v1::WorkerMessage) -> Option<SessionEvent> {
    match event_from_proto(message) {
        Ok(Incoming::Event(event)) => Some(event),
        Ok(Incoming::ReportIn { .. } | Incoming::Unknown) | Err(_) => None,
    }
}

fn finished_from_proto(finished: v1::Finished) -> Result<Incoming, Unreadable> {
    let answer =
        |error: FieldError| Unreadable { lease: Some(finished.lease_id.clone()), reason: error.to_string() };
    let id = lease(&finished.lease_id).map_err(answer)?;
    match finished.body.clone() {
        Some(v1::finished::Body::Report(report)) => {
            let report = Box::new(report_from_proto(report).map_err(answer)?);
            Ok(Incoming::Event(SessionEvent::Finished { lease: id, report, past: None }))
        }
        Some(v1::finished::Body::ReportDigest(text)) => {
            let digest = text.parse().map_err(|error| answer(wrong("report_digest", error)))?;
            Ok(Incoming::ReportIn { lease: id, digest })
        }
        None => Err(answer(wrong("body", "expected a report or its digest"))),
    }
}

fn released_from_proto(released: v1::Released) -> Result<SessionEvent, FieldError> {
    let reason = match released.reason() {
        v1::ReleaseReason::Cancelled => ReleaseReason::Cancelled,
        v1::ReleaseReason::Drain => ReleaseReason::Drain,
        v1::ReleaseReason::SelfFenced => ReleaseReason::SelfFenced,
        v1::ReleaseReason::Repository => ReleaseReason::Repository,
        // What a newer worker could not do for a reason that we do not know.
        v1::ReleaseReason::Unable | v1::ReleaseReason::Unspecified => ReleaseReason::Unable,
    };
    let lease = lease(&released.lease_id)?;
    Ok(SessionEvent::Released { lease, reason, note: released.note, past: None })
}

pub(crate) fn report_from_proto(report: v1::Report) -> Result<Report, FieldError> {
    let outcome = match report.outcome() {
        v1::Outcome::Succeeded => Outcome::Succeeded,
        v1::Outcome::Failed => Outcome::Failed,
        v1::Outcome::TimedOut => Outcome::TimedOut,
        v1::Outcome::Skipped => Outcome::Skipped,
        v1::Outcome::Conflict => Outcome::Conflict,
        v1::Outcome::Denied => Outcome::Denied,
        v1::Outcome::TurnLimit => Outcome::TurnLimit,
        v1::Outcome::BudgetLimit => Outcome::BudgetLimit,
        v1::Outcome::Refused => Outcome::Refused,
        v1::Outcome::Killed => Outcome::Killed,
        v1::Outcome::Nonsense => Outcome::Nonsense,
        v1::Outcome::UsageLimit => Outcome::UsageLimit,
        v1::Outcome::BadCredentials => Outcome::BadCredentials,
        v1::Outcome::Overloaded => Outcome::Overloaded,
        v1::Outcome::Unreachable => Outcome::Unreachable,
        v1::Outcome::TargetMoved => Outcome::TargetMoved,
        v1::Outcome::Unspecified => return Err(wrong("outcome", "expected one that this version knows")),
    };
    Ok(Report {
        outcome,
        exit_code: report.exit_code,
        summary: shortened(report.summary, MAX_WORDS_BYTES),
        output_tail: clipped(report.output_tail, MAX_TAIL_BYTES),
        run_ms: amount("run_ms", report.run_ms)?,
        usage: usage_from_proto(report.usage)?,
        output_json: report.output_json,
        changes: maybe_digest("changes", &report.changes)?,
        changed_files: report.changed_files,
        candidate: maybe_digest("candidate", &report.candidate)?,
        target: maybe_digest("target", &report.target)?,
        conflicts: report.conflicts.into_iter().map(conflict_from_proto).collect(),
        published: Published {
            commits: report.commits.into_iter().map(commit_from_proto).collect::<Result<_, _>>()?,
            branch: shortened(report.branch, MAX_NAME_BYTES),
            request: shortened(report.request, MAX_REQUEST_BYTES),
        },
        verdict: report.verdict.map(verdict_from_proto).transpose()?,
        talk: Talk {
            model: shortened(report.model, MAX_NAME_BYTES),
            session: shortened(report.session, MAX_NAME_BYTES),
            account: shortened(report.account, MAX_NAME_BYTES),
            models: report.models.into_iter().map(model_usage_from_proto).collect::<Result<_, _>>()?,
            findings: report.findings.into_iter().map(finding_from_proto).collect(),
            retry_after_ms: report.retry_after_ms.map(|ms| amount("retry_after_ms", ms)).transpose()?,
        },
        counsel: report.counsel.map(counsel_from_proto),
    })
}

fn conflict_from_proto(conflict: v1::Conflict) -> Conflict {
    let v1::Conflict { task, text, with } = conflict;
    Conflict { finding: finding_from_proto(v1::Finding { task, text }), with }
}

fn commit_from_proto(commit: v1::Commit) -> Result<Commit, FieldError> {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if ![40, 64].contains(&commit.commit.len()) || !commit.commit.bytes().all(is_hex) {
        let found: String = commit.commit.chars().take(100).collect();
        return Err(wrong("commits", format!("expected the full id of a commit, found {found:?}")));
    }
    Ok(Commit {
        task: shortened(commit.task, MAX_NAME_BYTES),
        commit: commit.commit,
        subject: shortened(commit.subject, MAX_NAME_BYTES),
    })
}

fn model_usage_from_proto(usage: v1::ModelUsage) -> Result<ModelUsage, FieldError> {
    let cost = usage.cost_micro_usd.map(|cost| amount("models.cost_micro_usd", cost)).transpose()?;
    Ok(ModelUsage {
        model: shortened(usage.model, MAX_NAME_BYTES),
        tokens_in: amount("models.tokens_in", usage.tokens_in)?,
        tokens_out: amount("models.tokens_out", usage.tokens_out)?,
        cache_read: amount("models.cache_read", usage.cache_read)?,
        cache_write: amount("models.cache_write", usage.cache_write)?,
        cost_source: if cost.is_some() { CostSource::Agent } else { CostSource::Unknown },
        cost_micro_usd: cost,
        price_date: String::new(),
        calls: usage.calls,
    })
}

fn counsel_from_proto(counsel: v1::Counsel) -> Counsel {
    let tasks = counsel
        .tasks
        .into_iter()
        .map(|it| finding_from_proto(v1::Finding { task: it.key, text: it.guidance }));
    Counsel { note: shortened(counsel.note, MAX_WORDS_BYTES), tasks: tasks.collect() }
}

pub(crate) fn outgoing_into_proto(
    message: Outgoing,
    session: SessionId,
    services: &Services,
) -> v1::CoordinatorMessage {
    use v1::coordinator_message::Message as M;
    let texts = |leases: Vec<LeaseId>| leases.iter().map(ToString::to_string).collect();
    let message = match message {
        Outgoing::Welcome => M::Welcome(welcome(session, services)),
        Outgoing::Grant { number, lease, work } => M::Grant(grant_of(number, &lease, *work)),
        Outgoing::HeartbeatAck { number, keep, stop } => {
            M::HeartbeatAck(v1::HeartbeatAck { number, keep: texts(keep), stop: texts(stop) })
        }
        Outgoing::Cancel { lease, reason } => {
            M::Cancel(v1::Cancel { lease_id: lease.to_string(), reason: reason.to_owned() })
        }
        Outgoing::Accepted { lease } => M::Accepted(v1::Accepted { lease_id: lease.to_string() }),
        Outgoing::Refused { lease, reason } => {
            M::Refused(v1::Refused { lease_id: lease.to_string(), reason })
        }
        Outgoing::Drain { reason } => M::Drain(v1::Drain { reason }),
        Outgoing::Goodbye { reason, permanent } => M::Goodbye(v1::Goodbye { reason, permanent }),
    };
    v1::CoordinatorMessage { message: Some(message) }
}

fn welcome(session: SessionId, services: &Services) -> v1::Welcome {
    v1::Welcome {
        session_id: session.0.to_string(),
        epoch_counter: services.epoch.counter,
        epoch_nonce: services.epoch.nonce.clone(),
        database_id: services.database_id.clone(),
        heartbeat_ms: services.timings.heartbeat_ms,
        fence_margin_ms: services.timings.fence_margin_ms,
        kill_grace_ms: services.timings.kill_grace_ms,
        protocol: PROTOCOL_VERSION,
    }
}

/// A grant as sessions tell it, before what is long in it goes by digest.
#[must_use]
pub fn grant_of(number: u64, lease: &LeaseRow, work: Work) -> v1::Grant {
    v1::Grant {
        number,
        lease_id: lease.id.to_string(),
        lost_after_ms: lease.lost_after_ms,
        body: Some(v1::grant::Body::Work(work_into_proto(lease, work))),
    }
}

fn work_into_proto(lease: &LeaseRow, work: Work) -> v1::Work {
    let kind = workspace_into_proto(work.workspace);
    let repository = repository_into_proto(&work.head.project);
    let plan_slug = slug(&work.plan_name);
    let merge_mode = work.wave_spec.merge_mode;
    let gathered_on = match merge_mode {
        MergeMode::Sync | MergeMode::None => String::new(),
        MergeMode::Batch => format!("wavegate/{plan_slug}/batch"),
        MergeMode::Async => format!("wavegate/{plan_slug}/{}", work.wave),
    };
    let workspace = |base: String| v1::Workspace {
        kind: kind.into(),
        base,
        repository: repository.clone(),
        ..v1::Workspace::default()
    };
    let about = About { plan_name: &work.plan_name, plan: &work.head, wave: &work.wave_spec };
    let (lease_kind, body) = match work.body {
        WorkBody::Task { spec, base, layers, own, budget_micro_usd, story } => {
            let attempt = attempt_of(lease.work);
            let agent = agent::task_agent(about, &spec, attempt, &story, own.is_some());
            let agent = agent.map(|agent| v1::AgentWork { budget_micro_usd, ..agent });
            let run = match spec.work {
                WorkSpec::Run(command) => command,
                WorkSpec::Do(_) => String::new(),
            };
            let layers = layers.iter().map(ToString::to_string).collect();
            let own = text_of(own.and_then(|own| own.changes));
            let branch = repository.as_ref().map(|_| format!("wavegate/{plan_slug}/{}", spec.key));
            let task = v1::TaskWork {
                workspace: Some(v1::Workspace {
                    layers,
                    own,
                    branch: branch.unwrap_or_default(),
                    ..workspace(text_of(base))
                }),
                key: spec.key,
                attempt,
                runner: spec.runner,
                run,
                agent,
                setup: spec.setup,
                skip_if: spec.skip_if.unwrap_or_default(),
                timeout_ms: spec.timeout_ms,
                env: spec.env,
                findings: story.findings.into_iter().map(finding_into_proto).collect(),
            };
            (v1::LeaseKind::Task, v1::work::Body::Task(task))
        }
        WorkBody::Integrate { base, results } => {
            let results = results.into_iter().map(|result| v1::TaskResult {
                key: result.key,
                changes: text_of(result.changes),
                built_on: result.built_on,
                base: text_of(result.base),
                title: result.title,
                summary: result.summary,
                attempt: result.attempt,
                lease_id: result.lease.to_string(),
            });
            let integrate = v1::IntegrateWork {
                base: text_of(base),
                results: results.collect(),
                repository,
                merge_mode: merge_mode_into_proto(merge_mode).into(),
                branch: gathered_on,
            };
            (v1::LeaseKind::Integrate, v1::work::Body::Integrate(integrate))
        }
        WorkBody::Publish { base, candidate, verdict, tasks } => {
            let name = &work.wave_spec.name;
            let colon = if name.is_empty() { "" } else { ": " };
            let lines = tasks.iter().map(|task| format!("- {} {}: {}", task.key, task.title, task.summary));
            let publish = v1::PublishWork {
                repository,
                base: text_of(base),
                candidate: candidate.to_string(),
                merge_mode: merge_mode_into_proto(merge_mode).into(),
                branch: gathered_on,
                title: format!("{} {}{colon}{name}", work.plan_name, work.wave),
                text: format!("{}\n\n{verdict}", lines.collect::<Vec<_>>().join("\n")),
                verdict,
            };
            (v1::LeaseKind::Publish, v1::work::Body::Publish(publish))
        }
        WorkBody::Validate { candidate, tasks, verify, by_agent } => {
            let agent = by_agent.then(|| agent::judge(about, lease.round, &tasks));
            // A candidate of workspace none names results, not a tree.
            let base =
                if work.workspace == WorkspaceKind::None { String::new() } else { candidate.to_string() };
            let timeout_ms = tasks.iter().map(|task| task.spec.timeout_ms).max().unwrap_or(0);
            let mut env: Vec<String> = tasks.iter().flat_map(|task| task.spec.env.clone()).collect();
            env.sort();
            env.dedup();
            let tasks = tasks.into_iter().map(|task| v1::TaskCheck {
                key: task.spec.key,
                instructions: match task.spec.work {
                    WorkSpec::Run(text) | WorkSpec::Do(text) => text,
                },
                claim: task.claim,
                changes: text_of(task.changes),
                verify: task.spec.verify,
                timeout_ms: task.spec.timeout_ms,
                setup: task.spec.setup,
            });
            let workspace = Some(workspace(base));
            let validate =
                v1::ValidateWork { workspace, tasks: tasks.collect(), verify, timeout_ms, env, agent };
            (v1::LeaseKind::Validate, v1::work::Body::Validate(validate))
        }
        WorkBody::Coordinate { purpose, tier, base, tasks } => {
            let coordinate = v1::CoordinateWork {
                purpose: purpose_into_proto(purpose).into(),
                tier: tier_into_proto(Some(tier)).into(),
                agent: Some(agent::counsellor(about, purpose, tier, &tasks)),
                workspace: Some(workspace(text_of(base))),
                timeout_ms: COUNSEL_TIMEOUT_MS,
            };
            (v1::LeaseKind::Coordinate, v1::work::Body::Coordinate(coordinate))
        }
    };
    v1::Work {
        kind: lease_kind.into(),
        plan_id: work.plan.0,
        plan_name: work.plan_name,
        wave: work.wave,
        round: lease.round,
        body: Some(body),
        vars: work.vars.into_iter().collect(),
    }
}

/// Counsel is a few turns of looking and one answer.
const COUNSEL_TIMEOUT_MS: u64 = 30 * 60_000;

/// The number of a task's attempt; 0 for other work.
pub(crate) const fn attempt_of(work: LeaseWork) -> u32 {
    match work {
        LeaseWork::Task { attempt, .. } => attempt,
        LeaseWork::Integrate
        | LeaseWork::Validate { .. }
        | LeaseWork::Coordinate { .. }
        | LeaseWork::Publish { .. } => 0,
    }
}

pub(crate) fn purpose_into_proto(purpose: Purpose) -> v1::Purpose {
    match purpose {
        Purpose::Briefing => v1::Purpose::Briefing,
        Purpose::Triage => v1::Purpose::Triage,
    }
}

fn merge_mode_into_proto(mode: MergeMode) -> v1::MergeMode {
    match mode {
        MergeMode::Sync => v1::MergeMode::Sync,
        MergeMode::Batch => v1::MergeMode::Batch,
        MergeMode::Async => v1::MergeMode::Async,
        MergeMode::None => v1::MergeMode::None,
    }
}

/// The repository of a plan that works on one.
pub(crate) fn repository_into_proto(project: &ProjectSpec) -> Option<v1::Repository> {
    (project.workspace == WorkspaceKind::Git).then(|| v1::Repository {
        location: project.repo.clone().unwrap_or_default(),
        base: project.base.clone().unwrap_or_default(),
    })
}

/// A plan's name as a part of a branch: lower-case letters, digits, `.`, `_` and `-`.
pub fn slug(name: &str) -> String {
    const MOST: usize = 60;
    let mut slug = String::new();
    for c in name.to_lowercase().chars() {
        let plain = if c.is_ascii_alphanumeric() || c == '_' || c == '.' { c } else { '-' };
        // Two dots in a row mean a range to git.
        if !(matches!(plain, '-' | '.') && slug.ends_with(['-', '.'])) && slug.len() < MOST {
            slug.push(plain);
        }
    }
    let slug = slug.trim_matches(['-', '.']).trim_end_matches(".lock");
    if slug.is_empty() { "plan".to_owned() } else { slug.to_owned() }
}

pub(crate) fn workspace_into_proto(kind: WorkspaceKind) -> v1::WorkspaceKind {
    match kind {
        WorkspaceKind::None => v1::WorkspaceKind::None,
        WorkspaceKind::Dir => v1::WorkspaceKind::Dir,
        WorkspaceKind::Git => v1::WorkspaceKind::Git,
    }
}
