//! The one loop: flush what is pending, take from the mailbox if there is room, read if nothing is in hand.
//!
//! A connection reads only while the previous stanzas have been taken and its output is under its mark, so a fast
//! sender slows itself down and no one else. It keeps no buffer while idle: bytes are read into a buffer that all
//! connections of a worker thread share, and output is written and given back.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use xmpp::stream::{Condition, Stream};

pub use crate::runtime::{Transport, Wire};
use crate::session::Session;
use crate::session::mailbox::Taken;

/// Output above this many bytes is written before more is taken or read.
const OUTPUT_MARK: usize = 64 * 1024;
/// Output buffers up to this many bytes are kept while idle.
const KEPT_OUTPUT_BYTES: usize = 512;
/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;
/// How long a closing stream may take to swallow its last bytes.
const CLOSE_SECONDS: u64 = 5;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// A transport, the stream machine on it, and what is still to be written.
pub struct Connection {
    transport: Transport,
    /// The stream machine.
    pub stream: Stream,
    out: Vec<u8>,
    written: usize,
    unflushed: bool,
}

/// Why the loop woke.
#[derive(Debug, PartialEq, Eq)]
pub enum Woke {
    /// This many bytes were given to the stream machine; it may have events.
    Read(usize),
    /// The house wants the stream to end.
    Close(Option<Condition>),
    /// The peer is gone.
    Gone,
}

impl Connection {
    /// A connection that has said nothing yet.
    #[must_use]
    pub fn new(transport: Transport, stream: Stream) -> Self {
        Self { transport, stream, out: Vec::new(), written: 0, unflushed: false }
    }

    /// Exchanges the transport, for STARTTLS: `secure` gets the plain one and returns the encrypted one.
    pub async fn upgrade<T, F>(self, secure: impl FnOnce(Transport) -> F) -> io::Result<(Self, T)>
    where
        F: Future<Output = io::Result<(Transport, T)>>,
    {
        let (transport, facts) = secure(self.transport).await?;
        Ok((Self { transport, ..self }, facts))
    }

    /// Waits until something happened, writing meanwhile. With a `session`, its mailbox is emptied too.
    pub async fn wait(&mut self, session: Option<&Session>) -> Woke {
        self.stream.poll_transmit(&mut self.out);
        std::future::poll_fn(|cx| self.poll(cx, session)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>, session: Option<&Session>) -> Poll<Woke> {
        loop {
            if self.poll_write_out(cx).is_err() {
                return Poll::Ready(Woke::Gone);
            }
            let Some(session) = session else { break };
            if self.waiting() >= OUTPUT_MARK {
                // A peer that takes nothing any more must not keep a stream that is to end.
                return session.mailbox.poll_failing(cx).map(|condition| Woke::Close(Some(condition)));
            }
            match session.mailbox.poll_take(cx, &mut self.out, OUTPUT_MARK) {
                Poll::Ready(Taken::Frames) => {}
                Poll::Ready(Taken::Close(condition)) => return Poll::Ready(Woke::Close(condition)),
                Poll::Pending => break,
            }
        }
        if self.waiting() >= OUTPUT_MARK {
            return Poll::Pending;
        }
        match ready!(self.poll_read(cx)) {
            Ok(0) | Err(_) => Poll::Ready(Woke::Gone),
            Ok(bytes) => Poll::Ready(Woke::Read(bytes)),
        }
    }

    fn waiting(&self) -> usize {
        self.out.len() - self.written
    }

    /// Writes as much as the wire takes. `Ok` when it takes no more or nothing is left.
    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while let Some(rest) = self.out.get(self.written..)
            && !rest.is_empty()
        {
            match Pin::new(&mut self.transport).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(bytes)) => {
                    self.written += bytes;
                    self.unflushed = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(()),
            }
        }
        if !self.out.is_empty() {
            self.written = 0;
            if self.out.capacity() > KEPT_OUTPUT_BYTES {
                self.out = Vec::new();
            } else {
                self.out.clear();
            }
        }
        if self.unflushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.transport).poll_flush(cx)
        {
            flushed?;
            self.unflushed = false;
        }
        Ok(())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.transport).poll_read(cx, &mut buffer))?;
            self.stream.handle_bytes(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    }

    /// Writes what is pending, without reading: before TLS starts, and at the end.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.stream.poll_transmit(&mut self.out);
        std::future::poll_fn(|cx| {
            self.poll_write_out(cx)?;
            if self.waiting() == 0 && !self.unflushed { Poll::Ready(Ok(())) } else { Poll::Pending }
        })
        .await
    }

    /// Ends the stream politely: with an error if there is a `condition`, with the closing tag, and, if the wire
    /// takes that in time, with an orderly shutdown of it.
    pub async fn close(mut self, condition: Option<Condition>) {
        self.stream.close(condition.map(Into::into));
        let goodbye = async {
            self.flush().await?;
            std::future::poll_fn(|cx| Pin::new(&mut self.transport).poll_shutdown(cx)).await
        };
        // A peer that takes nothing any more loses the goodbye, nothing else.
        let _unheard = tokio::time::timeout(Duration::from_secs(CLOSE_SECONDS), goodbye).await;
    }
}
