//! Logs as they are followed.

use tokio::runtime::Handle;
use tonic::Streaming;
use wavegate_proto::v1;

use super::{Bench, one_task, until};

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
