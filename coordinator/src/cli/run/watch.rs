//! A plan under way: follows its decisions, shows them, counts interrupts, and finds out when it
//! has come to rest. A plan that is paused or blocked is at rest only when nothing of it runs any
//! more: results under way are worth waiting for.

use std::time::Duration;

use tokio::sync::mpsc;
use wavegate_proto::v1;

use super::{progress::Progress, start::Started};
use crate::cli::{
    backend::Backend,
    client::Connection,
    desk::{Desk, Link},
    events::{Followed, follow},
    failure::Failure,
    interrupts::Interrupts,
};

/// How often running leases are counted while the plan comes to rest, and clocks are redrawn.
const TICK: Duration = Duration::from_millis(200);

/// How watching ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// The plan has ended, or waits for somebody, and nothing of it runs.
    Rested {
        plan: Box<v1::Plan>,
        /// By Ctrl-C.
        interrupted: bool,
        /// The typed reason of the last pause; empty where there was none.
        reason: String,
    },
    /// A second Ctrl-C: something may still run.
    Stopped,
}

/// What is being waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The plan's next decision.
    Running,
    /// The end of what runs; then the plan is at rest.
    ComingToRest,
}

struct Watch<'a> {
    connection: &'a Connection,
    plan_id: i64,
    progress: Progress,
    phase: Phase,
    interrupted: bool,
    reason: String,
    away: bool,
}

/// Watches until the plan is at rest or a person has enough.
pub(super) async fn watch<B: Backend>(
    desk: &Desk<B>,
    link: &Link<B::Embedded>,
    started: &Started,
    interrupts: &mut Interrupts,
) -> Result<Ending, Failure> {
    let connection = &link.connection;
    let plan = connection.plan(&started.plan_id.to_string()).await?;
    let mut watch = Watch {
        connection,
        plan_id: started.plan_id,
        progress: Progress::new(&desk.console, &plan, started.is_resumed),
        phase: Phase::Running,
        interrupted: false,
        reason: String::new(),
        away: false,
    };
    if let Some(ending) = watch.look(plan) {
        return Ok(ending);
    }
    let events = follow(
        connection,
        v1::WatchPlanRequest { plan: started.plan_id.to_string(), after: 0, forever: false },
    );
    let ending = watch.until_rest(events, interrupts).await;
    watch.progress.finish();
    ending
}

impl Watch<'_> {
    async fn until_rest(
        &mut self,
        mut events: mpsc::Receiver<Followed>,
        interrupts: &mut Interrupts,
    ) -> Result<Ending, Failure> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let ending = tokio::select! {
                followed = events.recv() => match followed {
                    Some(followed) => self.on_followed(followed).await?,
                    None => return self.on_end_of_events().await,
                },
                () = interrupts.next() => self.on_interrupt().await?,
                _ = ticks.tick() => self.on_tick().await?,
            };
            if let Some(ending) = ending {
                return Ok(ending);
            }
        }
    }

    async fn on_followed(&mut self, followed: Followed) -> Result<Option<Ending>, Failure> {
        match followed {
            Followed::Event(event) => self.on_event(&event).await,
            Followed::Away(failure) => {
                if !std::mem::replace(&mut self.away, true) {
                    self.progress.tell(&format!("{failure}; trying again"));
                }
                Ok(None)
            }
            Followed::Failed(failure) => Err(failure),
        }
    }

    async fn on_event(&mut self, event: &v1::Event) -> Result<Option<Ending>, Failure> {
        self.away = false;
        self.progress.on_event(event);
        if event.kind == "plan_paused" {
            self.reason.clone_from(&event.reason);
        }
        if !is_turning_point(&event.kind) {
            return Ok(None);
        }
        self.look_again().await
    }

    /// Nothing is decided about the plan any more: it has ended.
    async fn on_end_of_events(&mut self) -> Result<Ending, Failure> {
        let plan = self.connection.plan(&self.plan_id.to_string()).await?;
        Ok(self.rested(plan))
    }

    /// The first interrupt lets what runs end, the second one does not.
    async fn on_interrupt(&mut self) -> Result<Option<Ending>, Failure> {
        if self.interrupted {
            return Ok(Some(Ending::Stopped));
        }
        self.interrupted = true;
        let plan = self.plan_id.to_string();
        match self.connection.pause(&plan, "interrupted at the terminal").await {
            // Refused: it is paused, blocked or at its end already.
            Ok(()) | Err(Failure::Refused(_)) => {}
            Err(failure) => self.progress.tell(&failure.to_string()),
        }
        self.phase = Phase::ComingToRest;
        self.progress.tell("nothing new is granted; what runs goes on to its end (Ctrl-C again to stop now)");
        Ok(None)
    }

    async fn on_tick(&mut self) -> Result<Option<Ending>, Failure> {
        self.progress.on_tick();
        if self.phase == Phase::Running {
            return Ok(None);
        }
        match self.connection.live_leases(self.plan_id).await {
            Ok(0) => self.look_again().await,
            Ok(_) => Ok(None),
            // The events' follower waits for the coordinator, and gives up in time.
            Err(failure) if failure.is_transient() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn look_again(&mut self) -> Result<Option<Ending>, Failure> {
        let plan = self.connection.plan(&self.plan_id.to_string()).await;
        match plan {
            Ok(plan) => {
                let was_coming = self.phase == Phase::ComingToRest;
                if let Some(ending) = self.look(plan.clone()) {
                    return Ok(Some(ending));
                }
                let still = self.phase == Phase::ComingToRest;
                let idle = was_coming && still && self.nothing_runs().await?;
                Ok(idle.then(|| self.rested(plan)))
            }
            Err(failure) if failure.is_transient() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    async fn nothing_runs(&self) -> Result<bool, Failure> {
        Ok(self.connection.live_leases(self.plan_id).await? == 0)
    }

    /// Ends with a plan that has ended; lets a paused or blocked one come to rest.
    fn look(&mut self, plan: v1::Plan) -> Option<Ending> {
        let state = plan.summary.clone().unwrap_or_default().state();
        match state {
            v1::PlanState::Done | v1::PlanState::Cancelled => return Some(self.rested(plan)),
            v1::PlanState::Paused | v1::PlanState::Blocked => self.phase = Phase::ComingToRest,
            v1::PlanState::Running | v1::PlanState::AwaitingApproval | v1::PlanState::Unspecified => {
                // Somebody moved it on before it was at rest.
                if !self.interrupted {
                    self.phase = Phase::Running;
                }
            }
        }
        None
    }

    fn rested(&self, plan: v1::Plan) -> Ending {
        Ending::Rested { plan: Box::new(plan), interrupted: self.interrupted, reason: self.reason.clone() }
    }
}

/// Whether the plan as a whole may be in another state now.
fn is_turning_point(kind: &str) -> bool {
    matches!(kind, "plan_done" | "plan_blocked" | "plan_paused" | "plan_cancelled" | "plan_resumed")
}
