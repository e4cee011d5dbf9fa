//! What the end of an agent's run means for the account that it spent from, and for the work that met the
//! account's trouble. The states of accounts are the account's own room.

use super::{Context, Plan};
use crate::{
    account::{AccountRow, AccountState, Trouble},
    effect::{Change, EventKind},
    row::{LeaseRow, LeaseWork, Report},
    state::TaskState,
    transition::TaskEvent,
};

impl Plan {
    /// What the end of an agent's run tells of its account.
    pub(super) fn note_account(
        &self,
        ctx: &mut Context<'_, '_>,
        row: &LeaseRow,
        trouble: Option<Trouble>,
        report: &Report,
    ) {
        let Some(account) = &row.account else {
            return;
        };
        let changed = match trouble {
            Some(trouble) => {
                let after = report.talk.retry_after_ms;
                let was = ctx.fleet.accounts.state(account);
                let timings = &ctx.config.timings;
                let row = ctx.fleet.accounts.on_trouble(
                    account,
                    trouble,
                    after,
                    &report.summary,
                    ctx.moment,
                    timings,
                );
                // A second lease that meets the same wait is no news.
                Some(row.clone()).filter(|_| row.state != was)
            }
            None if !report.was_answered() => None,
            None => ctx.fleet.accounts.on_answered(account, row.id),
        };
        if let Some(changed) = changed {
            self.tell_account(ctx, row, changed);
        }
    }

    pub(crate) fn tell_account(&self, ctx: &mut Context<'_, '_>, row: &LeaseRow, changed: AccountRow) {
        let account = &changed.account;
        let (kind, text) = match changed.state {
            AccountState::Open | AccountState::Probing { .. } => {
                (EventKind::AccountOpen, format!("{account} answers again"))
            }
            AccountState::Waiting { trouble, .. } => {
                let seconds = ctx.fleet.accounts.wait_ms(account, ctx.moment.mono) / 1000;
                let words = trouble.words();
                (
                    EventKind::AccountWaiting,
                    format!("{account} {words}: tried again in {seconds} s; {}", changed.note),
                )
            }
            AccountState::Refused => {
                let text = format!(
                    "{account} is not accepted ({}): mend its credentials on the worker, then restart the worker or run `wavegate accounts clear {} {}`",
                    changed.note, account.runner, account.fingerprint
                );
                (EventKind::AccountRefused, text)
            }
        };
        let mut event = self.lease_event(kind, row);
        event.reason = changed.state.trouble().map_or("", Trouble::as_str).to_owned();
        event.text = text;
        ctx.emit(event);
        ctx.effects.changes.push(Change::Account(changed));
    }

    /// The lease is given back; what it was for waits for the account, or for another one.
    pub(super) fn on_account_trouble(
        &mut self,
        ctx: &mut Context<'_, '_>,
        row: &LeaseRow,
        trouble: Trouble,
        note: &str,
        was_lost: bool,
    ) {
        if was_lost {
            return;
        }
        let mut event = self.lease_event(EventKind::LeaseReleased, row);
        event.reason = trouble.release().as_str().to_owned();
        event.text = note.to_owned();
        ctx.emit(event);
        if let LeaseWork::Task { task, .. } = row.work
            && self.tasks[task.at()].state == TaskState::Leased
        {
            self.change_task(ctx, task, TaskEvent::Returned { not_before: None }, |_| {});
        }
    }
}
