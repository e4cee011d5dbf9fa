//! Logs as they are followed.

use tokio::runtime::Handle;
use tonic::Streaming;
use wavegate_proto::v1;

use super::{
    Bench, one_task, until, within,
    worker::{FakeWorker, success},
};

async fn follow(bench: &Bench, plan: &str) -> Streaming<v1::ReadLogsResponse> {
    let request = v1::ReadLogsRequest { plan: plan.to_owned(), follow: true, ..Default::default() };
    bench.plans().read_logs(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn who_stops_following_a_quiet_task_leaves_nothing_that_runs_on() {
    let bench = Bench::start().await;
    let plan = bench.run(&one_task("p", "", "true")).await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    // What served the requests so far has ended when the number stays.
    let mut before = tasks();
    for _ in 0..100 {
        tokio::task::yield_now().await;
        before = before.min(tasks());
    }
    let logs = follow(&bench, &plan).await;
    until("a follower", || async { tasks() > before }).await;
    drop(logs);
    until("the follower's end", || async { tasks() <= before }).await;
}

#[tokio::test]
async fn following_ends_when_the_last_lease_of_a_cancelled_plan_does() {
    let bench = Bench::start().await;
    let plan = bench.run(&one_task("p", "", "true")).await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    let lease_id = worker.grant().await.lease_id;
    let mut logs = follow(&bench, &plan).await;
    bench.cancel(&plan).await;
    // What is written after it is heard once the cancellation was.
    let piece = v1::AppendLogRequest { lease_id: lease_id.clone(), offset: 0, data: b"late".to_vec() };
    let mut answers = bench.bulk().append_log(tokio_stream::iter([piece])).await.unwrap().into_inner();
    within("the log to be stored", answers.message()).await.unwrap();
    assert_eq!(within("the log", logs.message()).await.unwrap().unwrap().data, b"late");
    // The plan is over: the end of this lease is no event of it.
    worker.finish(&lease_id, v1::finished::Body::Report(success())).await;
    assert_eq!(worker.accepted().await, lease_id);
    assert_eq!(within("the end", logs.message()).await.unwrap(), None);
}
