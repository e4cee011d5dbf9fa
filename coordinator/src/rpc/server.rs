//! The server itself: all services on one listener, until it is told to stop.

use std::{future::Future, io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};
use tokio_stream::Stream;
use tonic::transport::{Server, server::Connected};
use wavegate_proto::{
    MAX_SESSION_MESSAGE_BYTES,
    v1::{
        bulk_service_server::BulkServiceServer, fleet_service_server::FleetServiceServer,
        plan_service_server::PlanServiceServer, thor_service_server::ThorServiceServer,
        worker_service_server::WorkerServiceServer,
    },
};

use super::{
    Services, bulk::BulkDesk, fleet::FleetDesk, narrow::Narrow, plans::PlanDesk, session::WorkerDesk,
    thor::ThorDesk,
};
use crate::planfile;

/// A peer that does not answer a ping within two of these is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Connections that do not end by themselves are cut after this.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// A listing of a plan of ten thousand tasks is larger than gRPC's usual limit.
const MAX_ANSWER_BYTES: usize = 256 * 1024 * 1024;
/// A plan file, and a little.
const MAX_REQUEST_BYTES: usize = planfile::MAX_BYTES + 1024 * 1024;
/// Calls at a time on one connection; the client waits with others. A worker's logs and artifacts share one: 16 logs
/// and some uploads. Without this there is no limit, and each call may hold a message in memory.
const MOST_CALLS: u32 = 256;
/// A request's headers: the token, a deadline, a trace.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// Four times what a worker sends at most, so that an error of it is told in words.
const MAX_WORKER_MESSAGE_BYTES: usize = 4 * MAX_SESSION_MESSAGE_BYTES;

/// The server ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the descriptors for reflection cannot be served: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("the server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// What requests come over.
pub trait Connection: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static {}

impl<C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static> Connection for C {}

/// Serves these until `stop` resolves: then streams are ended first, and connections that stay open are cut.
pub async fn serve<C: Connection>(
    connections: impl Stream<Item = io::Result<C>>,
    services: Services,
    end_streams: watch::Sender<bool>,
    stop: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<WorkerServiceServer<WorkerDesk>>().await;
    reporter.set_serving::<PlanServiceServer<PlanDesk>>().await;
    reporter.set_serving::<FleetServiceServer<FleetDesk>>().await;
    reporter.set_serving::<ThorServiceServer<ThorDesk>>().await;
    reporter.set_serving::<BulkServiceServer<BulkDesk>>().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(wavegate_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let plans = PlanServiceServer::new(PlanDesk(services.clone()))
        .max_encoding_message_size(MAX_ANSWER_BYTES)
        .max_decoding_message_size(MAX_REQUEST_BYTES);
    let mut ended = end_streams.subscribe();
    let workers = WorkerServiceServer::new(WorkerDesk(services.clone()))
        .max_decoding_message_size(MAX_WORKER_MESSAGE_BYTES);
    let server = Server::builder()
        .max_concurrent_streams(MOST_CALLS)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(workers)
        .add_service(Narrow::new(plans))
        .add_service(FleetServiceServer::new(FleetDesk(services.clone())))
        .add_service(ThorServiceServer::new(ThorDesk(services.clone())))
        .add_service(BulkServiceServer::new(BulkDesk::new(services)))
        .serve_with_incoming_shutdown(connections, async move {
            // A sender that is gone means the same.
            let _ = ended.wait_for(|ended| *ended).await;
        });
    tokio::pin!(server);
    tokio::select! {
        served = &mut server => return Ok(served?),
        () = stop => {}
    }
    end_streams.send_replace(true);
    match tokio::time::timeout(STOP_PATIENCE, server).await {
        Ok(served) => Ok(served?),
        Err(_) => Ok(()),
    }
}
