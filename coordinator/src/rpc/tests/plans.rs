//! What an operator may ask of plans, and how it is refused.

use tonic::{Code, Status};
use wavegate_proto::v1::{self, plan_service_client::PlanServiceClient};

use super::{Bench, one_task};

fn submission(source: &str) -> v1::SubmitPlanRequest {
    v1::SubmitPlanRequest {
        source: source.to_owned(),
        file_name: "some.yaml".to_owned(),
        ..Default::default()
    }
}

async fn submit_refused(bench: &Bench, request: v1::SubmitPlanRequest) -> Status {
    let refused = bench.plans().submit_plan(request).await.unwrap_err();
    let listed = bench.plans().list_plans(v1::ListPlansRequest::default()).await.unwrap().into_inner();
    assert!(listed.plans.is_empty(), "a refused plan was stored: {listed:?}");
    refused
}

#[tokio::test]
async fn a_wrong_file_is_refused_with_every_place_and_stores_nothing() {
    let bench = Bench::start().await;
    let source = "name: p\nwaves:\n  - id: W 1\n    tasks:\n      - { id: T1, run: echo, nonsense: 1 }\n      \
                  - { id: T1, run: echo, depends_on: [T9] }\n";
    let refused = submit_refused(&bench, submission(source)).await;
    assert_eq!(refused.code(), Code::InvalidArgument);
    let request = v1::CheckPlanRequest {
        source: source.to_owned(),
        file_name: "some.yaml".to_owned(),
        ..Default::default()
    };
    let checked = bench.plans().check_plan(request).await.unwrap().into_inner();
    assert!(checked.outline.is_none() && checked.diagnostics.len() >= 3, "{checked:?}");
    for found in checked.diagnostics {
        let place = format!("{}:{}:{}", found.file, found.line, found.column);
        assert!(refused.message().contains(&place), "{place} is not in {refused}");
        assert!(refused.message().contains(&found.message), "{}", found.message);
    }
}

#[tokio::test]
async fn a_file_with_a_thousand_errors_is_still_refused_as_invalid() {
    let bench = Bench::start().await;
    let wrong = "      - { id: ' è ', run: echo, nonsense: 1 }\n".repeat(1000);
    let source = format!("name: p\nwaves:\n  - id: W1\n    tasks:\n{wrong}");
    let refused = submit_refused(&bench, submission(&source)).await;
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("some.yaml:5:"), "{refused}");
    let last = refused.message().lines().last().unwrap();
    assert!(last.starts_with("... and ") && last.contains("CheckPlan"), "{last}");
}

#[tokio::test]
async fn a_tree_that_was_not_uploaded_cannot_be_a_base() {
    let bench = Bench::start().await;
    let source = one_task("p", "", "true").replace("none", "dir");
    for (base_tree, says) in [(super::digest_of(b"?"), "not uploaded"), ("xyz".to_owned(), "hex")] {
        let refused =
            submit_refused(&bench, v1::SubmitPlanRequest { base_tree, ..submission(&source) }).await;
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains("`base_tree`"), "{refused}");
        assert!(refused.message().contains(says), "{refused}");
    }
    let base_tree = bench.upload(b"a tree").await;
    bench.plans().submit_plan(v1::SubmitPlanRequest { base_tree, ..submission(&source) }).await.unwrap();
}

