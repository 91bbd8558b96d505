//! Dialback from the receiving side (XEP-0220 section 2.3): asking a domain's own server whether a key is its.
//!
//! A certificate that is good for the domain makes the question needless (XEP-0344 section 2). Else a ready link to the
//! domain is asked, and without one a connection is made for it. How many of these there are at a time for one domain is
//! bounded by whoever calls.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use xmpp::StanzaError;
use xmpp::stanza::Condition;
use xmpp::stream::server::{Event, Pair, Purpose, Verdict};

use super::Federation;
use super::dial::{Established, Failure};
use super::handle::Order;
use crate::net::trace::Trace;
use crate::net::trust::{Met, Peer};

/// How long the domain's server may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

impl Federation {
    /// Whether `key`, shown on the stream `stream_id` by a server with this certificate, is one of `pair.from`.
    pub(super) async fn verify(self: &Arc<Self>, pair: &Pair, stream_id: &str, key: &str, shown: &Peer) -> Verdict {
        let trace = Trace::default();
        if !shown.chain.is_empty() && self.trust.judge(&pair.from, shown, Met::Accepted, &trace).await.is_valid() {
            return Verdict::Valid;
        }
        if self.policy.terms(&pair.from).require_valid_certificate {
            // XEP-0220 section 2.5. A stream without one may be somebody's in the middle, whoever vouches for the key.
            let text = "a certificate that is good for the domain is needed";
            return Verdict::Error(StanzaError::not_authorized().with_text(text));
        }
        for link in self.registry.links_to(&pair.from) {
            let (answer, answered) = tokio::sync::oneshot::channel();
            let question = Order::Verify { pair: pair.clone(), stream_id: stream_id.into(), key: key.into(), answer };
            if link.order(question).is_ok()
                && let Ok(Ok(verdict)) = timeout(ANSWER, answered).await
            {
                return seen_from_here(verdict);
            }
        }
        match self.establish(&pair.to, &pair.from, Purpose::Verification, &trace).await {
            Ok(established) => {
                let asking = ask(established, pair, stream_id, key);
                match timeout(ANSWER, asking).await {
                    Ok(Some(verdict)) => seen_from_here(verdict),
                    Ok(None) | Err(_) => Verdict::Error(StanzaError::remote_server_timeout()),
                }
            }
            Err(failure) => Verdict::Error(refusal(&failure)),
        }
    }
}

/// What the peer is told when the authoritative server cannot be asked (XEP-0220 section 2.5).
fn refusal(failure: &Failure) -> StanzaError {
    let error = match failure {
        Failure::NotFound(_) => StanzaError::remote_server_not_found(),
        Failure::Unreachable(_) | Failure::Refused(_) => StanzaError::remote_server_timeout(),
        Failure::Certificate(_) => StanzaError::not_authorized(),
        Failure::Blocked => StanzaError::policy_violation(),
    };
    error.with_text(failure.to_string())
}

/// What an answer of the authoritative server means for who asked us.
fn seen_from_here(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Error(error) if error.condition == Condition::ItemNotFound => {
            Verdict::Error(StanzaError::remote_server_not_found())
        }
        Verdict::Error(_) => Verdict::Error(StanzaError::remote_server_timeout()),
        verdict => verdict,
    }
}

async fn ask(established: Established, pair: &Pair, stream_id: &str, key: &str) -> Option<Verdict> {
    let Established { mut wire, mut stream, .. } = established;
    if !stream.verify(pair, stream_id, key) {
        return None;
    }
    let verdict = loop {
        match stream.poll_event() {
            Some(Event::Verified { pair: of, stream_id: on, verdict }) if of == *pair && *on == *stream_id => {
                break Some(verdict);
            }
            Some(Event::Closed(_)) => break None,
            Some(_) => {}
            None => {
                wire.transmit(&mut stream);
                let read = std::future::poll_fn(|cx| match wire.poll_write(cx) {
                    Ok(()) => wire.poll_read(cx, &mut stream),
                    Err(error) => std::task::Poll::Ready(Err(error)),
                });
                if !matches!(read.await, Ok(1..)) {
                    break None;
                }
            }
        }
    };
    stream.close(None);
    let _unheard = timeout(Duration::from_secs(2), wire.flush(&mut stream)).await;
    wire.shutdown().await;
    verdict
}
