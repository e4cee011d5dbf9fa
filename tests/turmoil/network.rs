//! gRPC over the simulated network: what a server accepts and what a client connects by.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{
    codegen::http::Uri,
    transport::{Endpoint, server::Connected},
};
use turmoil::net::{TcpListener, TcpStream};
use wavegate_worker::Connecting;

/// A connection that tonic serves.
pub(crate) struct Wire(TcpStream);

/// Connections as they come.
pub(crate) fn connections(listener: TcpListener) -> impl Stream<Item = io::Result<Wire>> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let accepted = listener.accept().await.map(|(stream, _)| Wire(stream));
            if sender.send(accepted).await.is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// Opens a connection to the host that the endpoint names.
pub(crate) fn connect(endpoint: Endpoint) -> Connecting {
    Box::pin(async move {
        let dial = tower::service_fn(|uri: Uri| async move {
            let host = uri.host().unwrap_or_default().to_owned();
            let stream = TcpStream::connect((host, uri.port_u16().unwrap_or_default())).await?;
            io::Result::Ok(TokioIo::new(stream))
        });
        endpoint.connect_with_connector(dial).await
    })
}

impl Connected for Wire {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
