//! Backups under a running plan, and what follows when an older copy takes the database's place: the plans wait for a
//! person, since what was done after the copy is not in it.

use std::fs;

use wavegate_tests::{BEATS_A_SECOND, Home, Process, wait_until};

use crate::{begin, free_address, home, wait_for_agents};

/// A plan at work, with its coordinator and its worker.
struct AtWork {
    home: Home,
    address: String,
    coordinator: Process,
    worker: Process,
}

impl AtWork {
    fn start() -> Self {
        let (home, address) = (home(), free_address());
        let coordinator = home.serve(&address).unwrap();
        let worker = home.worker("one", &["--slots", "4"]).unwrap();
        worker.wait_for_output("connected");
        begin(&home, "kept", 8, BEATS_A_SECOND / 4, "standard");
        let at_work = Self { home, address, coordinator, worker };
        at_work.wait_for_accepted(2);
        at_work
    }

    #[track_caller]
    fn wait_for_accepted(&self, least: usize) {
        wait_until(
            "results to be accepted",
            || self.home.dump(),
            || (self.worker.output().matches("accepted: lease").count() >= least).then_some(()),
        );
    }

    /// A copy as any tool of SQLite makes it, without the mark of a backup.
    fn copy(&self) {
        let copy = self.home.path("copy.db");
        self.home.sql().unwrap().execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    }

    /// The copy takes the place of the database, and another coordinator starts on it.
    fn restore(&mut self) {
        self.coordinator.kill();
        for ending in ["-wal", "-shm"] {
            let _ = fs::remove_file(self.home.path(&format!("wavegate.db{ending}")));
        }
        fs::copy(self.home.path("copy.db"), self.home.db()).unwrap();
        self.coordinator = self.home.serve(&self.address).unwrap();
    }

    #[track_caller]
    fn wait_for_pause(&self) {
        self.home.wait_for_status("kept", "paused");
        let paused = "SELECT count(*) FROM wg_events WHERE kind='plan_paused' AND reason='restored'";
        assert_eq!(self.home.count(paused).unwrap(), 1, "{}", self.home.dump());
    }

    /// It stays paused with a worker at hand, until a person lets it go on.
    #[track_caller]
    fn goes_on_when_asked(&self) {
        wait_until(
            "the worker to be there",
            || self.home.dump(),
            || {
                (self.home.count("SELECT count(*) FROM wg_events WHERE kind='worker_connected'").unwrap()
                    >= 2)
                    .then_some(())
            },
        );
        let begun = self.home.intervals().len();
        let ran = self.home.run(&["show", "kept"]).unwrap();
        assert!(ran.stdout.contains("older copy") || ran.stdout.contains("backup"), "{}", ran.stdout);
        assert_eq!((self.home.status("kept").as_str(), self.home.intervals().len()), ("paused", begun));
        assert_eq!(self.home.run(&["resume", "kept"]).unwrap().code, Some(0));
        self.home.wait_for_status("kept", "done");
        self.home.assert_no_overlap(0.0);
    }
}

#[test]
fn a_backup_of_a_running_plan_disturbs_nothing_and_pauses_the_plan_where_it_is_restored() {
    let mut at_work = AtWork::start();
    let ran = at_work.home.run(&["backup", "copy.db"]).unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.starts_with("copy.db: "), "{ran:?}");
    at_work.home.wait_for_status("kept", "done");
    at_work.home.assert_done("kept", 8, true);
    at_work.restore();
    at_work.wait_for_pause();
    at_work.goes_on_when_asked();
}

#[test]
fn an_older_copy_is_known_by_the_leases_that_its_worker_remembers() {
    let mut at_work = AtWork::start();
    at_work.copy();
    at_work.wait_for_accepted(6);
    at_work.restore();
    at_work.wait_for_pause();
    at_work.goes_on_when_asked();
}

#[test]
fn an_older_copy_is_known_by_the_start_that_it_does_not_hold_before_any_worker_comes() {
    let mut at_work = AtWork::start();
    at_work.copy();
    at_work.coordinator.kill();
    at_work.coordinator = at_work.home.serve(&at_work.address).unwrap();
    wait_for_agents(&at_work.home, 4);
    at_work.worker.kill();
    at_work.restore();
    at_work.wait_for_pause();
    at_work.worker = at_work.home.worker("one", &["--slots", "4"]).unwrap();
    at_work.goes_on_when_asked();
}

#[test]
fn the_newest_copy_is_no_older_one() {
    let mut at_work = AtWork::start();
    at_work.home.wait_for_status("kept", "done");
    at_work.copy();
    begin(&at_work.home, "next", 2, 1, "standard");
    at_work.home.wait_for_status("next", "done");
    at_work.copy_again();
    at_work.restore();
    wait_until(
        "the worker to be back",
        || at_work.home.dump(),
        || (at_work.worker.output().matches("connected: ").count() >= 2).then_some(()),
    );
    begin(&at_work.home, "last", 2, 1, "standard");
    at_work.home.wait_for_status("last", "done");
    let told = "SELECT count(*) FROM wg_events WHERE kind='database_restored'";
    assert_eq!(at_work.home.count(told).unwrap(), 0, "{}", at_work.home.dump());
}

impl AtWork {
    fn copy_again(&self) {
        fs::remove_file(self.home.path("copy.db")).unwrap();
        self.copy();
    }
}

const FILES: &str = "name: files\nproject: { workspace: dir }\nwaves:\n  - id: W1\n    tasks:\n      - { id: T1, run: \
                     \"echo kept > result\", verify: [\"test -f result\"] }\n";

#[test]
fn a_backup_holds_the_artifacts_and_can_be_used_elsewhere() {
    let (home, elsewhere) = (home(), crate::home());
    let plan = home.write("files.yaml", FILES).unwrap();
    let ran = home.run(&["run", plan.to_str().unwrap(), "--mode", "standard"]).unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let target = elsewhere.db();
    let ran = home.run(&["backup", target.to_str().unwrap(), "--json"]).unwrap();
    let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(told["artifacts"].as_u64().unwrap() > 0 && told["logs"].as_u64().unwrap() > 0, "{told}");
    // A second one replaces the first.
    assert_eq!(home.run(&["backup", target.to_str().unwrap()]).unwrap().code, Some(0));
    let ran = elsewhere.run(&["report", "files", "--out", "written"]).unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(elsewhere.read("written/result"), "kept\n");
    let logs = elsewhere.run(&["logs", "files"]).unwrap();
    assert_eq!(logs.code, Some(0), "{logs:?}");
}

#[test]
fn a_backup_is_refused_in_words_where_it_would_destroy_something() {
    let home = home();
    let refused = |args: &[&str], words: &str| {
        let ran = home.run(args).unwrap();
        assert_eq!(ran.code, Some(1), "{args:?}: {ran:?}");
        assert!(ran.stderr.contains(words), "{args:?}: {ran:?}");
    };
    refused(&["backup", "copy.db"], "there is no database at");
    let plan = home.write("files.yaml", FILES).unwrap();
    assert_eq!(home.run(&["run", plan.to_str().unwrap(), "--mode", "standard"]).unwrap().code, Some(0));
    refused(&["backup", "wavegate.db"], "is the database itself");
    refused(&["backup", "files.yaml"], "is there and is no backup of wavegate");
    assert_eq!(home.read("files.yaml"), FILES);
    refused(&["backup", "no/such/folder/copy.db"], "no/such/folder/copy.db");
    let left = fs::read_dir(home.path(""))
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().contains(".new"));
    assert_eq!(left.count(), 0);
}
