//! The coordinator ten times, then every worker twice.

use std::{collections::BTreeMap, fs};

use wavegate_tests::{Home, Process, wait_until};

use crate::{free_address, home};

const TASKS: usize = 60;

/// No lease is lost by silence, on however slow a machine: by a kill alone. Each task writes a line outside when it ends, and another if a second attempt of it is at work.
fn plan(home: &Home, name: &str) -> String {
    let dir = home.path("").display().to_string();
    let body = format!(
        "echo $WAVEGATE_TASK >> {dir}/begun; sleep 0.3; echo $WAVEGATE_TASK $WAVEGATE_ATTEMPT >> {dir}/ended"
    );
    let run = format!(
        "flock -n {dir}/lock-$WAVEGATE_TASK sh -c '{body}' || {{ echo $WAVEGATE_TASK >> {dir}/overlaps; false; }}"
    );
    let tasks: Vec<_> = (1..=TASKS)
        .map(|at| format!("      - {{ id: T1-{at:02}, run: {run:?}, verify: [\"true\"] }}\n"))
        .collect();
    format!(
        "name: {name}\nproject: {{ workspace: none }}\ndefaults: {{ on_lost: retry, lost_after: 1m }}\nwaves:\n  - id: W1\n    tasks:\n{}",
        tasks.concat()
    )
}

struct Cluster {
    home: Home,
    address: String,
    coordinator: Process,
    workers: BTreeMap<&'static str, Process>,
}

impl Cluster {
    fn start(mode: &str) -> Self {
        let home = home();
        let address = free_address();
        let coordinator = home.serve(&address).unwrap();
        let names = ["one", "two", "three"];
        let workers = names.map(|name| (name, home.worker(name, &["--slots", "4"]).unwrap())).into();
        let plan = home.write("plan.yaml", &plan(&home, "sixty")).unwrap();
        assert_eq!(home.run(&["submit", plan.to_str().unwrap()]).unwrap().code, Some(0));
        assert_eq!(home.run(&["approve", "sixty", "--mode", mode]).unwrap().code, Some(0));
        Self { home, address, coordinator, workers }
    }

    fn lines(&self, file: &str) -> usize {
        self.home.read(file).lines().count()
    }

    #[track_caller]
    fn wait_for_begun(&self, least: usize) {
        wait_until(
            "more tasks to begin",
            || self.home.dump(),
            || (self.lines("begun") >= least || self.lines("ended") >= TASKS).then_some(()),
        );
    }

    fn restart_coordinator(&mut self) {
        self.coordinator.kill();
        self.coordinator = self.home.serve(&self.address).unwrap();
    }

    /// Kills the worker while it has a task, starts it again, and waits until what was lost is done: the second loss
    /// of one task would block it, as it should.
    #[track_caller]
    fn restart_worker(&mut self, name: &'static str) {
        let is_over = || self.lines("ended") >= TASKS;
        self.wait_for("a task of the worker", || is_over() || !self.open_leases(name).is_empty());
        let log = format!("worker-{name}.log");
        let before = self.home.read(&log).matches("connected: ").count();
        if let Some(worker) = self.workers.get_mut(name) {
            worker.kill();
        }
        let connections = || self.home.read(&log).matches("connected: ").count();
        self.workers.insert(name, self.home.worker(name, &["--slots", "4"]).unwrap());
        self.wait_for("the worker to be back", || connections() > before);
        // One that was granted while it was away is among them.
        let held = self.open_leases(name);
        self.wait_for("what it held to end", || self.open_leases(name).iter().all(|one| !held.contains(one)));
        let undone = "SELECT count(*) FROM wg_tasks WHERE losses > 0 AND state IN ('pending', 'leased')";
        self.wait_for("what was lost to be done", || self.home.count(undone).unwrap() == 0);
    }

    /// The leases of tasks that the coordinator counts as the worker's.
    fn open_leases(&self, worker: &str) -> Vec<String> {
        let sql = self.home.sql().unwrap();
        let query = "SELECT wg_leases.id FROM wg_leases JOIN wg_workers ON wg_workers.id = worker_id
                     WHERE wg_workers.name = ?1 AND kind = 'task'
                     AND state IN ('granted', 'running', 'cancelling', 'unreachable')";
        let mut query = sql.prepare(query).unwrap();
        query.query_map([worker], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    #[track_caller]
    fn wait_for(&self, what: &str, is_so: impl Fn() -> bool) {
        wait_until(what, || self.home.dump(), || is_so().then_some(()));
    }

    /// Every task's line is there once, or once for each attempt that `show` counts; none overlapped.
    fn check(&self) {
        assert_eq!(self.home.read("overlaps"), "", "two attempts of one task at once\n{}", self.home.dump());
        let shown = self.home.show("sixty").unwrap();
        let mut lines: BTreeMap<String, i64> = BTreeMap::new();
        for line in self.home.read("ended").lines() {
            *lines.entry(line.split(' ').next().unwrap().to_owned()).or_default() += 1;
        }
        let tasks = shown["waves"][0]["tasks"].as_array().unwrap();
        assert_eq!(tasks.len(), TASKS);
        for task in tasks {
            let (key, attempts) = (task["id"].as_str().unwrap(), task["attempt"].as_i64().unwrap());
            let ended = lines.get(key).copied().unwrap_or(0);
            assert!(
                (1..=attempts).contains(&ended),
                "{key}: {ended} lines, {attempts} attempts\n{}",
                self.home.dump()
            );
            assert_eq!(task["status"], "done");
        }
    }

    /// No process of any task is left.
    fn check_no_process_is_left(&self) {
        let mark = self.home.path("").display().to_string();
        wait_until(
            "every process of a task to be gone",
            || self.home.dump(),
            || {
                let left = fs::read_dir("/proc").unwrap().flatten().any(|entry| {
                    let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                    let command = String::from_utf8_lossy(&command).into_owned();
                    command.contains(&mark) && command.contains("flock")
                });
                (!left).then_some(())
            },
        );
    }
}

#[test]
fn ten_kills_of_the_coordinator_run_nothing_twice() {
    let mut cluster = Cluster::start("standard");
    for kill in 1..=10 {
        cluster.wait_for_begun(kill * 5);
        cluster.restart_coordinator();
    }
    cluster.home.wait_for_status("sixty", "done");
    cluster.check();
    let mut ended: Vec<_> =
        cluster.home.read("ended").lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    ended.sort();
    let all = ended.len();
    ended.dedup();
    assert_eq!((all, ended.len()), (TASKS, TASKS), "each task ran once\n{}", cluster.home.dump());
    cluster.check_no_process_is_left();
}

#[test]
fn two_kills_of_every_worker_lose_nothing() {
    let mut cluster = Cluster::start("standard");
    for name in ["one", "two", "three", "one", "two", "three"] {
        cluster.restart_worker(name);
    }
    let blocked = || cluster.home.status("sixty") == "blocked";
    wait_until(
        "the end",
        || cluster.home.dump(),
        || (blocked() || cluster.home.status("sixty") == "done").then_some(()),
    );
    assert!(!blocked(), "two losses of one task: {}", cluster.home.dump());
    let lost = cluster.home.count("SELECT count(*) FROM wg_leases WHERE kind = 'task' AND state = 'lost'");
    assert!(lost.unwrap() > 0, "no kill met a task\n{}", cluster.home.dump());
    cluster.check();
    cluster.check_no_process_is_left();
}
