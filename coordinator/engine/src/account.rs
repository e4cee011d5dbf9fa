//! The accounts that agents spend from. Owns whether one can be used now: a limit, an overload or a
//! rejected credential is the account's trouble, never a task's failure. Decides nothing about leases.
//!
//! After a trouble an account is tried by one lease alone; when that lease is answered, the rest may
//! follow. Only rejected credentials wait for a person (or for a worker that starts anew).

use std::{collections::BTreeMap, fmt};

use crate::{
    config::Timings,
    ids::{LeaseId, Moment, Mono, Utc},
    row::Outcome,
    state::ReleaseReason,
    words::words,
};

/// An account of one runner, by its fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    pub runner: String,
    pub fingerprint: String,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} account {}", self.runner, self.fingerprint)
    }
}

words! {
    /// What keeps an account from being used.
    pub enum Trouble {
        UsageLimit = "usage_limit",
        Overloaded = "overloaded",
        Unreachable = "unreachable",
        BadCredentials = "bad_credentials",
    }
}

impl Trouble {
    /// The trouble that an outcome tells of, if it is one.
    #[must_use]
    pub const fn of(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::UsageLimit => Some(Self::UsageLimit),
            Outcome::Overloaded => Some(Self::Overloaded),
            Outcome::Unreachable => Some(Self::Unreachable),
            Outcome::BadCredentials => Some(Self::BadCredentials),
            Outcome::Succeeded
            | Outcome::Failed
            | Outcome::TimedOut
            | Outcome::Skipped
            | Outcome::Conflict
            | Outcome::Denied
            | Outcome::TurnLimit
            | Outcome::BudgetLimit
            | Outcome::Refused
            | Outcome::Killed
            | Outcome::Nonsense
            | Outcome::TargetMoved => None,
        }
    }

    /// What happened, as the end of a sentence about the account.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::UsageLimit => "reached its usage limit",
            Self::Overloaded => "met an overloaded provider",
            Self::Unreachable => "cannot reach its provider",
            Self::BadCredentials => "is not accepted",
        }
    }

    /// Why a lease that met it ended.
    #[must_use]
    pub const fn release(self) -> ReleaseReason {
        match self {
            Self::UsageLimit => ReleaseReason::UsageLimit,
            Self::Overloaded => ReleaseReason::Overloaded,
            Self::Unreachable => ReleaseReason::Unreachable,
            Self::BadCredentials => ReleaseReason::BadCredentials,
        }
    }
}

/// Whether an account can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountState {
    Open,
    /// Until that time, then it is tried. Time moves it on.
    Waiting {
        trouble: Trouble,
        until: Utc,
    },
    /// One lease tries it; none does while that is absent. The lease's answer moves it on.
    Probing {
        trouble: Trouble,
        lease: Option<LeaseId>,
    },
    /// Its credentials are not accepted. A person moves it on, or a worker with it that starts anew.
    Refused,
}

impl AccountState {
    /// The word for the state.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Waiting { .. } => "waiting",
            Self::Probing { .. } => "probing",
            Self::Refused => "refused",
        }
    }

    /// What keeps it from being used.
    #[must_use]
    pub const fn trouble(self) -> Option<Trouble> {
        match self {
            Self::Open => None,
            Self::Waiting { trouble, .. } | Self::Probing { trouble, .. } => Some(trouble),
            Self::Refused => Some(Trouble::BadCredentials),
        }
    }

    /// The state that these words, this time and this lease name.
    #[must_use]
    pub fn from_words(name: &str, trouble: &str, until: Option<Utc>, lease: Option<LeaseId>) -> Option<Self> {
        Some(match name {
            "open" => Self::Open,
            "waiting" => Self::Waiting { trouble: Trouble::from_word(trouble)?, until: until? },
            "probing" => Self::Probing { trouble: Trouble::from_word(trouble)?, lease },
            "refused" => Self::Refused,
            _ => return None,
        })
    }
}

/// An account's durable state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    pub account: Account,
    pub state: AccountState,
    /// Troubles in a row.
    pub tries: u32,
    /// What the agent said of the trouble.
    pub note: String,
}

