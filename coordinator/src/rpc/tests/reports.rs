//! What a worker says of its leases: stored, or refused in words.

use prost::Message as _;
use wavegate_proto::v1::{self, finished::Body, worker_message::Message as Said};

use super::{
    Bench, one_task, until,
    worker::{FakeWorker, success},
};

const NO_LEASE: &str = "00112233445566778899aabbccddeeff";

#[tokio::test]
async fn an_unreadable_report_is_refused_in_words_and_the_session_goes_on() {
    let bench = Bench::start().await;
    bench.run(&one_task("p", "", "true")).await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    let lease = worker.grant().await.lease_id;
    let unknown_outcome = v1::Report { outcome: 99, ..success() };
    let no_outcome = v1::Report { outcome: 0, ..success() };
    let changes = v1::Report { changes: "nothing".to_owned(), ..success() };
    let cases = [
        ("no lease", Some(Body::Report(success())), "lease_id"),
        (&lease, Some(Body::ReportDigest("zz".to_owned())), "report_digest"),
        (&lease, Some(Body::Report(unknown_outcome)), "outcome"),
        (&lease, Some(Body::Report(no_outcome)), "outcome"),
        (&lease, Some(Body::Report(changes)), "changes"),
        (&lease, None, "body"),
    ];
    for (lease_id, body, field) in cases {
        let lease_id = lease_id.to_owned();
        worker.say(Said::Finished(v1::Finished { lease_id: lease_id.clone(), body })).await;
        let refused = worker.refused().await;
        assert_eq!(refused.lease_id, lease_id);
        assert!(refused.reason.contains(&format!("`{field}`")), "{refused:?}");
    }
    worker.finish(&lease, Body::Report(success())).await;
    assert_eq!(worker.accepted().await, lease);
}

#[tokio::test]
async fn a_report_on_an_unknown_lease_is_refused() {
    let bench = Bench::start().await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    worker.finish(NO_LEASE, Body::Report(success())).await;
    let refused = worker.refused().await;
    assert_eq!(refused.lease_id, NO_LEASE);
    assert!(refused.reason.contains("no such lease"), "{refused:?}");
}

#[tokio::test]
async fn another_workers_lease_cannot_be_finished() {
    let bench = Bench::start().await;
    let plan = bench.run(&one_task("p", "", "true")).await;
    let mut holder = FakeWorker::connect(&bench, "holder").await;
    let lease = holder.grant().await.lease_id;
    let mut other = FakeWorker::connect(&bench, "other").await;
    other.finish(&lease, Body::Report(success())).await;
    assert_eq!(other.refused().await.lease_id, lease);
    assert_eq!(bench.plan(&plan).await.waves[0].tasks[0].state(), v1::TaskState::Leased);
}

#[tokio::test]
async fn a_report_by_digest_is_accepted() {
    let bench = Bench::start().await;
    let plan = bench.run(&one_task("p", "", "true")).await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    let lease = worker.grant().await.lease_id;
    let report = v1::Report { output_json: format!("{:?}", "x".repeat(100_000)), ..success() };
    let digest = bench.upload(&report.encode_to_vec()).await;
    worker.finish(&lease, Body::ReportDigest(digest)).await;
    assert_eq!(worker.accepted().await, lease);
    let task = bench.plan(&plan).await.waves.remove(0).tasks.remove(0);
    assert_eq!(task.state(), v1::TaskState::Submitted);
    assert_eq!(task.attempts[0].output_json, report.output_json);
}

#[tokio::test]
async fn a_report_that_is_not_there_or_no_report_is_refused() {
    let bench = Bench::start().await;
    bench.run(&one_task("p", "", "true")).await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    let lease = worker.grant().await.lease_id;
    let absent = super::digest_of(b"absent");
    let no_report = bench.upload(b"\xff\xff\xff").await;
    for digest in [absent, no_report] {
        worker.finish(&lease, Body::ReportDigest(digest.clone())).await;
        let refused = worker.refused().await;
        assert_eq!(refused.lease_id, lease);
        assert!(refused.reason.contains(&digest), "{refused:?}");
    }
    worker.beat(1, &[&lease]).await;
}

#[tokio::test]
async fn a_report_that_comes_twice_is_accepted_twice_and_stored_once() {
    let bench = Bench::start().await;
    let plan = bench.run(&one_task("p", "", "true")).await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    let lease = worker.grant().await.lease_id;
    for _ in 0..2 {
        worker.finish(&lease, Body::Report(success())).await;
        assert_eq!(worker.accepted().await, lease);
    }
    assert_eq!(bench.plan(&plan).await.waves[0].tasks[0].attempts.len(), 1);
}

#[tokio::test]
async fn a_lease_given_back_is_granted_again() {
    let bench = Bench::start().await;
    bench.run(&one_task("p", "", "true")).await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    let lease = worker.grant().await.lease_id;
    let reason = v1::ReleaseReason::SelfFenced.into();
    worker.say(Said::Released(v1::Released { lease_id: "?".to_owned(), reason, ..Default::default() })).await;
    assert!(worker.refused().await.reason.contains("`lease_id`"));
    let released = v1::Released { lease_id: lease.clone(), reason, note: "no answer".to_owned() };
    worker.say(Said::Released(released)).await;
    assert_eq!(worker.accepted().await, lease);
    assert_ne!(worker.grant().await.lease_id, lease);
}

#[tokio::test]
async fn progress_and_the_start_are_recorded() {
    let bench = Bench::start().await;
    let plan = bench.run(&one_task("p", "", "true")).await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    let lease = worker.grant().await.lease_id;
    worker.say(Said::Started(v1::Started { lease_id: lease.clone() })).await;
    until("the lease to run", || async {
        bench.plan(&plan).await.waves[0].tasks[0].lease_state() == v1::LeaseState::Running
    })
    .await;
    let ack = worker.beat(1, &[&lease, NO_LEASE]).await;
    assert_eq!((ack.keep, ack.stop), (vec![lease], vec![NO_LEASE.to_owned()]));
}
