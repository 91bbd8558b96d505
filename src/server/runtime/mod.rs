//! The outside world as small traits, each with a real and a simulated implementation.
//!
//! [`Clock`] tells wall and monotonic time, [`Ids`] draws identifiers and nonces, [`Resolver`] looks names up,
//! [`Dialer`] connects to other machines. Everything else in the house asks these four, so a test can run a whole
//! server, or two that talk to each other, on one seed and a clock it moves itself.

use std::future::Future;

mod clock;
mod dialer;
mod dns;
mod ids;
mod resolver;
mod scripted;
mod stamp;
mod switch;
mod written;

pub use clock::{Clock, SimulatedClock, SystemClock, Timestamp};
pub use dialer::{Dialer, TcpDialer, Transport, Wire};
pub use dns::DnsResolver;
pub use ids::{Ids, SeededIds, SystemIds};
pub use resolver::{
    ADDRESSES_MAX, Answer, Family, LookupError, Pending, Resolver, SRV_RECORDS_MAX, Srv, TLSA_RECORDS_MAX, Tlsa,
};
pub use scripted::{ScriptedDialer, ScriptedResolver};
pub use stamp::rfc3339;
pub use switch::{Stop, Switch};
pub use written::let_go;

/// Waits for `duration` of the runtime's time, which a test may hold still or wind forward.
#[expect(clippy::disallowed_methods, reason = "the one place where the house sleeps")]
pub async fn pause(duration: std::time::Duration) {
    tokio::time::sleep(duration).await;
}

/// Starts a long-lived task: a listener, a connection, a worker. Never one for a stanza.
#[expect(clippy::disallowed_methods, reason = "the one place where the house starts tasks")]
pub fn start<F>(task: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(task)
}

/// Runs `task` and turns a panic in it into `None`: a fault of ours ends what it was doing and nothing more.
///
/// The task is put on the heap at once, so that whoever awaits this holds a pointer and not its size.
pub fn survive<F: Future>(task: F) -> impl Future<Output = Option<F::Output>> {
    let mut task = Box::pin(task);
    std::future::poll_fn(move |cx| {
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| task.as_mut().poll(cx))) {
            Ok(polled) => polled.map(Some),
            Err(_) => std::task::Poll::Ready(None),
        }
    })
}
