//! The power of the coordinator's host goes: a real run is traced, its disk is rebuilt at many moments in many ways, and
//! the real coordinator is started on it.

use std::{
    collections::BTreeSet,
    fs, thread,
    time::{SystemTime, UNIX_EPOCH},
};

use wavegate_tests::{
    Home,
    power_loss::{Deed, Disk, Event, Fate, Trace, spoken, traced, traced_with},
};

use crate::{
    begin, free_address, home_in_memory, need_strace,
    promises::{Given, Promise, broken},
};

/// The database lies in folders that the coordinator makes itself, below one that was there.
const HOST: &str = "host";
const DB: &str = "host/share/wavegate/wavegate.db";

/// After so many syncs of one thread: behind the start, in the middle of the plan; for ever, or a few times.
const FAILING: &str = "inject=fsync:error=EIO:when=40+";
const FALTERING: &str = "inject=fsync:error=EIO:when=40..43";

/// Real coordinators are started on so many of the rebuilt disks.
const STARTS: usize = 40;

/// Files, a failure, a dependency, two waves: results that name artifacts, candidates, verdicts, publications.
const PLAN: &str = r#"name: power
project: { workspace: dir }
waves:
  - id: W1
    tasks:
      - { id: T1, run: "head -c 3000 /dev/urandom > one", verify: ["test -s one"] }
      - { id: T2, run: "head -c 9000 /dev/urandom > two; test $WAVEGATE_ATTEMPT -gt 1", verify: ["test -s two"] }
      - { id: T3, run: "cat one > three", depends_on: [T1], verify: ["cmp one three"] }
  - id: W2
    tasks:
      - { id: T4, run: "cat one two three > all; seq 3000", verify: ["test -s all"] }
      - { id: T5, run: "sort two > sorted", verify: ["test -s sorted"] }
"#;

/// A home whose database has a folder to be made in.
fn new_host() -> Home {
    let home = home_in_memory().with_db(DB);
    fs::create_dir(home.path(HOST)).unwrap();
    home
}

fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// What traced lives of coordinators on one disk left.
struct Life {
    events: Vec<Event>,
    given: Vec<Given>,
}

impl Life {
    /// A plan from its submission to its end.
    fn of_a_plan() -> Self {
        let home = new_host();
        let plan = home.write("plan.yaml", PLAN).unwrap();
        let log = home.path("trace");
        let mut coordinator =
            home.serve_by(&mut traced(&home.serve_command(&free_address(), &[]), &log)).unwrap();
        let listening = seconds();
        let _worker = home.worker("one", &["--slots", "3"]).unwrap();
        begin(&home, "power", plan.to_str().unwrap(), "standard");
        let approved = seconds();
        home.wait_for_status("power", "done");
        coordinator.kill();
        let mut life = Self::read(&home, &Trace::read(&log, coordinator.id()));
        let token = fs::read_to_string(home.beside_db("token")).unwrap().trim().to_owned();
        let id = "SELECT value FROM wg_meta WHERE key='database_id'";
        let id = home.sql().unwrap().query_row(id, [], |row| row.get(0)).unwrap();
        life.promise(listening, Promise::Token(token));
        life.promise(listening, Promise::Database(id));
        life.promise(approved, Promise::Stored("power".to_owned()));
        life.promise(approved, Promise::Approved("power".to_owned()));
        life
    }

    /// A coordinator that meets the fault and, where it is for ever, is killed, and another after it.
    fn of_a_disk_that_fails(fault: &str) -> Self {
        let (home, address) = (new_host(), free_address());
        let task = |at| format!("      - {{ id: T{at}, run: \"true\", verify: [\"true\"] }}\n");
        let tasks: String = (1..=60).map(task).collect();
        let text =
            format!("name: failing\nproject: {{ workspace: none }}\nwaves:\n  - id: W1\n    tasks:\n{tasks}");
        let plan = home.write("plan.yaml", &text).unwrap();
        let (first, second) = (home.path("first"), home.path("second"));
        let command = home.serve_command(&address, &[]);
        let mut failing = home.serve_by(&mut traced_with(&command, &first, Some(fault))).unwrap();
        let _worker = home.worker("one", &["--slots", "3"]).unwrap();
        begin(&home, "failing", plan.to_str().unwrap(), "standard");
        failing.wait_for_output("the store is unavailable");
        let is_over = fault != FAILING;
        if is_over {
            home.wait_for_status("failing", "done");
        }
        failing.kill();
        let mut trace = Trace::read(&first, failing.id());
        if !is_over {
            let mut coordinator = home.serve_by(&mut traced(&command, &second)).unwrap();
            home.wait_for_status("failing", "done");
            coordinator.kill();
            trace = trace.then(Trace::read(&second, coordinator.id()));
        }
        let life = Self::read(&home, &trace);
        let failed = life.events.iter().any(|event| matches!(event.deed, Deed::Sync { is_done: false, .. }));
        assert!(failed, "no sync failed");
        life
    }

