//! Stand-ins for agents: they take simulated time, obey cancel and deadline as a supervisor does (TERM, some
//! grace, KILL), and testify in the book. Run no process.

use std::time::Duration;

use tokio::{sync::watch, time::sleep};
use wavegate_proto::v1::{self, Outcome, work::Body};
use wavegate_worker::{
    session::Perform,
    work::{Ending, WorkContext},
};

use crate::{
    book::{Book, How, Run},
    chance::{Chance, boottime_ms, now_ms},
};

/// What a result is at most before it travels as an artifact; these are more.
const LARGE: usize = 200_000;

/// The stand-ins of one worker.
pub(crate) struct Agents {
    pub(crate) worker: usize,
    pub(crate) seed: u64,
    pub(crate) book: Book,
    /// How long a task takes, in seconds: the least and the most.
    pub(crate) takes_s: (u64, u64),
}

#[tonic::async_trait]
impl Perform for Agents {
    async fn perform(&self, work: v1::Work, mut context: WorkContext) -> Ending {
        // A supervisor begins nothing whose right has ended before.
        if *context.deadline.borrow() <= boottime_ms(self.worker) {
            return Ending::Fenced;
        }
        std::mem::replace(&mut context.started, Box::new(|| ()))();
        match work.body {
            Some(Body::Task(task)) => self.task(task, &context).await,
            Some(Body::Integrate(_)) => {
                let report = v1::Report { candidate: digest_of(&context.lease_id), ..success() };
                self.duty(report, &context).await
            }
            Some(Body::Validate(_)) => {
                let decision = v1::Decision::Approved.into();
                let verdict = Some(v1::Verdict { decision, ..v1::Verdict::default() });
                self.duty(v1::Report { verdict, ..success() }, &context).await
            }
            other @ (Some(Body::Publish(_) | Body::Coordinate(_)) | None) => {
                Ending::Unable(format!("no plan of these tests leads to {other:?}"))
            }
        }
    }
}

impl Agents {
    async fn task(&self, task: v1::TaskWork, context: &WorkContext) -> Ending {
        let chance = Chance::of(self.seed, &format!("{} {}", task.key, task.attempt));
        let takes = Duration::from_secs(chance.between(self.takes_s.0, self.takes_s.1));
        let lease = context.lease_id.clone();
        self.book.begin(
            now_ms(),
            Run {
                lease: lease.clone(),
                task: task.key.clone(),
                attempt: task.attempt,
                worker: self.worker,
                ended: None,
            },
        );
        let process = Process { book: self.book.clone(), lease: &lease, grace: context.kill_grace };
        context.log.append(format!("{} attempt {}\n", task.key, task.attempt).as_bytes());
        let how = self.until(takes, context).await;
        if how != How::Reported {
            // It does not hurry to end: the grace between TERM and KILL is its own.
            sleep(context.kill_grace).await;
        }
        context.log.append(&b"its last words\n".repeat(200));
        process.end(how);
        let fails = task.attempt == 1 && chance.percent(10);
        let outcome = if fails { Outcome::Failed } else { Outcome::Succeeded };
        match how {
            How::Reported => {
                let output_json = output_of(&lease, chance.percent(20));
                Ending::Report(Box::new(v1::Report { outcome: outcome.into(), output_json, ..success() }))
            }
            How::Cancelled | How::Orphaned => Ending::Cancelled,
            How::Fenced => Ending::Fenced,
        }
    }

    /// Integrating and judging take some seconds.
    async fn duty(&self, report: v1::Report, context: &WorkContext) -> Ending {
        let takes = Duration::from_secs(Chance::of(self.seed, &context.lease_id).between(1, 20));
        match self.until(takes, context).await {
            How::Reported => Ending::Report(Box::new(report)),
            How::Cancelled | How::Orphaned => Ending::Cancelled,
            How::Fenced => Ending::Fenced,
        }
    }

    async fn until(&self, takes: Duration, context: &WorkContext) -> How {
        let mut cancel = context.cancel.clone();
        tokio::select! {
            biased;
            // A worker that fences itself cancels, too.
            _ = cancel.wait_for(|cancel| *cancel) => {
                let is_over = *context.deadline.borrow() <= boottime_ms(self.worker);
                if is_over { How::Fenced } else { How::Cancelled }
            }
            () = deadline_passed(self.worker, context.deadline.clone()) => How::Fenced,
            () = sleep(takes) => How::Reported,
        }
    }
}

async fn deadline_passed(worker: usize, deadline: watch::Receiver<u64>) {
    loop {
        let left = deadline.borrow().saturating_sub(boottime_ms(worker));
        if left == 0 {
            return;
        }
        sleep(Duration::from_millis(left)).await;
    }
}

/// Dropped without an end when its worker is killed: its supervisor sees that, and ends it within the grace.
struct Process<'a> {
    book: Book,
    lease: &'a str,
    grace: Duration,
}

impl Process<'_> {
    fn end(self, how: How) {
        self.book.end(now_ms(), self.lease, how);
    }
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        let now_ms = self.book.pages().now_ms;
        let grace = u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX);
        // Nothing where it has ended already.
        self.book.end(now_ms + grace, self.lease, How::Orphaned);
    }
}

/// What a task's result says: a text that no other lease has.
pub(crate) fn output_of(lease: &str, is_large: bool) -> String {
    let line = format!("{lease} ");
    let text = if is_large { line.repeat(LARGE / line.len()) } else { line };
    format!("{{\"text\":\"{text}\"}}")
}

fn success() -> v1::Report {
    v1::Report { outcome: Outcome::Succeeded.into(), exit_code: Some(0), run_ms: 1, ..v1::Report::default() }
}

/// Sixty-four hex digits out of the thirty-two of a lease.
fn digest_of(lease: &str) -> String {
    lease.repeat(2)
}
