//! `chirrup check connectivity`: one attempt to reach a domain, with every step in words.
//!
//! The same way a stanza would take, up to an authenticated stream, which is then closed without a stanza.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use xmpp::stream::server::Purpose;

use super::{Federation, dial};
use crate::net::trace::Trace;

/// How long all of it may take. Less than the control socket waits.
const WITHIN: Duration = Duration::from_secs(50);
/// Lines that are kept.
const LINES_MAX: usize = 1_000;

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// What happened, one step a line.
    pub steps: Vec<String>,
    /// What failed; nothing if all is well.
    pub failure: Option<String>,
}

impl Federation {
    /// Tries to reach `remote` from our domain `local`, both prepared.
    pub async fn probe(&self, local: &str, remote: &str) -> Probed {
        let steps = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&steps);
        let trace = Trace::to(move |line| {
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() < LINES_MAX {
                lines.push(line);
            }
        });
        trace.say(|| {
            let terms = self.policy.terms(remote);
            let word = |is: bool, yes: &'static str, no: &'static str| if is { yes } else { no };
            format!(
                "policy for {remote}: {}, {}, {}, {}",
                word(terms.is_allowed, "allowed", "blocked"),
                word(terms.tls_required, "TLS required", "TLS not required"),
                word(terms.require_valid_certificate, "valid certificate required", "any certificate taken"),
                word(terms.dialback, "dialback allowed", "no dialback"),
            )
        });
        let attempt = self.establish(local, remote, Purpose::Stanzas, &trace);
        let failure = match timeout(WITHIN, attempt).await {
            Err(_) => Some(format!("no stream within {} s", WITHIN.as_secs())),
            Ok(Err(failure)) => Some(failure.to_string()),
            Ok(Ok(established)) => {
                let tls = established.tls.map_or_else(|| "in the clear".to_owned(), |version| format!("TLS {version}"));
                let by = established.proof.map_or("nothing", dial::name);
                trace.say(|| format!("a stream from {local} to {remote} is open: {tls}, authenticated by {by}"));
                let dial::Established { mut wire, mut stream, .. } = established;
                stream.close(None);
                let _unheard = timeout(Duration::from_secs(2), wire.flush(&mut stream)).await;
                wire.shutdown().await;
                None
            }
        };
        let steps = std::mem::take(&mut *steps.lock().unwrap_or_else(PoisonError::into_inner));
        Probed { steps, failure }
    }
}
