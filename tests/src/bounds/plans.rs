//! Plans of any size, as a person would write them.

use std::fmt::Write as _;

/// A plan of independent waves of at most `wave` shell tasks each, without a workspace and without `verify`
/// commands: all that it asks of a coordinator is to keep it going.
#[must_use]
pub fn wide_plan(name: &str, tasks: usize, wave: usize) -> String {
    let mut text = format!("name: {name}\nproject: {{ workspace: none }}\nwaves:\n");
    let mut left = tasks;
    let mut number = 0;
    while left > 0 {
        number += 1;
        let here = left.min(wave);
        left -= here;
        // A text that is written to takes everything.
        let _ = write!(text, "  - id: W{number}\n    depends_on: []\n    tasks:\n");
        for at in 1..=here {
            let _ = writeln!(text, "      - {{ id: T{number}-{at:05}, run: \"true\", verify: [\"true\"] }}");
        }
    }
    text
}
