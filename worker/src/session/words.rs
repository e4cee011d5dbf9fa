//! Leases in words, for the log.

use wavegate_proto::v1;

use crate::spool::Answer;

/// What a grant is about.
pub(super) fn described(body: &v1::grant::Body) -> String {
    let work = match body {
        v1::grant::Body::Work(work) => work,
        v1::grant::Body::WorkDigest(_) => return "large work".to_owned(),
    };
    let (plan, wave) = (&work.plan_name, &work.wave);
    match &work.body {
        Some(v1::work::Body::Task(task)) => {
            format!("task {} of {plan}, attempt {}", task.key, task.attempt)
        }
        Some(v1::work::Body::Integrate(_)) => format!("integration of {wave} of {plan}"),
        Some(v1::work::Body::Validate(_)) => format!("validation of {wave} of {plan}"),
        Some(v1::work::Body::Publish(_)) => format!("publication of {wave} of {plan}"),
        Some(v1::work::Body::Coordinate(_)) => format!("coordination of {wave} of {plan}"),
        None => "unknown work".to_owned(),
    }
}

/// How a lease ended.
pub(super) fn told(answer: &Answer) -> String {
    match answer {
        Answer::Finished { lease_id, report } => {
            let outcome = report.outcome().as_str_name().trim_start_matches("OUTCOME_").to_lowercase();
            format!("finished: lease {lease_id}, {outcome}: {}", report.summary)
        }
        Answer::Released { lease_id, reason, note } => {
            let reason = reason.as_str_name().trim_start_matches("RELEASE_REASON_").to_lowercase();
            let colon = if note.is_empty() { "" } else { ": " };
            format!("given back: lease {lease_id}, {reason}{colon}{note}")
        }
    }
}
