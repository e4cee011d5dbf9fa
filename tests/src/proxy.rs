//! A network between a worker and its coordinator that can be made worse: a TCP proxy in the test.
//! Knows bytes and connections, nothing of what they mean.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crate::wait_until;

/// How often a connection looks whether the network has changed.
const LOOK: Duration = Duration::from_millis(5);

/// The network's state, shared with every connection.
#[derive(Debug, Default)]
struct Network {
    /// Bytes are read and thrown away in both directions; neither side hears of it.
    is_silent: AtomicBool,
    /// The same, for what the coordinator sends only.
    is_deaf: AtomicBool,
    /// New connections end at once.
    is_cut: AtomicBool,
    /// Cuts so far. A connection that is older than the last of them ends, however short the cut was.
    cuts: AtomicU64,
    /// The cuts after which nobody waits to be accepted who was there before.
    swept: AtomicU64,
    /// Each read of bytes waits so long before it is passed on.
    delay_ms: AtomicU64,
    /// Bytes on the way to the coordinator until the network is cut by itself; 0: never.
    fuse: AtomicU64,
    /// Bytes that reached the coordinator.
    passed: AtomicU64,
}

impl Network {
    fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        self.cuts.fetch_add(1, Ordering::SeqCst);
    }

    fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::SeqCst)
    }
}

/// A proxy in front of one address, until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    network: Arc<Network>,
    is_over: Arc<AtomicBool>,
}

impl Proxy {
    /// Listens on a free port and passes on to `target`.
    pub fn start(target: &str) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (network, is_over) = (Arc::new(Network::default()), Arc::new(AtomicBool::new(false)));
        let (shared, over, target) = (Arc::clone(&network), Arc::clone(&is_over), target.to_owned());
        thread::spawn(move || accept(&listener, &target, &shared, &over));
        Ok(Self { address, network, is_over })
    }

    /// Where a worker reaches the coordinator through it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Half-open: both sides go on to write, and nothing arrives. Over when set to false, for new bytes.
    pub fn set_silent(&self, is_silent: bool) {
        self.network.is_silent.store(is_silent, Ordering::SeqCst);
    }

    /// What the worker sends arrives; what the coordinator answers does not.
    pub fn set_deaf(&self, is_deaf: bool) {
        self.network.is_deaf.store(is_deaf, Ordering::SeqCst);
    }

    /// Ends every connection that is open, and refuses new ones until set to false.
    pub fn set_cut(&self, is_cut: bool) {
        if is_cut {
            self.network.cut();
        } else {
            let network = &self.network;
            let is_swept = || (network.swept.load(Ordering::SeqCst) >= network.cuts()).then_some(());
            wait_until("those who wait to be refused", String::new, is_swept);
            network.is_cut.store(false, Ordering::SeqCst);
        }
    }

    /// Every piece on the way waits so long.
    pub fn set_delay(&self, delay: Duration) {
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.network.delay_ms.store(delay_ms, Ordering::SeqCst);
    }

    /// Cuts the network after so many further bytes towards the coordinator.
    pub fn cut_after(&self, bytes: u64) {
        self.network.fuse.store(self.passed() + bytes, Ordering::SeqCst);
    }

    /// Whether it is cut, by a call or by its fuse.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.network.is_cut.load(Ordering::SeqCst)
    }

    /// Bytes that reached the coordinator so far.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.network.passed.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.set_cut(true);
    }
}

fn accept(listener: &TcpListener, target: &str, network: &Arc<Network>, is_over: &AtomicBool) {
    while !is_over.load(Ordering::SeqCst) {
        let cuts = network.cuts();
        match listener.accept() {
            Ok((near, _)) if !network.is_cut.load(Ordering::SeqCst) => {
                // A coordinator that is away: the connection ends, as without a proxy.
                let _ = TcpStream::connect(target).and_then(|far| join(&near, &far, network, cuts));
            }
            Ok(_) => {}
            Err(_) => {
                network.swept.store(cuts, Ordering::SeqCst);
                thread::sleep(LOOK);
            }
        }
    }
}

fn join(near: &TcpStream, far: &TcpStream, network: &Arc<Network>, cuts: u64) -> io::Result<()> {
    for (from, to, is_up) in [(near, far, true), (far, near, false)] {
        let (from, to, network) = (from.try_clone()?, to.try_clone()?, Arc::clone(network));
        from.set_nonblocking(false)?;
        from.set_read_timeout(Some(LOOK))?;
        thread::spawn(move || {
            // Either side's end, or a cut, ends both.
            let _ = pass(&from, &to, &network, cuts, is_up);
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
        });
    }
    Ok(())
}

/// `cuts`: those before the connection.
fn pass(
    mut from: &TcpStream,
    mut to: &TcpStream,
    network: &Network,
    cuts: u64,
    is_up: bool,
) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let mut has_lost = false;
    while network.cuts() == cuts {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                continue;
            }
            Err(error) => return Err(error),
        };
        let delay_ms = network.delay_ms.load(Ordering::SeqCst);
        thread::sleep(Duration::from_millis(delay_ms));
        let is_lost =
            network.is_silent.load(Ordering::SeqCst) || (!is_up && network.is_deaf.load(Ordering::SeqCst));
        // TCP never has a hole: a connection that has lost bytes stays silent for ever.
        has_lost |= is_lost;
        // After the look at the silence: nothing passes between the end of a silence and a cut that came before it.
        if has_lost || network.cuts() != cuts {
            continue;
        }
        to.write_all(&buffer[..count])?;
        if is_up {
            burn(network, count as u64);
        }
    }
    Ok(())
}

fn burn(network: &Network, count: u64) {
    let passed = network.passed.fetch_add(count, Ordering::SeqCst) + count;
    let fuse = network.fuse.load(Ordering::SeqCst);
    if fuse > 0 && passed >= fuse {
        network.fuse.store(0, Ordering::SeqCst);
        network.cut();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LONG;

    /// A way through the proxy, open in both directions.
    fn open(proxy: &Proxy, listener: &TcpListener) -> (TcpStream, TcpStream) {
        let mut near = TcpStream::connect(proxy.address).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        for end in [&near, &far] {
            end.set_read_timeout(Some(LONG)).unwrap();
        }
        near.write_all(b"?").unwrap();
        far.read_exact(&mut [0]).unwrap();
        far.write_all(b"!").unwrap();
        near.read_exact(&mut [0]).unwrap();
        (near, far)
    }

    #[test]
    fn a_cut_ends_what_was_open_however_short_it_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::start(&listener.local_addr().unwrap().to_string()).unwrap();
        for _ in 0..20 {
            let (mut near, mut far) = open(&proxy, &listener);
            proxy.set_cut(true);
            proxy.set_cut(false);
            for end in [&mut near, &mut far] {
                // An end or a reset, not the timeout.
                let read = end.read(&mut [0]);
                assert!(
                    matches!(&read, Ok(0))
                        || read.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset),
                    "{read:?}"
                );
            }
        }
    }
}
