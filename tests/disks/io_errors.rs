//! Syncs that fail with EIO, by strace: callers are told to come back, nothing is acknowledged that is not on disk, and
//! everything goes on by itself once the fault is over.

use std::path::PathBuf;

use wavegate_tests::{BEATS_A_SECOND, Home, Process, Strace};

use crate::{
    assert_accepted_once, begin, begin_witnesses, free_address, home, need_strace, promises::broken, wait_for,
};

const SYNCS: &str = "fsync,fdatasync";
/// What logs alone are synced by.
const OF_LOGS: &str = "fdatasync";

/// A plan that has nothing to do with the witnesses.
const ASKED: &str = "name: asked\nproject: { workspace: none }\nwaves:\n  - id: W1\n    tasks:\n      - { id: A1, run: \"true\", verify: \
                     [\"true\"] }\n";

/// Such syncs of these files of the home fail from now on; of all, where none is named.
fn fail(home: &Home, process: &Process, paths: &[&str], syncs: &str) -> Strace {
    let paths: Vec<PathBuf> = paths.iter().map(|path| home.path(path)).collect();
    Strace::attach(process, &paths, syncs, "error=EIO", &home.path("strace.log"))
}

fn accepted(worker: &Process) -> usize {
    worker.output().matches("accepted: lease").count()
}

#[test]
#[ignore = "needs strace: cargo test -p wavegate-tests --test disks -- --ignored"]
fn while_the_log_of_the_database_cannot_be_synced_nothing_is_acknowledged_and_then_all_goes_on() {
    need_strace();
    let (home, address) = (home(), free_address());
    let mut coordinator = home.serve(&address).unwrap();
    let worker = home.worker("one", &["--slots", "4"]).unwrap();
    worker.wait_for_output("connected");
    let plan = home.write("asked.yaml", ASKED).unwrap();
    begin_witnesses(&home, "synced", 6, &[BEATS_A_SECOND / 4, BEATS_A_SECOND / 2]);
    wait_for(&home, "agents", || home.intervals().len() >= 3);
    let mut fault = fail(&home, &coordinator, &["wavegate.db-wal"], SYNCS);
    wait_for(&home, "a sync to fail", || fault.injected() > 0);
    let before = accepted(&worker);
    let refused = home.run(&["submit", plan.to_str().unwrap()]).unwrap();
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert!(refused.stderr.contains("disk"), "in words: {refused:?}");
    let failed = fault.injected();
    wait_for(&home, "more syncs to fail", || fault.injected() >= failed + 3);
    assert_eq!(accepted(&worker), before, "acknowledged without being on disk\n{}", home.dump());
    assert!(coordinator.output().contains("the store is unavailable"), "{}", home.dump());
    fault.detach();
    home.wait_for_status("synced", "done");
    begin(&home, "asked", plan.to_str().unwrap(), "standard");
    home.wait_for_status("asked", "done");
    // Neither the fault nor a kill behind it has left anything undone or damaged.
    coordinator.kill();
    let _coordinator = home.serve(&address).unwrap();
    home.assert_done("synced", 6, false);
    home.assert_no_overlap(0.0);
    home.assert_accepted_is_kept(&["one"]);
    assert_accepted_once(&home);
    assert_eq!(broken(&home.db(), &[]), None);
}

/// A thousand pages are more than SQLite leaves in its log.
fn long_plan(home: &Home, name: &str) -> PathBuf {
    let text = "x".repeat(1900);
    let task =
        |at| format!("      - {{ id: T{at}, run: \"true\", verify: [\"true\"], title: \"{text}\" }}\n");
    let tasks: String = (0..2000).map(task).collect();
    home.write(
        &format!("{name}.yaml"),
        &format!("name: {name}\nproject: {{ workspace: none }}\nwaves:\n  - id: W1\n    tasks:\n{tasks}"),
    )
    .unwrap()
}

#[test]
#[ignore = "needs strace: cargo test -p wavegate-tests --test disks -- --ignored"]
fn a_database_file_that_cannot_be_synced_holds_up_nobody_since_the_log_is_kept_until_it_can() {
    need_strace();
    let (home, address) = (home(), free_address());
    let mut coordinator = home.serve(&address).unwrap();
    let plan = long_plan(&home, "long");
    let mut fault = fail(&home, &coordinator, &["wavegate.db"], SYNCS);
    let stored = home.run(&["submit", plan.to_str().unwrap()]).unwrap();
    assert_eq!(stored.code, Some(0), "{stored:?}");
    assert!(fault.injected() > 0, "no checkpoint met the fault");
    fault.detach();
    coordinator.kill();
    let mut coordinator = home.serve(&address).unwrap();
    assert_eq!(home.count("SELECT count(*) FROM wg_tasks").unwrap(), 2000);
    assert_eq!(home.run(&["submit", plan.to_str().unwrap()]).unwrap().code, Some(0));
    coordinator.signal(rustix::process::Signal::TERM);
    assert!(coordinator.wait().success(), "{}", home.dump());
    assert_eq!(home.count("SELECT count(*) FROM wg_tasks").unwrap(), 4000);
    assert_eq!(broken(&home.db(), &[]), None);
}

