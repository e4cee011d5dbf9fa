//! What waits for what. Owns turning names into places in the plan, and refusing names that are
//! there twice, not there at all, or wait for themselves in a circle.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use wavegate_engine::{TaskIx, WaveIx, spec::WaveSpec};

use super::{
    circle::report_circles,
    near::did_you_mean,
    node::{Place, Placed, shorten},
    report::Report,
    shared,
    wave::WaveDraft,
};

/// The waves with their dependencies resolved. Incomplete where the report has errors.
pub(super) fn resolve(drafts: Vec<WaveDraft>, report: &mut Report) -> Vec<WaveSpec> {
    let waves = wave_graph(&drafts, report);
    let tasks = task_graph(&drafts, &waves, report);
    if report.has_errors() {
        return Vec::new();
    }
    let (wave_edges, task_edges) = (waves.edges, tasks.edges);
    let mut task_edges = task_edges.into_iter();
    let mut specs = Vec::with_capacity(drafts.len());
    let mut places = Vec::new();
    for (draft, edges) in drafts.into_iter().zip(wave_edges) {
        let mut spec = WaveSpec {
            key: draft.key.map(|key| key.value).unwrap_or_default(),
            name: draft.name,
            depends_on: edges.iter().map(|edge| WaveIx(edge.to as u32)).collect(),
            verify: draft.verify,
            merge_mode: draft.merge_mode,
            tasks: Vec::with_capacity(draft.tasks.len()),
        };
        for (task, edges) in draft.tasks.into_iter().zip(task_edges.by_ref()) {
            if let Some(mut spec_of_task) = task.spec {
                spec_of_task.depends_on = edges.iter().map(|edge| TaskIx(edge.to as u32)).collect();
                spec.tasks.push(spec_of_task);
                places.push(task.files);
            }
        }
        specs.push(spec);
    }
    shared::note(&specs, &places, report);
    specs
}

/// Nodes are numbered in the order of the file.
pub(super) struct Graph<'d> {
    /// "wave" or "task".
    pub(super) kind: &'static str,
    names: Vec<Option<&'d Placed<String>>>,
    by_name: BTreeMap<&'d str, usize>,
    pub(super) edges: Vec<Vec<Edge>>,
}

/// Waits for `to`, as is said at `place`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge {
    pub(super) to: usize,
    pub(super) place: Place,
    /// Not written in the file: the wave before.
    pub(super) is_default: bool,
}

impl<'d> Graph<'d> {
    fn new(kind: &'static str, names: Vec<Option<&'d Placed<String>>>, report: &mut Report) -> Self {
        let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
        for (at, name) in names.iter().enumerate() {
            let Some(name) = name else { continue };
            let Some(first) = by_name.get(name.value.as_str()) else {
                by_name.insert(&name.value, at);
                continue;
            };
            let place = names[*first].map_or(Place::START, |first| first.place);
            report.error(
                name.place,
                format!(
                    "the {kind} `{}` is already at line {}, column {}; expected ids that differ \
                     in the whole plan",
                    shorten(&name.value),
                    place.line,
                    place.column
                ),
            );
        }
        let edges = vec![Vec::new(); names.len()];
        Self { kind, names, by_name, edges }
    }

    /// For a message.
    pub(super) fn name(&self, at: usize) -> String {
        match self.names.get(at) {
            Some(Some(name)) => shorten(&name.value),
            _ => format!("{} {}", self.kind, at + 1),
        }
    }

    /// Once all edges are there: each only once, in the order of the file.
    fn settle(&mut self) {
        for edges in &mut self.edges {
            edges.sort_by_key(|edge| edge.to);
            edges.dedup_by_key(|edge| edge.to);
        }
    }

