//! Agents at work: what each makes, how long it takes, and its end by its own doing, by its supervisor's
//! deadline or by the end of its worker. Owns I9 where it matters: no two of them on one task.

use wavegate_engine::{LeaseKind, LeaseWork, PlanId, TaskIx, spec::WorkspaceKind};
use wavegate_proto::v1;
use wavegate_worker::{LeaseId, session::Assignment, work::Ending};

use super::{
    mutation::Mutation,
    world::{Event, World},
};

/// The processes of one lease.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) name: LeaseId,
    number: u64,
    process: u64,
    /// On its host's clock.
    pub(super) deadline_ms: u64,
    grace_ms: u64,
    task: Option<(PlanId, TaskIx)>,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Working,
    /// Told to end, and not yet gone.
    Ending,
    Gone,
}

impl World {
    pub(super) fn agent_starts(&mut self, at: usize, assignment: &Assignment) {
        let row = self.lease_row(&assignment.lease_id);
        let Some(row) = row else { return };
        let task = match row.work {
            LeaseWork::Task { task, .. } => Some((row.plan, task)),
            _ => None,
        };
        self.next_agent += 1;
        let number = self.next_agent;
        // A grant that was long on its way is no right to begin: a supervisor starts nothing after its deadline.
        let is_late = self.hosts[at].clock(self.now) >= assignment.deadline_ms;
        let task = task.filter(|_| !is_late);
        let host = &mut self.hosts[at];
        host.agents.push(Agent {
            name: assignment.lease_id.clone(),
            number,
            process: host.process,
            deadline_ms: assignment.deadline_ms,
            grace_ms: assignment.kill_grace_ms,
            task,
            state: if is_late { State::Ending } else { State::Working },
        });
        if is_late {
            return self.at(self.now, Event::AgentGone(at, number));
        }
        self.check_single_agents();
        let timings = &self.scenario.timings;
        let (least, most) = (timings.heartbeat_ms / 5, 2 * timings.lost_after_ms);
        let most = if task.is_some() && !self.is_calm { most } else { timings.heartbeat_ms * 3 };
        let takes = self.chance.magnitude(least, most);
        let begins = self.chance.magnitude(1, 2_000).min(takes);
        self.at(self.now + begins, Event::AgentStarted(at, number));
        if self.chance.chance(300) {
            let tells = self.chance.below(takes);
            self.at(self.now + tells, Event::AgentSpent(at, number));
        }
        self.at(self.now + takes, Event::AgentDone(at, number));
        let deadline = assignment.deadline_ms.saturating_sub(self.hosts[at].clock(0));
        self.at(deadline, Event::AgentDeadline(at, number));
    }

    fn lease_row(&self, name: &LeaseId) -> Option<wavegate_engine::LeaseRow> {
        let id = name.as_str().parse().ok()?;
        self.outside.borrow().durable.leases.get(&id).cloned()
    }

    fn agent(&self, at: usize, number: u64) -> Option<usize> {
        self.hosts[at].agents.iter().position(|agent| agent.number == number && agent.state != State::Gone)
    }

    /// I9: of those whose host is awake.
    fn check_single_agents(&self) {
        let mut at_work = std::collections::BTreeMap::new();
        for (at, host) in self.hosts.iter().enumerate().filter(|(_, host)| host.asleep_until_ms <= self.now) {
            for agent in host.agents.iter().filter(|agent| agent.state != State::Gone) {
                let Some(task) = agent.task else { continue };
                if let Some((other, lease)) = at_work.insert(task, (at, &agent.name)) {
                    let name = &agent.name;
                    panic!(
                        "I9: agents of leases {lease} at worker {other} and {name} at worker {at} on {task:?}"
                    );
                }
            }
        }
    }

    pub(super) fn agent_started(&mut self, at: usize, number: u64) {
        if let Some(agent) = self.agent(at, number) {
            let (name, process) =
                (self.hosts[at].agents[agent].name.clone(), self.hosts[at].agents[agent].process);
            if self.hosts[at].process == process {
                self.tell_machine(at, |machine, _| machine.on_started(&name));
            }
        }
    }

    pub(super) fn agent_spent(&mut self, at: usize, number: u64) {
        let Some(agent) = self.agent(at, number) else { return };
        let agent = &self.hosts[at].agents[agent];
        let (name, process) = (agent.name.clone(), agent.process);
        let tokens_in = self.chance.between(1, 9_000);
        let used =
            vec![v1::ModelUsage { model: "claude-sonnet-5-5".to_owned(), tokens_in, ..Default::default() }];
        if self.hosts[at].process == process {
            self.tell_machine(at, |machine, _| machine.on_used(&name, used));
        }
    }

