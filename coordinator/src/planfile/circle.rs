//! Waves or tasks that wait for one another in a circle. Owns finding circles in time linear in the
//! edges, and naming each whole.

use super::{
    dependencies::{Edge, Graph},
    report::Report,
};

/// So many members of a circle are told.
const TOLD: usize = 24;

/// Each node outside every circle is settled; what remains leads into circles, and following one
/// remaining edge from each finds at least one circle in every knot.
pub(super) fn report_circles(graph: &Graph<'_>, report: &mut Report) {
    let settled = settled(graph);
    let mut seen = vec![false; graph.edges.len()];
    for start in 0..graph.edges.len() {
        let mut path: Vec<(usize, Edge)> = Vec::new();
        let mut at = start;
        while !settled[at] && !seen[at] {
            seen[at] = true;
            let Some(edge) = graph.edges[at].iter().find(|edge| !settled[edge.to]) else {
                break;
            };
            path.push((at, *edge));
            at = edge.to;
        }
        if let Some(first) = path.iter().position(|(node, _)| *node == at) {
            report_circle(graph, &path[first..], report);
        }
    }
}

/// Whether each node can start some day.
fn settled(graph: &Graph<'_>) -> Vec<bool> {
    let mut waiting: Vec<usize> = graph.edges.iter().map(Vec::len).collect();
    let mut behind: Vec<Vec<usize>> = vec![Vec::new(); waiting.len()];
    for (from, edges) in graph.edges.iter().enumerate() {
        for edge in edges {
            behind[edge.to].push(from);
        }
    }
    let mut open: Vec<usize> = (0..waiting.len()).filter(|at| waiting[*at] == 0).collect();
    let mut settled = vec![false; waiting.len()];
    while let Some(at) = open.pop() {
        settled[at] = true;
        for from in &behind[at] {
            waiting[*from] -= 1;
            if waiting[*from] == 0 {
                open.push(*from);
            }
        }
    }
    settled
}

fn report_circle(graph: &Graph<'_>, circle: &[(usize, Edge)], report: &mut Report) {
    let Some((first, edge)) = circle.first() else {
        return;
    };
    let kind = graph.kind;
    let name = graph.name(*first);
    if circle.len() == 1 {
        report.error(
            edge.place,
            format!("`depends_on` of {kind} `{name}`: expected other {kind}s, found the {kind} itself"),
        );
        return;
    }
    let mut names: Vec<String> = circle.iter().map(|(at, _)| graph.name(*at)).collect();
    if names.len() > TOLD {
        names.truncate(TOLD);
        names.push(format!("({} more)", circle.len() - TOLD));
    }
    names.push(name);
    let implied = circle.iter().find(|(_, edge)| edge.is_default);
    let hint = implied.map(|(at, _)| {
        let wave = graph.name(*at);
        format!(
            "; wave `{wave}` waits for the wave before it because it has no `depends_on`: \
             `depends_on: []` lets it start at once"
        )
    });
    report.error(
        edge.place,
        format!(
            "{kind}s wait for one another in a circle: {}{}",
            names.join(" -> "),
            hint.unwrap_or_default()
        ),
    );
}
