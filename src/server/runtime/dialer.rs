//! Connections to other machines: one TCP connection to one address, nothing about names.
//!
//! [`TcpDialer`] is the real one; [`super::ScriptedDialer`] joins houses inside one process.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::resolver::Pending;

/// Any byte stream: TCP, TLS over it, or a pipe in a test.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A wire behind one pointer, so that what runs on it is compiled once.
pub type Transport = Box<dyn Wire>;

/// Where connections are made.
pub trait Dialer: Send + Sync + 'static {
    /// Connects to `to`. Gives up when the operating system does: the caller sets the deadline.
    fn connect(&self, to: SocketAddr) -> Pending<'_, io::Result<Transport>>;
}

/// Seconds of silence after which the operating system asks whether the peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// TCP over the machine's own interfaces.
#[derive(Debug, Default)]
pub struct TcpDialer;

impl Dialer for TcpDialer {
    fn connect(&self, to: SocketAddr) -> Pending<'_, io::Result<Transport>> {
        Box::pin(async move {
            let socket = tokio::net::TcpStream::connect(to).await?;
            socket.set_nodelay(true)?;
            socket2::SockRef::from(&socket).set_tcp_keepalive(&socket2::TcpKeepalive::new().with_time(KEEPALIVE))?;
            Ok(Box::new(socket) as Transport)
        })
    }
}
