//! Whole commands against a coordinator made of given answers.

use serde_json::Value;
use wavegate_proto::v1;

use super::fake::{Office, office, serve, world};

/// An office whose database is owned by a live coordinator.
async fn live(state: v1::PlanState) -> Office {
    let office = office(world(state), None);
    let url = serve(&office.world).await;
    let folder = office.dir.path().join("x.db.d");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("address"), format!("{url}\n")).unwrap();
    std::fs::write(folder.join("token"), "s3cret\n").unwrap();
    office
}

#[tokio::test]
async fn show_finds_the_coordinator_that_is_live_on_the_database() {
    let mut office = live(v1::PlanState::Running).await;
    assert_eq!(office.type_in("show greet --json").await, 0);
    let plan: Value = serde_json::from_str(&office.out.text()).unwrap();
    assert_eq!(plan["id"], 3);
    assert_eq!(plan["status"], "running");
    assert!(plan["waves"].is_array());
    assert_eq!(office.asked(), Vec::<String>::new());
    let world = office.world.lock().unwrap();
    assert_eq!(world.authorization, ["Bearer s3cret"]);
}

#[tokio::test]
async fn a_plan_that_is_not_there_is_told_in_one_line() {
    let mut office = live(v1::PlanState::Running).await;
    assert_eq!(office.type_in("show nothing").await, 1);
    assert_eq!(office.told(), "wavegate: there is no plan nothing\n");
}

#[tokio::test]
async fn a_refused_request_is_told_in_the_coordinators_words() {
    let mut office = live(v1::PlanState::Done).await;
    assert_eq!(office.type_in("cancel 3").await, 1);
    assert_eq!(office.told(), "wavegate: plan 3 is done already\n");
}

#[tokio::test]
async fn a_database_without_a_coordinator_is_opened_for_the_command_alone() {
    let mut office = office(world(v1::PlanState::Blocked), None);
    std::fs::write(office.dir.path().join("x.db"), "").unwrap();
    let line = "resolve 3 skip --wave W2 --task T2-01 --note because";
    assert_eq!(office.type_in(line).await, 0);
    assert_eq!(office.asked(), ["embed 0", "resolve Skip W2 [\"T2-01\"]", "stop"]);
    assert!(office.out.text().starts_with("plan 3 greet: blocked"));
}

#[tokio::test]
async fn a_database_whose_coordinator_may_come_back_is_left_alone() {
    let mut office = office(world(v1::PlanState::Running), None);
    let folder = office.dir.path().join("x.db.d");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(office.dir.path().join("x.db"), "").unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = format!("http://{}\n", listener.local_addr().unwrap());
    drop(listener);
    std::fs::write(folder.join("address"), gone).unwrap();
    assert_eq!(office.type_in("show 3").await, 1);
    assert_eq!(office.asked(), Vec::<String>::new());
    assert!(office.told().starts_with("wavegate: no coordinator is live on"), "{}", office.told());
}

#[tokio::test]
async fn without_database_and_coordinator_the_command_says_what_to_start() {
    let mut office = office(world(v1::PlanState::Running), None);
    assert_eq!(office.type_in("plans").await, 1);
    assert_eq!(
        office.told(),
        "wavegate: no coordinator is live on DIR/x.db: start one with `wavegate serve --db \
         DIR/x.db`, or name it with --coordinator\n"
    );
}

