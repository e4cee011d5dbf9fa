//! Thor: no verdict, no advance; rejections, their limit, and a person's word.

use wavegate_tests::wait_until;

use crate::{home, served};

/// Two waves; the first one's `verify` holds only when the file `ok` is in the home.
fn gated(dir: &str) -> String {
    format!(
        "name: gated\nproject: {{ workspace: none }}\nwaves:\n  - id: W1\n    tasks:\n      \
         - {{ id: T1-01, run: \"echo one >> {dir}/ran\", verify: [\"test -e {dir}/ok\"] }}\n      \
         - {{ id: T1-02, run: \"echo two >> {dir}/ran\", verify: [\"true\"] }}\n  - id: W2\n    tasks:\n      \
         - {{ id: T2-01, run: \"touch {dir}/second-wave\", verify: [\"true\"] }}\n"
    )
}

#[test]
fn third_rejection_blocks_and_a_person_moves_the_wave_on() {
    let home = home();
    let (_coordinator, _worker) = served(&home, "4");
    let plan = home.write("plan.yaml", &gated(home.path("").to_str().unwrap())).unwrap();
    home.run(&["submit", plan.to_str().unwrap()]).unwrap();
    home.run(&["approve", "gated", "--mode", "max"]).unwrap();
    home.wait_for_status("gated", "blocked");

    assert_eq!(home.read("ran").matches("one").count(), 3, "{}", home.dump());
    assert_eq!(home.read("ran").matches("two").count(), 1, "what was not rejected stays submitted");
    assert!(!home.path("second-wave").exists());
    let shown = home.run(&["show", "gated"]).unwrap().stdout;
    assert!(shown.contains("test -e"), "the failed command is evidence: {shown}");

    let ran = home.run(&["resolve", "gated", "approve"]).unwrap();
    assert_eq!(ran.code, Some(2), "a resolution needs a note: {ran:?}");
    let ran = home.run(&["resolve", "gated", "approve", "--note", "looked at it by hand"]).unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    home.wait_for_status("gated", "done");
    assert!(home.path("second-wave").exists());
    let query = "SELECT count(*) FROM wg_events WHERE kind='wave_resolved' AND reason='approve' \
                 AND text='looked at it by hand' AND actor<>''";
    assert_eq!(home.count(query).unwrap(), 1);
}

#[test]
fn a_rejected_task_is_done_again_and_then_approved() {
    let home = home();
    let (_coordinator, _worker) = served(&home, "4");
    let plan = home.write("plan.yaml", &gated(home.path("").to_str().unwrap())).unwrap();
    home.run(&["submit", plan.to_str().unwrap()]).unwrap();
    home.run(&["approve", "gated", "--mode", "standard"]).unwrap();
    wait_until(
        "a rejection",
        || home.dump(),
        || {
            (home.count("SELECT count(*) FROM wg_events WHERE kind='wave_rejected'").unwrap() > 0)
                .then_some(())
        },
    );
    home.write("ok", "").unwrap();
    home.wait_for_status("gated", "done");
    assert!(home.path("second-wave").exists());
}

#[test]
fn without_a_thor_the_wave_waits_and_says_so() {
    let home = home();
    let _coordinator = home.serve("127.0.0.1:0").unwrap();
    let _worker = home.worker("hands", &["--role", "executor"]).unwrap();
    let plan = home.write("plan.yaml", &gated(home.path("").to_str().unwrap())).unwrap();
    home.write("ok", "").unwrap();
    home.run(&["submit", plan.to_str().unwrap()]).unwrap();
    home.run(&["approve", "gated", "--mode", "standard"]).unwrap();
    wait_until(
        "the reason",
        || home.dump(),
        || home.run(&["show", "gated"]).unwrap().stdout.contains("role thor").then_some(()),
    );
    assert!(!home.path("second-wave").exists());
    let _thor = home.worker("thor", &["--role", "thor"]).unwrap();
    home.wait_for_status("gated", "done");
}

#[test]
fn work_is_judged_by_a_worker_that_did_not_do_it() {
    let home = home();
    let _coordinator = home.serve("127.0.0.1:0").unwrap();
    let _both = home.worker("both", &[]).unwrap();
    let _thor = home.worker("thor", &["--role", "thor"]).unwrap();
    wait_until(
        "both workers",
        || home.dump(),
        || (home.count("SELECT count(*) FROM wg_workers").unwrap() == 2).then_some(()),
    );
    home.write("ok", "").unwrap();
    let plan = home.write("plan.yaml", &gated(home.path("").to_str().unwrap())).unwrap();
    home.run(&["submit", plan.to_str().unwrap()]).unwrap();
    home.run(&["approve", "gated", "--mode", "standard"]).unwrap();
    home.wait_for_status("gated", "done");
    let by_author = "SELECT count(*) FROM wg_leases v JOIN wg_leases t USING (plan_id, wave_ix, worker_id) \
                     WHERE v.kind='validate' AND t.kind='task'";
    assert_eq!(home.count(by_author).unwrap(), 0);
}

#[test]
fn a_person_looks_at_the_candidate_judges_it_and_a_stale_word_is_refused() {
    let home = home();
    let (_coordinator, _worker) = served(&home, "4");
    let source = "name: looked\nthor: external\nwaves:\n  - id: W1\n    tasks:\n      \
                  - { id: T1-01, run: 'echo $WAVEGATE_ATTEMPT > out.txt', verify: ['true'] }\n";
    let plan = home.write("plan.yaml", source).unwrap();
    home.run(&["submit", plan.to_str().unwrap()]).unwrap();
    home.run(&["approve", "looked", "--mode", "standard"]).unwrap();
    let waits = |round: u64| {
        wait_until(
            "a candidate",
            || home.dump(),
            || {
                let ran = home.run(&["candidates", "looked", "--json"]).unwrap();
                let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
                let one = found.get(0).filter(|one| one["round"] == round)?;
                one["candidate"].as_str().map(str::to_owned)
            },
        )
    };
    let first = waits(1);
    let dir = home.path("first");
    let ran = home.run(&["candidates", "looked", "--out", dir.to_str().unwrap()]).unwrap();
    assert_eq!((ran.code, home.read("first/W1/out.txt").as_str()), (Some(0), "1\n"), "{ran:?}");

    let word = ["verdict", "looked", "W1", "rejected", "--candidate", &first, "--finding", "T1-01=too small"];
    assert_eq!(home.run(&word).unwrap().code, Some(0));
    let second = waits(2);
    assert_ne!(first, second);
    let stale = home.run(&["verdict", "looked", "W1", "approved", "--candidate", &first]).unwrap();
    assert_eq!(stale.code, Some(1), "{stale:?}");
    assert!(stale.stderr.contains("does not wait for this verdict: it is validating, round 2"), "{stale:?}");
    let ran = home.run(&["verdict", "looked", "W1", "approved", "--candidate", &second]).unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    home.wait_for_status("looked", "done");
}
