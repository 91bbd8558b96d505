//! The one loop: flush what is pending, take from the mailbox if there is room, read if nothing is in hand.
//!
//! A connection reads only while the previous stanzas have been taken and its output is under its mark, so a fast
//! sender slows itself down and no one else. It keeps no buffer while idle: bytes are read into a buffer that all
//! connections of a worker thread share, and output is written and given back.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use xmpp::stream::{Condition, Stream};

use crate::runtime::{Clock, Timestamp, let_go};
pub use crate::runtime::{Transport, Wire};
use crate::session::Session;
use crate::session::mailbox::{Frame, Keeping, Taken};
use crate::session::unacked::{Unacked, Window};

/// Output above this many bytes is written before more is taken or read.
const OUTPUT_MARK: usize = 64 * 1024;
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
    /// What the client has not acknowledged, once it acknowledges.
    unacked: Option<Box<Unacked>>,
    /// Whether something was handled that may not be durable yet.
    pub is_unsettled: bool,
}

/// What a connection needs to know of the session whose mailbox it empties.
#[derive(Clone, Copy)]
pub struct Talk<'a> {
    /// The session.
    pub session: &'a Session,
    /// Wall time.
    pub clock: &'a dyn Clock,
    /// How much may be written and not acknowledged, if the client acknowledges.
    pub window: Window,
}

/// Why the loop woke.
#[derive(Debug, PartialEq, Eq)]
pub enum Woke {
    /// This many bytes were given to the stream machine; it may have events.
    Read(usize),
    /// The house wants the stream to end.
    Close(Option<Condition>),
    /// The house wants the stream to end at once, whatever becomes of the session.
    Cut(Condition),
    /// The peer is gone.
    Gone,
}

impl Connection {
    /// A connection that has said nothing yet.
    #[must_use]
    pub fn new(transport: Transport, stream: Stream) -> Self {
        Self { transport, stream, out: Vec::new(), written: 0, unflushed: false, unacked: None, is_unsettled: false }
    }

    /// Exchanges the transport, for STARTTLS: `secure` gets the plain one and returns the encrypted one.
    pub async fn upgrade<T, F>(self, secure: impl FnOnce(Transport) -> F) -> io::Result<(Self, T)>
    where
        F: Future<Output = io::Result<(Transport, T)>>,
    {
        let (transport, facts) = secure(self.transport).await?;
        Ok((Self { transport, ..self }, facts))
    }

    /// Waits until something happened, writing meanwhile. With a session to talk for, its mailbox is emptied too.
    pub async fn wait(&mut self, talk: Option<Talk<'_>>) -> Woke {
        if let (Some(talk), None, Some(_)) = (talk, &self.unacked, self.stream.acks()) {
            self.unacked = Some(Box::new(Unacked::new(talk.window)));
        }
        self.stream.poll_transmit(&mut self.out);
        std::future::poll_fn(|cx| self.poll(cx, talk)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>, talk: Option<Talk<'_>>) -> Poll<Woke> {
        loop {
            if self.poll_write_out(cx).is_err() {
                return Poll::Ready(Woke::Gone);
            }
            let Some(talk) = talk else { break };
            if self.waiting() >= OUTPUT_MARK {
                // A peer that takes nothing any more must not keep a stream that is to end.
                return talk.session.mailbox.poll_failing(cx).map(|taken| match taken {
                    Taken::Cut(condition) => Woke::Cut(condition),
                    Taken::Close(condition) => Woke::Close(condition),
                    Taken::Frames => Woke::Read(0),
                });
            }
            match self.poll_take(cx, talk) {
                Poll::Ready(Taken::Frames) => {}
                Poll::Ready(Taken::Close(condition)) => return Poll::Ready(Woke::Close(condition)),
                Poll::Ready(Taken::Cut(condition)) => return Poll::Ready(Woke::Cut(condition)),
                Poll::Pending if self.ask(talk) => {}
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

    fn poll_take(&mut self, cx: &mut Context<'_>, talk: Talk<'_>) -> Poll<Taken> {
        let Talk { session, clock, .. } = talk;
        // What was written in front of it takes no room: a mark that is reached already would be asked for forever.
        let mark = self.written + OUTPUT_MARK;
        let Some(unacked) = self.unacked.as_deref_mut() else {
            return session.mailbox.poll_take(cx, &mut self.out, mark);
        };
        let before = unacked.len();
        let keeping = Keeping { unacked, clock, domain: session.jid.domain() };
        let taken = session.mailbox.poll_take_keeping(cx, &mut self.out, mark, Some(keeping));
        let written = self.unacked.as_ref().map_or(0, |unacked| unacked.len() - before);
        self.stream.sent(u32::try_from(written).unwrap_or(u32::MAX));
        taken
    }

    /// Asks for an acknowledgement at the end of a batch, if it is time. Whether it was.
    fn ask(&mut self, talk: Talk<'_>) -> bool {
        let Some(unacked) = self.unacked.as_deref_mut().filter(|unacked| unacked.wants_ack()) else { return false };
        unacked.asked();
        talk.session.asked(talk.clock.now());
        self.stream.request_ack();
        self.stream.poll_transmit(&mut self.out);
        true
    }

    /// The client has handled `count` more of the stanzas that were written.
    pub fn acked(&mut self, count: u32) {
        if let Some(unacked) = &mut self.unacked {
            unacked.acked(count);
        }
    }

    /// What was written and not acknowledged.
    pub fn take_unacked(&mut self) -> VecDeque<(Frame, Timestamp)> {
        self.unacked.take().map(|unacked| unacked.into_frames()).unwrap_or_default()
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
                Poll::Pending => break,
            }
        }
        let_go(&mut self.out, &mut self.written);
        if self.out.is_empty()
            && self.unflushed
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

#[cfg(test)]
#[path = "connection_test.rs"]
mod tests;