/// Every account that ever was in trouble; the others are open.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accounts {
    rows: BTreeMap<Account, AccountRow>,
    /// When the waits are over, by the clock that nobody sets: what a row says is for records and for the
    /// next start.
    due: BTreeMap<Account, Mono>,
}

impl Accounts {
    pub(crate) fn new(rows: Vec<AccountRow>) -> Self {
        let rows = rows.into_iter().map(|row| (row.account.clone(), row)).collect();
        Self { rows, due: BTreeMap::new() }
    }

    /// The waits that go on are over when they would have been.
    pub(crate) fn keep_waits(&mut self, before: Self) {
        let Self { rows, due } = before;
        let same = |account: &Account| {
            self.state(account) == rows.get(account).map_or(AccountState::Open, |row| row.state)
        };
        self.due = due.into_iter().filter(|(account, _)| same(account)).collect();
    }

    /// Sets when the stored waits are over. A wall clock that was set back meanwhile must not hold an account
    /// for longer than such a wait can be.
    pub(crate) fn begin_waits(&mut self, now: &Moment<'_>, timings: &Timings) {
        for (account, row) in &self.rows {
            if let AccountState::Waiting { trouble, until } = row.state {
                let left = u64::try_from(until.0.saturating_sub(now.utc.0)).unwrap_or(0);
                let due = now.mono.plus(left.min(longest_wait(trouble, timings)));
                self.due.entry(account.clone()).or_insert(due);
            }
        }
    }

