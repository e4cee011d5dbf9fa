//! What agents are told: pure functions from texts to a text. Owns the words, which stand in templates of their
//! own (`*.md`), and the forms of structured answers (`schemas/`).
//!
//! Deliberately knows no store, wire or program: who asks, with which flags, and what becomes of the answer is
//! told elsewhere. What an executor says is quoted as such, because it is read by other agents; the last
//! lines of a command's output, as a part of a finding, stand on the finding's own line, between backticks.

mod brief;
mod counsel;
mod markdown;
mod parts;
mod schema;
mod task;
mod template;
mod validate;

#[cfg(test)]
mod tests;

pub use brief::{
    About, CounselBrief, CounselText, DependencyOutput, LastAttempt, TaskBrief, TaskCase, TaskClaim,
    ValidateBrief,
};
pub use counsel::{briefing_prompt, triage_prompt};
pub use schema::{COUNSEL_SCHEMA, TASK_SCHEMA, VERDICT_SCHEMA};
pub use task::{resume_prompt, task_prompt};
pub use validate::validate_prompt;
