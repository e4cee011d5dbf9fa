//! kill -9 at each point of the ways to the disk: of the coordinator between a decision and what is sent of it, of
//! an artifact and of a log on their way into their folders, of a worker's result through its spool. strace makes the
//! point: the process dies as it enters the call, which is not made any more.

use std::{cell::Cell, path::PathBuf, thread};

use wavegate_tests::{BEATS_A_SECOND, Home, Process, Strace, wait_until};

use crate::{assert_accepted_once, begin_witnesses, free_address, home, need_strace, wait_for};

/// Some at a time, on two cores.
const AT_ONCE: usize = 3;

/// A point that so many kills do not meet is none.
const MOST_KILLS: usize = 20;

/// A command at most so often until the kill.
const MOST_COMMANDS: usize = 500;

/// A point on a way, and the calls at which it is: the n-th of one thread.
#[derive(Debug, Clone)]
struct Point {
    name: &'static str,
    calls: &'static str,
    /// Relative to the home; any file where there is none.
    paths: Vec<PathBuf>,
    nth: u32,
    /// Whether it is one only after something was synced to the database's log.
    is_after_sync: bool,
}

impl Point {
    fn new(name: &'static str, calls: &'static str, paths: &[&str], nth: u32) -> Self {
        Self { name, calls, paths: paths.iter().map(PathBuf::from).collect(), nth, is_after_sync: false }
    }

    fn after_sync(mut self) -> Self {
        self.is_after_sync = true;
        self
    }

    fn strike(&self, home: &Home, process: &Process) -> Strace {
        let paths: Vec<_> = self.paths.iter().map(|path| home.path(path.to_str().unwrap())).collect();
        let fault = format!("signal=KILL:when={}", self.nth);
        let beside = if self.is_after_sync { "fdatasync,fsync" } else { "" };
        Strace::attach_beside(beside, process, &paths, self.calls, &fault, &home.path("strace.log"))
    }

    /// Kills the coordinator, which `work` keeps at work until then, and again where the point was not met: its calls
    /// are made for other reasons, too. Gives the number of kills.
    #[track_caller]
    fn strike_down(&self, home: &Home, address: &str, mut coordinator: Process, work: impl Fn()) -> usize {
        for kills in 1..=MOST_KILLS {
            let struck = self.strike(home, &coordinator);
            work();
            assert!(!coordinator.wait().success(), "{}", self.name);
            if self.is_met(&self.assert_struck(struck)) {
                return kills;
            }
            coordinator = home.serve(address).unwrap();
        }
        panic!("{}: not met by {MOST_KILLS} kills\n{}", self.name, home.read("strace.log"));
    }

    /// Whether something was on disk before the call that was killed, by the trace.
    fn is_met(&self, log: &str) -> bool {
        let is_sync = |line: &str| line.contains("sync(") && line.contains("-wal>)") && line.ends_with("= 0");
        let lines: Vec<_> = log.lines().collect();
        let killed = lines.iter().rposition(|line| self.is_at(line));
        !self.is_after_sync || killed.is_some_and(|at| lines[..at].iter().any(|line| is_sync(line)))
    }

    /// A line of the trace, about such a call.
    fn is_at(&self, line: &str) -> bool {
        self.calls.split(',').any(|call| line.contains(&format!(" {call}(")))
    }

    /// The process has ended as it entered such a call; gives the trace.
    #[track_caller]
    fn assert_struck(&self, struck: Strace) -> String {
        wait_until(
            &format!("the kill {}", self.name),
            || struck.log(),
            || {
                let log = struck.log();
                (self.is_at(&log) && log.contains("killed by SIGKILL")).then_some(log)
            },
        )
    }
}

fn at_each(points: &[Point], test: impl Fn(&Point) + Sync) {
    need_strace();
    for some in points.chunks(AT_ONCE) {
        thread::scope(|scope| {
            for point in some {
                scope.spawn(|| test(point));
            }
        });
    }
}

/// Everything that is promised, after the end.
#[track_caller]
fn ended_right(home: &Home, plan: &str, tasks: usize) {
    home.wait_for_status(plan, "done");
    home.assert_done(plan, tasks, false);
    home.assert_no_overlap(0.0);
    home.assert_accepted_is_kept(&["one"]);
    assert_accepted_once(home);
}

/// A plan that nobody approves.
const MORE: &str = "name: more\nproject: { workspace: none }\nwaves:\n  - id: W1\n    tasks:\n      - { id: T1, run: \"true\", verify: [\"true\"] }\n";

