//! One recorded decision in one line: when, what, about what, why.

use wavegate_proto::v1;

use super::{clean, quantity::clock};

/// `09:05:04 task_submitted W1 T1-01 alpha: hello.txt is written`. Not cut: reasons are read whole.
pub(crate) fn event(event: &v1::Event) -> String {
    let mut line = format!("{} {}", clock(event.at_ms), event.kind);
    for about in [&event.wave, &event.task, &event.worker] {
        if !about.is_empty() {
            line.push(' ');
            line.push_str(about);
        }
    }
    let text = clean(&event.text);
    if !text.is_empty() {
        line.push_str(": ");
        line.push_str(&text);
    }
    // A reason that the text does not say already.
    if !event.reason.is_empty() && !text.contains(&event.reason) {
        line.push_str(&format!(" ({})", event.reason));
    }
    if is_a_persons(&event.actor) {
        line.push_str(&format!(" [by {}]", event.actor));
    }
    clean(&line)
}

/// Who decided is told when it was not the machinery itself.
fn is_a_persons(actor: &str) -> bool {
    !matches!(actor, "" | "coordinator" | "worker" | "thor")
}
