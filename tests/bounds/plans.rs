//! Very large plans. Promised: 100,000 tasks are checked, stored, approved and run to the end, other plans go on
//! meanwhile, and the coordinator's memory stays within what is stated.

use std::time::Duration;

use wavegate_proto::v1;
use wavegate_tests::{
    LONG,
    bounds::{Site, wide_plan},
};

use super::{another_plan_ends, expect_peak, home, serve, until_state};

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_five_thousand_tasks_runs_to_its_end_and_others_beside_it() {
    run_to_the_end(5_000, 150).await;
}

/// Some minutes, and 3 GB of disk in the temporary directory.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a hundred thousand tasks: see the command in main.rs"]
async fn a_plan_of_a_hundred_thousand_tasks_runs_to_its_end_and_others_beside_it() {
    run_to_the_end(100_000, 2_500).await;
}

async fn run_to_the_end(tasks: usize, most_mib: u64) {
    let home = home();
    let serve = serve(&home, "127.0.0.1:0", &[]);
    let limit = LONG + Duration::from_millis(20 * tasks as u64);
    let file = home.write("large.yaml", &wide_plan("large", tasks, 1000)).unwrap();
    let file = file.to_str().unwrap();
    for args in [&["check", file][..], &["submit", file], &["approve", "large", "--mode", "max"]] {
        let ran = home.run(args).unwrap();
        assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
    }
    let site = Site::of(&home).unwrap();
    let channel = site.connect().await.unwrap();
    for at in 0..4 {
        let own = site.connect().await.unwrap();
        let worker = site.worker(&own, &format!("w{at}"), 200, &[]).await.unwrap();
        tokio::spawn(worker.work(Duration::from_millis(200)));
    }
    let plan = home.count("SELECT id FROM wg_plans WHERE name = 'large'").unwrap();
    for number in 0..3 {
        another_plan_ends(&site, &home, &format!("small-{number}")).await;
    }
    until_state(&site, &channel, &home, plan, v1::PlanState::Done, limit).await;
    let count = |query: &str| home.count(query).unwrap();
    let done =
        format!("SELECT count(*) FROM wg_tasks WHERE plan_id = {plan} AND state = 'done' AND attempt = 1");
    assert_eq!(count(&done), tasks as i64);
    assert_eq!(count("SELECT count(*) FROM wg_events WHERE kind = 'lease_lost'"), 0);
    expect_peak("after the plan", serve.id(), most_mib);
    let shown = home.run(&["show", "large", "--json"]).unwrap();
    assert_eq!(shown.code, Some(0));
    assert!(shown.stdout.len() > tasks * 100, "{} bytes", shown.stdout.len());
}

#[test]
fn one_task_more_than_the_most_is_refused_in_words() {
    let home = home();
    let file = home.write("large.yaml", &wide_plan("large", 100_001, 1000)).unwrap();
    let ran = home.run(&["check", file.to_str().unwrap()]).unwrap();
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let said = ran.stdout + &ran.stderr;
    assert!(said.contains("expected at most 100000 tasks, found 100001"), "{said}");
}
