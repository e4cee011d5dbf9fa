//! What an agent is asked, put together from the plan's texts and the story of the work. The words are
//! the prompts' room's; here they meet the wire.

use wavegate_engine::{
    Outcome, Purpose, Tier,
    spec::{Permissions, TaskSpec},
};
use wavegate_proto::v1;

use crate::{
    driver::{TaskStory, TaskToCheck, TaskToCounsel},
    prompt::{
        self, CounselBrief, CounselText, DependencyOutput, LastAttempt, TaskBrief, TaskCase, TaskClaim,
        ValidateBrief,
    },
    store::reader::TaskNow,
};

pub(super) use crate::prompt::About;

/// What the agent of a task is asked; None for a shell task.
pub(super) fn task_agent(
    about: About<'_>,
    task: &TaskSpec,
    attempt: u32,
    story: &TaskStory,
    own_result_present: bool,
) -> Option<v1::AgentWork> {
    if !task.is_agent() {
        return None;
    }
    let brief = TaskBrief {
        about,
        task,
        dependencies: dependencies(story),
        findings: &story.findings,
        counsel: counsel(story, &task.key),
        attempt,
        last: last(story),
        own_result_present,
        evidence_only: story.evidence_only,
    };
    Some(v1::AgentWork {
        runner: task.runner.clone(),
        model: task.route().model,
        effort: u32::from(task.effort),
        prompt: prompt::task_prompt(&brief),
        resume_session: story.session.clone().unwrap_or_default(),
        resume_prompt: prompt::resume_prompt(&brief),
        permissions: permissions_into_proto(task.permissions).into(),
        allowed_tools: task.allowed_tools.clone(),
        budget_micro_usd: None,
        schema: prompt::TASK_SCHEMA.to_owned(),
        must_answer: false,
    })
}

/// What Thor's agent is asked; the worker adds the evidence.
pub(super) fn judge(about: About<'_>, round: u32, tasks: &[TaskToCheck]) -> v1::AgentWork {
    let brief = ValidateBrief { about, round, tasks: tasks.iter().map(claim_of).collect() };
    let agent = &about.plan.thor_agent;
    v1::AgentWork {
        runner: agent.runner.clone(),
        model: wavegate_engine::model::canonical(&agent.model),
        prompt: prompt::validate_prompt(&brief),
        permissions: v1::Permissions::Read.into(),
        schema: prompt::VERDICT_SCHEMA.to_owned(),
        must_answer: true,
        ..v1::AgentWork::default()
    }
}

fn claim_of(task: &TaskToCheck) -> TaskClaim<'_> {
    TaskClaim { task: &task.spec, claim: &task.claim, output_json: &task.output_json }
}

/// What the coordinator's own model is asked.
pub(super) fn counsellor(
    about: About<'_>,
    purpose: Purpose,
    tier: Tier,
    tasks: &[TaskToCounsel],
) -> v1::AgentWork {
    let brief = CounselBrief { about, tasks: tasks.iter().map(case_of).collect() };
    v1::AgentWork {
        runner: about.plan.coordinator_runner.clone(),
        model: tier.family().as_str().to_owned(),
        prompt: match purpose {
            Purpose::Briefing => prompt::briefing_prompt(&brief),
            Purpose::Triage => prompt::triage_prompt(&brief),
        },
        permissions: v1::Permissions::Read.into(),
        schema: prompt::COUNSEL_SCHEMA.to_owned(),
        must_answer: true,
        ..v1::AgentWork::default()
    }
}

fn case_of(task: &TaskToCounsel) -> TaskCase<'_> {
    TaskCase {
        task: &task.spec,
        dependencies: dependencies(&task.story),
        findings: &task.story.findings,
        last: last(&task.story),
    }
}

