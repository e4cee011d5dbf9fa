//! A coordinator that starts again, and all its workers come back at once. Promised: each is welcomed in the end, no
//! lease is lost or counted for it, and what was held is finished once.

use std::{net::TcpListener, time::Duration};

use tokio::task::JoinSet;
use wavegate_proto::v1::{self, worker_message::Message as Said};
use wavegate_tests::{
    Home, LONG,
    bounds::{Heard, Site, raise_open_files, success, wide_plan},
};

use super::{expect_peak, home, serve, until_state, within};

#[test]
fn five_hundred_workers_that_come_back_at_once_lose_nothing() {
    come_back(500, 150);
}

/// Needs 10,100 open files for each of two processes (`ulimit -n`), some 3 GB of memory and a few minutes.
#[test]
#[ignore = "ten thousand connections: see the command in main.rs"]
fn ten_thousand_workers_that_come_back_at_once_lose_nothing() {
    come_back(10_000, 1_500);
}

fn come_back(workers: usize, most_mib: u64) {
    let files = raise_open_files();
    assert!(files > workers as u64 + 100, "{files} open files are allowed: raise `ulimit -n`");
    let home = home();
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut before = serve(&home, &listen, &[]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let limit = LONG + Duration::from_millis(60 * workers as u64);
    let plan = runtime.block_on(lease_all(&home, workers, limit));
    expect_peak("with all workers", before.id(), most_mib);
    before.kill();

    let serve = serve(&home, &listen, &[]);
    runtime.block_on(within(limit, "all workers to come back", &home, async {
        let site = Site::of(&home).unwrap();
        let mut coming = JoinSet::new();
        for (name, lease) in leases(&home) {
            coming.spawn(hold_and_finish(site.clone(), name, lease));
        }
        assert_eq!(coming.len(), workers);
        while let Some(ended) = coming.join_next().await {
            ended.unwrap().unwrap();
        }
    }));
    let channel = runtime.block_on(Site::of(&home).unwrap().connect()).unwrap();
    let site = Site::of(&home).unwrap();
    runtime.block_on(async {
        let thor = site.worker(&channel, "thor", 5, &[]).await.unwrap();
        tokio::spawn(thor.work(Duration::from_millis(500)));
        until_state(&site, &channel, &home, plan, v1::PlanState::Done, limit).await;
    });
    let count = |query: &str| home.count(query).unwrap();
    assert_eq!(count("SELECT count(*) FROM wg_events WHERE kind = 'lease_lost'"), 0);
    assert_eq!(
        count("SELECT count(*) FROM wg_leases WHERE kind = 'task'"),
        workers as i64,
        "one attempt a task"
    );
    assert_eq!(count("SELECT count(*) FROM wg_leases WHERE state <> 'finished'"), 0);
    expect_peak("after all have come back", serve.id(), most_mib);
}

/// A task for each worker, and each worker with its task; then they are all gone.
async fn lease_all(home: &Home, workers: usize, limit: Duration) -> i64 {
    let site = Site::of(home).unwrap();
    let channel = site.connect().await.unwrap();
    let plan = site.run(&channel, wide_plan("held", workers, 1000), v1::Mode::Max).await.unwrap();
    let mut begun = JoinSet::new();
    for at in 0..workers {
        let site = site.clone();
        begun.spawn(async move {
            let (channel, mut peer) = site.come(&format!("worker-{at}"), 1, &[]).await;
            loop {
                if let Some(Heard::Grant(grant)) = peer.hear().await? {
                    peer.say(Said::Started(v1::Started { lease_id: grant.lease_id })).await?;
                    return anyhow::Ok((channel, peer));
                }
            }
        });
    }
    let mut there = Vec::new();
    within(limit, "all workers to begin", home, async {
        while let Some(ended) = begun.join_next().await {
            there.push(ended.unwrap().unwrap());
        }
        let running = "SELECT count(*) FROM wg_leases WHERE state = 'running'";
        while home.count(running).unwrap() < workers as i64 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    plan
}

/// The workers and what each of them holds.
fn leases(home: &Home) -> Vec<(String, String)> {
    let sql = home.sql().unwrap();
    let open = "SELECT worker_id, id FROM wg_leases WHERE state IN ('granted', 'running', 'unreachable')";
    let mut statement = sql.prepare(open).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Comes back with its lease, beats until it is told to keep it, and brings the result.
async fn hold_and_finish(site: Site, name: String, lease: String) -> anyhow::Result<()> {
    let held = std::slice::from_ref(&lease);
    let (_channel, mut peer) = site.come(&name, 1, held).await;
    peer.beat(1, held).await?;
    loop {
        match peer.hear().await? {
            Some(Heard::HeartbeatAck(ack)) => {
                anyhow::ensure!(ack.keep == held && ack.stop.is_empty(), "{name} is told {ack:?}");
                peer.finish(&lease, success()).await?;
            }
            Some(Heard::Accepted(_)) => return Ok(()),
            Some(_) => {}
            None => anyhow::bail!("the stream ended"),
        }
    }
}
