//! What the answers of a node elsewhere mean that was asked what it has: which of its items are missing here.
//!
//! A node is walked back from its newest item until something comes that it had when it was last asked. Services give
//! their pages in either order, so each page is turned: by what is known of its items, else by the dates in them. What no
//! honest service sends ends the walk: another node's items, more than was asked for, the same item twice; and so does the
//! last of a bounded number of pages. Nothing here waits or writes.

use std::collections::HashSet;

use pubsub::profile::microblog::date;
use pubsub::wire::event::ToldItem;
use sha1::{Digest as _, Sha1};
use xmpp::xml::WithAttribute as _;
use xmpp::{Element, ns};

use super::copies::Sent;

/// Items asked for at once.
pub(super) const PAGE_ITEMS: usize = 50;
/// Pages of one walk.
const PAGES_MAX: usize = 10;

/// How a request asks for the next page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// The newest.
    Newest,
    /// Those before this one, of a service that begins with the oldest.
    Before(Box<str>),
    /// Those after this one, of a service that begins with the newest.
    After(Box<str>),
}

/// A walk back through a node.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Marks of what it had before.
    seen: HashSet<u64>,
    /// Whether what is in the copy ends the walk as well: nothing is known of an earlier answer.
    is_first: bool,
    ids: HashSet<Box<str>>,
    pages: usize,
    /// What was found, newest first.
    found: Vec<Sent>,
    newest: Vec<u64>,
    /// Whether something came that was there before.
    is_anchored: bool,
    bound: Option<Bound>,
}

/// What is remembered of an item: enough to know it again, and that it was not written anew.
pub(super) fn mark(id: &str, payload: &[u8]) -> u64 {
    let mut sha = Sha1::new();
    for part in [id, "\0", date(payload).unwrap_or_default()] {
        sha.update(part);
    }
    sha.finalize().first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

impl Walk {
    /// A walk back to what has one of these marks; to what is here already if there are none because it was never asked.
    pub(super) fn new(seen: Option<&[u64]>) -> Self {
        let is_first = seen.is_none();
        Self { seen: seen.unwrap_or_default().iter().copied().collect(), is_first, ..Self::default() }
    }

    /// What to ask for next.
    pub(super) fn bound(&self) -> Bound {
        self.bound.clone().unwrap_or(Bound::Newest)
    }

    /// The items of one answer that have a payload, or `None` when no honest service sends this.
    pub(super) fn read(&mut self, asked: &str, node: &str, items: Vec<ToldItem>) -> Option<Vec<Sent>> {
        if node != asked || items.len() > PAGE_ITEMS {
            return None;
        }
        self.pages += 1;
        let mut page = Vec::with_capacity(items.len());
        for item in items {
            let ToldItem::Published { id, publisher, payload } = item else { return None };
            if id.len() > 1023 || !self.ids.insert(id.clone()) {
                return None;
            }
            // A node without payloads has nothing to show.
            if let Some(payload) = payload {
                page.push(Sent { id, publisher, payload });
            }
        }
        Some(page)
    }

    /// Goes over a page, of whose items `here` says at which positions the very same are here. Whether another page is
    /// needed.
    pub(super) fn take(&mut self, mut page: Vec<Sent>, mut here: Vec<Option<u64>>) -> bool {
        let is_newest = self.bound.is_none();
        let is_reversed = is_newest_first(&page, &here, matches!(self.bound, Some(Bound::After(_))));
        if !is_reversed {
            page.reverse();
            here.reverse();
        }
        if is_newest {
            self.newest = page.iter().map(|sent| mark(&sent.id, &sent.payload)).collect();
        }
        let Some(oldest) = page.last().map(|sent| sent.id.clone()) else { return false };
        for (sent, here) in page.into_iter().zip(here) {
            if self.seen.contains(&mark(&sent.id, &sent.payload)) || (self.is_first && here.is_some()) {
                self.is_anchored = true;
                return false;
            }
            self.found.push(sent);
        }
        if self.is_first || self.pages >= PAGES_MAX {
            return false;
        }
        self.bound = Some(if is_reversed { Bound::After(oldest) } else { Bound::Before(oldest) });
        true
    }

    /// What is missing, or may be, oldest first; and the marks of what the node has now, newest first.
    ///
    /// Of a node that was never asked, and of which nothing is here, nothing is missing: what it had before it was followed
    /// is not for its followers.
    pub(super) fn finish(mut self) -> (Vec<Sent>, Vec<u64>) {
        if self.is_first && !self.is_anchored {
            self.found.clear();
        }
        self.found.reverse();
        (self.found, self.newest)
    }
}

/// Whether the first item of a page is its newest.
fn is_newest_first(page: &[Sent], here: &[Option<u64>], otherwise: bool) -> bool {
    let mut known = here.iter().flatten();
    if let (Some(first), Some(last)) = (known.next(), known.next_back())
        && first != last
    {
        return first > last;
    }
    let date_of = |sent: Option<&Sent>| sent.and_then(|sent| date(&sent.payload)).map(str::to_owned);
    match (date_of(page.first()), date_of(page.last())) {
        // The dates of RFC 3339 in UTC are in order as text; in other zones they are nearly so.
        (Some(first), Some(last)) if first != last => first > last,
        _ => otherwise,
    }
}

/// The request for a part of a node, `<pubsub/>`.
pub(super) fn request(node: &str, bound: &Bound) -> Element {
    let count = PAGE_ITEMS.to_string();
    let items = Element::builder("items", ns::PUBSUB).attribute("node", node);
    let pubsub = Element::builder("pubsub", ns::PUBSUB);
    let (name, id) = match bound {
        // What everybody knows (section 6.5.7). An empty `<before/>` is the oldest page where the newest come first.
        Bound::Newest => return pubsub.append(items.attribute("max_items", &*count).build()).build(),
        Bound::Before(id) => ("before", id),
        Bound::After(id) => ("after", id),
    };
    let set = Element::builder("set", ns::RSM)
        .append(Element::builder("max", ns::RSM).append(&*count).build())
        .append(Element::builder(name, ns::RSM).append(&**id).build());
    pubsub.append(items.build()).append(set.build()).build()
}

#[cfg(test)]
#[path = "walk_test.rs"]
mod tests;
