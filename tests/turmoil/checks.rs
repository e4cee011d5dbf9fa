//! What must hold when a plan is done and everything has been heard.

use std::{collections::BTreeSet, fs, path::Path};

use crate::{
    agents::output_of,
    book::{How, Run},
    world::{Setting, TICK, World},
};

/// Every invariant that can be told at the end; what is broken, in words.
pub(crate) fn check(world: &World, setting: &Setting) -> Result<(), String> {
    let mut pages = world.book.pages();
    pages.check_acknowledged();
    let mut broken = std::mem::take(&mut pages.broken);
    let mut need = |holds: bool, what: String| {
        if !holds {
            broken.push(what);
        }
    };
    let done = pages.count("SELECT count(*) FROM wg_tasks WHERE state = 'done'");
    need(done == setting.plan.tasks(), format!("I7: {done} tasks are done"));
    let plans = pages.count("SELECT count(*) FROM wg_plans WHERE state = 'done'");
    need(plans == 1, format!("I10: {plans} plans are done"));
    let twice = pages.texts(
        "SELECT l.task_ix || ' attempt ' || l.attempt FROM wg_results r JOIN wg_leases l ON l.id = r.lease_id \
         WHERE r.accepted = 1 AND l.kind = 'task' GROUP BY l.plan_id, l.task_ix, l.attempt HAVING count(*) > 1",
    );
    need(twice.is_empty(), format!("I5: more than one result is accepted: {twice:?}"));

    let accepted = pages.texts(
        "SELECT r.lease_id FROM wg_results r JOIN wg_leases l ON l.id = r.lease_id \
         WHERE r.accepted = 1 AND l.kind = 'task'",
    );
    let reported: BTreeSet<_> =
        pages.runs.iter().filter(|run| is_reported(run)).map(|run| run.lease.clone()).collect();
    let invented: Vec<_> = accepted.difference(&reported).collect();
    need(invented.is_empty(), format!("accepted, and no stand-in reported: {invented:?}"));
    let refused: BTreeSet<_> = (1..=setting.workers)
        .flat_map(|worker| names(&world.state_dir(worker).join("spool/refused")))
        .collect();
    let both: Vec<_> = accepted.intersection(&refused).collect();
    need(both.is_empty(), format!("I5: accepted and refused: {both:?}"));
    for run in pages.runs.iter().filter(|run| is_reported(run)) {
        let is_known = accepted.contains(&run.lease) || refused.contains(&run.lease);
        need(
            is_known || is_killed_at_its_end(run, &pages.trace),
            format!("I8: the result is gone of {run:?}"),
        );
    }
    let damaged: Vec<_> =
        outputs(&pages.sql).into_iter().filter(|(lease, output)| !is_whole(lease, output)).collect();
    need(damaged.is_empty(), format!("I8: results are not what was reported: {:?}", damaged.first()));
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n")) }
}

/// The reports that wait in the spools of all workers.
pub(crate) fn owed(world: &World, workers: usize) -> usize {
    (1..=workers).map(|worker| names(&world.state_dir(worker).join("spool")).len()).sum()
}

fn is_reported(run: &Run) -> bool {
    matches!(run.ended, Some((_, How::Reported)))
}

/// Whether its worker was killed in the very step in which it ended: its driver may not have heard of it.
fn is_killed_at_its_end(run: &Run, trace: &[String]) -> bool {
    let end = run.ended.map_or(0, |(end, _)| end);
    let tick = u64::try_from(TICK.as_millis()).unwrap_or(u64::MAX);
    let crash = format!("worker {} crashes", run.worker);
    let at =
        |line: &String| line.split_whitespace().next().and_then(|at| at.parse::<u64>().ok()).unwrap_or(0);
    trace.iter().any(|line| line.contains(&crash) && (end..=end + tick).contains(&at(line)))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "report"));
    paths.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect()
}

fn outputs(sql: &rusqlite::Connection) -> Vec<(String, String)> {
    let mut statement = sql
        .prepare(
            "SELECT r.lease_id, r.output_json FROM wg_results r JOIN wg_leases l ON l.id = r.lease_id \
             WHERE r.accepted = 1 AND l.kind = 'task'",
        )
        .expect("a statement");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
    rows.collect::<Result<_, _>>().expect("results")
}

fn is_whole(lease: &str, output: &str) -> bool {
    output == output_of(lease, true) || output == output_of(lease, false)
}