#[test]
#[ignore = "needs strace: cargo test -p wavegate-tests --test disks -- --ignored"]
fn artifacts_and_logs_that_cannot_be_synced_are_sent_again_until_they_can() {
    need_strace();
    let (home, address) = (home(), free_address());
    let coordinator = home.serve(&address).unwrap();
    let worker = home.worker("one", &["--slots", "4"]).unwrap();
    worker.wait_for_output("connected");
    // Folders and logs can be named beforehand; these are where an artifact is made known and a log begins.
    let mut folders: Vec<String> =
        (0..=u8::MAX).map(|first| format!("wavegate.db.d/artifacts/{first:02x}")).collect();
    folders.push("wavegate.db.d/logs".to_owned());
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    let mut fault = fail(&home, &coordinator, &folders, SYNCS);
    let task = |id| {
        format!(
            "      - {{ id: T{id}, run: \"echo file {id} > f{id}; echo said {id}\", verify: [\"test -s f{id}\"] }}\n"
        )
    };
    let tasks: String = (1..=3).map(task).collect();
    let text = format!("name: files\nproject: {{ workspace: dir }}\nwaves:\n  - id: W1\n    tasks:\n{tasks}");
    let plan = home.write("files.yaml", &text).unwrap();
    begin(&home, "files", plan.to_str().unwrap(), "max");
    wait_for(&home, "syncs to fail", || fault.injected() >= 4);
    assert_eq!(home.count("SELECT count(*) FROM wg_results").unwrap(), 0, "{}", home.dump());
    fault.detach();
    home.wait_for_status("files", "done");
    assert_eq!(
        home.count("SELECT count(*) FROM wg_leases WHERE kind = 'task'").unwrap(),
        3,
        "nothing ran twice"
    );
    home.assert_accepted_is_kept(&["one"]);
    assert_accepted_once(&home);
    assert_eq!(broken(&home.db(), &[]), None);
    for at in 1..=3 {
        let logs = home.run(&["logs", "files", &format!("T{at}")]).unwrap();
        assert!(logs.stdout.contains(&format!("said {at}")), "{logs:?}\n{}", home.dump());
    }
}

#[test]
#[ignore = "needs strace: cargo test -p wavegate-tests --test disks -- --ignored"]
fn a_piece_of_a_log_that_could_not_be_synced_is_written_anew_each_time_that_it_comes() {
    need_strace();
    let (home, address) = (home(), free_address());
    let coordinator = home.serve(&address).unwrap();
    let worker = home.worker("one", &["--slots", "1"]).unwrap();
    worker.wait_for_output("connected");
    let mut fault = fail(&home, &coordinator, &[], OF_LOGS);
    let text = "name: said\nproject: { workspace: none }\nwaves:\n  - id: W1\n    tasks:\n      - { id: T1, run: \"echo said it\", verify: [\"true\"] }\n";
    let plan = home.write("said.yaml", text).unwrap();
    begin(&home, "said", plan.to_str().unwrap(), "standard");
    wait_for(&home, "the piece to come again and again", || fault.injected() >= 4);
    // What failed is gone: nobody reads, after a power loss, less than was said to be there.
    let logs = std::fs::read_dir(home.path("wavegate.db.d/logs")).unwrap().flatten();
    wait_for(&home, "the log to be empty", {
        let logs: Vec<_> = logs.map(|entry| entry.path()).collect();
        move || logs.iter().all(|log| std::fs::metadata(log).is_ok_and(|log| log.len() == 0))
    });
    fault.detach();
    home.wait_for_status("said", "done");
    wait_for(&home, "the log", || {
        let logs = home.run(&["logs", "said", "T1"]).unwrap();
        logs.stdout.matches("said it").count() == 1
    });
}

#[test]
#[ignore = "needs strace: cargo test -p wavegate-tests --test disks -- --ignored"]
fn a_worker_whose_spool_cannot_be_synced_says_so_and_its_results_are_accepted_all_the_same() {
    need_strace();
    let home = home();
    let _coordinator = home.serve("127.0.0.1:0").unwrap();
    let worker = home.worker("one", &["--slots", "4"]).unwrap();
    worker.wait_for_output("connected");
    let mut fault = fail(&home, &worker, &[], SYNCS);
    begin_witnesses(&home, "spooled", 3, &[2]);
    worker.wait_for_output("is only in memory");
    worker.wait_for_output("accepted: lease");
    fault.detach();
    home.wait_for_status("spooled", "done");
    home.assert_done("spooled", 3, true);
    home.assert_accepted_is_kept(&["one"]);
    assert_accepted_once(&home);
    let left = std::fs::read_dir(home.path("worker-one/spool")).unwrap().flatten();
    assert_eq!(left.filter(|entry| entry.path().is_file()).count(), 0, "half a file is left");
}
