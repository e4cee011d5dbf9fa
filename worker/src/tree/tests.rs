//! Trees: what integration joins and what it refuses, and that disk and wire keep everything.

use std::{collections::BTreeSet, fs, os::unix::fs::symlink};

use super::*;
use crate::blobs::{Blob, BlobCache};

fn file(text: &str) -> Node {
    Node::File { digest: Digest::of_bytes(text.as_bytes()), size: text.len() as u64, executable: false }
}

fn tree(entries: &[(&str, &str)]) -> Tree {
    Tree { entries: entries.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect() }
}

/// A result that sets (Some) and deletes (None) paths.
fn part(key: &str, base: &Tree, changes: &[(&str, Option<&str>)], built_on: &[&str]) -> Part {
    Part {
        key: key.to_owned(),
        base: base.clone(),
        changes: Changes {
            paths: changes.iter().map(|(path, text)| ((*path).to_owned(), text.map(file))).collect(),
        },
        built_on: built_on.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>(),
    }
}

fn conflict(key: &str, path: &str, clash: Clash, other: Option<&str>) -> Conflict {
    Conflict { key: key.to_owned(), path: path.to_owned(), clash, other: other.map(str::to_owned) }
}

fn conflicts(target: &Tree, parts: &[Part]) -> Vec<Conflict> {
    match integrate(target, parts) {
        Err(IntegrateError::Conflicts(conflicts)) => conflicts,
        other => panic!("expected conflicts, found {other:?}"),
    }
}

#[test]
fn results_that_touch_different_paths_are_joined() {
    let base = tree(&[("keep", "k"), ("gone", "g")]);
    let parts = [part("A", &base, &[("a", Some("1"))], &[]), part("B", &base, &[("gone", None)], &[])];
    assert_eq!(integrate(&base, &parts), Ok(tree(&[("a", "1"), ("keep", "k")])));
}

#[test]
fn the_same_path_changed_differently_sends_the_later_task_back() {
    let base = tree(&[]);
    let parts = [part("A", &base, &[("x", Some("1"))], &[]), part("B", &base, &[("x", Some("2"))], &[])];
    assert_eq!(conflicts(&base, &parts), [conflict("B", "x", Clash::Content, Some("A"))]);
}

#[test]
fn the_same_change_twice_is_no_conflict() {
    let base = tree(&[("x", "0")]);
    let parts = [part("A", &base, &[("x", Some("1"))], &[]), part("B", &base, &[("x", Some("1"))], &[])];
    assert_eq!(integrate(&base, &parts), Ok(tree(&[("x", "1")])));
}

#[test]
fn a_result_may_overwrite_what_it_was_built_on() {
    let base = tree(&[]);
    let parts = [part("A", &base, &[("x", Some("1"))], &[]), part("B", &base, &[("x", Some("2"))], &["A"])];
    assert_eq!(integrate(&base, &parts), Ok(tree(&[("x", "2")])));
}

#[test]
fn what_a_result_was_built_on_includes_what_that_was_built_on() {
    let base = tree(&[]);
    let parts = [
        part("A", &base, &[("x", Some("1"))], &[]),
        part("B", &base, &[("y", Some("1"))], &["A"]),
        part("C", &base, &[("x", Some("3"))], &["B"]),
    ];
    assert_eq!(integrate(&base, &parts), Ok(tree(&[("x", "3"), ("y", "1")])));
}

#[test]
fn an_equal_change_does_not_hide_an_earlier_one_from_what_was_built_on_it() {
    let base = tree(&[]);
    let parts = [
        part("A", &base, &[("x", Some("1"))], &[]),
        part("B", &base, &[("x", Some("1"))], &[]),
        part("C", &base, &[("x", Some("2"))], &["B"]),
    ];
    assert_eq!(conflicts(&base, &parts), [conflict("C", "x", Clash::Content, Some("A"))]);
}

