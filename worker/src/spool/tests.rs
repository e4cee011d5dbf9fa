use std::fs;
use std::time::{Duration, SystemTime};

use wavegate_proto::v1;

use super::{Answer, REFUSED_KEPT_FOR, Spool};
use crate::blobs::Blob;
use crate::digest::Digest;
use crate::lease::LeaseId;

fn lease(name: &str) -> LeaseId {
    LeaseId::parse(name).unwrap()
}

fn finished(name: &str) -> Answer {
    let report = v1::Report { summary: "made it".into(), exit_code: Some(0), ..Default::default() };
    Answer::Finished { lease_id: lease(name), report: Box::new(report) }
}

fn released(name: &str) -> Answer {
    Answer::Released { lease_id: lease(name), reason: v1::ReleaseReason::SelfFenced, note: "alone".into() }
}

fn spool() -> (tempfile::TempDir, Spool) {
    let dir = tempfile::tempdir().unwrap();
    let spool = Spool::open(dir.path().join("spool")).unwrap();
    (dir, spool)
}

#[test]
fn what_was_stored_is_found_after_a_restart_until_it_is_removed() {
    let (dir, spool) = spool();
    spool.store(&finished("a")).unwrap();
    spool.store(&released("b")).unwrap();
    let spool = Spool::open(dir.path().join("spool")).unwrap();
    assert_eq!(spool.load().unwrap().answers, [finished("a"), released("b")]);
    spool.remove(&lease("a")).unwrap();
    spool.remove(&lease("a")).unwrap();
    assert_eq!(spool.load().unwrap().answers, [released("b")]);
}

#[test]
fn a_torn_file_is_put_aside_and_named_and_the_others_are_read() {
    let (dir, spool) = spool();
    spool.store(&finished("torn")).unwrap();
    spool.store(&finished("whole")).unwrap();
    let path = dir.path().join("spool/torn.report");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
    let found = spool.load().unwrap();
    assert_eq!(found.answers, [finished("whole")]);
    let (aside, why) = &found.unreadable[0];
    assert!(aside.ends_with("unreadable/torn.report") && aside.exists(), "{}", aside.display());
    assert!(why.contains("torn"), "{why}");
    assert!(spool.load().unwrap().unreadable.is_empty());
}

#[test]
fn garbage_and_another_leases_name_are_put_aside() {
    let (dir, spool) = spool();
    spool.store(&finished("a")).unwrap();
    let folder = dir.path().join("spool");
    fs::rename(folder.join("a.report"), folder.join("b.report")).unwrap();
    fs::write(folder.join("c.report"), b"\0\xff garbage").unwrap();
    fs::write(folder.join("d.report"), b"").unwrap();
    let found = spool.load().unwrap();
    assert!(found.answers.is_empty());
    assert_eq!(found.unreadable.len(), 3);
}

#[test]
fn a_half_written_file_of_a_killed_worker_is_cleared() {
    let (dir, spool) = spool();
    let half = dir.path().join("spool/a.new");
    fs::write(&half, b"wavegate-ans").unwrap();
    Spool::open(dir.path().join("spool")).unwrap();
    assert!(!half.exists());
    assert!(spool.load().unwrap().unreadable.is_empty());
}

#[test]
fn a_folder_that_takes_no_file_is_an_error_that_names_it() {
    let (dir, spool) = spool();
    let folder = dir.path().join("spool");
    fs::remove_dir_all(&folder).unwrap();
    fs::write(&folder, b"in the way").unwrap();
    let error = spool.store(&finished("a")).unwrap_err().to_string();
    assert!(error.contains("a.report"), "{error}");
}

#[test]
fn what_was_refused_is_kept_for_a_week() {
    let (_dir, spool) = spool();
    spool.store(&finished("a")).unwrap();
    let kept = spool.refuse(&finished("a")).unwrap();
    assert!(spool.load().unwrap().answers.is_empty());
    let day = Duration::from_secs(24 * 60 * 60);
    spool.prune(SystemTime::now() + 6 * day).unwrap();
    assert!(kept.exists());
    spool.prune(SystemTime::now() + 8 * day).unwrap();
    assert!(!kept.exists());
}

#[test]
fn a_refused_answer_that_never_reached_the_disk_is_kept_too() {
    let (_dir, spool) = spool();
    assert!(spool.refuse(&finished("a")).unwrap().exists());
}

/// A result that names two files, one in memory and one in a workspace.
fn with_files(spool: &Spool, name: &str, dir: &std::path::Path) -> Vec<Digest> {
    let made = dir.join("made");
    fs::write(&made, b"of a task").unwrap();
    let digest = Digest::of_bytes(b"of a task");
    let blobs = [Blob::of_bytes(b"a tree".to_vec()), Blob::File { digest, path: made.clone(), size: 9 }];
    // Twice: a try that failed in its middle is tried again.
    spool.store_files(&lease(name), &blobs).unwrap();
    spool.store_files(&lease(name), &blobs).unwrap();
    // The workspace goes.
    fs::remove_file(made).unwrap();
    blobs.iter().map(Blob::digest).collect()
}

fn kept(spool: &Spool, name: &str) -> Vec<Digest> {
    let mut kept: Vec<_> = spool.files_of(&lease(name)).iter().map(Blob::digest).collect();
    kept.sort();
    kept
}

#[test]
fn files_of_a_result_outlive_their_workspace_and_a_restart_and_go_with_the_answer() {
    let (dir, spool) = spool();
    let mut digests = with_files(&spool, "a1", dir.path());
    digests.sort();
    spool.store(&finished("a1")).unwrap();
    let spool = Spool::open(dir.path().join("spool")).unwrap();
    assert_eq!(kept(&spool, "a1"), digests);
    for blob in spool.files_of(&lease("a1")) {
        let Blob::File { digest, path, size } = blob else { panic!("a file was kept as {blob:?}") };
        let bytes = fs::read(path).unwrap();
        assert_eq!((Digest::of_bytes(&bytes), bytes.len() as u64), (digest, size));
    }
    spool.remove(&lease("a1")).unwrap();
    assert_eq!(kept(&spool, "a1"), []);
    assert_eq!(fs::read_dir(dir.path().join("spool")).unwrap().count(), 2, "refused and unreadable alone");
}

#[test]
fn files_without_an_answer_are_cleared_at_the_next_start() {
    let (dir, spool) = spool();
    with_files(&spool, "a1", dir.path());
    let spool = Spool::open(dir.path().join("spool")).unwrap();
    assert_eq!(kept(&spool, "a1"), []);
}

#[test]
fn files_of_a_refused_result_are_kept_as_long_as_it() {
    let (dir, spool) = spool();
    let digests = with_files(&spool, "a1", dir.path());
    spool.store(&finished("a1")).unwrap();
    spool.refuse(&finished("a1")).unwrap();
    let aside = dir.path().join("spool/refused/a1.files");
    assert_eq!(fs::read_dir(&aside).unwrap().count(), digests.len());
    spool.prune(SystemTime::now() + REFUSED_KEPT_FOR * 2).unwrap();
    assert!(!aside.exists());
}
