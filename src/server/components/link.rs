//! The loop of one connection: the handshake, then what came is handled and what waits is written.
//!
//! Reads only while its lanes have room, its component is within its pace and its output is under its mark. Stanzas of
//! one pair of addresses are handled in order, different pairs side by side, as on streams between servers.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use xmpp::stream::StreamError;
use xmpp::stream::component::{Event, Stream};

use super::queue::Taken;
use super::{Components, Present};
use crate::router::Router;
use crate::runtime::{Transport, let_go, pause};
use crate::s2s::lanes::Lanes;
use crate::session::mailbox::Frame;

/// Output above this many bytes is written before more is taken.
const OUTPUT_MARK: usize = 64 * 1024;
/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;
/// How long a closing stream may take to swallow its last bytes.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// One connection, and all that belongs to it.
pub(super) struct Link {
    components: Arc<Components>,
    router: Arc<Router>,
    transport: Transport,
    stream: Stream,
    address: IpAddr,
    lanes: Lanes,
    /// Its place, once the handshake was good.
    present: Option<(Box<str>, Arc<Present>)>,
    out: Vec<u8>,
    written: usize,
    /// Stanzas in `out`, each with where it ends, counted from the beginning; and how much was written so far.
    unwritten: VecDeque<(u64, Frame)>,
    given: u64,
    flushed: u64,
    read_after: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    buffer: Box<[u8]>,
}

impl Drop for Link {
    /// Should something have gone wrong here, nobody must wait for a connection that is no more.
    fn drop(&mut self) {
        if let Some((domain, present)) = self.present.take() {
            self.components.vacate(&domain, &present);
        }
    }
}

/// How a conversation ended.
enum Parting {
    /// The peer is gone: there is nobody to say anything to.
    Gone,
    /// Politely, or with an error; the machine has said it.
    Closed,
}

impl Link {
    pub(super) fn new(
        components: Arc<Components>,
        router: Arc<Router>,
        transport: Transport,
        stream: Stream,
        address: IpAddr,
    ) -> Self {
        let handler = Arc::clone(&router);
        let lanes = Lanes::new(move |stanza| {
            let router = Arc::clone(&handler);
            Box::pin(async move { router.from_remote(stanza).await })
        });
        Self {
            components,
            router,
            transport,
            stream,
            address,
            lanes,
            present: None,
            out: Vec::new(),
            written: 0,
            unwritten: VecDeque::new(),
            given: 0,
            flushed: 0,
            read_after: None,
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
        }
    }

    /// Serves the component until either side ends the stream.
    pub(super) async fn run(mut self) {
        let parting = match self.stream.poll_timeout() {
            Some(within) => match tokio::time::timeout(within, self.converse(true)).await {
                Ok(parting) => parting,
                Err(_) => {
                    self.stream.handle_timeout();
                    Some(Parting::Closed)
                }
            },
            None => None,
        };
        let parting = match parting {
            Some(parting) => parting,
            None => {
                self.greet().await;
                self.converse(false).await.unwrap_or(Parting::Closed)
            }
        };
        if let Parting::Closed = parting {
            // A peer that takes nothing any more loses the goodbye, nothing else.
            let _unheard = tokio::time::timeout(CLOSE_PATIENCE, self.say_goodbye()).await;
        }
        if let Some((domain, present)) = self.present.take() {
            tracing::info!(component = %domain, address = %self.address, "component gone");
            // What was written to its end is the peer's.
            let unwritten = std::mem::take(&mut self.unwritten).into_iter().map(|(_, frame)| frame);
            self.components.leave(&domain, &present, unwritten).await;
            while self.lanes.unfinished() > 0 {
                std::future::poll_fn(|cx| self.lanes.poll(cx)).await;
            }
        }
    }

    /// Tells whoever wants to know that the component is here.
    fn greet(&self) -> impl Future<Output = ()> + Send + use<> {
        let domain = self.present.as_ref().map(|(domain, _)| domain.clone());
        let (router, address) = (Arc::clone(&self.router), self.address);
        async move {
            let Some(domain) = domain else { return };
            tracing::info!(component = %domain, %address, "component connected");
            router.tell(|listener| listener.component_joined(&domain)).await;
        }
    }