#[test]
fn a_file_made_below_what_another_wave_made_a_file_is_a_conflict_with_the_target() {
    let (old, target) = (tree(&[("x/y", "0")]), tree(&[("x", "theirs")]));
    let parts = [part("A", &old, &[("x/z", Some("mine"))], &[])];
    let clash = Clash::Shape { other_path: "x".to_owned() };
    assert_eq!(conflicts(&target, &parts), [conflict("A", "x/z", clash, None)]);
}

#[test]
fn a_result_that_contradicts_itself_makes_no_tree() {
    let base = tree(&[]);
    let parts = [part("A", &base, &[("x", Some("1")), ("x/y", Some("2"))], &[])];
    let error = IntegrateError::Tree(TreeError::FileAndDirectory("x/y".to_owned()));
    assert_eq!(integrate(&base, &parts), Err(error));
    assert!(Changes::decode(&parts[0].changes.encode()).is_err());
}

#[test]
fn deleting_what_another_changed_is_a_conflict() {
    let base = tree(&[("x", "0")]);
    let parts = [part("A", &base, &[("x", Some("1"))], &[]), part("B", &base, &[("x", None)], &[])];
    assert_eq!(conflicts(&base, &parts), [conflict("B", "x", Clash::Content, Some("A"))]);
}

#[test]
fn a_file_where_another_made_a_directory_is_a_conflict() {
    let base = tree(&[]);
    for (first, second) in [("x", "x/y"), ("x/y", "x")] {
        let parts =
            [part("A", &base, &[(first, Some("1"))], &[]), part("B", &base, &[(second, Some("2"))], &[])];
        let clash = Clash::Shape { other_path: first.to_owned() };
        assert_eq!(conflicts(&base, &parts), [conflict("B", second, clash, Some("A"))]);
    }
}

#[test]
fn a_path_that_the_target_changed_since_is_a_conflict_with_the_target() {
    let old = tree(&[("x", "0")]);
    let target = tree(&[("x", "theirs")]);
    let parts = [part("A", &old, &[("x", Some("mine"))], &[]), part("B", &old, &[("y", Some("1"))], &[])];
    assert_eq!(conflicts(&target, &parts), [conflict("A", "x", Clash::Content, None)]);
}

#[test]
fn what_was_built_on_a_conflict_is_not_named_itself() {
    let base = tree(&[]);
    let parts = [
        part("A", &base, &[("x", Some("1"))], &[]),
        part("B", &base, &[("x", Some("2"))], &[]),
        part("C", &base, &[("x", Some("3"))], &["B"]),
    ];
    let keys: Vec<_> = conflicts(&base, &parts).into_iter().map(|conflict| conflict.key).collect();
    assert_eq!(keys, ["B"]);
}

#[test]
fn unsafe_paths_of_a_peer_are_refused() {
    for path in ["/etc/passwd", "../x", "a/../b", "a//b", "", "./a", "a/"] {
        let entries = Tree { entries: [(path.to_owned(), file("x"))].into() };
        assert_eq!(Tree::decode(&entries.encode()), Err(TreeError::Path(path.to_owned())));
        let changes = Changes { paths: [(path.to_owned(), None)].into() };
        assert_eq!(Changes::decode(&changes.encode()), Err(TreeError::Path(path.to_owned())));
    }
    let both = tree(&[("a", "1"), ("a/b", "2")]);
    assert_eq!(Tree::decode(&both.encode()), Err(TreeError::FileAndDirectory("a/b".to_owned())));
}

#[test]
fn disk_and_wire_keep_everything() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir_all(source.join("deep/er")).unwrap();
    fs::write(source.join("deep/er/file name"), "text").unwrap();
    fs::write(source.join("run.sh"), "#!/bin/sh\n").unwrap();
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(source.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("deep/er", source.join("link")).unwrap();
    fs::create_dir(source.join(".git")).unwrap();
    fs::write(source.join(".git/config"), "kept out").unwrap();

    let (tree, blobs) = snapshot(&source).unwrap();
    assert_eq!(Tree::decode(&tree.encode()).unwrap(), tree);
    assert_eq!(tree.entries.len(), 3);
    let cache = cache_of(&dir.path().join("cache"), &blobs);
    let copy = dir.path().join("copy");
    fs::create_dir(&copy).unwrap();
    materialise(tree.clone(), &copy, &cache).unwrap();
    assert_eq!(snapshot(&copy).unwrap().0, tree);
}

