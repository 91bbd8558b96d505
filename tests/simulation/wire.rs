//! Wires between houses that fail as they are told: cut after any byte, noticed late at one end or both, stalled, slow.
//!
//! A wire keeps what it had taken and did not deliver: what an end that was given no acknowledgements may have lost in
//! all innocence. It also stands for somebody on the way who takes the offer of TLS out of the stream, so that bytes
//! count the same in every run of a seed.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf, ReadHalf, WriteHalf,
};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Bytes each half of a wire holds before its writer has to wait.
const WIRE_BYTES: usize = 8 * 1024;
/// What is taken out.
const STARTTLS: &[u8] = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const FEATURES_END: &[u8] = b"</stream:features>";
/// How a message ends.
const MESSAGE_END: &[u8] = b"</message>";

/// What will become of a wire. Direction and end 0 are those of whoever dialled, 1 those of whoever was dialled.
#[derive(Clone, Debug)]
pub struct Fate {
    /// Bytes after which it is cut, by direction.
    pub cut_after: [Option<u64>; 2],
    /// How late each end notices a cut.
    pub late: [Duration; 2],
    /// How long bytes take.
    pub latency: Duration,
    /// Bytes delivered at a time, at most.
    pub chunk: usize,
}

impl Fate {
    /// Of a wire without faults.
    pub fn good() -> Self {
        Self { cut_after: [None; 2], late: [Duration::ZERO; 2], latency: Duration::ZERO, chunk: usize::MAX }
    }
}

/// A wire, to be harmed.
pub struct Line {
    /// The houses at its ends.
    pub ends: [usize; 2],
    state: Mutex<State>,
    cut: watch::Sender<bool>,
}

struct State {
    fate: Fate,
    stalled: [Instant; 2],
    /// What was delivered and not read, by direction.
    unread: [VecDeque<u8>; 2],
    /// What was read since the last message ended.
    begun: [Vec<u8>; 2],
    /// What was not delivered.
    lost: [Vec<u8>; 2],
}

/// The end of a wire that a house holds.
pub struct End {
    inner: DuplexStream,
    line: Arc<Line>,
    /// The direction that is read here.
    heard: usize,
}

impl Line {
    /// Lays a wire.
    pub fn lay(ends: [usize; 2], fate: Fate) -> (Arc<Self>, End, End) {
        let state = State {
            fate,
            stalled: [Instant::now(); 2],
            unread: Default::default(),
            begun: Default::default(),
            lost: Default::default(),
        };
        let line = Arc::new(Self { ends, state: Mutex::new(state), cut: watch::Sender::new(false) });
        let (near, near_inside) = tokio::io::duplex(WIRE_BYTES);
        let (far, far_inside) = tokio::io::duplex(WIRE_BYTES);
        let (near_read, near_write) = tokio::io::split(near_inside);
        let (far_read, far_write) = tokio::io::split(far_inside);
        tokio::spawn(Pump::new(&line, 0, near_read, far_write).run());
        tokio::spawn(Pump::new(&line, 1, far_read, near_write).run());
        let near = End { inner: near, line: Arc::clone(&line), heard: 1 };
        let far = End { inner: far, line: Arc::clone(&line), heard: 0 };
        (line, near, far)
    }

    /// Cuts it; the ends notice after so long.
    pub fn cut(&self, late: [Duration; 2]) {
        let is_whole = !*self.cut.borrow();
        if is_whole {
            self.state.lock().unwrap().fate.late = late;
            self.cut.send_replace(true);
        }
    }

    /// Whether it is of no use any more.
    pub fn is_cut(&self) -> bool {
        *self.cut.borrow()
    }

    /// Delivers nothing in one direction for a while.
    pub fn stall(&self, direction: usize, time: Duration) {
        self.state.lock().unwrap().stalled[direction] = Instant::now() + time;
    }

    /// Ends its faults.
    pub fn mend(&self) {
        self.state.lock().unwrap().fate = Fate::good();
    }

    /// What it took and did not deliver, with the beginning of what it delivered in part; by direction.
    pub fn lost(&self, direction: usize) -> Vec<u8> {
        let state = self.state.lock().unwrap();
        let unread: Vec<u8> = state.unread[direction].iter().copied().collect();
        [state.begun[direction].as_slice(), &unread, &state.lost[direction]].concat()
    }
}

