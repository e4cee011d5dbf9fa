//! What a worker may say, in the generated types: right sentences about leases that exist, and the same with
//! anything wrong in them. Knows the protocol, and nothing of what becomes of a sentence.

use prost::Message as _;
use wavegate_engine::{LeaseRow, LeaseWork, Tier};
use wavegate_proto::v1::{self, worker_message::Message};

use crate::draw::Draw;

/// A message after the hello.
pub(crate) fn sentence(draw: &mut Draw<'_>, leases: &[LeaseRow]) -> v1::WorkerMessage {
    let message = match draw.below(9) {
        0..=2 => Message::Finished(finished(draw, leases)),
        3 => Message::Started(v1::Started { lease_id: lease_text(draw, leases) }),
        4 => Message::Heartbeat(v1::Heartbeat {
            number: draw.number(),
            held: draw.many(6, |draw| lease_text(draw, leases)),
            last_grant: draw.number(),
        }),
        5 => Message::Progress(v1::Progress {
            lease_id: lease_text(draw, leases),
            usage: draw.maybe(usage),
            note: draw.text(),
            models: draw.many(3, model_usage),
        }),
        6 => Message::Released(v1::Released {
            lease_id: lease_text(draw, leases),
            reason: enumeration(draw, 6),
            note: draw.text(),
        }),
        7 => Message::Draining(v1::Draining {}),
        _ => return raw(draw),
    };
    v1::WorkerMessage { message: Some(message) }
}

/// How a worker of this number begins.
pub(crate) fn hello(draw: &mut Draw<'_>, worker: usize, leases: &[LeaseRow]) -> v1::WorkerMessage {
    let runner = |name: &str, models: &[&str]| v1::Runner {
        name: name.to_owned(),
        version: "1".to_owned(),
        account: if models.is_empty() { String::new() } else { "account".to_owned() },
        models: models.iter().map(|model| (*model).to_owned()).collect(),
    };
    let mut hello = v1::Hello {
        worker_id: format!("worker-{worker}"),
        instance: format!("instance-{}", draw.below(3)),
        protocol_min: 1,
        protocol_max: 1,
        name: format!("worker {worker}"),
        host: "host".to_owned(),
        version: "1".to_owned(),
        roles: vec![1, 2, 3],
        runners: vec![runner("shell", &[]), runner("claude", &["haiku", "sonnet", "opus"])],
        held: leases.iter().filter(|_| draw.byte() % 2 == 1).map(|lease| lease.id.to_string()).collect(),
        ..v1::Hello::default()
    };
    if draw.one_in(4) {
        match draw.below(8) {
            0 => hello.worker_id = draw.text(),
            1 => hello.instance = draw.text(),
            2 => (hello.name, hello.host, hello.version) = (draw.text(), draw.text(), draw.text()),
            3 => hello.roles = draw.many(4, |draw| enumeration(draw, 4)),
            4 => {
                hello.runners = draw.many(4, |draw| v1::Runner {
                    name: draw.text(),
                    version: draw.text(),
                    account: draw.text(),
                    models: draw.many(3, Draw::text),
                });
            }
            5 => hello.labels = draw.many(6, Draw::text),
            6 => hello.slots = Some(draw.number_u32()),
            _ => hello.draining = true,
        }
    }
    v1::WorkerMessage { message: Some(Message::Hello(hello)) }
}

/// Bytes as the wire may bring them.
fn raw(draw: &mut Draw<'_>) -> v1::WorkerMessage {
    let many = draw.below(256);
    v1::WorkerMessage::decode(draw.bytes(many)).unwrap_or_default()
}

fn lease_text(draw: &mut Draw<'_>, leases: &[LeaseRow]) -> String {
    match (pick_lease(draw, leases), draw.byte()) {
        (Some(lease), 0..=220) => lease.id.to_string(),
        (Some(lease), 221..=230) => lease.id.to_string().to_uppercase(),
        (_, 231..=240) => "0".repeat(32),
        _ => draw.text(),
    }
}

/// The newest ones first: these are most often open.
fn pick_lease<'a>(draw: &mut Draw<'_>, leases: &'a [LeaseRow]) -> Option<&'a LeaseRow> {
    let back = draw.below(leases.len().clamp(1, 256));
    leases.iter().rev().nth(back)
}

fn finished(draw: &mut Draw<'_>, leases: &[LeaseRow]) -> v1::Finished {
    let lease = pick_lease(draw, leases);
    let mut report = right_report(draw, lease.map(|lease| lease.work));
    if draw.one_in(2) {
        for _ in 0..=draw.below(3) {
            spoil(draw, &mut report);
        }
    }
    let lease_id = match lease {
        Some(lease) if !draw.one_in(16) => lease.id.to_string(),
        _ => lease_text(draw, leases),
    };
    let body = match draw.byte() {
        0..=240 => Some(v1::finished::Body::Report(report)),
        241..=248 => Some(v1::finished::Body::ReportDigest(draw.digest_text())),
        _ => None,
    };
    v1::Finished { lease_id, body }
}

