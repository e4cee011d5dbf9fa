//! What the program's exit code says. Scripts rely on these numbers.

use std::process::ExitCode;

use wavegate_proto::v1::PlanState;

/// The plan is done, or the command did what it was asked to.
pub const DONE: u8 = 0;
/// Anything that no other code stands for: no coordinator, a refused request, a full disk.
pub const FAILED: u8 = 1;
/// The command line, the config file or the plan file is wrong, or no mode was chosen. Nothing was
/// started.
pub const USAGE: u8 = 2;
/// The plan is blocked and waits for a person's decision.
pub const BLOCKED: u8 = 3;
/// The plan is paused.
pub const PAUSED: u8 = 4;
/// The plan was cancelled.
pub const CANCELLED: u8 = 5;
/// Interrupted by Ctrl-C; `wavegate run --resume` goes on.
pub const INTERRUPTED: u8 = 130;

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    /// What it looked at is wrong: `check`.
    Usage,
    Blocked,
    Paused,
    Cancelled,
    Interrupted,
    /// A plan that is still running or awaits approval, where its end was asked for.
    Unfinished,
}

impl Exit {
    /// How a plan in this state lets `run` and `watch` end.
    pub(crate) const fn of_plan(state: PlanState) -> Self {
        match state {
            PlanState::Done => Self::Done,
            PlanState::Blocked => Self::Blocked,
            PlanState::Paused => Self::Paused,
            PlanState::Cancelled => Self::Cancelled,
            PlanState::Unspecified | PlanState::AwaitingApproval | PlanState::Running => Self::Unfinished,
        }
    }

    /// The number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => DONE,
            Self::Usage => USAGE,
            Self::Blocked => BLOCKED,
            Self::Paused => PAUSED,
            Self::Cancelled => CANCELLED,
            Self::Interrupted => INTERRUPTED,
            Self::Unfinished => FAILED,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_plan_state_has_the_exit_code_that_scripts_rely_on() {
        let codes = [
            (PlanState::Done, 0),
            (PlanState::Blocked, 3),
            (PlanState::Paused, 4),
            (PlanState::Cancelled, 5),
            (PlanState::Running, 1),
            (PlanState::AwaitingApproval, 1),
        ];
        for (state, code) in codes {
            assert_eq!(Exit::of_plan(state).code(), code, "{state:?}");
        }
        assert_eq!(Exit::Interrupted.code(), 130);
        assert_eq!(Exit::Usage.code(), 2);
    }
}
