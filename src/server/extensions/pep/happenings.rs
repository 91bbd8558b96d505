//! What a change means to somebody else than its caller: a comment, a like, a mention, a repeated post, a follower.
//!
//! What is taken back is looked at before the change is decided, since only the item that goes knows; what is published
//! after that, when it is durable and its caller has been answered, which is when both are told. This is the one place where such things are recognised among what is
//! published here; [`Arrival`] is the same for what a service elsewhere sent.

use std::sync::Arc;

use bytes::Bytes;
use pubsub::model::NodeName;
use pubsub::profile::alternate::is_of_posts;
use pubsub::profile::attachments::{Attached, is_attachments, is_kept, target};
use pubsub::profile::likes::is_heart;
use pubsub::profile::microblog::{is_comments, is_feed, summary};
use pubsub::profile::social::{Concern, How, concerned};
use pubsub::profile::uri::Place;
use pubsub::request::{NewItem, NewPayload};
use pubsub::{Caller, Change, Item, Request, SubscriptionState};
use store::Fault;
use xmpp::{BareJid, Jid, ns};

use super::Pep;
use super::serve::Failure;
use crate::extension::{Act, Happening, Occasion};
use crate::router::Router;
use crate::tables::nodes::{self, Held};

/// Characters of what is told of a text.
const TEXT_CHARS: usize = 200;
/// Subscriptions of one follower that are looked at.
const ROWS: usize = 8;

/// An entry that is published or goes.
struct Entry<'a> {
    place: Place,
    payload: &'a [u8],
    person: BareJid,
    is_taken_back: bool,
    is_edit: bool,
}

impl Entry<'_> {
    fn happening(&self, act: Act, whom: BareJid, about: Option<Place>) -> Happening {
        Happening {
            act,
            whom,
            person: self.person.clone(),
            at: Some(self.place.clone()),
            about,
            text: if act == Act::Like { None } else { summary(self.payload, TEXT_CHARS) },
            is_taken_back: self.is_taken_back,
            is_edit: self.is_edit,
        }
    }
}

/// What a change will mean to others, as far as that is known before it is made.
pub(super) enum Coming {
    /// All of it: what goes knows it only now.
    Found(Vec<Happening>),
    /// What is published says it, and is looked at when it is.
    Posted(Posted),
}

/// What became of what was published.
#[derive(Default)]
pub(super) struct Happened<'a> {
    /// The item's id.
    pub(super) id: Option<&'a str>,
    /// Whether it is another version of one.
    pub(super) is_edit: bool,
    /// Which it was before.
    pub(super) before: Option<Arc<Item>>,
}

/// What is published.
pub(super) struct Posted {
    node: NodeName,
    payload: Bytes,
}

impl Pep {
    /// What a change will mean to others, if it is made.
    pub(super) async fn happenings(&self, home: &BareJid, caller: &Caller, request: &Request) -> Coming {
        let found = match request {
            Request::Publish { node, item: Some(NewItem { payload: NewPayload::One { bytes, .. }, .. }), .. }
                if is_attachments(node) || !is_kept(node) =>
            {
                return Coming::Posted(Posted { node: NodeName::clone(node), payload: bytes.clone() });
            }
            Request::Subscribe { node, jid, .. } | Request::Unsubscribe { node, jid, .. }
                if &**node == ns::MICROBLOG && jid.is_bare() =>
            {
                self.follower(home, caller, request).await
            }
            Request::Retract { node, id, .. } if is_attachments(node) => match BareJid::new(id) {
                Ok(person) => self.liker(home, node, person, &Attached::default()).await,
                Err(_) => Ok(Vec::new()),
            },
            Request::Retract { node, id, .. } => self.withdrawn(home, node, id).await,
            _ => Ok(Vec::new()),
        };
        Coming::Found(found.unwrap_or_else(|error| {
            tracing::error!(%error, %home, "whom a change concerns cannot be found out");
            Vec::new()
        }))
    }

    /// Whose a node is, if that is an account here.
    async fn keeper(&self, home: &BareJid, node: &str) -> Result<Option<BareJid>, Fault> {
        let whose = match home.localpart() {
            Some(_) => Some(home.clone()),
            // In a service whoever made the node asked for it.
            None => self.nodes.held(&self.nodes.entry(home, node)).await?.map(|held| held.node.creator.clone()),
        };
        Ok(whose.filter(|whose| whose.localpart().is_some() && self.serves(whose)))
    }