    /// Where the wanted name is; its absence is reported, with the nearest of the nodes `near`.
    fn find(
        &self,
        from: usize,
        wanted: &Placed<String>,
        near: Range<usize>,
        report: &mut Report,
    ) -> Option<usize> {
        if let Some(found) = self.by_name.get(wanted.value.as_str()) {
            return Some(*found);
        }
        let guess = if report.is_full() {
            String::new()
        } else {
            let names = self.names[near].iter().flatten();
            did_you_mean(&wanted.value, names.map(|name| name.value.as_str()))
        };
        let kind = self.kind;
        report.error(
            wanted.place,
            format!(
                "`depends_on` of {kind} `{}`: there is no {kind} `{}`{guess}",
                self.name(from),
                shorten(&wanted.value)
            ),
        );
        None
    }
}

fn wave_graph<'d>(drafts: &'d [WaveDraft], report: &mut Report) -> Graph<'d> {
    let names = drafts.iter().map(|draft| draft.key.as_ref()).collect();
    let mut graph = Graph::new("wave", names, report);
    for (from, draft) in drafts.iter().enumerate() {
        let Some(wanted) = &draft.depends_on else {
            if let Some(to) = from.checked_sub(1) {
                let place = draft.key.as_ref().map_or(draft.place, |key| key.place);
                let is_default = true;
                graph.edges[from].push(Edge { to, place, is_default });
            }
            continue;
        };
        for wanted in wanted {
            if let Some(to) = graph.find(from, wanted, 0..drafts.len(), report) {
                graph.edges[from].push(Edge { to, place: wanted.place, is_default: false });
            }
        }
    }
    graph.settle();
    report_circles(&graph, report);
    graph
}

fn task_graph<'d>(drafts: &'d [WaveDraft], waves: &Graph<'_>, report: &mut Report) -> Graph<'d> {
    let tasks = drafts.iter().flat_map(|wave| &wave.tasks);
    let names = tasks.map(|task| task.key.as_ref()).collect();
    let mut graph = Graph::new("task", names, report);
    let mut before = Before::default();
    let ranges = ranges(drafts);
    for (wave, draft) in drafts.iter().enumerate() {
        for (from, task) in ranges[wave].clone().zip(&draft.tasks) {
            for wanted in &task.depends_on {
                let Some(to) = graph.find(from, wanted, ranges[wave].clone(), report) else {
                    continue;
                };
                if ranges[wave].contains(&to) {
                    graph.edges[from].push(Edge { to, place: wanted.place, is_default: false });
                    continue;
                }
                let other = ranges.partition_point(|range| range.end <= to);
                let is_before = before.of(wave, waves).contains(&other);
                let pair = [waves.name(wave), waves.name(other)];
                note_other_wave(&graph.name(from), wanted, pair, is_before, report);
            }
        }
    }
    graph.settle();
    report_circles(&graph, report);
    graph
}

/// Each wave's tasks, as numbers in the whole plan.
fn ranges(drafts: &[WaveDraft]) -> Vec<Range<usize>> {
    let mut first = 0;
    let range = |draft: &WaveDraft| {
        let range = first..first + draft.tasks.len();
        first = range.end;
        range
    };
    drafts.iter().map(range).collect()
}

/// The waves before each wave, found once.
#[derive(Default)]
struct Before(BTreeMap<usize, BTreeSet<usize>>);

impl Before {
    fn of(&mut self, wave: usize, waves: &Graph<'_>) -> &BTreeSet<usize> {
        self.0.entry(wave).or_insert_with(|| {
            let mut before = BTreeSet::new();
            let mut open = vec![wave];
            while let Some(at) = open.pop() {
                for edge in &waves.edges[at] {
                    if before.insert(edge.to) {
                        open.push(edge.to);
                    }
                }
            }
            before
        })
    }
}

fn note_other_wave(
    from: &str,
    wanted: &Placed<String>,
    [mine, other]: [String; 2],
    is_before: bool,
    report: &mut Report,
) {
    let wanted_name = shorten(&wanted.value);
    let head = format!("`depends_on` of task `{from}`: `{wanted_name}` is in wave `{other}`");
    if is_before {
        report
            .warning(wanted.place, format!("{head}, which wave `{mine}` waits for anyway; it has no effect"));
    } else {
        report.error(
            wanted.place,
            format!(
                "{head}; expected a task of wave `{mine}`. \
                 To wait for another wave, name it in `depends_on` of wave `{mine}`"
            ),
        );
    }
}
