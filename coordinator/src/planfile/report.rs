//! Where the readers put mistakes. Owns their order, how many are kept, and saying once what
//! happens many times; knows nothing of plans.

use std::collections::BTreeMap;

use super::{
    diagnostic::{Diagnostic, Severity},
    node::Place,
};

/// More than a person reads; bounds what a hostile file can make us say.
const MAX_DIAGNOSTICS: usize = 500;

#[derive(Debug)]
pub(super) struct Report {
    file: String,
    found: Vec<(Place, Severity, String)>,
    /// By message: where it was first, and how often.
    repeated: BTreeMap<String, (Place, usize)>,
    errors: usize,
    dropped: usize,
}

impl Report {
    pub(super) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), found: Vec::new(), repeated: BTreeMap::new(), errors: 0, dropped: 0 }
    }

    pub(super) fn file(&self) -> &str {
        &self.file
    }

    pub(super) const fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Whether more would not be kept, so that costly words need not be looked for.
    pub(super) const fn is_full(&self) -> bool {
        self.found.len() >= MAX_DIAGNOSTICS
    }

    pub(super) fn error(&mut self, place: Place, message: impl Into<String>) {
        self.errors += 1;
        self.keep(place, Severity::Error, message.into());
    }

    pub(super) fn warning(&mut self, place: Place, message: impl Into<String>) {
        self.keep(place, Severity::Warning, message.into());
    }

    /// A warning that is said once, at its first place, with how often it applies.
    pub(super) fn repeated_warning(&mut self, place: Place, message: String) {
        if self.repeated.len() < MAX_DIAGNOSTICS {
            self.repeated.entry(one_line(message)).or_insert((place, 0)).1 += 1;
        }
    }

    /// Everything in the order of the file.
    pub(super) fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        for (message, (place, times)) in std::mem::take(&mut self.repeated) {
            let message = if times > 1 { format!("{message} ({times} times, here first)") } else { message };
            self.found.push((place, Severity::Warning, message));
        }
        self.found.sort();
        if self.dropped > 0 {
            let message = format!("{} more like these are not shown", self.dropped);
            let last = self.found.last().map_or(Place::START, |(place, ..)| *place);
            self.found.push((last, Severity::Warning, message));
        }
        let file = self.file;
        let diagnostic = |(place, severity, message): (Place, Severity, String)| Diagnostic {
            severity,
            file: file.clone(),
            line: place.line,
            column: place.column,
            message,
        };
        self.found.into_iter().map(diagnostic).collect()
    }

    fn keep(&mut self, place: Place, severity: Severity, message: String) {
        // An error is always kept over the limit when it is the first: a refusal says why.
        if self.is_full() && !(severity == Severity::Error && self.errors == 1) {
            self.dropped += 1;
            return;
        }
        self.found.push((place, severity, one_line(message)));
    }
}

/// What a file holds may stand in a message; its line breaks may not.
fn one_line(message: String) -> String {
    message.replace(char::is_control, " ")
}
