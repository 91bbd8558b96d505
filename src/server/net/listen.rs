//! Listening: accepts connections within bounds and gives each its task.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};

/// Waiting connections the kernel may hold for us.
const BACKLOG: u32 = 1024;
/// How long accepting pauses when the machine has no descriptor or memory to spare.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Opens a listener on `address`.
///
/// # Errors
/// A sentence that names the address and what to do.
pub fn open(address: SocketAddr) -> Result<TcpListener, String> {
    bind(address).and_then(TcpListener::from_std).map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => {
                "another program listens there: stop it, or change `listen` in the configuration"
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need the capability CAP_NET_BIND_SERVICE: choose a higher port, or grant it"
            }
            io::ErrorKind::AddrNotAvailable => {
                "this machine does not have that address: correct `listen` in the configuration"
            }
            _ => "correct `listen` in the configuration",
        };
        format!("cannot listen on {address}: {error}; {advice}")
    })
}

/// The same, without anybody to wait for connections.
///
/// # Errors
/// What the operating system says.
pub fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // So that `[::]` and `0.0.0.0` can be listed side by side on every system.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(BACKLOG).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// Whether this machine speaks IPv6 at all, if only to itself.
#[must_use]
pub fn has_ipv6() -> bool {
    std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// Prepares an accepted connection: no delay for small writes, and a dead peer is noticed by the kernel.
pub fn prepare(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(120)).with_interval(Duration::from_secs(30));
    let socket = SockRef::from(socket);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(Duration::from_secs(120)))?;
    Ok(())
}

/// How many connections there are, in all and by address.
#[derive(Debug)]
pub struct Admission {
    connections_max: usize,
    per_address_max: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place among the connections; given back when dropped.
#[derive(Debug)]
pub struct Admitted {
    admission: Arc<Admission>,
    address: IpAddr,
}

impl Admission {
    /// Bounds in all and for one address (IPv6: one /64, which is what one customer gets).
    #[must_use]
    pub fn new(connections_max: usize, per_address_max: usize) -> Arc<Self> {
        Arc::new(Self { connections_max, per_address_max, counts: Mutex::default() })
    }

    /// How many connections there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).all
    }

    /// A place for a connection from `address`, unless there are too many. Loopback is not counted by address.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Admitted> {
        let address = match address.to_canonical() {
            IpAddr::V6(six) => IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & !u128::from(u64::MAX))),
            four @ IpAddr::V4(_) => four,
        };
        let is_loopback = address.is_loopback() || address == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let here = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.all >= self.connections_max || (!is_loopback && here >= self.per_address_max) {
            return None;
        }
        counts.all += 1;
        counts.by_address.insert(address, here + 1);
        Some(Admitted { admission: Arc::clone(self), address })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.admission.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all = counts.all.saturating_sub(1);
        if let Some(count) = counts.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

/// Accepts until the task is dropped; `serve` gets every connection that is admitted. Others are closed at once.
pub async fn accept(listener: TcpListener, admission: Arc<Admission>, serve: impl Fn(TcpStream, SocketAddr, Admitted)) {
    loop {
        match listener.accept().await {
            Ok((socket, peer)) => match admission.admit(peer.ip()) {
                Some(admitted) if prepare(&socket).is_ok() => serve(socket, peer, admitted),
                Some(_) => {}
                None => tracing::debug!(%peer, "too many connections: closed"),
            },
            // These concern one connection that is gone already.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections for the moment");
                crate::runtime::pause(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::Admission;

    #[test]
    fn one_network_has_its_share_and_gets_it_back() {
        let admission = Admission::new(3, 2);
        let at = |address: &str| admission.admit(address.parse().unwrap());
        let first = at("2001:db8::1").unwrap();
        let _second = at("2001:db8::2").unwrap();
        assert!(at("2001:db8::3").is_none(), "a third of the same /64");
        let _other = at("192.0.2.1").unwrap();
        assert!(at("192.0.2.2").is_none(), "a fourth in all");
        drop(first);
        assert!(at("2001:db8::3").is_some());
    }
}
