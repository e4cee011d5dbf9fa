//! The server around the services: reflection, health, and how it stops.

use std::time::{Duration, Instant};

use prost::Message as _;
use tokio_stream::StreamExt as _;
use tonic_health::pb::{HealthCheckRequest, health_check_response, health_client::HealthClient};
use wavegate_proto::v1;

use super::{Bench, chunks_of, one_task, worker::FakeWorker};

const SERVICES: [&str; 5] = [
    "wavegate.v1.BulkService",
    "wavegate.v1.FleetService",
    "wavegate.v1.PlanService",
    "wavegate.v1.ThorService",
    "wavegate.v1.WorkerService",
];

/// The services that one version of reflection lists.
macro_rules! listed_by {
    ($bench:expr, $version:ident) => {{
        use tonic_reflection::pb::$version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let message_request = Some(MessageRequest::ListServices(String::new()));
        let request = ServerReflectionRequest { host: String::new(), message_request };
        let mut client = ServerReflectionClient::new($bench.channel.clone());
        let answers = client.server_reflection_info(tokio_stream::iter([request])).await;
        let answer = answers.unwrap().into_inner().message().await.unwrap().unwrap();
        let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
            panic!("expected a list, found {answer:?}")
        };
        list.service.into_iter().map(|service| service.name).collect::<Vec<_>>()
    }};
}

#[tokio::test]
async fn both_versions_of_reflection_list_the_services() {
    let bench = Bench::start().await;
    for listed in [listed_by!(bench, v1), listed_by!(bench, v1alpha)] {
        for service in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
            assert!(listed.iter().any(|name| name == service), "{service} is not in {listed:?}");
        }
    }
}

#[test]
fn the_descriptors_carry_the_comments() {
    let set = prost_types::FileDescriptorSet::decode(wavegate_proto::DESCRIPTORS).unwrap();
    for name in ["bulk", "fleet", "plans", "thor", "types", "worker"] {
        let path = format!("wavegate/v1/{name}.proto");
        let file = set.file.iter().find(|file| file.name() == path).expect(&path);
        let places = &file.source_code_info.as_ref().expect(&path).location;
        assert!(places.iter().any(|place| !place.leading_comments().is_empty()), "{path} has no comments");
    }
    let worker = set.file.iter().find(|file| file.name() == "wavegate/v1/worker.proto").unwrap();
    let comments = worker.source_code_info.iter().flat_map(|info| &info.location);
    let told = "Unknown messages are ignored";
    assert!(comments.into_iter().any(|place| place.leading_comments().contains(told)));
}

#[tokio::test]
async fn health_says_that_every_service_serves() {
    let bench = Bench::start().await;
    let mut client = HealthClient::new(bench.channel.clone());
    for service in SERVICES.into_iter().chain([""]) {
        let request = HealthCheckRequest { service: service.to_owned() };
        let status = client.check(request).await.unwrap().into_inner().status();
        assert_eq!(status, health_check_response::ServingStatus::Serving, "{service}");
    }
}

#[tokio::test]
async fn stopping_ends_every_open_stream_at_once() {
    let bench = Bench::start().await;
    let plan = bench.run(&one_task("p", "", "true")).await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    worker.grant().await;
    let watch = v1::WatchPlanRequest { plan: plan.clone(), forever: true, ..Default::default() };
    let mut events = bench.plans().watch_plan(watch).await.unwrap().into_inner();
    let follow = v1::ReadLogsRequest { plan, follow: true, ..Default::default() };
    let mut logs = bench.plans().read_logs(follow).await.unwrap().into_inner();
    let silent = FakeWorker::open(&bench).await;
    let mut appended = bench.bulk().append_log(tokio_stream::pending()).await.unwrap().into_inner();
    let half = tokio_stream::iter(chunks_of(b"half")).chain(tokio_stream::pending());
    let mut bulk = bench.bulk();
    let uploading = tokio::spawn(async move { bulk.upload(half).await });

    let began = Instant::now();
    super::within("the coordinator to stop", bench.running.stop()).await.unwrap();
    let took = began.elapsed();
    assert!(took < Duration::from_millis(2500), "stopping took {took:?}");

    assert!(worker.goodbye().await.reason.contains("stops"));
    worker.end().await;
    silent.end().await;
    super::within("the watch to end", async { while let Ok(Some(_)) = events.message().await {} }).await;
    super::within("the logs to end", async { while let Ok(Some(_)) = logs.message().await {} }).await;
    super::within("the log's answers to end", async { while let Ok(Some(_)) = appended.message().await {} })
        .await;
    assert!(super::within("the upload to end", uploading).await.unwrap().is_err());
}
