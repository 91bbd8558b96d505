//! One stream between servers (RFC 6120 with `jabber:server`) as a load generator needs
//! it: bytes counted on the wire, elements cut out, headers written.

use crate::Res;
use crate::client::err;
use crate::xml::{self, Frame, Framer, is, show};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::TcpStream;

pub(crate) const TLS_NS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
pub(crate) const SASL_NS: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
pub(crate) const SM_NS: &str = "urn:xmpp:sm:3";

/// A socket whose received bytes are counted.
pub(crate) struct Counted {
    pub(crate) tcp: TcpStream,
    pub(crate) received: Arc<AtomicU64>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let r = Pin::new(&mut self.tcp).poll_read(cx, buf);
        self.received.fetch_add((buf.filled().len() - before) as u64, Relaxed);
        r
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// The socket, with or without TLS around it.
pub(crate) enum Io {
    Plain(Counted),
    Client(Box<tokio_rustls::client::TlsStream<Counted>>),
    Server(Box<tokio_rustls::server::TlsStream<Counted>>),
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Io::Client(s) => Pin::new(s).poll_read(cx, buf),
            Io::Server(s) => Pin::new(s).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Io::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Io::Client(s) => Pin::new(s).poll_write(cx, buf),
            Io::Server(s) => Pin::new(s).poll_write(cx, buf),
        }
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(s) => Pin::new(s).poll_flush(cx),
            Io::Client(s) => Pin::new(s).poll_flush(cx),
            Io::Server(s) => Pin::new(s).poll_flush(cx),
        }
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Io::Client(s) => Pin::new(s).poll_shutdown(cx),
            Io::Server(s) => Pin::new(s).poll_shutdown(cx),
        }
    }
}

/// The reading half.
pub(crate) struct Reader<R> {
    io: R,
    framer: Framer,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// The next frame; the end of the stream is an error.
    pub(crate) async fn frame(&mut self) -> Res<Frame> {
        loop {
            if let Some(f) = self.framer.next() {
                return Ok(f);
            }
            let n = self.io.read_buf(self.framer.space()).await.map_err(err)?;
            if n == 0 {
                return Err("connection closed".into());
            }
        }
    }

    /// The next element.
    pub(crate) async fn next(&mut self) -> Res<&[u8]> {
        let range = loop {
            match self.frame().await? {
                Frame::Stanza(r) => break r,
                Frame::Open => {}
                Frame::Close => return Err("stream closed".into()),
            }
        };
        let st = &self.framer.bytes[range];
        if is(st, "stream:error") { Err(show(st)) } else { Ok(st) }
    }

    /// The bytes of an element [`Reader::frame`] found.
    pub(crate) fn element(&self, range: std::ops::Range<usize>) -> &[u8] {
        &self.framer.bytes[range]
    }

    /// An attribute of the stream header, when [`Reader::frame`] has just found it.
    pub(crate) fn header(&self, name: &str) -> String {
        xml::attr(self.framer.header(), name).unwrap_or("").to_string()
    }
}

/// A stream not yet split in two.
pub(crate) type Stream = Reader<Io>;

impl Stream {
    pub(crate) fn new(io: Io) -> Stream {
        Reader { io, framer: Framer::new() }
    }

    /// Give the socket back, for TLS to be put around it.
    pub(crate) fn into_io(self) -> Io {
        self.io
    }

    /// A new stream on the same socket (after SASL).
    pub(crate) fn restart(&mut self) {
        self.framer.reset();
    }

    pub(crate) async fn send(&mut self, s: &str) -> Res<()> {
        self.io.write_all(s.as_bytes()).await.map_err(err)?;
        self.io.flush().await.map_err(err)
    }

    /// Reading and writing apart.
    pub(crate) fn split(self) -> (Reader<ReadHalf<Io>>, WriteHalf<Io>) {
        let (r, w) = tokio::io::split(self.io);
        (Reader { io: r, framer: self.framer }, w)
    }
}

/// A stream header; `id` when answering one.
pub(crate) fn header(from: &str, to: &str, id: Option<&str>) -> String {
    let id = id.map(|i| format!(" id='{i}'")).unwrap_or_default();
    format!(
        "<?xml version='1.0'?><stream:stream from='{from}' to='{to}'{id} version='1.0' xmlns='jabber:server' \
         xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams'>"
    )
}
