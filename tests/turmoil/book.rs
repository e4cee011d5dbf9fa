//! What is known of a run from outside of the product: which stand-in worked when, what the coordinator said to
//! have, and what broke an invariant at once. Clones write in the same book.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rusqlite::{Connection, OpenFlags};

/// A plan in standard has so many task leases at once.
const STANDARD_CAP: usize = 3;

/// The book of one simulation.
#[derive(Clone)]
pub(crate) struct Book(Arc<Mutex<Pages>>);

pub(crate) struct Pages {
    /// When the step that runs began.
    pub(crate) now_ms: u64,
    pub(crate) runs: Vec<Run>,
    /// Leases of which the coordinator said that it has their answer.
    pub(crate) acknowledged: BTreeSet<String>,
    /// What breaks an invariant, in words.
    pub(crate) broken: Vec<String>,
    /// What happened, a line each.
    pub(crate) trace: Vec<String>,
    /// How the coordinator ends at its next commit.
    pub(crate) fate: Option<Fate>,
    /// The fate was met: nothing that the coordinator does from now on is to have an effect.
    pub(crate) is_dead: bool,
    /// Reads beside the coordinator. Held open, so that a connection that is dropped leaves the write-ahead log as
    /// a killed process does.
    pub(crate) sql: Connection,
}

/// Where between deciding and sending a coordinator is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    BeforeCommit,
    /// Committed, and nothing of it sent.
    AfterCommit,
}

/// One stand-in at work on a task.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) lease: String,
    pub(crate) task: String,
    pub(crate) attempt: u32,
    pub(crate) worker: usize,
    pub(crate) ended: Option<(u64, How)>,
}

/// How a stand-in ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Reported,
    Cancelled,
    Fenced,
    /// Its worker was killed: its supervisor ended it.
    Orphaned,
}

impl Run {
    fn is_live(&self, now_ms: u64) -> bool {
        self.ended.is_none_or(|(end, _)| end > now_ms)
    }
}

impl Book {
    /// A book beside this database.
    pub(crate) fn open(db: &Path) -> Self {
        let sql = Connection::open_with_flags(db, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("a database");
        Self(Arc::new(Mutex::new(Pages {
            now_ms: 0,
            runs: Vec::new(),
            acknowledged: BTreeSet::new(),
            broken: Vec::new(),
            trace: Vec::new(),
            fate: None,
            is_dead: false,
            sql,
        })))
    }

    pub(crate) fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, at_ms: u64, what: &str) {
        self.pages().trace.push(format!("{at_ms:>9} {what}"));
    }

    /// I9 and I1 by those who work: whoever begins is alone on its task, and one of three of its plan.
    pub(crate) fn begin(&self, now_ms: u64, run: Run) {
        self.note(
            now_ms,
            &format!("{} attempt {} begins at worker {}: {}", run.task, run.attempt, run.worker, run.lease),
        );
        let mut pages = self.pages();
        let live: Vec<&Run> = pages.runs.iter().filter(|other| other.is_live(now_ms)).collect();
        let mut broken = Vec::new();
        if let Some(other) = live.iter().find(|other| other.task == run.task) {
            broken.push(format!("I9: at {now_ms} {run:?} begins beside {other:?}"));
        }
        if live.len() >= STANDARD_CAP {
            broken.push(format!("I1: at {now_ms} {run:?} begins beside {live:?}"));
        }
        if pages.runs.iter().any(|other| other.lease == run.lease) {
            broken.push(format!("I5: at {now_ms} {run:?} is a lease that was at work before"));
        }
        pages.broken.extend(broken);
        pages.runs.push(run);
    }

    pub(crate) fn end(&self, at_ms: u64, lease: &str, how: How) {
        let mut pages = self.pages();
        if let Some(run) = pages.runs.iter_mut().find(|run| run.lease == lease && run.ended.is_none()) {
            run.ended = Some((at_ms, how));
            let line = format!(
                "{at_ms:>9} {} attempt {} ends at worker {}: {how:?}",
                run.task, run.attempt, run.worker
            );
            pages.trace.push(line);
        }
    }

    /// A worker starts: what its last start left is gone by now, whatever grace it had.
    pub(crate) fn clear(&self, worker: usize) {
        let mut pages = self.pages();
        let now_ms = pages.now_ms;
        for run in pages.runs.iter_mut().filter(|run| run.worker == worker) {
            if let Some((end, How::Orphaned)) = &mut run.ended {
                *end = (*end).min(now_ms);
            }
        }
    }

    pub(crate) fn acknowledge(&self, now_ms: u64, lease: String) {
        self.note(now_ms, &format!("accepted: {lease}"));
        self.pages().acknowledged.insert(lease);
    }

    /// I1 by the database, at each commit.
    pub(crate) fn check_cap(&self, now_ms: u64) {
        let mut pages = self.pages();
        let leases = pages.count(
            "SELECT count(*) FROM wg_leases WHERE kind = 'task' \
             AND state IN ('granted', 'running', 'cancelling', 'unreachable')",
        );
        if leases > STANDARD_CAP {
            pages.broken.push(format!("I1: at {now_ms} {leases} task leases are live or uncertain"));
        }
    }
}

impl Pages {
    pub(crate) fn count(&self, sql: &str) -> usize {
        let mut statement = self.sql.prepare_cached(sql).expect("a statement");
        let found: i64 = statement.query_row([], |row| row.get(0)).expect("a number");
        usize::try_from(found).expect("a count")
    }

    pub(crate) fn texts(&self, sql: &str) -> BTreeSet<String> {
        let mut statement = self.sql.prepare_cached(sql).expect("a statement");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<Result<_, _>>().expect("texts")
    }

    /// I6: what was acknowledged is in the file: a result, or that the lease is over without one.
    pub(crate) fn check_acknowledged(&mut self) {
        let results = self.texts("SELECT lease_id FROM wg_results WHERE accepted = 1");
        let over = self.texts("SELECT id FROM wg_leases WHERE state IN ('released', 'lost')");
        let reported = self.runs.iter().filter(|run| matches!(run.ended, Some((_, How::Reported))));
        let reported: BTreeSet<_> = reported.map(|run| &run.lease).collect();
        let is_kept = |lease: &&String| {
            results.contains(*lease) || (over.contains(*lease) && !reported.contains(lease))
        };
        let lost: Vec<_> = self.acknowledged.iter().filter(|lease| !is_kept(lease)).cloned().collect();
        if !lost.is_empty() {
            self.broken.push(format!("I6: accepted, and not in the database: {lost:?}"));
        }
    }
}
