//! Connections as they come in. Owns how many there may be and how long one may take to say that it speaks
//! HTTP/2; what they ask is the services' matter.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Sleep,
};
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::server::{Connected, TcpIncoming};
use tracing::{debug, warn};

/// Ten thousand workers have two connections each, and there must be room for those who look at them. Each takes
/// a file descriptor and about 30 KB; one more is closed at once, and its peer tries again later.
pub(super) const MOST_CONNECTIONS: usize = 24 * 1024;
/// A connection on which no request can begin is nobody's: pings find out about peers that are gone only after
/// the greeting.
const GREETING_PATIENCE: Duration = Duration::from_secs(10);
/// What every HTTP/2 client says first: `PRI * HTTP/2.0` and two empty lines.
const GREETING_BYTES: usize = 24;
/// A connection that cannot be accepted (no file descriptor is free) would be tried again at once, and
/// again: the pause leaves the processor to those who may free one.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections as they come. A session's messages are small and answer one another, so none waits to
/// fill a packet: the server's own setting does not reach a listener that was bound elsewhere.
pub fn connections(listener: TcpListener) -> impl Stream<Item = io::Result<Peer>> {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let accepted = TcpIncoming::from(listener).with_nodelay(Some(true)).then(|accepted| async {
        if let Err(error) = &accepted {
            warn!("a connection cannot be accepted: {error}");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
        accepted
    });
    accepted.filter_map(move |accepted| match accepted {
        Ok(stream) => place(stream, &places, GREETING_PATIENCE).map(Ok),
        Err(error) => Some(Err(error)),
    })
}

fn place(stream: TcpStream, places: &Arc<Semaphore>, patience: Duration) -> Option<Peer> {
    if let Ok(place) = Arc::clone(places).try_acquire_owned() {
        let greeting = Some((GREETING_BYTES, Box::pin(tokio::time::sleep(patience))));
        return Some(Peer { stream, greeting, _place: place });
    }
    debug!("a connection is closed: {MOST_CONNECTIONS} are open, which is the most at a time");
    None
}

/// A connection with its place.
#[derive(Debug)]
pub struct Peer {
    stream: TcpStream,
    /// How much of the greeting is still to come, and until when; absent when it is there.
    greeting: Option<(usize, Pin<Box<Sleep>>)>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Some((missing, patience)) = &mut self.greeting else { return read };
        if read.is_pending() {
            ready!(patience.as_mut().poll(context));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no HTTP/2 greeting came")));
        }
        *missing = missing.saturating_sub(buffer.filled().len() - before);
        if *missing == 0 {
            self.greeting = None;
        }
        read
    }
}

impl AsyncWrite for Peer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl Connected for Peer {
    type ConnectInfo = <TcpStream as Connected>::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn pair() -> (TcpListener, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener, client)
    }

    #[tokio::test]
    async fn small_messages_do_not_wait_for_a_full_packet() {
        let (listener, _client) = pair().await;
        let mut connections = std::pin::pin!(connections(listener));
        let accepted = connections.next().await.unwrap().unwrap();
        assert!(accepted.stream.nodelay().unwrap());
    }

    #[tokio::test]
    async fn a_connection_beyond_the_most_is_closed_and_its_place_comes_free() {
        let (listener, _client) = pair().await;
        let places = Arc::new(Semaphore::new(1));
        let accepted = async || listener.accept().await.unwrap().0;
        let first = place(accepted().await, &places, GREETING_PATIENCE).unwrap();
        let mut second = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(place(accepted().await, &places, GREETING_PATIENCE).is_none());
        assert_eq!(second.read(&mut [0]).await.unwrap(), 0);
        drop(first);
        let _third = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        assert!(place(accepted().await, &places, GREETING_PATIENCE).is_some());
    }

    #[tokio::test]
    async fn half_a_greeting_is_waited_for_only_so_long() {
        let (listener, mut client) = pair().await;
        client.write_all(b"PRI * HTTP").await.unwrap();
        let stream = listener.accept().await.unwrap().0;
        let mut peer = place(stream, &Arc::new(Semaphore::new(1)), Duration::from_millis(50)).unwrap();
        let mut said = [0; GREETING_BYTES];
        assert_eq!(peer.read(&mut said).await.unwrap(), 10);
        assert_eq!(peer.read(&mut said).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn who_has_greeted_may_be_silent() {
        let (listener, mut client) = pair().await;
        client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let stream = listener.accept().await.unwrap().0;
        let patience = Duration::from_millis(50);
        let mut peer = place(stream, &Arc::new(Semaphore::new(1)), patience).unwrap();
        peer.read_exact(&mut [0; GREETING_BYTES]).await.unwrap();
        let silence = tokio::time::timeout(patience * 4, peer.read(&mut [0])).await;
        assert!(silence.is_err(), "{silence:?}");
    }
}
