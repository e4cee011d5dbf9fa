//! Results that outlive their worker, their coordinator and the way between them: accepted once, late where nothing
//! newer was begun, refused and kept where something was, never taken from a damaged file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::process::Signal;
use wavegate_tests::{Home, Process, Proxy, uptime, wait_until};

use crate::{begin, free_address, home, wait_for_agents};

/// A coordinator that is away, a worker that has finished one task meanwhile.
fn finished_alone(home: &Home, address: &str) -> (Process, PathBuf) {
    let mut coordinator = home.serve(address).unwrap();
    let worker = home.worker("one", &["--slots", "1"]).unwrap();
    worker.wait_for_output("connected");
    home.hold().unwrap();
    begin(home, "alone", 1, 1, "standard");
    wait_for_agents(home, 1);
    coordinator.kill();
    home.let_go().unwrap();
    worker.wait_for_output("finished: lease");
    let spooled = wait_until(
        "the result to be in the spool",
        || home.dump(),
        || files_in(&home.path("worker-one/spool"), "report").pop(),
    );
    (worker, spooled)
}

fn files_in(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

#[test]
fn a_result_made_alone_is_accepted_once_after_both_sides_were_killed() {
    let (home, address) = (home(), free_address());
    let (mut worker, spooled) = finished_alone(&home, &address);
    worker.kill();
    let _coordinator = home.serve(&address).unwrap();
    let _worker = home.worker("one", &["--slots", "1"]).unwrap();
    home.wait_for_status("alone", "done");
    home.assert_done("alone", 1, true);
    home.assert_accepted_is_kept(&["one"]);
    assert_eq!(home.count("SELECT count(*) FROM wg_leases WHERE kind='task'").unwrap(), 1, "{}", home.dump());
    wait_until("the spool to be empty", || home.dump(), || (!spooled.exists()).then_some(()));
}

#[test]
fn a_result_that_is_sent_again_after_it_was_accepted_changes_nothing() {
    let (home, address) = (home(), free_address());
    let (mut worker, spooled) = finished_alone(&home, &address);
    let copy = fs::read(&spooled).unwrap();
    let _coordinator = home.serve(&address).unwrap();
    home.wait_for_status("alone", "done");
    worker.kill();
    let before = home.show("alone").unwrap();
    // As if the worker's host had lost power before the spool's removal reached its disk.
    fs::write(&spooled, copy).unwrap();
    let worker = home.worker("one", &["--slots", "1"]).unwrap();
    wait_until(
        "a second answer",
        || home.dump(),
        || (worker.output().matches("accepted: lease").count() >= 2).then_some(()),
    );
    assert_eq!(home.show("alone").unwrap(), before, "{}", home.dump());
    let told = home.count("SELECT count(*) FROM wg_events WHERE kind='task_submitted'").unwrap();
    assert_eq!(told, 1, "{}", home.dump());
}

#[test]
fn a_damaged_file_of_the_spool_is_put_aside_and_named_and_its_task_is_done_again() {
    let (home, address) = (home(), free_address());
    let (mut worker, spooled) = finished_alone(&home, &address);
    worker.kill();
    let mut bytes = fs::read(&spooled).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&spooled, &bytes).unwrap();
    let _coordinator = home.serve(&address).unwrap();
    let worker = home.worker("one", &["--slots", "1"]).unwrap();
    home.wait_for_status("alone", "done");
    home.assert_done("alone", 1, false);
    let aside = home.path("worker-one/spool/unreadable").join(spooled.file_name().unwrap());
    assert!(worker.output().contains(aside.to_str().unwrap()), "{}", home.dump());
    assert_eq!(fs::read(&aside).unwrap(), bytes, "kept as it was found");
    assert_eq!(home.intervals().len(), 2, "{}", home.dump());
    home.assert_no_overlap(0.0);
}

/// A task whose work is a file; it ends while the coordinator is away, before anybody else has the file. Gives the
/// worker, the report and the folder of files in its spool.
fn made_alone(home: &Home, address: &str) -> (Process, PathBuf, PathBuf) {
    let mut coordinator = home.serve(address).unwrap();
    let worker = home.worker("one", &["--slots", "1"]).unwrap();
    worker.wait_for_output("connected");
    let dir = home.path("").display().to_string();
    let run = format!("touch {dir}/begun; while [ ! -e {dir}/away ]; do sleep 0.02; done; echo made > made");
    let plan = format!(
        "name: made\nproject: {{ workspace: dir }}\nwaves:\n  - id: W1\n    tasks:\n      - {{ id: T1, run: {run:?}, \
         verify: [\"grep -q made made\"] }}\n"
    );
    let plan = home.write("made.yaml", &plan).unwrap();
    assert_eq!(home.run(&["submit", plan.to_str().unwrap()]).unwrap().code, Some(0));
    assert_eq!(home.run(&["approve", "made", "--mode", "standard"]).unwrap().code, Some(0));
    wait_until("the task to begin", || home.dump(), || home.path("begun").exists().then_some(()));
    coordinator.kill();
    home.write("away", "").unwrap();
    let spooled = wait_until(
        "the result to be in the spool",
        || home.dump(),
        || files_in(&home.path("worker-one/spool"), "report").pop(),
    );
    let files = spooled.with_extension("files");
    (worker, spooled, files)
}

