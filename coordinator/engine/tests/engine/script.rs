//! The steps of a random script: what persons, workers and time do.

use wavegate_engine::{Decision, Mode, Outcome, ReleaseReason, Resolution};

use crate::environment::PlanBuilder;

/// One step of a script. Numbers choose among what there is, modulo.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Submit(Box<PlanBuilder>, Mode),
    SetMode(u8, Mode),
    Sql(u8, Option<&'static str>),
    Pause(u8),
    Resume(u8, u64),
    Cancel(u8),
    Retry(u8, u8),
    Resolve(u8, Resolution, bool),
    External(u8, Decision, bool),
    Drain(u8),
    Forget(u8),
    /// Somebody mended an account.
    Clear(u8),
    Restart,
    RollBack,
    Poison(u8),
    Pass(u64),
    Jump(u64),
    Worker(u8, Act),
}

#[derive(Debug, Clone)]
pub(crate) enum Act {
    Connect,
    /// Its process dies and starts again.
    Crash,
    /// A second process with its identity.
    Twin,
    Disconnect,
    Heartbeat,
    Deliver,
    Begin(u8),
    Spend(u8, u64),
    End(u8, Ending),
    GiveBack(u8, ReleaseReason),
    Drain,
    Lie(u8, Lie),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Ending {
    Good,
    Bad,
    Skip,
    /// A conflict, or a verdict of this kind; else a timeout.
    Judged(Decision),
    Nonsense,
    /// The account that it spends from is of no use, for so long.
    Trouble(Outcome, Option<u64>),
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Lie {
    Finished,
    Released,
    Started,
    /// It holds nothing.
    Empty,
    /// It holds what it never was given.
    Greedy,
}
