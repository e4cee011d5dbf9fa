//! What a task does and how it is proved: `do`, `run`, or the older title and description, and the
//! commands or the prose that judge it.

use wavegate_engine::spec::WorkSpec;

use super::{fields::Fields, report::Report};

pub(super) struct Work {
    pub(super) spec: WorkSpec,
    /// Written as title and description, whose `verify` is prose.
    is_older_form: bool,
}

/// The task's work; that there is none, or too much, is reported.
pub(super) fn read_work(fields: &Fields<'_>, report: &mut Report) -> Option<Work> {
    let new = |spec| Work { spec, is_older_form: false };
    match (fields.get("do"), fields.get("run")) {
        (Some(_), Some(run)) => {
            let what = &fields.what;
            report.error(
                run.key,
                format!(
                    "{what} has both `do` and `run`; expected `do` for a prompt or `run` for a shell command"
                ),
            );
            None
        }
        (Some(prompt), None) => {
            let prompt = prompt.text_as("a prompt", report)?;
            Some(new(WorkSpec::Do(prompt)))
        }
        (None, Some(command)) => {
            let command = command.text_as("a shell command", report)?;
            Some(new(WorkSpec::Run(command)))
        }
        (None, None) => read_older_form(fields, report),
    }
}

fn read_older_form(fields: &Fields<'_>, report: &mut Report) -> Option<Work> {
    let parts = [fields.get("title"), fields.get("description")];
    if parts.iter().all(Option::is_none) {
        report.error(
            fields.place,
            format!("{} has no work; expected `do` (a prompt) or `run` (a shell command)", fields.what),
        );
        return None;
    }
    let texts: Vec<String> = parts.iter().flatten().filter_map(|part| part.text(report)).collect();
    (!texts.is_empty()).then(|| Work { spec: WorkSpec::Do(texts.join("\n\n")), is_older_form: true })
}

/// The commands that must exit 0, and the prose that Thor judges by.
pub(super) fn read_proof(
    fields: &Fields<'_>,
    work: Option<&Work>,
    report: &mut Report,
) -> (Vec<String>, Vec<String>) {
    let mut criteria = Vec::new();
    for name in ["criteria", "test_criteria"] {
        if let Some(field) = fields.get(name) {
            criteria.extend(field.plain_texts("text", report));
        }
    }
    let Some(field) = fields.get("verify") else {
        return (Vec::new(), criteria);
    };
    if !work.is_some_and(|work| work.is_older_form) {
        return (field.plain_texts("a shell command", report), criteria);
    }
    report.repeated_warning(
        field.key,
        "`verify` of a task without `do` or `run` is read as prose for Thor and not run; \
         beside `do` it would be run as shell commands"
            .to_owned(),
    );
    let mut prose = field.plain_texts("text", report);
    prose.append(&mut criteria);
    (Vec::new(), prose)
}