#[test]
fn files_that_were_made_alone_outlive_their_worker_and_are_not_made_again() {
    let (home, address) = (home(), free_address());
    let (mut worker, spooled, files) = made_alone(&home, &address);
    worker.kill();
    let _coordinator = home.serve(&address).unwrap();
    let _worker = home.worker("one", &["--slots", "1"]).unwrap();
    home.wait_for_status("made", "done");
    assert_eq!(home.count("SELECT count(*) FROM wg_leases WHERE kind='task'").unwrap(), 1, "{}", home.dump());
    home.assert_accepted_is_kept(&["one"]);
    assert_eq!(home.run(&["report", "made", "--out", "out"]).unwrap().code, Some(0));
    assert_eq!(home.read("out/made"), "made\n");
    wait_until(
        "the spool to be empty",
        || home.dump(),
        || (!spooled.exists() && !files.exists()).then_some(()),
    );
}

#[test]
fn files_that_were_made_alone_are_given_up_neither_by_the_fence_nor_by_a_worker_that_leaves() {
    let (home, address) = (home(), free_address());
    let (mut worker, spooled, _) = made_alone(&home, &address);
    worker.wait_for_output("finished: lease");
    // For longer than its right to run: nothing runs that could be fenced.
    let lost = uptime() + 3.5;
    wait_until("its right to run to be over", || home.dump(), || (uptime() > lost).then_some(()));
    assert!(!worker.output().contains("ending lease"), "{}", home.dump());
    worker.signal(Signal::TERM);
    // Two that come at once are one.
    worker.wait_for_output("draining: ");
    worker.signal(Signal::TERM);
    worker.wait();
    assert!(spooled.exists(), "{}", home.dump());
    let _coordinator = home.serve(&address).unwrap();
    let _worker = home.worker("one", &["--slots", "1"]).unwrap();
    home.wait_for_status("made", "done");
    assert_eq!(home.count("SELECT count(*) FROM wg_leases WHERE kind='task'").unwrap(), 1, "{}", home.dump());
    assert_eq!(home.run(&["report", "made", "--out", "out"]).unwrap().code, Some(0));
    assert_eq!(home.read("out/made"), "made\n");
}

#[test]
fn files_that_were_damaged_in_the_spool_are_refused_and_their_task_is_done_again() {
    let (home, address) = (home(), free_address());
    let (mut worker, _, files) = made_alone(&home, &address);
    worker.kill();
    for file in fs::read_dir(&files).unwrap().flatten() {
        if fs::read(file.path()).unwrap() == b"made\n" {
            fs::remove_file(file.path()).unwrap();
            fs::write(file.path(), "mad?\n").unwrap();
        }
    }
    let _coordinator = home.serve(&address).unwrap();
    let worker = home.worker("one", &["--slots", "1"]).unwrap();
    home.wait_for_status("made", "done");
    assert!(worker.output().contains("cannot be sent"), "{}", home.dump());
    assert_eq!(home.count("SELECT count(*) FROM wg_leases WHERE kind='task'").unwrap(), 2, "{}", home.dump());
    assert_eq!(home.run(&["report", "made", "--out", "out"]).unwrap().code, Some(0));
    assert_eq!(home.read("out/made"), "made\n");
}

/// A worker behind a network that goes silent while its agent is at work.
struct Far {
    worker: Process,
    proxy: Proxy,
    _coordinator: Process,
}

impl Far {
    fn start(home: &Home) -> Self {
        let address = free_address();
        let coordinator = home.serve(&address).unwrap();
        let proxy = Proxy::start(&address).unwrap();
        let worker = home.worker("far", &["--slots", "1", "--coordinator", &proxy.url()]).unwrap();
        worker.wait_for_output("connected");
        Self { worker, proxy, _coordinator: coordinator }
    }

    /// Its agent, which was held, ends in the silence, and its lease is lost; the result is in its spool then.
    fn finish_late(&self, home: &Home) {
        self.proxy.set_silent(true);
        home.let_go().unwrap();
        wait_until(
            "the result to be in the spool",
            || home.dump(),
            || files_in(&home.path("worker-far/spool"), "report").pop(),
        );
        wait_until(
            "the lease to be lost",
            || home.dump(),
            || (home.count("SELECT count(*) FROM wg_leases WHERE state='lost'").unwrap() == 1).then_some(()),
        );
    }

