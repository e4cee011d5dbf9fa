//! The figures of a report: how long a plan took, how much work that was, and how much faster it could
//! have been. Pure arithmetic over what is stored.

use std::collections::{BTreeMap, BTreeSet};

use wavegate_engine::{Decision, LeaseKind, Mode, Outcome, Role, STANDARD_CAP, Usage, VerdictSource};
use wavegate_proto::v1;

use crate::store::reader::{LeaseDetail, LedgerLine, PlanDetail, TaskDetail, WaveDetail, WorkerDetail};

/// All that a report says in numbers; the rest of the message is the caller's.
pub(super) fn figures(plan: &PlanDetail, workers: &[WorkerDetail]) -> v1::GetReportResponse {
    let tasks = || plan.waves.iter().flat_map(|wave| &wave.tasks);
    let attempts = || tasks().flat_map(|task| &task.attempts);
    let at_work: Vec<_> = attempts().filter_map(span).collect();
    let duties: Vec<_> = plan.waves.iter().flat_map(|wave| &wave.duties).filter_map(span).collect();
    let verdicts = || plan.waves.iter().flat_map(|wave| &wave.verdicts);
    let by_thor = |decision: Decision| {
        let said =
            verdicts().filter(|it| it.source != VerdictSource::Override && it.verdict.decision == decision);
        count(said.count())
    };
    let width = width(plan, workers);
    let failed = |it: &&LeaseDetail| {
        it.result
            .as_ref()
            .is_some_and(|it| it.accepted && matches!(it.outcome, Outcome::Failed | Outcome::TimedOut))
    };
    v1::GetReportResponse {
        wall_ms: wall(&at_work, &duties),
        work_ms: total(tasks().map(work_of)),
        critical_path_ms: critical_path(plan),
        bound_ms: bound(plan, width),
        thor_ms: covered(&duties),
        attempts: count(attempts().count()),
        failures: count(attempts().filter(failed).count()),
        losses: count(attempts().filter(|it| it.lease.state == wavegate_engine::LeaseState::Lost).count()),
        rejections: tasks().fold(0, |sum, task| task.row.rejections.saturating_add(sum)),
        approved: by_thor(Decision::Approved),
        rejected: by_thor(Decision::Rejected),
        peak_leases: peak(&at_work),
        width: width.map_or(0, |width| u32::try_from(width).unwrap_or(u32::MAX)),
        ..v1::GetReportResponse::default()
    }
}

/// What the coordinator's own model used, of all that agents used.
pub(super) fn coordinator_usage(ledger: &[LedgerLine]) -> Usage {
    let own = ledger.iter().filter(|line| line.kind == LeaseKind::Coordinate);
    own.fold(Usage::default(), |sum, line| sum.plus(line.usage.usage()))
}

