//! The words of states and kinds, taken from the protocol's own names so that the two never differ:
//! `PLAN_STATE_AWAITING_APPROVAL` is `awaiting_approval`.

use wavegate_proto::v1;

macro_rules! word_functions {
    ($($(#[$meta:meta])* $name:ident($kind:ty) = $prefix:literal;)+) => {
        $($(#[$meta])* pub(crate) fn $name(value: $kind) -> String {
            value.as_str_name().trim_start_matches($prefix).to_ascii_lowercase()
        })+
    };
}

word_functions! {
    plan_state(v1::PlanState) = "PLAN_STATE_";
    wave_state(v1::WaveState) = "WAVE_STATE_";
    task_state(v1::TaskState) = "TASK_STATE_";
    lease_state(v1::LeaseState) = "LEASE_STATE_";
    lease_kind(v1::LeaseKind) = "LEASE_KIND_";
    worker_state(v1::WorkerState) = "WORKER_STATE_";
    workspace(v1::WorkspaceKind) = "WORKSPACE_KIND_";
    decision(v1::Decision) = "DECISION_";
    severity(v1::Severity) = "SEVERITY_";
    role(v1::Role) = "ROLE_";
    mode(v1::Mode) = "MODE_";
    tier(v1::Tier) = "TIER_";
    purpose(v1::Purpose) = "PURPOSE_";
    account_state(v1::AccountState) = "ACCOUNT_STATE_";
    cost_source(v1::CostSource) = "COST_SOURCE_";
}
