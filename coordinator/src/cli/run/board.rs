//! What runs at this moment, kept up from events: cheap enough for a plan of ten thousand tasks,
//! which is never asked for again as a whole.

use std::collections::BTreeMap;

use wavegate_proto::v1;

/// Where each task is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Waiting,
    Running {
        worker: String,
        since_ms: i64,
    },
    /// Submitted, done, skipped or cancelled: no work is left in this round.
    Finished,
}

/// The plan's tasks and waves as of the last event.
#[derive(Debug, Default)]
pub(super) struct Board {
    tasks: BTreeMap<String, Place>,
    waves: BTreeMap<String, String>,
}

impl Board {
    pub(super) fn new(plan: &v1::Plan) -> Self {
        let mut board = Self::default();
        for wave in &plan.waves {
            let state = crate::cli::text::wave_state(wave.state());
            board.waves.insert(wave.key.clone(), state);
            for task in &wave.tasks {
                board.tasks.insert(task.key.clone(), place(task));
            }
        }
        board
    }

    /// Takes an event in; one of an unknown kind changes nothing.
    pub(super) fn on_event(&mut self, event: &v1::Event) {
        if !event.task.is_empty() {
            self.on_task(event);
            return;
        }
        if let (Some(state), Some(wave)) = (wave_state(&event.kind), self.waves.get_mut(&event.wave)) {
            state.clone_into(wave);
        }
    }

    fn on_task(&mut self, event: &v1::Event) {
        let place = match event.kind.as_str() {
            "lease_granted" => Place::Running { worker: event.worker.clone(), since_ms: event.at_ms },
            "task_submitted" | "task_skipped" | "task_cancelled" => Place::Finished,
            "task_failed" | "task_returned" | "task_retried" | "task_blocked" | "lease_released"
            | "lease_lost" | "lease_cancelled" => Place::Waiting,
            _ => return,
        };
        self.tasks.insert(event.task.clone(), place);
    }

    pub(super) fn total(&self) -> u64 {
        self.tasks.len() as u64
    }

    pub(super) fn finished(&self) -> u64 {
        let finished = self.tasks.values().filter(|place| **place == Place::Finished);
        finished.count() as u64
    }

    /// Key, worker and start of what runs, the longest running first.
    pub(super) fn running(&self) -> Vec<(&str, &str, i64)> {
        let running = self.tasks.iter().filter_map(|(key, place)| match place {
            Place::Running { worker, since_ms } => Some((key.as_str(), worker.as_str(), *since_ms)),
            Place::Waiting | Place::Finished => None,
        });
        let mut running: Vec<_> = running.collect();
        running.sort_by_key(|(key, _, since_ms)| (*since_ms, *key));
        running
    }

    /// `W2 running, W3 validating`: the waves that are neither waiting nor over.
    pub(super) fn active_waves(&self) -> String {
        let active = self
            .waves
            .iter()
            .filter(|(_, state)| !matches!(state.as_str(), "waiting" | "done" | "cancelled"));
        let told: Vec<_> = active.map(|(key, state)| format!("{key} {state}")).collect();
        told.join(", ")
    }
}

fn place(task: &v1::Task) -> Place {
    match task.state() {
        v1::TaskState::Leased => Place::Running {
            worker: task.worker.clone(),
            since_ms: task.attempts.last().map_or(0, |attempt| attempt.granted_ms),
        },
        v1::TaskState::Submitted
        | v1::TaskState::Done
        | v1::TaskState::Skipped
        | v1::TaskState::Cancelled => Place::Finished,
        v1::TaskState::Pending | v1::TaskState::Blocked | v1::TaskState::Unspecified => Place::Waiting,
    }
}

/// The state that an event of this kind leaves its wave in.
fn wave_state(kind: &str) -> Option<&'static str> {
    match kind {
        "wave_started" | "wave_rejected" | "wave_challenged" | "wave_conflict" | "wave_resolved" => {
            Some("running")
        }
        "wave_integrating" => Some("integrating"),
        "wave_validating" => Some("validating"),
        "wave_approved" => Some("publishing"),
        "wave_done" => Some("done"),
        "wave_blocked" | "wave_escalated" => Some("blocked"),
        "wave_cancelled" => Some("cancelled"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Board {
        let task = |key: &str, state: v1::TaskState| v1::Task {
            key: key.to_owned(),
            state: state.into(),
            ..Default::default()
        };
        Board::new(&v1::Plan {
            waves: vec![v1::Wave {
                key: "W1".to_owned(),
                state: v1::WaveState::Running.into(),
                tasks: vec![task("T1", v1::TaskState::Done), task("T2", v1::TaskState::Pending)],
                ..Default::default()
            }],
            ..Default::default()
        })
    }

    fn event(kind: &str, task: &str) -> v1::Event {
        v1::Event {
            kind: kind.to_owned(),
            wave: "W1".to_owned(),
            task: task.to_owned(),
            worker: "alpha".to_owned(),
            at_ms: 7,
            ..Default::default()
        }
    }

    #[test]
    fn a_granted_task_runs_until_it_is_submitted() {
        let mut board = board();
        board.on_event(&event("lease_granted", "T2"));
        assert_eq!(board.running(), [("T2", "alpha", 7)]);
        board.on_event(&event("task_submitted", "T2"));
        assert_eq!((board.finished(), board.running().len()), (2, 0));
    }

    #[test]
    fn a_rejected_wave_runs_again_with_the_task_that_was_sent_back() {
        let mut board = board();
        board.on_event(&event("wave_validating", ""));
        assert_eq!(board.active_waves(), "W1 validating");
        board.on_event(&event("wave_rejected", ""));
        board.on_event(&event("task_returned", "T1"));
        assert_eq!(board.active_waves(), "W1 running");
        assert_eq!(board.finished(), 0);
    }

    #[test]
    fn thors_own_lease_is_no_running_task() {
        let mut board = board();
        board.on_event(&event("lease_granted", ""));
        assert!(board.running().is_empty());
    }
}
