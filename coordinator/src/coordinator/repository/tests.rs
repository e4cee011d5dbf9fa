//! With the real git program and a coordinator of their own, on repositories in temporary folders.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use wavegate_proto::v1;
use wavegate_worker::{
    blobs::{Blob, BlobStore as _},
    digest::Digest,
    git::{State, read_state},
    tree,
};

use super::{super::Program, *};
use crate::{
    cli::{
        Backend as _, CheckedFile, Connection, DiffStyle, Difference, EmbeddedCoordinator as _,
        EmbeddedOptions, PlanBase, RepositoryBase, Timings,
    },
    coordinator::{embedded::Embedded, trees},
};

struct World {
    folder: tempfile::TempDir,
}

impl World {
    /// A repository with one commit on `main`, which is not checked out.
    fn new() -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(world.repository()).unwrap();
        world.git(&["init", "-q", "-b", "main"]);
        world.write("a.txt", "one\n");
        world.commit("Begin");
        world.git(&["switch", "-q", "-c", "mine"]);
        world
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("project")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.repository().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn commit(&self, subject: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-qm", subject]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn git(&self, arguments: &[&str]) -> String {
        git_in(&self.repository(), arguments)
    }

    /// Checks a plan with these fields of `project` and this merge mode.
    async fn check(&self, project: &str, merge_mode: &str) -> CheckedFile {
        let text = format!(
            "name: greet\nproject: {{ workspace: git, {project} }}\nwaves:\n  - {{ id: W1, merge_mode: {merge_mode}, tasks: [{{ id: T1, run: 'true' }}] }}\n"
        );
        let file = self.folder.path().join("plan.yaml").display().to_string();
        Program.check_file(&text, &file, &BTreeMap::new(), None).await.unwrap()
    }

    /// What is wrong, without the names of temporary folders.
    async fn told(&self, project: &str, merge_mode: &str) -> String {
        let checked = self.check(project, merge_mode).await;
        let folder = fs::canonicalize(self.folder.path()).unwrap().display().to_string();
        let line = |one: &v1::Diagnostic| {
            let message = one.message.replace(&folder, "DIR");
            let message = message.replace(&self.folder.path().display().to_string(), "DIR");
            format!("{}:{} {} {message}\n", one.line, one.column, one.severity().as_str_name())
        };
        checked.answer.diagnostics.iter().map(line).collect()
    }

    async fn base(&self, project: &str, merge_mode: &str) -> RepositoryBase {
        let checked = self.check(project, merge_mode).await;
        let PlanBase::Repository(base) = checked.base else {
            panic!("{:?}", checked.answer.diagnostics);
        };
        base
    }
}

fn git_in(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=Me", "-c", "user.email=me@example.org"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn a_sound_repository_is_named_by_its_own_path_with_the_commit_that_the_plan_starts_from() {
    let world = World::new();
    let main = world.git(&["rev-parse", "main"]);
    let location = fs::canonicalize(world.repository()).unwrap().display().to_string();
    let expected = |base: &str| RepositoryBase {
        location: location.clone(),
        base: base.to_owned(),
        commit: Some(main.clone()),
    };
    assert_eq!(world.base("repo: project, base: main", "sync").await, expected("main"));
    assert_eq!(world.base("repo: project, base: refs/heads/main", "sync").await, expected("main"));
    assert_eq!(world.base("repo: project", "batch").await, expected("mine"));
    world.git(&["tag", "v1"]);
    assert_eq!(world.base("repo: project, base: v1", "batch").await, expected(&main));
    let short = format!("repo: project, base: '{}'", &main[..9]);
    assert_eq!(world.base(&short, "none").await, expected(&main));
    std::os::unix::fs::symlink(world.repository(), world.folder.path().join("link")).unwrap();
    assert_eq!(world.base("repo: ./link, base: main", "sync").await, expected("main"));
    world.git(&["worktree", "add", "-q", "../other", "-b", "theirs"]);
    assert_eq!(world.base("repo: other", "batch").await, expected("theirs"));
}

#[tokio::test]
async fn without_a_repo_the_plan_works_on_the_one_that_holds_its_file() {
    let world = World::new();
    insta::assert_snapshot!(world.told("base: main", "sync").await, @"2:23 SEVERITY_ERROR `workspace: git`: the plan names no `repo`, and its folder DIR is in no git repository; expected `repo` with a path or URL");
    git_in(world.folder.path(), &["init", "-q", "-b", "trunk"]);
    git_in(world.folder.path(), &["commit", "-q", "--allow-empty", "-m", "Begin"]);
    let base = world.base("name: x", "batch").await;
    let location = fs::canonicalize(world.folder.path()).unwrap().display().to_string();
    assert_eq!((base.location, base.base), (location, "trunk".to_owned()));
}

