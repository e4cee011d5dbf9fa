//! The sections `[runner.NAME]` of a worker's config: a few words about a runner that is built in, or the
//! whole description of one that is not. Reads them; looks for no program.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize,
    de::{Error as _, MapAccess, Visitor},
};

use super::{
    command::{Checked, CommandSettings},
    registry::{self, ProgramConfig},
    shell,
};

/// What one section says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunnerSettings {
    /// About the program of a runner that is built in.
    Program(ProgramConfig),
    /// A runner of the operator's own.
    Command(Box<CommandSettings>),
}

/// All sections, by the runner's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sections(pub BTreeMap<String, RunnerSettings>);

impl<'de> Deserialize<'de> for Sections {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(SectionsVisitor)
    }
}

struct SectionsVisitor;

impl<'de> Visitor<'de> for SectionsVisitor {
    type Value = Sections;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a section [runner.NAME] for each runner")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Sections, A::Error> {
        let mut sections = BTreeMap::new();
        while let Some(Name(name)) = map.next_key()? {
            // Which kind it is decides what it may say.
            let settings = if registry::is_built_in(&name) {
                RunnerSettings::Program(map.next_value()?)
            } else {
                RunnerSettings::Command(Box::new(map.next_value::<Checked>()?.0))
            };
            sections.insert(name, settings);
        }
        Ok(Sections(sections))
    }
}

/// A name that is good for plans, folders and lists.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if name == shell::NAME {
            return Err(D::Error::custom("the runner shell has nothing to be set"));
        }
        if name.is_empty() || !name.chars().all(is_plain) {
            let text = format!("a runner's name is of small letters, digits, '-' and '_'; found {name:?}");
            return Err(D::Error::custom(text));
        }
        Ok(Self(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct File {
        runner: Sections,
    }

    fn read(text: &str) -> Result<Sections, String> {
        toml::from_str::<File>(text).map(|file| file.runner).map_err(|error| error.to_string())
    }

    #[test]
    fn a_section_is_read_as_the_kind_of_its_runner() {
        let sections =
            read("[runner.codex]\nargs = ['-x']\n[runner.tiny]\nprogram = '/bin/tiny'\n").unwrap().0;
        let RunnerSettings::Program(codex) = &sections["codex"] else { panic!("{sections:?}") };
        assert_eq!((codex.args.clone(), codex.program.clone()), (vec!["-x".to_owned()], None));
        let RunnerSettings::Command(tiny) = &sections["tiny"] else { panic!("{sections:?}") };
        assert_eq!((tiny.program.to_str(), tiny.version_args.len()), (Some("/bin/tiny"), 1));
    }

    #[test]
    fn a_wrong_section_says_where_and_what() {
        let error = |text: &str| read(text).unwrap_err();
        let wrong = error("[runner.codex]\n\nprompt = 'stdin'");
        assert!(wrong.contains("line 3") && wrong.contains("unknown field `prompt`"), "{wrong}");
        let wrong = error("[runner.tiny]\nprogram = 'x'\nargs = ['{x}']");
        assert!(wrong.contains("line 3") && wrong.contains("{x}"), "{wrong}");
        let wrong = error("[runner.tiny]\nprogram = 'x'\nresult = '/x'");
        assert!(wrong.contains("line 1") && wrong.contains("`result`"), "{wrong}");
        assert!(error("[runner.'Ti ny']\nprogram = 'x'").contains("found \"Ti ny\""));
        assert!(error("[runner.shell]\nprogram = 'x'").contains("nothing to be set"));
    }
}
