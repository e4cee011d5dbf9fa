//! Artifacts: there whole, or not at all.

use std::{fs, io::Read as _};

use sha2::{Digest as _, Sha256};
use wavegate_engine::Digest;

use super::world::digest;
use crate::store::artifacts::{ArtifactError, Artifacts};

fn digest_of(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

fn artifacts() -> (Artifacts, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Artifacts::open(folder.path()).unwrap(), folder)
}

/// The files in the folder, below it and in it.
fn files(folder: &tempfile::TempDir) -> usize {
    let list = |path: &std::path::Path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: std::path::PathBuf| if path.is_dir() { list(&path).count() } else { 1 };
    list(folder.path()).map(of).sum()
}

#[test]
fn chunks_become_an_artifact_that_is_read_back() {
    let (artifacts, folder) = artifacts();
    let digest = digest_of(b"hello world");
    let mut incoming = artifacts.begin(digest, 11).unwrap();
    incoming.write(b"hello ").unwrap();
    assert_eq!(artifacts.missing(&[digest]), vec![digest]);
    incoming.write(b"world").unwrap();
    incoming.finish().unwrap();
    assert_eq!(artifacts.missing(&[digest, super::world::digest(1)]), vec![super::world::digest(1)]);
    let mut text = String::new();
    artifacts.open_read(digest).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello world");
    let name = digest.to_string();
    assert_eq!(artifacts.path(digest), folder.path().join(&name[..2]).join(&name[2..]));
    // Again, and of nothing.
    assert_eq!(artifacts.put(b"hello world").unwrap(), digest);
    let empty = artifacts.put(b"").unwrap();
    assert_eq!(artifacts.missing(&[empty]), vec![]);
    assert_eq!(files(&folder), 2);
}

#[test]
fn wrong_bytes_and_wrong_sizes_are_refused_and_leave_nothing() {
    let (artifacts, folder) = artifacts();
    let mut wrong = artifacts.begin(digest(1), 5).unwrap();
    wrong.write(b"hello").unwrap();
    let error = wrong.finish().unwrap_err();
    let ArtifactError::Digest { expected, found } = error else {
        panic!("expected a wrong digest, found {error}");
    };
    assert_eq!((expected, found), (digest(1), digest_of(b"hello")));
    let mut short = artifacts.begin(digest_of(b"hello"), 5).unwrap();
    short.write(b"hell").unwrap();
    let error = short.finish().unwrap_err();
    assert!(matches!(error, ArtifactError::Size { expected: 5, found: 4, .. }), "{error}");
    let mut long = artifacts.begin(digest_of(b"hello"), 4).unwrap();
    let error = long.write(b"hello").unwrap_err();
    assert!(matches!(error, ArtifactError::Size { expected: 4, found: 5, .. }), "{error}");
    drop(long);
    assert_eq!(files(&folder), 0);
    assert_eq!(artifacts.missing(&[digest_of(b"hello")]).len(), 1);
}

#[test]
fn what_was_being_received_is_gone_at_the_next_start_and_what_was_stored_is_not() {
    let (artifacts, folder) = artifacts();
    let kept = artifacts.put(b"kept").unwrap();
    let mut incoming = artifacts.begin(digest(1), 5).unwrap();
    incoming.write(b"hel").unwrap();
    std::mem::forget(incoming);
    assert_eq!(files(&folder), 2);
    let artifacts = Artifacts::open(folder.path()).unwrap();
    assert_eq!(files(&folder), 1);
    assert_eq!(artifacts.missing(&[kept]), vec![]);
}

#[test]
fn threads_store_the_same_and_different_artifacts_at_once() {
    let (artifacts, folder) = artifacts();
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let artifacts = artifacts.clone();
            scope.spawn(move || {
                for number in 0..20_u8 {
                    artifacts.put(&[number]).unwrap();
                    artifacts.put(&[number, thread]).unwrap();
                }
            });
        }
    });
    assert_eq!(files(&folder), 20 + 80);
}
