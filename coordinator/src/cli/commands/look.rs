//! `plans`, `show`, `estimate` and `report`: what there is, without changing it.

use std::path::Path;

use wavegate_proto::v1;

use super::with_coordinator;
use crate::cli::{
    args::{PlanArgs, PlansArgs, ReportArgs, ShowArgs, quoted},
    backend::Backend,
    client::Connection,
    desk::{Desk, Link},
    exit::Exit,
    failure::Failure,
    json::{EstimatesJson, PlanJson, PromptJson, ReportJson, SummaryJson},
    text::{self, Results},
};

pub(super) async fn plans<B: Backend>(desk: &Desk<B>, args: &PlansArgs) -> Result<Exit, Failure> {
    with_coordinator(desk, async |link: &Link<B::Embedded>| {
        let plans = link.connection.summaries(args.open).await?;
        if desk.reach.json {
            let plans: Vec<SummaryJson> = plans.into_iter().map(Into::into).collect();
            desk.console.print_json(&plans)?;
        } else {
            desk.console.print(&text::plans(&plans))?;
        }
        Ok(Exit::Done)
    })
    .await
}

pub(super) async fn show<B: Backend>(desk: &Desk<B>, args: &ShowArgs) -> Result<Exit, Failure> {
    with_coordinator(desk, async |link: &Link<B::Embedded>| {
        if let Some(task) = &args.prompt {
            let told = link.connection.prompt(&args.plan, task).await?;
            if desk.reach.json {
                desk.console.print_json(&PromptJson::from(told))?;
            } else {
                desk.console.print(&text::prompt(&told))?;
            }
            return Ok(Exit::Done);
        }
        let plan = link.connection.plan(&args.plan).await?;
        if desk.reach.json {
            desk.console.print_json(&PlanJson::from(plan))?;
        } else {
            desk.console.print(&text::plan(&plan))?;
        }
        Ok(Exit::Done)
    })
    .await
}

pub(super) async fn estimate<B: Backend>(desk: &Desk<B>, args: &PlanArgs) -> Result<Exit, Failure> {
    with_coordinator(desk, async |link: &Link<B::Embedded>| {
        let estimates = link.connection.estimates(&args.plan).await?;
        if desk.reach.json {
            desk.console.print_json(&EstimatesJson::from(estimates))?;
        } else {
            desk.console.print(&text::estimates(&estimates))?;
        }
        Ok(Exit::Done)
    })
    .await
}

pub(super) async fn report<B: Backend>(desk: &Desk<B>, args: &ReportArgs) -> Result<Exit, Failure> {
    with_coordinator(desk, async |link: &Link<B::Embedded>| {
        print_report(desk, &link.connection, &args.plan, args.out.as_deref()).await?;
        Ok(Exit::Done)
    })
    .await
}

/// Prints what a plan took; writes its tree to `out` first, where there is one of each.
pub(in crate::cli) async fn print_report<B: Backend>(
    desk: &Desk<B>,
    connection: &Connection,
    plan: &str,
    out: Option<&Path>,
) -> Result<(), Failure> {
    let report = connection.report(plan).await?;
    let plan = connection.plan(plan).await?;
    let results = results(desk, connection, &plan, out).await?;
    if !desk.reach.json {
        return desk.console.print(&text::report(&report, &results));
    }
    let tree = (!plan.tree.is_empty()).then_some(plan.tree);
    let written = match results {
        Results::Written(dir) => Some(dir),
        Results::Tree { .. } | Results::Nothing | Results::Elsewhere | Results::Repository { .. } => None,
    };
    let repository = plan.repository;
    desk.console.print_json(&ReportJson::new(report, tree, repository, written))
}

async fn results<B: Backend>(
    desk: &Desk<B>,
    connection: &Connection,
    plan: &v1::Plan,
    out: Option<&Path>,
) -> Result<Results, Failure> {
    let id = plan.summary.as_ref().map_or(0, |summary| summary.id);
    let (write, diff) =
        (desk.command(&format!("report {id} --out DIR")), desk.command(&format!("diff {id}")));
    let results = Results::of(plan, write, diff);
    match (&results, out) {
        (Results::Tree { digest, .. }, Some(dir)) => {
            let written = desk.backend.write_tree(connection, digest, dir).await;
            written.map_err(Failure::Backend)?;
            Ok(Results::Written(dir.display().to_string()))
        }
        (_, Some(dir)) => {
            let dir = quoted(&dir.to_string_lossy());
            desk.console.tell(&format!("nothing is written to {dir}: the plan has no tree"));
            Ok(results)
        }
        (_, None) => Ok(results),
    }
}
