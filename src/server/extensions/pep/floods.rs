//! Guests who publish much: comments, likes, and posts where everybody may post, in nodes that are not theirs.
//!
//! What somebody may publish in a home in which they own and were entrusted with nothing is so many items in a minute;
//! large ones count for several. So that nobody gets around that with many addresses, the whole of another server has a
//! hundred times as much. Nothing of it is stored, and what is remembered is bounded.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use pubsub::profile::attachments::is_attachments;
use pubsub::request::{NewItem, NewPayload};
use pubsub::{Affiliation, Caller, Home, Request};
use xmpp::{BareJid, StanzaError};

use super::{Pep, home_of};
use crate::extension::fault;
use crate::runtime::Timestamp;
use crate::tables::nodes::Held;

/// Bytes that count for one item.
const BYTES_OF_ONE: usize = 4096;
/// Items of a server, for each that one of its users may publish.
const USERS: u64 = 100;
/// Guests and servers remembered. Others are let through when there are more, up to what their servers may.
const GUESTS_MAX: usize = 20_000;
/// Microseconds.
const MINUTE: u64 = 60_000_000;

/// A home, and a guest: an account, or the server of many.
type Guest = (BareJid, BareJid);

/// When guests will have published nothing too much: each item moves that moment on.
pub(super) struct Floods {
    items_per_minute_max: u64,
    until: Mutex<BTreeMap<Guest, Timestamp>>,
}

impl Floods {
    /// Nobody has published anything. No bound if `items_per_minute_max` is 0.
    pub(super) fn new(items_per_minute_max: u64) -> Self {
        Self { items_per_minute_max, until: Mutex::default() }
    }

    /// Items a guest may publish in a minute; 0 is no bound.
    pub(super) fn items_per_minute_max(&self) -> u64 {
        self.items_per_minute_max
    }

    /// Whether a guest may publish what counts for `items`; if so, that is counted.
    fn take(&self, home: &BareJid, guest: BareJid, items: u64, items_max: u64, now: Timestamp) -> bool {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (home.clone(), guest);
        let known = until.get(&key).copied();
        if known.is_none() && until.len() >= GUESTS_MAX {
            until.retain(|_, until| *until > now);
            if until.len() >= GUESTS_MAX {
                return true;
            }
        }
        // What is further ahead than a minute was said before the clock was set back.
        let begun = known.filter(|until| *until <= now.saturating_add(MINUTE)).unwrap_or(now).max(now);
        let cost = (MINUTE / items_max.max(1)).saturating_mul(items).min(MINUTE);
        let next = begun.saturating_add(cost);
        if next > now.saturating_add(MINUTE) {
            return false;
        }
        until.insert(key, next);
        true
    }
}

impl Pep {
    /// Refuses more items of a guest than fit into a minute. `held` is the node, if it is there.
    pub(super) async fn require_calm(
        &self,
        home: &BareJid,
        caller: &Caller,
        request: &Request,
        held: Option<&Held>,
    ) -> Result<(), StanzaError> {
        let Request::Publish { node, item: Some(item), .. } = request else { return Ok(()) };
        let items_max = self.floods.items_per_minute_max();
        let bare = &caller.bare;
        if items_max == 0 || bare == home {
            return Ok(());
        }
        match held {
            Some(held) if home_of(home) == Home::Service && held.node.creator == *bare => return Ok(()),
            Some(held) => {
                let affiliation = self.nodes.affiliation(held, bare).await.map_err(|error| fault("nodes", &error))?;
                let is_trusted =
                    matches!(affiliation, Affiliation::Owner | Affiliation::Publisher | Affiliation::PublishOnly);
                if is_trusted && !is_attachments(node) {
                    return Ok(());
                }
            }
            // Who makes a node is its owner, and has other bounds.
            None if home_of(home) == Home::Service && !is_attachments(node) => return Ok(()),
            None => {}
        }
        let (items, now) = (weight(item), self.clock.now());
        let is_calm = self.floods.take(home, bare.clone(), items, items_max, now)
            && (self.serves(bare) || {
                let server = BareJid::new(bare.domain()).map_err(|_| StanzaError::jid_malformed())?;
                self.floods.take(home, server, items, items_max.saturating_mul(USERS), now)
            });
        match is_calm {
            true => Ok(()),
            false => Err(StanzaError::resource_constraint()
                .with_text(format!("guests publish {items_max} items in a minute, and large ones count for several"))),
        }
    }
}

/// For how many items one counts.
fn weight(item: &NewItem) -> u64 {
    let bytes = match &item.payload {
        NewPayload::One { bytes, .. } => bytes.len(),
        NewPayload::None | NewPayload::Bad => 0,
    };
    1 + (bytes / BYTES_OF_ONE) as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::{Floods, GUESTS_MAX, MINUTE};
    use xmpp::BareJid;

    fn jid(text: &str) -> BareJid {
        BareJid::new(text).unwrap()
    }

    #[test]
    fn a_minute_holds_so_many_and_they_come_back_one_by_one() {
        let (floods, home, now) = (Floods::new(4), jid("juliet@capulet.lit"), 1_000_000_000);
        let take = |guest: &str, items, now| floods.take(&home, jid(guest), items, 4, now);
        let taken = (0..10).filter(|_| take("romeo@montague.lit", 1, now)).count();
        assert_eq!(taken, 4);
        assert!(take("nurse@capulet.lit", 4, now), "others are others");
        assert!(!take("nurse@capulet.lit", 1, now), "large ones count for several");
        assert!(floods.take(&jid("nurse@capulet.lit"), jid("romeo@montague.lit"), 4, 4, now), "homes are homes");
        assert!(!take("romeo@montague.lit", 1, now + MINUTE / 4 - 1));
        assert!(take("romeo@montague.lit", 1, now + MINUTE / 4));
        assert!(!take("romeo@montague.lit", 1, now + MINUTE / 4));
        assert!(take("romeo@montague.lit", 4, now + 2 * MINUTE));
        assert!(take("benvolio@montague.lit", 1_000, now), "what is larger than a minute passes when all is calm");
        assert!(!take("benvolio@montague.lit", 1, now));
    }

    #[test]
    fn a_clock_that_is_set_back_shuts_nobody_out() {
        let (floods, home, now) = (Floods::new(1), jid("juliet@capulet.lit"), 1_000 * MINUTE);
        assert!(floods.take(&home, jid("romeo@montague.lit"), 1, 1, now));
        assert!(!floods.take(&home, jid("romeo@montague.lit"), 1, 1, now));
        assert!(floods.take(&home, jid("romeo@montague.lit"), 1, 1, 10 * MINUTE));
        assert!(!floods.take(&home, jid("romeo@montague.lit"), 1, 1, 10 * MINUTE));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_forgotten() {
        let (floods, home) = (Floods::new(1), jid("juliet@capulet.lit"));
        for number in 0..GUESTS_MAX + 10 {
            assert!(floods.take(&home, jid(&format!("g{number}@x.lit")), 1, 1, MINUTE));
        }
        assert_eq!(floods.until.lock().unwrap().len(), GUESTS_MAX);
        assert!(floods.take(&home, jid("late@x.lit"), 1, 1, 3 * MINUTE));
        assert_eq!(floods.until.lock().unwrap().len(), 1);
    }
}
