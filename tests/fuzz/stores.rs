//! Stores for the driver: the naive one, which panics on what breaks an invariant, and any store under watch,
//! for which an error is a failure. Owns nothing durable.

use std::{cell::RefCell, rc::Rc};

use wavegate_coordinator::driver::{ModeRequest, Snapshot, Store, StoreError, Submission, Work, WorkBody};
use wavegate_engine::{
    Change, LeaseId, LeaseRow, PastLease, PlanId, Utc, WorkBrief,
    spec::{PlanSpec, WaveSpec},
};

use crate::naive;

/// The naive store of the engine's own tests behind the driver's door. A copy is another door to the same.
#[derive(Clone, Default)]
pub(crate) struct NaiveStore {
    kept: Rc<RefCell<Kept>>,
    written: Vec<Change>,
}

#[derive(Default)]
struct Kept {
    store: naive::Store,
    heads: Vec<PlanSpec>,
}

impl Store for NaiveStore {
    fn load(&mut self) -> Result<Snapshot, StoreError> {
        let store = &self.kept.borrow().store;
        Ok(Snapshot {
            plans: store.snapshots(),
            workers: store.workers.values().cloned().collect(),
            accounts: store.accounts.values().cloned().collect(),
        })
    }

    fn begin(&mut self) -> Result<Vec<ModeRequest>, StoreError> {
        self.written.clear();
        Ok(Vec::new())
    }

    fn write(&mut self, change: &Change, _now: Utc) -> Result<(), StoreError> {
        self.written.push(change.clone());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), (PlanId, StoreError)> {
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        let store = &mut self.kept.borrow_mut().store;
        for change in std::mem::take(&mut self.written) {
            store.write(&change);
        }
        store.check();
        Ok(())
    }

    fn roll_back(&mut self) {
        self.written.clear();
    }

    fn has_foreign_changes(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn stage(&mut self, submission: &Submission, _now: Utc) -> Result<(PlanId, String), StoreError> {
        let mut kept = self.kept.borrow_mut();
        let plan = PlanId(kept.heads.len() as i64 + 1);
        let name = format!("{} ({plan})", submission.spec.name);
        kept.store.stage(submission.spec.shape(plan, name.clone(), submission.base));
        kept.heads.push(submission.spec.clone());
        Ok((plan, name))
    }

    fn stage_tasks(
        &mut self,
        _plan: PlanId,
        _spec: &PlanSpec,
        _from: usize,
        _limit: usize,
    ) -> Result<Option<usize>, StoreError> {
        Ok(None)
    }

    fn past_lease(&mut self, lease: LeaseId) -> Result<Option<Box<PastLease>>, StoreError> {
        let mut past = self.kept.borrow().store.past(lease);
        for change in &self.written {
            match (change, &mut past) {
                (Change::Lease { row, .. }, Some(past)) if row.id == lease => past.row = row.clone(),
                (Change::Result { lease: id, accepted, .. }, Some(past)) if *id == lease => {
                    past.accepted = Some(*accepted);
                }
                _ => {}
            }
        }
        Ok(past)
    }

    fn load_work(&mut self, lease: &LeaseRow, _brief: &WorkBrief) -> Result<Work, StoreError> {
        let head = self.kept.borrow().heads[lease.plan.0 as usize - 1].clone();
        let wave: WaveSpec = head.waves[lease.wave.at()].clone();
        Ok(Work {
            plan: lease.plan,
            plan_name: head.name.clone(),
            wave: wave.key.clone(),
            vars: head.vars.clone(),
            workspace: head.project.workspace,
            wave_spec: Box::new(wave),
            head: Box::new(head),
            body: WorkBody::Integrate { base: None, results: Vec::new() },
        })
    }
}

/// A store for which each error is a failure: no peer's message may lead to one.
pub(crate) struct Watched<S>(pub(crate) S);

fn sound<T>(done: Result<T, StoreError>) -> Result<T, StoreError> {
    Ok(done.unwrap_or_else(|error| panic!("a message leads to what the store refuses: {error}")))
}

impl<S: Store> Store for Watched<S> {
    fn load(&mut self) -> Result<Snapshot, StoreError> {
        sound(self.0.load())
    }

    fn begin(&mut self) -> Result<Vec<ModeRequest>, StoreError> {
        sound(self.0.begin())
    }

    fn write(&mut self, change: &Change, now: Utc) -> Result<(), StoreError> {
        sound(self.0.write(change, now))
    }

    fn flush(&mut self) -> Result<(), (PlanId, StoreError)> {
        let flushed = self.0.flush();
        if let Err((plan, error)) = flushed {
            panic!("a message leads to what the store refuses of plan {plan}: {error}");
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        sound(self.0.commit())
    }

    fn roll_back(&mut self) {
        self.0.roll_back();
    }

    fn has_foreign_changes(&mut self) -> Result<bool, StoreError> {
        sound(self.0.has_foreign_changes())
    }

    fn stage(&mut self, submission: &Submission, now: Utc) -> Result<(PlanId, String), StoreError> {
        sound(self.0.stage(submission, now))
    }

    fn stage_tasks(
        &mut self,
        plan: PlanId,
        spec: &PlanSpec,
        from: usize,
        limit: usize,
    ) -> Result<Option<usize>, StoreError> {
        sound(self.0.stage_tasks(plan, spec, from, limit))
    }

    fn past_lease(&mut self, lease: LeaseId) -> Result<Option<Box<PastLease>>, StoreError> {
        sound(self.0.past_lease(lease))
    }

    fn load_work(&mut self, lease: &LeaseRow, brief: &WorkBrief) -> Result<Work, StoreError> {
        sound(self.0.load_work(lease, brief))
    }
}