    /// A lease that is not known any more, because its plan was set aside, says nothing of the account that it
    /// tries: another one may.
    pub(crate) fn forget_tries(&mut self, is_known: impl Fn(LeaseId) -> bool) {
        for row in self.rows.values_mut() {
            if let AccountState::Probing { lease, .. } = &mut row.state {
                *lease = lease.filter(|lease| is_known(*lease));
            }
        }
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &AccountRow> {
        self.rows.values()
    }

    pub(crate) fn state(&self, account: &Account) -> AccountState {
        self.rows.get(account).map_or(AccountState::Open, |row| row.state)
    }

    /// How long the account still waits.
    pub(crate) fn wait_ms(&self, account: &Account, now: Mono) -> u64 {
        self.due.get(account).map_or(0, |due| due.since(now))
    }

    /// Whether a lease may spend from it now.
    pub(crate) fn is_free(&self, account: &Account) -> bool {
        match self.state(account) {
            AccountState::Open | AccountState::Probing { lease: None, .. } => true,
            AccountState::Waiting { .. }
            | AccountState::Probing { lease: Some(_), .. }
            | AccountState::Refused => false,
        }
    }

    /// A lease that spends from it was granted. Gives the new row if that lease tries the account.
    pub(crate) fn on_granted(&mut self, account: &Account, granted: LeaseId) -> Option<AccountRow> {
        let row = self.rows.get_mut(account)?;
        let AccountState::Probing { lease, .. } = &mut row.state else {
            return None;
        };
        *lease = Some(granted);
        Some(row.clone())
    }

    /// A lease met trouble. Gives the new row.
    pub(crate) fn on_trouble(
        &mut self,
        account: &Account,
        trouble: Trouble,
        retry_after_ms: Option<u64>,
        note: &str,
        now: &Moment<'_>,
        timings: &Timings,
    ) -> AccountRow {
        let row = self.rows.entry(account.clone()).or_insert_with(|| AccountRow {
            account: account.clone(),
            state: AccountState::Open,
            tries: 0,
            note: String::new(),
        });
        // Several that meet the same trouble are one.
        let is_news = !matches!(row.state, AccountState::Waiting { .. });
        let before = if is_news { row.tries } else { row.tries.saturating_sub(1) };
        let doubled = timings.provider_wait_ms.saturating_mul(1 << before.min(16));
        // What a provider says is believed once; where it was wrong, it is not asked again and again.
        let least = if before == 0 { 0 } else { doubled.min(timings.account_probe_ms) };
        let wait = match trouble {
            Trouble::UsageLimit => retry_after_ms.unwrap_or(timings.account_probe_ms).max(least),
            Trouble::Overloaded | Trouble::Unreachable => retry_after_ms.unwrap_or(doubled).max(least),
            Trouble::BadCredentials => 0,
        };
        let wait = wait.min(longest_wait(trouble, timings));
        let (due, until) = (now.mono.plus(wait), Utc(now.utc.0.saturating_add_unsigned(wait)));
        // Of several, the trouble with the longest wait counts.
        let (due, counts) = match (row.state, self.due.remove(account)) {
            (known @ AccountState::Waiting { .. }, Some(before)) if before > due => (before, known),
            (
                AccountState::Waiting { .. }
                | AccountState::Open
                | AccountState::Probing { .. }
                | AccountState::Refused,
                _,
            ) => (due, AccountState::Waiting { trouble, until }),
        };
        let state = match (trouble, row.state) {
            (Trouble::BadCredentials, _) | (_, AccountState::Refused) => AccountState::Refused,
            (_, AccountState::Open | AccountState::Waiting { .. } | AccountState::Probing { .. }) => {
                self.due.insert(account.clone(), due);
                counts
            }
        };
        if state != row.state {
            note.clone_into(&mut row.note);
        }
        row.state = state;
        row.tries = before.saturating_add(1);
        row.clone()
    }

    /// A lease was answered by its provider. Gives the new row if that opened the account.
    pub(crate) fn on_answered(&mut self, account: &Account, answered: LeaseId) -> Option<AccountRow> {
        let row = self.rows.get_mut(account)?;
        match row.state {
            AccountState::Probing { lease, .. } if lease == Some(answered) => {
                row.state = AccountState::Open;
                row.tries = 0;
                row.note.clear();
                Some(row.clone())
            }
            AccountState::Open
            | AccountState::Probing { .. }
            | AccountState::Waiting { .. }
            | AccountState::Refused => None,
        }
    }

    /// The lease that tried it ended without an answer: another one may. Gives the new row then.
    pub(crate) fn on_unanswered(&mut self, account: &Account, ended: LeaseId) -> Option<AccountRow> {
        let row = self.rows.get_mut(account)?;
        let AccountState::Probing { lease, .. } = &mut row.state else {
            return None;
        };
        if *lease != Some(ended) {
            return None;
        }
        *lease = None;
        Some(row.clone())
    }

    /// The waits that are over: those accounts are tried now. Gives the new rows.
    pub(crate) fn on_time(&mut self, now: Mono) -> Vec<AccountRow> {
        let Self { rows, due } = self;
        let mut changed = Vec::new();
        for row in rows.values_mut() {
            if let AccountState::Waiting { trouble, .. } = row.state
                && due.get(&row.account).is_none_or(|due| *due <= now)
            {
                row.state = AccountState::Probing { trouble, lease: None };
                due.remove(&row.account);
                changed.push(row.clone());
            }
        }
        changed
    }

    /// Somebody says that it can be used again: it is tried now. Gives the new row if it was not open.
    pub(crate) fn clear(&mut self, account: &Account) -> Option<AccountRow> {
        let row = self.rows.get_mut(account)?;
        let trouble = row.state.trouble()?;
        row.state = AccountState::Probing { trouble, lease: None };
        self.due.remove(account);
        Some(row.clone())
    }

    /// When the next wait is over.
    pub(crate) fn next_due(&self) -> Option<Mono> {
        self.due.values().min().copied()
    }
}

const fn longest_wait(trouble: Trouble, timings: &Timings) -> u64 {
    match trouble {
        Trouble::UsageLimit => MAX_WAIT_MS,
        Trouble::Overloaded | Trouble::Unreachable => timings.account_probe_ms,
        Trouble::BadCredentials => 0,
    }
}

/// No limit is longer than a week and some hours; a peer that says more is not believed.
const MAX_WAIT_MS: u64 = 8 * 24 * 60 * 60 * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Mono = Mono(1_000_000);

