//! Workers that have no way to the repository, and results that outlive their workers.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use wavegate_tests::{Home, wait_until};

use crate::{head, home, repository};

/// An executable script in the home.
fn script(home: &Home, name: &str, text: &str) -> PathBuf {
    let path = home.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn without_its_path_workers_get_the_repository_from_the_coordinator() {
    let home = home();
    let repository = repository(&home);
    let tasks = "  - id: W1\n    merge_mode: none\n    tasks:\n      - { id: T1, run: \"cat a > b\", verify: [\"cmp a b\"] }\n  - id: W2\n    merge_mode: \
                 none\n    tasks:\n      - { id: T2, run: \"cat b > c\", verify: [\"cmp a c\"] }\n";
    let file = home.write("plan.yaml", &(head("far", &repository) + tasks)).unwrap();
    let _coordinator = home.serve("127.0.0.1:0").unwrap();
    let submitted = home.run(&["submit", file.to_str().unwrap()]).unwrap();
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    // As on a host where nobody has it.
    std::fs::rename(repository.path(), home.path("elsewhere")).unwrap();
    let mut first = home.worker("one", &["--slots", "2"]).unwrap();
    assert_eq!(home.run(&["approve", "far", "--mode", "max"]).unwrap().code, Some(0));
    wait_until(
        "the first wave",
        || home.dump(),
        || (home.count("SELECT count(*) FROM wg_commits").ok()? == 1).then_some(()),
    );
    first.kill();
    // Another host altogether: what it needs of the first one is with the coordinator.
    let _second = home.worker("two", &["--slots", "2"]).unwrap();
    home.wait_for_status("far", "done");
    let out = home.path("look");
    let looked = home.run(&["checkout", "far", "T2", out.to_str().unwrap()]).unwrap();
    assert_eq!(looked.code, Some(0), "{looked:?}");
    assert_eq!(home.read("look/c"), "1\n2\n3\n4\n5\n6\n7\n8\n");
}

#[test]
fn publishing_waits_for_a_worker_that_reaches_the_repository_and_says_so() {
    let home = home();
    let repository = repository(&home);
    let tasks = "  - id: W1\n    tasks:\n      - { id: T1, run: \"cat a > b\", verify: [\"cmp a b\"] }\n";
    let file = home.write("plan.yaml", &(head("waits", &repository) + tasks)).unwrap();
    let _coordinator = home.serve("127.0.0.1:0").unwrap();
    assert_eq!(home.run(&["submit", file.to_str().unwrap()]).unwrap().code, Some(0));
    std::fs::rename(repository.path(), home.path("elsewhere")).unwrap();
    let mut worker = home.worker("one", &["--slots", "2"]).unwrap();
    assert_eq!(home.run(&["approve", "waits", "--mode", "standard"]).unwrap().code, Some(0));
    wait_until(
        "the reason",
        || home.dump(),
        || {
            let shown = home.show("waits").ok()?;
            let reason = shown["waves"][0]["reason"].as_str()?;
            reason.contains("can reach the repository").then_some(())
        },
    );
    std::fs::rename(home.path("elsewhere"), repository.path()).unwrap();
    worker.kill();
    let _again = home.worker("one", &["--slots", "2"]).unwrap();
    home.wait_for_status("waits", "done");
    assert_eq!(repository.show("main", "b").unwrap(), "1\n2\n3\n4\n5\n6\n7\n8");
}

#[test]
fn a_worker_works_only_on_repositories_that_its_operator_allows() {
    let home = home();
    let repository = repository(&home);
    let tasks = "  - id: W1\n    tasks:\n      - { id: T1, run: \"cat a > b\", verify: [\"cmp a b\"] }\n";
    let file = home.write("plan.yaml", &(head("allowed", &repository) + tasks)).unwrap();
    let _coordinator = home.serve("127.0.0.1:0").unwrap();
    assert_eq!(home.run(&["submit", file.to_str().unwrap()]).unwrap().code, Some(0));
    let worker = home.worker("one", &["--allow-repo", "/srv/ours,https://example.org/"]).unwrap();
    assert_eq!(home.run(&["approve", "allowed", "--mode", "standard"]).unwrap().code, Some(0));
    worker.wait_for_output("this worker's operator allows only /srv/ours, https://example.org/");
    let path = repository.path().display().to_string();
    let _other = home.worker("two", &["--allow-repo", &path]).unwrap();
    home.wait_for_status("allowed", "done");
}

#[test]
fn somebody_outside_looks_at_the_candidate_and_judges_it() {
    let home = home();
    let repository = repository(&home);
    let tasks = "  - id: W1\n    tasks:\n      - { id: T1, run: \"cat a > b\", verify: [\"cmp a b\"] }\n";
    let text = head("outside", &repository).replace("waves:", "thor: external\nwaves:") + tasks;
    let file = home.write("plan.yaml", &text).unwrap();
    let _coordinator = home.serve("127.0.0.1:0").unwrap();
    let _worker = home.worker("one", &["--slots", "2"]).unwrap();
    assert_eq!(home.run(&["submit", file.to_str().unwrap()]).unwrap().code, Some(0));
    assert_eq!(home.run(&["approve", "outside", "--mode", "standard"]).unwrap().code, Some(0));
    let out = home.path("candidates");
    wait_until(
        "the candidate",
        || home.dump(),
        || {
            let ran = home.run(&["candidates", "outside", "--out", out.to_str().unwrap()]).ok()?;
            (ran.code == Some(0) && home.path("candidates/W1/b").exists()).then_some(())
        },
    );
    assert_eq!(repository.subjects("main").unwrap(), ["Begin"], "nothing before the verdict");
    let judged = home.run(&["verdict", "outside", "W1", "approved"]).unwrap();
    assert_eq!(judged.code, Some(0), "{judged:?}");
    home.wait_for_status("outside", "done");
    let verdict = repository
        .git(&["log", "-1", "--format=%(trailers:key=Wavegate-Verdict,valueonly)", "main"])
        .unwrap();
    assert!(verdict.starts_with("approved in round 1 by "), "{verdict}");
}

/// What stands for ssh runs the other end here; what stands for gh keeps what it was asked.
#[test]
fn by_url_each_wave_gets_a_branch_and_a_request_and_the_plan_goes_on() {
    let home = home();
    let repository = repository(&home);
    let ssh = script(&home, "bin/through", "[ \"$1\" = -G ] && exit 1\nshift\nexec sh -c \"$*\"");
    let asked = home.path("asked");
    script(
        &home,
        "bin/gh",
        &format!(
            "printf '%s\\n' \"$@\" >> {}\necho https://forge.example/pulls/$(wc -l < {0})",
            asked.display()
        ),
    );
    let path = format!("{}:{}", home.path("bin").display(), std::env::var("PATH").unwrap());
    let env = [("GIT_SSH_COMMAND".to_owned(), ssh.display().to_string()), ("PATH".to_owned(), path)];
    let location = format!("forge.example:{}", repository.path().display());
    let text = format!(
        "name: By url\nproject: {{ repo: \"{location}\", workspace: git, base: main }}\nwaves:\n  - id: W1\n    name: First\n    merge_mode: \
         async\n    tasks:\n      - {{ id: T1, run: \"cat a > b\", verify: [\"cmp a b\"] }}\n  - id: W2\n    merge_mode: async\n    tasks:\n      - {{ \
         id: T2, run: \"cat b > c\", verify: [\"cmp a c\"] }}\n"
    );
    let file = home.write("plan.yaml", &text).unwrap();
    let _coordinator = home.serve("127.0.0.1:0").unwrap();
    let _worker = home.worker_with("one", &["--slots", "2"], &env).unwrap();
    let submitted = home.run(&["submit", file.to_str().unwrap()]).unwrap();
    assert_eq!(submitted.code, Some(0), "{submitted:?}");
    assert_eq!(home.run(&["approve", "By url", "--mode", "standard"]).unwrap().code, Some(0));
    home.wait_for_status("By url", "done");
    assert_eq!(repository.subjects("main").unwrap(), ["Begin"]);
    assert_eq!(crate::tasks_of(&repository, "main..wavegate/by-url/W1"), ["T1"]);
    assert_eq!(
        crate::tasks_of(&repository, "main..wavegate/by-url/W2"),
        ["T1", "T2"],
        "the second on the first"
    );
    let requests = home.read("asked");
    for word in
        ["--repo", location.as_str(), "wavegate/by-url/W1", "By url W1: First", "wavegate/by-url/W2", "main"]
    {
        assert!(requests.lines().any(|line| line == word), "{word} in {requests}");
    }
    let shown = home.show("By url").unwrap();
    let request = shown["waves"][0]["commits"][0]["request"].as_str().unwrap();
    assert!(request.starts_with("https://forge.example/pulls/"), "{shown}");
}
