//! The ledger: what was spent, by lease and model, and summed by model and by account.

use std::collections::BTreeMap;

use wavegate_proto::v1;

use super::super::{
    cut, lease_kind,
    quantity::{dollars, grouped},
    table::Table,
};

/// Lines that are shown one by one; of more only the sums are.
const MOST_LINES: usize = 60;

/// Everything that agents spent; empty where none did.
pub(super) fn text(report: &v1::GetReportResponse) -> String {
    if report.ledger.is_empty() {
        return String::new();
    }
    let mut text = String::from("\n");
    if report.ledger.len() <= MOST_LINES {
        text.push_str(&lines(&report.ledger));
        text.push('\n');
    }
    text.push_str(&sums("MODEL", &report.ledger, |line| usage(line).model));
    text.push('\n');
    text.push_str(&sums("ACCOUNT", &report.ledger, |line| format!("{} {}", line.runner, line.account)));
    if !report.prices_date.is_empty()
        && report.ledger.iter().any(|it| it.cost_source() == v1::CostSource::Prices)
    {
        text.push_str(&format!("  costs with * are tokens by the prices of {}\n", report.prices_date));
    }
    if report.ledger.iter().any(|line| usage(line).cost_micro_usd.is_none()) {
        text.push_str("  unknown: no price is known for that model, and its agent told none\n");
    }
    text
}

fn usage(line: &v1::LedgerLine) -> v1::ModelUsage {
    line.usage.clone().unwrap_or_default()
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
            cut(&usage.model, 28),
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

fn sums(head: &str, ledger: &[v1::LedgerLine], name: impl Fn(&v1::LedgerLine) -> String) -> String {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for line in ledger {
        let usage = usage(line);
        let sum = sums.entry(name(line)).or_default();
        sum.input += usage.tokens_in + usage.cache_write;
        sum.output += usage.tokens_out;
        sum.cached += usage.cache_read;
        sum.calls += u64::from(usage.calls);
        sum.cost += usage.cost_micro_usd.unwrap_or(0);
        sum.has_unknown |= usage.cost_micro_usd.is_none();
    }
    let mut table = Table::new(2, [head, "IN", "OUT", "CACHED", "CALLS", "COST"]);
    for (name, sum) in sums {
        let cost = match (sum.cost, sum.has_unknown) {
            (0, true) => "unknown".to_owned(),
            (cost, true) => format!("{} and unknown", dollars(cost)),
            (cost, false) => dollars(cost),
        };
        table.row([
            cut(&name, 40),
            grouped(sum.input, ','),
            grouped(sum.output, ','),
            grouped(sum.cached, ','),
            sum.calls.to_string(),
            cost,
        ]);
    }
    table.render()
}