    async fn follower(&self, home: &BareJid, caller: &Caller, request: &Request) -> Result<Vec<Happening>, Fault> {
        let Some(node) = request.node() else { return Ok(Vec::new()) };
        let entry = self.nodes.entry(home, node);
        let Some(whom) = self.keeper(home, node).await? else { return Ok(Vec::new()) };
        let rows = match self.nodes.held(&entry).await? {
            Some(held) => self.nodes.subscriptions_of(&held, &caller.bare, ROWS).await?,
            // Its first follower makes a feed.
            None => Vec::new(),
        };
        let follows = rows.iter().any(|row| row.jid.is_bare() && row.state != SubscriptionState::None);
        let is_taken_back = matches!(request, Request::Unsubscribe { .. });
        // Who asks again follows all the same.
        if follows != is_taken_back {
            return Ok(Vec::new());
        }
        let about = Some(Place { service: home.clone(), node: Box::from(&**node), item: None });
        let person = caller.bare.clone();
        let (at, text, is_edit) = (None, None, false);
        Ok(vec![Happening { act: Act::Follow, whom, person, at, about, text, is_taken_back, is_edit }])
    }

    /// What somebody attached, or took back, means.
    async fn liker(
        &self,
        home: &BareJid,
        node: &str,
        person: BareJid,
        attached: &Attached,
    ) -> Result<Vec<Happening>, Fault> {
        let Some((node, item)) = target(home, node) else { return Ok(Vec::new()) };
        let whom = match home.localpart() {
            Some(_) => Some(home.clone()),
            None => self.item_of(home, &node, &item).await?.map(|item| item.publisher.clone()),
        };
        let Some(whom) = whom.filter(|whom| whom.localpart().is_some() && self.serves(whom)) else {
            return Ok(Vec::new());
        };
        let is_taken_back = !attached.noticed && attached.reactions.is_empty();
        let reactions: Vec<&str> = attached.reactions.iter().map(|reaction| &**reaction).collect();
        let text = (!reactions.is_empty()).then(|| reactions.join(" ").chars().take(TEXT_CHARS).collect());
        let about = Some(Place { service: home.clone(), node, item: Some(item) });
        let (at, is_edit) = (None, false);
        Ok(vec![Happening { act: Act::Like, whom, person, at, about, text, is_taken_back, is_edit }])
    }

    /// What an entry means that goes.
    async fn withdrawn(&self, home: &BareJid, node: &str, id: &str) -> Result<Vec<Happening>, Fault> {
        if !self.is_listened_to(home, node).await? {
            return Ok(Vec::new());
        }
        let Some(item) = self.item_of(home, node, id).await? else { return Ok(Vec::new()) };
        let place = Place { service: home.clone(), node: node.into(), item: Some(id.into()) };
        let person = item.publisher.clone();
        self.writer(Entry { place, payload: &item.payload, person, is_taken_back: true, is_edit: false }).await
    }

    /// Whether what is published there is told to whom it concerns: in a feed of posts, by its name or its type, and in
    /// comments.
    async fn is_listened_to(&self, home: &BareJid, node: &str) -> Result<bool, Fault> {
        if is_comments(node) {
            return Ok(true);
        }
        let held = self.nodes.held(&self.nodes.entry(home, node)).await?;
        Ok(held.is_some_and(|held| is_of_posts(node, &held.node.config)))
    }

    /// What is published means, now that it is.
    async fn posted(
        &self,
        home: &BareJid,
        caller: &Caller,
        posted: &Posted,
        Happened { id, is_edit, before }: Happened<'_>,
    ) -> Result<Vec<Happening>, Fault> {
        let Posted { node, payload } = posted;
        let person = caller.bare.clone();
        if is_attachments(node) {
            return self.liker(home, node, person, &Attached::stored(payload)).await;
        }
        if !self.is_listened_to(home, node).await? {
            return Ok(Vec::new());
        }
        let place = Place { service: home.clone(), node: Box::from(&**node), item: id.map(Box::from) };
        let mut found =
            self.writer(Entry { place: place.clone(), payload, person, is_taken_back: false, is_edit }).await?;
        if let Some(before) = before {
            // Whom it named before, and names no longer.
            let (payload, person) = (&*before.payload, before.publisher.clone());
            let gone = self.writer(Entry { place, payload, person, is_taken_back: true, is_edit: false }).await?;
            let is_said = |gone: &Happening, now: &Happening| {
                (gone.act, &gone.whom, &gone.person, &gone.about) == (now.act, &now.whom, &now.person, &now.about)
            };
            let gone: Vec<_> = gone.into_iter().filter(|gone| !found.iter().any(|now| is_said(gone, now))).collect();
            found.extend(gone);
        }
        Ok(found)
    }