    /// Goes on until the end, or until the handshake is good where that is what is waited for.
    async fn converse(&mut self, until_admitted: bool) -> Option<Parting> {
        loop {
            while self.lanes.has_room()
                && let Some(event) = self.stream.poll_event()
            {
                match event {
                    Event::Authenticated(domain) => {
                        let admitted = self.components.admit(&domain, self.address);
                        if let Err(error) = &admitted {
                            tracing::warn!(component = %domain, address = %self.address, %error, "component refused");
                        }
                        self.stream.handle_admitted(admitted.as_ref().map(|_| ()).map_err(Clone::clone));
                        if let Ok(present) = admitted {
                            self.present = Some((domain, present));
                        }
                    }
                    Event::Stanza(stanza) => {
                        if let Some((_, present)) = &self.present {
                            present.received.fetch_add(1, Ordering::Relaxed);
                        }
                        self.lanes.take(stanza);
                    }
                    Event::Malformed(error) => {
                        tracing::debug!(address = %self.address, %error, "a malformed stanza of a component");
                    }
                    Event::Closed(error) => {
                        self.log_end(error.as_ref());
                        return Some(Parting::Closed);
                    }
                }
            }
            if until_admitted && self.stream.domain().is_some() {
                return None;
            }
            match std::future::poll_fn(|cx| self.poll(cx)).await {
                Woke::Again => {}
                Woke::Close(error) => self.stream.close(error),
                Woke::Read(bytes) => {
                    if let Some((domain, _)) = &self.present
                        && let Some(wait) = self.components.pace(domain, bytes)
                    {
                        self.read_after = Some(Box::pin(pause(wait)));
                    }
                }
                Woke::Gone => return Some(Parting::Gone),
            }
        }
    }

    fn log_end(&self, error: Option<&StreamError>) {
        match (&self.present, error) {
            (None, Some(error)) => tracing::warn!(address = %self.address, %error, "no component"),
            (Some((domain, _)), Some(error)) => tracing::warn!(component = %domain, %error, "component's stream ended"),
            _ => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Woke> {
        if self.lanes.poll(cx).is_ready() {
            return Poll::Ready(Woke::Again);
        }
        self.given += self.stream.poll_transmit(&mut self.out) as u64;
        loop {
            if self.poll_write_out(cx).is_err() {
                return Poll::Ready(Woke::Gone);
            }
            let Some((_, present)) = &self.present else { break };
            if self.waiting() >= OUTPUT_MARK {
                // A peer that takes nothing any more must not keep a stream that is to end.
                return present.queue.poll_close(cx).map(Woke::Close);
            }
            match present.queue.poll_take(cx) {
                Poll::Ready(Taken::Frame(frame)) => {
                    present.sent.fetch_add(1, Ordering::Relaxed);
                    let before = self.out.len();
                    frame.write(&mut self.out);
                    self.given += (self.out.len() - before) as u64;
                    self.unwritten.push_back((self.given, frame));
                }
                Poll::Ready(Taken::Close(error)) => return Poll::Ready(Woke::Close(error)),
                Poll::Pending => break,
            }
        }
        if let Some(wait) = &mut self.read_after {
            ready!(wait.as_mut().poll(cx));
            self.read_after = None;
        }
        if !self.lanes.has_room() {
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

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(&mut self.transport).poll_read(cx, &mut buffer))?;
        self.stream.handle_bytes(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
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
                    self.flushed += bytes as u64;
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        while self.unwritten.front().is_some_and(|(end, _)| *end <= self.flushed) {
            self.unwritten.pop_front();
        }
        let_go(&mut self.out, &mut self.written);
        if let Poll::Ready(flushed) = Pin::new(&mut self.transport).poll_flush(cx) {
            flushed?;
        }
        Ok(())
    }

    async fn say_goodbye(&mut self) -> io::Result<()> {
        self.given += self.stream.poll_transmit(&mut self.out) as u64;
        std::future::poll_fn(|cx| {
            self.poll_write_out(cx)?;
            if self.waiting() == 0 { Poll::Ready(io::Result::Ok(())) } else { Poll::Pending }
        })
        .await?;
        std::future::poll_fn(|cx| Pin::new(&mut self.transport).poll_shutdown(cx)).await
    }
}

/// Why the loop woke.
enum Woke {
    /// Something was handled.
    Again,
    /// This many bytes were given to the machine.
    Read(usize),
    /// The house wants the stream to end.
    Close(Option<StreamError>),
    /// The peer is gone.
    Gone,
}
