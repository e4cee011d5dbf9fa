//! Who has anything to look for: which plans have new events, which logs have grown. Owns waking those who
//! follow just what moved, so that following costs what happens and not what there is.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{broadcast, watch};
use wavegate_engine::{LeaseId, PlanId};

/// Logs that grew and were not looked at yet; a follower that falls behind by more looks at all that it follows.
const GROWN_IN_FLIGHT: usize = 1024;

/// What is new; cheap to clone.
#[derive(Debug, Clone)]
pub struct News {
    /// Moves at every commit.
    committed: watch::Receiver<u64>,
    plans: Arc<Mutex<BTreeMap<PlanId, u64>>>,
    grown: broadcast::Sender<LeaseId>,
}

/// Where the driver's side tells it.
#[derive(Debug)]
pub(super) struct Teller {
    committed: watch::Sender<u64>,
    plans: Arc<Mutex<BTreeMap<PlanId, u64>>>,
}

/// Both ends.
pub(super) fn news() -> (Teller, News) {
    let (sender, committed) = watch::channel(0);
    let plans = Arc::<Mutex<BTreeMap<PlanId, u64>>>::default();
    let (grown, _) = broadcast::channel(GROWN_IN_FLIGHT);
    (Teller { committed: sender, plans: plans.clone() }, News { committed, plans, grown })
}

impl Teller {
    /// Before [`Self::committed`].
    pub(super) fn plan(&self, plan: PlanId) {
        *self.plans.lock().unwrap_or_else(PoisonError::into_inner).entry(plan).or_default() += 1;
    }

    pub(super) fn committed(&self) {
        self.committed.send_modify(|number| *number += 1);
    }
}

impl News {
    /// A number that moves when the plan has new events. Take it before they are read.
    pub(super) fn of(&self, plan: PlanId) -> u64 {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner).get(&plan).copied().unwrap_or_default()
    }

    /// Waits for the next commit. False: there is nobody who could commit any more.
    pub(super) async fn committed(&mut self) -> bool {
        self.committed.changed().await.is_ok()
    }

    /// The log of this lease is longer now.
    pub(super) fn log_grew(&self, lease: LeaseId) {
        // Nobody follows a log.
        let _ = self.grown.send(lease);
    }

    /// Logs that grow from now on.
    pub(super) fn growing(&self) -> broadcast::Receiver<LeaseId> {
        self.grown.subscribe()
    }
}
