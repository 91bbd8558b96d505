//! One stanza for many recipients on other servers.
//!
//! It is rendered once. A server that passes on what is meant for many of its users (XEP-0033) gets it once for as
//! many of them as it takes; all others get one frame for each recipient, and these share their bytes. Which servers
//! do is asked of each domain once, when first two of its users are meant at a time, and remembered for hours.
//!
//! Recipients are named as `bcc`: none of them learns who else there is.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use xmpp::stanza::{IqType, Kind};
use xmpp::xml::escape_attr;
use xmpp::{Element, Jid, Stanza, ns};

use super::Router;
use crate::runtime::Timestamp;
use crate::session::mailbox::Frame;

/// The form in a domain's disco#info that tells how many addresses it takes (XEP-0128), and its field.
pub const MULTICAST_FORM: &str = "urn:chirrup:multicast:0";
/// The field of [`MULTICAST_FORM`].
pub const ADDRESSES_MAX: &str = "addresses_max";

/// Addresses that a server takes at once if it does not say: "more than 20 and less than 100" (XEP-0033 section 9).
const ADDRESSES_UNTOLD: usize = 20;
/// Addresses put into one stanza, however many the other server takes.
const ADDRESSES_SENT_MAX: usize = 500;
/// Bytes of the addresses in one stanza: the other server has a bound on the whole.
const ADDRESS_BYTES_MAX: usize = 32 * 1024;
/// Bytes of an address that are not the JID's own.
const ADDRESS_BYTES: usize = 32;
/// Bytes that one stanza may become at the other end, where it may have to be stored for each recipient.
pub const SPREAD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Recipients that wait for others of their domain.
const WAITING_MAX: usize = 8_192;
/// Domains remembered.
const DOMAINS_MAX: usize = 10_000;

const MINUTE: Timestamp = 60 * 1_000_000;
/// For how long an answer holds; "no more than 24 hours" (XEP-0033 section 2.3).
const KNOWN_FOR: Timestamp = 12 * 60 * MINUTE;
/// For how long no answer holds.
const UNANSWERED_FOR: Timestamp = 30 * MINUTE;

/// Which servers pass on what is meant for many.
#[derive(Default)]
pub(crate) struct Reach {
    domains: Mutex<HashMap<Box<str>, Known>>,
}

#[derive(Clone, Copy)]
struct Known {
    until: Timestamp,
    /// 0: it does not.
    addresses_max: usize,
}

impl Reach {
    fn domains(&self) -> MutexGuard<'_, HashMap<Box<str>, Known>> {
        self.domains.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many addresses `domain` takes at once, as far as known.
    fn get(&self, domain: &str, now: Timestamp) -> Option<usize> {
        self.domains().get(domain).filter(|known| known.until > now).map(|known| known.addresses_max)
    }

    /// Whether `domain` should be asked. Until there is an answer nobody asks again. When too many are remembered
    /// already the others are not asked, and get one stanza for each user.
    fn begins_to_ask(&self, domain: &str, now: Timestamp) -> bool {
        let mut domains = self.domains();
        if domains.len() >= DOMAINS_MAX {
            domains.retain(|_, known| known.until > now);
        }
        let has_room = domains.len() < DOMAINS_MAX || domains.contains_key(domain);
        if has_room {
            domains.insert(domain.into(), Known { until: now + UNANSWERED_FOR, addresses_max: 0 });
        }
        has_room
    }

    fn learn(&self, domain: &str, addresses_max: usize, now: Timestamp) {
        if let Some(known) = self.domains().get_mut(domain) {
            *known = Known { until: now + KNOWN_FOR, addresses_max };
        }
    }

    /// A domain that answers a message or presence of ours with an error refused to pass it on; unless it could not be
    /// reached at all.
    pub(super) fn heard(&self, stanza: &Stanza) {
        use xmpp::stanza::Condition::{RemoteServerNotFound, RemoteServerTimeout};
        if let (true, Some(from)) = (stanza.head.kind.is_error(), &stanza.head.from)
            && from.is_domain()
            && !matches!(stanza.head.kind, Kind::Iq(_))
            && stanza
                .error()
                .is_some_and(|error| !matches!(error.condition, RemoteServerNotFound | RemoteServerTimeout))
            && let Some(known) = self.domains().get_mut(from.domain())
        {
            known.addresses_max = 0;
        }
    }
}

