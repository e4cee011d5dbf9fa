//! The mode: how many run at once, by the tasks' own evidence, and how it is chosen and changed.

use wavegate_tests::wait_until;

use crate::{home, same_tasks, served};

/// Each task counts those at work, itself included, while it works.
fn counting(dir: &str) -> String {
    format!(
        "mkdir {dir}/at-work-$WAVEGATE_TASK && ls {dir} | grep -c at-work >> {dir}/counts && sleep 0.2 \
         && rmdir {dir}/at-work-$WAVEGATE_TASK"
    )
}

#[test]
fn standard_never_runs_more_than_three_at_once() {
    let home = home();
    let dir = home.path("");
    let plan = home.write("plan.yaml", &same_tasks("twelve", 12, &counting(dir.to_str().unwrap()))).unwrap();
    let ran = home.run(&["run", plan.to_str().unwrap(), "--mode", "standard"]).unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}\n{}", home.dump());
    let counts: Vec<u32> = home.read("counts").lines().map(|line| line.trim().parse().unwrap()).collect();
    assert_eq!(counts.len(), 12);
    assert!(counts.iter().all(|count| *count <= 3), "{counts:?}");
    assert!(counts.contains(&3), "three should have run at once: {counts:?}");
}

#[test]
fn max_runs_all_twelve_at_once() {
    let home = home();
    let dir = home.path("");
    // Nobody ends before all twelve have begun.
    let run = format!(
        "cd {0} && touch begun-$WAVEGATE_TASK && until [ $(ls | grep -c begun-) -eq 12 ]; do sleep 0.05; done",
        dir.display()
    );
    let plan = home.write("plan.yaml", &same_tasks("twelve", 12, &run)).unwrap();
    let ran = home.run(&["run", plan.to_str().unwrap(), "--mode", "max"]).unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}\n{}", home.dump());
}

#[test]
fn without_terminal_and_mode_nothing_is_started() {
    let home = home();
    let touched = home.path("touched");
    let plan =
        home.write("plan.yaml", &same_tasks("one", 1, &format!("touch {}", touched.display()))).unwrap();
    let ran = home.run(&["run", plan.to_str().unwrap()]).unwrap();
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("--mode"), "{ran:?}");
    assert!(!touched.exists());
    assert!(!home.db().exists() || home.count("SELECT count(*) FROM wg_plans").unwrap() == 0);
}

#[test]
fn an_update_of_parallel_mode_raises_the_overlap_and_back_kills_nothing() {
    let home = home();
    let (_coordinator, _worker) = served(&home, "unlimited");
    let dir = home.path("");
    let run = format!(
        "cd {0} && touch begun-$WAVEGATE_TASK && until [ -e go ]; do sleep 0.05; done && echo $WAVEGATE_TASK >> ended",
        dir.display()
    );
    let plan = home.write("plan.yaml", &same_tasks("eight", 8, &run)).unwrap();
    assert_eq!(home.run(&["submit", plan.to_str().unwrap()]).unwrap().code, Some(0));
    assert_eq!(home.run(&["approve", "eight", "--mode", "standard"]).unwrap().code, Some(0));
    let begun = || {
        std::fs::read_dir(home.path(""))
            .unwrap()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("begun-"))
            .count()
    };
    wait_until("three to begin", || home.dump(), || (begun() == 3).then_some(()));
    let shown = home.run(&["show", "eight"]).unwrap().stdout;
    assert!(shown.contains("three leases live"), "{shown}");

    home.sql().unwrap().execute("UPDATE plans SET parallel_mode='max' WHERE id=1", []).unwrap();
    wait_until("all eight to begin", || home.dump(), || (begun() == 8).then_some(()));
    assert_eq!(home.count("SELECT count(*) FROM wg_plans WHERE mode='max' AND tier='opus'").unwrap(), 1);

    home.sql().unwrap().execute("UPDATE plans SET parallel_mode='standard' WHERE id=1", []).unwrap();
    wait_until(
        "standard to be in force",
        || home.dump(),
        || (home.count("SELECT count(*) FROM wg_plans WHERE mode='standard'").unwrap() == 1).then_some(()),
    );
    home.write("go", "").unwrap();
    home.wait_for_status("eight", "done");
    assert_eq!(home.read("ended").lines().count(), 8, "every task ended by itself, once");
    assert_eq!(
        home.count("SELECT count(*) FROM wg_leases WHERE kind='task'").unwrap(),
        8,
        "none was run twice"
    );
}

#[test]
fn an_unknown_mode_in_the_column_is_written_back() {
    let home = home();
    let (_coordinator, _worker) = served(&home, "1");
    let run = format!("until [ -e {} ]; do sleep 0.05; done", home.path("go").display());
    let plan = home.write("plan.yaml", &same_tasks("one", 1, &run)).unwrap();
    assert_eq!(home.run(&["submit", plan.to_str().unwrap()]).unwrap().code, Some(0));

    home.sql().unwrap().execute("UPDATE plans SET parallel_mode='max' WHERE id=1", []).unwrap();
    let refused =
        |count: i64| home.count("SELECT count(*) FROM wg_events WHERE kind='mode_refused'").unwrap() == count;
    wait_until("the request to be refused", || home.dump(), || refused(1).then_some(()));
    assert_eq!(home.status("one"), "awaiting_approval", "a request never approves");

    assert_eq!(home.run(&["approve", "one", "--mode", "standard"]).unwrap().code, Some(0));
    home.sql().unwrap().execute("UPDATE plans SET parallel_mode='fast' WHERE id=1", []).unwrap();
    wait_until(
        "the word to be written back",
        || home.dump(),
        || {
            (refused(2)
                && home.count("SELECT count(*) FROM plans WHERE parallel_mode='standard'").unwrap() == 1)
                .then_some(())
        },
    );
    home.write("go", "").unwrap();
    home.wait_for_status("one", "done");
}

#[test]
fn an_operator_who_forbids_opus_forbids_max() {
    let home = home();
    let _coordinator =
        home.start("serve", &["serve", "--listen", "127.0.0.1:0", "--max-tier", "sonnet"]).unwrap();
    let address = || home.read("wavegate.db.d/address");
    wait_until("an address", || home.dump(), || (!address().is_empty()).then_some(()));
    let plan = home.write("plan.yaml", &same_tasks("one", 1, "true")).unwrap();
    assert_eq!(home.run(&["submit", plan.to_str().unwrap()]).unwrap().code, Some(0));
    let ran = home.run(&["approve", "one", "--mode", "max"]).unwrap();
    assert_ne!(ran.code, Some(0));
    assert!(ran.stderr.contains("opus"), "{ran:?}");
    assert_eq!(home.status("one"), "awaiting_approval");
}
