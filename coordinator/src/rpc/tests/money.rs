//! What plans were estimated to cost and what they did cost, as it is told.

use tempfile::TempDir;
use wavegate_proto::v1::{self, finished::Body};

use super::{
    Bench, one_task, until,
    worker::{FakeWorker, success},
};
use crate::prices::Prices;

fn one_agent_task(name: &str) -> String {
    format!(
        "name: {name}\nproject: {{ workspace: none }}\nwaves:\n  - id: W1\n    tasks:\n      \
         - {{ id: T1-01, runner: claude, do: \"Write\" }}\n"
    )
}

/// A table of a later day in which sonnet costs a hundred times as much.
fn dear() -> Prices {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("prices.toml");
    let text = "date = \"2026-12-01\"\n[models]\nclaude-sonnet-5-5 = { input = 200, output = 1000 }\n";
    std::fs::write(&path, text).unwrap();
    Prices::read(&path).unwrap()
}

async fn standard(bench: &Bench, plan: &str) -> (Option<u64>, String) {
    let request = v1::EstimatePlanRequest { plan: plan.to_owned() };
    let told = bench.plans().estimate_plan(request).await.unwrap().into_inner().estimates;
    assert_eq!(told, bench.report(plan).await.estimates);
    assert_eq!(told, bench.plan(plan).await.estimates);
    let told = told.unwrap();
    (told.standard.unwrap().cost_micro_usd, told.prices_date)
}

#[tokio::test]
async fn what_was_estimated_at_approval_is_kept_whatever_prices_become() {
    let bench = Bench::start_in(TempDir::new().unwrap(), dear()).await;
    let approved = bench.run(&one_agent_task("approved")).await;
    let waiting = bench.submit(&one_agent_task("waiting")).await;
    let both = (Some(28_800_000), "2026-11-23, 2026-12-01".to_owned());
    assert_eq!(standard(&bench, &approved).await, both);
    let bench = bench.restart(Prices::built_in()).await;
    assert_eq!(standard(&bench, &approved).await, both);
    assert_eq!(standard(&bench, &waiting).await, (Some(288_000), "2026-11-23".to_owned()));
}

/// One shell task that tells this of what it used; the plan's report afterwards.
async fn after(bench: &Bench, name: &str, usage: v1::Usage) -> v1::GetReportResponse {
    let plan = bench.run(&one_task(name, "", "true")).await;
    let mut worker = FakeWorker::connect(bench, name).await;
    let lease = worker.grant().await.lease_id;
    worker.finish(&lease, Body::Report(v1::Report { usage: Some(usage), ..success() })).await;
    assert_eq!(worker.accepted().await, lease);
    bench.report(&plan).await
}

#[tokio::test]
async fn what_a_shell_task_says_that_it_used_is_in_the_ledger() {
    let bench = Bench::start().await;
    let told = v1::Usage { tokens_in: 5, tokens_out: 6, cost_micro_usd: Some(10_000), ..Default::default() };
    let report = after(&bench, "told", told).await;
    let lines: Vec<_> = report.ledger.iter().map(|line| line.usage.clone().unwrap()).collect();
    let line = v1::ModelUsage {
        tokens_in: 5,
        tokens_out: 6,
        cost_micro_usd: Some(10_000),
        ..v1::ModelUsage::default()
    };
    assert_eq!(lines, [line]);
    assert_eq!(report.ledger[0].cost_source(), v1::CostSource::Agent);
    assert!(!report.plan.unwrap().has_unknown_cost);
}

#[tokio::test]
async fn tokens_of_an_unknown_cost_are_flagged_wherever_the_plan_is_told() {
    let bench = Bench::start().await;
    let untold = v1::Usage { tokens_in: 5, ..Default::default() };
    assert!(after(&bench, "untold", untold).await.plan.unwrap().has_unknown_cost);
    assert!(bench.plan("untold").await.summary.unwrap().has_unknown_cost);
    assert!(!after(&bench, "nothing", v1::Usage::default()).await.plan.unwrap().has_unknown_cost);
    let listed = bench.plans().list_plans(v1::ListPlansRequest::default()).await.unwrap().into_inner().plans;
    let flags: Vec<_> = listed.iter().map(|plan| (plan.name.as_str(), plan.has_unknown_cost)).collect();
    assert_eq!(flags, [("nothing", false), ("untold", true)]);
}

#[tokio::test]
async fn a_paused_plan_says_what_its_pause_said() {
    let bench = Bench::start().await;
    let small = one_agent_task("small").replace("project:", "budget: { tokens: 10 }\nproject:");
    let plan = bench.run(&small).await;
    let _worker = FakeWorker::connect_with(&bench, "claude", |hello| {
        hello.runners = vec![v1::Runner { name: "claude".to_owned(), ..v1::Runner::default() }];
    })
    .await;
    until("the budget to hold the plan", || async { bench.state(&plan).await == v1::PlanState::Paused })
        .await;
    let reason = bench.plan(&plan).await.summary.unwrap().reason;
    assert!(reason.contains("`wavegate resume 1 --add-tokens N` gives it more"), "{reason}");
    let request = v1::PausePlanRequest { plan: plan.clone(), note: "lunch".to_owned(), ..Default::default() };
    bench.plans().pause_plan(request).await.unwrap();
    assert_eq!(bench.plan(&plan).await.summary.unwrap().reason, "by an operator: lunch");
    let resume = v1::ResumePlanRequest { plan: plan.clone(), add_tokens: 1_000_000, ..Default::default() };
    bench.plans().resume_plan(resume).await.unwrap();
    assert_eq!(bench.plan(&plan).await.summary.unwrap().reason, "");
}
