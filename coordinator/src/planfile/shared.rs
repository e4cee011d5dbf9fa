//! Files that several tasks of a wave declare. Owns the warnings of them; whether paths can meet is the engine's rule.

use wavegate_engine::{files, spec::WaveSpec};

use super::{node::Place, report::Report};

/// So many pairs are told one by one.
const MOST_TOLD: usize = 5;

/// Warns of tasks that may get into each other's way. `places`: where each task's `files` are declared.
pub(super) fn note(waves: &[WaveSpec], places: &[Place], report: &mut Report) {
    let (mut first, mut told, mut more) = (0, 0, 0);
    let mut last = Place::START;
    let mut search = files::Search::default();
    for wave in waves {
        let declared: Vec<&[String]> = wave.tasks.iter().map(|task| task.files.as_slice()).collect();
        let edges = wave.tasks.iter().enumerate().flat_map(|(at, task)| {
            task.depends_on.iter().filter_map(move |before| Some((before.at().checked_sub(first)?, at)))
        });
        for overlap in search.overlaps(&declared, edges) {
            let (left, right) = overlap.tasks;
            if told == MOST_TOLD {
                more += 1;
                continue;
            }
            told += 1;
            last = places.get(first + right).copied().unwrap_or(Place::START);
            report.warning(last, overlap.words(&wave.tasks[left].key, &wave.tasks[right].key));
        }
        first += wave.tasks.len();
    }
    if let Some(rest) = search.rest_in_words(more) {
        report.warning(last, rest);
    }
}
