//! ThorService: verdicts from outside of the workers.

use tonic::{Request, Response, Status};
use wavegate_engine::Input;
use wavegate_proto::v1;

use super::{Services, convert, desk::by, status};

#[derive(Debug)]
pub(super) struct ThorDesk(pub(super) Services);

#[tonic::async_trait]
impl v1::thor_service_server::ThorService for ThorDesk {
    async fn list_candidates(
        &self,
        request: Request<v1::ListCandidatesRequest>,
    ) -> Result<Response<v1::ListCandidatesResponse>, Status> {
        let asked = request.into_inner().plan;
        let only = if asked.is_empty() { None } else { Some(self.0.plan_id(&asked).await?) };
        let mut candidates = Vec::new();
        for pending in self.0.handle.pending_verdicts().await? {
            if only.is_some_and(|plan| plan != pending.plan) {
                continue;
            }
            let Some(plan) = self.0.read(move |reader| reader.plan(pending.plan)).await? else { continue };
            candidates.push(v1::Candidate {
                plan_id: pending.plan.0,
                plan_name: plan.summary.name,
                wave: plan.waves.get(pending.wave.at()).map(|wave| wave.spec.key.clone()).unwrap_or_default(),
                round: pending.round,
                candidate: pending.candidate.to_string(),
            });
        }
        Ok(Response::new(v1::ListCandidatesResponse { candidates }))
    }

    async fn submit_verdict(
        &self,
        request: Request<v1::SubmitVerdictRequest>,
    ) -> Result<Response<v1::SubmitVerdictResponse>, Status> {
        self.0.access.check(request.metadata())?;
        let request = request.into_inner();
        let plan = self.0.plan_id(&request.plan).await?;
        let candidate =
            request.candidate.parse().map_err(|error| status::invalid(format!("`candidate`: {error}")))?;
        let verdict = request.verdict.ok_or_else(|| status::invalid("`verdict` is missing"))?;
        let verdict =
            convert::verdict_from_proto(verdict).map_err(|error| status::invalid(error.to_string()))?;
        let input = Input::ExternalVerdict {
            plan,
            wave: request.wave,
            round: request.round,
            candidate,
            verdict,
            by: by(request.by),
        };
        self.0.handle.apply(input).await?;
        Ok(Response::new(v1::SubmitVerdictResponse {}))
    }
}
