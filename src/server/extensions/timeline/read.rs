//! Reads a timeline: entries that were written, items of nodes that are looked for, and what is landing, merged in the
//! order of their places.
//!
//! Whatever an entry says, what is shown is decided now: the node must still be followed, the item behind the position
//! at which it was, there, readable, and from nobody who is blocked.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use pubsub::access::{Standing, may_be_notified};
use pubsub::request::{Relation, effective};
use pubsub::{Home, Item, SubscriptionState, Timestamp};
use store::{CommitError, Fault};
use xmpp::{BareJid, Jid};

use super::Timeline;
use crate::tables::nodes::{Entry, Follow, Held};
use crate::tables::timeline::{Kept, Place, View, source_of};

/// Places looked at for one page, whether something is shown for them or not.
const PLACES_MAX: usize = 50_000;
/// Of timelines of so many entries it is counted at each reading which are the newest.
const COUNTED_MAX: usize = 2_000;
/// Rows of follows read at once.
const FOLLOWS_PAGE: usize = 1_000;

/// Which part of a timeline.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    /// Only what is past this, in the direction of reading.
    pub(super) bound: Option<Place>,
    /// Only what is before this, in the direction of reading.
    pub(super) end: Option<Place>,
    /// Only what came at this time or later, in milliseconds, and only what came before the other.
    pub(super) times: (u64, u64),
    /// From the newest on.
    pub(super) is_backwards: bool,
    /// Entries.
    pub(super) entries_max: usize,
}

/// One entry as it is shown.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) place: Place,
    pub(super) entry: Arc<Entry>,
    pub(super) held: Arc<Held>,
    pub(super) item: Arc<Item>,
}

/// What was found, oldest first.
#[derive(Default)]
pub(super) struct Found {
    pub(super) shown: Vec<Shown>,
    /// Whether there is nothing more in that direction.
    pub(super) is_complete: bool,
}

/// What an account follows.
pub(super) struct Sources {
    /// By what of a node is in places.
    nodes: HashMap<u64, Source>,
    /// What is there up to this place is not shown any more; once that is known.
    floor: Option<Option<Place>>,
}

/// A node that is followed, as it is for this reader now.
pub(super) struct Source {
    follow: Follow,
    node: Option<Readable>,
    is_known: bool,
}

#[derive(Clone)]
struct Readable {
    entry: Arc<Entry>,
    held: Arc<Held>,
}

/// Places of one origin in the direction of reading, taken some at a time.
struct Stream {
    from: Origin,
    waiting: VecDeque<Place>,
    last: Option<Place>,
    is_complete: bool,
}

enum Origin {
    Entries,
    Landing,
    Node { readable: Readable, after: u64, position: Option<u64> },
}

impl Timeline {
    /// Reads a part of the timeline of `account`.
    pub(super) async fn read(&self, account: &BareJid, want: Want) -> Result<Found, Fault> {
        self.read_of(account, want, &mut self.sources(account).await?).await
    }

    /// The same, for who reads several parts at once: whom the account follows is looked up once for all of them.
    pub(super) async fn read_of(&self, account: &BareJid, want: Want, sources: &mut Sources) -> Result<Found, Fault> {
        self.feeder().ready().await?;
        let shared = self.feeder().shared();
        // Before anything is read: what comes later is behind it.
        let view = shared.arrivals().view(shared.now());
        let kept = shared.kept();
        let floor = match sources.floor {
            Some(floor) => floor,
            None => self.floor(account, &kept, &view, sources).await?,
        };
        sources.floor = Some(floor);
        let mut want = Want { times: (want.times.0.max(kept.since), want.times.1.min(view.before)), ..want };
        match want.is_backwards {
            true => want.end = want.end.max(floor),
            false => want.bound = want.bound.max(floor),
        }
        let streams = self.streams(account, &want, &view, sources).await?;
        self.merge(account, &want, sources, streams).await
    }

    /// Where what is to be shown may come from.
    async fn streams(
        &self,
        account: &BareJid,
        want: &Want,
        view: &View,
        sources: &mut Sources,
    ) -> Result<Vec<Stream>, Fault> {
        let mut streams = vec![Stream::new(Origin::Entries)];
        let mut landing = Stream::new(Origin::Landing);
        landing.waiting = view.landing.iter().copied().filter(|place| want.takes(place)).collect();
        if want.is_backwards {
            landing.waiting.make_contiguous().reverse();
        }
        landing.is_complete = true;
        streams.push(landing);
        let shared = self.feeder().shared();
        for source in sources.nodes.values_mut().filter(|source| shared.is_merged(&source.follow.number)) {
            if let Some(readable) = self.open(account, source).await? {
                let after = source.follow.subscription.after;
                streams.push(Stream::new(Origin::Node { readable, after, position: None }));
            }
        }
        Ok(streams)
    }

