//! What peers do that nobody means: numbers that no report holds, answers without end, silence.

use tokio_stream::StreamExt as _;
use tonic::Code;
use wavegate_proto::v1::{
    self, coordinator_message::Message as Heard, finished::Body, worker_message::Message as Said,
};

use super::{
    Bench, chunks_of, digest_of, one_task, until, within,
    worker::{FakeWorker, success},
};

/// Where the coordinator keeps an artifact.
fn place(bench: &Bench, digest: &str) -> std::path::PathBuf {
    bench.running.files().folder().join("artifacts").join(&digest[..2]).join(&digest[2..])
}

#[tokio::test]
async fn numbers_that_nobody_means_are_refused_in_words() {
    let bench = Bench::start().await;
    bench.run(&one_task("p", "", "true")).await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    let lease = worker.grant().await.lease_id;
    let used = |usage: v1::Usage| v1::Report { usage: Some(usage), ..success() };
    let evidence = vec![v1::Evidence { run_ms: u64::MAX, ..Default::default() }];
    let verdict = v1::Verdict { decision: v1::Decision::Approved.into(), evidence, ..Default::default() };
    let cases = [
        ("`run_ms`", v1::Report { run_ms: u64::MAX, ..success() }),
        ("`usage.tokens_in`", used(v1::Usage { tokens_in: u64::MAX, ..Default::default() })),
        ("`usage.tokens_out`", used(v1::Usage { tokens_out: 1 << 63, ..Default::default() })),
        ("`usage.tokens_cached`", used(v1::Usage { tokens_cached: u64::MAX, ..Default::default() })),
        ("`usage.cost_micro_usd`", used(v1::Usage { cost_micro_usd: Some(u64::MAX), ..Default::default() })),
        ("`evidence.run_ms`", v1::Report { verdict: Some(verdict), ..success() }),
    ];
    for (field, report) in cases {
        worker.finish(&lease, Body::Report(report)).await;
        let refused = worker.refused().await;
        assert!(refused.reason.contains(field), "{refused:?}");
    }
    worker.finish(&lease, Body::Report(success())).await;
    assert_eq!(worker.accepted().await, lease);
}

#[tokio::test]
async fn a_budget_grows_by_what_can_be_meant() {
    let bench = Bench::start().await;
    let plan = bench.run(&one_task("p", "", "true")).await;
    let request = v1::ResumePlanRequest { plan, add_tokens: u64::MAX, ..Default::default() };
    let refused = bench.plans().resume_plan(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("`add_tokens`"), "{refused}");
    let budgets = [(Some(u64::MAX), None, "`budget_tokens`"), (None, Some(u64::MAX), "US dollars")];
    for (budget_tokens, budget_micro_usd, words) in budgets {
        let source = one_task("q", "", "true");
        let request = v1::SubmitPlanRequest { source, budget_tokens, budget_micro_usd, ..Default::default() };
        let refused = bench.plans().submit_plan(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(words), "{refused}");
    }
}

#[tokio::test]
async fn a_long_mistake_is_answered_in_few_words() {
    let bench = Bench::start().await;
    bench.run(&one_task("p", "", "true")).await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    let lease = worker.grant().await.lease_id;
    let long = "ä".repeat(100_000);
    worker.finish(&lease, Body::ReportDigest(long.clone())).await;
    let refused = worker.refused().await;
    assert!(refused.reason.len() < 1024, "{} bytes", refused.reason.len());
    // Nobody waits for an answer about this one.
    worker.finish(&long, Body::Report(success())).await;
    worker.beat(1, &[&lease]).await;
    bench.running.stop().await.unwrap();
    let heard = worker.end().await;
    assert!(matches!(heard[..], [Heard::Goodbye(_)]), "{heard:?}");
}

#[tokio::test]
async fn an_artifact_that_is_too_large_for_a_report_is_refused() {
    let bench = Bench::start().await;
    bench.run(&one_task("p", "", "true")).await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    let lease = worker.grant().await.lease_id;
    let digest = digest_of(b"large");
    std::fs::create_dir_all(place(&bench, &digest).parent().unwrap()).unwrap();
    std::fs::File::create(place(&bench, &digest)).unwrap().set_len(200 << 20).unwrap();
    worker.finish(&lease, Body::ReportDigest(digest.clone())).await;
    let refused = worker.refused().await;
    assert!(refused.reason.contains("expected at most"), "{refused:?}");
}

