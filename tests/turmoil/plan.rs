//! The plan of a simulation.

use std::fmt::Write as _;

/// Two waves of so many tasks each.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) tasks_of_wave: usize,
}

impl Plan {
    pub(crate) fn of(tasks_of_wave: usize) -> Self {
        Self { name: "simulated".to_owned(), tasks_of_wave }
    }

    pub(crate) fn tasks(&self) -> usize {
        2 * self.tasks_of_wave
    }

    /// The file. What a task runs is known by nobody: stand-ins do it.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "name: {}\nproject: {{ workspace: none }}\ndefaults: {{ on_lost: retry }}\nwaves:\n",
            self.name
        );
        for wave in 1..=2 {
            let _ = writeln!(text, "  - id: W{wave}\n    tasks:");
            for task in 1..=self.tasks_of_wave {
                // Some wait for others.
                let after = if task % 5 == 0 {
                    format!(", depends_on: [T{wave}-{:02}]", task - 1)
                } else {
                    String::new()
                };
                let _ = writeln!(
                    text,
                    "      - {{ id: T{wave}-{task:02}, run: \"stand in\", verify: [\"true\"]{after} }}"
                );
            }
        }
        text
    }
}
