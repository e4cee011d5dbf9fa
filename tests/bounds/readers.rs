//! Clients that open a stream and never read it. Promised: they hold no more than a page of events or a few pieces
//! of a log each, nobody waits for them, and when they read they get all of it.

use std::time::Duration;

use tonic::{Streaming, transport::Channel};
use wavegate_proto::v1;
use wavegate_tests::{
    LONG,
    bounds::{Site, wide_plan},
};

use super::{another_plan_ends, expect_peak, home, until_state, within};

const READERS: usize = 60;
/// Each says 4 KB: what all readers could be owed comes to 60 * 3,000 * 4 KB = 700 MB.
const EVENTS: usize = 3_000;
/// What the coordinator holds without them, in a debug build, and at most 3 MB for each: a page of 256 events of
/// 4 KB, and what is on its way. See `PAGE` in the coordinator's `rpc/watch.rs`.
const MOST_MIB: u64 = 260;

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_read_their_watch_cost_little_and_get_everything_later() {
    let home = home();
    let serve = home.serve("127.0.0.1:0").unwrap();
    let site = Site::of(&home).unwrap();
    let channel = site.connect().await.unwrap();
    let plan = site.run(&channel, wide_plan("talk", 3, 3), v1::Mode::Max).await.unwrap();
    let mut unread = Vec::new();
    for _ in 0..READERS {
        unread.push(watch(&site, plan).await);
    }
    for number in 0..EVENTS {
        let note = format!("{number} {}", "x".repeat(4000));
        let request = v1::PausePlanRequest { plan: plan.to_string(), by: "Ada".to_owned(), note };
        site.plans(&channel).pause_plan(request).await.unwrap();
        let request = v1::ResumePlanRequest { plan: plan.to_string(), ..Default::default() };
        site.plans(&channel).resume_plan(request).await.unwrap();
    }
    expect_peak("with 60 clients that do not read", serve.id(), MOST_MIB);

    let worker = site.worker(&channel, "w", 5, &[]).await.unwrap();
    tokio::spawn(worker.work(Duration::from_millis(100)));
    another_plan_ends(&site, &home, "other").await;
    until_state(&site, &channel, &home, plan, v1::PlanState::Done, LONG).await;

    let mut late = unread.swap_remove(READERS / 2).1;
    let read = async {
        let mut seen = (0, 0, String::new());
        while let Some(event) = late.message().await.unwrap() {
            assert!(event.number > seen.0, "events come once, in order");
            let is_pause = usize::from(event.kind == "plan_paused");
            seen = (event.number, seen.1 + is_pause, event.kind);
        }
        (seen.1, seen.2)
    };
    let (pauses, last) = within(LONG, "all events", &home, read).await;
    assert_eq!((pauses, last.as_str()), (EVENTS, "plan_done"));
}

async fn watch(site: &Site, plan: i64) -> (Channel, Streaming<v1::Event>) {
    let channel = site.connect().await.unwrap();
    let request = v1::WatchPlanRequest { plan: plan.to_string(), ..Default::default() };
    let events = site.plans(&channel).watch_plan(request).await.unwrap().into_inner();
    (channel, events)
}

/// A log of 16 MB and its readers: all of it for each of them would be 1 GB.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_read_a_log_cost_little_and_get_everything_later() {
    let home = home();
    let serve = home.serve("127.0.0.1:0").unwrap();
    let site = Site::of(&home).unwrap();
    let channel = site.connect().await.unwrap();
    let plan = site.run(&channel, wide_plan("talk", 1, 1), v1::Mode::Max).await.unwrap();
    let mut worker = site.worker(&channel, "w", 1, &[]).await.unwrap();
    let lease = loop {
        if let Some(wavegate_tests::bounds::Heard::Grant(grant)) = worker.hear().await.unwrap() {
            break grant.lease_id;
        }
    };
    let follow = v1::ReadLogsRequest { plan: plan.to_string(), follow: true, ..Default::default() };
    let mut unread = Vec::new();
    for _ in 0..READERS {
        let channel = site.connect().await.unwrap();
        unread.push(site.plans(&channel).read_logs(follow.clone()).await.unwrap().into_inner());
    }
    let line = vec![b'x'; 128 * 1024];
    let pieces: Vec<_> = (0..128)
        .map(|at| v1::AppendLogRequest {
            lease_id: lease.clone(),
            offset: at * line.len() as u64,
            data: line.clone(),
        })
        .collect();
    let mut stored = site.bulk(&channel).append_log(tokio_stream::iter(pieces)).await.unwrap().into_inner();
    let mut length = 0;
    while let Some(answer) = stored.message().await.unwrap() {
        length = answer.length;
    }
    assert_eq!(length, 16 * super::MIB);
    another_plan_ends_with(&site, &home).await;
    expect_peak("with 60 clients that do not read", serve.id(), MOST_MIB);

    worker.finish(&lease, wavegate_tests::bounds::success()).await.unwrap();
    tokio::spawn(worker.work(Duration::from_millis(100)));
    until_state(&site, &channel, &home, plan, v1::PlanState::Done, LONG).await;
    let mut late = unread.swap_remove(READERS / 2);
    let read = async {
        let mut read = 0;
        while let Some(piece) = late.message().await.unwrap() {
            read += piece.data.len() as u64;
        }
        read
    };
    assert_eq!(within(LONG, "all of the log", &home, read).await, length);
}

/// The only worker is busy: another one comes for it.
async fn another_plan_ends_with(site: &Site, home: &wavegate_tests::Home) {
    let channel = site.connect().await.unwrap();
    let worker = site.worker(&channel, "free", 5, &[]).await.unwrap();
    let working = tokio::spawn(worker.work(Duration::from_millis(100)));
    another_plan_ends(site, home, "other").await;
    working.abort();
}
