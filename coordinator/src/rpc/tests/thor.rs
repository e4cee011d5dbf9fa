//! Verdicts from outside of the workers.

use tonic::Code;
use wavegate_proto::v1::{self, finished::Body, worker_message::Message as Said};

use super::{
    Bench, one_task, until,
    worker::{FakeWorker, hello, success},
};

async fn candidates(bench: &Bench, plan: &str) -> Vec<v1::Candidate> {
    let request = v1::ListCandidatesRequest { plan: plan.to_owned() };
    bench.thor().list_candidates(request).await.unwrap().into_inner().candidates
}

fn verdict(candidate: &v1::Candidate, decision: v1::Decision) -> v1::SubmitVerdictRequest {
    v1::SubmitVerdictRequest {
        plan: candidate.plan_name.clone(),
        wave: candidate.wave.clone(),
        round: candidate.round,
        candidate: candidate.candidate.clone(),
        verdict: Some(v1::Verdict { decision: decision.into(), ..Default::default() }),
        by: "Grace".to_owned(),
    }
}

/// A plan whose one candidate waits for a word from outside.
async fn judged_outside(bench: &Bench, worker: &mut FakeWorker) -> v1::Candidate {
    let plan = bench.run(&one_task("p", "thor: external", "true")).await;
    let lease = worker.grant().await.lease_id;
    worker.finish(&lease, Body::Report(success())).await;
    until("a candidate", || async { !candidates(bench, &plan).await.is_empty() }).await;
    candidates(bench, &plan).await.remove(0)
}

#[tokio::test]
async fn an_approval_from_outside_moves_the_plan_to_done() {
    let bench = Bench::start().await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    let candidate = judged_outside(&bench, &mut worker).await;
    assert_eq!((candidate.plan_name.as_str(), candidate.wave.as_str()), ("p", "W1"));
    assert!(bench.plan("p").await.external_thor);
    assert_eq!(candidates(&bench, "").await, std::slice::from_ref(&candidate));
    let other = bench.submit(&one_task("other", "thor: external", "true")).await;
    assert!(candidates(&bench, &other).await.is_empty());

    bench.thor().submit_verdict(verdict(&candidate, v1::Decision::Approved)).await.unwrap();
    let plan = bench.plan("p").await;
    assert_eq!(plan.summary.unwrap().state(), v1::PlanState::Done);
    assert_eq!(plan.waves[0].verdicts[0].by, "Grace");
    assert!(candidates(&bench, "").await.is_empty());
}

#[tokio::test]
async fn a_stale_verdict_changes_nothing() {
    let bench = Bench::start().await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    let candidate = judged_outside(&bench, &mut worker).await;
    let sound = verdict(&candidate, v1::Decision::Approved);
    let stale = [
        v1::SubmitVerdictRequest { round: candidate.round + 1, ..sound.clone() },
        v1::SubmitVerdictRequest { candidate: super::digest_of(b"another"), ..sound.clone() },
    ];
    for request in stale {
        let refused = bench.thor().submit_verdict(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    }
    let unreadable = [
        v1::SubmitVerdictRequest { candidate: "?".to_owned(), ..sound.clone() },
        v1::SubmitVerdictRequest { verdict: None, ..sound.clone() },
        verdict(&candidate, v1::Decision::Unspecified),
        verdict(&candidate, v1::Decision::Rejected),
    ];
    for request in unreadable {
        let refused = bench.thor().submit_verdict(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    let unknown = v1::SubmitVerdictRequest { wave: "W9".to_owned(), ..sound };
    assert_eq!(bench.thor().submit_verdict(unknown).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(candidates(&bench, "p").await, [candidate]);
}

#[tokio::test]
async fn a_rejection_from_outside_comes_back_as_instructions() {
    let bench = Bench::start().await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    let candidate = judged_outside(&bench, &mut worker).await;
    let finding = v1::Finding { task: "T1-01".to_owned(), text: "the list has a gap".to_owned() };
    let mut request = verdict(&candidate, v1::Decision::Rejected);
    request.verdict.as_mut().unwrap().findings.push(finding.clone());
    bench.thor().submit_verdict(request.clone()).await.unwrap();
    let Some(v1::grant::Body::Work(work)) = worker.grant().await.body else { panic!("expected work") };
    let Some(v1::work::Body::Task(task)) = work.body else { panic!("expected a task") };
    assert_eq!((task.attempt, task.findings), (2, vec![finding]));
    let again = bench.thor().submit_verdict(request).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition, "{again}");
}

#[tokio::test]
async fn a_plan_that_workers_judge_takes_no_word_from_outside() {
    let bench = Bench::start().await;
    let plan = bench.run(&one_task("p", "", "true")).await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    let lease = worker.grant().await.lease_id;
    worker.finish(&lease, Body::Report(success())).await;
    worker.accepted().await;
    assert!(candidates(&bench, &plan).await.is_empty());
    let candidate = v1::Candidate {
        plan_name: plan,
        wave: "W1".to_owned(),
        round: 1,
        candidate: super::digest_of(b"?"),
        plan_id: 1,
    };
    let refused = bench.thor().submit_verdict(verdict(&candidate, v1::Decision::Approved)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
}

#[tokio::test]
async fn a_count_that_another_program_refuses_pauses_its_plan_until_it_is_taken() {
    let bench = Bench::start().await;
    let other = rusqlite::Connection::open(bench.home.path().join("wavegate.db")).unwrap();
    let refuses = "CREATE TRIGGER refuses BEFORE UPDATE OF tasks_done ON plans \
                   BEGIN SELECT RAISE(ABORT, 'no'); END";
    other.execute_batch(refuses).unwrap();
    let plan = bench.run(&one_task("p", "", "true")).await;
    let mut worker = FakeWorker::connect(&bench, "w").await;
    let lease = worker.grant().await.lease_id;
    worker.finish(&lease, Body::Report(success())).await;
    assert_eq!(worker.accepted().await, lease);

    let judge =
        |held: Vec<String>| v1::Hello { roles: vec![v1::Role::Thor.into()], held, ..hello("thor", "first") };
    let verdict = v1::Verdict { decision: v1::Decision::Approved.into(), ..Default::default() };
    let approved = Body::Report(v1::Report { verdict: Some(verdict), ..success() });
    let mut thor = FakeWorker::begin(&bench, Said::Hello(judge(vec![]))).await;
    let lease = thor.grant().await.lease_id;
    thor.finish(&lease, approved.clone()).await;
    thor.end().await;
    assert_eq!(bench.state(&plan).await, v1::PlanState::Paused);

    other.execute_batch("DROP TRIGGER refuses").unwrap();
    let mut thor = FakeWorker::begin(&bench, Said::Hello(judge(vec![lease.clone()]))).await;
    thor.welcome().await;
    thor.finish(&lease, approved).await;
    assert_eq!(thor.accepted().await, lease);
    let resume = v1::ResumePlanRequest { plan: plan.clone(), ..Default::default() };
    // It may have come to its end already.
    let _ = bench.plans().resume_plan(resume).await;
    until("the plan to be done", || async { bench.state(&plan).await == v1::PlanState::Done }).await;
}
