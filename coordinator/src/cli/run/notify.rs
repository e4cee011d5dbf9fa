//! The command that a person wants run when a plan needs them or is done.

use std::{
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{process::Command, time::timeout};
use wavegate_proto::v1;

use crate::cli::{console::Console, text};

/// A notification that takes longer would keep the result from the person.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the command with what happened in its environment. That it fails is told and changes
/// nothing. Only a plan that is blocked, paused or done is worth it.
pub(super) async fn notify(console: &Console, command: &str, plan: &v1::PlanSummary) {
    let worth = [v1::PlanState::Blocked, v1::PlanState::Paused, v1::PlanState::Done];
    if !worth.contains(&plan.state()) {
        return;
    }
    match timeout(PATIENCE, call(command, plan)).await {
        Ok(Ok(status)) if status.success() => {}
        Ok(Ok(status)) => console.tell(&format!("--notify: the command ended with {status}")),
        Ok(Err(error)) => console.tell(&format!("--notify: {error}")),
        Err(_) => console
            .tell(&format!("--notify: the command still runs after {} s and was ended", PATIENCE.as_secs())),
    }
}

async fn call(command: &str, plan: &v1::PlanSummary) -> io::Result<ExitStatus> {
    Command::new("sh")
        .args(["-c", command])
        .env("WAVEGATE_PLAN", plan.id.to_string())
        .env("WAVEGATE_STATUS", text::plan_state(plan.state()))
        .env("WAVEGATE_REASON", &plan.reason)
        .stdin(Stdio::null())
        // Our own stdout is for the report.
        .stdout(io::stderr())
        .kill_on_drop(true)
        .status()
        .await
}