    pub(super) fn agent_done(&mut self, at: usize, number: u64) {
        let Some(agent) = self.agent(at, number) else { return };
        if self.hosts[at].agents[agent].state != State::Working {
            return;
        }
        let name = self.hosts[at].agents[agent].name.clone();
        let ending = self.ending(&name);
        self.ends(at, agent, ending);
    }

    /// The supervisor looks at the clock.
    pub(super) fn agent_deadline(&mut self, at: usize, number: u64) {
        let Some(agent) = self.agent(at, number) else { return };
        let now = self.hosts[at].clock(self.now);
        let deadline = self.hosts[at].agents[agent].deadline_ms;
        if now < deadline {
            let wait = deadline - now;
            self.at(self.now + wait, Event::AgentDeadline(at, number));
        } else if self.mutation != Some(Mutation::UnfencedWorker) {
            self.agent_is_ended(at, agent);
        }
    }

    /// TERM now, KILL after the grace: but never later than the deadline and the grace after it.
    pub(super) fn agent_is_ended(&mut self, at: usize, agent: usize) {
        let clock = self.hosts[at].clock(self.now);
        let agent = &mut self.hosts[at].agents[agent];
        if agent.state == State::Working {
            agent.state = State::Ending;
            let latest = agent.deadline_ms.saturating_add(agent.grace_ms).saturating_sub(clock);
            let number = agent.number;
            let grace = agent.grace_ms.min(latest);
            let takes = self.chance.below(grace + 1);
            self.at(self.now + takes, Event::AgentGone(at, number));
        }
    }

    pub(super) fn agent_gone(&mut self, at: usize, number: u64) {
        let Some(agent) = self.agent(at, number) else { return };
        let agent_clock = self.hosts[at].clock(self.now);
        let overdue = agent_clock >= self.hosts[at].agents[agent].deadline_ms;
        self.ends(at, agent, if overdue { Ending::Fenced } else { Ending::Cancelled });
    }

    /// Killed with its host, or by who clears leftovers: nobody is told.
    pub(super) fn agent_dies(&mut self, at: usize, agent: usize) {
        self.hosts[at].agents[agent].state = State::Gone;
    }

    pub(super) fn sweep_agents(&mut self, at: usize) {
        self.hosts[at].agents.retain(|agent| agent.state != State::Gone);
    }

    fn ends(&mut self, at: usize, agent: usize, ending: Ending) {
        let agent = self.hosts[at].agents.remove(agent);
        let (name, process) = (agent.name, agent.process);
        self.trace(|| format!("worker {at}: work of {name} ends, {ending:?}").chars().take(300).collect());
        self.tell_end(at, process, &name, ending);
    }

    /// A host wakes: supervisors whose deadline passed meanwhile find out first.
    pub(super) fn host_wakes(&mut self, at: usize) {
        if self.hosts[at].asleep_until_ms != self.now {
            return;
        }
        let numbers: Vec<_> = self.hosts[at].agents.iter().map(|agent| agent.number).collect();
        for number in numbers {
            self.agent_deadline(at, number);
            self.kill_overdue(at, number);
        }
        self.check_single_agents();
    }

    /// Whose grace passed in sleep, too, is killed without another.
    fn kill_overdue(&mut self, at: usize, number: u64) {
        let Some(agent) = self.agent(at, number) else { return };
        let clock = self.hosts[at].clock(self.now);
        let it = &self.hosts[at].agents[agent];
        if it.state == State::Ending && clock >= it.deadline_ms.saturating_add(it.grace_ms) {
            self.agent_gone(at, number);
        }
    }

    /// How the work ends by itself.
    fn ending(&mut self, name: &LeaseId) -> Ending {
        let Some(row) = self.lease_row(name) else { return Ending::Cancelled };
        let is_good = self.is_calm || !self.chance.chance(self.scenario.trouble);
        if !is_good && self.chance.chance(60) {
            return Ending::Unable("it lacks something".to_owned());
        }
        if !is_good && self.is_on_git(row.plan) && self.chance.chance(60) {
            return Ending::OutOfReach("the repository is nowhere".to_owned());
        }
        let has_account = row.account.is_some();
        let mut report = match row.work.kind() {
            LeaseKind::Task => self.task_report(is_good, has_account),
            LeaseKind::Integrate => self.integrate_report(is_good, row.plan, row.wave),
            LeaseKind::Validate => self.validate_report(is_good, row.plan, row.wave, has_account),
            LeaseKind::Coordinate => self.counsel_report(is_good, &row.work),
            LeaseKind::Publish => self.publish_report(is_good),
        };
        if has_account && report.usage.is_none() && self.chance.chance(800) {
            let tokens_in = self.chance.between(1, 12_000);
            report.usage = Some(v1::Usage { tokens_in, ..v1::Usage::default() });
        }
        Ending::Report(Box::new(report))
    }

