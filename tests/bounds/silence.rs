//! Peers that say nothing, half of something, or do not listen. Promised: each is sent away within a stated patience,
//! in words where it can hear any, what it held goes on elsewhere by the rules of a lost lease, and the others do
//! not notice.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use wavegate_proto::v1;
use wavegate_tests::{
    LONG,
    bounds::{Heard, Peer, Site, wide_plan},
};

use super::{another_plan_ends, expect_peak, home, serve, until_state, within};

const SILENT: usize = 300;

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_nothing_or_half_a_greeting_are_closed_and_hold_nobody_up() {
    let home = home();
    let serve = home.serve("127.0.0.1:0").unwrap();
    let site = Site::of(&home).unwrap();
    let mut silent = Vec::new();
    for at in 0..SILENT {
        let mut stream = TcpStream::connect(site.address()).await.unwrap();
        stream.write_all(&b"PRI * HTTP/2.0\r\n\r\nSM"[..at % 20]).await.unwrap();
        silent.push(stream);
    }
    let channel = site.connect().await.unwrap();
    let worker = site.worker(&channel, "w", 5, &[]).await.unwrap();
    tokio::spawn(worker.work(Duration::from_millis(100)));
    another_plan_ends(&site, &home, "other").await;
    expect_peak("with 300 silent connections", serve.id(), 100);
    let closed = async {
        for mut stream in silent {
            // The settings that an HTTP/2 server says by itself, then the end.
            let mut said = Vec::new();
            let _ = stream.read_to_end(&mut said).await;
            assert!(said.len() < 200, "{} bytes", said.len());
        }
    };
    within(LONG, "the silent connections to be closed", &home, closed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_without_a_hello_are_ended_in_words() {
    let home = home();
    let _serve = home.serve("127.0.0.1:0").unwrap();
    let site = Site::of(&home).unwrap();
    let channel = site.connect().await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(site.session(&channel).await.unwrap());
    }
    let worker = site.worker(&channel, "w", 5, &[]).await.unwrap();
    tokio::spawn(worker.work(Duration::from_millis(100)));
    another_plan_ends(&site, &home, "other").await;
    for mut session in silent {
        let heard = within(LONG, "a goodbye", &home, session.hear()).await.unwrap();
        let Some(Heard::Goodbye(goodbye)) = heard else { panic!("heard {heard:?}") };
        assert!(goodbye.reason.contains("expected a hello"), "{goodbye:?}");
        assert!(!goodbye.permanent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_most_on_one_connection_wait_and_others_do_not() {
    let home = home();
    let _serve = home.serve("127.0.0.1:0").unwrap();
    let site = Site::of(&home).unwrap();
    let greedy = site.connect().await.unwrap();
    // It waits as long as the test: a watch ends, and makes room for another, when its plan does.
    let source = wide_plan("held", 1, 1).replace("waves:", "defaults: { requires: [nowhere] }\nwaves:");
    let plan = site.run(&greedy, source, v1::Mode::Max).await.unwrap();
    let mut open = tokio::task::JoinSet::new();
    let (begun, mut watching) = tokio::sync::mpsc::unbounded_channel();
    for _ in 0..400 {
        let (mut plans, begun) = (site.plans(&greedy), begun.clone());
        let request = v1::WatchPlanRequest { plan: plan.to_string(), ..Default::default() };
        open.spawn(async move {
            let stream = plans.watch_plan(request).await.unwrap();
            begun.send(()).unwrap();
            let _stream = stream;
            std::future::pending::<()>().await
        });
    }
    // Another connection has calls of its own.
    let channel = site.connect().await.unwrap();
    let worker = site.worker(&channel, "w", 1, &[]).await.unwrap();
    tokio::spawn(worker.work(Duration::from_millis(100)));
    another_plan_ends(&site, &home, "other").await;
    for _ in 0..256 {
        within(LONG, "a call to begin", &home, watching.recv()).await.unwrap();
    }
    assert!(watching.try_recv().is_err(), "more than 256 calls were served at a time");
}

/// It beats as if all were well and never reads: what is granted to it is not begun, so nobody waits for it
/// longer than for one that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_deaf_worker_was_granted_is_done_by_another() {
    let home = home();
    let _serve = home.serve("127.0.0.1:0").unwrap();
    let site = Site::of(&home).unwrap();
    let channel = site.connect().await.unwrap();
    let source = wide_plan("work", 4, 4).replace("waves:", "defaults: { on_lost: retry }\nwaves:");
    let plan = site.run(&channel, source, v1::Mode::Max).await.unwrap();
    let deaf = site.executor(&channel, "deaf", 3, &[]).await.unwrap();
    let beating = tokio::spawn(beat_for_ever(deaf));
    let look = async {
        while home.count("SELECT count(*) FROM wg_leases WHERE state = 'granted'").unwrap() < 3 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within(LONG, "three grants", &home, look).await;
    // With more free slots than the deaf one has, it is granted what comes back.
    let worker = site.worker(&channel, "w", 50, &[]).await.unwrap();
    tokio::spawn(worker.work(Duration::from_millis(100)));
    until_state(&site, &channel, &home, plan, v1::PlanState::Done, LONG).await;
    let by = |worker: &str, state: &str| {
        let of = "FROM wg_leases AS l INNER JOIN wg_workers AS w ON w.id = l.worker_id";
        home.count(&format!("SELECT count(*) {of} WHERE w.name = '{worker}' AND l.state = '{state}'"))
            .unwrap()
    };
    assert!(by("deaf", "lost") >= 3, "{}", home.dump());
    assert_eq!(by("deaf", "finished"), 0);
    assert_eq!(by("w", "finished"), 5, "four tasks and a verdict");
    beating.abort();
}

async fn beat_for_ever(peer: Peer) {
    for number in 1.. {
        if peer.beat(number, &[]).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Each heartbeat names 5,000 leases that it does not have, and so does each answer: unbounded, the answers would
/// fill the memory; the session ends instead, and the worker is told when it listens again.
#[tokio::test(flavor = "multi_thread")]
async fn answers_to_a_worker_that_does_not_read_do_not_fill_the_memory() {
    let home = home();
    let serve = serve(&home, "127.0.0.1:0", &[]);
    let site = Site::of(&home).unwrap();
    let channel = site.connect().await.unwrap();
    let mut deaf = Vec::new();
    for at in 0..4 {
        let own = site.connect().await.unwrap();
        deaf.push(site.executor(&own, &format!("deaf-{at}"), 1, &[]).await.unwrap());
    }
    let held: Vec<_> = (0..5_000).map(|at: u128| format!("{at:032x}")).collect();
    let mut talking = tokio::task::JoinSet::new();
    for peer in deaf {
        let held = held.clone();
        talking.spawn(async move {
            let mut said = 0;
            // Until the stream takes no more: nobody listens to it.
            while said < 2_000
                && matches!(tokio::time::timeout(LONG / 3, peer.beat(said + 1, &held)).await, Ok(Ok(())))
            {
                said += 1;
            }
            (peer, said)
        });
    }
    let worker = site.worker(&channel, "w", 50, &[]).await.unwrap();
    tokio::spawn(worker.work(Duration::from_millis(100)));
    another_plan_ends(&site, &home, "other").await;
    while let Some(ended) = within(LONG * 2, "the deaf to be sent away", &home, talking.join_next()).await {
        let (mut peer, said) = ended.unwrap();
        assert!(said < 2_000, "it was listened to for ever");
        let rest = async { while matches!(peer.hear().await, Ok(Some(_))) {} };
        within(LONG, "the end of the stream", &home, rest).await;
    }
    // Four that are owed some 64 answers of 80 KB each, and some of 170 KB on the wire; a thousand of them each would
    // be 330 MB.
    expect_peak("with four deaf workers", serve.id(), 200);
}
