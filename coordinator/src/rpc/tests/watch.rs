//! A plan's events as they are watched.

use tonic::Streaming;
use wavegate_proto::v1;

use super::{Bench, one_task, within};

async fn watch(bench: &Bench, plan: &str, after: i64) -> Streaming<v1::Event> {
    let request = v1::WatchPlanRequest { plan: plan.to_owned(), after, forever: false };
    bench.plans().watch_plan(request).await.unwrap().into_inner()
}

/// All events until the stream ends by itself.
async fn rest(mut events: Streaming<v1::Event>) -> Vec<v1::Event> {
    let mut all = Vec::new();
    while let Some(event) = within("an event or the end", events.message()).await.unwrap() {
        all.push(event);
    }
    all
}

#[tokio::test]
async fn a_watch_sees_what_comes_and_ends_with_the_plan() {
    let bench = Bench::start().await;
    let plan = bench.run(&one_task("p", "", "true")).await;
    let mut events = watch(&bench, &plan, 0).await;
    let first = within("the first event", events.message()).await.unwrap().unwrap();
    bench.cancel(&plan).await;
    let rest = rest(events).await;
    assert!(rest.iter().all(|event| event.number > first.number && event.plan_id == first.plan_id));
    assert!(rest.is_sorted_by_key(|event| event.number));
    assert!(rest.iter().any(|event| event.kind == "plan_cancelled"), "{rest:?}");
}

#[tokio::test]
async fn a_watch_resumed_anywhere_has_no_gap() {
    let bench = Bench::start().await;
    let plan = bench.run(&one_task("p", "", "true")).await;
    bench.run(&one_task("other", "", "true")).await;
    bench.cancel(&plan).await;
    let all = rest(watch(&bench, &plan, 0).await).await;
    assert!(all.len() >= 3, "{all:?}");
    for (at, event) in all.iter().enumerate() {
        assert_eq!(rest(watch(&bench, &plan, event.number).await).await, all[at + 1..]);
    }
}

#[tokio::test]
async fn more_events_than_a_page_come_whole() {
    let bench = Bench::start().await;
    let plan = bench.run(&one_task("p", "", "true")).await;
    let mut plans = bench.plans();
    for _ in 0..150 {
        plans.pause_plan(v1::PausePlanRequest { plan: plan.clone(), ..Default::default() }).await.unwrap();
        plans.resume_plan(v1::ResumePlanRequest { plan: plan.clone(), ..Default::default() }).await.unwrap();
    }
    bench.cancel(&plan).await;
    let all = rest(watch(&bench, &plan, 0).await).await;
    let count = |kind: &str| all.iter().filter(|event| event.kind == kind).count();
    assert_eq!((count("plan_paused"), count("plan_resumed")), (150, 150));
}
