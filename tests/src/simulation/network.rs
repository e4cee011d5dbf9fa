//! Streams between workers and the coordinator. Owns when a packet arrives, and whether: in a stream order
//! is kept and nothing is lost but its end; over several streams there is no order.

use wavegate_engine::SessionId;
use wavegate_proto::v1;

use super::{
    random::Random,
    world::{Event, World},
};

/// What is on its way.
#[derive(Debug, Clone)]
pub(super) enum Packet {
    /// A worker's message; the first one is its hello.
    Up(Box<v1::WorkerMessage>),
    Down(Box<v1::CoordinatorMessage>),
}

/// One stream. Its number is the session's, too.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) worker: usize,
    /// The worker's process that opened it.
    pub(super) process: u64,
    pub(super) is_open_below: bool,
    pub(super) is_open_above: bool,
    /// Whether the coordinator was told that a session begins.
    pub(super) is_session: bool,
    up_ms: u64,
    down_ms: u64,
    /// What arrives later than this is lost.
    cut_ms: u64,
}

/// The way between one worker's host and the coordinator's.
#[derive(Debug, Default)]
pub(super) struct Way {
    up_blocked_ms: u64,
    down_blocked_ms: u64,
    slow_until_ms: u64,
    delay_ms: u64,
    /// Words about leases that are said twice.
    pub(super) stutters: u32,
}

impl Way {
    fn arrival(&self, now: u64, is_up: bool, random: &mut Random) -> u64 {
        let slow = if now < self.slow_until_ms { self.delay_ms } else { 0 };
        let blocked = if is_up { self.up_blocked_ms } else { self.down_blocked_ms };
        (now + slow).max(blocked) + random.between(1, 60)
    }

    pub(super) fn block(&mut self, until_ms: u64, up: bool, down: bool) {
        if up {
            self.up_blocked_ms = self.up_blocked_ms.max(until_ms);
        }
        if down {
            self.down_blocked_ms = self.down_blocked_ms.max(until_ms);
        }
    }

    pub(super) fn slow(&mut self, until_ms: u64, delay_ms: u64) {
        (self.slow_until_ms, self.delay_ms) = (until_ms, delay_ms);
    }

    /// Faults stop.
    pub(super) fn heal(&mut self) {
        *self = Self::default();
    }
}

impl World {
    /// A worker opens a stream, its hello first.
    pub(super) fn open_stream(&mut self, worker: usize, process: u64, hello: v1::Hello) -> u64 {
        let number = self.streams.len() as u64 + 1;
        self.streams.push(Stream {
            worker,
            process,
            is_open_below: true,
            is_open_above: self.coordinator.is_up(),
            is_session: false,
            up_ms: self.now,
            down_ms: self.now,
            cut_ms: u64::MAX,
        });
        if self.coordinator.is_up() {
            self.send_up(number, v1::worker_message::Message::Hello(hello));
        } else {
            let at = self.ways[worker].arrival(self.now, false, &mut self.chance);
            self.at(at, Event::LostBelow(number));
        }
        number
    }

    pub(super) fn stream(&mut self, number: u64) -> &mut Stream {
        &mut self.streams[number as usize - 1]
    }

    pub(super) fn send_up(&mut self, number: u64, message: v1::worker_message::Message) {
        use v1::worker_message::Message;
        let worker = self.stream(number).worker;
        let way = &mut self.ways[worker];
        let may_repeat = !matches!(message, Message::Hello(_) | Message::Heartbeat(_) | Message::Draining(_));
        let twice = may_repeat && way.stutters > 0;
        let at = way.arrival(self.now, true, &mut self.chance).max(self.stream(number).up_ms);
        self.stream(number).up_ms = at;
        let message = v1::WorkerMessage { message: Some(message) };
        if twice {
            self.ways[worker].stutters -= 1;
            self.outside.borrow_mut().figures.fault("network: a message comes twice");
            let again = at + self.chance.below(20_000);
            self.stream(number).up_ms = again;
            self.at(again, Event::Arrives(number, Packet::Up(Box::new(message.clone()))));
        }
        self.at(at, Event::Arrives(number, Packet::Up(Box::new(message))));
    }

    pub(super) fn send_down(&mut self, number: u64, message: v1::CoordinatorMessage) {
        let worker = self.stream(number).worker;
        let at =
            self.ways[worker].arrival(self.now, false, &mut self.chance).max(self.stream(number).down_ms);
        self.stream(number).down_ms = at;
        self.at(at, Event::Arrives(number, Packet::Down(Box::new(message))));
    }

    /// The worker lets go of a stream; the coordinator hears of it after all that was said in it.
    pub(super) fn close_below(&mut self, number: u64, is_told: bool) {
        let now = self.now;
        let stream = self.stream(number);
        if !std::mem::take(&mut stream.is_open_below) {
            return;
        }
        let (worker, up_ms) = (stream.worker, stream.up_ms);
        // A host that is gone says nothing: the coordinator's keep-alive finds out.
        let silence = if is_told { 0 } else { 60_000 };
        let at = self.ways[worker].arrival(now + silence, true, &mut self.chance).max(up_ms);
        self.at(at, Event::LostAbove(number));
    }

    /// The coordinator lets go of a stream; the worker hears of it after all that was said in it.
    pub(super) fn close_above(&mut self, number: u64, is_told: bool) {
        let stream = self.stream(number);
        if !std::mem::take(&mut stream.is_open_above) {
            return;
        }
        let (worker, down_ms) = (stream.worker, stream.down_ms);
        if is_told {
            let at = self.ways[worker].arrival(self.now, false, &mut self.chance).max(down_ms);
            self.at(at, Event::LostBelow(number));
        }
    }

    /// A reset: what is on its way is lost, and each side hears of it when it does.
    pub(super) fn cut(&mut self, number: u64, below_after_ms: u64, above_after_ms: u64) {
        let now = self.now;
        self.stream(number).cut_ms = now;
        self.at(now + below_after_ms, Event::LostBelow(number));
        self.at(now + above_after_ms, Event::LostAbove(number));
    }

    pub(super) fn is_lost(&mut self, number: u64) -> bool {
        self.stream(number).cut_ms < self.now
    }

    /// The open stream of a worker.
    pub(super) fn stream_of(&self, worker: usize) -> Option<u64> {
        let open = self.streams.iter().enumerate().rev();
        open.take(8).find(|(_, it)| it.worker == worker && it.is_open_below).map(|(at, _)| at as u64 + 1)
    }
}

/// A stream is a session.
pub(super) const fn session(stream: u64) -> SessionId {
    SessionId(stream)
}
