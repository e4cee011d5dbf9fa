//! kill -9 of the worker, of the coordinator and of both at each step on a repository. A stand-in for the git
//! program on PATH does the killing: it knows which step is being taken.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Command, thread};

use wavegate_tests::{Home, Process, Repository, wait_until};

use crate::{head, home, repository, tasks_of};

/// What git is asked for at the step, and whether the kill comes before or after it is done.
const STEPS: [(&str, &str, bool); 9] = [
    ("fetch", "fetch --quiet", false),
    ("worktree", "read-tree --reset", true),
    ("commit", "commit-tree", false),
    ("bundle", "bundle create", false),
    ("upload", "bundle create", true),
    ("integrate", "merge-tree", true),
    ("rewrite", "hash-object", true),
    ("publish", "push --porcelain", false),
    ("published", "push --porcelain", true),
];

/// Puts the stand-in for git into a folder; gives a PATH that has it first. The victim is a process id in a file, or
/// the caller.
fn killing_git(home: &Home, words: &str, is_after: bool, victim: &str) -> String {
    let folder = home.path("bin");
    fs::create_dir_all(&folder).unwrap();
    let real = Command::new("sh").args(["-c", "command -v git"]).output().unwrap().stdout;
    let real = String::from_utf8(real).unwrap().trim().to_owned();
    let once = home.path("killed");
    let kill = format!("mkdir {} 2>/dev/null && kill -9 {victim}", once.display());
    let script = if is_after {
        format!(
            "#!/bin/sh\n{real} \"$@\"\ncode=$?\ncase \"$*\" in *\"{words}\"*) {kill};; esac\nexit $code\n"
        )
    } else {
        format!("#!/bin/sh\ncase \"$*\" in *\"{words}\"*) {kill};; esac\nexec {real} \"$@\"\n")
    };
    let path = folder.join("git");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
}

/// Two tasks that share a file, then one more wave.
fn plan(home: &Home, repository: &Repository) -> PathBuf {
    let tasks = "  - id: W1\n    tasks:\n      - { id: T1, run: \"sed -i '1i one' a\", verify: [\"grep -q one a\"] }\n      - { id: T2, run: \"echo two >> \
                 a\", verify: [\"grep -q two a\"] }\n  - id: W2\n    tasks:\n      - { id: T3, run: \"cat a > b\", verify: [\"cmp a b\"] }\n";
    home.write("plan.yaml", &(head("kills", repository) + tasks)).unwrap()
}

/// Every result is there once, and nothing else is left anywhere.
fn ended_right(home: &Home, repository: &Repository, step: &str) {
    assert!(home.path("killed").exists(), "{step}: nobody was killed");
    let mut tasks = tasks_of(repository, "HEAD..main");
    tasks.sort();
    assert_eq!(tasks, ["T1", "T2", "T3"], "{step}\n{}", home.dump());
    assert_eq!(repository.show("main", "b").unwrap(), "one\n1\n2\n3\n4\n5\n6\n7\n8\ntwo", "{step}");
    assert_eq!(repository.git(&["branch", "--list", "wavegate/*"]).unwrap(), "", "{step}");
    assert_eq!(repository.git(&["worktree", "list"]).unwrap().lines().count(), 1, "{step}");
}

/// No directory of a lease, and no agent's git directory in the pool.
fn nothing_left(home: &Home, step: &str) {
    let find = format!(
        "find {0} \\( -path '*/pool/*/files/.git' -o -path '*/work/*' \\) -not -path '*/objects/*' 2>/dev/null | head -5",
        home.path("").display()
    );
    wait_until(
        &format!("{step}: nothing to be left"),
        || home.dump(),
        || {
            let left = Command::new("sh").args(["-c", &find]).output().unwrap().stdout;
            left.is_empty().then_some(())
        },
    );
}

/// Runs `test` for each step, some at a time.
fn at_each_step(test: impl Fn(&str, &str, bool) + Sync) {
    for steps in STEPS.chunks(3) {
        thread::scope(|scope| {
            for (step, words, is_after) in steps {
                scope.spawn(|| test(step, words, *is_after));
            }
        });
    }
}

#[test]
fn a_worker_that_is_killed_at_any_step_leaves_nothing_undone_or_twice() {
    at_each_step(|step, words, is_after| {
        let home = home();
        let repository = repository(&home);
        let file = plan(&home, &repository);
        let _coordinator = home.serve("127.0.0.1:0").unwrap();
        assert_eq!(home.run(&["submit", file.to_str().unwrap()]).unwrap().code, Some(0));
        let env = [("PATH".to_owned(), killing_git(&home, words, is_after, "$PPID"))];
        let start = || home.worker_with("one", &["--slots", "4"], &env).unwrap();
        let mut worker = start();
        assert_eq!(home.run(&["approve", "kills", "--mode", "standard"]).unwrap().code, Some(0));
        wait_until(
            &format!("{step}: the kill"),
            || home.dump(),
            || home.path("killed").exists().then_some(()),
        );
        worker.wait();
        let _worker: Process = start();
        home.wait_for_status("kills", "done");
        ended_right(&home, &repository, step);
        nothing_left(&home, step);
    });
}

#[test]
fn a_coordinator_that_is_killed_at_any_step_leaves_nothing_undone_or_twice() {
    at_each_step(|step, words, is_after| {
        let home = home();
        let repository = repository(&home);
        let file = plan(&home, &repository);
        let address = crate::reachable_address();
        let mut coordinator = home.serve(&address).unwrap();
        home.write("pid", &coordinator.id().to_string()).unwrap();
        assert_eq!(home.run(&["submit", file.to_str().unwrap()]).unwrap().code, Some(0));
        let victim = format!("$(cat {})", home.path("pid").display());
        let env = [("PATH".to_owned(), killing_git(&home, words, is_after, &victim))];
        let _worker = home.worker_with("one", &["--slots", "4"], &env).unwrap();
        assert_eq!(home.run(&["approve", "kills", "--mode", "standard"]).unwrap().code, Some(0));
        wait_until(
            &format!("{step}: the kill"),
            || home.dump(),
            || home.path("killed").exists().then_some(()),
        );
        coordinator.wait();
        let _coordinator: Process = home.serve(&address).unwrap();
        home.wait_for_status("kills", "done");
        ended_right(&home, &repository, step);
        nothing_left(&home, step);
    });
}

#[test]
fn a_run_that_is_killed_at_any_step_goes_on_where_it_was() {
    at_each_step(|step, words, is_after| {
        let home = home();
        let repository = repository(&home);
        let file = plan(&home, &repository);
        let path = killing_git(&home, words, is_after, "$PPID");
        let mut command = home.command();
        command.args(["run", file.to_str().unwrap(), "--mode", "standard"]).env("PATH", path);
        let killed = command.output().unwrap();
        assert_eq!(killed.status.code(), None, "{step}: {killed:?}");
        let resumed = home.run(&["run", "--resume", "1"]).unwrap();
        assert_eq!(resumed.code, Some(0), "{step}: {resumed:?}\n{}", home.dump());
        ended_right(&home, &repository, step);
        nothing_left(&home, step);
    });
}