    /// The version of an item that these changes of a node replace, if it told somebody something.
    pub(super) async fn replaced(
        &self,
        at: &nodes::Entry,
        held: &Held,
        changes: &[Change],
    ) -> Result<Option<Arc<Item>>, Fault> {
        let put = changes.iter().find_map(|change| match change {
            Change::PutItem(item) => Some(&item.id),
            _ => None,
        });
        let dropped = changes.iter().find_map(|change| match change {
            Change::DropItem { sequence, id } if Some(id) == put => Some(*sequence),
            _ => None,
        });
        match dropped.filter(|_| is_comments(&at.name) || is_of_posts(&at.name, &held.node.config)) {
            Some(sequence) => self.nodes.item_at(at, held, sequence).await,
            None => Ok(None),
        }
    }

    async fn writer(&self, entry: Entry<'_>) -> Result<Vec<Happening>, Fault> {
        let Place { service: home, node, .. } = &entry.place;
        let mut found = Vec::new();
        if is_comments(node)
            && let Some(whom) = self.keeper(home, node).await?
        {
            let comments = Place { item: None, ..entry.place.clone() };
            let post = self.nodes.commented_post(&comments, &whom).await?;
            let act = if is_heart(entry.payload) { Act::Like } else { Act::Reply };
            found.push(entry.happening(act, whom, Some(post.unwrap_or(comments))));
        }
        for concern in concerned(entry.payload) {
            if !self.serves(&concern.whom) {
                continue;
            }
            let whom = match (concern.whom.localpart(), &concern.what) {
                (Some(_), _) => Some(concern.whom.clone()),
                (None, Some(Place { service, node, item: Some(item) })) => {
                    self.item_of(service, node, item).await?.map(|item| item.publisher.clone())
                }
                _ => None,
            };
            let is_known = |whom: &BareJid| found.iter().any(|one: &Happening| one.whom == *whom);
            if let Some(whom) = whom.filter(|whom| whom.localpart().is_some() && self.serves(whom) && !is_known(whom)) {
                found.push(entry.happening(act_of(concern.how), whom, concern.what));
            }
        }
        Ok(found)
    }

    /// The change was made, and its caller was answered: whom it concerns is told, unless they block who made it or may not
    /// see it.
    pub(super) async fn tell_happenings(
        &self,
        home: &BareJid,
        caller: &Caller,
        coming: Coming,
        happened: Happened<'_>,
    ) {
        let found = match coming {
            Coming::Found(found) => Ok(found),
            Coming::Posted(posted) => self.posted(home, caller, &posted, happened).await,
        };
        let found = found.unwrap_or_else(|error| {
            tracing::error!(%error, %home, "whom a change concerns cannot be found out");
            Vec::new()
        });
        let Some(router) = self.router.upgrade().filter(|_| !found.is_empty()) else { return };
        for happening in found.into_iter().filter(|one| one.whom != one.person) {
            match self.may_concern(&happening).await {
                Ok(true) => tell(&router, &happening).await,
                Ok(false) => {}
                Err(error) => tracing::error!(%error, whom = %happening.whom, "somebody cannot be told"),
            }
        }
    }

    /// Takes back what a removed account did, and tells whom it concerned: they name it no longer.
    pub(super) async fn take_back(&self, home: &BareJid, caller: &Caller, request: Request) -> Result<(), Failure> {
        let coming = self.happenings(home, caller, &request).await;
        self.do_change(home, caller, request).await?;
        self.tell_happenings(home, caller, coming, Happened::default()).await;
        Ok(())
    }

