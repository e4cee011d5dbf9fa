//! `check` and `submit`: plan files before approval; and `backup`, a file as well.

use wavegate_proto::v1;

use super::with_coordinator;
use crate::cli::{
    args::{BackupArgs, CheckArgs, SubmitArgs},
    backend::{Backend, Backup},
    desk::{Desk, Link},
    exit::Exit,
    failure::Failure,
    json::{BackupJson, ChangedPlanJson, CheckJson, DiagnosticJson, PlanJson},
    plan_file::{PlanFile, is_sound},
    text,
};

/// Says everything that is wrong with a file and what it names; needs no coordinator and stores nothing.
pub(super) async fn check<B: Backend>(desk: &Desk<B>, args: &CheckArgs) -> Result<Exit, Failure> {
    let file = PlanFile::read(desk, &args.file.file, &args.file.set, args.prices.as_deref()).await?;
    let answer = file.checked.answer;
    let exit = match is_sound(&answer.diagnostics) {
        true => Exit::Done,
        false => Exit::Usage,
    };
    if desk.reach.json {
        desk.console.print_json(&CheckJson::from(answer))?;
        return Ok(exit);
    }
    desk.console.print(&text::diagnostics(&answer.diagnostics))?;
    if let Some(outline) = &answer.outline {
        desk.console.print(&outline_text(outline))?;
    }
    Ok(exit)
}

/// Copies the database; needs no coordinator, and disturbs none.
pub(super) async fn backup<B: Backend>(desk: &Desk<B>, args: &BackupArgs) -> Result<Exit, Failure> {
    let made = desk.backend.back_up(&desk.reach.database(), &args.file).await.map_err(Failure::Backend)?;
    if desk.reach.json {
        let (file, Backup { bytes, artifacts, logs }) = (args.file.display().to_string(), made);
        desk.console.print_json(&BackupJson { file, bytes, artifacts, logs })?;
        return Ok(Exit::Done);
    }
    let file = args.file.display();
    desk.console.print(&format!(
        "{file}: {} bytes; {file}.d: artifacts {}, logs {}\n",
        made.bytes, made.artifacts, made.logs,
    ))?;
    Ok(Exit::Done)
}

fn outline_text(outline: &v1::PlanOutline) -> String {
    format!(
        "{}: {}, {}\n{}",
        text::clean(&outline.name),
        text::counted(outline.waves, "wave", "waves"),
        text::counted(outline.tasks, "task", "tasks"),
        text::estimates(&outline.estimates.clone().unwrap_or_default()),
    )
}

/// Stores a plan, which then awaits approval.
pub(super) async fn submit<B: Backend>(desk: &Desk<B>, args: &SubmitArgs) -> Result<Exit, Failure> {
    let file = PlanFile::read(desk, &args.file.file, &args.file.set, None).await?;
    file.require_sound(desk)?;
    with_coordinator(desk, async |link: &Link<B::Embedded>| {
        let answer = file.submit(desk, link, &args.budget).await?;
        print_submitted(desk, link, answer).await
    })
    .await
}

async fn print_submitted<B: Backend>(
    desk: &Desk<B>,
    link: &Link<B::Embedded>,
    answer: v1::SubmitPlanResponse,
) -> Result<Exit, Failure> {
    if desk.reach.json {
        let plan = link.connection.plan(&answer.plan_id.to_string()).await?;
        let warnings: Vec<DiagnosticJson> = answer.warnings.into_iter().map(Into::into).collect();
        let plan = PlanJson::from(plan);
        desk.console.print_json(&ChangedPlanJson { plan, warnings })?;
        return Ok(Exit::Done);
    }
    desk.console.print(&format!(
        "plan {} {}: awaiting_approval\n",
        answer.plan_id,
        text::clean(&answer.name)
    ))?;
    let approve = desk.command(&format!("approve {} --mode standard|max", answer.plan_id));
    desk.console.tell(&format!("to start it: `{approve}`"));
    Ok(Exit::Done)
}