/// The points of the commit path, in the order of the way.
fn of_a_commit() -> Vec<Point> {
    let (log, map) = ("wavegate.db-wal", "wavegate.db-shm");
    vec![
        Point::new("decided nothing yet: before BEGIN", "fcntl", &[map], 9),
        Point::new("decided nothing yet: before a later BEGIN", "fcntl", &[map], 60),
        Point::new("decided, before the first page is written", "pwrite64", &[log], 1),
        Point::new("decided, half of the pages written", "pwrite64", &[log], 4),
        Point::new("decided, half of later pages written", "pwrite64", &[log], 33),
        Point::new("written, before the fsync", "fdatasync,fsync", &[log], 1),
        Point::new("written, before a later fsync", "fdatasync,fsync", &[log], 6),
        Point::new("on disk, before it is sent", "sendto,writev,sendmsg", &[], 3).after_sync(),
        Point::new("on disk, before a later message is sent", "sendto,writev,sendmsg", &[], 9).after_sync(),
        Point::new("sent, before anything else", "epoll_wait", &[], 12),
    ]
}

#[test]
#[ignore = "needs strace: cargo test -p wavegate-tests --test disks -- --ignored"]
fn a_coordinator_that_is_killed_at_any_point_of_a_commit_loses_nothing_and_runs_nothing_twice() {
    at_each(&of_a_commit(), |point| {
        let (home, address) = (home(), free_address());
        let coordinator = home.serve(&address).unwrap();
        let worker = home.worker("one", &["--slots", "4"]).unwrap();
        worker.wait_for_output("connected");
        begin_witnesses(&home, "killed", 6, &[BEATS_A_SECOND / 4, BEATS_A_SECOND / 2]);
        let more = home.write("more.yaml", MORE).unwrap();
        // However late the tracer comes, there is something to commit and to send.
        let submit = || home.run(&["submit", more.to_str().unwrap()]).unwrap().code == Some(0);
        point.strike_down(&home, &address, coordinator, || {
            let lives = (0..MOST_COMMANDS).all(|_| submit());
            assert!(!lives, "{}: it lives", point.name);
        });
        let _coordinator = home.serve(&address).unwrap();
        ended_right(&home, "killed", 6);
    });
}

/// Before its approval: the answer of the command that was under way is not promised, what it asked is done or not.
#[test]
#[ignore = "needs strace: cargo test -p wavegate-tests --test disks -- --ignored"]
fn an_operator_who_was_answered_is_right_after_a_kill_at_any_point_of_the_commit() {
    at_each(&of_a_commit()[2..9], |point| {
        let (home, address) = (home(), free_address());
        let coordinator = home.serve(&address).unwrap();
        let plan = home.witness_plan("asked", 1, &[1]).unwrap();
        let plan = plan.to_str().unwrap();
        let answered = Cell::new(0);
        let kills = point.strike_down(&home, &address, coordinator, || {
            while home.run(&["submit", plan]).unwrap().code == Some(0) {
                answered.set(answered.get() + 1);
                assert!(answered.get() < MOST_COMMANDS, "{}: it lives", point.name);
            }
        });
        let answered = answered.get();
        let _coordinator = home.serve(&address).unwrap();
        let stored = home.count("SELECT count(*) FROM wg_plans WHERE switched_on = 1").unwrap();
        let stored = usize::try_from(stored).unwrap();
        // The one that a kill left without an answer may be there.
        assert!(
            (answered..=answered + kills).contains(&stored),
            "{}: {answered} answered, {stored} stored",
            point.name
        );
        assert_eq!(home.count("SELECT count(*) FROM wg_plans WHERE switched_on = 0").unwrap(), 0);
    });
}

/// Each task writes what none has written before.
fn files(home: &Home) -> PathBuf {
    let task = |id| {
        format!(
            "      - {{ id: T{id}, run: \"echo file {id} > f{id}; echo said {id}\", verify: [\"test -s f{id}\"] }}\n"
        )
    };
    let text = format!(
        "name: files\nproject: {{ workspace: dir }}\nwaves:\n  - id: W1\n    tasks:\n{}",
        (1..=4).map(task).collect::<String>()
    );
    home.write("files.yaml", &text).unwrap()
}

