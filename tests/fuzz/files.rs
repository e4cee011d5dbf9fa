//! What a worker hears from a coordinator that says anything, and a price table of any text.

use std::{collections::BTreeSet, fs};

use prost::Message as _;
use wavegate_coordinator::prices::Prices;
use wavegate_proto::{
    MAX_SESSION_MESSAGE_BYTES,
    v1::{self, coordinator_message::Message},
};
use wavegate_worker::{
    LeaseId,
    session::{Effect, Loss, Machine, Profile},
    work::Ending,
};

use crate::{draw::Draw, messages::folder, target};

target!(a_worker_bears_any_coordinator, 3_000, any_coordinator);
target!(any_price_table_is_read_or_refused, 1_000, any_prices);

fn any_prices(bytes: &[u8]) {
    let folder = folder();
    let path = folder.path().join("prices.toml");
    fs::write(&path, bytes).unwrap();
    match Prices::read(&path) {
        Ok(prices) => drop((prices.blended(), prices.blended_date())),
        Err(error) => assert!(!error.to_string().contains('\n'), "one mistake is one line: {error}"),
    }
}

fn any_coordinator(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let profile = Profile {
        worker_id: "worker".to_owned(),
        instance: "instance".to_owned(),
        name: "worker".to_owned(),
        host: "host".to_owned(),
        version: "1".to_owned(),
        roles: vec![v1::Role::Executor],
        runners: Vec::new(),
        labels: Vec::new(),
        slots: draw.maybe(|draw| draw.below(4) as u32),
    };
    let machine = Machine::new(0, 1, profile, Vec::new());
    let mut worker = Worker { machine, now_ms: 0, started: BTreeSet::new(), running: Vec::new() };
    worker.tick(1_000);
    worker.hear(Message::Welcome(welcome()));
    while !draw.is_empty() {
        worker.step(&mut draw);
    }
}

struct Worker {
    machine: Machine,
    now_ms: u64,
    /// Every lease whose work ever began.
    started: BTreeSet<LeaseId>,
    running: Vec<LeaseId>,
}

impl Worker {
    fn step(&mut self, draw: &mut Draw<'_>) {
        match draw.below(8) {
            0..=4 => {
                let message = said(draw);
                self.hear(message);
            }
            5 => {
                let ms = draw.pick(&[1, 1_000, 20_000, 1_000_000, u64::MAX / 4]);
                self.tick(ms);
            }
            6 if !self.running.is_empty() => {
                let lease = self.running.swap_remove(draw.below(self.running.len()));
                let ending = match draw.below(5) {
                    0 => Ending::Report(Box::default()),
                    1 => Ending::Cancelled,
                    2 => Ending::Fenced,
                    3 => Ending::Unable(draw.text()),
                    _ => Ending::OutOfReach(draw.text()),
                };
                let mut effects = self.machine.on_started(&lease);
                effects.extend(self.machine.on_ended(self.now_ms, &lease, ending));
                self.check(effects);
            }
            _ => {
                let effects = match draw.below(8) {
                    0 => self.machine.on_drain(self.now_ms),
                    1 => self.machine.on_stop(self.now_ms),
                    _ => self.machine.on_lost(self.now_ms, Loss::Broken("cut".to_owned())),
                };
                self.check(effects);
            }
        }
    }

    fn hear(&mut self, message: Message) {
        let effects = self.machine.on_message(self.now_ms, v1::CoordinatorMessage { message: Some(message) });
        self.check(effects);
    }

    fn tick(&mut self, ms: u64) {
        self.now_ms = self.now_ms.saturating_add(ms);
        let effects = self.machine.on_tick(self.now_ms);
        self.check(effects);
        let wake_ms = self.machine.wake_ms();
        assert!(wake_ms > self.now_ms || self.now_ms == u64::MAX, "it would tick without rest");
    }

    fn check(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Start(work) => {
                    assert!(self.started.insert(work.lease_id.clone()), "{} begins twice", work.lease_id);
                    self.running.push(work.lease_id);
                }
                Effect::Send(message) => {
                    let size = v1::WorkerMessage { message: Some(message) }.encoded_len();
                    assert!(size <= MAX_SESSION_MESSAGE_BYTES, "{size} bytes end the session");
                }
                Effect::Connect(hello) => assert!(hello.encoded_len() <= MAX_SESSION_MESSAGE_BYTES),
                Effect::Disconnect(_)
                | Effect::Welcomed { .. }
                | Effect::SetDeadline { .. }
                | Effect::Stop { .. }
                | Effect::Spool(_)
                | Effect::Deliver(_)
                | Effect::Settle(_)
                | Effect::SetAside { .. }
                | Effect::Warn(_)
                | Effect::Leave(_) => {}
            }
        }
    }
}

fn welcome() -> v1::Welcome {
    v1::Welcome {
        session_id: "1".to_owned(),
        heartbeat_ms: 10_000,
        fence_margin_ms: 60_000,
        kill_grace_ms: 10_000,
        protocol: wavegate_proto::PROTOCOL_VERSION,
        ..v1::Welcome::default()
    }
}

fn said(draw: &mut Draw<'_>) -> Message {
    match draw.below(10) {
        0..=2 => Message::Grant(v1::Grant {
            number: draw.number(),
            lease_id: lease(draw),
            lost_after_ms: draw.number(),
            body: draw.pick(&[Some(()), Some(()), None]).map(|()| match draw.below(3) {
                0 => v1::grant::Body::WorkDigest(draw.digest_text()),
                1 => v1::grant::Body::Work(v1::Work::default()),
                _ => {
                    let body = v1::work::Body::Integrate(v1::IntegrateWork::default());
                    v1::grant::Body::Work(v1::Work { body: Some(body), ..v1::Work::default() })
                }
            }),
        }),
        3 => Message::HeartbeatAck(v1::HeartbeatAck {
            number: draw.number(),
            keep: draw.many(3, lease),
            stop: draw.many(3, lease),
        }),
        4 => Message::Cancel(v1::Cancel { lease_id: lease(draw), reason: draw.text() }),
        5 => Message::Accepted(v1::Accepted { lease_id: lease(draw) }),
        6 => Message::Refused(v1::Refused { lease_id: lease(draw), reason: draw.text() }),
        7 => Message::Drain(v1::Drain { reason: draw.text() }),
        8 => Message::Goodbye(v1::Goodbye { reason: draw.text(), permanent: draw.one_in(4) }),
        _ => Message::Welcome(v1::Welcome {
            heartbeat_ms: draw.number(),
            fence_margin_ms: draw.number(),
            kill_grace_ms: draw.number(),
            protocol: if draw.one_in(8) { draw.number_u32() } else { wavegate_proto::PROTOCOL_VERSION },
            ..welcome()
        }),
    }
}

fn lease(draw: &mut Draw<'_>) -> String {
    if draw.one_in(12) { draw.text() } else { format!("{:032x}", draw.below(6)) }
}
