//! How a plan gets going: from a file that nobody has seen, or from where it was left.

use std::path::Path;

use wavegate_proto::v1;

use super::serve_plan;
use crate::cli::{
    args::RunArgs,
    backend::Backend,
    desk::{Desk, Link},
    failure::Failure,
    interrupts::Interrupts,
    mode_question,
    plan_file::PlanFile,
    text,
};

/// What to run.
#[derive(Debug)]
pub(super) enum Source {
    /// A sound file, and the mode that was chosen for it.
    File { file: Box<PlanFile>, mode: v1::Mode },
    /// A stored plan, by id or name.
    Stored(String),
}

impl Source {
    /// Whether agents are to be looked for; of a stored plan nothing is known yet.
    pub(super) fn may_have_agents(&self) -> bool {
        match self {
            Self::File { file, .. } => file.estimates().agent_tasks > 0,
            Self::Stored(_) => true,
        }
    }
}

/// A plan that is on its way.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) plan_id: i64,
    /// What was decided about it before this run is history.
    pub(super) is_resumed: bool,
}

/// Reads the file and asks for the mode. Nothing has been started or stored when this fails.
pub(super) async fn read_source<B: Backend>(
    desk: &Desk<B>,
    args: &RunArgs,
    interrupts: &mut Interrupts,
) -> Result<Source, Failure> {
    if let Some(out) = &args.out {
        require_directory(out)?;
    }
    // A resumed plan was approved before, as a rule: it is asked about when it turns out otherwise.
    let path = match (&args.resume, &args.file) {
        (Some(plan), _) => return Ok(Source::Stored(plan.clone())),
        (None, Some(path)) => path,
        (None, None) => return Err(Failure::Usage("expected a plan file or --resume".into())),
    };
    let file = PlanFile::read(desk, path, &args.set, args.agents.prices.as_deref()).await?;
    file.require_sound(desk)?;
    let estimates = file.estimates();
    let mode = mode_question::choose(&desk.console, args.mode, &estimates, interrupts).await?;
    Ok(Source::File { file: Box::new(file), mode })
}

/// What is no directory would be found out only when the work is done.
fn require_directory(out: &Path) -> Result<(), Failure> {
    if out.exists() && !out.is_dir() {
        let out = out.display();
        return Err(Failure::Usage(format!("--out {out}: this is a file, expected a directory or nothing")));
    }
    Ok(())
}

/// Gives the plan to the coordinator and sets it going.
pub(super) async fn start<B: Backend>(
    desk: &Desk<B>,
    args: &RunArgs,
    link: &Link<B::Embedded>,
    source: &Source,
    interrupts: &mut Interrupts,
) -> Result<Started, Failure> {
    match source {
        Source::File { file, mode } => start_file(desk, args, link, file, *mode).await,
        Source::Stored(plan) => resume(desk, args, link, plan, interrupts).await,
    }
}

async fn start_file<B: Backend>(
    desk: &Desk<B>,
    args: &RunArgs,
    link: &Link<B::Embedded>,
    file: &PlanFile,
    mode: v1::Mode,
) -> Result<Started, Failure> {
    let submitted = file.submit(desk, link, &args.budget).await?;
    let plan_id = submitted.plan_id;
    desk.console.tell(&format!("plan {plan_id} {}: {} mode", text::clean(&submitted.name), text::mode(mode)));
    serve_plan(link, plan_id).await?;
    approve(desk, link, plan_id, mode).await?;
    Ok(Started { plan_id, is_resumed: false })
}

async fn approve<B: Backend>(
    desk: &Desk<B>,
    link: &Link<B::Embedded>,
    plan_id: i64,
    mode: v1::Mode,
) -> Result<(), Failure> {
    let warnings = link.connection.approve(&plan_id.to_string(), mode).await?;
    for warning in &warnings {
        desk.console.tell(&format!("warning: {}", text::clean(warning)));
    }
    Ok(())
}

/// Does what the plan's state asks for: approval, a resumption, or nothing.
async fn resume<B: Backend>(
    desk: &Desk<B>,
    args: &RunArgs,
    link: &Link<B::Embedded>,
    plan: &str,
    interrupts: &mut Interrupts,
) -> Result<Started, Failure> {
    let summary = link.connection.plan(plan).await?.summary.unwrap_or_default();
    let plan_id = summary.id;
    let id = plan_id.to_string();
    desk.console.tell(&format!(
        "plan {id} {}: {}, {}",
        text::clean(&summary.name),
        text::plan_state(summary.state()),
        text::progress(&summary)
    ));
    match summary.state() {
        v1::PlanState::AwaitingApproval => {
            mode_question::require_way_to_choose(&desk.console, args.mode)?;
            let estimates = link.connection.estimates(&id).await?;
            let mode = mode_question::choose(&desk.console, args.mode, &estimates, interrupts).await?;
            serve_plan(link, plan_id).await?;
            approve(desk, link, plan_id, mode).await?;
        }
        v1::PlanState::Paused => {
            change_mode(link, &summary, args).await?;
            serve_plan(link, plan_id).await?;
            link.connection.resume(&id, None, 0, 0).await?;
        }
        v1::PlanState::Running => {
            change_mode(link, &summary, args).await?;
            serve_plan(link, plan_id).await?;
        }
        v1::PlanState::Blocked
        | v1::PlanState::Done
        | v1::PlanState::Cancelled
        | v1::PlanState::Unspecified => {}
    }
    Ok(Started { plan_id, is_resumed: true })
}

/// A mode that is named for a plan under way is a change of mode.
async fn change_mode<E>(link: &Link<E>, summary: &v1::PlanSummary, args: &RunArgs) -> Result<(), Failure> {
    match args.mode.map(super::super::args::ModeChoice::into_proto) {
        Some(mode) if mode != summary.mode() => link.connection.set_mode(&summary.id.to_string(), mode).await,
        _ => Ok(()),
    }
}
