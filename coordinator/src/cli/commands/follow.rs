//! `watch` and `logs`: what happens, as it happens.

use wavegate_proto::v1;

use super::with_coordinator;
use crate::cli::{
    args::{LogsArgs, WatchArgs},
    backend::Backend,
    client::Connection,
    desk::{Desk, Link},
    events::{Followed, follow},
    exit::Exit,
    failure::Failure,
    json::EventJson,
    text,
};

/// Prints a plan's decisions until it has ended; exits as the plan did.
pub(super) async fn watch<B: Backend>(desk: &Desk<B>, args: &WatchArgs) -> Result<Exit, Failure> {
    let link = desk.connect_running().await?;
    let request = v1::WatchPlanRequest { plan: args.plan.clone(), after: args.after, forever: args.forever };
    let mut events = follow(&link.connection, request);
    let mut away = false;
    while let Some(followed) = events.recv().await {
        match followed {
            Followed::Event(event) if desk.reach.json => {
                desk.console.print_json_line(&EventJson::from(*event))?;
            }
            Followed::Event(event) => {
                away = false;
                desk.console.print(&format!("{}\n", text::event(&event)))?;
            }
            Followed::Away(failure) => {
                if !std::mem::replace(&mut away, true) {
                    desk.console.tell(&format!("{failure}; trying again"));
                }
            }
            Followed::Failed(failure) => return Err(failure),
        }
    }
    let plan = link.connection.plan(&args.plan).await?;
    Ok(Exit::of_plan(plan.summary.unwrap_or_default().state()))
}

/// Prints the output of one task, or of all with the task's key before each line.
pub(super) async fn logs<B: Backend>(desk: &Desk<B>, args: &LogsArgs) -> Result<Exit, Failure> {
    let work = async |link: &Link<B::Embedded>| {
        print_logs(desk, &link.connection, args).await?;
        Ok(Exit::Done)
    };
    if args.follow {
        let link = desk.connect_running().await?;
        return work(&link).await;
    }
    with_coordinator(desk, work).await
}

async fn print_logs<B: Backend>(
    desk: &Desk<B>,
    connection: &Connection,
    args: &LogsArgs,
) -> Result<(), Failure> {
    let request = v1::ReadLogsRequest {
        plan: args.plan.clone(),
        task: args.task.clone().unwrap_or_default(),
        attempt: args.attempt.unwrap_or(0),
        follow: args.follow,
    };
    let failed = |status: tonic::Status| connection.failure(&status);
    let answer = connection.plans().read_logs(request).await;
    let mut pieces = answer.map_err(failed)?.into_inner();
    let mut prefixer = Prefixer::default();
    while let Some(piece) = pieces.message().await.map_err(failed)? {
        match args.task {
            Some(_) => desk.console.print_bytes(&piece.data)?,
            None => desk.console.print_bytes(&prefixer.lines(&piece))?,
        }
    }
    desk.console.print_bytes(&prefixer.rest())
}

/// Puts the task's key before each line, and keeps the unfinished line of one task from mixing with
/// another's.
#[derive(Debug, Default)]
struct Prefixer {
    unfinished: std::collections::BTreeMap<String, Vec<u8>>,
}

impl Prefixer {
    /// The lines that a piece completes.
    fn lines(&mut self, piece: &v1::ReadLogsResponse) -> Vec<u8> {
        let pending = self.unfinished.entry(piece.task.clone()).or_default();
        pending.extend_from_slice(&piece.data);
        let Some(end) = pending.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let rest = pending.split_off(end + 1);
        let whole = std::mem::replace(pending, rest);
        prefixed(&piece.task, &whole)
    }

    /// The lines that nothing completes any more.
    fn rest(&mut self) -> Vec<u8> {
        let unfinished = std::mem::take(&mut self.unfinished);
        let lines = unfinished.iter().filter(|(_, line)| !line.is_empty());
        lines.flat_map(|(task, line)| prefixed(task, line)).collect()
    }
}

fn prefixed(task: &str, lines: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(lines.len() * 2);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        text.extend_from_slice(task.as_bytes());
        text.extend_from_slice(b" | ");
        text.extend_from_slice(line);
    }
    if !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(task: &str, data: &str) -> v1::ReadLogsResponse {
        v1::ReadLogsResponse { task: task.to_owned(), attempt: 1, data: data.as_bytes().to_vec() }
    }

    #[test]
    fn lines_of_two_tasks_never_mix() {
        let mut prefixer = Prefixer::default();
        let mut text = prefixer.lines(&piece("T1", "one\ntw"));
        text.extend(prefixer.lines(&piece("T2", "three\n")));
        text.extend(prefixer.lines(&piece("T1", "o\nfo")));
        text.extend(prefixer.rest());
        let text = String::from_utf8_lossy(&text);
        assert_eq!(text, "T1 | one\nT2 | three\nT1 | two\nT1 | fo\n");
    }
}