    fn task_report(&mut self, is_good: bool, has_account: bool) -> v1::Report {
        use v1::Outcome as O;
        if is_good {
            let changes = if self.chance.chance(700) { self.fresh_digest() } else { String::new() };
            return v1::Report { changes, changed_files: 1, ..report(O::Succeeded) };
        }
        let own = [O::Failed, O::Failed, O::TimedOut, O::Skipped, O::Killed, O::Nonsense];
        let agents = [
            O::Denied,
            O::TurnLimit,
            O::BudgetLimit,
            O::Refused,
            O::UsageLimit,
            O::BadCredentials,
            O::Overloaded,
            O::Unreachable,
        ];
        let outcome = if has_account && self.chance.chance(500) {
            self.chance.pick(&agents)
        } else {
            self.chance.pick(&own)
        };
        let retry_after_ms = self.chance.chance(300).then(|| self.chance.below(200_000));
        v1::Report { retry_after_ms, ..report(outcome) }
    }

    fn fresh_digest(&mut self) -> String {
        let (high, low) = (self.chance.wide(), self.chance.wide());
        format!("{high:032x}{low:032x}")
    }

    fn any_task(&mut self, plan: PlanId, wave: wavegate_engine::WaveIx) -> String {
        let range = self.outside.borrow().durable.plans[&plan].shape.waves[wave.at()].tasks.clone();
        let task = range.start + self.chance.below(u64::from(range.end - range.start)) as u32;
        self.outside.borrow().durable.plans[&plan].shape.tasks[task as usize].key.clone()
    }

    fn integrate_report(&mut self, is_good: bool, plan: PlanId, wave: wavegate_engine::WaveIx) -> v1::Report {
        // Somebody has pushed to the repository meanwhile.
        let is_moved = self.is_on_git(plan) && self.chance.chance(200);
        let target = if is_moved { self.fresh_digest() } else { String::new() };
        if is_good {
            return v1::Report { candidate: self.fresh_digest(), target, ..report(v1::Outcome::Succeeded) };
        }
        if self.chance.chance(300) {
            return report(v1::Outcome::Failed);
        }
        let task =
            if self.chance.chance(800) { self.any_task(plan, wave) } else { "no such task".to_owned() };
        let with = if self.chance.chance(500) { vec![self.any_task(plan, wave)] } else { Vec::new() };
        let conflicts = vec![v1::Conflict { task, text: "it was changed otherwise".to_owned(), with }];
        v1::Report { conflicts, target, ..report(v1::Outcome::Conflict) }
    }

    fn publish_report(&mut self, is_good: bool) -> v1::Report {
        if is_good {
            return v1::Report { candidate: self.fresh_digest(), ..report(v1::Outcome::Succeeded) };
        }
        report(if self.chance.chance(600) { v1::Outcome::TargetMoved } else { v1::Outcome::Failed })
    }

    fn is_on_git(&self, plan: PlanId) -> bool {
        self.outside.borrow().durable.plans[&plan].shape.workspace == WorkspaceKind::Git
    }

    fn validate_report(
        &mut self,
        is_good: bool,
        plan: PlanId,
        wave: wavegate_engine::WaveIx,
        has_account: bool,
    ) -> v1::Report {
        use v1::Decision as D;
        if !is_good && self.chance.chance(300) {
            let outcome = if has_account { v1::Outcome::Overloaded } else { v1::Outcome::Failed };
            return report(outcome);
        }
        let bad = [D::Rejected, D::Rejected, D::Rejected, D::Challenged, D::Escalated];
        let decision = if is_good { D::Approved } else { self.chance.pick(&bad) };
        let task = if self.chance.chance(200) { String::new() } else { self.any_task(plan, wave) };
        let findings =
            if is_good { Vec::new() } else { vec![v1::Finding { task, text: "not good".to_owned() }] };
        let verdict = v1::Verdict { decision: decision.into(), findings, ..v1::Verdict::default() };
        v1::Report { verdict: Some(verdict), ..report(v1::Outcome::Succeeded) }
    }

    fn counsel_report(&mut self, is_good: bool, work: &LeaseWork) -> v1::Report {
        let LeaseWork::Coordinate { tier, .. } = work else { return report(v1::Outcome::Failed) };
        let family =
            if is_good || self.chance.chance(500) { tier.family().to_string() } else { "haiku".to_owned() };
        let outcome =
            if is_good || self.chance.chance(500) { v1::Outcome::Succeeded } else { v1::Outcome::Failed };
        let counsel = Some(v1::Counsel { note: "mind the gap".to_owned(), tasks: Vec::new() });
        v1::Report { counsel, model: format!("claude-{family}-5-5"), ..report(outcome) }
    }
}

fn report(outcome: v1::Outcome) -> v1::Report {
    v1::Report { outcome: outcome.into(), run_ms: 10, ..v1::Report::default() }
}