    /// The network is back, and what was connected in the silence is not.
    fn come_back(&self) {
        self.proxy.set_cut(true);
        self.proxy.set_silent(false);
        self.proxy.set_cut(false);
    }
}

/// Words.
fn said_late(home: &Home) -> Far {
    let far = Far::start(home);
    home.hold().unwrap();
    begin(home, "late", 1, 1, "standard");
    wait_for_agents(home, 1);
    far.finish_late(home);
    far
}

/// A file, whose bytes tell which attempt made it.
fn made_late(home: &Home) -> Far {
    let far = Far::start(home);
    let hold = home.hold().unwrap().display().to_string();
    let begun = home.path("begun").display().to_string();
    let run = format!(
        "touch {begun}; while [ -e {hold} ]; do sleep 0.02; done; echo attempt $WAVEGATE_ATTEMPT > made"
    );
    let plan = format!(
        "name: late\nproject: {{ workspace: dir }}\nwaves:\n  - id: W1\n    tasks:\n      - {{ id: T1, run: {run:?}, \
         verify: [\"grep -q attempt made\"], on_lost: retry }}\n"
    );
    let plan = home.write("late.yaml", &plan).unwrap();
    assert_eq!(home.run(&["submit", plan.to_str().unwrap()]).unwrap().code, Some(0));
    assert_eq!(home.run(&["approve", "late", "--mode", "standard"]).unwrap().code, Some(0));
    wait_until("the task to begin", || home.dump(), || home.path("begun").exists().then_some(()));
    far.finish_late(home);
    far
}

/// The lease of the task's attempt.
fn lease_of(home: &Home, attempt: u32) -> String {
    let query = "SELECT id FROM wg_leases WHERE kind='task' AND attempt=?1";
    home.sql().unwrap().query_row(query, [attempt], |row| row.get(0)).unwrap()
}

#[test]
fn a_late_result_is_accepted_while_nothing_newer_was_begun() {
    let home = home();
    let far = said_late(&home);
    far.come_back();
    home.wait_for_status("late", "done");
    home.assert_done("late", 1, true);
    home.assert_accepted_is_kept(&["far"]);
}

#[test]
fn a_result_that_comes_after_a_newer_attempt_began_is_refused_kept_and_named() {
    let home = home();
    let far = said_late(&home);
    let near = home.worker("near", &["--slots", "1"]).unwrap();
    near.wait_for_output("finished: lease");
    home.wait_for_status("late", "done");
    far.come_back();
    far.worker.wait_for_output("refused: lease");
    let kept = home.path(&format!("worker-far/spool/refused/{}.report", lease_of(&home, 1)));
    assert!(kept.is_file(), "{}", home.dump());
    assert!(far.worker.output().contains(kept.to_str().unwrap()), "{}", home.dump());
    home.assert_done("late", 1, false);
    home.assert_no_overlap(0.0);
    home.assert_accepted_is_kept(&["near"]);
}

#[test]
fn files_of_a_late_result_are_accepted_while_nothing_newer_was_begun() {
    let home = home();
    let far = made_late(&home);
    far.come_back();
    home.wait_for_status("late", "done");
    assert_eq!(home.count("SELECT count(*) FROM wg_leases WHERE kind='task'").unwrap(), 1, "{}", home.dump());
    home.assert_accepted_is_kept(&["far"]);
    assert_eq!(home.run(&["report", "late", "--out", "out"]).unwrap().code, Some(0));
    assert_eq!(home.read("out/made"), "attempt 1\n", "{}", home.dump());
}

#[test]
fn files_that_come_after_a_newer_attempt_began_are_refused_with_their_result_and_kept_beside_it() {
    let home = home();
    let far = made_late(&home);
    let near = home.worker("near", &["--slots", "1"]).unwrap();
    near.wait_for_output("finished: lease");
    home.wait_for_status("late", "done");
    far.come_back();
    far.worker.wait_for_output("refused: lease");
    let kept = home.path(&format!("worker-far/spool/refused/{}.report", lease_of(&home, 1)));
    assert!(kept.is_file(), "{}", home.dump());
    assert!(far.worker.output().contains(kept.to_str().unwrap()), "{}", home.dump());
    let files = fs::read_dir(kept.with_extension("files")).unwrap().flatten();
    let is_made = |path: PathBuf| fs::read_to_string(path).is_ok_and(|text| text == "attempt 1\n");
    assert!(files.map(|file| file.path()).any(is_made), "{}", home.dump());
    home.assert_accepted_is_kept(&["near"]);
    assert_eq!(home.run(&["report", "late", "--out", "out"]).unwrap().code, Some(0));
    assert_eq!(home.read("out/made"), "attempt 2\n", "{}", home.dump());
}