/// How many addresses the answer to disco#info allows.
fn addresses_max(answer: Option<&Stanza>) -> Option<usize> {
    let answer = answer.filter(|answer| answer.head.kind == Kind::Iq(IqType::Result))?;
    let query = answer.content.child("query", ns::DISCO_INFO)?.open().ok()?;
    if !query.children().any(|child| child.is("feature", ns::DISCO_INFO) && child.attr("var") == Some(ns::ADDRESS)) {
        return Some(0);
    }
    let told = query.children().filter(|child| child.is("x", ns::DATA_FORMS)).find_map(told_max);
    Some(told.unwrap_or(ADDRESSES_UNTOLD).clamp(1, ADDRESSES_SENT_MAX))
}

fn told_max(form: &Element) -> Option<usize> {
    let value = |var: &str| {
        let field =
            form.children().find(|field| field.is("field", ns::DATA_FORMS) && field.attr("var") == Some(var))?;
        field.get_child("value", ns::DATA_FORMS).map(Element::text)
    };
    value("FORM_TYPE").filter(|kind| kind == MULTICAST_FORM)?;
    value(ADDRESSES_MAX)?.parse().ok()
}

/// A stanza and those of its recipients that have not been sent it yet.
pub(crate) struct Bundle<'a> {
    router: &'a Router,
    from: Jid,
    before: &'static str,
    /// Everything of the stanza from behind the recipient's address.
    tail: Bytes,
    /// Whether it may be stored for each recipient.
    is_kept: bool,
    groups: BTreeMap<Box<str>, Group>,
    waiting: usize,
    refused: Vec<Jid>,
}

#[derive(Default)]
struct Group {
    /// How many the domain takes at once, if that is known.
    max: Option<usize>,
    /// How many were added, sent or not.
    count: usize,
    waiting: Vec<Jid>,
    /// Bytes of their addresses.
    bytes: usize,
}

impl<'a> Bundle<'a> {
    /// A message: `tail` is everything from behind the recipient's address.
    pub(crate) fn message(router: &'a Router, from: Jid, tail: Bytes, is_kept: bool) -> Self {
        Self::new(router, from, "<message to='", tail, is_kept)
    }

    /// Presence: `tail` is everything from behind the recipient's address.
    pub(crate) fn presence(router: &'a Router, from: Jid, tail: Bytes) -> Self {
        Self::new(router, from, "<presence to='", tail, false)
    }

    fn new(router: &'a Router, from: Jid, before: &'static str, tail: Bytes, is_kept: bool) -> Self {
        Self { router, from, before, tail, is_kept, groups: BTreeMap::new(), waiting: 0, refused: Vec::new() }
    }

    /// One more recipient, on another server. It is sent the stanza now, or with others of its domain.
    pub(crate) async fn add(&mut self, to: Jid) {
        let group = match self.groups.get_mut(to.domain()) {
            Some(group) => group,
            None => {
                let known = self.router.reach.get(to.domain(), self.router.clock.now());
                let fit = if self.is_kept { SPREAD_BYTES_MAX / self.tail.len().max(1) } else { usize::MAX };
                let max = known.map(|max| max.min(fit));
                self.groups.entry(to.domain().into()).or_insert(Group { max, ..Group::default() })
            }
        };
        group.count += 1;
        match group.max {
            Some(max @ 2..) => {
                group.bytes += to.as_str().len() + ADDRESS_BYTES;
                self.waiting += 1;
                let is_full = group.waiting.len() + 1 >= max || group.bytes >= ADDRESS_BYTES_MAX;
                let domain = is_full.then(|| Box::<str>::from(to.domain()));
                group.waiting.push(to);
                if let Some(domain) = domain {
                    self.send(&domain);
                } else if self.waiting >= WAITING_MAX {
                    self.send_all();
                }
            }
            Some(_) => self.send_one(to),
            None => {
                let unknown = (group.count == 2).then(|| Box::<str>::from(to.domain()));
                self.send_one(to);
                if let Some(domain) = unknown {
                    self.ask(&domain).await;
                }
            }
        }
    }