    async fn may_concern(&self, happening: &Happening) -> Result<bool, Fault> {
        let Happening { whom, person, at, .. } = happening;
        // What they made may be there longer than they are.
        if self.timeline.blocks().are_apart(whom, person).await? || !self.accounts.exists(whom).await? {
            return Ok(false);
        }
        match at {
            Some(at) if at.service != *whom && !happening.is_taken_back => {
                Ok(self.may_read(&at.service, &at.node, &Jid::from(whom)).await?.unwrap_or(false))
            }
            _ => Ok(true),
        }
    }
}

/// Whether what is published elsewhere is told to whom it concerns. Of a node there the name is known, and not its type.
fn is_listened_to(node: &str) -> bool {
    is_feed(node) && node != ns::PUBSUB_SUBSCRIPTION
}

const fn act_of(how: How) -> Act {
    match how {
        How::Repeats => Act::Repost,
        How::Answers => Act::Reply,
        How::Mentions => Act::Mention,
    }
}

/// Says so to all who want to know.
pub(in crate::extensions) async fn tell(router: &Router, happening: &Happening) {
    router.tell(|listener| listener.happened(happening)).await;
    if !happening.is_taken_back {
        let from = Jid::from(&happening.person);
        let occasion = Occasion::new(happening.act.occasion(), &from);
        router.tell(|listener| listener.deserves_waking(&happening.whom, &occasion)).await;
    }
}

/// An item that a service elsewhere sent, as far as it means something to accounts here.
///
/// Who published it is what its service says. A service speaks for its own server: in the node of an account only another
/// account of that server is believed, and whatever else is said there its owner answers for.
pub(in crate::extensions) struct Arrival {
    item: Arc<Item>,
    place: Place,
    person: BareJid,
    concerns: Vec<Concern>,
}

impl Arrival {
    /// Reads what an item says, if it concerns anybody.
    pub(in crate::extensions) fn read(home: &BareJid, node: &str, item: &Arc<Item>) -> Option<Self> {
        if !is_listened_to(node) {
            return None;
        }
        let concerns = concerned(&item.payload);
        let is_believed = home.localpart().is_none() || item.publisher.domain() == home.domain();
        let person = if is_believed { &item.publisher } else { home }.clone();
        let place = Place { service: home.clone(), node: node.into(), item: Some(item.id.clone()) };
        (!concerns.is_empty()).then(|| Self { item: Arc::clone(item), place, person, concerns })
    }

    /// What it means to an account.
    pub(in crate::extensions) fn to(&self, account: &BareJid) -> Option<Happening> {
        let concern = self.concerns.iter().find(|concern| concern.whom == *account && self.person != *account)?;
        let entry = Entry {
            place: self.place.clone(),
            payload: &self.item.payload,
            person: self.person.clone(),
            is_taken_back: false,
            is_edit: self.item.published != self.item.updated,
        };
        Some(entry.happening(act_of(concern.how), account.clone(), concern.what.clone()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use pubsub::Timestamp;

    use super::*;

    #[test]
    fn a_service_elsewhere_speaks_for_its_own() {
        let account = BareJid::new("romeo@here.example").unwrap();
        for (home, publisher, person) in [
            ("juliet@there.example", "juliet@there.example", Some("juliet@there.example")),
            ("juliet@there.example", "nurse@there.example", Some("nurse@there.example")),
            ("juliet@there.example", "admin@here.example", Some("juliet@there.example")),
            ("juliet@there.example", "romeo@here.example", Some("juliet@there.example")),
            ("pubsub.there.example", "nurse@elsewhere.example", Some("nurse@elsewhere.example")),
            ("pubsub.there.example", "romeo@here.example", None),
        ] {
            let payload = "<entry xmlns='http://www.w3.org/2005/Atom'><link rel='mentioned' \
                           href='xmpp:romeo@here.example'/></entry>";
            let item = Item {
                sequence: 1,
                id: "1".into(),
                publisher: BareJid::new(publisher).unwrap(),
                published: Timestamp(1),
                updated: Timestamp(1),
                payload: payload.into(),
            };
            let arrival = Arrival::read(&BareJid::new(home).unwrap(), ns::MICROBLOG, &Arc::new(item)).unwrap();
            let told = arrival.to(&account).map(|happening| happening.person.to_string());
            assert_eq!(told.as_deref(), person, "{publisher} in {home}");
            assert_eq!(arrival.to(&BareJid::new("benvolio@here.example").unwrap()), None);
        }
    }
}
