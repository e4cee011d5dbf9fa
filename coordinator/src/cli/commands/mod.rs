//! One function a command: it makes its requests and prints the answer. `run` has a room of its
//! own; what the answers look like is decided in `text` and `json`.

mod changes;
mod files;
mod fleet;
mod follow;
mod look;
mod serve;
mod steer;
mod subject;
mod thor;

pub(super) use look::print_report;
use wavegate_proto::v1;

use super::{
    args::Command,
    backend::Backend,
    client::Connection,
    desk::{Desk, Link},
    exit::Exit,
    failure::Failure,
    json::{ChangedPlanJson, PlanJson},
    run, text,
};

/// Does what was asked.
pub(super) async fn dispatch<B: Backend>(desk: &Desk<B>, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Run(args) => run::run(desk, args).await,
        Command::Serve(args) => serve::serve(desk, args).await,
        Command::Check(args) => files::check(desk, &args).await,
        Command::Submit(args) => files::submit(desk, &args).await,
        Command::Plans(args) => look::plans(desk, &args).await,
        Command::Show(args) => look::show(desk, &args).await,
        Command::Estimate(args) => look::estimate(desk, &args).await,
        Command::Approve(args) => steer::approve(desk, &args).await,
        Command::Mode(args) => steer::mode(desk, &args).await,
        Command::Watch(args) => follow::watch(desk, &args).await,
        Command::Logs(args) => follow::logs(desk, &args).await,
        Command::Pause(args) => steer::pause(desk, &args).await,
        Command::Resume(args) => steer::resume(desk, &args).await,
        Command::Cancel(args) => steer::cancel(desk, &args).await,
        Command::Retry(args) => steer::retry(desk, &args).await,
        Command::Resolve(args) => steer::resolve(desk, &args).await,
        Command::Diff(args) => changes::diff(desk, &args).await,
        Command::Checkout(args) => changes::checkout(desk, &args).await,
        Command::Report(args) => look::report(desk, &args).await,
        Command::Workers => fleet::workers(desk).await,
        Command::Accounts(args) => fleet::accounts(desk, &args).await,
        Command::Backup(args) => files::backup(desk, &args).await,
        Command::Doctor(args) => fleet::doctor(desk, &args).await,
        Command::Candidates(args) => thor::candidates(desk, &args).await,
        Command::Verdict(args) => thor::verdict(desk, &args).await,
        Command::Drain(args) => fleet::drain(desk, &args).await,
        Command::Forget(args) => fleet::forget(desk, &args).await,
    }
}

/// Connects, works, and closes what was opened, whichever way the work went.
async fn with_coordinator<B: Backend>(
    desk: &Desk<B>,
    work: impl AsyncFnOnce(&Link<B::Embedded>) -> Result<Exit, Failure>,
) -> Result<Exit, Failure> {
    let link = desk.connect().await?;
    let worked = work(&link).await;
    let closed = link.close().await;
    let exit = worked?;
    closed?;
    Ok(exit)
}

/// Prints a plan after something was done to it: one line, or all of it as JSON.
async fn print_changed<B: Backend>(
    desk: &Desk<B>,
    link: &Link<B::Embedded>,
    plan: &str,
    warnings: Vec<String>,
) -> Result<Exit, Failure> {
    let plan = link.connection.plan(plan).await?;
    let summary = plan.summary.clone().unwrap_or_default();
    if desk.reach.json {
        let plan = PlanJson::from(plan);
        desk.console.print_json(&ChangedPlanJson { plan, warnings })?;
    } else {
        for warning in &warnings {
            desk.console.tell(&format!("warning: {}", text::clean(warning)));
        }
        desk.console.print(&changed_line(&summary))?;
    }
    if link.embedded.is_some() && summary.state() == v1::PlanState::Running {
        let resume = desk.command(&format!("run --resume {}", summary.id));
        desk.console.tell(&format!("no coordinator is running; to go on: `{resume}`"));
    }
    Ok(Exit::Done)
}

/// `plan 3 greet: running in max mode, 1 of 3 waves, 4 of 12 tasks done`.
fn changed_line(summary: &v1::PlanSummary) -> String {
    let mode = match summary.mode() {
        v1::Mode::Unspecified => String::new(),
        mode @ (v1::Mode::Standard | v1::Mode::Max) => format!(" in {} mode", text::mode(mode)),
    };
    format!(
        "plan {} {}: {}{mode}, {}\n",
        summary.id,
        text::clean(&summary.name),
        text::plan_state(summary.state()),
        text::progress(summary),
    )
}

/// Reads the status of a request that answers nothing.
fn unit<T>(
    connection: &Connection,
    answer: Result<tonic::Response<T>, tonic::Status>,
) -> Result<(), Failure> {
    answer.map(drop).map_err(|status| connection.failure(&status))
}
