//! `candidates` and `verdict`: a Thor outside of the workers.

use std::path::Path;

use wavegate_proto::v1;

use super::{print_changed, unit, with_coordinator};
use crate::cli::{
    actor,
    args::{CandidatesArgs, VerdictArgs, quoted},
    backend::Backend,
    client::Connection,
    desk::{Desk, Link},
    exit::Exit,
    failure::Failure,
    json::CandidateJson,
    text,
};

pub(super) async fn candidates<B: Backend>(desk: &Desk<B>, args: &CandidatesArgs) -> Result<Exit, Failure> {
    with_coordinator(desk, async |link: &Link<B::Embedded>| {
        let found = waiting(&link.connection, args.plan.as_deref().unwrap_or_default()).await?;
        if let (Some(plan), Some(out)) = (&args.plan, &args.out) {
            write_out(desk, &link.connection, plan, &found, out).await?;
        }
        if desk.reach.json {
            let found: Vec<CandidateJson> = found.into_iter().map(Into::into).collect();
            desk.console.print_json(&found)?;
        } else {
            desk.console.print(&text::candidates(&found))?;
        }
        Ok(Exit::Done)
    })
    .await
}

pub(super) async fn verdict<B: Backend>(desk: &Desk<B>, args: &VerdictArgs) -> Result<Exit, Failure> {
    with_coordinator(desk, async |link: &Link<B::Embedded>| {
        let found = waiting(&link.connection, &args.plan).await?;
        let candidate = found.into_iter().find(|candidate| candidate.wave == args.wave);
        let candidate = candidate.ok_or_else(|| {
            Failure::Usage(format!(
                "wave {} of {} does not wait for a verdict from outside",
                args.wave, args.plan
            ))
        })?;
        let plan = link.connection.plan(&args.plan).await?;
        let tasks: Vec<_> =
            plan.waves.iter().flat_map(|wave| &wave.tasks).map(|task| task.key.as_str()).collect();
        let request = v1::SubmitVerdictRequest {
            plan: args.plan.clone(),
            wave: args.wave.clone(),
            round: candidate.round,
            candidate: args.candidate.clone().unwrap_or(candidate.candidate),
            verdict: Some(v1::Verdict {
                decision: args.decision.into_proto().into(),
                findings: args.findings.iter().map(|text| finding(text, &tasks)).collect(),
                ..v1::Verdict::default()
            }),
            by: actor::by(),
        };
        let answer = link.connection.thor().submit_verdict(request).await;
        unit(&link.connection, answer)?;
        print_changed(desk, link, &args.plan, Vec::new()).await
    })
    .await
}

/// Each candidate of the plan in a folder with its wave's name.
async fn write_out<B: Backend>(
    desk: &Desk<B>,
    connection: &Connection,
    plan: &str,
    found: &[v1::Candidate],
    out: &Path,
) -> Result<(), Failure> {
    let plan = connection.plan(plan).await?;
    for candidate in found {
        let dir = out.join(folder_of(&candidate.wave));
        let (state, stores) = (&candidate.candidate, desk.stores());
        let written = match plan.workspace() {
            v1::WorkspaceKind::Dir => desk.backend.write_tree(connection, state, &dir).await,
            v1::WorkspaceKind::Git => {
                let (name, stores) = (folder_of(&candidate.wave), stores.as_deref());
                desk.backend.checkout(connection, &plan, &name, state, Some(&dir), stores).await.map(drop)
            }
            v1::WorkspaceKind::None | v1::WorkspaceKind::Unspecified => {
                desk.console.tell(&format!(
                    "nothing is written to {}: the plan has no tree",
                    quoted(&dir.to_string_lossy())
                ));
                continue;
            }
        };
        written.map_err(Failure::Backend)?;
        desk.console.tell(&format!("{} is in {}", candidate.wave, quoted(&dir.to_string_lossy())));
    }
    Ok(())
}

/// A wave's key as the name of one folder, whatever is in it.
fn folder_of(wave: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    wave.chars().map(|c| if plain(c) { c } else { '_' }).collect()
}

async fn waiting(connection: &Connection, plan: &str) -> Result<Vec<v1::Candidate>, Failure> {
    let request = v1::ListCandidatesRequest { plan: plan.to_owned() };
    let answer = connection.thor().list_candidates(request).await;
    answer.map(|answer| answer.into_inner().candidates).map_err(|status| connection.failure(&status))
}

/// `T1-01=it lacks a test` is about the task; what begins with no task's key is about the wave.
fn finding(text: &str, tasks: &[&str]) -> v1::Finding {
    match text.split_once('=') {
        Some((task, about)) if tasks.contains(&task) => {
            v1::Finding { task: task.to_owned(), text: about.to_owned() }
        }
        _ => v1::Finding { task: String::new(), text: text.to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::{finding, folder_of};

    #[test]
    fn a_wave_is_one_folder_whatever_its_key() {
        assert_eq!(["W1", "../../etc", "a.b"].map(folder_of), ["W1", "______etc", "a_b"]);
    }

    #[test]
    fn a_finding_names_a_task_only_by_its_key() {
        let about = |text| {
            let finding = finding(text, &["T1-01"]);
            (finding.task, finding.text)
        };
        assert_eq!(about("T1-01=no test"), ("T1-01".to_owned(), "no test".to_owned()));
        assert_eq!(about("x=1 is wrong"), (String::new(), "x=1 is wrong".to_owned()));
    }
}