    /// The place up to which entries are past the newest that are kept, whether they have gone yet or not. Few are counted
    /// here; of very many it is known how many were written.
    async fn floor(
        &self,
        account: &BareJid,
        kept: &Kept,
        view: &View,
        sources: &mut Sources,
    ) -> Result<Option<Place>, Fault> {
        let entries_max = usize::try_from(kept.entries_max).unwrap_or(usize::MAX);
        if entries_max > COUNTED_MAX {
            let surplus = self.feeder().shared().timelines.surplus(account.as_str(), *kept).await;
            return surplus.map_err(|error| match error {
                CommitError::Fault(fault) => fault,
                conflict => Fault::new(conflict.to_string()),
            });
        }
        let want = Want { times: (kept.since, view.before), entries_max, ..Want::newest() };
        let mut streams = self.streams(account, &want, view, sources).await?;
        let mut counted = 0;
        while let Some((place, is_written)) = self.next(account, &want, &mut streams).await? {
            let source = sources.nodes.get(&place.source);
            // Nobody waits for an entry that was written before, and is shown no more.
            if is_written || source.is_some_and(|source| place.sequence > source.follow.subscription.after) {
                if counted == entries_max {
                    return Ok(Some(place));
                }
                counted += 1;
            }
        }
        Ok(None)
    }

    /// Takes the next place, and whether it was written into the timeline.
    async fn next(
        &self,
        account: &BareJid,
        want: &Want,
        streams: &mut [Stream],
    ) -> Result<Option<(Place, bool)>, Fault> {
        for stream in &mut *streams {
            self.fill(account, want, stream).await?;
        }
        let heads = streams.iter().filter_map(|stream| stream.waiting.front().copied());
        let Some(place) = (if want.is_backwards { heads.max() } else { heads.min() }) else { return Ok(None) };
        let mut is_written = false;
        for stream in streams {
            if stream.waiting.front() == Some(&place) {
                stream.waiting.pop_front();
                is_written |= matches!(stream.from, Origin::Entries);
            }
        }
        Ok(Some((place, is_written)))
    }

    async fn merge(
        &self,
        account: &BareJid,
        want: &Want,
        sources: &mut Sources,
        mut streams: Vec<Stream>,
    ) -> Result<Found, Fault> {
        let now = Timestamp(self.feeder().shared().now());
        let mut found = Found::default();
        let mut bytes = 0;
        let mut last = None;
        for _ in 0..PLACES_MAX {
            let Some((place, _)) = self.next(account, want, &mut streams).await? else {
                found.is_complete = true;
                break;
            };
            if last.replace(place) == Some(place) {
                continue;
            }
            let Some(shown) = self.show(account, sources, place, now).await? else { continue };
            bytes += shown.item.payload.len();
            let is_full = found.shown.len() >= want.entries_max;
            if is_full || (bytes > self.page_bytes_max && !found.shown.is_empty()) {
                break;
            }
            found.shown.push(shown);
        }
        if want.is_backwards {
            found.shown.reverse();
        }
        Ok(found)
    }

    /// Whom the account follows, by what of them is in places.
    pub(super) async fn sources(&self, account: &BareJid) -> Result<Sources, Fault> {
        let nodes = &self.feeder().shared().nodes;
        let mut sources = Sources { nodes: HashMap::new(), floor: None };
        let mut after: Option<Follow> = None;
        loop {
            let (page, is_complete) = nodes.follows(account, after.as_ref(), FOLLOWS_PAGE).await?;
            after = page.last().cloned();
            for follow in page {
                let subscription = &follow.subscription;
                if subscription.jid.is_bare()
                    && subscription.state == SubscriptionState::Subscribed
                    && subscription.options.deliver
                    && subscription.options.reach.has_items()
                {
                    let key = source_of(&follow.number);
                    sources.nodes.insert(key, Source { follow, node: None, is_known: false });
                }
            }
            if is_complete || after.is_none() {
                return Ok(sources);
            }
        }
    }

    /// The node of a source, if it is there and the account may read it now.
    async fn open(&self, account: &BareJid, source: &mut Source) -> Result<Option<Readable>, Fault> {
        if !source.is_known {
            source.is_known = true;
            let nodes = &self.feeder().shared().nodes;
            let entry = nodes.entry(&source.follow.home, &source.follow.name);
            let held = nodes.held(&entry).await?.filter(|held| held.number == source.follow.number);
            if let Some(held) = held
                && self.may_read(account, &entry, &held).await?
            {
                source.node = Some(Readable { entry, held });
            }
        }
        Ok(source.node.clone())
    }

    /// Whether nothing stands between the account and a node now: access, and blocking in either direction.
    async fn may_read(&self, account: &BareJid, entry: &Entry, held: &Held) -> Result<bool, Fault> {
        let home = &entry.home;
        if home == account {
            return Ok(true);
        }
        if self.blocks.is_blocked(account, &Jid::from(home)).await? {
            return Ok(false);
        }
        let is_here = self.feeder().shared().router.upgrade().is_some_and(|router| router.serves(home.domain()));
        if !is_here {
            // Its server decided when it sent what we have.
            return Ok(true);
        }
        let is_account = home.localpart().is_some();
        if is_account && self.blocks.is_blocked(home, &Jid::from(account)).await? {
            return Ok(false);
        }
        if !is_account && self.blocks.are_apart(account, &held.node.creator).await? {
            return Ok(false);
        }
        let kind = if is_account { Home::Account } else { Home::Service };
        let nodes = &self.feeder().shared().nodes;
        let affiliation = effective(kind, home, account, nodes.affiliation(held, account).await?);
        let relation = match is_account {
            true => self.contacts.relation(home, account).await?,
            false => Relation::default(),
        };
        // It is subscribed, or we would not be here.
        let standing = Standing { affiliation, is_subscribed: true, relation: &relation };
        Ok(may_be_notified(&held.node.config, &standing) && nodes.lets_pass(home, held, account, &relation).await?)
    }

