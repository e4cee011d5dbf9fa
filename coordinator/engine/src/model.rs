//! Which model does a task. Owns the families, how names are understood, and the routing rule: sonnet by
//! default, haiku for trivial tasks alone, any other explicit model as asked, with a warning.

use crate::{spec::TaskSpec, state::Tier, words::words};

words! {
    /// A family of Claude models, as people name it.
    pub enum Family {
        Haiku = "haiku",
        Sonnet = "sonnet",
        Opus = "opus",
    }
}

impl Family {
    /// The family that a model's name or id tells: `sonnet`, `claude-sonnet-4.6`, `us.anthropic.claude-opus-5-5`.
    #[must_use]
    pub fn of(model: &str) -> Option<Self> {
        let lower = model.to_ascii_lowercase();
        let mut words = lower.split(|c: char| !c.is_ascii_alphabetic());
        words.find_map(Self::from_word)
    }
}

impl Tier {
    /// The family that a coordinator of this tier is of.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::Sonnet => Family::Sonnet,
            Self::Opus => Family::Opus,
        }
    }
}

/// The model that a task is done by, and why if that is not simply what the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// A name that the runner's program takes; empty where the program chooses.
    pub model: String,
    pub family: Option<Family>,
    /// Why it is another model than the file says.
    pub rerouted: Option<String>,
    /// What a person is told at approval.
    pub warning: Option<String>,
}

/// The runner whose models have families.
const CLAUDE: &str = "claude";

/// The model that does the task: sonnet; haiku only for trivial tasks; an
/// explicit other model stands, with a warning.
#[must_use]
pub fn route(task: &TaskSpec) -> Route {
    let asked = task.model.as_deref().map(str::trim).filter(|model| !model.is_empty());
    let Some(asked) = asked else {
        let family = (task.runner == CLAUDE).then_some(Family::Sonnet);
        let model = family.map_or("", Family::as_str).to_owned();
        return Route { model, family, rerouted: None, warning: None };
    };
    let family = Family::of(asked);
    let stands = |warning| Route { model: canonical(asked), family, rerouted: None, warning };
    match family {
        Some(Family::Haiku) if !task.is_trivial() => {
            let why = format!(
                "{asked} is for trivial tasks alone (effort 1 and a trivial type): it runs on sonnet"
            );
            Route {
                model: Family::Sonnet.as_str().to_owned(),
                family: Some(Family::Sonnet),
                rerouted: Some(why.clone()),
                warning: Some(format!("{}: {why}", task.key)),
            }
        }
        Some(Family::Haiku | Family::Sonnet) => stands(None),
        Some(Family::Opus) | None => {
            stands(Some(format!("{}: runs on {asked}, as the plan says, instead of sonnet", task.key)))
        }
    }
}

/// The name as a program takes it: a Claude id is written with dashes, never with dots.
#[must_use]
pub fn canonical(model: &str) -> String {
    let lower = model.to_ascii_lowercase();
    match Family::of(&lower) {
        Some(family) if lower == family.as_str() => lower,
        Some(_) => lower.replace(['.', ' '], "-"),
        None => model.to_owned(),
    }
}

/// The runner that serves a model of this name, where the name tells.
#[must_use]
pub fn runner_of(model: &str) -> Option<&'static str> {
    let lower = model.to_ascii_lowercase();
    if Family::of(&lower).is_some() {
        return Some(CLAUDE);
    }
    let begins = |prefix: &str| lower.starts_with(prefix);
    if begins("gpt-") || lower.contains("codex") {
        Some("codex")
    } else if begins("gemini") {
        Some("gemini")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::task;

    #[test]
    fn families_are_told_by_names_ids_and_aliases() {
        for (name, family) in [
            ("sonnet", Some(Family::Sonnet)),
            ("Opus", Some(Family::Opus)),
            ("claude-sonnet-4.6", Some(Family::Sonnet)),
            ("claude-3-5-haiku-20241022", Some(Family::Haiku)),
            ("us.anthropic.claude-opus-5-5-v1:0", Some(Family::Opus)),
            ("gpt-5.3-codex", None),
            ("consonnet", None),
        ] {
            assert_eq!(Family::of(name), family, "{name}");
        }
    }

    #[test]
    fn dots_of_claude_ids_become_dashes_and_others_stay() {
        assert_eq!(canonical("claude-sonnet-4.6"), "claude-sonnet-4-6");
        assert_eq!(canonical("Sonnet"), "sonnet");
        assert_eq!(canonical("gpt-5.3-codex"), "gpt-5.3-codex");
    }

    #[test]
    fn sonnet_is_the_default_and_other_programs_choose_for_themselves() {
        assert_eq!(route(&task("a")).model, "sonnet");
        let codex = TaskSpec { runner: "codex".to_owned(), ..task("a") };
        assert_eq!(
            route(&codex),
            Route { model: String::new(), family: None, rerouted: None, warning: None }
        );
    }

    #[test]
    fn haiku_is_for_trivial_tasks_alone() {
        let haiku = TaskSpec { model: Some("haiku".to_owned()), ..task("a") };
        let trivial = TaskSpec { kind: "doc".to_owned(), effort: 1, ..haiku.clone() };
        assert_eq!(route(&trivial).family, Some(Family::Haiku));
        let route = route(&haiku);
        assert_eq!(route.model, "sonnet");
        assert!(route.rerouted.expect("it is there").contains("trivial"));
    }

    #[test]
    fn an_explicit_opus_stands_with_a_warning() {
        let opus = TaskSpec { model: Some("claude-opus-4.6".to_owned()), ..task("T1") };
        let route = route(&opus);
        assert_eq!(route.model, "claude-opus-4-6");
        assert!(route.warning.expect("it is there").starts_with("T1: runs on claude-opus-4.6"));
    }

    #[test]
    fn a_model_tells_its_runner() {
        assert_eq!(runner_of("claude-opus-4.6"), Some("claude"));
        assert_eq!(runner_of("gpt-5.3-codex"), Some("codex"));
        assert_eq!(runner_of("gemini-3-pro-preview"), Some("gemini"));
        assert_eq!(runner_of("mystery"), None);
    }
}
