use std::fs;
use std::time::{Duration, SystemTime};

use wavegate_proto::v1;

use super::{Answer, Spool};
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
