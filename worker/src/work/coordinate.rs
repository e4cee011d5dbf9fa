//! Counsel: the coordinator's own model looks at the plan's tree and answers in a fixed form. What it
//! changes is dropped with its workspace.

use std::time::Duration;

use serde::Deserialize;
use wavegate_proto::v1;

use super::{
    Ending, WorkContext,
    agent::{self, Place},
    failed, report_of,
    task::{report_of_agent, sorted, told},
    workspace,
};
use crate::runner::environment;

/// The form of the answer.
#[derive(Deserialize)]
struct Answer {
    note: String,
    #[serde(default)]
    tasks: Vec<Guidance>,
}

#[derive(Deserialize)]
struct Guidance {
    key: String,
    guidance: String,
}

pub(super) async fn perform(work: &v1::Work, counsel: v1::CoordinateWork, context: &WorkContext) -> Ending {
    match counsel_of(work, &counsel, context).await {
        Ok(report) => report_of(report),
        Err(ending) => ending,
    }
}

async fn counsel_of(
    work: &v1::Work,
    counsel: &v1::CoordinateWork,
    context: &WorkContext,
) -> Result<v1::Report, Ending> {
    let Some(ask) = &counsel.agent else {
        return Err(Ending::Unable("the grant names no agent to ask".to_owned()));
    };
    let workspace = workspace(context, "counsel", counsel.workspace.as_ref()).await?;
    let env = environment::of_command(sorted(&work.vars), &[], told(work, context, "")).map_err(failed)?;
    let aside = workspace.aside_folder("agent").map_err(failed)?;
    let limit = (counsel.timeout_ms > 0).then(|| Duration::from_millis(counsel.timeout_ms));
    let place = Place { cwd: &workspace.files(), aside: &aside, env: &env, limit };
    let asked = agent::ask(context, ask, place).await?;
    let mut report = report_of_agent(&asked);
    if report.outcome() == v1::Outcome::Succeeded {
        match serde_json::from_str::<Answer>(&report.output_json) {
            Ok(answer) => {
                let tasks = answer.tasks.into_iter();
                report.summary.clone_from(&answer.note);
                report.counsel = Some(v1::Counsel {
                    note: answer.note,
                    tasks: tasks.map(|it| v1::TaskCounsel { key: it.key, guidance: it.guidance }).collect(),
                });
            }
            Err(error) => {
                report.set_outcome(v1::Outcome::Nonsense);
                report.summary = format!("the answer is no counsel: {error}");
            }
        }
    }
    workspace.remove().await;
    Ok(report)
}
