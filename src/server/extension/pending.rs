//! An answer that is usually there at once and sometimes has to be waited for.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A future on the heap.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Ready now, or later. The common case costs no allocation.
pub enum Pending<T> {
    /// The answer.
    Now(Option<T>),
    /// Somebody has to ask the store.
    Later(BoxFuture<T>),
}

impl<T> Pending<T> {
    /// An answer that is there.
    pub const fn now(value: T) -> Self {
        Self::Now(Some(value))
    }

    /// An answer that must be waited for.
    pub fn later(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self::Later(Box::pin(future))
    }
}

impl<T: Unpin> Future for Pending<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match self.get_mut() {
            Self::Now(value) => value.take().map_or(Poll::Pending, Poll::Ready),
            Self::Later(future) => future.as_mut().poll(cx),
        }
    }
}