    /// What both clocks say; the wall clock may have been set.
    fn at<T>(mono: Mono, utc: i64, act: impl FnOnce(&Moment<'_>) -> T) -> T {
        act(&Moment { mono, utc: Utc(utc), draw: &mut || 0 })
    }

    fn trouble_at(
        accounts: &mut Accounts,
        (mono, utc): (Mono, i64),
        trouble: Trouble,
        after: Option<u64>,
    ) -> AccountRow {
        at(mono, utc, |now| {
            accounts.on_trouble(&account(), trouble, after, "words", now, &Timings::default())
        })
    }

    fn account() -> Account {
        Account { runner: "claude".to_owned(), fingerprint: "ab".to_owned() }
    }

    fn in_trouble(trouble: Trouble, after: Option<u64>) -> Accounts {
        let mut accounts = Accounts::default();
        trouble_at(&mut accounts, (NOW, 7), trouble, after);
        accounts
    }

    #[test]
    fn a_limit_waits_for_its_reset_and_is_then_tried_by_one_lease() {
        let mut accounts = in_trouble(Trouble::UsageLimit, Some(5_000));
        assert!(!accounts.is_free(&account()));
        assert!(accounts.on_time(Mono(NOW.0 + 4_999)).is_empty());
        assert_eq!(accounts.on_time(Mono(NOW.0 + 5_000)).len(), 1);
        assert!(accounts.is_free(&account()));
        accounts.on_granted(&account(), LeaseId(7));
        assert!(!accounts.is_free(&account()));
        assert!(accounts.on_answered(&account(), LeaseId(8)).is_none());
        assert_eq!(
            accounts.on_answered(&account(), LeaseId(7)).expect("it is there").state,
            AccountState::Open
        );
    }

    #[test]
    fn a_limit_without_a_reset_is_tried_every_fifteen_minutes() {
        let accounts = in_trouble(Trouble::UsageLimit, None);
        assert_eq!(accounts.next_due(), Some(Mono(NOW.0 + 15 * 60_000)));
    }

    #[test]
    fn an_overload_waits_longer_each_time_up_to_the_probe() {
        let mut accounts = in_trouble(Trouble::Overloaded, None);
        assert_eq!(accounts.next_due(), Some(Mono(NOW.0 + 30_000)));
        for tries in 2..20 {
            accounts.on_time(Mono(u64::MAX));
            let row = trouble_at(&mut accounts, (NOW, 7), Trouble::Overloaded, None);
            assert_eq!(row.tries, tries);
        }
        assert_eq!(accounts.next_due(), Some(Mono(NOW.0 + 15 * 60_000)));
    }

    #[test]
    fn several_that_meet_one_overload_wait_no_longer_than_one() {
        let mut accounts = in_trouble(Trouble::Overloaded, None);
        for _ in 0..6 {
            let row = trouble_at(&mut accounts, (NOW, 7), Trouble::Overloaded, None);
            assert_eq!(row.tries, 1);
        }
        assert_eq!(accounts.next_due(), Some(Mono(NOW.0 + 30_000)));
    }

    #[test]
    fn of_two_troubles_the_one_with_the_longer_wait_counts_whichever_comes_first() {
        const DAYS: u64 = 5 * 24 * 3_600_000;
        let limit = |accounts: &mut Accounts| {
            trouble_at(accounts, (NOW, 7), Trouble::UsageLimit, Some(DAYS));
        };
        let overload = |accounts: &mut Accounts| {
            at(NOW, 7, |now| {
                let timings = Timings::default();
                accounts.on_trouble(&account(), Trouble::Overloaded, None, "busy", now, &timings)
            });
        };
        for order in [[&limit as &dyn Fn(&mut Accounts), &overload], [&overload, &limit]] {
            let mut accounts = Accounts::default();
            order.into_iter().for_each(|meet| meet(&mut accounts));
            let row = accounts.rows().next().cloned().expect("it is there");
            let until = Utc(7 + DAYS.cast_signed());
            assert_eq!(row.state, AccountState::Waiting { trouble: Trouble::UsageLimit, until });
            assert_eq!((row.note.as_str(), row.tries), ("words", 1), "what was said of the limit");
            let mut accounts = Accounts::new(vec![row]);
            at(NOW, 7, |now| accounts.begin_waits(now, &Timings::default()));
            assert_eq!(
                accounts.next_due(),
                Some(NOW.plus(DAYS)),
                "a restart does not make it an overload's wait"
            );
        }
    }

    #[test]
    fn a_provider_that_says_soon_again_and_again_is_believed_once() {
        let mut accounts = in_trouble(Trouble::UsageLimit, Some(200));
        assert_eq!(accounts.next_due(), Some(Mono(NOW.0 + 200)));
        for wait in [60_000, 120_000, 240_000, 480_000, 900_000, 900_000] {
            accounts.on_time(Mono(u64::MAX));
            trouble_at(&mut accounts, (NOW, 7), Trouble::UsageLimit, Some(200));
            assert_eq!(accounts.next_due(), Some(Mono(NOW.0 + wait)));
        }
    }

    #[test]
    fn refused_credentials_wait_for_a_person() {
        let mut accounts = in_trouble(Trouble::BadCredentials, None);
        assert!(accounts.on_time(Mono(u64::MAX)).is_empty());
        let limited = trouble_at(&mut accounts, (NOW, 7), Trouble::UsageLimit, None);
        assert_eq!(limited.state, AccountState::Refused);
        assert!(accounts.clear(&account()).is_some());
        assert!(accounts.is_free(&account()));
    }

    #[test]
    fn a_try_that_ends_without_an_answer_leaves_room_for_another() {
        let mut accounts = in_trouble(Trouble::UsageLimit, Some(0));
        accounts.on_time(NOW);
        accounts.on_granted(&account(), LeaseId(7));
        accounts.on_unanswered(&account(), LeaseId(9));
        assert!(!accounts.is_free(&account()));
        accounts.on_unanswered(&account(), LeaseId(7));
        assert!(accounts.is_free(&account()));
    }

    /// Hours in milliseconds: how far somebody sets the wall clock.
    const HOURS: i64 = 5 * 3_600_000;

    #[test]
    fn a_wall_clock_that_is_set_neither_lengthens_nor_shortens_a_wait() {
        for set in [-HOURS, HOURS] {
            let mut accounts = in_trouble(Trouble::Overloaded, None);
            // Another lease meets it, by the clock that was set.
            trouble_at(&mut accounts, (NOW.plus(1_000), HOURS + set), Trouble::Overloaded, Some(10_000));
            assert_eq!(accounts.next_due(), Some(NOW.plus(30_000)), "the longest wait counts");
            assert!(accounts.on_time(NOW.plus(29_999)).is_empty());
            assert_eq!(accounts.on_time(NOW.plus(30_000)).len(), 1);
            assert_eq!(accounts.next_due(), None);
        }
    }

    #[test]
    fn a_start_by_a_clock_that_was_set_back_holds_no_account_for_longer_than_such_a_wait_can_be() {
        for (trouble, longest) in [
            (Trouble::Overloaded, Timings::default().account_probe_ms),
            (Trouble::Unreachable, Timings::default().account_probe_ms),
            (Trouble::UsageLimit, MAX_WAIT_MS),
        ] {
            let stored = in_trouble(trouble, Some(60_000));
            let mut accounts = Accounts::new(stored.rows().cloned().collect());
            at(NOW, 7 - 100 * HOURS, |now| accounts.begin_waits(now, &Timings::default()));
            assert_eq!(accounts.next_due(), Some(NOW.plus(longest)), "{trouble}");
            let mut accounts = Accounts::new(stored.rows().cloned().collect());
            at(NOW, 7 + HOURS, |now| accounts.begin_waits(now, &Timings::default()));
            assert_eq!(accounts.on_time(NOW).len(), 1, "{trouble}");
        }
    }

    #[test]
    fn a_state_that_is_read_again_keeps_its_waits() {
        let before = in_trouble(Trouble::UsageLimit, Some(60_000));
        let mut accounts = Accounts::new(before.rows().cloned().collect());
        accounts.keep_waits(before);
        at(NOW, 7 - HOURS, |now| accounts.begin_waits(now, &Timings::default()));
        assert_eq!(accounts.next_due(), Some(NOW.plus(60_000)));
    }
}
