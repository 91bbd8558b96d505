//! One connection to one host with many addresses: RFC 8305, "happy eyeballs".
//!
//! Both families are asked for at once; when IPv4 answers first, IPv6 gets 50 ms to catch up. Addresses alternate
//! between the families, IPv6 first, and each attempt gets a head start of 250 ms before the next begins, less when it
//! fails. The first connection wins and the others are dropped. Addresses are taken in the order the DNS gave them:
//! RFC 6724's sorting needs the machine's routing table, and an address without a route fails at once anyway.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::{Candidate, ConnectError, allowed, literal};
use crate::net::trace::Trace;
use crate::runtime::{self, Answer, Dialer, Family, LookupError, Pending, Resolver, Transport};

/// How long IPv4 addresses wait for IPv6 ones ("Resolution Delay", section 3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// How long an attempt has for itself ("Connection Attempt Delay", section 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Addresses of one host that are tried.
const ATTEMPTS_MAX: usize = 16;

type Looked = Result<Answer<IpAddr>, LookupError>;

/// Connects to whichever address of `candidate` answers first. The caller sets the deadline.
pub(super) async fn connect(
    resolver: &dyn Resolver,
    dialer: &dyn Dialer,
    candidate: &Candidate,
    may_dial_anything: bool,
    trace: &Trace,
) -> Result<(Transport, SocketAddr), ConnectError> {
    let mut race = Race {
        dialer,
        candidate,
        may_dial_anything,
        trace,
        lookups: Vec::new(),
        waiting: [VecDeque::new(), VecDeque::new()],
        prefers: Family::V6,
        attempts: Vec::new(),
        attempts_left: ATTEMPTS_MAX,
        not_before: Instant::now(),
        complaint: None,
    };
    match literal(&candidate.host) {
        Some(address) => race.admit([address]),
        None => {
            for family in [Family::V6, Family::V4] {
                race.lookups.push((family, resolver.addresses(&candidate.host, family)));
            }
        }
    }
    race.run().await
}

struct Race<'a> {
    dialer: &'a dyn Dialer,
    candidate: &'a Candidate,
    may_dial_anything: bool,
    trace: &'a Trace,
    lookups: Vec<(Family, Pending<'a, Looked>)>,
    /// Addresses not tried yet: IPv6, IPv4.
    waiting: [VecDeque<IpAddr>; 2],
    /// The family whose turn it is.
    prefers: Family,
    attempts: Vec<Attempt<'a>>,
    attempts_left: usize,
    /// When the next attempt may begin.
    not_before: Instant,
    /// What to say when nothing works.
    complaint: Option<ConnectError>,
}

struct Attempt<'a> {
    to: SocketAddr,
    since: Instant,
    connecting: Pending<'a, io::Result<Transport>>,
}

enum Happened {
    Found(Family, Looked),
    Connected(SocketAddr, Duration, Transport),
    Failed(SocketAddr, io::Error),
    TimePassed,
}

