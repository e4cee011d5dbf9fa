//! `diff` and `checkout`: what a plan and its tasks have made of what they started from.

use std::path::{Path, PathBuf};

use wavegate_proto::v1;

use super::{subject::Subject, with_coordinator};
use crate::cli::{
    args::{CheckoutArgs, DiffArgs, quoted},
    backend::{Backend, CheckedOut, DiffStyle, Difference},
    client::Connection,
    desk::{Desk, Link},
    exit::Exit,
    failure::Failure,
    json::{CheckedOutJson, DiffJson},
    pager, text,
};

/// Prints what was changed; nothing where nothing was, which is said.
pub(super) async fn diff<B: Backend>(desk: &Desk<B>, args: &DiffArgs) -> Result<Exit, Failure> {
    with_coordinator(desk, async |link: &Link<B::Embedded>| {
        let subject = Subject::named(&link.connection, &args.plan, args.task.as_deref()).await?;
        let found = match difference(&subject)? {
            Some(difference) => {
                let repository = subject.plan.repository.clone().unwrap_or_default();
                let style = DiffStyle {
                    stat: args.stat,
                    name_only: args.name_only,
                    colour: desk.console.pages && !desk.reach.json && std::env::var_os("NO_COLOR").is_none(),
                };
                let (connection, stores) = (&link.connection, desk.stores());
                let made =
                    desk.backend.diff(connection, &repository, &difference, style, stores.as_deref()).await;
                made.map_err(Failure::Backend)?
            }
            None => Vec::new(),
        };
        if desk.reach.json {
            let task = subject.task.as_ref().map(|task| task.key.clone());
            let diff = String::from_utf8_lossy(&found).into_owned();
            desk.console.print_json(&DiffJson { plan: subject.plan_id(), task, diff })?;
            return Ok(Exit::Done);
        }
        if found.is_empty() {
            desk.console.tell(&nothing(&subject));
        }
        pager::show(&desk.console, found).await?;
        Ok(Exit::Done)
    })
    .await
}

/// What is to be compared; None where nothing was made.
fn difference(subject: &Subject) -> Result<Option<Difference>, Failure> {
    let plan = &subject.plan;
    Ok(match (plan.workspace(), &subject.task) {
        (v1::WorkspaceKind::Git, None) => first_commit(plan)
            .map(|first| Difference::Commits { state: plan.tree.clone(), first: Some(first) }),
        (v1::WorkspaceKind::Git, Some(task)) => {
            Some(Difference::Commits { state: task.result.clone(), first: None })
                .filter(|_| !task.result.is_empty())
        }
        (v1::WorkspaceKind::Dir, None) => {
            let (from, to) = (plan.base_tree.clone(), plan.tree.clone());
            (from != to).then_some(Difference::Trees { from, to })
        }
        (v1::WorkspaceKind::Dir, Some(task)) => {
            let (from, changes) = (task.result_base.clone(), task.result.clone());
            Some(Difference::Changes { from, changes }).filter(|_| !task.result.is_empty())
        }
        (v1::WorkspaceKind::None | v1::WorkspaceKind::Unspecified, _) => {
            let id = subject.plan_id();
            return Err(Failure::Refused(format!(
                "plan {id} has no workspace of its own (`workspace: none`): nothing is known of what its tasks changed"
            )));
        }
    })
}

/// The first commit that the plan has published; waves may have been published in any order.
fn first_commit(plan: &v1::Plan) -> Option<String> {
    let commits = plan.waves.iter().flat_map(|wave| &wave.commits);
    commits.min_by_key(|commit| commit.at_ms).map(|commit| commit.commit.clone())
}

fn nothing(subject: &Subject) -> String {
    let id = subject.plan_id();
    match &subject.task {
        None => format!("plan {id} has published nothing yet"),
        Some(task) if task.attempts.is_empty() => format!("task {} of plan {id} was not tried yet", task.key),
        Some(task) => format!("task {} of plan {id} has no result that changed anything", task.key),
    }
}

/// Puts a task's result where a person can look at it, apart from anything else.
pub(super) async fn checkout<B: Backend>(desk: &Desk<B>, args: &CheckoutArgs) -> Result<Exit, Failure> {
    with_coordinator(desk, async |link: &Link<B::Embedded>| {
        let (subject, dir) = meant(&link.connection, args).await?;
        let plan_id = subject.plan_id();
        let Subject { plan, task: Some(task) } = &subject else {
            return Err(Failure::Usage(format!(
                "which task of plan {plan_id}? `wavegate show {plan_id}` lists them"
            )));
        };
        if plan.workspace() != v1::WorkspaceKind::Git {
            return Err(Failure::Refused(format!(
                "plan {plan_id} works on no repository (`workspace: {}`): there is no branch to check out",
                text::workspace(plan.workspace())
            )));
        }
        if task.result.is_empty() {
            return Err(Failure::Refused(nothing(&subject)));
        }
        let stores = desk.stores();
        let (dir, stores) = (dir.as_deref(), stores.as_deref());
        let made = desk.backend.checkout(&link.connection, plan, &task.key, &task.result, dir, stores).await;
        print_checked_out(desk, &subject, task, made.map_err(Failure::Backend)?)
    })
    .await
}

/// The task, and the directory: `PLAN TASK [DIR]`, or `PLAN/TASK [DIR]`.
async fn meant(connection: &Connection, args: &CheckoutArgs) -> Result<(Subject, Option<PathBuf>), Failure> {
    let named = Subject::named(connection, &args.plan, args.task.as_deref()).await;
    match (named, &args.task, &args.dir) {
        (Ok(subject), _, dir) => Ok((subject, dir.clone())),
        (Err(failure @ Failure::Refused(_)), Some(dir), None) => {
            match Subject::short(connection, &args.plan).await? {
                Some(subject) => Ok((subject, Some(Path::new(dir).to_owned()))),
                None => Err(failure),
            }
        }
        (Err(failure), ..) => Err(failure),
    }
}

fn print_checked_out<B: Backend>(
    desk: &Desk<B>,
    subject: &Subject,
    task: &v1::Task,
    made: CheckedOut,
) -> Result<Exit, Failure> {
    if desk.reach.json {
        desk.console.print_json(&CheckedOutJson::new(subject.plan_id(), &task.key, made))?;
        return Ok(Exit::Done);
    }
    let dir = made.dir.to_string_lossy();
    let commit = text::short_commit(&made.commit);
    desk.console.print(&format!("{dir}: {} at {commit}\n", made.branch))?;
    if let Some(base) = &made.base {
        let (dir, base) = (quoted(&dir), text::short_commit(base));
        desk.console.tell(&format!("what the task changed: `git -C {dir} diff {base} HEAD`"));
    }
    Ok(Exit::Done)
}
