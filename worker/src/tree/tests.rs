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
    let conflict = Conflict { key: "B".to_owned(), path: "x".to_owned(), other: Some("A".to_owned()) };
    assert_eq!(integrate(&base, &parts), Err(vec![conflict]));
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
fn deleting_what_another_changed_is_a_conflict() {
    let base = tree(&[("x", "0")]);
    let parts = [part("A", &base, &[("x", Some("1"))], &[]), part("B", &base, &[("x", None)], &[])];
    assert_eq!(integrate(&base, &parts).unwrap_err()[0].key, "B");
}

#[test]
fn a_file_where_another_made_a_directory_is_a_conflict() {
    let base = tree(&[]);
    for (first, second) in [("x", "x/y"), ("x/y", "x")] {
        let parts =
            [part("A", &base, &[(first, Some("1"))], &[]), part("B", &base, &[(second, Some("2"))], &[])];
        assert_eq!(integrate(&base, &parts).unwrap_err()[0].other.as_deref(), Some("A"));
    }
}

#[test]
fn a_path_that_the_target_changed_since_is_a_conflict_with_the_target() {
    let old = tree(&[("x", "0")]);
    let target = tree(&[("x", "theirs")]);
    let parts = [part("A", &old, &[("x", Some("mine"))], &[]), part("B", &old, &[("y", Some("1"))], &[])];
    let conflict = Conflict { key: "A".to_owned(), path: "x".to_owned(), other: None };
    assert_eq!(integrate(&target, &parts), Err(vec![conflict]));
}

#[test]
fn what_was_built_on_a_conflict_is_not_named_itself() {
    let base = tree(&[]);
    let parts = [
        part("A", &base, &[("x", Some("1"))], &[]),
        part("B", &base, &[("x", Some("2"))], &[]),
        part("C", &base, &[("x", Some("3"))], &["B"]),
    ];
    let conflicts = integrate(&base, &parts).unwrap_err();
    assert_eq!(conflicts.iter().map(|conflict| conflict.key.as_str()).collect::<Vec<_>>(), ["B"]);
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
