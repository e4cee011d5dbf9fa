//! Workers that have no way to the repository, and results that outlive their workers.

use wavegate_tests::wait_until;

use crate::{head, home, repository};

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
