//! One connection to another server, as bytes: what is to be written, what has been, and reading into the machine.
//!
//! Counts what it was given and what the transport has taken to the end, so that a link can tell which stanzas were
//! wholly written when the connection is cut. Keeps no buffer while idle, as [`crate::net::connection`] does for
//! clients.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use xmpp::stream::server::Stream;

use crate::runtime::{Transport, let_go};
use crate::session::mailbox::Frame;

/// Output above this many bytes is written before more is taken.
pub(super) const OUTPUT_MARK: usize = 64 * 1024;
/// What many stanzas share is written from where it is if it has at least so many bytes, and copied if it has fewer.
const SHARED_BYTES_MIN: usize = 512;
/// Pieces given to the transport at once.
const SLICES_MAX: usize = 64;
/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;
/// How long the transport may take for its last bytes.
const SHUTDOWN: Duration = Duration::from_secs(2);

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// A transport and its output.
pub(super) struct Wire {
    transport: Option<Transport>,
    out: Vec<u8>,
    /// Bytes of `out` that were written.
    written: usize,
    /// What belongs between the bytes of `out`, and is not copied there; in the order of their places.
    shared: VecDeque<Shared>,
    shared_bytes: usize,
    unflushed: bool,
    /// Bytes given to be written, from the beginning.
    given: u64,
    /// Bytes the transport has taken and flushed, from the beginning.
    flushed: u64,
    /// Bytes read, from the beginning.
    pub(super) read: u64,
}

/// Bytes that are written when those of the output before `at` have been.
struct Shared {
    at: usize,
    bytes: Bytes,
}

impl Wire {
    /// Nothing written yet.
    pub(super) fn new(transport: Transport) -> Self {
        Self {
            transport: Some(transport),
            out: Vec::new(),
            written: 0,
            shared: VecDeque::new(),
            shared_bytes: 0,
            unflushed: false,
            given: 0,
            flushed: 0,
            read: 0,
        }
    }

    /// Takes what the machine has to say.
    pub(super) fn transmit(&mut self, stream: &mut Stream) {
        self.given += stream.poll_transmit(&mut self.out) as u64;
    }

    /// Adds a stanza. Returns where it ends: it is wholly written when as many bytes [are](Self::flushed).
    pub(super) fn write(&mut self, frame: &Frame) -> u64 {
        let before = self.out.len();
        let rest = frame.write_own(&mut self.out);
        if rest.len() >= SHARED_BYTES_MIN {
            self.shared.push_back(Shared { at: self.out.len(), bytes: rest.clone() });
            self.shared_bytes += rest.len();
            self.given += rest.len() as u64;
        } else {
            self.out.extend_from_slice(rest);
        }
        self.given += (self.out.len() - before) as u64;
        self.given
    }

    /// Bytes that wait to be written.
    pub(super) const fn waiting(&self) -> usize {
        self.out.len() - self.written + self.shared_bytes
    }

    /// Bytes that were wholly written, from the beginning.
    pub(super) const fn flushed(&self) -> u64 {
        self.flushed
    }

    /// Writes as much as the transport takes. `Ok` when it takes no more or nothing is left.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.waiting() > 0 {
            let Some(transport) = &mut self.transport else { return Err(io::ErrorKind::NotConnected.into()) };
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = pieces(&self.out, self.written, &self.shared, &mut slices);
            let slices = slices.get(..count).unwrap_or_default();
            match Pin::new(transport).poll_write_vectored(cx, slices) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(bytes)) => {
                    self.advance(bytes);
                    self.unflushed = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        let waiting = self.waiting();
        let gone = let_go(&mut self.out, &mut self.written);
        self.shared.iter_mut().for_each(|shared| shared.at -= gone);
        if self.shared.is_empty() && self.out.capacity() == 0 {
            self.shared = VecDeque::new();
        }
        let Some(transport) = &mut self.transport else { return Err(io::ErrorKind::NotConnected.into()) };
        if self.unflushed
            && let Poll::Ready(flushed) = Pin::new(transport).poll_flush(cx)
        {
            flushed?;
            self.unflushed = false;
            self.flushed = self.given - waiting as u64;
        }
        Ok(())
    }

    /// So many of the bytes that waited were written.
    fn advance(&mut self, mut bytes: usize) {
        while bytes > 0 {
            let Some(shared) = self.shared.front_mut() else {
                self.written += bytes;
                return;
            };
            let own = bytes.min(shared.at - self.written);
            self.written += own;
            bytes -= own;
            if shared.at == self.written {
                let not_own = bytes.min(shared.bytes.len());
                shared.bytes.advance(not_own);
                self.shared_bytes -= not_own;
                bytes -= not_own;
                if shared.bytes.is_empty() {
                    self.shared.pop_front();
                }
            }
        }
    }

    /// Reads once, into the machine. How many bytes; none at the end.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, stream: &mut Stream) -> Poll<io::Result<usize>> {
        let Some(transport) = &mut self.transport else { return Poll::Ready(Ok(0)) };
        let count = SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(transport).poll_read(cx, &mut buffer))?;
            stream.handle_bytes(buffer.filled());
            Poll::Ready(io::Result::Ok(buffer.filled().len()))
        });
        let count = ready!(count)?;
        self.read += count as u64;
        Poll::Ready(Ok(count))
    }

    /// Writes everything, without reading: before TLS starts, and at the end.
    pub(super) async fn flush(&mut self, stream: &mut Stream) -> io::Result<()> {
        self.transmit(stream);
        std::future::poll_fn(|cx| {
            self.poll_write(cx)?;
            if self.waiting() == 0 && !self.unflushed { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    /// Takes the transport away, to put TLS over it.
    pub(super) fn take(&mut self) -> io::Result<Transport> {
        self.transport.take().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Puts a transport in place of the one taken.
    pub(super) fn put(&mut self, transport: Transport) {
        self.transport = Some(transport);
    }

    /// Ends the connection in an orderly way, if the transport does so in time.
    pub(super) async fn shutdown(mut self) {
        let Some(mut transport) = self.transport.take() else { return };
        let ending = std::future::poll_fn(|cx| Pin::new(&mut transport).poll_shutdown(cx));
        let _unheard = tokio::time::timeout(SHUTDOWN, ending).await;
    }
}

/// Puts what waits into `slices`, in its order and as far as it fits. How many there are.
fn pieces<'a>(out: &'a [u8], written: usize, shared: &'a VecDeque<Shared>, slices: &mut [IoSlice<'a>]) -> usize {
    let own = |from: usize, to: usize| out.get(from..to).filter(|own| !own.is_empty());
    let between = shared.iter().scan(written, |from, shared| {
        let own = own(std::mem::replace(from, shared.at), shared.at);
        Some([own, Some(&*shared.bytes)])
    });
    let last = own(shared.back().map_or(written, |shared| shared.at), out.len());
    let pieces = between.flatten().chain([last]).flatten();
    slices.iter_mut().zip(pieces).map(|(slice, piece)| *slice = IoSlice::new(piece)).count()
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