#[tokio::test]
async fn approve_without_a_terminal_and_a_mode_asks_nothing_of_anybody() {
    let mut office = live(v1::PlanState::AwaitingApproval).await;
    assert_eq!(office.type_in("approve 3").await, 2);
    assert!(office.told().contains("--mode"), "{}", office.told());
    assert_eq!(office.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn approve_tells_the_mode_that_was_chosen() {
    let mut office = live(v1::PlanState::AwaitingApproval).await;
    assert_eq!(office.type_in("approve 3 --mode max --json").await, 0);
    assert_eq!(office.asked(), ["approve Max"]);
    let plan: Value = serde_json::from_str(&office.out.text()).unwrap();
    assert_eq!(plan["status"], "running");
    assert_eq!(plan["warnings"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn money_is_added_in_millionths() {
    let mut office = live(v1::PlanState::Paused).await;
    assert_eq!(office.type_in("resume 3 --add-usd 2.5").await, 0);
    assert_eq!(office.asked(), ["resume 2500000"]);
}

#[tokio::test]
async fn watch_goes_on_after_the_last_event_when_the_stream_breaks() {
    let mut office = live(v1::PlanState::Done).await;
    let event = |number: i64, kind: &str| v1::Event { number, kind: kind.to_owned(), ..Default::default() };
    office.world.lock().unwrap().streams = vec![vec![event(4, "wave_started")], vec![event(5, "plan_done")]];
    assert_eq!(office.type_in("watch 3 --json").await, 0);
    let numbers: Vec<_> = office
        .out
        .text()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["number"].clone())
        .collect();
    assert_eq!(numbers, [4, 5]);
    assert_eq!(office.asked(), ["watch after 0", "watch after 4"]);
}

#[tokio::test]
async fn logs_of_one_task_come_as_they_were_written() {
    let mut office = live(v1::PlanState::Running).await;
    office.world.lock().unwrap().logs =
        vec![v1::ReadLogsResponse { task: "T1-01".to_owned(), attempt: 1, data: b"half a line".to_vec() }];
    assert_eq!(office.type_in("logs 3 T1-01").await, 0);
    assert_eq!(office.out.text(), "half a line");
}

#[tokio::test]
async fn check_and_run_estimate_by_the_prices_that_they_are_given() {
    let mut office = office(world(v1::PlanState::AwaitingApproval), None);
    assert_eq!(office.type_in("check DIR/greet.yaml --prices mine.toml").await, 0);
    assert_eq!(office.asked(), ["check with mine.toml"]);
    assert_eq!(office.type_in("run DIR/greet.yaml --prices mine.toml").await, 2);
    assert_eq!(office.asked(), ["check with mine.toml"; 2]);
}

#[tokio::test]
async fn flags_that_mean_nothing_to_a_live_coordinator_are_named() {
    let mut office = live(v1::PlanState::AwaitingApproval).await;
    {
        let mut world = office.world.lock().unwrap();
        let done = v1::Event { kind: "plan_done".to_owned(), ..Default::default() };
        world.streams = vec![vec![done]];
        world.after.insert("plan_done".to_owned(), v1::PlanState::Done);
    }
    let line = "run DIR/greet.yaml --mode standard --workers 2 --allow-full --prices DIR/mine.toml";
    assert_eq!(office.type_in(line).await, 0);
    let told = office.told();
    let named: Vec<_> =
        told.lines().filter_map(|line| line.strip_prefix("warning: ")?.split(' ').next()).collect();
    assert_eq!(named, ["--workers", "--allow-full", "--prices"], "{told}");
}

/// An office whose plan works on a repository: T1-01 has a result, T1-02 has none.
async fn on_a_repository() -> Office {
    let office = live(v1::PlanState::Running).await;
    {
        let plan = &mut office.world.lock().unwrap().plan;
        plan.set_workspace(v1::WorkspaceKind::Git);
        plan.tree = "7ee".to_owned();
        let task = |key: &str, result: &str| v1::Task {
            key: key.to_owned(),
            result: result.to_owned(),
            ..Default::default()
        };
        let tasks = vec![task("T1-01", "4e5"), task("T1-02", "")];
        plan.waves = vec![v1::Wave { key: "W1".to_owned(), tasks, ..Default::default() }];
    }
    office
}

fn commit(task: &str, commit: &str, at_ms: i64) -> v1::PublishedCommit {
    v1::PublishedCommit { task: task.to_owned(), commit: commit.to_owned(), at_ms, ..Default::default() }
}

#[tokio::test]
async fn diff_of_a_plan_begins_before_its_first_commit_whatever_wave_that_is_of() {
    let mut office = on_a_repository().await;
    assert_eq!(office.type_in("diff greet").await, 0);
    assert_eq!((office.asked(), office.out.text()), (Vec::new(), String::new()));
    assert_eq!(office.told(), "plan 3 has published nothing yet\n");
    {
        let plan = &mut office.world.lock().unwrap().plan;
        plan.waves[0].commits = vec![commit("T1-01", "late", 9)];
        let commits = vec![commit("T2-01", "first", 5), commit("T2-02", "second", 5)];
        plan.waves.push(v1::Wave { key: "W2".to_owned(), commits, ..Default::default() });
    }
    assert_eq!(office.type_in("diff 3 --stat").await, 0);
    assert_eq!(office.asked(), ["diff Commits { state: \"7ee\", first: Some(\"first\") } stat"]);
    assert_eq!(office.out.text(), "+one\n");
}

#[tokio::test]
async fn a_task_is_named_with_its_plan_or_alone_where_one_plan_has_it() {
    for line in ["diff greet T1-01", "diff 3/T1-01", "diff T1-01"] {
        let mut office = on_a_repository().await;
        assert_eq!(office.type_in(line).await, 0, "{line}: {}", office.told());
        assert_eq!(office.asked(), ["diff Commits { state: \"4e5\", first: None }"], "{line}");
    }
    for (line, told) in [
        ("diff 3 T9", "wavegate: plan 3 has no task T9\n"),
        ("diff T9", "wavegate: there is no plan T9\n"),
        ("diff greet/T9", "wavegate: plan 3 has no task T9\n"),
    ] {
        let mut office = on_a_repository().await;
        assert_eq!(office.type_in(line).await, 1, "{line}");
        assert_eq!(office.told(), told);
    }
}

#[tokio::test]
async fn a_task_without_a_result_has_no_diff_and_no_checkout() {
    let mut office = on_a_repository().await;
    assert_eq!(office.type_in("diff 3 T1-02").await, 0);
    assert_eq!(office.type_in("checkout 3 T1-02").await, 1);
    assert_eq!(office.asked(), Vec::<String>::new());
    assert_eq!(
        office.told(),
        "task T1-02 of plan 3 was not tried yet\nwavegate: task T1-02 of plan 3 was not tried yet\n"
    );
}

#[tokio::test]
async fn diff_of_directories_compares_trees() {
    let mut office = on_a_repository().await;
    {
        let plan = &mut office.world.lock().unwrap().plan;
        plan.set_workspace(v1::WorkspaceKind::Dir);
        plan.base_tree = "ba5e".to_owned();
        "0".clone_into(&mut plan.waves[0].tasks[0].result_base);
    }
    assert_eq!(office.type_in("diff 3").await, 0);
    assert_eq!(office.type_in("diff 3 T1-01 --json").await, 0);
    assert_eq!(
        office.asked(),
        ["diff Trees { from: \"ba5e\", to: \"7ee\" }", "diff Changes { from: \"0\", changes: \"4e5\" }"]
    );
    let (_, json) =
        office.out.text().split_once("+one\n").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["plan"], &json["task"], &json["diff"]), (&3.into(), &"T1-01".into(), &"+one\n".into()));
}

#[tokio::test]
async fn checkout_says_where_the_result_is_and_how_to_see_it() {
    for (line, dir) in
        [("checkout 3 T1-01 there", "there"), ("checkout 3/T1-01 there", "there"), ("checkout T1-01", "here")]
    {
        let mut office = on_a_repository().await;
        assert_eq!(office.type_in(line).await, 0, "{line}: {}", office.told());
        assert_eq!(office.asked(), [format!("check out 4e5 to {dir}")]);
        assert_eq!(office.out.text(), format!("{dir}: wavegate/greet/T1-01 at cccccccccc\n"));
        assert_eq!(office.told(), format!("what the task changed: `git -C {dir} diff bbbbbbbbbb HEAD`\n"));
    }
}

#[tokio::test]
async fn checkout_needs_a_task_and_a_repository() {
    let mut office = on_a_repository().await;
    assert_eq!(office.type_in("checkout greet").await, 2);
    office.world.lock().unwrap().plan.set_workspace(v1::WorkspaceKind::Dir);
    assert_eq!(office.type_in("checkout 3 T1-01").await, 1);
    assert_eq!(
        office.told(),
        "wavegate: which task of plan 3? `wavegate show 3` lists them\n\
         wavegate: plan 3 works on no repository (`workspace: dir`): there is no branch to check out\n"
    );
}

#[tokio::test]
async fn report_lists_commits_for_programs() {
    let mut office = on_a_repository().await;
    {
        let mut world = office.world.lock().unwrap();
        let at = v1::Repository { location: "/srv/project".to_owned(), base: "main".to_owned() };
        world.plan.repository = Some(at);
        let request = "https://example.org/pulls/4".to_owned();
        let commits = vec![v1::PublishedCommit { request, ..commit("T1-01", "abc", 5) }];
        world.report.waves = vec![v1::Wave { key: "W1".to_owned(), commits, ..Default::default() }];
    }
    assert_eq!(office.type_in("report 3 --json").await, 0);
    let report: Value = serde_json::from_str(&office.out.text()).unwrap();
    assert_eq!(report["repository"], serde_json::json!({ "location": "/srv/project", "base": "main" }));
    let commit = &report["waves"][0]["commits"][0];
    assert_eq!(
        (&commit["task"], &commit["commit"], &commit["branch"]),
        (&"T1-01".into(), &"abc".into(), &Value::Null)
    );
    assert_eq!(commit["request"], "https://example.org/pulls/4");
}