/// What the agent of a task would be told now, or was told by the attempt that runs; None for a shell
/// task.
pub(crate) fn prompt_of(now: &TaskNow) -> Option<v1::GetPromptResponse> {
    let about = About { plan_name: &now.plan_name, plan: &now.head, wave: &now.wave };
    let first = TaskStory { last: None, findings: Vec::new(), evidence_only: false, ..now.story.clone() };
    let (attempt, story, has_result) = match now.state.as_str() {
        "pending" => (now.attempt + 1, &now.story, now.has_result),
        "leased" => (now.attempt, &now.story, now.has_result),
        // What a person's retry would tell: it begins anew.
        "blocked" => (now.attempt + 1, &now.story, false),
        // It waits for nothing more: what its first attempt was told.
        _ => (1, &first, false),
    };
    let agent = task_agent(about, &now.spec, attempt, story, has_result)?;
    Some(v1::GetPromptResponse {
        prompt: agent.prompt,
        resume_prompt: if attempt > 1 { agent.resume_prompt } else { String::new() },
        model: agent.model,
        routing: now.spec.route().rerouted.unwrap_or_default(),
    })
}

fn dependencies(story: &TaskStory) -> Vec<DependencyOutput<'_>> {
    let outputs = story.dependencies.iter().map(|output| DependencyOutput {
        key: &output.key,
        title: &output.title,
        summary: &output.summary,
        output_json: &output.output_json,
    });
    outputs.collect()
}

fn counsel<'a>(story: &'a TaskStory, key: &str) -> Option<CounselText<'a>> {
    let counsel = story.counsel.as_ref()?;
    let guidance = counsel.tasks.iter().find(|guidance| guidance.task == key);
    Some(CounselText { note: &counsel.note, guidance: guidance.map_or("", |guidance| &guidance.text) })
}

/// A success that is not the end was sent back; what is the account's trouble is no failure.
fn last(story: &TaskStory) -> LastAttempt<'_> {
    let Some(last) = &story.last else { return LastAttempt::None };
    match last.outcome {
        Outcome::Succeeded => LastAttempt::SentBack,
        Outcome::Skipped
        | Outcome::UsageLimit
        | Outcome::BadCredentials
        | Outcome::Overloaded
        | Outcome::Unreachable => LastAttempt::None,
        Outcome::Failed
        | Outcome::TimedOut
        | Outcome::Conflict
        | Outcome::Denied
        | Outcome::TurnLimit
        | Outcome::BudgetLimit
        | Outcome::Refused
        | Outcome::Killed
        | Outcome::Nonsense
        | Outcome::TargetMoved => LastAttempt::Failed { summary: &last.summary },
    }
}

fn permissions_into_proto(permissions: Permissions) -> v1::Permissions {
    match permissions {
        Permissions::Read => v1::Permissions::Read,
        Permissions::Edit => v1::Permissions::Edit,
        Permissions::Full => v1::Permissions::Full,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use wavegate_engine::Finding;

    use super::*;
    use crate::{driver, planfile};

    /// A task that failed once and was sent back once, in this state.
    fn now(state: &str) -> TaskNow {
        let source = "name: p\nwaves: [{ id: W1, tasks: [{ id: T1, do: write it }] }]\n";
        let head = planfile::read(source, "p.yaml", &BTreeMap::new()).spec.expect("it is right");
        let wave = head.waves[0].clone();
        let finding = Finding { task: "T1".to_owned(), text: "it lacks a test".to_owned() };
        let last = driver::LastAttempt {
            attempt: 2,
            outcome: Outcome::Failed,
            summary: "could not compile".to_owned(),
        };
        let story = TaskStory { findings: vec![finding], last: Some(last), ..TaskStory::default() };
        TaskNow {
            plan_name: "p".to_owned(),
            spec: wave.tasks[0].clone(),
            wave,
            head,
            attempt: 2,
            has_result: true,
            state: state.to_owned(),
            story,
        }
    }

    #[test]
    fn what_an_agent_is_told_fits_the_state_of_its_task() {
        for (state, attempt, hears_findings) in
            [("pending", 3, true), ("leased", 2, true), ("blocked", 3, true), ("done", 1, false)]
        {
            let told = prompt_of(&now(state)).expect("an agent's task");
            assert_eq!(told.prompt.contains("it lacks a test"), hears_findings, "{state}: {}", told.prompt);
            assert_eq!(told.resume_prompt.is_empty(), attempt == 1, "{state}");
        }
    }
}