#[tokio::test]
async fn a_report_that_cannot_be_read_now_is_asked_for_again() {
    let bench = Bench::start().await;
    bench.run(&one_task("p", "", "true")).await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    let lease = worker.grant().await.lease_id;
    let report = prost::Message::encode_to_vec(&success());
    let digest = digest_of(&report);
    // A directory can be opened, but not read.
    std::fs::create_dir_all(place(&bench, &digest)).unwrap();
    worker.finish(&lease, Body::ReportDigest(digest.clone())).await;
    let heard = worker.end().await;
    assert!(heard.is_empty(), "a result that is not lost was answered: {heard:?}");

    std::fs::remove_dir(place(&bench, &digest)).unwrap();
    bench.upload(&report).await;
    let hello = v1::Hello { held: vec![lease.clone()], ..super::worker::hello("w", "first") };
    let mut again = FakeWorker::begin(&bench, Said::Hello(hello)).await;
    again.welcome().await;
    again.finish(&lease, Body::ReportDigest(digest)).await;
    assert_eq!(again.accepted().await, lease);
}

#[tokio::test]
async fn a_stream_that_the_coordinator_ends_does_not_look_like_one_that_is_over() {
    let bench = Bench::start().await;
    let plan = bench.run(&one_task("p", "", "true")).await;
    let watch = v1::WatchPlanRequest { plan: plan.clone(), ..Default::default() };
    let mut events = bench.plans().watch_plan(watch).await.unwrap().into_inner();
    let follow = v1::ReadLogsRequest { plan, follow: true, ..Default::default() };
    let mut logs = bench.plans().read_logs(follow).await.unwrap().into_inner();
    bench.running.stop().await.unwrap();
    let watched = async {
        while events.message().await?.is_some() {}
        Ok::<_, tonic::Status>(())
    };
    assert_eq!(within("the watch to end", watched).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(within("the logs to end", logs.message()).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn the_log_of_a_task_that_never_ran_ends_with_its_plan() {
    let bench = Bench::start().await;
    let plan = bench.run(&one_task("p", "", "true")).await;
    let follow = v1::ReadLogsRequest {
        plan: plan.clone(),
        task: "T1-01".to_owned(),
        follow: true,
        ..Default::default()
    };
    let mut logs = bench.plans().read_logs(follow).await.unwrap().into_inner();
    bench.cancel(&plan).await;
    assert_eq!(within("the log to end", logs.message()).await.unwrap(), None);
}

#[tokio::test]
async fn uploads_that_stand_still_are_bounded_and_hold_nobody_up() {
    let bench = Bench::start().await;
    let half = |number: u32| {
        let bytes = [vec![0; wavegate_proto::BULK_CHUNK_BYTES], number.to_le_bytes().to_vec()].concat();
        chunks_of(&bytes).remove(0)
    };
    let incoming = || {
        let folder = std::fs::read_dir(bench.running.files().folder().join("artifacts")).unwrap();
        folder.flatten().filter(|it| it.file_name().to_string_lossy().starts_with("incoming-")).count()
    };
    let mut standing = tokio::task::JoinSet::new();
    for number in 0..128 {
        let (mut bulk, chunks) = (bench.bulk(), tokio_stream::iter([half(number)]));
        standing.spawn(async move { bulk.upload(chunks.chain(tokio_stream::pending())).await });
    }
    until("all of them to stand still", || async { incoming() == 128 }).await;
    let next = || tokio_stream::iter(chunks_of(b"next"));
    let refused = within("an answer", bench.bulk().upload(next())).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("try again"), "{refused}");
    // Everything else goes on, on the same connection.
    assert!(within("a listing", bench.is_missing(&digest_of(b"next"))).await);
    standing.shutdown().await;
    until("the next to be stored", || async { bench.bulk().upload(next()).await.is_ok() }).await;
    assert!(!bench.is_missing(&digest_of(b"next")).await);
}
