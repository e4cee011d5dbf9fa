//! A narrow door before calls that may hold very much memory: a plan file has up to 32 MiB, and reading it takes
//! many times as much. Owns how many come in at a time and how long each may take, from before its message is
//! received: half a message holds memory, too.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::Semaphore;
use tonic::{
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::NamedService,
};

use super::status;

/// Plan files read at a time; the others wait at the door.
const MOST_PLANS: usize = 2;
/// From the first byte of the request to the answer. A hundred thousand tasks take some seconds.
const PATIENCE: Duration = Duration::from_secs(300);

/// The service behind the door.
#[derive(Debug, Clone)]
pub(super) struct Narrow<S> {
    inner: S,
    door: Arc<Semaphore>,
    patience: Duration,
}

impl<S> Narrow<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, door: Arc::new(Semaphore::new(MOST_PLANS)), patience: PATIENCE }
    }
}

impl<S: NamedService> NamedService for Narrow<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Narrow<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let is_large =
            request.uri().path().ends_with("/SubmitPlan") || request.uri().path().ends_with("/CheckPlan");
        // Nothing of the message is received before its future is polled.
        let answering = self.inner.call(request);
        if !is_large {
            return Box::pin(answering);
        }
        let (door, patience) = (Arc::clone(&self.door), self.patience);
        Box::pin(async move {
            let _place = match door.acquire_owned().await {
                Ok(place) => place,
                Err(closed) => return Ok(status::internal(closed).into_http()),
            };
            let answered = tokio::time::timeout(patience, answering).await;
            answered.unwrap_or_else(|_| Ok(status::too_slow(patience).into_http()))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tonic::Status;

    use super::*;

    /// Never answers; counts who is in.
    #[derive(Clone, Default)]
    struct Stuck(Arc<AtomicUsize>);

    impl Service<http::Request<Body>> for Stuck {
        type Response = http::Response<Body>;
        type Error = Infallible;
        type Future = BoxFuture<Self::Response, Infallible>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: http::Request<Body>) -> Self::Future {
            let inside = Arc::clone(&self.0);
            Box::pin(async move {
                inside.fetch_add(1, Ordering::SeqCst);
                std::future::pending().await
            })
        }
    }

    fn request(path: &str) -> http::Request<Body> {
        http::Request::builder().uri(format!("/wavegate.v1.PlanService/{path}")).body(Body::empty()).unwrap()
    }

    #[tokio::test]
    async fn few_plan_files_come_in_at_a_time_and_each_gives_its_place_up_in_the_end() {
        let stuck = Stuck::default();
        let mut door = Narrow { patience: Duration::from_secs(3600), ..Narrow::new(stuck.clone()) };
        let inside = || stuck.0.load(Ordering::SeqCst);
        for _ in 0..=MOST_PLANS {
            tokio::spawn(door.call(request("SubmitPlan")));
        }
        tokio::spawn(door.call(request("GetPlan")));
        // On this one thread each of them gets as far as it can.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(inside(), MOST_PLANS + 1, "the plan files, and who only looks");

        let mut door = Narrow { patience: Duration::from_millis(20), ..Narrow::new(stuck.clone()) };
        let calls = (0..=MOST_PLANS).map(|_| tokio::spawn(door.call(request("CheckPlan"))));
        for call in calls.collect::<Vec<_>>() {
            let Ok(answer) = call.await.unwrap();
            let status = Status::from_header_map(answer.headers()).unwrap();
            assert_eq!(status.code(), tonic::Code::Unavailable);
        }
        assert_eq!(inside(), 2 * (MOST_PLANS + 1));
    }
}