#[tokio::test]
async fn a_url_is_only_named() {
    let world = World::new();
    let base = world.base("repo: 'https://example.invalid/a.git', base: v1", "sync").await;
    let expected = RepositoryBase {
        location: "https://example.invalid/a.git".to_owned(),
        base: "v1".to_owned(),
        commit: None,
    };
    assert_eq!(base, expected);
}

#[tokio::test]
async fn what_is_no_repository_or_no_commit_is_an_error_with_its_place() {
    let world = World::new();
    let empty = world.folder.path().join("empty");
    git_in(world.folder.path(), &["init", "-q", "-b", "main", "empty"]);
    git_in(world.folder.path(), &["init", "-q", "--object-format=sha256", "sha256"]);
    fs::create_dir(world.folder.path().join("plain")).unwrap();
    assert!(empty.exists());
    world.write("a.txt", "two\n");
    world.commit("Go on");
    let url = format!("file://{}", world.repository().display());
    git_in(world.folder.path(), &["clone", "-q", "--depth", "1", &url, "shallow"]);
    let mut told = String::new();
    for project in [
        "repo: nowhere",
        "repo: plain",
        "repo: empty",
        "repo: sha256",
        "repo: shallow",
        "repo: project, base: nothing",
    ] {
        told.push_str(&world.told(project, "batch").await);
    }
    insta::assert_snapshot!(told, @r#"
    2:34 SEVERITY_ERROR `repo` of `project`: there is no DIR/nowhere; expected a git repository
    2:34 SEVERITY_ERROR `repo` of `project`: DIR/plain is no git repository; expected one, as a path or URL
    2:34 SEVERITY_ERROR `repo` of `project`: DIR/empty has no commit yet; expected at least one, for a plan to start from
    2:34 SEVERITY_ERROR `repo` of `project`: DIR/sha256 is a repository of sha256 objects, which workers cannot work on; expected SHA-1
    2:34 SEVERITY_ERROR `repo` of `project`: DIR/shallow is a shallow clone, which git fetches nothing from; `git fetch --unshallow` makes it whole
    2:49 SEVERITY_ERROR `base` of `project`: DIR/project has no branch, tag or commit "nothing"; expected one, or no `base` for the branch that it is on
    "#);
}

#[tokio::test]
async fn only_a_branch_that_nobody_has_checked_out_can_be_moved() {
    let world = World::new();
    world.git(&["tag", "v1"]);
    let mut told = world.told("repo: project, base: mine", "sync").await;
    told.push_str(&world.told("repo: project, base: v1", "sync").await);
    world.git(&["worktree", "add", "-q", "../linked", "main"]);
    told.push_str(&world.told("repo: project, base: main", "sync").await);
    told.push_str(&world.told("repo: project, base: main", "batch").await);
    world.git(&["config", "receive.denyCurrentBranch", "updateInstead"]);
    told.push_str(&world.told("repo: project, base: mine", "sync").await);
    world.write("a.txt", "changed\n");
    told.push_str(&world.told("repo: project, base: mine", "sync").await);
    world.git(&["restore", "a.txt"]);
    world.git(&["config", "--unset", "receive.denyCurrentBranch"]);
    world.git(&["switch", "-q", "--detach"]);
    told.push_str(&world.told("repo: project, base: mine", "sync").await);
    told.push_str(&world.told("repo: project", "sync").await);
    insta::assert_snapshot!(told, @r#"
    2:34 SEVERITY_ERROR `repo` of `project`: the branch "mine" is checked out in DIR/project, and git refuses to move it under somebody's files. Three ways out: switch that working copy to another branch, or detach it (`git switch --detach`); gather the work elsewhere with `merge_mode: batch`, `async` or `none` on each wave; or let git update the files there with `git config receive.denyCurrentBranch updateInstead`
    2:49 SEVERITY_ERROR `base` of `project`: "v1" is a tag or a commit, which `merge_mode: sync` (the default of a wave) cannot move; expected a branch, or `merge_mode: batch`, `async` or `none` on each wave
    2:34 SEVERITY_ERROR `repo` of `project`: the branch "main" is checked out in DIR/linked, and git refuses to move it under somebody's files. Three ways out: switch that working copy to another branch, or detach it (`git switch --detach`); gather the work elsewhere with `merge_mode: batch`, `async` or `none` on each wave; or let git update the files there with `git config receive.denyCurrentBranch updateInstead`
    2:34 SEVERITY_WARNING git updates the files in DIR/project only while none of them has changes that are not committed: commit or stash them before the work is published
    2:34 SEVERITY_WARNING 1 file in DIR/project has changes that are not committed: they are no part of the plan
    2:34 SEVERITY_ERROR `base` of `project`: HEAD of DIR/project is on no branch, which `merge_mode: sync` (the default of a wave) cannot move; expected a branch, or `merge_mode: batch`, `async` or `none` on each wave
    "#);
}

#[tokio::test]
async fn what_the_work_will_not_see_is_a_warning_and_nothing_is_touched() {
    let world = World::new();
    world.write(".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = https://example.invalid/x\n");
    world.write("media/.gitattributes", "*.png filter=lfs diff=lfs merge=lfs -text\n");
    world.write("src/lib.rs", "");
    world.commit("Add things");
    world.write("a.txt", "changed\n");
    world.write("new.txt", "new\n");
    let index = world.repository().join(".git/index");
    let before = (fs::read(&index).unwrap(), fs::metadata(&index).unwrap().modified().unwrap());
    let told = world.told("repo: project/src", "batch").await;
    assert_eq!(before, (fs::read(&index).unwrap(), fs::metadata(&index).unwrap().modified().unwrap()));
    insta::assert_snapshot!(told, @"
    2:34 SEVERITY_WARNING `repo` of `project`: DIR/project/src is a folder of the repository DIR/project, which the plan works on as a whole
    2:34 SEVERITY_WARNING the repository has submodules: their folders are empty where tasks work
    2:34 SEVERITY_WARNING the repository uses Git LFS: where tasks work, its files are pointers, not their contents
    2:34 SEVERITY_WARNING 2 files in DIR/project have changes that are not committed: they are no part of the plan
    ");
}

/// A coordinator that answers, and what it is reached by.
async fn coordinator(folder: &Path) -> (Embedded, Connection) {
    let options = EmbeddedOptions {
        db: folder.join("x.db"),
        workers: 0,
        max_agents: None,
        worker_config: None,
        allow_full: false,
        has_agents: false,
        prices: None,
        timings: Timings::default(),
    };
    let embedded = Program.embed(options).await.unwrap();
    let connection = Connection::open(embedded.url(), embedded.token()).await.unwrap();
    (embedded, connection)
}

fn at(location: &Path) -> v1::Repository {
    v1::Repository { location: location.display().to_string(), base: "main".to_owned() }
}

const NAMES: DiffStyle = DiffStyle { stat: false, name_only: true, colour: false };

#[tokio::test]
async fn a_base_travels_with_its_history_only_to_others() {
    let world = World::new();
    let (embedded, connection) = coordinator(world.folder.path()).await;
    let base = world.base("repo: project, base: main", "batch").await;
    let room = Room::open(None).unwrap();
    let artifacts = artifacts::Artifacts::new(&connection, &world.folder.path().join("seen")).unwrap();
    let near = upload(&connection, &base, &room, false).await.unwrap();
    let far = upload(&connection, &base, &room, true).await.unwrap();
    assert_eq!((near.warning.clone(), far.warning.clone()), (None, None));
    let state = async |digest: &str| read_state(digest.parse().unwrap(), &artifacts).await.unwrap();
    let (near, far) = (state(&near.digest).await, state(&far.digest).await);
    let of = State::of(base.commit.unwrap().parse().unwrap());
    assert_eq!(near, State { branch: "main".to_owned(), ..of });
    assert_eq!(far.bundles.len(), 1);
    // A host that has nothing but the artifacts.
    let elsewhere = Room::open(None).unwrap();
    let store = elsewhere.stores().open("/nowhere/project").await.unwrap();
    store.ensure(&far, "main", &artifacts).await.unwrap();
    let url = RepositoryBase { location: "host:a".to_owned(), base: String::new(), commit: None };
    assert_eq!(upload(&connection, &url, &room, true).await.unwrap().digest, "");
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn what_was_changed_is_shown_and_put_into_a_repository_of_its_own() {
    let world = World::new();
    let (embedded, connection) = coordinator(world.folder.path()).await;
    let base: String = world.git(&["rev-parse", "main"]);
    world.write("a.txt", "one\ntwo\n");
    let first = world.commit("Add two");
    world.write("b.txt", "b\n");
    let tip = world.commit("Add b");
    let state = State { base: Some(first.parse().unwrap()), ..State::of(tip.parse().unwrap()) };
    let blob = Blob::of_bytes(state.encode());
    let digest = blob.digest().to_string();
    trees::send_missing(&connection, vec![blob]).await.unwrap();
    let (room, repository) = (Room::open(None).unwrap(), at(&world.repository()));
    let shown = async |first: Option<&str>, style| {
        let first = first.map(ToOwned::to_owned);
        let difference = Difference::Commits { state: digest.clone(), first };
        let shown = diff(&connection, &repository, &difference, style, &room).await.unwrap();
        String::from_utf8(shown).unwrap()
    };
    assert_eq!(shown(None, NAMES).await, "b.txt\n");
    assert_eq!(shown(Some(&first), NAMES).await, "a.txt\nb.txt\n");
    let text = shown(Some(&first), DiffStyle::default()).await;
    assert!(text.contains("\n+two\n") && !text.contains('\u{1b}'), "{text}");
    let before = world.git(&["for-each-ref"]);
    let dir = world.folder.path().join("seen");
    let made = checkout(&connection, &repository, &digest, "wavegate/greet/T1", &dir, &room).await.unwrap();
    assert_eq!((made.commit, made.base), (tip.clone(), Some(first)));
    drop(room);
    assert_eq!(git_in(&dir, &["symbolic-ref", "--short", "HEAD"]), "wavegate/greet/T1");
    assert_eq!(git_in(&dir, &["rev-list", "--count", &format!("{base}..HEAD")]), "2");
    assert_eq!(git_in(&dir, &["status", "--porcelain"]), "");
    assert_eq!(git_in(&dir, &["fsck", "--connectivity-only"]), "");
    assert_eq!(fs::read_to_string(dir.join("b.txt")).unwrap(), "b\n");
    assert_eq!(world.git(&["for-each-ref"]), before);
    let again = Room::open(None).unwrap();
    let refused = checkout(&connection, &repository, &digest, "wavegate/greet/T1", &dir, &again).await;
    assert!(refused.unwrap_err().to_string().ends_with("seen is not empty: name another directory"));
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn a_checkout_that_fails_leaves_nothing() {
    let world = World::new();
    let (embedded, connection) = coordinator(world.folder.path()).await;
    let blob = Blob::of_bytes(State::of("0".repeat(40).parse().unwrap()).encode());
    let digest = blob.digest().to_string();
    trees::send_missing(&connection, vec![blob]).await.unwrap();
    let room = Room::open(None).unwrap();
    let dir = world.folder.path().join("seen");
    let failed =
        checkout(&connection, &at(&world.repository()), &digest, "b", &dir, &room).await.unwrap_err();
    assert!(failed.to_string().contains("no artifact holds it"), "{failed}");
    assert!(!dir.exists());
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn trees_are_compared_by_what_differs() {
    let world = World::new();
    let (embedded, connection) = coordinator(world.folder.path()).await;
    let dir = world.folder.path().join("files");
    fs::create_dir_all(dir.join("deep")).unwrap();
    for (name, text) in [("same.txt", "same\n"), ("deep/old.txt", "old\n"), ("gone.txt", "gone\n")] {
        fs::write(dir.join(name), text).unwrap();
    }
    let from = trees::upload(&connection, &dir).await.unwrap();
    fs::write(dir.join("deep/old.txt"), "new\n").unwrap();
    fs::remove_file(dir.join("gone.txt")).unwrap();
    let to = trees::upload(&connection, &dir).await.unwrap();
    let shown = async |difference: Difference, style| {
        let room = Room::open(None).unwrap();
        let shown = diff(&connection, &v1::Repository::default(), &difference, style, &room).await;
        String::from_utf8(shown.unwrap()).unwrap()
    };
    let trees = Difference::Trees { from: from.clone(), to: to.clone() };
    assert_eq!(shown(trees.clone(), NAMES).await, "deep/old.txt\ngone.txt\n");
    insta::assert_snapshot!(shown(trees, DiffStyle::default()).await, @"
    diff --git a/deep/old.txt b/deep/old.txt
    index 3367afd..3e75765 100644
    --- a/deep/old.txt
    +++ b/deep/old.txt
    @@ -1 +1 @@
    -old
    +new
    diff --git a/gone.txt b/gone.txt
    deleted file mode 100644
    index 286c5f5..0000000
    --- a/gone.txt
    +++ /dev/null
    @@ -1 +0,0 @@
    -gone
    ");
    let (before, _) = tree::snapshot(&dir).unwrap();
    fs::write(dir.join("added.txt"), "x\n").unwrap();
    let (after, blobs) = tree::snapshot(&dir).unwrap();
    let changes = Blob::of_bytes(before.changes_to(&after).encode());
    let digest: Digest = changes.digest();
    trees::send_missing(&connection, blobs.into_iter().chain([changes]).collect()).await.unwrap();
    let changes = Difference::Changes { from: to.clone(), changes: digest.to_string() };
    let text = shown(changes, DiffStyle { stat: true, ..DiffStyle::default() }).await;
    assert!(text.contains("added.txt") && text.contains("1 file changed, 1 insertion"), "{text}");
    let same = Difference::Trees { from: to.clone(), to };
    assert_eq!(shown(same, DiffStyle::default()).await, "");
    let artifacts = artifacts::Artifacts::new(&connection, &world.folder.path().join("seen")).unwrap();
    artifacts.fetch(&[digest]).await.unwrap();
    embedded.stop().await.unwrap();
}
