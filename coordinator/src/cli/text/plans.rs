//! The list of plans.

use wavegate_proto::v1;

use super::{mode, plan_state, quantity, table::Table};

/// One line a plan.
pub(crate) fn plans(plans: &[v1::PlanSummary]) -> String {
    if plans.is_empty() {
        return "no plans\n".to_owned();
    }
    let mut table =
        Table::new(0, ["ID", "STATUS", "MODE", "WAVES", "TASKS", "RUNNING", "CREATED (UTC)", "NAME"]);
    for plan in plans {
        table.row([
            plan.id.to_string(),
            plan_state(plan.state()),
            chosen_mode(plan.mode()),
            format!("{}/{}", plan.waves_done, plan.waves),
            format!("{}/{}", plan.tasks_done, plan.tasks),
            plan.tasks_running.to_string(),
            minute(plan.created_ms),
            super::cut(&plan.name, 32),
        ]);
    }
    table.render()
}

/// The mode, or a dash while none is chosen.
pub(super) fn chosen_mode(chosen: v1::Mode) -> String {
    match chosen {
        v1::Mode::Unspecified => "-".to_owned(),
        v1::Mode::Standard | v1::Mode::Max => mode(chosen),
    }
}

/// `2026-11-23 09:05`.
fn minute(at_ms: i64) -> String {
    let instant = quantity::instant(at_ms).unwrap_or_default();
    instant.chars().take(16).collect::<String>().replace('T', " ")
}
