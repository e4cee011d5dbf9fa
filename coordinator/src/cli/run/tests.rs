//! Whole runs against an embedded coordinator made of given answers.

use serde_json::Value;
use wavegate_proto::v1;

use crate::cli::{
    args::{Cli, Command},
    backend::{CheckedFile, PlanBase, RepositoryBase},
    exit::Exit,
    fake::{Office, World, office, world},
    interrupts::Interrupts,
};

fn event(number: i64, kind: &str) -> v1::Event {
    v1::Event {
        number,
        at_ms: 32_704_000,
        kind: kind.to_owned(),
        actor: "coordinator".to_owned(),
        ..Default::default()
    }
}

/// A world in which the plan, once approved, comes to this end.
fn ending_in(kind: &str, state: v1::PlanState) -> World {
    let mut world = world(v1::PlanState::AwaitingApproval);
    world.streams = vec![vec![event(1, "wave_started"), event(2, kind)]];
    world.after.insert(kind.to_owned(), state);
    world
}

fn wrong_file(office: &mut Office) {
    let diagnostic = v1::Diagnostic {
        severity: v1::Severity::Error.into(),
        file: "greet.yaml".to_owned(),
        line: 2,
        column: 5,
        message: "`waves` is missing, expected a list of waves".to_owned(),
    };
    office.desk.backend.checked = CheckedFile {
        answer: v1::CheckPlanResponse { diagnostics: vec![diagnostic], outline: None },
        base: PlanBase::Empty,
    };
}

