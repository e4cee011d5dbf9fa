//! How a session begins, and which ones do not.

use tonic::Code;
use wavegate_proto::v1::{self, worker_message::Message as Said, worker_service_client::WorkerServiceClient};

use super::{
    Bench,
    worker::{FakeWorker, hello},
};

#[tokio::test]
async fn a_session_without_the_token_is_unauthenticated() {
    let bench = Bench::start().await;
    let mut client = WorkerServiceClient::new(bench.channel.clone());
    let refused = client.session(tokio_stream::pending::<v1::WorkerMessage>()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let file = bench.running.files().token();
    assert!(refused.message().contains(file.to_str().unwrap()), "{refused}");
}

#[tokio::test]
async fn a_welcome_says_when_to_beat_and_who_welcomes() {
    let bench = Bench::start().await;
    let mut worker = FakeWorker::begin(&bench, Said::Hello(hello("w", "first"))).await;
    let welcome = worker.welcome().await;
    assert_eq!((welcome.heartbeat_ms, welcome.fence_margin_ms, welcome.protocol), (10_000, 60_000, 1));
    assert!(!welcome.database_id.is_empty() && !welcome.epoch_nonce.is_empty());
}

#[tokio::test]
async fn the_first_message_must_be_a_hello() {
    let bench = Bench::start().await;
    let mut worker = FakeWorker::begin(&bench, Said::Heartbeat(v1::Heartbeat::default())).await;
    let goodbye = worker.goodbye().await;
    assert!(goodbye.reason.contains("hello"), "{goodbye:?}");
    assert!(!goodbye.permanent);
    assert!(worker.end().await.is_empty());
}

#[tokio::test]
async fn protocols_that_do_not_overlap_part_for_good() {
    let bench = Bench::start().await;
    for (protocol_min, protocol_max) in [(2, 3), (0, 0), (3, 1)] {
        let hello = v1::Hello { protocol_min, protocol_max, ..hello("w", "first") };
        let mut worker = FakeWorker::begin(&bench, Said::Hello(hello)).await;
        let goodbye = worker.goodbye().await;
        assert!(goodbye.permanent, "{goodbye:?}");
        assert!(goodbye.reason.contains(&format!("{protocol_min} to {protocol_max}")), "{goodbye:?}");
    }
}

#[tokio::test]
async fn a_hello_without_a_needed_field_is_told_which() {
    let bench = Bench::start().await;
    let nameless = |field: &str| {
        let mut hello = hello("w", "first");
        match field {
            "worker_id" => hello.worker_id.clear(),
            "instance" => hello.instance.clear(),
            _ => hello.name = "x".repeat(257),
        }
        hello
    };
    for field in ["worker_id", "instance", "name"] {
        let mut worker = FakeWorker::begin(&bench, Said::Hello(nameless(field))).await;
        let goodbye = worker.goodbye().await;
        assert!(goodbye.permanent && goodbye.reason.contains(&format!("`{field}`")), "{goodbye:?}");
    }
    let listed = bench.fleet().list_workers(v1::ListWorkersRequest {}).await.unwrap().into_inner();
    assert!(listed.workers.is_empty(), "{listed:?}");
}

#[tokio::test]
async fn a_second_live_instance_of_one_worker_gets_a_goodbye() {
    let bench = Bench::start().await;
    let mut first = FakeWorker::connect(&bench, "w").await;
    let mut second = FakeWorker::begin(&bench, Said::Hello(hello("w", "second"))).await;
    let goodbye = second.goodbye().await;
    assert!(!goodbye.permanent && goodbye.reason.contains("another live worker"), "{goodbye:?}");
    second.end().await;
    first.beat(1, &[]).await;
}

#[tokio::test]
async fn the_same_instance_takes_its_session_over() {
    let bench = Bench::start().await;
    let mut old = FakeWorker::connect(&bench, "w").await;
    let mut new = FakeWorker::connect(&bench, "w").await;
    assert!(!old.goodbye().await.permanent);
    old.end().await;
    new.beat(1, &[]).await;
}

#[tokio::test]
async fn unknown_messages_are_ignored() {
    let bench = Bench::start().await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    worker.send(None).await;
    worker.beat(1, &[]).await;
}

#[tokio::test]
async fn a_session_says_hello_once() {
    let bench = Bench::start().await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    worker.say(Said::Hello(hello("w", "first"))).await;
    assert!(worker.goodbye().await.reason.contains("once"));
    worker.end().await;
    // Its place is free again.
    FakeWorker::connect(&bench, "w").await;
}

#[tokio::test]
async fn a_worker_that_hangs_up_is_gone() {
    let bench = Bench::start().await;
    let worker = FakeWorker::connect(&bench, "w").await;
    drop(worker);
    super::until("the worker to be gone", || async {
        let listed = bench.fleet().list_workers(v1::ListWorkersRequest {}).await.unwrap().into_inner();
        listed.workers[0].state() == v1::WorkerState::Gone
    })
    .await;
}
