//! Agents that testify: shell stand-ins that write when they were at work, by the clock that runs
//! during suspend, and a check that no two of one task were at work at the same time (I9).

use std::{collections::BTreeMap, fs, path::PathBuf};

use crate::Home;

/// Beats in a second of an agent's work, about.
pub const BEATS_A_SECOND: u32 = 20;

/// The stand-in: `witness.sh BEATS [flaky]`; a flaky one fails where none of its task was before it. While the file `hold` is
/// there it does not come to its end. A child in a session of its own beats beside it.
const SCRIPT: &str = r#"say() { read -r up rest < /proc/uptime; echo "$1 $WAVEGATE_TASK $WAVEGATE_LEASE_ID $WAVEGATE_ATTEMPT $up" >> "$file"; }
say begin
export file
setsid sh -c 'while :; do read -r up rest < /proc/uptime; echo "child $WAVEGATE_TASK $WAVEGATE_LEASE_ID $WAVEGATE_ATTEMPT $up" >> "$file"; sleep 0.1; done' &
at=0
while [ "$at" -lt "$1" ] || [ -e "$hold" ]; do sleep 0.05; say beat; at=$((at + 1)); done
say end
[ "$2" != flaky ] || [ "$(grep -c "^begin $WAVEGATE_TASK " "$file")" -gt 1 ]
"#;

/// While it is there, no witness comes to its end.
const HOLD: &str = "hold";

/// When one lease's agent, with all its children, was at work.
#[derive(Debug, Clone, PartialEq)]
pub struct Interval {
    pub task: String,
    pub lease: String,
    pub attempt: u32,
    /// Seconds since the boot of this host.
    pub first: f64,
    pub last: f64,
    /// It came to its end by itself.
    pub is_whole: bool,
}

impl Home {
    /// Writes a plan of so many tasks in one wave, without a workspace, each at work for so many beats (the numbers in turn); every
    /// third fails when it runs first.
    pub fn witness_plan(&self, name: &str, tasks: usize, beats: &[u32]) -> anyhow::Result<PathBuf> {
        let (file, hold) = (self.path("witness"), self.path(HOLD));
        let (file, hold) = (file.display(), hold.display());
        let script = self.write("witness.sh", &format!("file={file}\nhold={hold}\n{SCRIPT}"))?;
        let line = |at| {
            let flaky = if at % 3 == 0 { " flaky" } else { "" };
            let beats = beats[(at - 1) % beats.len()];
            let run = format!("sh {} {beats}{flaky}", script.display());
            format!("      - {{ id: T1-{at:02}, run: {run:?}, verify: [\"true\"], on_lost: retry }}\n")
        };
        let lines: String = (1..=tasks).map(line).collect();
        let head = "project: { workspace: none }\nwaves:\n  - id: W1\n    tasks:\n";
        self.write(&format!("{name}.yaml"), &format!("name: {name}\n{head}{lines}"))
    }

    /// From now on no agent comes to its end before [`Self::let_go`]: a fault that is to meet it at work does, on
    /// however slow a machine.
    pub fn hold(&self) -> anyhow::Result<PathBuf> {
        self.write(HOLD, "")
    }

    /// Every agent that was held comes to its end.
    pub fn let_go(&self) -> anyhow::Result<()> {
        Ok(fs::remove_file(self.path(HOLD))?)
    }

    /// What the agents have written so far, by lease.
    #[must_use]
    pub fn intervals(&self) -> Vec<Interval> {
        let mut intervals: BTreeMap<String, Interval> = BTreeMap::new();
        for line in self.read("witness").lines() {
            let words: Vec<_> = line.split(' ').collect();
            let [word, task, lease, attempt, up] = words[..] else { continue };
            let (Ok(at), Ok(attempt)) = (up.parse::<f64>(), attempt.parse()) else { continue };
            let (task, lease) = (task.to_owned(), lease.to_owned());
            let interval = intervals.entry(lease.clone()).or_insert(Interval {
                task,
                lease,
                attempt,
                first: at,
                last: at,
                is_whole: false,
            });
            interval.last = at;
            interval.is_whole |= word == "end";
        }
        intervals.into_values().collect()
    }

    /// Panics when two agents of one task were at work at the same time for longer than `tolerance`
    /// seconds.
    #[track_caller]
    pub fn assert_no_overlap(&self, tolerance: f64) {
        let intervals = self.intervals();
        for (at, one) in intervals.iter().enumerate() {
            for other in &intervals[at + 1..] {
                let both = one.last.min(other.last) - one.first.max(other.first);
                assert!(
                    one.task != other.task || both <= tolerance,
                    "two agents at once for {both:.2} s: {one:?} and {other:?}\n{}",
                    self.dump()
                );
            }
        }
    }

    /// Panics unless every task of the plan is done, and no more agents began than attempts are counted.
    /// `is_undisturbed`: and each task had the one agent that it needs, or two where it is flaky (a grant that
    /// never reached its worker is counted as an attempt, and nothing ran).
    #[track_caller]
    pub fn assert_done(&self, plan: &str, tasks: usize, is_undisturbed: bool) {
        let shown = self.show(plan).unwrap_or_default();
        let listed = shown["waves"][0]["tasks"].as_array().cloned().unwrap_or_default();
        assert_eq!((shown["status"].as_str(), listed.len()), (Some("done"), tasks), "{}", self.dump());
        let intervals = self.intervals();
        for task in listed {
            let (key, counted) = (task["id"].as_str().unwrap_or(""), task["attempt"].as_i64().unwrap_or(0));
            let whole = intervals.iter().filter(|interval| interval.task == key && interval.is_whole).count();
            let begun = intervals.iter().filter(|interval| interval.task == key).count();
            let needed =
                if key.trim_start_matches("T1-").parse::<u32>().is_ok_and(|at| at % 3 == 0) { 2 } else { 1 };
            assert!(
                !is_undisturbed || begun == needed,
                "{key}: {begun} agents began, {needed} needed\n{}",
                self.dump()
            );
            let counted = usize::try_from(counted).unwrap_or(0);
            assert!(
                whole >= 1 && begun <= counted,
                "{key}: {begun} begun, {whole} ended, {counted} counted\n{}",
                self.dump()
            );
        }
    }

    /// Panics when a result that a worker was told to be accepted is not in the database, or twice.
    #[track_caller]
    pub fn assert_accepted_is_kept(&self, workers: &[&str]) {
        let sql = match self.sql() {
            Ok(sql) => sql,
            Err(error) => panic!("no database: {error}"),
        };
        let mut accepted = 0;
        for worker in workers {
            for line in self.read(&format!("worker-{worker}.log")).lines() {
                let Some((_, lease)) = line.split_once("accepted: lease ") else { continue };
                let state: Result<String, _> =
                    sql.query_row("SELECT state FROM wg_leases WHERE id = ?1", [lease], |row| row.get(0));
                assert!(
                    matches!(state.as_deref(), Ok("finished" | "released")),
                    "lease {lease} was accepted and is {state:?}\n{}",
                    self.dump()
                );
                accepted += 1;
            }
        }
        assert!(accepted > 0, "nothing was accepted\n{}", self.dump());
    }
}
