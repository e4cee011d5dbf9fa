//! Disks without room, by a small file system in memory: of the database, of a worker's state. Whoever has no room says
//! so, loses nothing that was acknowledged, and goes on by itself when there is some.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use wavegate_tests::{BEATS_A_SECOND, wait_until};

use crate::{assert_accepted_once, begin, begin_witnesses, free_address, home, promises::broken, wait_for};

/// A file system of its own, until it is dropped.
struct Mount(PathBuf);

impl Mount {
    /// Fails where it may not be mounted: a test that was asked for does not pass by not running.
    #[track_caller]
    fn at(folder: PathBuf, options: &str) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&folder).status();
        assert!(mounted.is_ok_and(|status| status.success()), "this test needs root: it mounts a tmpfs");
        Self(folder)
    }

    /// Takes all the room that is left, and goes on to take what others give back until dropped.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = File::options().create(true).append(true).open(&path).unwrap();
        for size in [4096, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        path
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A mount that stays is in a temporary folder, which then stays as well.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
#[ignore = "needs root: cargo test -p wavegate-tests --test disks -- --ignored"]
fn a_full_disk_of_the_database_stops_what_is_new_and_loses_nothing() {
    let home = home().with_db("disk/wavegate.db");
    let mount = Mount::at(home.path("disk"), "size=16m");
    let address = free_address();
    let mut coordinator = home.serve(&address).unwrap();
    let worker = home.worker("one", &["--slots", "4"]).unwrap();
    worker.wait_for_output("connected");
    let big = home.write("big.yaml", &big_plan()).unwrap();
    begin_witnesses(&home, "full", 6, &[BEATS_A_SECOND / 4, BEATS_A_SECOND / 2]);
    wait_for(&home, "agents", || home.intervals().len() >= 3);
    let filler = mount.fill();
    // What has room in the log's file already is still done; this has not.
    let refused = home.run(&["submit", big.to_str().unwrap()]).unwrap();
    assert_ne!(refused.code, Some(0), "{refused:?}");
    assert!(refused.stderr.contains("make room"), "{refused:?}");
    wait_until(
        "the coordinator to say so",
        || home.dump(),
        || coordinator.output().contains("make room").then_some(()),
    );
    fs::remove_file(filler).unwrap();
    home.wait_for_status("full", "done");
    begin(&home, "big", big.to_str().unwrap(), "standard");
    home.wait_for_status("big", "done");
    coordinator.kill();
    let _coordinator = home.serve(&address).unwrap();
    home.assert_done("full", 6, false);
    home.assert_no_overlap(0.0);
    home.assert_accepted_is_kept(&["one"]);
    assert_accepted_once(&home);
    assert_eq!(broken(&home.db(), &[]), None);
}

/// Larger than what the log's file has grown to so far.
fn big_plan() -> String {
    let text = "x".repeat(900_000);
    format!(
        "name: big\ndescription: {text}\nproject: {{ workspace: none }}\nwaves:\n  - id: W1\n    tasks:\n      - {{ id: T1, run: \"true\", verify: [\"true\"] }}\n"
    )
}

/// Sees to it that nothing gets room for a while, whatever others remove.
fn keep_full(mount: &Mount, until: impl Fn() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        mount.fill();
        if until() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

#[test]
#[ignore = "needs root: cargo test -p wavegate-tests --test disks -- --ignored"]
fn a_full_disk_of_a_worker_loses_no_result_and_it_goes_on_when_there_is_room() {
    let home = home();
    let mount = Mount::at(home.path("worker-one"), "size=2m");
    let _coordinator = home.serve("127.0.0.1:0").unwrap();
    let worker = home.worker("one", &["--slots", "2"]).unwrap();
    worker.wait_for_output("connected");
    begin_witnesses(&home, "full", 6, &[BEATS_A_SECOND / 2]);
    wait_for(&home, "agents", || home.intervals().len() >= 2);
    let said = || worker.output().contains("is only in memory") && worker.output().contains("No space left");
    assert!(keep_full(&mount, said), "{}", home.dump());
    worker.wait_for_output("accepted: lease");
    fs::remove_file(home.path("worker-one/filler")).unwrap();
    home.wait_for_status("full", "done");
    home.assert_done("full", 6, false);
    home.assert_no_overlap(0.0);
    home.assert_accepted_is_kept(&["one"]);
    assert_accepted_once(&home);
    assert_eq!(files(&home.path("worker-one/spool")), 0);
}

#[test]
#[ignore = "needs root: cargo test -p wavegate-tests --test disks -- --ignored"]
fn a_disk_without_inodes_is_a_full_disk() {
    let home = home().with_db("disk/wavegate.db");
    // The folders of artifacts and what a start makes, and little more.
    let mount = Mount::at(home.path("disk"), "size=8m,nr_inodes=290");
    let coordinator = home.serve("127.0.0.1:0").unwrap();
    // Why a call is tried again is said to those who ask for it.
    let env = [("WAVEGATE_LOG".to_owned(), "info,wavegate_worker::bulk=debug".to_owned())];
    let worker = home.worker_with("one", &["--slots", "2"], &env).unwrap();
    worker.wait_for_output("connected");
    let mut fillers = 0;
    while File::create(mount.0.join(format!("filler-{fillers}"))).is_ok() {
        fillers += 1;
    }
    let text = "name: files\nproject: { workspace: dir }\nwaves:\n  - id: W1\n    tasks:\n      - { id: T1, run: \"echo file > f; echo said it\", verify: [\"test -s f\"] }\n";
    let plan = home.write("files.yaml", text).unwrap();
    begin(&home, "files", plan.to_str().unwrap(), "standard");
    // Its artifact finds no place; it is not said to be accepted, and not failed.
    wait_for(&home, "an upload to be refused", || {
        let output = worker.output();
        output.lines().any(|line| line.contains("tried again") && line.contains("artifacts/incoming-"))
    });
    assert!(!worker.output().contains("accepted: lease"), "{}", home.dump());
    for at in 0..fillers {
        fs::remove_file(mount.0.join(format!("filler-{at}"))).unwrap();
    }
    home.wait_for_status("files", "done");
    assert_eq!(
        home.count("SELECT count(*) FROM wg_leases WHERE kind = 'task'").unwrap(),
        1,
        "{}",
        home.dump()
    );
    home.assert_accepted_is_kept(&["one"]);
    assert_eq!(broken(&home.db(), &[]), None);
    drop(coordinator);
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_file()).count()
}
