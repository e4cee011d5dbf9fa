//! What the workers of a test say about their leases, by the name of the work.

use wavegate_engine::{LeaseId, Message, Outcome, ReleaseReason, Report, SessionEvent, Verdict};

use super::{World, judged, report, success};

impl World {
    /// The open lease for this piece of work.
    pub(crate) fn lease(&self, what: &str) -> LeaseId {
        let open = self.store.leases.values().filter(|lease| lease.state.is_open());
        let mut found = open.filter(|lease| self.what(lease) == what).map(|lease| lease.id);
        found.next().unwrap_or_else(|| panic!("no open lease for {what}"))
    }

    pub(crate) fn open_leases(&self, worker: &str) -> Vec<LeaseId> {
        let open = self.store.leases.values().filter(|lease| lease.state.is_open());
        open.filter(|lease| *lease.worker.0 == *worker).map(|lease| lease.id).collect()
    }

    /// The worker of the lease reports its end, and is told that the report was accepted.
    pub(crate) fn finish(&mut self, what: &str, report: Report) {
        let lease = self.lease(what);
        assert_eq!(self.report(lease, report), Message::Accepted { lease });
    }

    /// A report on a lease by its worker; gives the answer.
    pub(crate) fn report(&mut self, lease: LeaseId, report: Report) -> Message {
        let worker = self.store.leases[&lease].worker.to_string();
        self.report_by(&worker, lease, report)
    }

    pub(crate) fn report_by(&mut self, worker: &str, lease: LeaseId, report: Report) -> Message {
        let past = if self.engine.keeps(lease) { None } else { self.store.past(lease) };
        self.say(worker, SessionEvent::Finished { lease, report: Box::new(report), past });
        self.take_answer(lease)
    }

    fn take_answer(&mut self, lease: LeaseId) -> Message {
        let answers = |message: &Message| match message {
            Message::Accepted { lease: id } | Message::Refused { lease: id, .. } => *id == lease,
            Message::Welcome
            | Message::Grant { .. }
            | Message::HeartbeatAck { .. }
            | Message::Cancel { .. }
            | Message::Drain { .. }
            | Message::Goodbye { .. } => false,
        };
        let at = self.sends.iter().position(|send| answers(&send.message)).expect("an answer");
        self.sends.remove(at).expect("it is there").message
    }

    pub(crate) fn succeed(&mut self, what: &str) {
        self.finish(what, success());
    }

    pub(crate) fn fail(&mut self, what: &str) {
        self.finish(what, report(Outcome::Failed));
    }

    /// Each of these tasks is submitted, in this order.
    pub(crate) fn succeed_all(&mut self, tasks: &[&str]) {
        tasks.iter().for_each(|task| self.succeed(task));
    }

    pub(crate) fn judge(&mut self, wave: &str, verdict: Verdict) {
        self.finish(&format!("validate {wave}"), judged(verdict));
    }

    pub(crate) fn release(&mut self, what: &str, reason: ReleaseReason) {
        let lease = self.lease(what);
        let worker = self.store.leases[&lease].worker.to_string();
        self.say(&worker, SessionEvent::Released { lease, reason, note: String::new(), past: None });
        assert_eq!(self.take_answer(lease), Message::Accepted { lease });
    }

    /// The worker says that it lost what it held of this.
    pub(crate) fn lose(&mut self, what: &str) {
        let lease = self.lease(what);
        let worker = self.store.leases[&lease].worker.to_string();
        let mut held = self.open_leases(&worker);
        held.retain(|other| *other != lease);
        self.heartbeat(&worker, &held, u64::MAX);
        self.sends.retain(|send| !matches!(send.message, Message::HeartbeatAck { .. }));
    }

    /// The retry delay of what failed or was lost passes, with the worker alive.
    pub(crate) fn wait_retry(&mut self) {
        let workers: Vec<_> = self.sessions.keys().cloned().collect();
        let workers: Vec<_> = workers.iter().map(String::as_str).collect();
        self.pass_with(180_000, &workers);
    }
}
