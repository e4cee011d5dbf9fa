//! One mistake in a plan file, as it is shown to a person. Owns its form, not its words.

use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The plan is not accepted.
    Error,
    /// The plan is accepted; a person should know.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One mistake and its place. `Display` gives `plan.yaml:4:9: error: ...` on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// What was found and what was expected, on one line.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}: {}", self.file, self.line, self.column, self.severity, self.message)
    }
}

/// Longer lines of a file are cut, so that a caret still stands below its place on a terminal.
const MAX_QUOTE: usize = 120;

impl Diagnostic {
    /// The mistake with the line of the file that holds it and a mark below its column.
    #[must_use]
    pub fn render(&self, source: &str) -> String {
        let head = format!(
            "{}: {}\n  --> {}:{}:{}\n",
            self.severity, self.message, self.file, self.line, self.column
        );
        let quoted = source.lines().nth(self.line.saturating_sub(1) as usize);
        match quoted {
            Some(line) if (self.column as usize) <= MAX_QUOTE => head + &self.quote(line),
            _ => head,
        }
    }

    fn quote(&self, line: &str) -> String {
        let line = line.strip_prefix('\u{feff}').unwrap_or(line);
        let shown: String = line.chars().take(MAX_QUOTE).map(harmless).collect();
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        // Tabs are repeated below, so that the mark stands right whatever their width.
        let indent: String = shown
            .chars()
            .take(self.column.saturating_sub(1) as usize)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        format!("{margin} |\n{number} | {shown}\n{margin} | {indent}^\n")
    }
}

/// A file may not speak to the terminal that shows it.
const fn harmless(character: char) -> char {
    match character {
        '\0'..='\u{8}' | '\u{a}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => '\u{fffd}',
        other => other,
    }
}
