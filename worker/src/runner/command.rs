//! A runner that an operator defines in the worker's config, so that a new vendor needs no code: an argv
//! template, the prompt by standard input or as an argument, and JSON Pointers that say where its output
//! holds what. `settings` reads the section, `template` fills in arguments, `listener` follows a run.

mod listener;
mod settings;
mod template;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
};

use wavegate_proto::v1::Permissions;

use self::template::Filling;
use super::{Ask, Listener, Runner, Talk, account, answer, environment};
use crate::supervisor::Order;

pub use settings::{Checked, CommandSettings, OutputForm, Pointer, PromptBy};
pub use template::Template;

/// A program as an operator describes it.
#[derive(Debug, Clone)]
pub struct Command {
    name: String,
    program: PathBuf,
    settings: CommandSettings,
}

impl Command {
    /// The runner of this name: the program at this absolute path, used as the section says.
    #[must_use]
    pub fn new(name: String, program: PathBuf, settings: CommandSettings) -> Self {
        Self { name, program, settings }
    }

    fn args(&self, ask: &Ask<'_>, filling: &Filling<'_>) -> Vec<String> {
        let settings = &self.settings;
        let when = |is_there: bool, args| if is_there { args } else { &[][..] };
        let is_resumed = matches!(ask.talk, Talk::Resumed { .. });
        let groups = [
            &settings.args[..],
            when(!ask.work.model.is_empty(), &settings.model_args),
            when(is_resumed, &settings.resume_args),
            when(!ask.work.schema.is_empty(), &settings.schema_args),
            when(ask.work.budget_micro_usd.is_some(), &settings.budget_args),
        ];
        let mut args: Vec<_> = groups.into_iter().flatten().map(|template| template.fill(filling)).collect();
        if settings.prompt == PromptBy::Argument && !settings.places_prompt() {
            args.push(filling.prompt.to_owned());
        }
        args
    }
}

impl Runner for Command {
    fn name(&self) -> &str {
        &self.name
    }

    fn variables(&self) -> Vec<String> {
        let proxies = environment::PROXIES.iter().map(|&name| name.to_owned());
        let own = self.settings.env.iter().chain(&self.settings.account_env).cloned();
        own.chain(proxies).collect()
    }

    fn secrets(&self) -> Vec<String> {
        self.settings.account_env.iter().cloned().collect()
    }

    fn order(&self, ask: &Ask<'_>) -> io::Result<Order> {
        let work = ask.work;
        let schema = if self.settings.takes_schema() { "" } else { &work.schema };
        let prompt = answer::asked_in_words(ask.prompt(), schema);
        let (prompt_file, schema_file) = (ask.aside.join("prompt.txt"), ask.aside.join("schema.json"));
        answer::write_private(&prompt_file, &prompt)?;
        if !work.schema.is_empty() {
            answer::write_private(&schema_file, &work.schema)?;
        }
        let (Talk::Fresh { id } | Talk::Resumed { id, .. }) = ask.talk;
        let filling = Filling {
            prompt: &prompt,
            prompt_file: &text(&prompt_file),
            model: &work.model,
            session: id,
            workspace: &text(ask.cwd),
            permissions: permissions(work.permissions()),
            budget_usd: &work.budget_micro_usd.map(usd).unwrap_or_default(),
            schema_file: &if work.schema.is_empty() { String::new() } else { text(&schema_file) },
        };
        Ok(Order {
            program: self.program.clone(),
            args: self.args(ask, &filling),
            cwd: ask.cwd.to_owned(),
            env: ask.env.to_vec(),
            stdin: Some(prompt_file).filter(|_| self.settings.prompt == PromptBy::Stdin),
            stderr: Some(ask.aside.join("stderr.txt")),
            timeout: ask.timeout,
        })
    }

    fn listener(&self, ask: &Ask<'_>) -> Box<dyn Listener> {
        Box::new(listener::Heeding::new(self.settings.clone(), ask))
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn permissions(permissions: Permissions) -> &'static str {
    match permissions {
        Permissions::Read => "read",
        Permissions::Edit | Permissions::Unspecified => "edit",
        Permissions::Full => "full",
    }
}

fn usd(micro: u64) -> String {
    format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000)
}

/// A fingerprint of the account that it spends from; empty where the section names no variable, or the
/// worker does not have it.
#[must_use]
pub fn account(settings: &CommandSettings) -> String {
    let name = settings.account_env.as_deref();
    name.and_then(|name| account::variable(&[name])).map(|secret| account::of(&secret)).unwrap_or_default()
}