    fn read(home: &Home, trace: &Trace) -> Self {
        let events = Event::all(trace, &home.path(HOST));
        let given = Given::acceptances(&spoken(&events));
        assert!(given.len() >= 8, "{} acceptances in the trace\n{}", given.len(), home.dump());
        Self { events, given }
    }

    /// What somebody knew at that time.
    fn promise(&mut self, time: f64, promise: Promise) {
        self.given.push(Given::at(time, &self.events, promise));
    }

    fn promises(&self, cut: usize) -> Vec<Promise> {
        self.given.iter().filter(|given| given.from <= cut).map(|given| given.promise.clone()).collect()
    }

    /// Where it is most likely to hurt: as each promise was given, and about each sync and each name.
    fn cuts(&self) -> Vec<usize> {
        let mut cuts: BTreeSet<usize> = self.given.iter().map(|given| given.from).collect();
        for event in &self.events {
            match event.deed {
                // After hundreds of promises each sync more shows little.
                Deed::Sync { is_done: true, .. } if self.given.len() > 60 => {}
                Deed::Sync { .. } | Deed::Rename { .. } => cuts.extend([event.begin, event.end + 1]),
                Deed::Create(_)
                | Deed::MakeFolder(_)
                | Deed::Write { .. }
                | Deed::Truncate { .. }
                | Deed::Link { .. }
                | Deed::Remove(_)
                | Deed::Said { .. } => {}
            }
        }
        let last = self.events.last().map_or(0, |event| event.end + 1);
        cuts.into_iter().filter(|cut| *cut <= last).collect()
    }
}

/// Three ways for a moment: nothing uncertain is there, and two that the moment's number draws.
fn fates(cut: usize) -> [Fate; 3] {
    let cut = cut as u64;
    [Fate::Nothing, Fate::Seed(2 * cut), Fate::Seed(2 * cut + 1)]
}

#[test]
#[ignore = "needs strace: cargo test -p wavegate-tests --test disks -- --ignored"]
fn power_loss_of_the_coordinators_host_loses_nothing_that_was_acknowledged() {
    need_strace();
    keeps_its_word(&Life::of_a_plan());
}

/// What a failed sync left is in memory, and the kernel takes it for written: who reads it back after a restart must not
/// build on it as if it were on the disk.
#[test]
#[ignore = "needs strace: cargo test -p wavegate-tests --test disks -- --ignored"]
fn power_loss_after_syncs_that_failed_and_a_kill_loses_nothing_that_was_acknowledged() {
    need_strace();
    keeps_its_word(&Life::of_a_disk_that_fails(FAILING));
}

#[test]
#[ignore = "needs strace: cargo test -p wavegate-tests --test disks -- --ignored"]
fn power_loss_after_a_few_syncs_that_failed_loses_nothing_that_was_acknowledged() {
    need_strace();
    keeps_its_word(&Life::of_a_disk_that_fails(FALTERING));
}

fn keeps_its_word(life: &Life) {
    let cuts = life.cuts();
    let mut kept: Vec<(usize, Fate, Home)> = Vec::new();
    let every = (cuts.len() * 3).div_ceil(STARTS);
    let (mut at, mut failures) = (0, Vec::new());
    Disk::at_each(&life.events, &cuts, |cut, disk| {
        for fate in fates(cut) {
            let home = home_in_memory().with_db(DB);
            disk.rebuild(fate, &home.path(HOST)).unwrap();
            at += 1;
            if at % every == 0 {
                kept.push((cut, fate, home));
            } else if let Some(broken) = broken(&home.db(), &life.promises(cut)) {
                let near = if failures.is_empty() { Event::about(&life.events, cut) } else { String::new() };
                failures.push(format!("cut {cut}, {fate:?}: {broken}\n{near}"));
            }
        }
    });
    assert!(failures.is_empty(), "{} of {at}:\n{}", failures.len(), failures.join("\n"));
    assert!(at >= 150 && kept.len() >= STARTS / 2, "{at} disks, a coordinator started on {}", kept.len());
    thread::scope(|scope| {
        for part in kept.chunks(kept.len().div_ceil(2)) {
            scope.spawn(|| part.iter().for_each(|(cut, fate, home)| starts(life, *cut, *fate, home)));
        }
    });
}

/// The real coordinator opens it, knows what it has promised, and takes itself for no copy.
fn starts(life: &Life, cut: usize, fate: Fate, home: &Home) {
    let what = format!("cut {cut}, {fate:?}");
    let mut coordinator = home.serve("127.0.0.1:0").unwrap();
    assert!(!coordinator.output().contains("WARN"), "{what}\n{}", home.dump());
    coordinator.kill();
    if let Some(broken) = broken(&home.db(), &life.promises(cut)) {
        panic!("{what}: {broken}\n{}", home.dump());
    }
}