    /// What an entry shows, if it shows anything.
    async fn show(
        &self,
        account: &BareJid,
        sources: &mut Sources,
        place: Place,
        now: Timestamp,
    ) -> Result<Option<Shown>, Fault> {
        let Some(source) = sources.nodes.get_mut(&place.source) else { return Ok(None) };
        if place.sequence <= source.follow.subscription.after {
            return Ok(None);
        }
        let Some(Readable { entry, held }) = self.open(account, source).await? else { return Ok(None) };
        let item = self.feeder().shared().nodes.item_at(&entry, &held, place.sequence).await?;
        let Some(item) = item.filter(|item| !item.is_expired(&held.node.config, now)) else { return Ok(None) };
        if item.publisher != entry.home && self.blocks.are_apart(account, &item.publisher).await? {
            return Ok(None);
        }
        Ok(Some(Shown { place, entry, held, item }))
    }

    /// Takes the next places of a stream, if none are waiting.
    async fn fill(&self, account: &BareJid, want: &Want, stream: &mut Stream) -> Result<(), Fault> {
        while stream.waiting.is_empty() && !stream.is_complete {
            let bound = stream.last.or(want.start());
            let shared = self.feeder().shared();
            let places = match &mut stream.from {
                Origin::Landing => Vec::new(),
                Origin::Entries => {
                    let rows_max = want.entries_max.saturating_add(1).clamp(20, 1_000);
                    let timelines = &shared.timelines;
                    let (places, is_complete) =
                        timelines.places(account.as_str(), bound, want.is_backwards, rows_max).await?;
                    stream.is_complete = is_complete;
                    places
                }
                Origin::Node { readable, after, position } => {
                    let Readable { entry, held } = &*readable;
                    let nodes = &shared.nodes;
                    let from = match (*position, bound) {
                        (Some(position), _) => Some(position),
                        (None, None) if want.is_backwards => None,
                        (None, None) => Some(*after),
                        // The first item past the bound: those of its own time are sorted out below.
                        (None, Some(bound)) if want.is_backwards => {
                            Some(nodes.position_at(entry, held, bound.time).await?.saturating_add(1))
                        }
                        (None, Some(bound)) => {
                            let before = nodes.position_at(entry, held, bound.time.saturating_sub(1)).await?;
                            Some(before.max(*after))
                        }
                    };
                    let count = want.entries_max.saturating_add(1).clamp(2, 100);
                    let items = nodes.items_beside(entry, held, from, want.is_backwards, count).await?;
                    stream.is_complete = items.len() < count || items.iter().any(|item| item.sequence <= *after);
                    *position = items.last().map(|item| item.sequence).or(*position);
                    items.iter().map(|item| Place::new(item.updated.0, &held.number, item.sequence)).collect()
                }
            };
            stream.last = places.last().copied().or(stream.last);
            if places.last().is_some_and(|last| want.is_past_the_end(last)) {
                stream.is_complete = true;
            }
            stream.waiting = places.into_iter().filter(|place| want.takes(place)).collect();
        }
        Ok(())
    }
}

impl Stream {
    fn new(from: Origin) -> Self {
        Self { from, waiting: VecDeque::new(), last: None, is_complete: false }
    }
}

impl Want {
    /// Past which place reading begins.
    fn start(&self) -> Option<Place> {
        let (since, before) = self.times;
        let least = |time| Place { time, source: 0, sequence: 0 };
        let by_time = match self.is_backwards {
            true => Some(least(before)).filter(|_| before < u64::MAX),
            // No item has the position 0.
            false => Some(least(since)).filter(|_| since > 0),
        };
        match (self.bound, by_time) {
            (Some(bound), Some(time)) if self.is_backwards => Some(bound.min(time)),
            (Some(bound), Some(time)) => Some(bound.max(time)),
            (bound, time) => bound.or(time),
        }
    }

    pub(super) fn takes(&self, place: &Place) -> bool {
        let is_past = match self.bound {
            None => true,
            Some(bound) if self.is_backwards => *place < bound,
            Some(bound) => *place > bound,
        };
        is_past && !self.is_past_the_end(place) && place.time >= self.times.0 && place.time < self.times.1
    }

    fn is_past_the_end(&self, place: &Place) -> bool {
        match (self.end, self.is_backwards) {
            (Some(end), true) if *place <= end => true,
            (Some(end), false) if *place >= end => true,
            (_, true) => place.time < self.times.0,
            (_, false) => place.time >= self.times.1,
        }
    }
}
