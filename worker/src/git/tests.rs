//! With the real git program, on repositories in temporary folders.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::*;
use crate::blobs::{Blob, BlobCache, BlobError, BlobStore};

/// What the coordinator has: a folder.
struct Kept(BlobCache);

#[tonic::async_trait]
impl BlobStore for Kept {
    async fn fetch(&self, digests: &[crate::digest::Digest]) -> Result<(), BlobError> {
        match digests.iter().find(|digest| !self.0.has(**digest)) {
            Some(digest) => Err(BlobError::Missing(*digest)),
            None => Ok(()),
        }
    }

    async fn publish(&self, blobs: Vec<Blob>) -> Result<(), BlobError> {
        for blob in blobs {
            let bytes = match &blob {
                Blob::Bytes { bytes, .. } => bytes.clone(),
                Blob::File { path, .. } => fs::read(path).unwrap(),
            };
            let mut incoming = self.0.begin().unwrap();
            incoming.write(&bytes).unwrap();
            self.0.finish(incoming, blob.digest())?;
        }
        Ok(())
    }

    fn cache(&self) -> &BlobCache {
        &self.0
    }
}

/// Somebody's repository, and a host with a store of it.
struct World {
    folder: tempfile::TempDir,
    stores: Stores,
    blobs: Kept,
}

impl World {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stores = Stores::new(folder.path().join("stores"), Git::new(None));
        let blobs = Kept(BlobCache::open(&folder.path().join("blobs"), u64::MAX).unwrap());
        let world = Self { folder, stores, blobs };
        fs::create_dir(world.repository()).unwrap();
        world.user(&["init", "-q", "-b", "main"]);
        world.write_all(files);
        world.user(&["add", "-A"]);
        world.user(&["commit", "-qm", "Begin"]);
        world
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    /// A person's git.
    fn user(&self, arguments: &[&str]) -> String {
        in_folder(&self.repository(), arguments)
    }

    fn write_all(&self, files: &[(&str, &str)]) {
        for (path, text) in files {
            write(&self.repository().join(path), text);
        }
    }

    async fn store(&self) -> std::sync::Arc<Store> {
        self.stores.open(&self.repository().display().to_string()).await.unwrap()
    }

    async fn head(&self, store: &Store) -> Oid {
        let head = store.head("main").await.unwrap();
        store.fetch(&head).await.unwrap();
        head.commit().clone()
    }

    async fn worktree(&self, base: &Oid) -> Worktree {
        self.start(Start { base: base.clone(), layers: Vec::new(), own: None, branch: BRANCH.to_owned() })
            .await
    }

    async fn start(&self, start: Start) -> Worktree {
        self.store().await.worktree(start).await.unwrap()
    }

    /// A result that writes these files.
    async fn result(&self, base: &Oid, files: &[(&str, &str)]) -> State {
        let worktree = self.worktree(base).await;
        for (path, text) in files {
            write(&worktree.files().join(path), text);
        }
        let made = worktree.result("T1: changes").await.unwrap().unwrap();
        let file = self.folder.path().join(format!("{}.bundle", made.commit));
        let (bundle, blob) = worktree.bundle(&made, base, &file).await.unwrap().unwrap();
        self.blobs.publish(vec![blob]).await.unwrap();
        worktree
            .store()
            .ensure(
                &State { bundles: vec![bundle.clone()], ..State::of(made.commit.clone()) },
                "main",
                &self.blobs,
            )
            .await
            .unwrap();
        worktree.release().await;
        State { base: Some(made.base), bundles: vec![bundle], ..State::of(made.commit) }
    }
}

const BRANCH: &str = "wavegate/plan/T1";