impl Race<'_> {
    async fn run(mut self) -> Result<(Transport, SocketAddr), ConnectError> {
        loop {
            let has_waiting = self.begin();
            if !has_waiting && self.attempts.is_empty() && self.lookups.is_empty() {
                let nothing = ConnectError::NoAddress(LookupError::NoRecords { is_secure: false });
                return Err(self.complaint.unwrap_or(nothing));
            }
            let mut pausing = has_waiting.then(|| {
                let wait = self.not_before.saturating_duration_since(Instant::now());
                Box::pin(runtime::pause(wait))
            });
            let happened = poll_fn(|context| {
                if let Poll::Ready(happened) = self.poll(context) {
                    return Poll::Ready(happened);
                }
                match &mut pausing {
                    Some(pausing) => pausing.as_mut().poll(context).map(|()| Happened::TimePassed),
                    None => Poll::Pending,
                }
            })
            .await;
            match happened {
                Happened::TimePassed => {}
                Happened::Connected(to, after, transport) => {
                    self.trace.say(|| format!("connected to {to} in {} ms", after.as_millis()));
                    return Ok((transport, to));
                }
                Happened::Failed(to, error) => {
                    self.trace.say(|| format!("{to}: {error}"));
                    self.complaint = Some(ConnectError::Failed(to, error));
                    self.not_before = Instant::now();
                }
                Happened::Found(family, looked) => self.found(family, looked)?,
            }
        }
    }

    /// Begins an attempt if it is time for one. Answers whether addresses are still waiting for their turn.
    fn begin(&mut self) -> bool {
        if self.not_before <= Instant::now()
            && self.attempts_left > 0
            && let Some(address) = self.next()
        {
            let to = SocketAddr::new(address, self.candidate.port);
            let since = Instant::now();
            self.attempts.push(Attempt { to, since, connecting: self.dialer.connect(to) });
            self.attempts_left -= 1;
            self.not_before = since + ATTEMPT_DELAY;
        }
        self.attempts_left > 0 && self.waiting.iter().any(|waiting| !waiting.is_empty())
    }

    fn next(&mut self) -> Option<IpAddr> {
        let [v6, v4] = &mut self.waiting;
        let address = match self.prefers {
            Family::V6 => v6.pop_front().or_else(|| v4.pop_front()),
            Family::V4 => v4.pop_front().or_else(|| v6.pop_front()),
        }?;
        self.prefers = if address.is_ipv6() { Family::V4 } else { Family::V6 };
        Some(address)
    }

    fn found(&mut self, family: Family, looked: Looked) -> Result<(), ConnectError> {
        let host = &self.candidate.host;
        match looked {
            Ok(answer) => {
                self.trace.say(|| {
                    let addresses: Vec<String> = answer.records.iter().map(ToString::to_string).collect();
                    let secure = if answer.is_secure { ", DNSSEC-validated" } else { "" };
                    format!("{} {host}: {}{secure}", family.record(), addresses.join(", "))
                });
                let is_first = self.attempts.is_empty() && self.waiting.iter().all(VecDeque::is_empty);
                self.admit(answer.records);
                let v6_may_come = self.lookups.iter().any(|(family, _)| *family == Family::V6);
                if is_first && family == Family::V4 && v6_may_come {
                    self.not_before = Instant::now() + RESOLUTION_DELAY;
                }
            }
            Err(error) => {
                self.trace.say(|| format!("{} {host}: {error}", family.record()));
                // RFC 7673 section 3.2: not to this place at all, or a forger could choose the family for us.
                if error == LookupError::Bogus {
                    return Err(ConnectError::NoAddress(error));
                }
                // An absence is known; a failure to answer says more about what to do.
                let is_news = match &self.complaint {
                    None => true,
                    Some(ConnectError::NoAddress(known)) => known.is_absence(),
                    Some(_) => false,
                };
                if is_news {
                    self.complaint = Some(ConnectError::NoAddress(error));
                }
            }
        }
        // IPv4 was only waiting for this answer.
        if family == Family::V6 && self.attempts.is_empty() {
            self.not_before = Instant::now();
        }
        Ok(())
    }

    fn admit(&mut self, addresses: impl IntoIterator<Item = IpAddr>) {
        for address in addresses {
            if self.may_dial_anything || allowed::is_elsewhere(address) {
                let [v6, v4] = &mut self.waiting;
                if address.is_ipv6() { v6.push_back(address) } else { v4.push_back(address) }
            } else {
                self.trace.say(|| format!("{address}: not an address where another server can be; skipped"));
                self.complaint = Some(ConnectError::NotAllowed(address));
            }
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Happened> {
        // Answers first: what a failure hurries on should know of every address.
        for (index, (family, lookup)) in self.lookups.iter_mut().enumerate() {
            if let Poll::Ready(looked) = lookup.as_mut().poll(context) {
                let family = *family;
                drop(self.lookups.remove(index));
                return Poll::Ready(Happened::Found(family, looked));
            }
        }
        for (index, attempt) in self.attempts.iter_mut().enumerate() {
            if let Poll::Ready(outcome) = attempt.connecting.as_mut().poll(context) {
                let attempt = self.attempts.remove(index);
                return Poll::Ready(match outcome {
                    Ok(transport) => Happened::Connected(attempt.to, attempt.since.elapsed(), transport),
                    Err(error) => Happened::Failed(attempt.to, error),
                });
            }
        }
        Poll::Pending
    }
}