/// The days that the prices of its costs are of.
pub(super) fn price_dates(ledger: &[LedgerLine]) -> String {
    let dates: BTreeSet<&str> = ledger.iter().map(|line| line.usage.price_date.as_str()).collect();
    Vec::from_iter(dates.into_iter().filter(|date| !date.is_empty())).join(", ")
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// From grant to end; one that has not ended has no span.
fn span(lease: &LeaseDetail) -> Option<(i64, i64)> {
    let (from, to) = (lease.lease.granted.0, lease.lease.ended?.0);
    Some((from, to.max(from)))
}

/// The run times of its accepted attempts: one that failed or was sent back was work, too, and the
/// time that it took is part of the wall.
fn work_of(task: &TaskDetail) -> u64 {
    let results = task.attempts.iter().filter_map(|attempt| attempt.result.as_ref());
    total(results.filter(|it| it.accepted).map(|it| it.run_ms))
}

/// What workers told adds up to; they may tell anything.
fn total(times: impl Iterator<Item = u64>) -> u64 {
    times.fold(0, u64::saturating_add)
}

/// First grant to last end of the tasks, without the stretches in which only Thor or integration was
/// at work.
fn wall(at_work: &[(i64, i64)], duties: &[(i64, i64)]) -> u64 {
    let Some(first) = at_work.iter().map(|span| span.0).min() else { return 0 };
    let last = at_work.iter().map(|span| span.1).max().unwrap_or(first);
    let between: Vec<_> =
        duties.iter().map(|span| (span.0.clamp(first, last), span.1.clamp(first, last))).collect();
    let both: Vec<_> = between.iter().chain(at_work).copied().collect();
    let duties_alone = covered(&both).saturating_sub(covered(at_work));
    ms(last - first).saturating_sub(duties_alone)
}

/// How much time at least one of the spans covers.
fn covered(spans: &[(i64, i64)]) -> u64 {
    let mut sorted = spans.to_vec();
    sorted.sort_unstable();
    let mut total = 0;
    let mut end = i64::MIN;
    for (from, to) in sorted {
        total += (to - from.max(end)).max(0);
        end = end.max(to);
    }
    ms(total)
}

fn ms(time: i64) -> u64 {
    u64::try_from(time).unwrap_or(0)
}

/// The most spans that overlap; one that begins as another ends does not.
fn peak(spans: &[(i64, i64)]) -> u32 {
    let mut edges: Vec<_> = spans.iter().flat_map(|(from, to)| [(*from, 1), (*to, -1)]).collect();
    edges.sort_unstable();
    let mut open = 0_i32;
    let most = edges.into_iter().map(|(_, step)| {
        open += step;
        open
    });
    u32::try_from(most.max().unwrap_or(0)).unwrap_or(0)
}

/// How many tasks could run at once: the mode's cap, and the slots of the executors that worked on the
/// plan. None: no limit.
fn width(plan: &PlanDetail, workers: &[WorkerDetail]) -> Option<u64> {
    let attempts = || plan.waves.iter().flat_map(|wave| &wave.tasks).flat_map(|task| &task.attempts);
    let mut slots = Some(0_u64);
    for worker in workers.iter().filter(|worker| worker.row.roles.contains(&Role::Executor)) {
        if attempts().any(|attempt| attempt.lease.worker == worker.row.id) {
            slots = slots.zip(worker.row.slots).map(|(sum, slots)| sum + u64::from(slots));
        }
    }
    let cap = (plan.summary.row.mode == Some(Mode::Standard)).then_some(u64::from(STANDARD_CAP));
    match (cap, slots) {
        (Some(cap), Some(slots)) => Some(cap.min(slots.max(1))),
        (Some(cap), None) => Some(cap),
        (None, Some(slots)) => Some(slots.max(1)),
        (None, None) => None,
    }
}

/// The longest chain of dependent tasks of a wave.
fn chain(wave: &WaveDetail) -> u64 {
    let mut ends: BTreeMap<u32, u64> = BTreeMap::new();
    let times: BTreeMap<u32, &TaskDetail> = wave.tasks.iter().map(|task| (task.ix.0, task)).collect();
    // A file may name a later task as a dependency: as many passes as there are tasks settle any order.
    for _ in 0..wave.tasks.len() {
        let before = ends.clone();
        for (ix, task) in &times {
            let start =
                task.spec.depends_on.iter().filter_map(|it| ends.get(&it.0)).max().copied().unwrap_or(0);
            ends.insert(*ix, work_of(task).saturating_add(start));
        }
        if ends == before {
            break;
        }
    }
    ends.into_values().max().unwrap_or(0)
}

/// Of the whole plan: in standard the waves run one after another, in max along their dependencies.
fn critical_path(plan: &PlanDetail) -> u64 {
    if plan.summary.row.mode != Some(Mode::Max) {
        return total(plan.waves.iter().map(chain));
    }
    along(plan, chain)
}

fn along(plan: &PlanDetail, of: impl Fn(&WaveDetail) -> u64) -> u64 {
    let mut ends = vec![0; plan.waves.len()];
    for _ in 0..plan.waves.len() {
        let before = ends.clone();
        for (at, wave) in plan.waves.iter().enumerate() {
            let start =
                wave.spec.depends_on.iter().filter_map(|it| ends.get(it.at())).max().copied().unwrap_or(0);
            ends[at] = of(wave).saturating_add(start);
        }
        if ends == before {
            break;
        }
    }
    ends.into_iter().max().unwrap_or(0)
}

/// No schedule is faster: for each wave the longest chain, or its work spread over the width.
fn bound(plan: &PlanDetail, width: Option<u64>) -> u64 {
    let work = |wave: &WaveDetail| total(wave.tasks.iter().map(work_of));
    let spread = |work: u64| width.map_or(0, |width| work.div_ceil(width.max(1)));
    let of_wave = |wave: &WaveDetail| chain(wave).max(spread(work(wave)));
    if plan.summary.row.mode != Some(Mode::Max) {
        return total(plan.waves.iter().map(of_wave));
    }
    along(plan, of_wave).max(spread(total(plan.waves.iter().map(work))))
}

#[cfg(test)]
mod tests;