fn in_folder(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs([("GIT_AUTHOR_NAME", "Ann"), ("GIT_AUTHOR_EMAIL", "ann@example.org")])
        .envs([("GIT_COMMITTER_NAME", "Ann"), ("GIT_COMMITTER_EMAIL", "ann@example.org")])
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn listed(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Every file with its bytes and its time of change.
fn picture(folder: &Path) -> Vec<(PathBuf, Vec<u8>, std::time::SystemTime)> {
    let (mut folders, mut found) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                folders.push(entry.path());
            } else {
                found.push((entry.path(), fs::read(entry.path()).unwrap(), meta.modified().unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn what_an_agent_leaves_becomes_a_commit_without_ignored_files() {
    let world = World::new(&[("a", "1\n"), ("gone", "x\n"), (".gitignore", "*.log\n")]);
    let store = world.store().await;
    let base = world.head(&store).await;
    let worktree = world.worktree(&base).await;
    let files = worktree.files();
    assert_eq!(in_folder(&files, &["status", "--porcelain"]), "");
    assert_eq!(in_folder(&files, &["branch", "--show-current"]), BRANCH);
    write(&files.join("a"), "2\n");
    write(&files.join("new/b"), "3\n");
    write(&files.join("noise.log"), "4\n");
    fs::remove_file(files.join("gone")).unwrap();
    let made = worktree.result("T1: changes of attempt 1").await.unwrap().unwrap();
    assert_eq!((&made.base, made.files), (&base, 3));
    let changed = worktree.bundle(&made, &base, &world.folder.path().join("b")).await.unwrap().unwrap();
    world.blobs.publish(vec![changed.1]).await.unwrap();
    store
        .ensure(&State { bundles: vec![changed.0], ..State::of(made.commit.clone()) }, "main", &world.blobs)
        .await
        .unwrap();
    assert_eq!(store.changed_paths(&base, &made.commit).await.unwrap(), ["a", "gone", "new/b"]);
    assert_eq!(store.messages(&base, &made.commit).await.unwrap(), ["T1: changes of attempt 1"]);
    worktree.release().await;
}

#[tokio::test]
async fn a_directory_that_is_as_it_was_is_no_result() {
    let world = World::new(&[("a", "1\n"), (".gitignore", "target\n")]);
    let store = world.store().await;
    let worktree = world.worktree(&world.head(&store).await).await;
    write(&worktree.files().join("target/x"), "1");
    assert_eq!(worktree.result("none").await.unwrap(), None);
    // Back and forth with commits is nothing, too.
    in_folder(&worktree.files(), &["commit", "-q", "--allow-empty", "-m", "hm"]);
    assert_eq!(worktree.result("none").await.unwrap(), None);
}

#[tokio::test]
async fn an_agents_commits_stay_and_what_it_forced_in_does_too() {
    let world = World::new(&[("a", "1\n"), (".gitignore", "*.bin\n")]);
    let store = world.store().await;
    let base = world.head(&store).await;
    let worktree = world.worktree(&base).await;
    let files = worktree.files();
    write(&files.join("forced.bin"), "1");
    in_folder(&files, &["add", "-f", "forced.bin"]);
    in_folder(&files, &["commit", "-qm", "Add a file by force"]);
    write(&files.join("a"), "2\n");
    write(&files.join("other.bin"), "1");
    let made = worktree.result("T1: the rest").await.unwrap().unwrap();
    let (bundle, blob) =
        worktree.bundle(&made, &base, &world.folder.path().join("b")).await.unwrap().unwrap();
    world.blobs.publish(vec![blob]).await.unwrap();
    let state = State { bundles: vec![bundle], ..State::of(made.commit.clone()) };
    store.ensure(&state, "main", &world.blobs).await.unwrap();
    assert_eq!(store.messages(&base, &made.commit).await.unwrap(), ["Add a file by force", "T1: the rest"]);
    assert_eq!(store.changed_paths(&base, &made.commit).await.unwrap(), ["a", "forced.bin"]);
}

#[tokio::test]
async fn a_place_that_is_used_again_holds_nothing_of_the_lease_before() {
    let world = World::new(&[("a", "1\n"), ("b", "1\n"), (".gitignore", "target\n")]);
    let store = world.store().await;
    let base = world.head(&store).await;
    let first = world.worktree(&base).await;
    let files = first.files();
    write(&files.join("a"), "spoilt\n");
    write(&files.join("target/deep/x"), "1");
    write(&files.join("nested/y"), "1");
    in_folder(&files.join("nested"), &["init", "-q"]);
    in_folder(&files, &["update-index", "--assume-unchanged", "a"]);
    in_folder(&files, &["config", "core.fsmonitor", "touch /tmp/never"]);
    write(&files.join(".git/hooks/post-checkout"), "#!/bin/sh\ntouch ran\n");
    // The worker was killed: nobody cleaned up.
    drop(first);
    world.write_all(&[("b", "2\n")]);
    world.user(&["commit", "-qam", "Go on"]);
    let second = world.worktree(&world.head(&store).await).await;
    assert_eq!(second.files(), files);
    assert_eq!(listed(&files), [".git", ".gitignore", "a", "b"]);
    assert_eq!(fs::read_to_string(files.join("a")).unwrap(), "1\n");
    assert_eq!(fs::read_to_string(files.join("b")).unwrap(), "2\n");
    assert_eq!(in_folder(&files, &["status", "--porcelain"]), "");
    assert!(!files.join(".git/hooks").exists());
    second.release().await;
    assert_eq!(listed(&files), [".gitignore", "a", "b"]);
}

#[tokio::test]
async fn two_leases_have_two_places() {
    let world = World::new(&[("a", "1\n")]);
    let base = world.head(&*world.store().await).await;
    let (one, other) = (world.worktree(&base).await, world.worktree(&base).await);
    assert_ne!(one.files(), other.files());
    in_folder(&one.files(), &["commit", "-q", "--allow-empty", "-m", "mine"]);
    assert_eq!(in_folder(&other.files(), &["log", "--format=%s"]), "Begin");
}

#[tokio::test]
async fn what_a_result_cannot_hold_is_named() {
    let world = World::new(&[("a", "1\n")]);
    let worktree = world.worktree(&world.head(&*world.store().await).await).await;
    write(&worktree.files().join("lib/x"), "1");
    in_folder(&worktree.files().join("lib"), &["init", "-q"]);
    in_folder(&worktree.files().join("lib"), &["add", "x"]);
    in_folder(&worktree.files().join("lib"), &["commit", "-qm", "x"]);
    let error = worktree.result("x").await.unwrap_err().to_string();
    assert!(error.starts_with("lib is a git repository of its own"), "{error}");
}

#[tokio::test]
async fn a_result_outlives_its_worker_and_the_way_to_the_repository() {
    let world = World::new(&[("a", "1\n")]);
    let store = world.store().await;
    let base = world.head(&store).await;
    let all = world.folder.path().join("all.bundle");
    let (whole, blob) = store.bundle(&base, &[], &all).await.unwrap().unwrap();
    world.blobs.publish(vec![blob]).await.unwrap();
    let result = world.result(&base, &[("b", "2\n")]).await;
    let other_host = Stores::new(world.folder.path().join("other"), Git::new(None));
    let far = other_host.open("/nowhere/repository").await.unwrap();
    let unreachable = far.head("main").await.unwrap_err();
    assert!(unreachable.is_out_of_reach(), "{unreachable}");
    let state = State { bundles: [vec![whole], result.bundles].concat(), ..State::of(result.commit.clone()) };
    far.ensure(&state, "main", &world.blobs).await.unwrap();
    assert_eq!(far.changed_paths(&base, &result.commit).await.unwrap(), ["b"]);
    let missing = State { bundles: Vec::new(), ..State::of("1".repeat(40).parse().unwrap()) };
    assert!(far.ensure(&missing, "main", &world.blobs).await.unwrap_err().is_out_of_reach());
}

#[tokio::test]
async fn both_sides_come_together_or_the_places_are_shown() {
    let world = World::new(&[("a", "1\n2\n3\n4\n5\n6\n7\n8\n"), ("b", "1\n")]);
    let store = world.store().await;
    let base = world.head(&store).await;
    let one = world.result(&base, &[("a", "one\n2\n3\n4\n5\n6\n7\n8\n")]).await;
    let two = world.result(&base, &[("a", "1\n2\n3\n4\n5\n6\n7\ntwo\n")]).await;
    let three = world.result(&base, &[("a", "three\n2\n3\n4\n5\n6\n7\n8\n")]).await;
    let Merged::Clean { tree } = store.merge(&base, &one.commit, &two.commit).await.unwrap() else {
        panic!("different ends of a file do not conflict");
    };
    let both = store.commit(&tree, &[&base], "both", "@0 +0000").await.unwrap();
    let Merged::Conflict { clashes, .. } = store.merge(&base, &both, &three.commit).await.unwrap() else {
        panic!("one line cannot be both");
    };
    assert_eq!(clashes.len(), 1);
    assert_eq!(clashes[0].hunks, "<<<<<<< what is there\none\n=======\nthree\n>>>>>>> this task\n2\n3\n4\n");
}

#[tokio::test]
async fn a_file_that_one_side_deleted_is_shown_in_words() {
    let world = World::new(&[("a", "1\n"), ("b", "1\n")]);
    let store = world.store().await;
    let base = world.head(&store).await;
    let changed = world.result(&base, &[("a", "2\n")]).await;
    let worktree = world.worktree(&base).await;
    fs::remove_file(worktree.files().join("a")).unwrap();
    let made = worktree.result("x").await.unwrap().unwrap();
    let file = world.folder.path().join("d");
    let (bundle, blob) = worktree.bundle(&made, &base, &file).await.unwrap().unwrap();
    world.blobs.publish(vec![blob]).await.unwrap();
    store
        .ensure(&State { bundles: vec![bundle], ..State::of(made.commit.clone()) }, "main", &world.blobs)
        .await
        .unwrap();
    let Merged::Conflict { clashes, .. } = store.merge(&base, &changed.commit, &made.commit).await.unwrap()
    else {
        panic!("changed and deleted");
    };
    assert!(clashes[0].hunks.contains("deleted in this task and modified in what is there"), "{clashes:?}");
}

#[tokio::test]
async fn work_goes_on_from_its_own_last_state_on_a_new_base() {
    let world = World::new(&[("a", "1\n"), ("b", "1\n")]);
    let store = world.store().await;
    let base = world.head(&store).await;
    let own = world.result(&base, &[("a", "mine\n")]).await;
    world.write_all(&[("b", "theirs\n")]);
    world.user(&["commit", "-qam", "Meanwhile"]);
    let moved = world.head(&store).await;
    let start = |base: &Oid| Start {
        base: base.clone(),
        layers: Vec::new(),
        own: Some(own.clone()),
        branch: BRANCH.to_owned(),
    };
    let worktree = world.start(start(&moved)).await;
    assert_eq!(fs::read_to_string(worktree.files().join("a")).unwrap(), "mine\n");
    assert_eq!(fs::read_to_string(worktree.files().join("b")).unwrap(), "theirs\n");
    let made = worktree.result("same").await.unwrap().unwrap();
    assert_eq!((made.base, made.files), (moved, 1));
    worktree.release().await;
    world.write_all(&[("a", "also theirs\n")]);
    world.user(&["commit", "-qam", "Conflict"]);
    let worktree = world.start(start(&world.head(&store).await)).await;
    assert!(worktree.notes()[0].contains("conflicts with what is there now in a"), "{:?}", worktree.notes());
    assert!(fs::read_to_string(worktree.files().join("a")).unwrap().contains("<<<<<<< "));
    let error = worktree.result("same").await.unwrap_err().to_string();
    assert_eq!(error, "a still holds the marks of a conflict");
    write(&worktree.files().join("a"), "both\n");
    assert_eq!(worktree.result("mended").await.unwrap().unwrap().files, 1);
}

#[tokio::test]
async fn a_branch_moves_only_from_where_it_was_seen() {
    let world = World::new(&[("a", "1\n")]);
    world.user(&["switch", "-q", "--detach"]);
    let store = world.store().await;
    let base = world.head(&store).await;
    let result = world.result(&base, &[("b", "1\n")]).await;
    let trailers = Trailers { verdict: "approved in round 1\nby thor".to_owned() };
    let (tip, made) = store.rewrite(&base, &result.commit, &trailers).await.unwrap();
    assert_eq!(made.len(), 1);
    assert_eq!(store.rewrite(&base, &result.commit, &trailers).await.unwrap().0, tip, "the same again");
    assert_eq!(store.push("main", Some(&base), &tip).await.unwrap(), Pushed::There);
    assert_eq!(
        world.user(&["log", "-1", "--format=%B", "main"]),
        "T1: changes\nWavegate-Verdict: approved in round 1 by thor"
    );
    // Again after a crash, and after somebody went on from there.
    assert_eq!(store.push("main", Some(&base), &tip).await.unwrap(), Pushed::There);
    world.user(&["switch", "-q", "main"]);
    world.write_all(&[("c", "1\n")]);
    world.user(&["add", "-A"]);
    world.user(&["commit", "-qm", "On top"]);
    world.user(&["switch", "-q", "--detach"]);
    assert_eq!(store.push("main", Some(&base), &tip).await.unwrap(), Pushed::There);
    let late = world.result(&base, &[("d", "1\n")]).await;
    assert_eq!(store.push("main", Some(&base), &late.commit).await.unwrap(), Pushed::Moved);
    assert_eq!(world.user(&["log", "-1", "--format=%s", "main"]), "On top");
    assert_eq!(store.push("wavegate/plan/batch", None, &late.commit).await.unwrap(), Pushed::There);
    assert_eq!(store.push("wavegate/plan/batch", None, &tip).await.unwrap(), Pushed::Moved);
}

#[tokio::test]
async fn a_branch_that_somebody_works_on_is_left_to_them() {
    let world = World::new(&[("a", "1\n")]);
    let store = world.store().await;
    let base = world.head(&store).await;
    let result = world.result(&base, &[("a", "2\n")]).await;
    let before = picture(&world.repository());
    let error = store.push("main", Some(&base), &result.commit).await.unwrap_err().to_string();
    assert!(error.contains("checked out"), "{error}");
    let kept = |picture: Vec<(PathBuf, Vec<u8>, std::time::SystemTime)>| {
        picture
            .into_iter()
            .filter(|(path, ..)| !path.display().to_string().contains("/objects/"))
            .collect::<Vec<_>>()
    };
    assert_eq!(kept(picture(&world.repository())), kept(before));
}

#[tokio::test]
async fn nothing_of_the_users_repository_is_touched_before_a_push() {
    let world = World::new(&[("a", "1\n"), ("b", "1\n")]);
    write(&world.repository().join(".git/hooks/post-checkout"), "#!/bin/sh\ntouch ran\n");
    world.write_all(&[("a", "uncommitted\n")]);
    world.user(&["stash", "-q"]);
    world.write_all(&[("b", "staged\n")]);
    world.user(&["add", "b"]);
    world.write_all(&[("untracked", "1\n")]);
    let before = picture(&world.repository());
    let store = world.store().await;
    let base = world.head(&store).await;
    let result = world.result(&base, &[("a", "2\n")]).await;
    store.push("other", None, &result.commit).await.unwrap();
    let after = picture(&world.repository());
    let is_ours = |path: &Path| {
        let path = path.display().to_string();
        path.contains("/.git/objects/") || path.ends_with("/refs/heads/other")
    };
    let kept: Vec<_> = after.iter().filter(|(path, ..)| !is_ours(path)).collect();
    assert_eq!(kept, before.iter().filter(|(path, ..)| !is_ours(path)).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_base_is_found_under_the_name_that_a_plan_says() {
    let world = World::new(&[("a", "1\n")]);
    world.user(&["tag", "-a", "v1", "-m", "one"]);
    world.write_all(&[("a", "2\n")]);
    world.user(&["commit", "-qam", "Go on"]);
    let (first, second) = (world.user(&["rev-parse", "v1^{commit}"]), world.user(&["rev-parse", "main"]));
    let store = world.store().await;
    let head = async |base: &str| store.head(base).await.unwrap();
    let branch = |commit: &str| Head::Branch { name: "main".to_owned(), commit: commit.parse().unwrap() };
    assert_eq!(head("").await, branch(&second));
    assert_eq!(head("main").await, branch(&second));
    assert_eq!(head("refs/heads/main").await, branch(&second));
    assert_eq!(head("v1").await, Head::Fixed { commit: first.parse().unwrap() });
    assert_eq!(head(&first).await, Head::Fixed { commit: first.parse().unwrap() });
    assert!(matches!(store.head("none").await, Err(GitError::NoBase { .. })));
}

#[tokio::test]
async fn locks_that_a_killed_git_left_do_not_stop_the_next_one() {
    let world = World::new(&[("a", "1\n")]);
    let store = world.store().await;
    let base = world.head(&store).await;
    write(&store.objects().join("packed-refs.lock"), "");
    write(&store.objects().join("refs/wavegate/state.lock"), "");
    let worktree = world.worktree(&base).await;
    write(&worktree.files().parent().unwrap().join("ours/index.lock"), "");
    drop(worktree);
    world.result(&base, &[("a", "2\n")]).await;
    assert!(store.bundle(&base, &[], &world.folder.path().join("x")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_directory_that_was_replaced_by_a_link_leads_nobody_astray() {
    let world = World::new(&[("a", "1\n")]);
    let base = world.head(&*world.store().await).await;
    let precious = world.folder.path().join("precious");
    write(&precious.join("kept"), "x");
    let worktree = world.worktree(&base).await;
    let files = worktree.files();
    fs::remove_dir_all(&files).unwrap();
    std::os::unix::fs::symlink(&precious, &files).unwrap();
    let error = worktree.result("x").await.unwrap_err().to_string();
    assert!(error.ends_with("is no directory any more"), "{error}");
    worktree.release().await;
    assert_eq!(listed(&precious), ["kept"]);
    let again = world.worktree(&base).await;
    drop(again);
    std::fs::remove_dir_all(&files).unwrap();
    std::os::unix::fs::symlink(&precious, &files).unwrap();
    let again = world.worktree(&base).await;
    assert_eq!(
        (listed(&again.files()), listed(&precious)),
        (vec![".git".to_owned(), "a".to_owned()], vec!["kept".to_owned()])
    );
}