#[tokio::test]
async fn a_plan_runs_to_its_end_and_the_report_is_the_result() {
    let mut office = office(ending_in("plan_done", v1::PlanState::Done), None);
    assert_eq!(office.type_in("run DIR/greet.yaml --mode standard").await, 0);
    assert_eq!(
        office.asked(),
        ["embed 1", "submit", "serve plan 3", "approve Standard", "watch after 0", "stop"]
    );
    assert!(office.out.text().starts_with("plan 3 greet: done"));
    insta::assert_snapshot!(office.told(), @"
    plan 3 greet: standard mode
    09:05:04 wave_started
    09:05:04 plan_done
    ");
}

#[tokio::test]
async fn without_terminal_and_mode_nothing_is_started() {
    let mut office = office(ending_in("plan_done", v1::PlanState::Done), None);
    assert_eq!(office.type_in("run DIR/greet.yaml").await, 2);
    assert_eq!(office.asked(), Vec::<String>::new());
    assert!(office.told().contains("--mode"), "{}", office.told());
}

#[tokio::test]
async fn a_person_who_does_not_answer_approves_nothing() {
    let mut office = office(ending_in("plan_done", v1::PlanState::Done), Some("what?\n"));
    assert_eq!(office.type_in("run DIR/greet.yaml").await, 2);
    assert_eq!(office.asked(), Vec::<String>::new());
    assert!(office.told().ends_with("nothing was started\n"), "{}", office.told());
}

#[tokio::test]
async fn a_persons_answer_is_the_mode() {
    let mut office = office(ending_in("plan_done", v1::PlanState::Done), Some("2\n"));
    assert_eq!(office.type_in("run DIR/greet.yaml").await, 0);
    assert!(office.asked().contains(&"approve Max".to_owned()));
}

#[tokio::test]
async fn a_wrong_file_is_told_with_its_places_and_nothing_is_started() {
    let mut office = office(ending_in("plan_done", v1::PlanState::Done), None);
    wrong_file(&mut office);
    assert_eq!(office.type_in("run DIR/greet.yaml --mode max").await, 2);
    assert_eq!(office.asked(), Vec::<String>::new());
    insta::assert_snapshot!(office.told(), @"
    greet.yaml:2:5: error: `waves` is missing, expected a list of waves
    1 error
    wavegate: DIR/greet.yaml is not a plan: nothing was stored
    ");
}

#[tokio::test]
async fn a_file_that_is_missing_or_no_text_is_a_usage_error() {
    let mut office = office(World::default(), None);
    std::fs::write(office.dir.path().join("binary"), [b'a', 0xff]).unwrap();
    assert_eq!(office.type_in("run DIR/none.yaml --mode max").await, 2);
    assert_eq!(office.type_in("run DIR --mode max").await, 2);
    assert_eq!(office.type_in("run DIR/binary --mode max").await, 2);
    insta::assert_snapshot!(office.told(), @"
    wavegate: DIR/none.yaml: there is no such file, expected a plan
    wavegate: DIR: this is a directory, expected a plan file
    wavegate: DIR/binary: the byte at offset 1 is not UTF-8, expected text
    ");
}

#[tokio::test]
async fn a_blocked_plan_is_told_with_the_commands_that_move_it_on() {
    let mut world = ending_in("plan_blocked", v1::PlanState::Blocked);
    world.plan.summary.as_mut().unwrap().reason = "a task is blocked".to_owned();
    world.plan.waves = vec![v1::Wave {
        key: "W1".to_owned(),
        state: v1::WaveState::Blocked.into(),
        reason: "tasks are blocked".to_owned(),
        tasks: vec![v1::Task {
            key: "T1-02".to_owned(),
            state: v1::TaskState::Blocked.into(),
            reason: "failed three times".to_owned(),
            ..Default::default()
        }],
        ..Default::default()
    }];
    let mut office = office(world, None);
    let notes = office.dir.path().join("note");
    let notify = "run DIR/greet.yaml --mode max --notify env>DIR/note";
    assert_eq!(office.type_in(notify).await, 3);
    insta::assert_snapshot!(office.told(), @r#"
    plan 3 greet: max mode
    09:05:04 wave_started
    09:05:04 plan_blocked
    plan 3 is blocked: a task is blocked
      W1: tasks are blocked
      T1-02: failed three times
    evidence: wavegate show --db DIR/x.db 3
    to decide, one of:
      wavegate retry --db DIR/x.db 3 T1-02
      wavegate resolve --db DIR/x.db 3 approve|rework|skip|cancel --wave W1 --note "WHY"
    and then to go on: wavegate run --db DIR/x.db --resume 3
    "#);
    let environment = std::fs::read_to_string(notes).unwrap();
    for line in ["WAVEGATE_PLAN=3", "WAVEGATE_STATUS=blocked", "WAVEGATE_REASON=a task is blocked"] {
        assert!(environment.lines().any(|found| found == line), "{line}: {environment}");
    }
}

#[tokio::test]
async fn a_plan_out_of_budget_ends_as_paused_and_says_how_to_add() {
    let mut world = ending_in("plan_paused", v1::PlanState::Paused);
    world.streams[0][1].reason = "budget".to_owned();
    let why = "T1 used up its own budget: `wavegate resume 3 --task T1 --add-usd N` gives it more";
    world.plan.summary.as_mut().unwrap().reason = why.to_owned();
    let mut office = office(world, None);
    assert_eq!(office.type_in("run DIR/greet.yaml --mode standard").await, 4);
    let told = office.told();
    let more = "`wavegate resume --db DIR/x.db 3 --task T1 --add-usd N` gives it more\nand then to go on: wavegate run";
    assert!(told.contains(more), "{told}");
}

#[tokio::test]
async fn a_terminals_display_leaves_the_end_to_the_report() {
    let mut office = office(ending_in("plan_blocked", v1::PlanState::Blocked), None);
    office.desk.console.redraws = true;
    assert_eq!(office.type_in("run DIR/greet.yaml --mode standard").await, 3);
    assert!(office.out.text().starts_with("plan 3 greet: blocked"));
    assert!(!office.told().contains("wave_started"), "{}", office.told());
}

#[tokio::test]
async fn a_cancelled_plan_has_an_exit_code_of_its_own() {
    let mut office = office(ending_in("plan_cancelled", v1::PlanState::Cancelled), None);
    assert_eq!(office.type_in("run DIR/greet.yaml --mode standard").await, 5);
}

#[tokio::test]
async fn a_plan_that_rests_waits_for_the_results_under_way() {
    let mut world = ending_in("plan_blocked", v1::PlanState::Blocked);
    world.workers = vec![busy_worker()];
    world.looks = Some(1);
    let mut office = office(world, None);
    assert_eq!(office.type_in("run DIR/greet.yaml --mode standard").await, 3);
    // The running lease was seen, and the end waited for another look.
    assert!(office.world.lock().unwrap().workers.is_empty());
}

#[tokio::test]
async fn one_interrupt_lets_what_runs_end_and_says_how_to_go_on() {
    let mut world = world(v1::PlanState::AwaitingApproval);
    world.workers = vec![busy_worker()];
    world.looks = Some(1);
    let office = office(world, None);
    let exit = interrupted(&office, 1).await;
    assert_eq!(exit, Exit::Interrupted);
    assert!(office.world.lock().unwrap().workers.is_empty());
    assert_eq!(office.asked().last().unwrap(), "stop");
    assert!(office.asked().contains(&"pause".to_owned()));
    let told = office.told();
    let resume = "to go on: wavegate run --db DIR/x.db --resume 3\n";
    assert!(told.ends_with(resume), "{told}");
    assert!(office.out.text().starts_with("plan 3 greet: paused"));
}

#[tokio::test]
async fn a_second_interrupt_waits_for_nothing() {
    let mut world = world(v1::PlanState::AwaitingApproval);
    world.workers = vec![busy_worker()];
    let office = office(world, None);
    let exit = interrupted(&office, 2).await;
    assert_eq!(exit, Exit::Interrupted);
    assert_eq!(office.asked().last().unwrap(), "stop");
    let told = office.told();
    assert!(told.ends_with("--resume 3\n"), "{told}");
}

/// A run during which Ctrl-C is pressed so many times.
async fn interrupted(office: &Office, times: usize) -> Exit {
    let file = office.dir.path().join("greet.yaml");
    let words = ["wavegate", "run", file.to_str().unwrap(), "--mode", "max"];
    let cli = <Cli as clap::Parser>::try_parse_from(words).unwrap();
    let Command::Run(args) = cli.command else {
        panic!("expected run, found {:?}", cli.command);
    };
    let ran = super::run_until(&office.desk, args, Interrupts::pressed(times)).await;
    ran.unwrap()
}

fn busy_worker() -> v1::Worker {
    let lease = v1::WorkerLease { plan_id: 3, state: v1::LeaseState::Running.into(), ..Default::default() };
    v1::Worker { leases: vec![lease], ..Default::default() }
}

#[tokio::test]
async fn a_paused_plan_is_resumed_where_it_was_left() {
    let mut world = ending_in("plan_done", v1::PlanState::Done);
    world.set_state(v1::PlanState::Paused);
    let mut office = office(world, None);
    assert_eq!(office.type_in("run --resume greet").await, 0);
    assert_eq!(office.asked(), ["embed 1", "serve plan 3", "resume 0", "watch after 0", "stop"]);
}

#[tokio::test]
async fn the_tree_is_written_where_the_person_wants_it() {
    let mut world = ending_in("plan_done", v1::PlanState::Done);
    world.plan.set_workspace(v1::WorkspaceKind::Dir);
    world.plan.tree = "abc".to_owned();
    let mut office = office(world, None);
    office.desk.backend.checked.base = PlanBase::Folder("/source".into());
    let line = "run DIR/greet.yaml --mode standard --out DIR/out --json";
    assert_eq!(office.type_in(line).await, 0);
    let dir = office.dir.path().display().to_string();
    let asked = office.asked();
    assert!(asked.contains(&"upload /source".to_owned()), "{asked:?}");
    assert!(asked.contains(&"submit d1ge57".to_owned()), "{asked:?}");
    assert!(asked.contains(&format!("write abc to {dir}/out")), "{asked:?}");
    let report: Value = serde_json::from_str(&office.out.text()).unwrap();
    assert_eq!(report["out"], format!("{dir}/out"));
    assert_eq!(report["status"], "done");
    assert!(report["waves"].is_array());
}

fn on_a_repository(office: &mut Office) {
    office.desk.backend.checked.base = PlanBase::Repository(RepositoryBase {
        location: "/srv/project".to_owned(),
        base: "main".to_owned(),
        commit: Some("c".repeat(40)),
    });
}

#[tokio::test]
async fn a_plan_on_a_repository_is_submitted_with_where_it_is_and_what_it_starts_from() {
    let mut office = office(ending_in("plan_done", v1::PlanState::Done), None);
    on_a_repository(&mut office);
    assert_eq!(office.type_in("run DIR/greet.yaml --mode standard").await, 0);
    assert_eq!(office.asked()[1..3], ["upload /srv/project", "submit 57a7e /srv/project main"]);
}

#[tokio::test]
async fn workers_of_another_coordinator_get_what_they_cannot_reach() {
    let mut office = office(world(v1::PlanState::AwaitingApproval), None);
    let url = crate::cli::fake::serve(&office.world).await;
    on_a_repository(&mut office);
    assert_eq!(office.type_in(&format!("submit DIR/greet.yaml --coordinator {url}")).await, 0);
    assert_eq!(office.asked(), ["upload /srv/project for others", "submit 57a7e /srv/project main"]);
    assert!(office.told().starts_with("warning: the history is large\n"), "{}", office.told());
}