#[test]
fn nothing_is_written_through_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let (outside, root) = (dir.path().join("outside"), dir.path().join("root"));
    fs::create_dir(&outside).unwrap();
    fs::create_dir(&root).unwrap();
    let link = Node::Symlink { target: outside.display().to_string() };
    let mut linked = Tree { entries: [("a".to_owned(), link)].into() };
    let below = Changes { paths: [("a/b".to_owned(), Some(file("x")))].into() };
    assert_eq!(linked.try_apply(&below), Err(TreeError::FileAndDirectory("a/b".to_owned())));

    symlink(&outside, root.join("a")).unwrap();
    let cache = cache_with(&dir.path().join("cache"), "x");
    let error = write_over(&tree(&[("a/b", "x")]), &root, &cache).unwrap_err();
    assert!(matches!(error, DiskError::ThroughLink(path) if path == root.join("a")));
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn a_cached_artifact_that_lost_bytes_is_discarded() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache_with(&dir.path().join("cache"), "whole");
    let path = cache.path(Digest::of_bytes(b"whole"));
    fs::remove_file(&path).unwrap();
    fs::write(&path, "").unwrap();
    for _ in 0..2 {
        let error = write_over(&tree(&[("a", "whole")]), dir.path(), &cache).unwrap_err();
        assert!(matches!(error, DiskError::Blob(digest) if digest == Digest::of_bytes(b"whole")));
        assert!(!path.exists());
    }
}

#[test]
fn sockets_and_pipes_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(matches!(snapshot(dir.path()), Err(DiskError::Special(found)) if found == path));
}

fn cache_with(root: &std::path::Path, text: &str) -> BlobCache {
    let cache = BlobCache::open(root, u64::MAX).unwrap();
    let mut incoming = cache.begin().unwrap();
    incoming.write(text.as_bytes()).unwrap();
    cache.finish(incoming, Digest::of_bytes(text.as_bytes())).unwrap();
    cache
}

#[test]
fn diff_finds_every_change_even_at_once_and_of_the_same_size() {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::create_dir(&source).unwrap();
    for (name, text) in [("same", "aaaa"), ("gone", "x"), ("kept", "y")] {
        fs::write(source.join(name), text).unwrap();
    }
    let (tree, blobs) = snapshot(&source).unwrap();
    let cache = cache_of(&dir.path().join("cache"), &blobs);
    let work = dir.path().join("work");
    fs::create_dir(&work).unwrap();
    let before = materialise(tree, &work, &cache).unwrap();
    fs::write(work.join("same"), "bbbb").unwrap();
    fs::remove_file(work.join("gone")).unwrap();
    fs::write(work.join("new"), "z").unwrap();

    let (changes, fresh) = diff(&before, &work).unwrap();
    let paths: Vec<_> = changes.paths.iter().map(|(path, node)| (path.as_str(), node.is_some())).collect();
    assert_eq!(paths, [("gone", false), ("new", true), ("same", true)]);
    assert_eq!(fresh.len(), 2);
}

fn cache_of(root: &std::path::Path, blobs: &[Blob]) -> BlobCache {
    let cache = BlobCache::open(root, u64::MAX).unwrap();
    for blob in blobs {
        let Blob::File { digest, path, .. } = blob else { continue };
        let mut incoming = cache.begin().unwrap();
        incoming.write(&fs::read(path).unwrap()).unwrap();
        cache.finish(incoming, *digest).unwrap();
    }
    cache
}
