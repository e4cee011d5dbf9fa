//! An argument with placeholders: `--model={model}`. `{{` and `}}` are braces. Knows no settings.

use serde::Deserialize;

/// Every placeholder.
const PLACEHOLDERS: [&str; 8] =
    ["prompt", "prompt_file", "model", "session", "workspace", "permissions", "budget_usd", "schema_file"];

/// A text that is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("{text:?}: the placeholder {{{name}}} is unknown; there are {}", PLACEHOLDERS.join(", "))]
    Unknown { text: String, name: String },
    #[error("{0:?}: a brace is not closed, or not opened; a brace itself is written twice")]
    Unbalanced(String),
}

/// An argument of a command, to be filled in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Placeholder(&'static str),
}

/// What the placeholders stand for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filling<'a> {
    pub(super) prompt: &'a str,
    pub(super) prompt_file: &'a str,
    pub(super) model: &'a str,
    pub(super) session: &'a str,
    pub(super) workspace: &'a str,
    pub(super) permissions: &'a str,
    pub(super) budget_usd: &'a str,
    pub(super) schema_file: &'a str,
}

impl Filling<'_> {
    fn get(&self, name: &str) -> &str {
        match name {
            "prompt" => self.prompt,
            "prompt_file" => self.prompt_file,
            "model" => self.model,
            "session" => self.session,
            "workspace" => self.workspace,
            "permissions" => self.permissions,
            "budget_usd" => self.budget_usd,
            "schema_file" => self.schema_file,
            // Only names of the list above get into a template.
            _ => "",
        }
    }
}

impl Template {
    /// Whether it holds this placeholder.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Placeholder(known) if *known == name))
    }

    pub(super) fn fill(&self, filling: &Filling<'_>) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Placeholder(name) => filling.get(name).to_owned(),
        };
        self.0.iter().map(text).collect()
    }
}

impl TryFrom<String> for Template {
    type Error = TemplateError;

    fn try_from(text: String) -> Result<Self, TemplateError> {
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text.as_str());
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let (brace, after) = rest[at..].split_at(1);
            if let Some(after) = after.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let inside = after.split_once('}').filter(|_| brace == "{");
            let (name, after) = inside.ok_or_else(|| TemplateError::Unbalanced(text.clone()))?;
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
            pieces.push(placeholder(&text, name)?);
            rest = after;
        }
        plain.push_str(rest);
        pieces.push(Piece::Text(plain));
        Ok(Self(pieces))
    }
}

fn placeholder(text: &str, name: &str) -> Result<Piece, TemplateError> {
    let known = PLACEHOLDERS.into_iter().find(|known| *known == name);
    let unknown = || TemplateError::Unknown { text: text.to_owned(), name: name.to_owned() };
    known.map(Piece::Placeholder).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILLING: Filling<'_> = Filling {
        prompt: "do {model}",
        prompt_file: "/p",
        model: "m-1",
        session: "s",
        workspace: "/w",
        permissions: "edit",
        budget_usd: "1.5",
        schema_file: "",
    };

    fn filled(text: &str) -> Result<String, TemplateError> {
        Template::try_from(text.to_owned()).map(|template| template.fill(&FILLING))
    }

    #[test]
    fn placeholders_are_filled_in_once_and_doubled_braces_are_braces() {
        assert_eq!(filled("--model={model},{budget_usd}").as_deref(), Ok("--model=m-1,1.5"));
        assert_eq!(filled("{prompt}").as_deref(), Ok("do {model}"));
        assert_eq!(filled("{{\"a\": {{}}}}").as_deref(), Ok("{\"a\": {}}"));
        assert_eq!((filled("").as_deref(), filled("{schema_file}").as_deref()), (Ok(""), Ok("")));
    }

    #[test]
    fn what_is_unknown_or_open_is_named() {
        let error = filled("--x={modle}").unwrap_err().to_string();
        assert!(error.contains("{modle}") && error.contains("model, session"), "{error}");
        assert!(matches!(filled("{model"), Err(TemplateError::Unbalanced(_))));
        assert!(matches!(filled("model}"), Err(TemplateError::Unbalanced(_))));
    }

    #[test]
    fn every_placeholder_is_filled_with_its_own() {
        let all = PLACEHOLDERS.map(|name| filled(&format!("{{{name}}}")).unwrap());
        assert_eq!(all, ["do {model}", "/p", "m-1", "s", "/w", "edit", "1.5", ""]);
    }
}
