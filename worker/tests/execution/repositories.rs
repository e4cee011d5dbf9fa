//! Leases on a repository: tasks in worktrees, their results put together, judged and published.

use std::{fs, path::PathBuf, process::Command};

use wavegate_proto::v1;
use wavegate_worker::{
    digest::Digest,
    git::State,
    work::{Ending, perform},
};

use crate::bench::{Bench, task};

/// A repository of somebody, whose main branch nobody has checked out.
struct Repository {
    bench: Bench,
}

impl Repository {
    fn new(files: &[(&str, &str)]) -> Self {
        let repository = Self { bench: Bench::new() };
        fs::create_dir_all(repository.path()).unwrap();
        repository.user(&["init", "-q", "-b", "main"]);
        repository.push(files, "Begin");
        repository
    }

    fn path(&self) -> PathBuf {
        self.bench.path("repository")
    }

    fn user(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(self.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .envs([("GIT_AUTHOR_NAME", "Ann"), ("GIT_AUTHOR_EMAIL", "ann@example.org")])
            .envs([("GIT_COMMITTER_NAME", "Ann"), ("GIT_COMMITTER_EMAIL", "ann@example.org")])
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What a person adds to main.
    fn push(&self, files: &[(&str, &str)], message: &str) {
        if !self.user(&["branch", "--list", "main"]).is_empty() {
            self.user(&["switch", "-q", "main"]);
        }
        for (path, text) in files {
            let path = self.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        self.user(&["add", "-A"]);
        self.user(&["commit", "-qm", message]);
        self.user(&["switch", "-q", "--detach"]);
    }

    fn named(&self) -> Option<v1::Repository> {
        Some(v1::Repository { location: self.path().display().to_string(), base: "main".to_owned() })
    }

    fn workspace(&self, base: &str) -> v1::Workspace {
        v1::Workspace {
            kind: v1::WorkspaceKind::Git.into(),
            base: base.to_owned(),
            repository: self.named(),
            branch: "wavegate/plan/T1".to_owned(),
            ..v1::Workspace::default()
        }
    }

    async fn task(&self, command: &str, workspace: v1::Workspace) -> v1::Report {
        let workspace = Some(workspace);
        self.bench.report(v1::TaskWork { workspace, ..task(command, v1::WorkspaceKind::Git) }).await
    }

    async fn result(&self, key: &str, command: &str, workspace: v1::Workspace) -> v1::TaskResult {
        let report = self.task(command, workspace).await;
        assert_eq!(report.outcome(), v1::Outcome::Succeeded, "{}", report.summary);
        v1::TaskResult {
            key: key.to_owned(),
            changes: report.changes,
            title: format!("Do {key}"),
            attempt: 1,
            lease_id: "l".to_owned(),
            ..v1::TaskResult::default()
        }
    }

    async fn perform(&self, body: v1::work::Body) -> v1::Report {
        let (plan_name, wave) = ("plan".to_owned(), "W1".to_owned());
        let work =
            v1::Work { plan_id: 1, plan_name, wave, round: 1, body: Some(body), ..v1::Work::default() };
        match perform(work, self.bench.context()).await {
            Ending::Report(report) => *report,
            other @ (Ending::Cancelled | Ending::Fenced | Ending::Unable(_) | Ending::OutOfReach(_)) => {
                panic!("{other:?}")
            }
        }
    }

    async fn integrate(&self, base: &str, mode: v1::MergeMode, results: Vec<v1::TaskResult>) -> v1::Report {
        let integrate = v1::IntegrateWork {
            base: base.to_owned(),
            results,
            repository: self.named(),
            merge_mode: mode.into(),
            branch: branch_of(mode),
        };
        self.perform(v1::work::Body::Integrate(integrate)).await
    }

    async fn publish(&self, base: &str, mode: v1::MergeMode, candidate: &str) -> v1::Report {
        let publish = v1::PublishWork {
            repository: self.named(),
            base: base.to_owned(),
            candidate: candidate.to_owned(),
            merge_mode: mode.into(),
            branch: branch_of(mode),
            verdict: "approved in round 1 by thor".to_owned(),
            ..v1::PublishWork::default()
        };
        self.perform(v1::work::Body::Publish(publish)).await
    }

    fn state(&self, digest: &str) -> State {
        State::decode(&self.bench.blobs.stored.read(digest.parse::<Digest>().unwrap()).unwrap()).unwrap()
    }

    /// What nobody needs any more.
    fn leftovers(&self) -> Vec<PathBuf> {
        let work = fs::read_dir(self.bench.path("state/work")).into_iter().flatten().flatten();
        work.map(|entry| entry.path()).collect()
    }
}

fn branch_of(mode: v1::MergeMode) -> String {
    match mode {
        v1::MergeMode::Batch => "wavegate/plan/batch".to_owned(),
        v1::MergeMode::Async => "wavegate/plan/W1".to_owned(),
        v1::MergeMode::Sync | v1::MergeMode::None | v1::MergeMode::Unspecified => String::new(),
    }
}

const SYNC: v1::MergeMode = v1::MergeMode::Sync;

#[tokio::test]
async fn the_work_of_tasks_reaches_the_branch_as_one_commit_each() {
    let repository = Repository::new(&[("a", "1\n")]);
    let one = repository
        .result("T1", "echo one > one; git branch --show-current > b", repository.workspace(""))
        .await;
    let two = repository.result("T2", "echo two > two", repository.workspace("")).await;
    let joined = repository.integrate("", SYNC, vec![one, two]).await;
    assert_eq!(joined.outcome(), v1::Outcome::Succeeded, "{}", joined.summary);
    let before = repository.user(&["rev-parse", "main"]);
    assert_eq!(repository.state(&joined.target).commit.to_string(), before, "the plan knew no state");
    let published = repository.publish(&joined.target, SYNC, &joined.candidate).await;
    assert_eq!(published.outcome(), v1::Outcome::Succeeded, "{}", published.summary);
    assert_eq!(repository.user(&["log", "--format=%s", "main"]), "Do T2\nDo T1\nBegin");
    assert_eq!(repository.user(&["show", "main:one"]), "one");
    assert_eq!(repository.user(&["show", "main:b"]), "wavegate/plan/T1");
    let trailers = repository.user(&["log", "-1", "--format=%(trailers:only)", "main"]);
    assert_eq!(
        trailers,
        "Wavegate-Plan: plan (1)\nWavegate-Wave: W1 round 1\nWavegate-Task: T2\nWavegate-Attempt: 1\nWavegate-Lease: l\n\
         Wavegate-Verdict: approved in round 1 by thor"
    );
    let commits: Vec<_> = published.commits.iter().map(|it| (it.task.as_str(), it.commit.clone())).collect();
    let ids = [repository.user(&["rev-parse", "main~"]), repository.user(&["rev-parse", "main"])];
    assert_eq!(commits, [("T1", ids[0].clone()), ("T2", ids[1].clone())]);
    assert_eq!(published.branch, "main");
    assert_eq!(repository.state(&published.candidate).commit.to_string(), ids[1]);
    // Done again, as after a crash between the push and its answer.
    let again = repository.publish(&joined.target, SYNC, &joined.candidate).await;
    assert_eq!((again.outcome(), &again.commits), (v1::Outcome::Succeeded, &published.commits));
    assert_eq!(repository.user(&["rev-parse", "main"]), ids[1]);
    assert_eq!(repository.leftovers(), Vec::<PathBuf>::new());
    assert_eq!(repository.user(&["branch", "--list", "wavegate/*"]), "");
}

#[tokio::test]
async fn what_people_push_meanwhile_is_never_lost() {
    let repository = Repository::new(&[("a", "1\n")]);
    let one = repository.result("T1", "echo one > one", repository.workspace("")).await;
    let joined = repository.integrate("", SYNC, vec![one.clone()]).await;
    repository.push(&[("theirs", "x\n")], "Meanwhile");
    let moved = repository.publish(&joined.target, SYNC, &joined.candidate).await;
    assert_eq!(moved.outcome(), v1::Outcome::TargetMoved, "{}", moved.summary);
    assert_eq!(repository.user(&["log", "-1", "--format=%s", "main"]), "Meanwhile");
    let again = repository.integrate(&joined.target, SYNC, vec![one]).await;
    assert!(!again.target.is_empty(), "the plan goes on from what people pushed");
    let published = repository.publish(&again.target, SYNC, &again.candidate).await;
    assert_eq!(published.outcome(), v1::Outcome::Succeeded, "{}", published.summary);
    assert_eq!(repository.user(&["log", "--format=%s", "main"]), "Do T1\nMeanwhile\nBegin");
}

#[tokio::test]
async fn what_somebody_took_back_is_not_put_there_again() {
    let repository = Repository::new(&[("a", "1\n")]);
    let one = repository.result("T1", "echo one > one", repository.workspace("")).await;
    let joined = repository.integrate("", SYNC, vec![one]).await;
    let published = repository.publish(&joined.target, SYNC, &joined.candidate).await;
    repository.user(&["branch", "-f", "main", "main~"]);
    let two = repository.result("T2", "echo two > two", repository.workspace(&published.candidate)).await;
    let again = repository.integrate(&published.candidate, SYNC, vec![two]).await;
    assert_eq!(again.outcome(), v1::Outcome::Failed);
    assert!(again.summary.contains("main no longer holds what the plan began from"), "{}", again.summary);
    assert_eq!(repository.user(&["log", "--format=%s", "main"]), "Begin");
}

#[tokio::test]
async fn of_two_results_that_conflict_the_later_one_goes_back_and_is_built_on_the_other() {
    let repository = Repository::new(&[("a", "1\n")]);
    let one = repository.result("T1", "echo one > a", repository.workspace("")).await;
    let two = repository.result("T2", "echo two > a", repository.workspace("")).await;
    let three = repository.result("T3", "echo three > c", repository.workspace("")).await;
    let joined = repository.integrate("", SYNC, vec![one.clone(), two, three.clone()]).await;
    assert_eq!(joined.outcome(), v1::Outcome::Conflict);
    assert_eq!(joined.conflicts.len(), 1);
    let conflict = &joined.conflicts[0];
    assert_eq!((conflict.task.as_str(), conflict.with.as_slice()), ("T2", &["T1".to_owned()][..]));
    assert!(conflict.text.contains("one\n=======\ntwo\n"), "{}", conflict.text);
    let built_on =
        v1::Workspace { layers: vec![one.changes.clone()], ..repository.workspace(&joined.target) };
    let mut two = repository.result("T2", "grep -q one a && echo two >> a", built_on).await;
    two.built_on = vec!["T1".to_owned()];
    let joined = repository.integrate(&joined.target, SYNC, vec![one, two, three]).await;
    assert_eq!(joined.outcome(), v1::Outcome::Succeeded, "{}", joined.summary);
    repository.publish("", SYNC, &joined.candidate).await;
    assert_eq!(repository.user(&["show", "main:a"]), "one\ntwo");
    assert_eq!(repository.user(&["log", "--format=%s", "main"]), "Do T3\nDo T2\nDo T1\nBegin");
}

#[tokio::test]
async fn thor_judges_a_fresh_worktree_at_the_candidate() {
    let repository = Repository::new(&[("a", "1\n"), (".gitignore", "built\n")]);
    let one = repository.result("T1", "echo one > one; echo x > built", repository.workspace("")).await;
    let joined = repository.integrate("", SYNC, vec![one]).await;
    let check = |key: &str, verify: &str| v1::TaskCheck {
        key: key.to_owned(),
        verify: vec![verify.to_owned()],
        ..v1::TaskCheck::default()
    };
    let validate = v1::ValidateWork {
        workspace: Some(repository.workspace(&joined.candidate)),
        tasks: vec![
            check("T1", "grep -q one one && ! test -e built && touch built"),
            check("T2", "! test -e built"),
        ],
        ..v1::ValidateWork::default()
    };
    let verdict = repository.perform(v1::work::Body::Validate(validate)).await.verdict.unwrap();
    assert_eq!(verdict.decision(), v1::Decision::Approved, "{:?}", verdict.findings);
}

#[tokio::test]
async fn deferred_work_is_gathered_on_a_branch_of_the_plan_and_main_stays() {
    let repository = Repository::new(&[("a", "1\n")]);
    let batch = v1::MergeMode::Batch;
    let one = repository.result("T1", "echo one > one", repository.workspace("")).await;
    let first = repository.integrate("", batch, vec![one]).await;
    let first = repository.publish(&first.target, batch, &first.candidate).await;
    assert_eq!((first.outcome(), first.branch.as_str()), (v1::Outcome::Succeeded, "wavegate/plan/batch"));
    let two = repository.result("T2", "cat one > two", repository.workspace(&first.candidate)).await;
    let second = repository.integrate(&first.candidate, batch, vec![two]).await;
    assert_eq!(second.target, "", "the plan's own state is what the branch has");
    repository.publish(&first.candidate, batch, &second.candidate).await;
    assert_eq!(repository.user(&["log", "--format=%s", "wavegate/plan/batch"]), "Do T2\nDo T1\nBegin");
    assert_eq!(repository.user(&["log", "--format=%s", "main"]), "Begin");
}

#[tokio::test]
async fn what_was_gathered_reaches_a_target_that_has_moved() {
    let repository = Repository::new(&[("a", "1\n")]);
    let none = v1::MergeMode::None;
    let one = repository.result("T1", "echo one > one", repository.workspace("")).await;
    let first = repository.integrate("", none, vec![one]).await;
    let first = repository.publish(&first.target, none, &first.candidate).await;
    assert_eq!((first.outcome(), first.branch.as_str()), (v1::Outcome::Succeeded, ""), "{}", first.summary);
    repository.push(&[("theirs", "x\n")], "Meanwhile");
    let two = repository.result("T2", "cat one > two", repository.workspace(&first.candidate)).await;
    let second = repository.integrate(&first.candidate, SYNC, vec![two]).await;
    assert_eq!(second.outcome(), v1::Outcome::Succeeded, "{}", second.summary);
    let published = repository.publish(&second.target, SYNC, &second.candidate).await;
    assert_eq!(published.outcome(), v1::Outcome::Succeeded, "{}", published.summary);
    let log = repository.user(&["log", "--format=%s", "--topo-order", "main"]);
    assert!(log.starts_with("Do T2\nMerge what plan has gathered\n"), "{log}");
    for (path, text) in [("one", "one"), ("two", "one"), ("theirs", "x")] {
        assert_eq!(repository.user(&["show", &format!("main:{path}")]), text);
    }
}

#[tokio::test]
async fn a_repository_that_cannot_be_reached_is_nobodys_fault() {
    let repository = Repository::new(&[("a", "1\n")]);
    let named = v1::Repository { location: "/nowhere/at/all".to_owned(), base: "main".to_owned() };
    let workspace = v1::Workspace { repository: Some(named), ..repository.workspace("") };
    let task = v1::TaskWork { workspace: Some(workspace), ..task("true", v1::WorkspaceKind::Git) };
    let Ending::OutOfReach(why) = repository.bench.perform(task).await else {
        panic!("the repository is nowhere");
    };
    assert!(why.starts_with("the repository /nowhere/at/all cannot be reached from this host"), "{why}");
}

#[tokio::test]
async fn commands_find_what_earlier_ones_of_the_repository_kept() {
    let repository = Repository::new(&[("a", "1\n")]);
    let keep = "test ! -e $WAVEGATE_CACHE/kept && echo x > $WAVEGATE_CACHE/kept";
    assert_eq!(repository.task(keep, repository.workspace("")).await.outcome(), v1::Outcome::Succeeded);
    let found = repository.task("cat $WAVEGATE_CACHE/kept > b", repository.workspace("")).await;
    assert_eq!((found.outcome(), found.changed_files), (v1::Outcome::Succeeded, 1));
}

#[tokio::test]
async fn a_task_that_changes_nothing_of_the_repository_has_no_result() {
    let repository = Repository::new(&[("a", "1\n")]);
    let report = repository.task("true", repository.workspace("")).await;
    assert_eq!((report.outcome(), report.changes.as_str()), (v1::Outcome::Succeeded, ""));
    assert_eq!(report.summary, "no output (no file changed)");
    let none = v1::TaskResult { key: "T1".to_owned(), ..v1::TaskResult::default() };
    let joined = repository.integrate("", SYNC, vec![none]).await;
    let published = repository.publish(&joined.target, SYNC, &joined.candidate).await;
    assert_eq!((published.outcome(), published.commits.len()), (v1::Outcome::Succeeded, 0));
    assert_eq!(repository.user(&["log", "--format=%s", "main"]), "Begin");
}
