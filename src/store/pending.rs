//! Answers that may still be under way.
//!
//! Most answers come from a thread of ours through a one-shot channel, and some are at hand at once; neither
//! should cost a boxed future, so this is a plain enum with a third way out for everything else.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use crate::fault::Fault;

/// An answer under way: a future of `Result<T, E>`.
///
/// What was asked for is done even when this is dropped.
#[must_use = "an answer that nobody waits for says nothing"]
pub struct Pending<T, E = Fault>(Way<T, E>);

type Boxed<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

enum Way<T, E> {
    Ready(Option<Result<T, E>>),
    Waiting(oneshot::Receiver<Result<T, E>>),
    Boxed(Boxed<T, E>),
}

impl<T, E> Pending<T, E> {
    /// An answer that is there already.
    pub fn ready(answer: Result<T, E>) -> Self {
        Self(Way::Ready(Some(answer)))
    }

    /// An answer somebody else will send.
    pub fn waiting(receiver: oneshot::Receiver<Result<T, E>>) -> Self {
        Self(Way::Waiting(receiver))
    }

    /// An answer that takes steps of its own.
    pub fn boxed(future: impl Future<Output = Result<T, E>> + Send + 'static) -> Self {
        Self(Way::Boxed(Box::pin(future)))
    }
}

// Nothing in it is pinned in place: the boxed future has its own pin.
impl<T, E> Unpin for Pending<T, E> {}

impl<T, E: From<Fault>> Future for Pending<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Way::Ready(answer) => Poll::Ready(answer.take().unwrap_or_else(|| Err(Fault::closed().into()))),
            Way::Waiting(receiver) => {
                Pin::new(receiver).poll(cx).map(|sent| sent.unwrap_or_else(|_| Err(Fault::closed().into())))
            }
            Way::Boxed(future) => future.as_mut().poll(cx),
        }
    }
}

impl<T, E> fmt::Debug for Pending<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Way::Ready(_) => "Pending::Ready",
            Way::Waiting(_) => "Pending::Waiting",
            Way::Boxed(_) => "Pending::Boxed",
        })
    }
}

/// Proof that a batch was applied: it is visible to every later `get` and `scan`, and holds its place in line.
///
/// It is not on disk yet. Whoever promises something to the world waits for [`durable`](Self::durable) first.
#[derive(Debug)]
#[must_use = "applied is not durable: wait for durable() before acknowledging"]
pub struct Receipt {
    sequence: u64,
    durable: Pending<()>,
}

impl Receipt {
    pub(crate) fn new(sequence: u64, durable: Pending<()>) -> Self {
        Self { sequence, durable }
    }

    /// The commit's place in line; later commits have greater numbers.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Resolves when the batch, and every one before it, survives a power cut.
    ///
    /// # Errors
    /// A [`Fault`] when the disk or engine failed. The batch may still be found after a restart; the store
    /// takes no further writes.
    pub fn durable(self) -> Pending<()> {
        self.durable
    }
}
