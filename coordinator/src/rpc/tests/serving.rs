//! The server around the services: reflection, health, and how it stops.

use prost::Message as _;
use tonic_health::pb::{HealthCheckRequest, health_check_response, health_client::HealthClient};

use super::Bench;

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