    /// Sends to all who wait. Those whom it could not be sent to are returned.
    pub(crate) fn finish(mut self) -> Vec<Jid> {
        self.send_all();
        self.refused
    }

    fn send_all(&mut self) {
        let domains: Vec<Box<str>> = self.groups.keys().cloned().collect();
        for domain in domains {
            self.send(&domain);
        }
    }

    fn send(&mut self, domain: &str) {
        let Some(group) = self.groups.get_mut(domain) else { return };
        let recipients = std::mem::take(&mut group.waiting);
        group.bytes = 0;
        self.waiting = self.waiting.saturating_sub(recipients.len());
        if let [_, _, ..] = recipients.as_slice()
            && let Some(bytes) = addressed(self.before, domain, &self.tail, &recipients)
        {
            if self.router.relay_frame(Some(&self.from), domain, Frame::Whole(bytes)).is_err() {
                self.refused.extend(recipients);
            }
        } else {
            recipients.into_iter().for_each(|to| self.send_one(to));
        }
    }

    fn send_one(&mut self, to: Jid) {
        let frame = Frame::Addressed { before: self.before, to: to.clone(), after: self.tail.clone() };
        if self.router.relay_frame(Some(&self.from), to.domain(), frame).is_err() {
            self.refused.push(to);
        }
    }

    /// Asks a domain, in the name of ours, whether it passes on what is meant for many.
    async fn ask(&self, domain: &str) {
        let (Ok(to), Ok(from)) = (Jid::new(domain), Jid::new(self.from.domain())) else { return };
        if !self.router.reach.begins_to_ask(domain, self.router.clock.now()) {
            return;
        }
        let mut iq = Stanza::new(Kind::Iq(IqType::Get)).from(from);
        iq.content.push(&Element::builder("query", ns::DISCO_INFO).build());
        let (reach, clock) = (Arc::clone(&self.router.reach), Arc::clone(&self.router.clock));
        let domain: Box<str> = domain.into();
        let then = Box::new(move |answer: Option<Stanza>| {
            if let Some(max) = addresses_max(answer.as_ref()) {
                reach.learn(&domain, max, clock.now());
            }
        });
        self.router.ask(to, iq, then).await;
    }
}

/// The stanza for `domain`, with the recipients in it. `None` for a tail that does not end as stanzas do.
fn addressed(before: &str, domain: &str, tail: &[u8], recipients: &[Jid]) -> Option<Bytes> {
    let name = before.get(1..)?.split(' ').next()?;
    let end = format!("</{name}>");
    let mut out = Vec::with_capacity(tail.len() + 64 * recipients.len() + 128);
    out.extend_from_slice(before.as_bytes());
    escape_attr(&mut out, domain);
    out.push(b'\'');
    match (tail.strip_suffix(end.as_bytes()), tail.strip_suffix(b"/>")) {
        (Some(open), _) => out.extend_from_slice(open),
        (None, Some(head)) => {
            out.extend_from_slice(head);
            out.push(b'>');
        }
        (None, None) => return None,
    }
    out.extend_from_slice(b"<addresses xmlns='");
    out.extend_from_slice(ns::ADDRESS.as_bytes());
    out.extend_from_slice(b"'>");
    for to in recipients {
        out.extend_from_slice(b"<address type='bcc' jid='");
        escape_attr(&mut out, to.as_str());
        out.extend_from_slice(b"'/>");
    }
    out.extend_from_slice(b"</addresses>");
    out.extend_from_slice(end.as_bytes());
    Some(out.into())
}

#[cfg(test)]
#[path = "bundle_test.rs"]
mod tests;
