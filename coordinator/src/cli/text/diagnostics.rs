//! What is wrong with a plan file, as compilers say it: `file:line:column: error: message`.

use wavegate_proto::v1;

use super::{clean, counted, severity};

/// One line for each diagnostic, and what they come to.
pub(crate) fn diagnostics(found: &[v1::Diagnostic]) -> String {
    let mut text = String::new();
    for diagnostic in found {
        text.push_str(&line(diagnostic));
    }
    let count = |wanted: v1::Severity| found.iter().filter(|one| one.severity() == wanted).count();
    let errors = count(v1::Severity::Error);
    if errors > 0 {
        let errors = u32::try_from(errors).unwrap_or(u32::MAX);
        text.push_str(&counted(errors, "error", "errors"));
        text.push('\n');
    }
    text
}

fn line(diagnostic: &v1::Diagnostic) -> String {
    let mut message = diagnostic.message.lines();
    let first = clean(message.next().unwrap_or_default());
    let severity = severity(diagnostic.severity());
    let file = clean(&diagnostic.file);
    // A place of 0 stands for the file as a whole.
    let place = match (diagnostic.line, diagnostic.column) {
        (0, _) => file,
        (line, column) => format!("{file}:{line}:{column}"),
    };
    let mut text = format!("{place}: {severity}: {first}\n");
    for more in message {
        text.push_str(&format!("    {}\n", clean(more)));
    }
    text
}
