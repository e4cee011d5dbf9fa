//! A disk without room: nothing is lost, and the same works once there is some.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use wavegate_engine::{Change, LeaseId, PlanId};

use super::opening::chain;
use super::world::{NOW, World, greet, open_in, submission, try_write, worker};
use crate::driver::{Store as _, StoreError};

/// Something mounted for one test. None where that is not allowed.
pub(super) struct Mount {
    at: std::path::PathBuf,
    _folder: Option<TempDir>,
}

impl Mount {
    pub(super) fn tmpfs(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_owned();
        mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], &at)
            .then_some(Self { at, _folder: Some(folder) })
    }

    /// The file itself, where nobody may write it.
    pub(super) fn read_only(file: &Path) -> Option<Self> {
        let this = mount(&["--bind", &file.display().to_string()], file)
            .then_some(Self { at: file.to_owned(), _folder: None })?;
        this.remount("bind,ro");
        Some(this)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.at
    }

    pub(super) fn remount(&self, options: &str) {
        // Until a program that another test starts has begun, it holds our open files.
        let end = Instant::now() + Duration::from_secs(20);
        while !mount(&["-o", &format!("remount,{options}")], &self.at) {
            assert!(Instant::now() < end, "cannot mount again with {options}");
            std::thread::yield_now();
        }
    }
}

fn mount(arguments: &[&str], at: &Path) -> bool {
    let done = Command::new("mount").args(arguments).arg(at).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A mount that stays is in a temporary folder, which then stays as well.
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
    }
}

/// Takes all the room that is left.
fn fill(folder: &Path) {
    let mut file = File::create(folder.join("filler")).unwrap();
    for size in [4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

fn is_full<T: std::fmt::Debug>(result: Result<T, StoreError>) -> bool {
    matches!(&result, Err(StoreError::Unavailable(text)) if text.contains("room"))
        || panic!("expected a full disk, found {result:?}")
}

#[test]
fn a_database_that_may_not_grow_says_so_and_goes_on_when_it_may() {
    let (mut world, plan, _) = World::with_lease();
    let pages = |world: &World, most: i64| {
        world.opened.store.sql.pragma_update(None, "max_page_count", most).unwrap();
    };
    let before = world.opened.reader.plans().unwrap().len();
    pages(&world, 1);
    let mut long = greet();
    long.description = "x".repeat(100_000);
    assert!(is_full(world.store().stage(&submission(&long), NOW)));
    assert_eq!(world.opened.reader.plans().unwrap().len(), before);
    // What needs no room is done.
    world.write(&[Change::ModeColumn { plan, value: Some("max".to_owned()) }]);
    pages(&world, 100_000);
    assert_eq!(world.submit(&long), PlanId(plan.0 + 1));
}

#[test]
fn a_full_disk_loses_nothing_and_the_connection_goes_on_when_there_is_room() {
    let Some(mount) = Mount::tmpfs("3m") else { return };
    let mut opened = open_in(mount.folder()).unwrap();
    let (plan, _) = opened.store.stage(&submission(&greet()), NOW).unwrap();
    opened.store.stage_tasks(plan, &greet(), 0, 100).unwrap();
    fill(mount.folder());

    let mut wrote = 0;
    let failed = loop {
        // What has room in the log already is still done.
        match try_write(&mut opened.store, &[Change::Worker(worker("worker-1", &"x".repeat(wrote)))]) {
            Ok(()) if wrote < 10_000 => wrote += 1,
            other => break other,
        }
    };
    assert!(is_full(failed));
    assert!(is_full(opened.store.stage(&submission(&greet()), NOW)));
    assert!(opened.artifacts.put(&[7; 10_000]).is_err());
    assert!(opened.logs.append(LeaseId(1), 0, &[7; 10_000]).is_err());
    assert_eq!(opened.logs.length(LeaseId(1)), 0);
    assert!(opened.store.load().unwrap().plans.is_empty());

    fs::remove_file(mount.folder().join("filler")).unwrap();
    try_write(&mut opened.store, &[Change::SwitchOn(plan)]).unwrap();
    assert_eq!(opened.store.load().unwrap().plans[0].shape.tasks.len(), 3);
    assert_eq!(opened.reader.plans().unwrap().len(), 1);
    let digest = opened.artifacts.put(&[7; 10_000]).unwrap();
    assert_eq!(opened.artifacts.missing(&[digest]), []);
    // What was committed while there was room is there, the rest is not.
    let workers = opened.store.load().unwrap().workers;
    let names: Vec<_> = workers.iter().map(|worker| worker.name.len()).collect();
    assert_eq!(names, Vec::from_iter(wrote.checked_sub(1)));
    opened.store.close().unwrap();
}

#[test]
fn a_start_on_a_full_disk_is_refused_in_words() {
    let Some(mount) = Mount::tmpfs("1m") else { return };
    fill(mount.folder());
    let error = chain(&open_in(mount.folder()).unwrap_err());
    assert!(error.contains("room") || error.contains("No space left on device"), "{error}");
    fs::remove_file(mount.folder().join("filler")).unwrap();
    open_in(mount.folder()).unwrap();
}