#[tokio::test]
async fn approval_needs_a_mode() {
    let bench = Bench::start().await;
    let plan = bench.submit(&one_task("p", "", "true")).await;
    let approve = |mode: i32| v1::ApprovePlanRequest { plan: plan.clone(), mode, by: String::new() };
    for unknown in [0, 99] {
        let refused = bench.plans().approve_plan(approve(unknown)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    assert_eq!(bench.state(&plan).await, v1::PlanState::AwaitingApproval);
    let approved = bench.plans().approve_plan(approve(v1::Mode::Max.into())).await.unwrap().into_inner();
    assert_eq!((approved.mode(), approved.tier()), (v1::Mode::Max, v1::Tier::Opus));
    let again = bench.plans().approve_plan(approve(v1::Mode::Max.into())).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_plan_that_does_not_exist_is_not_found() {
    let bench = Bench::start().await;
    let plan = || "nobody".to_owned();
    let mut plans = bench.plans();
    let codes = [
        plans.get_plan(v1::GetPlanRequest { plan: plan() }).await.unwrap_err(),
        plans.estimate_plan(v1::EstimatePlanRequest { plan: plan() }).await.unwrap_err(),
        plans.get_report(v1::GetReportRequest { plan: plan() }).await.unwrap_err(),
        plans.watch_plan(v1::WatchPlanRequest { plan: plan(), ..Default::default() }).await.unwrap_err(),
        plans.read_logs(v1::ReadLogsRequest { plan: plan(), ..Default::default() }).await.unwrap_err(),
        plans.pause_plan(v1::PausePlanRequest { plan: plan(), ..Default::default() }).await.unwrap_err(),
    ];
    for status in codes {
        assert_eq!((status.code(), status.message()), (Code::NotFound, "no plan \"nobody\""));
    }
    let empty = plans.get_plan(v1::GetPlanRequest::default()).await.unwrap_err();
    assert_eq!(empty.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_name_of_any_length_is_refused_with_a_short_answer() {
    let bench = Bench::start().await;
    let request = v1::GetPlanRequest { plan: "è".repeat(100_000) };
    let refused = bench.plans().get_plan(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "{refused}");
}

#[tokio::test]
async fn a_resolution_needs_a_note_and_a_meaning() {
    let bench = Bench::start().await;
    let plan = bench.run(&one_task("p", "", "true")).await;
    let resolve = |resolution: v1::Resolution, note: &str| v1::ResolveWaveRequest {
        plan: plan.clone(),
        wave: "W1".to_owned(),
        resolution: resolution.into(),
        note: note.to_owned(),
        ..Default::default()
    };
    let mut plans = bench.plans();
    let without_note = plans.resolve_wave(resolve(v1::Resolution::Approve, " ")).await.unwrap_err();
    assert_eq!(without_note.code(), Code::InvalidArgument, "{without_note}");
    assert!(without_note.message().contains("note"), "{without_note}");
    let meaningless = plans.resolve_wave(resolve(v1::Resolution::Unspecified, "why")).await.unwrap_err();
    assert_eq!(meaningless.code(), Code::InvalidArgument, "{meaningless}");
    let nothing_blocked = plans.resolve_wave(resolve(v1::Resolution::Approve, "why")).await.unwrap_err();
    assert_eq!(nothing_blocked.code(), Code::FailedPrecondition, "{nothing_blocked}");
}

#[tokio::test]
async fn reading_is_open_and_every_change_needs_the_token() {
    let bench = Bench::start().await;
    let plan = bench.submit(&one_task("p", "", "true")).await;
    let mut plans = PlanServiceClient::new(bench.channel.clone());
    plans.get_plan(v1::GetPlanRequest { plan: plan.clone() }).await.unwrap();
    let name = || plan.clone();
    let refused = [
        plans.submit_plan(submission(&one_task("q", "", "true"))).await.unwrap_err(),
        plans
            .approve_plan(v1::ApprovePlanRequest { plan: name(), mode: 1, ..Default::default() })
            .await
            .unwrap_err(),
        plans.set_mode(v1::SetModeRequest { plan: name(), mode: 1, ..Default::default() }).await.unwrap_err(),
        plans.pause_plan(v1::PausePlanRequest { plan: name(), ..Default::default() }).await.unwrap_err(),
        plans.resume_plan(v1::ResumePlanRequest { plan: name(), ..Default::default() }).await.unwrap_err(),
        plans.cancel_plan(v1::CancelPlanRequest { plan: name(), ..Default::default() }).await.unwrap_err(),
        plans.retry_task(v1::RetryTaskRequest { plan: name(), ..Default::default() }).await.unwrap_err(),
    ];
    for status in refused {
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
    }
    assert_eq!(bench.state(&plan).await, v1::PlanState::AwaitingApproval);
}

fn on_a_repository(project: &str, repository: &str, base: &str) -> v1::SubmitPlanRequest {
    let source = format!("name: p\n{project}\nwaves: [{{ id: W1, tasks: [{{ id: T1, run: echo }}] }}]\n");
    v1::SubmitPlanRequest { repository: repository.to_owned(), base: base.to_owned(), ..submission(&source) }
}

#[tokio::test]
async fn what_the_client_has_resolved_stands_in_the_place_of_what_the_file_says() {
    let bench = Bench::start().await;
    let at = |location: &str, base: &str| {
        Some(v1::Repository { location: location.to_owned(), base: base.to_owned() })
    };
    for (project, repository, base, stored) in [
        ("project: { workspace: git }", "/srv/a", "main", at("/srv/a", "main")),
        ("project: { workspace: git, repo: ../a, base: main }", "/srv/a", "", at("/srv/a", "main")),
        ("project: { workspace: git, repo: 'git@example.org:a' }", "", "", at("git@example.org:a", "")),
        ("project: { workspace: dir }", "", "", None),
    ] {
        let request = on_a_repository(project, repository, base);
        let plan = bench.plans().submit_plan(request).await.unwrap().into_inner().plan_id;
        assert_eq!(bench.plan(&plan.to_string()).await.repository, stored, "{project}");
    }
}

#[tokio::test]
async fn a_repository_that_no_worker_could_find_or_nobody_may_name_is_refused() {
    let bench = Bench::start().await;
    for (project, repository, base, said) in [
        ("project: { workspace: git }", "", "", "only its own client knows"),
        ("project: { workspace: git, repo: ../a }", "", "", "only its own client can resolve"),
        ("project: { workspace: git }", "a", "", "only its own client can resolve"),
        ("project: { workspace: git }", "ext::sh -c x", "", "would run a helper program"),
        ("project: { workspace: git }", "/srv/a", "-x", "begins with `-`"),
        ("project: { workspace: dir }", "/srv/a", "", "workspace is not git"),
    ] {
        let refused = submit_refused(&bench, on_a_repository(project, repository, base)).await;
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(said), "{project} {repository}: {refused}");
    }
}
