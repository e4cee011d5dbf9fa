//! How far a plan is, for the person who started it: bars that redraw on a terminal, one line for
//! each event elsewhere.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use wavegate_proto::v1;

use super::board::Board;
use crate::cli::{console::Console, text};

/// How many running tasks are listed on a terminal; the rest is counted.
const SHOWN: usize = 8;

const PLAN_LINE: &str = "[{elapsed_precise}] {bar:30} {pos}/{len} tasks  {wide_msg}";
const TASK_LINE: &str = "  {wide_msg}";

/// The display of one run.
pub(super) struct Progress {
    console: Console,
    /// What happened before is history and is not told.
    from_ms: i64,
    bars: Option<Bars>,
}

struct Bars {
    board: Board,
    screen: MultiProgress,
    plan: ProgressBar,
    tasks: Vec<ProgressBar>,
}

impl Progress {
    pub(super) fn new(console: &Console, plan: &v1::Plan, is_resumed: bool) -> Self {
        Self {
            console: console.clone(),
            from_ms: if is_resumed { now_ms() } else { 0 },
            bars: console.redraws.then(|| Bars::new(plan)),
        }
    }

    pub(super) fn on_event(&mut self, event: &v1::Event) {
        // The board has taken the past in from the plan's own state.
        if event.at_ms < self.from_ms {
            return;
        }
        match &mut self.bars {
            Some(bars) => bars.on_event(event),
            None => self.console.tell(&text::event(event)),
        }
    }

    pub(super) fn on_tick(&mut self) {
        if let Some(bars) = &mut self.bars {
            bars.draw();
        }
    }

    /// A line that stays.
    pub(super) fn tell(&self, line: &str) {
        match &self.bars {
            // A terminal that cannot be written to is nobody's failure.
            Some(bars) => drop(bars.screen.println(line)),
            None => self.console.tell(line),
        }
    }

    /// Leaves the screen to what follows.
    pub(super) fn finish(&mut self) {
        if let Some(bars) = self.bars.take() {
            drop(bars.screen.clear());
        }
    }
}

impl Bars {
    fn new(plan: &v1::Plan) -> Self {
        let board = Board::new(plan);
        let screen = MultiProgress::new();
        let bar = screen.add(ProgressBar::new(board.total()));
        bar.set_style(style(PLAN_LINE));
        let mut bars = Self { board, screen, plan: bar, tasks: Vec::new() };
        bars.draw();
        bars
    }

    fn on_event(&mut self, event: &v1::Event) {
        self.board.on_event(event);
        if stays(&event.kind) {
            drop(self.screen.println(text::event(event)));
        }
    }

    fn draw(&mut self) {
        self.plan.set_length(self.board.total());
        self.plan.set_position(self.board.finished());
        self.plan.set_message(self.board.active_waves());
        let lines = running_lines(&self.board, now_ms());
        while self.tasks.len() < lines.len() {
            let bar = self.screen.add(ProgressBar::no_length());
            bar.set_style(style(TASK_LINE));
            self.tasks.push(bar);
        }
        for bar in self.tasks.drain(lines.len()..) {
            bar.finish_and_clear();
            self.screen.remove(&bar);
        }
        for (bar, line) in self.tasks.iter().zip(lines) {
            bar.set_message(line);
            bar.tick();
        }
    }
}

/// One line for each of the tasks that have run longest, and one for the rest.
fn running_lines(board: &Board, now_ms: i64) -> Vec<String> {
    let running = board.running();
    let mut lines: Vec<_> = running
        .iter()
        .take(SHOWN)
        .map(|(key, worker, since_ms)| {
            let ran = u64::try_from(now_ms - since_ms).unwrap_or(0);
            let line = format!("{key}  {}  {worker}", text::duration(ran));
            text::clean(&line)
        })
        .collect();
    if running.len() > SHOWN {
        lines.push(format!("and {} more", running.len() - SHOWN));
    }
    lines
}

/// What a person wants to find above the bars afterwards.
fn stays(kind: &str) -> bool {
    const ROUTINE: [&str; 10] = [
        "plan_submitted",
        "plan_approved",
        "lease_granted",
        "lease_started",
        "task_submitted",
        "wave_started",
        "wave_integrating",
        "wave_validating",
        "wave_published",
        "worker_connected",
    ];
    !ROUTINE.contains(&kind)
}

/// A template that cannot be read would be a mistake of this file; the default style is no worse.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or(Duration::ZERO);
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_of_the_bars_can_be_read() {
        for template in [PLAN_LINE, TASK_LINE] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn of_many_running_tasks_the_rest_is_counted() {
        let task = |number: u32| v1::Task {
            key: format!("T1-{number:02}"),
            state: v1::TaskState::Leased.into(),
            worker: "alpha".to_owned(),
            attempts: vec![v1::Attempt { granted_ms: 1_000, ..Default::default() }],
            ..Default::default()
        };
        let board = Board::new(&v1::Plan {
            waves: vec![v1::Wave { tasks: (1..=10).map(task).collect(), ..Default::default() }],
            ..Default::default()
        });
        let lines = running_lines(&board, 3_500);
        assert_eq!(lines.len(), SHOWN + 1);
        assert_eq!(lines.first().map(String::as_str), Some("T1-01  2.5 s  alpha"));
        assert_eq!(lines.last().map(String::as_str), Some("and 2 more"));
    }
}
