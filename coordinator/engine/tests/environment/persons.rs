//! What the persons of a test ask, of the first plan unless it is named.

use wavegate_engine::{
    Digest, Input, Mode, PlanId, Refusal, Reply, Resolution, Resolve, Verdict, spec::Budget,
};

use super::{P1, World};

impl World {
    pub(crate) fn resolve(&mut self, resolution: Resolution, tasks: &[&str]) -> Result<Reply, Refusal> {
        self.resolve_wave("", resolution, tasks, "because")
    }

    pub(crate) fn resolve_wave(
        &mut self,
        wave: &str,
        resolution: Resolution,
        tasks: &[&str],
        note: &str,
    ) -> Result<Reply, Refusal> {
        let resolve = Resolve {
            wave: wave.to_owned(),
            resolution,
            tasks: tasks.iter().map(|task| (*task).to_owned()).collect(),
            note: note.to_owned(),
            by: "ada".to_owned(),
        };
        self.apply(Input::Resolve { plan: P1, resolve })
    }

    pub(crate) fn retry(&mut self, task: &str) -> Result<Reply, Refusal> {
        self.apply(Input::Retry { plan: P1, task: task.to_owned(), by: "ada".to_owned() })
    }

    pub(crate) fn pause(&mut self, plan: PlanId) {
        self.must(Input::Pause { plan, by: "ada".to_owned(), note: "lunch".to_owned() });
    }

    pub(crate) fn resume(&mut self, plan: PlanId) {
        self.must(Input::Resume { plan, by: "ada".to_owned(), task: None, add: Budget::default() });
    }

    pub(crate) fn cancel(&mut self, plan: PlanId) {
        self.must(Input::Cancel { plan, by: "ada".to_owned(), note: "enough".to_owned() });
    }

    pub(crate) fn set_mode(&mut self, plan: PlanId, mode: Mode) {
        self.must(Input::SetMode { plan, mode, by: "ada".to_owned() });
    }

    pub(crate) fn external(
        &mut self,
        wave: &str,
        round: u32,
        candidate: Digest,
        verdict: Verdict,
    ) -> Result<Reply, Refusal> {
        let (wave, by) = (wave.to_owned(), "ci".to_owned());
        self.apply(Input::ExternalVerdict { plan: P1, wave, round, candidate, verdict, by })
    }
}