/// As a worker reports that did this work well.
fn right_report(draw: &mut Draw<'_>, work: Option<LeaseWork>) -> v1::Report {
    let digest = || "ab".repeat(32);
    let mut report = v1::Report {
        outcome: v1::Outcome::Succeeded.into(),
        exit_code: Some(0),
        summary: "done".to_owned(),
        run_ms: 1_000,
        usage: Some(v1::Usage { tokens_in: 10, tokens_out: 5, ..v1::Usage::default() }),
        ..v1::Report::default()
    };
    match work {
        None | Some(LeaseWork::Task { .. }) => report.changes = digest(),
        Some(LeaseWork::Integrate) => report.candidate = digest(),
        Some(LeaseWork::Validate { .. }) => report.verdict = Some(verdict(draw)),
        Some(LeaseWork::Publish { .. }) => {
            report.candidate = digest();
            report.commits = vec![commit("T1", "cd".repeat(20))];
        }
        Some(LeaseWork::Coordinate { tier, .. }) => {
            report.model = match tier {
                Tier::Sonnet => "claude-sonnet-4.6".to_owned(),
                Tier::Opus => "claude-opus-4.6".to_owned(),
            };
            report.counsel = Some(v1::Counsel { note: "look".to_owned(), tasks: Vec::new() });
        }
    }
    report
}

fn spoil(draw: &mut Draw<'_>, report: &mut v1::Report) {
    match draw.below(20) {
        0..=3 => report.outcome = enumeration(draw, 17),
        4 => report.exit_code = draw.maybe(|draw| draw.number_u32().cast_signed()),
        5 => report.summary = draw.text(),
        6 => report.output_tail = draw.printed(),
        7 => report.run_ms = draw.number(),
        8 => report.usage = draw.maybe(usage),
        9 => report.output_json = draw.text(),
        10 => report.changes = draw.digest_text(),
        11 => (report.candidate, report.target) = (draw.digest_text(), draw.digest_text()),
        12 => {
            report.conflicts = draw.many(4, |draw| v1::Conflict {
                task: task_text(draw),
                text: draw.text(),
                with: draw.many(4, task_text),
            });
        }
        13 => report.verdict = draw.maybe(verdict),
        14 => (report.model, report.session, report.account) = (draw.text(), draw.text(), draw.text()),
        15 => {
            let models = draw.many(4, model_usage);
            report.models = vec![models; draw.pick(&[1, 1, 1, 500])].concat();
        }
        16 => report.findings = draw.many(4, finding),
        17 => report.retry_after_ms = draw.maybe(Draw::number),
        18 => {
            let tasks = draw.many(4, |draw| v1::TaskCounsel { key: task_text(draw), guidance: draw.text() });
            report.counsel = Some(v1::Counsel { note: draw.text(), tasks });
        }
        _ => {
            report.commits = draw.many(4, |draw| {
                let task = task_text(draw);
                let id = if draw.one_in(8) { draw.text() } else { "ef".repeat(draw.pick(&[20, 32])) };
                v1::Commit { subject: draw.text(), ..commit(&task, id) }
            });
            (report.branch, report.request) = (draw.text(), draw.text());
            report.changed_files = draw.number_u32();
        }
    }
}

fn verdict(draw: &mut Draw<'_>) -> v1::Verdict {
    let decision = match draw.byte() {
        0..=127 => v1::Decision::Approved.into(),
        128..=220 => v1::Decision::Rejected.into(),
        _ => enumeration(draw, 5),
    };
    let is_approval = decision == i32::from(v1::Decision::Approved);
    let findings = if is_approval && !draw.one_in(16) { Vec::new() } else { draw.many(3, finding) };
    let evidence = draw.many(2, |draw| v1::Evidence {
        task: task_text(draw),
        command: draw.text(),
        exit_code: draw.maybe(|draw| draw.number_u32().cast_signed()),
        timed_out: draw.one_in(2),
        output_tail: draw.printed(),
        run_ms: draw.number(),
    });
    let gates =
        draw.many(2, |draw| v1::Gate { name: draw.text(), passed: draw.one_in(2), notes: draw.text() });
    v1::Verdict { decision, findings, evidence, gates }
}

fn finding(draw: &mut Draw<'_>) -> v1::Finding {
    v1::Finding { task: task_text(draw), text: draw.text() }
}

fn commit(task: &str, commit: String) -> v1::Commit {
    v1::Commit { task: task.to_owned(), commit, subject: "Say hello".to_owned() }
}

/// A key that a plan's task has, or any text.
pub(crate) fn task_text(draw: &mut Draw<'_>) -> String {
    if draw.one_in(8) { draw.text() } else { draw.pick(&["T1", "T2", "T3", "U1", "", "W1"]).to_owned() }
}

fn usage(draw: &mut Draw<'_>) -> v1::Usage {
    v1::Usage {
        tokens_in: draw.number(),
        tokens_out: draw.number(),
        tokens_cached: draw.number(),
        cost_micro_usd: draw.maybe(Draw::number),
    }
}

fn model_usage(draw: &mut Draw<'_>) -> v1::ModelUsage {
    let known = draw.pick(&["claude-sonnet-4.6", "claude-opus-4.6", "haiku", "gpt-5.3-codex", "unknown"]);
    v1::ModelUsage {
        model: if draw.one_in(4) { draw.text() } else { known.to_owned() },
        tokens_in: draw.number(),
        tokens_out: draw.number(),
        cache_read: draw.number(),
        cache_write: draw.number(),
        cost_micro_usd: draw.maybe(Draw::number),
        calls: draw.number_u32(),
    }
}

/// A value of an enumeration of so many, or one of a newer version.
fn enumeration(draw: &mut Draw<'_>, many: usize) -> i32 {
    match draw.byte() {
        250..=255 => draw.number_u32().cast_signed(),
        byte => i32::from(byte) % many as i32,
    }
}
