//! Files that several tasks of a wave declare. Owns the warnings of them; whether paths can meet is the engine's rule.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use wavegate_engine::{files, spec::WaveSpec};

use super::{node::Place, report::Report};

/// So many pairs are told one by one.
const MOST_TOLD: usize = 5;

/// Warns of tasks that may get into each other's way. `places`: where each task's `files` are declared.
pub(super) fn note(waves: &[WaveSpec], places: &[Place], report: &mut Report) {
    let (mut first, mut told, mut more) = (0, 0, 0);
    let mut last = Place::START;
    for wave in waves {
        let ancestors = Ancestors { wave, first, known: RefCell::default() };
        let declared: Vec<&[String]> = wave.tasks.iter().map(|task| task.files.as_slice()).collect();
        for overlap in files::overlaps(&declared, |left, right| ancestors.ordered(left, right)) {
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
    if more > 0 {
        report.warning(last, format!("and {more} more pairs of tasks that declare the same files"));
    }
}

/// What each task of a wave waits for, found when it is asked for.
struct Ancestors<'w> {
    wave: &'w WaveSpec,
    /// The place of the wave's first task in the plan.
    first: usize,
    known: RefCell<BTreeMap<usize, BTreeSet<usize>>>,
}

impl Ancestors<'_> {
    /// Whether one of the two waits for the other.
    fn ordered(&self, left: usize, right: usize) -> bool {
        self.is_before(left, right) || self.is_before(right, left)
    }

    fn is_before(&self, one: usize, other: usize) -> bool {
        self.known.borrow_mut().entry(other).or_insert_with(|| self.all_before(other)).contains(&one)
    }

    fn all_before(&self, task: usize) -> BTreeSet<usize> {
        let mut before = BTreeSet::new();
        let mut open = vec![task];
        while let Some(at) = open.pop() {
            for edge in &self.wave.tasks[at].depends_on {
                let to = edge.at().saturating_sub(self.first);
                if before.insert(to) {
                    open.push(to);
                }
            }
        }
        before
    }
}
