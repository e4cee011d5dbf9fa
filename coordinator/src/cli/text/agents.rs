//! What has to do with agents: accounts, prompts, candidates for a Thor outside.

use wavegate_proto::v1;

use super::{
    clean, cut,
    quantity::{clock, duration},
    table::Table,
};

/// One line an account.
pub(crate) fn accounts(accounts: &[v1::Account], now_ms: i64) -> String {
    if accounts.is_empty() {
        return "no accounts: no connected worker has an agent with one\n".to_owned();
    }
    let mut table = Table::uncut(0, ["RUNNER", "ACCOUNT", "STATE", "WORKERS"]);
    for account in accounts {
        let workers = if account.workers.is_empty() { "-".to_owned() } else { account.workers.join(",") };
        table.row([
            cut(&account.runner, 16),
            account.account.clone(),
            account_state(account, now_ms),
            cut(&workers, 30),
        ]);
    }
    let mut text = table.render();
    for account in accounts.iter().filter(|account| !account.note.is_empty()) {
        let line = format!("{} {}: {}", account.runner, account.account, account.note);
        text.push_str(&super::table::wrapped(&line, 2, super::WIDTH));
    }
    text
}

/// `waiting, usage_limit, 4 min left`.
fn account_state(account: &v1::Account, now_ms: i64) -> String {
    let state = super::account_state(account.state());
    let left = u64::try_from(account.until_ms.saturating_sub(now_ms)).unwrap_or(0);
    match (account.reason.as_str(), account.until_ms) {
        ("", _) => state,
        (reason, 0) => format!("{state}, {reason}"),
        (reason, _) => format!("{state}, {reason}, {} left", duration(left)),
    }
}

/// What an agent is told, and by which model it will be asked.
pub(crate) fn prompt(told: &v1::GetPromptResponse) -> String {
    let mut text = match told.model.as_str() {
        "" => String::new(),
        model => format!("model: {}\n", clean(model)),
    };
    if !told.routing.is_empty() {
        text.push_str(&format!("routing: {}\n", clean(&told.routing)));
    }
    text.push_str(&format!("\n{}", lines(&told.prompt)));
    if !told.resume_prompt.is_empty() {
        text.push_str("\n--- to a session that goes on ---\n\n");
        text.push_str(&lines(&told.resume_prompt));
    }
    text
}

/// Each line as it is, but for what would do something to a terminal.
fn lines(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("{}\n", clean(line))).collect()
}

/// One line a candidate.
pub(crate) fn candidates(candidates: &[v1::Candidate]) -> String {
    if candidates.is_empty() {
        return "no candidate waits for a verdict from outside\n".to_owned();
    }
    let mut table = Table::new(0, ["PLAN", "WAVE", "ROUND", "CANDIDATE", "NAME"]);
    for candidate in candidates {
        table.row([
            candidate.plan_id.to_string(),
            cut(&candidate.wave, 20),
            candidate.round.to_string(),
            candidate.candidate.clone(),
            clean(&candidate.plan_name),
        ]);
    }
    table.render()
}

/// What the coordinator's model said to a wave.
pub(crate) fn counsel(recorded: &v1::RecordedCounsel) -> String {
    let counsel = recorded.counsel.clone().unwrap_or_default();
    let purpose = super::purpose(recorded.purpose());
    let mut text = super::table::wrapped(
        &format!("{purpose} by {} at {}: {}", recorded.model, clock(recorded.at_ms), counsel.note),
        2,
        super::WIDTH,
    );
    for task in &counsel.tasks {
        text.push_str(&super::table::wrapped(&format!("{}: {}", task.key, task.guidance), 4, super::WIDTH));
    }
    text
}
