//! How work reaches a worker.

use prost::Message as _;
use wavegate_proto::{MAX_INLINE_BYTES, v1};

use super::{Bench, one_task, worker::FakeWorker};

fn task_of(work: v1::Work) -> v1::TaskWork {
    match work.body {
        Some(v1::work::Body::Task(task)) => task,
        other => panic!("expected a task, found {other:?}"),
    }
}

#[tokio::test]
async fn small_work_comes_with_its_grant() {
    let bench = Bench::start().await;
    bench.run(&one_task("p", "", "echo hello")).await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    let grant = worker.grant().await;
    assert_eq!(grant.number, 1);
    let Some(v1::grant::Body::Work(work)) = grant.body else { panic!("expected work: {grant:?}") };
    assert_eq!((work.plan_name.as_str(), work.wave.as_str(), work.kind()), ("p", "W1", v1::LeaseKind::Task));
    let task = task_of(work);
    assert_eq!((task.key.as_str(), task.run.as_str(), task.attempt), ("T1-01", "echo hello", 1));
}

#[tokio::test]
async fn large_work_goes_by_digest_and_can_be_downloaded() {
    let bench = Bench::start().await;
    let run = format!("echo {}", "x".repeat(100 * 1024));
    bench.run(&one_task("p", "", &run)).await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    let grant = worker.grant().await;
    assert!(grant.encoded_len() < MAX_INLINE_BYTES);
    let Some(v1::grant::Body::WorkDigest(digest)) = grant.body else { panic!("expected a digest") };
    let work = v1::Work::decode(bench.download(&digest).await.unwrap().as_slice()).unwrap();
    assert_eq!(task_of(work).run, run);
}

#[tokio::test]
async fn nothing_is_granted_before_approval_and_a_cancel_reaches_the_worker() {
    let bench = Bench::start().await;
    let waiting = bench.submit(&one_task("waiting", "", "true")).await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    let plan = bench.run(&one_task("approved", "", "true")).await;
    let grant = worker.grant().await;
    let Some(v1::grant::Body::Work(work)) = grant.body else { panic!("expected work") };
    assert_eq!(work.plan_name, plan);
    assert_eq!(bench.state(&waiting).await, v1::PlanState::AwaitingApproval);
    bench.cancel(&plan).await;
    let take = |it: &v1::coordinator_message::Message| {
        if let v1::coordinator_message::Message::Cancel(cancel) = it {
            Some(cancel.lease_id.clone())
        } else {
            None
        }
    };
    assert_eq!(worker.hear("a cancel", take).await, grant.lease_id);
}

#[tokio::test]
async fn a_draining_worker_is_told_and_given_nothing() {
    let bench = Bench::start().await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    let request = v1::DrainWorkerRequest { worker: "w".to_owned(), by: String::new() };
    bench.fleet().drain_worker(request).await.unwrap();
    let take = |it: &v1::coordinator_message::Message| {
        matches!(it, v1::coordinator_message::Message::Drain(_)).then_some(())
    };
    worker.hear("the drain", take).await;
    let plan = bench.run(&one_task("p", "", "true")).await;
    worker.beat(1, &[]).await;
    assert_eq!(bench.plan(&plan).await.waves[0].tasks[0].state(), v1::TaskState::Pending);
    let forget = v1::ForgetWorkerRequest { worker: "w".to_owned(), by: String::new() };
    let refused = bench.fleet().forget_worker(forget).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
}
