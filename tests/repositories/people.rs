//! People who work on the same repository meanwhile.

use wavegate_tests::Repository;

use crate::{head, home, repository, tasks_of};

/// The verify command pushes as a person would, once: after integration, before publishing.
#[test]
fn what_somebody_pushes_under_a_running_plan_stays_and_the_wave_is_judged_again() {
    let home = home();
    let repository = repository(&home);
    let person = home.path("person");
    repository.git(&["clone", "-q", repository.path().to_str().unwrap(), person.to_str().unwrap()]).unwrap();
    let script = format!(
        "mkdir {pushed} 2>/dev/null || exit 0; cd {person} && git checkout -q main && echo theirs > theirs && git add -A && git -c \
         user.name=Bo -c user.email=bo@example.org commit -qm Meanwhile && git push -q origin main",
        pushed = home.path("pushed").display(),
        person = person.display()
    );
    let script = home.write("push.sh", &script).unwrap();
    let tasks = format!(
        "  - id: W1\n    verify: [\"sh {}\"]\n    tasks:\n      - {{ id: T1, run: \"echo one > one\", verify: [\"test -s one\"] }}\n  - id: \
         W2\n    tasks:\n      - {{ id: T2, run: \"cat one theirs > both\", verify: [\"test -s both\"] }}\n",
        script.display()
    );
    let file = home.write("plan.yaml", &(head("moved", &repository) + &tasks)).unwrap();
    let ran = home.run(&["run", file.to_str().unwrap(), "--mode", "standard"]).unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}\n{}", home.dump());
    assert_eq!(repository.show("main", "theirs").unwrap(), "theirs");
    assert_eq!(repository.show("main", "both").unwrap(), "one\ntheirs");
    let subjects = repository.subjects("main").unwrap();
    assert_eq!(subjects.iter().filter(|subject| *subject == "Meanwhile").count(), 1, "{subjects:?}");
    assert_eq!(
        home.count("SELECT round FROM wg_waves WHERE key = 'W1'").unwrap(),
        2,
        "integrated and judged again"
    );
    assert_eq!(home.count("SELECT sum(rejections) FROM wg_tasks").unwrap(), 0, "nobody's fault");
    assert_eq!(home.count("SELECT count(*) FROM wg_verdicts WHERE decision = 'approved'").unwrap(), 3);
}

#[test]
fn the_users_working_copy_index_stash_config_and_hooks_stay_byte_for_byte() {
    let home = home();
    let repository = repository(&home);
    repository.git(&["switch", "-q", "-c", "mine"]).unwrap();
    repository.write(&[("a", "stashed\n")]).unwrap();
    repository.git(&["stash", "-q"]).unwrap();
    repository.write(&[("a", "staged\n")]).unwrap();
    repository.git(&["add", "a"]).unwrap();
    repository.write(&[("a", "changed\n"), ("untracked", "x\n"), ("built/x", "ignored\n")]).unwrap();
    for hook in ["post-checkout", "pre-commit", "post-commit", "pre-push", "reference-transaction"] {
        let ran = home.path(&format!("{hook}-ran"));
        repository
            .write(&[(&format!(".git/hooks/{hook}"), &format!("#!/bin/sh\ntouch {}\n", ran.display()))])
            .unwrap();
    }
    repository.git(&["config", "user.name", "Ann"]).unwrap();
    let before = repository.picture().unwrap();
    let tasks = "  - id: W1\n    tasks:\n      - { id: T1, run: \"git stash list > stashes; echo one > one\", verify: [\"test -s one\"] }\n  - id: \
                 W2\n    merge_mode: batch\n    tasks:\n      - { id: T2, run: \"echo two > two\", verify: [\"test -s two\"] }\n";
    let file = home.write("plan.yaml", &(head("untouched", &repository) + tasks)).unwrap();
    let ran = home.run(&["run", file.to_str().unwrap(), "--mode", "standard"]).unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}\n{}", home.dump());
    let is_ours = |name: &str| {
        ["refs/heads/main", "refs/heads/wavegate/untouched/batch"].iter().any(|it| name.ends_with(it))
            || name.ends_with("logs/refs/heads/main")
            || name.contains("logs/refs/heads/wavegate")
    };
    let (mut changed, after) = (Vec::new(), repository.picture().unwrap());
    for (path, file) in &before {
        if after.get(path) != Some(file) {
            changed.push(path.display().to_string());
        }
    }
    changed.extend(
        after.keys().filter(|path| !before.contains_key(*path)).map(|path| path.display().to_string()),
    );
    changed.retain(|name| !is_ours(name));
    assert_eq!(changed, Vec::<String>::new());
    assert_eq!(repository.show("main", "stashes").unwrap(), "", "a worktree sees no stash of the user");
    assert_eq!(tasks_of(&repository, "mine..main"), ["T1"]);
    assert_eq!(tasks_of(&repository, "main..wavegate/untouched/batch"), ["T2"]);
}

#[test]
fn a_target_that_somebody_works_on_is_refused_before_anything_runs() {
    let home = home();
    let repository = repository(&home);
    repository.git(&["switch", "-q", "main"]).unwrap();
    let tasks =
        "  - id: W1\n    tasks:\n      - { id: T1, run: \"echo one > one\", verify: [\"test -s one\"] }\n";
    let file = home.write("plan.yaml", &(head("busy", &repository) + tasks)).unwrap();
    let ran = home.run(&["run", file.to_str().unwrap(), "--mode", "standard"]).unwrap();
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("checked out"), "{}", ran.stderr);
    assert_eq!(repository.subjects("main").unwrap(), ["Begin"]);
}

/// Checked out after the plan began: git refuses the push, and a person is asked.
#[test]
fn a_target_that_is_checked_out_later_pauses_the_plan_until_it_is_free() {
    let home = home();
    let repository: Repository = repository(&home);
    let switch = format!("git -C {} switch -q main", repository.path().display());
    let tasks = format!(
        "  - id: W1\n    verify: [\"{switch}\"]\n    tasks:\n      - {{ id: T1, run: \"echo one > one\", verify: [\"test -s one\"] }}\n"
    );
    let file = home.write("plan.yaml", &(head("later", &repository) + &tasks)).unwrap();
    let ran = home.run(&["run", file.to_str().unwrap(), "--mode", "standard"]).unwrap();
    assert_eq!(ran.code, Some(4), "paused: {ran:?}\n{}", home.dump());
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("checked out"), "{said}");
    repository.git(&["switch", "-q", "--detach"]).unwrap();
    let resumed = home.run(&["run", "--resume", "1"]).unwrap();
    assert_eq!(resumed.code, Some(0), "{resumed:?}\n{}", home.dump());
    assert_eq!(repository.subjects("main").unwrap().len(), 2);
}
