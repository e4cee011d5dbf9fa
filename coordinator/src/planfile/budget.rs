//! What may be spent, by a plan or by one task. Owns the amounts and their limits.

use wavegate_engine::spec::Budget;

use super::{
    fields::{Field, Fields},
    level::BUDGET,
    node::Value,
    report::Report,
};

/// More dollars than anyone gives an agent; keeps millionths in their type.
const MAX_USD: f64 = 1e9;

/// The limits of a `budget`; what is wrong is reported and sets no limit.
pub(super) fn read(field: &Field<'_>, report: &mut Report) -> Budget {
    if !matches!(field.node.value, Value::Map(_)) {
        field.wrong("a mapping with `tokens`, `usd` or both", report);
        return Budget::default();
    }
    let Some(budget) = Fields::of(field.node, &field.label, report) else {
        return Budget::default();
    };
    budget.note_unknown(&BUDGET, report);
    Budget {
        // What a database column holds.
        tokens: budget.get("tokens").and_then(|f| f.whole(0..=i64::MAX as u64, report)),
        micro_usd: budget.get("usd").and_then(|f| micro_usd(&f, report)),
    }
}

fn micro_usd(field: &Field<'_>, report: &mut Report) -> Option<u64> {
    let usd = field.node.value.as_number().and_then(|raw| raw.parse().ok());
    let usd = usd.filter(|usd: &f64| (0.0..=MAX_USD).contains(usd));
    if usd.is_none() {
        field.wrong("a number of dollars, such as 2.50", report);
    }
    usd.map(|usd| (usd * 1e6).round() as u64)
}