/// One direction of a wire.
struct Pump {
    line: Arc<Line>,
    direction: usize,
    from: ReadHalf<DuplexStream>,
    to: WriteHalf<DuplexStream>,
    held: Vec<u8>,
    passed: u64,
    is_stripping: bool,
}

impl Pump {
    fn new(line: &Arc<Line>, direction: usize, from: ReadHalf<DuplexStream>, to: WriteHalf<DuplexStream>) -> Self {
        let is_stripping = direction == 1;
        Self { line: Arc::clone(line), direction, from, to, held: Vec::new(), passed: 0, is_stripping }
    }

    async fn run(mut self) {
        let mut cut = self.line.cut.subscribe();
        let is_over = tokio::select! {
            biased;
            _ = cut.wait_for(|is_cut| *is_cut) => false,
            () = self.carry() => true,
        };
        if is_over {
            // The other direction goes on until somebody cuts.
            let _cut = cut.wait_for(|is_cut| *is_cut).await;
        }
        let Self { line, direction, mut from, to, held, .. } = self;
        let late = line.state.lock().unwrap().fate.late;
        line.state.lock().unwrap().lost[direction].extend(held);
        let deadline = Instant::now() + late[direction];
        let swallow = async {
            let mut bytes = Vec::new();
            let all = async { while matches!(from.read_buf(&mut bytes).await, Ok(1..)) {} };
            if timeout(late[direction], all).await.is_ok() {
                sleep_until(deadline).await;
            }
            while let Ok(Ok(1..)) = timeout(Duration::ZERO, from.read_buf(&mut bytes)).await {}
            line.state.lock().unwrap().lost[direction].extend(bytes);
            drop(from);
        };
        let hold = async {
            sleep(late[1 - direction]).await;
            drop(to);
        };
        tokio::join!(swallow, hold);
    }

    async fn carry(&mut self) {
        loop {
            if !matches!(self.from.read_buf(&mut self.held).await, Ok(1..)) {
                let _gone = self.to.shutdown().await;
                return;
            }
            if self.is_stripping {
                if !contains(&self.held, FEATURES_END) {
                    continue;
                }
                self.is_stripping = false;
                if let Some(at) = find(&self.held, STARTTLS) {
                    self.held.drain(at..at + STARTTLS.len());
                }
            }
            while !self.held.is_empty() {
                let (stalled, latency, chunk, cut_after) = {
                    let state = self.line.state.lock().unwrap();
                    let fate = &state.fate;
                    (state.stalled[self.direction], fate.latency, fate.chunk, fate.cut_after[self.direction])
                };
                if stalled > Instant::now() {
                    sleep_until(stalled).await;
                    continue;
                }
                if !latency.is_zero() {
                    sleep(latency).await;
                }
                let left = cut_after.map_or(u64::MAX, |at| at.saturating_sub(self.passed));
                let take = self.held.len().min(chunk).min(usize::try_from(left).unwrap_or(usize::MAX));
                match self.to.write(&self.held[..take]).await {
                    Ok(count) => {
                        let delivered = self.held.drain(..count);
                        self.line.state.lock().unwrap().unread[self.direction].extend(delivered);
                        self.passed += count as u64;
                    }
                    // Whoever was to read is gone: as with a reset, the writer learns of it.
                    Err(_) => self.line.cut([Duration::ZERO; 2]),
                }
                if left <= take as u64 {
                    let late = self.line.state.lock().unwrap().fate.late;
                    self.line.cut(late);
                }
                if self.line.is_cut() {
                    return std::future::pending().await;
                }
            }
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    find(bytes, what).is_some()
}

impl AsyncRead for End {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        let count = buffer.filled().len() - before;
        let mut state = self.line.state.lock().unwrap();
        let read: Vec<u8> = state.unread[self.heard].drain(..count).collect();
        let begun = &mut state.begun[self.heard];
        begun.extend(read);
        if let Some(at) = begun.windows(MESSAGE_END.len()).rposition(|window| window == MESSAGE_END) {
            begun.drain(..at + MESSAGE_END.len());
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
