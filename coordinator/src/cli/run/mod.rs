//! `run`: a plan from a file, or from where it was left, to its end.
//!
//! Owns the order of things (read, check, choose a mode, connect or embed, submit, approve, watch,
//! report) and what a person is told when the plan stops on the way. Decides nothing about the
//! plan.

mod advice;
mod board;
mod notify;
mod progress;
mod start;
mod watch;

#[cfg(test)]
mod tests;

use wavegate_proto::v1;

use super::{
    args::RunArgs,
    backend::{Backend, EmbeddedCoordinator, Timings},
    commands::print_report,
    desk::{Desk, Link},
    exit::Exit,
    failure::Failure,
    interrupts::Interrupts,
};
use start::Source;
use watch::Ending;

/// Runs a plan and says how it went.
pub(super) async fn run<B: Backend>(desk: &Desk<B>, args: RunArgs) -> Result<Exit, Failure> {
    run_until(desk, args, Interrupts::listen()?).await
}

async fn run_until<B: Backend>(
    desk: &Desk<B>,
    args: RunArgs,
    mut interrupts: Interrupts,
) -> Result<Exit, Failure> {
    // All that can be wrong is found before anything is started or stored.
    let timings = args.timings.clone().into_timings()?;
    let source = start::read_source(desk, &args, &mut interrupts).await?;
    let link = connect(desk, &args, source.may_have_agents(), timings).await?;
    let ran = run_on(desk, &args, &link, &source, &mut interrupts).await;
    let closed = link.close().await;
    let exit = ran?;
    closed?;
    Ok(exit)
}

/// The coordinator that is named, or that owns the database, or else one of our own.
async fn connect<B: Backend>(
    desk: &Desk<B>,
    args: &RunArgs,
    has_agents: bool,
    timings: Timings,
) -> Result<Link<B::Embedded>, Failure> {
    let live = match &desk.reach.coordinator {
        Some(url) => Some(desk.try_url(url).await?),
        None => desk.connect_owner().await?,
    };
    match live {
        Some(link) => {
            let url = link.connection.url();
            desk.console.tell(&format!("the coordinator at {url} runs this plan"));
            for flag in args.of_an_own_coordinator() {
                desk.console.tell(&format!(
                    "warning: {flag} has no effect here: that coordinator and its workers have settings of their own"
                ));
            }
            Ok(link)
        }
        None => {
            desk.embed(args.workers.unwrap_or(1).into(), args.max_agents, &args.agents, has_agents, timings)
                .await
        }
    }
}

async fn run_on<B: Backend>(
    desk: &Desk<B>,
    args: &RunArgs,
    link: &Link<B::Embedded>,
    source: &Source,
    interrupts: &mut Interrupts,
) -> Result<Exit, Failure> {
    let started = start::start(desk, args, link, source, interrupts).await?;
    let watched = watch::watch(desk, link, &started, interrupts).await;
    let ending = watched.inspect_err(|_| {
        let advice = advice::resume(desk, started.plan_id);
        desk.console.tell(&advice);
    })?;
    finish(desk, args, link, started.plan_id, &ending).await
}

/// Reports, says what moves the plan on, and notifies.
async fn finish<B: Backend>(
    desk: &Desk<B>,
    args: &RunArgs,
    link: &Link<B::Embedded>,
    plan_id: i64,
    ending: &Ending,
) -> Result<Exit, Failure> {
    let Ending::Rested { plan, interrupted, reason } = ending else {
        let advice = match link.embedded {
            Some(_) => advice::resume(desk, plan_id),
            None => advice::left(desk, plan_id, link.connection.url()),
        };
        desk.console.tell(&advice);
        return Ok(Exit::Interrupted);
    };
    let summary = plan.summary.clone().unwrap_or_default();
    let state = summary.state();
    let out = args.out.as_deref().filter(|_| state == v1::PlanState::Done);
    let reported = print_report(desk, &link.connection, &plan_id.to_string(), out).await;
    let embedded = link.embedded.is_some();
    let ended = matches!(state, v1::PlanState::Done | v1::PlanState::Cancelled);
    if *interrupted && !ended {
        desk.console.tell(&advice::resume(desk, plan_id));
        reported?;
        return Ok(Exit::Interrupted);
    }
    if let Some(advice) = advice::of(desk, plan, reason, embedded) {
        desk.console.tell(&advice);
    }
    if let Some(command) = &args.notify {
        notify::notify(&desk.console, command, &summary).await;
    }
    match reported {
        // The reader of the report is gone; the plan's end is told by the exit code all the same.
        Ok(()) | Err(Failure::ClosedOutput) => Ok(Exit::of_plan(state)),
        Err(failure) => Err(failure),
    }
}

/// Names the plan that an embedded coordinator serves; a live one serves all of its own.
async fn serve_plan<E: EmbeddedCoordinator>(link: &Link<E>, plan_id: i64) -> Result<(), Failure> {
    match &link.embedded {
        Some(embedded) => embedded.serve_plan(plan_id).await.map_err(Failure::Backend),
        None => Ok(()),
    }
}
