//! The ledger: what was spent, by lease and model, and summed by model and by account.

use std::collections::BTreeMap;

use wavegate_proto::v1;

use super::super::{
    cut, lease_kind,
    quantity::{cost, dollars, grouped},
    table::Table,
};

/// Lines that are shown one by one; more are in the sums, and in what programs read.
const MOST_LINES: usize = 60;

/// Everything that agents spent; empty where none did.
pub(super) fn text(report: &v1::GetReportResponse) -> String {
    if report.ledger.is_empty() {
        return String::new();
    }
    let mut text = String::from("\n");
    let shown = &report.ledger[..report.ledger.len().min(MOST_LINES)];
    text.push_str(&lines(shown));
    if let more @ 1.. = report.ledger.len() - shown.len() {
        text.push_str(&format!("  and {more} more: --json lists every line, and the sums hold them all\n"));
    }
    text.push('\n');
    text.push_str(&sums("WAVE", &report.ledger, |line| in_wave(report, line)));
    text.push('\n');
    text.push_str(&sums("MODEL", &report.ledger, |line| (0, usage(line).model)));
    text.push('\n');
    let account = |line: &v1::LedgerLine| format!("{} {}", line.runner, line.account);
    text.push_str(&sums("ACCOUNT", &report.ledger, |line| (0, account(line))));
    if !report.prices_date.is_empty()
        && report.ledger.iter().any(|it| it.cost_source() == v1::CostSource::Prices)
    {
        text.push_str(&format!("  costs with * are tokens by the prices of {}\n", report.prices_date));
    }
    if report.ledger.iter().any(|line| is_unknown(&usage(line))) {
        text.push_str("  unknown: no price is known for that model, and its agent told none\n");
    }
    text
}

fn usage(line: &v1::LedgerLine) -> v1::ModelUsage {
    line.usage.clone().unwrap_or_default()
}

/// Whose work of which wave, and where that stands in order.
fn in_wave(report: &v1::GetReportResponse, line: &v1::LedgerLine) -> (usize, String) {
    let wave = report.waves.iter().position(|wave| wave.key == line.wave).unwrap_or(report.waves.len());
    let (at, who) = match line.kind() {
        v1::LeaseKind::Task => (0, "tasks"),
        v1::LeaseKind::Integrate => (1, "integration"),
        v1::LeaseKind::Validate => (2, "Thor"),
        v1::LeaseKind::Coordinate => (3, "coordinator"),
        v1::LeaseKind::Publish => (4, "publishing"),
        v1::LeaseKind::Unspecified => (5, "other"),
    };
    (wave * 6 + at, format!("{} {who}", line.wave))
}

/// Whether something was used whose cost nobody knows.
pub(super) fn is_unknown(usage: &v1::ModelUsage) -> bool {
    let tokens = [usage.tokens_in, usage.tokens_out, usage.cache_read, usage.cache_write];
    usage.cost_micro_usd.is_none() && tokens.iter().any(|tokens| *tokens > 0)
}

/// A dash where nobody said.
fn or_dash(name: &str) -> &str {
    if name.trim().is_empty() { "-" } else { name }
}

fn lines(ledger: &[v1::LedgerLine]) -> String {
    let mut table = Table::new(2, ["WORK", "TRY", "MODEL", "IN", "OUT", "CACHED", "CALLS", "COST"]);
    for line in ledger {
        let usage = usage(line);
        let (work, attempt) = match line.task.as_str() {
            "" => (format!("{} {}", lease_kind(line.kind()), line.wave), "-".to_owned()),
            task => (task.to_owned(), line.attempt.to_string()),
        };
        let star = if line.cost_source() == v1::CostSource::Prices { "*" } else { "" };
        table.row([
            cut(&work, 24),
            attempt,
            cut(or_dash(&usage.model), 28),
            grouped(usage.tokens_in + usage.cache_write, ','),
            grouped(usage.tokens_out, ','),
            grouped(usage.cache_read, ','),
            usage.calls.to_string(),
            usage
                .cost_micro_usd
                .map_or_else(|| "unknown".to_owned(), |cost| format!("{}{star}", dollars(cost))),
        ]);
    }
    table.render()
}

/// What is spent under one name.
#[derive(Default)]
struct Sum {
    input: u64,
    output: u64,
    cached: u64,
    calls: u64,
    cost: u64,
    has_unknown: bool,
}

/// By a place in order and a name.
fn sums(head: &str, ledger: &[v1::LedgerLine], name: impl Fn(&v1::LedgerLine) -> (usize, String)) -> String {
    let mut sums: BTreeMap<(usize, String), Sum> = BTreeMap::new();
    for line in ledger {
        let usage = usage(line);
        let sum = sums.entry(name(line)).or_default();
        sum.input += usage.tokens_in + usage.cache_write;
        sum.output += usage.tokens_out;
        sum.cached += usage.cache_read;
        sum.calls += u64::from(usage.calls);
        sum.cost += usage.cost_micro_usd.unwrap_or(0);
        sum.has_unknown |= is_unknown(&usage);
    }
    let mut table = Table::uncut(2, [head, "IN", "OUT", "CACHED", "CALLS", "COST"]);
    for ((_, name), sum) in sums {
        table.row([
            or_dash(&name).to_owned(),
            grouped(sum.input, ','),
            grouped(sum.output, ','),
            grouped(sum.cached, ','),
            sum.calls.to_string(),
            cost(Some(sum.cost), sum.has_unknown),
        ]);
    }
    table.render()
}