#[test]
#[ignore = "needs strace: cargo test -p wavegate-tests --test disks -- --ignored"]
fn a_coordinator_that_is_killed_on_the_way_of_an_artifact_or_a_log_keeps_whole_ones_only() {
    let folders: Vec<String> =
        (0..=u8::MAX).map(|first| format!("wavegate.db.d/artifacts/{first:02x}")).collect();
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    let points = [
        Point::new("artifact: before its bytes are on disk", "fsync", &[], 1),
        Point::new("artifact: on disk, before its rename", "rename", &[], 1),
        Point::new("artifact: on disk, before a later rename", "rename", &[], 2),
        Point::new("artifact: renamed, before its folder's fsync", "fsync", &folders, 1),
        Point::new("artifact: named on disk, before the answer", "sendto,writev,sendmsg", &[], 9),
        Point::new("log: before or within a piece", "write", &[], 8),
        Point::new("log: written, before its fdatasync", "fdatasync", &[], 2),
        Point::new("log: on disk, before its folder's fsync", "fsync", &["wavegate.db.d/logs"], 1),
    ];
    at_each(&points, |point| {
        let (home, address) = (home(), free_address());
        let mut coordinator = home.serve(&address).unwrap();
        let plan = files(&home);
        let worker = home.worker("one", &["--slots", "4"]).unwrap();
        worker.wait_for_output("connected");
        let struck = point.strike(&home, &coordinator);
        // It may die before it has answered.
        let plan = plan.to_str().unwrap();
        let _ = home.run(&["submit", plan]);
        let _ = home.run(&["approve", "files", "--mode", "max"]);
        assert!(!coordinator.wait().success(), "{}", point.name);
        point.assert_struck(struck);
        let _coordinator = home.serve(&address).unwrap();
        if home.status("files").is_empty() {
            assert_eq!(home.run(&["submit", plan]).unwrap().code, Some(0), "{}", home.dump());
        }
        if home.status("files") == "awaiting_approval" {
            assert_eq!(home.run(&["approve", "files", "--mode", "max"]).unwrap().code, Some(0));
        }
        home.wait_for_status("files", "done");
        home.assert_accepted_is_kept(&["one"]);
        assert_accepted_once(&home);
        if let Some(broken) = crate::promises::broken(&home.db(), &[]) {
            panic!("{}: {broken}\n{}", point.name, home.dump());
        }
        for at in 1..=4 {
            let logs = home.run(&["logs", "files", &format!("T{at}")]).unwrap();
            assert!(logs.stdout.contains(&format!("said {at}")), "{}: {logs:?}\n{}", point.name, home.dump());
        }
    });
}

/// The lease that the worker was granted last.
fn granted(worker: &Process) -> String {
    let output = worker.output();
    let (_, rest) = output.rsplit_once("granted: lease ").unwrap();
    rest.split(',').next().unwrap().to_owned()
}

#[test]
#[ignore = "needs strace: cargo test -p wavegate-tests --test disks -- --ignored"]
fn a_worker_that_is_killed_at_any_point_of_its_spool_runs_nothing_beside_itself_and_loses_no_told_result() {
    let (new, report) = ("worker-one/spool/LEASE.new", "worker-one/spool/LEASE.report");
    let points = [
        Point::new("before the file is made", "openat", &[new], 1),
        Point::new("before it is written", "write", &[new], 1),
        Point::new("written, before its fsync", "fsync", &[new], 1),
        Point::new("on disk, before its rename", "rename", &[new], 1),
        Point::new("renamed, before its folder's fsync", "fsync", &["worker-one/spool"], 1),
        Point::new("in the spool, before it is sent", "sendto,writev,sendmsg", &[], 1),
        Point::new("in the spool, before later words are sent", "sendto,writev,sendmsg", &[], 8),
        Point::new("sent, before the answer is read", "recvfrom,read", &[], 9),
        Point::new("answered, before its removal", "unlink", &[report], 1),
    ];
    at_each(&points, |point| {
        let home = home();
        let _coordinator = home.serve("127.0.0.1:0").unwrap();
        let mut worker = home.worker("one", &["--slots", "1"]).unwrap();
        worker.wait_for_output("connected");
        home.hold().unwrap();
        begin_witnesses(&home, "spooled", 2, &[1]);
        wait_for(&home, "an agent", || !home.intervals().is_empty());
        let lease = granted(&worker);
        let mut point = point.clone();
        for path in &mut point.paths {
            *path = path.to_str().unwrap().replace("LEASE", &lease).into();
        }
        let struck = point.strike(&home, &worker);
        home.let_go().unwrap();
        assert!(!worker.wait().success(), "{}", point.name);
        point.assert_struck(struck);
        let _worker = home.worker("one", &["--slots", "1"]).unwrap();
        ended_right(&home, "spooled", 2);
        wait_for(&home, "the spool to be empty", || {
            let left = std::fs::read_dir(home.path("worker-one/spool")).unwrap().flatten();
            left.filter(|entry| entry.path().is_file()).count() == 0
        });
    });
}
