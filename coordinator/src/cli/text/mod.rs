//! What people read: one file for each thing that is printed, plain text that fits a hundred
//! columns, without colour. Every function here takes the coordinator's answer and gives text; none
//! writes it.

mod agents;
mod commits;
mod diagnostics;
mod estimate;
mod event;
mod plan;
mod plans;
mod quantity;
mod report;
mod table;
mod verdict;
mod words;
mod workers;

#[cfg(test)]
mod tests;

pub(crate) use agents::{accounts, candidates, prompt};
pub(crate) use commits::short_commit;
pub(crate) use diagnostics::diagnostics;
pub(crate) use estimate::{estimate, estimates};
pub(crate) use event::event;
pub(crate) use plan::{DOCTOR, lacks_runner, plan, progress};
pub(crate) use plans::plans;
pub(crate) use quantity::{duration, instant};
pub(crate) use report::{Results, has_unknown_cost, ratio, report};
pub(crate) use table::{clean, counted, cut};
pub(crate) use words::{
    account_state, cost_source, decision, lease_kind, lease_state, mode, plan_state, purpose, role, severity,
    task_state, tier, wave_state, worker_state, workspace,
};
pub(crate) use workers::workers;

/// The width that every listing fits.
pub(crate) const WIDTH: usize = 100;
