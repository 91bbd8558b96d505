//! XEP-0499: discovery of what is below a node and of what is linked to it, each with its metadata.
//!
//! What is found is in one order: a node, its items, what is linked to it, then each of its children in the same way
//! (`surroundings`). A page goes on behind where the page before ended.

use pubsub::model::TIES_MAX;
use pubsub::wire::{metadata_form, relationships_form};
use pubsub::{Caller, Refusal, Request, decide};
use xmpp::form::{Form, FormType};
use xmpp::paging::{Page, Query, Start};
use xmpp::xml::{WithAttribute as _, element_bytes};
use xmpp::{BareJid, Element, StanzaError, ns};

use super::Pep;
use super::serve::Failure;
use super::surroundings::{Reach, Walk};
use super::types::Types;
use crate::tables::nodes::Held;

/// Nodes looked at for one answer, whether they may be known of or not.
const NODES_MAX: usize = 2_000;
/// Items looked at for one answer, whether they may be shown or not.
const ITEMS_MAX: usize = 2_000;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of the specification's form")]
pub(super) struct Extended {
    has_items: bool,
    has_nodes: bool,
    has_linked: bool,
    is_full: bool,
    /// Layers of children.
    depth: usize,
}

impl Extended {
    /// The form in a request; `None` when there is none of this kind.
    ///
    /// # Errors
    /// `bad-request` for values that the specification does not have.
    pub(super) fn parse(query: &Element) -> Result<Option<Self>, StanzaError> {
        let bad = |why: &str| StanzaError::bad_request().with_text(why);
        let form = Form::parse_in(query).map_err(|_| bad("this is no form"))?;
        let is_ours = |form: &Form| form.type_ == FormType::Submit && form.form_type() == Some(ns::EXTENDED_DISCO);
        let Some(form) = form.filter(is_ours) else { return Ok(None) };
        let bit = |var: &str| match form.field(var) {
            Some(field) => field.to_bool().map_err(|_| bad("a boolean is one of 0, 1, false, true")),
            None => Ok(false),
        };
        let types = match form.field("type") {
            Some(field) if !field.values.is_empty() => field.values.iter().map(|value| value.trim()).collect(),
            _ => vec!["items", "nodes"],
        };
        if types.iter().any(|kind| !matches!(*kind, "items" | "nodes")) {
            return Err(bad("what is discovered are items and nodes"));
        }
        let depth = form.value("depth").map_or(Ok(0), str::parse::<u64>);
        let depth = depth.map_err(|_| bad("the depth is a number of layers"))?;
        Ok(Some(Self {
            has_items: types.contains(&"items"),
            has_nodes: types.contains(&"nodes"),
            has_linked: bit("linked_nodes")?,
            is_full: bit("full_metadata")?,
            depth: usize::try_from(depth).unwrap_or(usize::MAX).min(TIES_MAX),
        }))
    }
}

/// One element of an answer, and where it is among all.
struct Found {
    at: String,
    element: Element,
}

/// A page on its way.
struct Answered {
    found: Vec<Found>,
    size: usize,
    bytes: usize,
    bytes_max: usize,
    /// Whether there was no room for one, or too much was looked at.
    is_cut: bool,
    /// Where the next page goes on, if not behind the last element.
    upto: Option<String>,
    /// Items looked at.
    items: usize,
}

impl Answered {
    /// Adds an element if there is room; whether there was.
    fn push(&mut self, at: String, element: Element) -> bool {
        let bytes = element_bytes(&element).len();
        self.is_cut = self.found.len() >= self.size || (self.bytes + bytes > self.bytes_max && !self.found.is_empty());
        if !self.is_cut {
            self.bytes += bytes;
            self.found.push(Found { at, element });
        }
        !self.is_cut
    }

    /// There may be more, but no more is looked at; the next page goes on behind that place.
    fn stop(&mut self, at: String) {
        (self.is_cut, self.upto) = (true, Some(at));
    }

    fn finish(self, is_page: bool) -> Vec<Element> {
        let page = Page {
            first: self.found.first().map(|found| found.at.clone()).or_else(|| self.upto.clone()),
            last: self.upto.clone().or_else(|| self.found.last().map(|found| found.at.clone())),
            index: None,
            count: None,
        };
        let set = (is_page || self.is_cut).then(|| page.to_element());
        self.found.into_iter().map(|found| found.element).chain(set).collect()
    }
}

/// What stands for a node, or for an item in it by its sequence, in `<after/>`.
fn position(node: &str, item: Option<u64>) -> String {
    let item = item.map(|sequence| sequence.to_string()).unwrap_or_default();
    format!("{}:{node}{item}", node.len())
}

/// The same, read.
fn placed(position: &str) -> Option<(&str, Option<u64>)> {
    let (length, rest) = position.split_once(':')?;
    let (node, item) = rest.split_at_checked(length.parse().ok()?)?;
    let item = if item.is_empty() { None } else { Some(item.parse().ok()?) };
    Some((node, item))
}

impl Pep {
    fn answer_of(&self, page: &Query) -> Answered {
        Answered {
            found: Vec::new(),
            size: page.size(self.page_max()),
            bytes: 0,
            bytes_max: self.results_bytes_max,
            is_cut: false,
            upto: None,
            items: 0,
        }
    }

    async fn described(&self, home: &BareJid, held: &Held, wanted: &Extended) -> Result<Element, Failure> {
        let form = match wanted.is_full {
            true => {
                let (owners, publishers) = self.owners_and_publishers(home, held).await?;
                metadata_form(&held.node, &owners, &publishers)
            }
            false => relationships_form(&held.node.config),
        };
        let item = Element::builder("item", ns::DISCO_ITEMS)
            .attribute("jid", home.as_str())
            .attribute("node", &*held.node.name)
            .attribute("name", held.node.config.title.as_deref());
        Ok(item.append(form).build())
    }

    /// The nodes of a home: all of them are in one layer.
    pub(super) async fn nodes_described(
        &self,
        home: &BareJid,
        caller: &Caller,
        wanted: &Extended,
        (page, types): (&Query, &Types),
    ) -> Result<Vec<Element>, Failure> {
        if !wanted.has_nodes {
            return Ok(Vec::new());
        }
        let (nodes, set) = self.nodes_seen(home, caller, page, types).await?;
        let mut answered = self.answer_of(page);
        for held in &nodes {
            // Those that are linked have the parent of another node, which is not written with them.
            let entry = self.nodes.entry(home, &held.node.name);
            let Some(held) = self.nodes.held(&entry).await? else { continue };
            if !answered.push(held.node.name.to_string(), self.described(home, &held, wanted).await?) {
                return Ok(answered.finish(true));
            }
        }
        let elements = answered.found.into_iter().map(|found| found.element);
        Ok(elements.chain(set.map(|set| set.to_element())).collect())
    }

    /// What is around a node: its items, what is linked to it, and what is below it.
    pub(super) async fn around(
        &self,
        home: &BareJid,
        caller: &Caller,
        node: &str,
        wanted: &Extended,
        page: &Query,
    ) -> Result<Vec<Element>, StanzaError> {
        let after = match page.start() {
            Start::First => None,
            Start::After(after) => Some(placed(after).ok_or_else(StanzaError::item_not_found)?),
            Start::Before(_) | Start::Last | Start::Index(_) => return Err(Refusal::Unsupported("rsm").to_error()),
        };
        let request = match wanted.has_items {
            true => Request::NodeItems { node: node.into(), page: Query::default() },
            false => Request::NodeInformation { node: node.into() },
        };
        // Whether there is such a node is decided here, as for every other question about it.
        let top = self.require(home, caller, &request).await?;
        let reach = Reach { has_linked: wanted.has_linked, depth: wanted.depth };
        let mut walk = Walk::from(self, home, &caller.bare, reach).await.map_err(Failure::from)?;
        let mut answered = self.answer_of(page);
        let (mut held, mut passed) = match after {
            None => {
                walk.begin(&top);
                (top, None)
            }
            Some((name, item)) => {
                let found = walk.resume(&top, name).await.map_err(Failure::from)?;
                // It was given already, and so were its items up to that one.
                (found.ok_or_else(StanzaError::item_not_found)?, Some(item.unwrap_or(0)))
            }
        };
        'walking: loop {
            let name = &held.node.name;
            let is_shown = wanted.has_nodes && **name != *node && passed.is_none();
            if is_shown && !answered.push(position(name, None), self.described(home, &held, wanted).await?) {
                break;
            }
            let from = passed.take().unwrap_or(0);
            if wanted.has_items && !self.push_items(home, caller, &held, from, &mut answered).await? {
                break;
            }
            held = loop {
                if walk.looked_at >= NODES_MAX {
                    let at = position(&held.node.name, Some(u64::MAX));
                    if page.start() == Start::After(&at) {
                        let why = "there is too much below this node that is not to be shown: ask further down";
                        return Err(StanzaError::policy_violation().with_text(why));
                    }
                    answered.stop(at);
                    break 'walking;
                }
                match walk.next().await.map_err(Failure::from)? {
                    Some(Some(next)) => break next,
                    Some(None) => {}
                    None => break 'walking,
                }
            };
            tokio::task::yield_now().await;
        }
        Ok(answered.finish(*page != Query::default()))
    }

    /// Adds the items of a node behind a position; whether there was room for all.
    async fn push_items(
        &self,
        home: &BareJid,
        caller: &Caller,
        held: &Held,
        mut after: u64,
        answered: &mut Answered,
    ) -> Result<bool, StanzaError> {
        let name = &held.node.name;
        let entry = self.nodes.entry(home, name);
        let request = Request::NodeItems { node: name.clone(), page: Query::default() };
        let view = self.view(&entry, Some(held), &request, caller).await.map_err(Failure::from)?;
        if decide(&view, caller, &request, self.now()).is_err() {
            // It may be known that it is there, and not what it holds.
            return Ok(true);
        }
        let present = self.nodes.present(&entry, held, self.now()).await.map_err(Failure::from)?;
        loop {
            let page = self.nodes.between(&entry, &present, (after, None), false, self.page_max());
            let (items, is_complete) = page.await.map_err(Failure::from)?;
            let Some(last) = items.last().map(|item| item.sequence) else { return Ok(true) };
            answered.items += items.len();
            for item in self.shown_to(&caller.bare, home, items).await.map_err(Failure::from)? {
                let element = Element::builder("item", ns::DISCO_ITEMS)
                    .attribute("jid", home.as_str())
                    .attribute("node", &**name)
                    .attribute("name", &*item.id);
                if !answered.push(position(name, Some(item.sequence)), element.build()) {
                    return Ok(false);
                }
            }
            if is_complete {
                return Ok(true);
            }
            after = last;
            if answered.items >= ITEMS_MAX {
                answered.stop(position(name, Some(after)));
                return Ok(false);
            }
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::{Extended, placed, position};

    #[test]
    fn positions_are_read_as_they_are_written() {
        for (node, item) in [("a", None), ("a:b", Some(1)), ("", Some(u64::MAX)), ("ä1", Some(2))] {
            assert_eq!(placed(&position(node, item)), Some((node, item)));
        }
        for bad in ["", "x", "1:", "-1:a", "1:ä", "1:ab", "99999999999999999999:a"] {
            assert_eq!(placed(bad), None, "{bad}");
        }
    }

    #[test]
    fn forms_say_what_is_wanted_or_are_refused() {
        let parse = |fields: &str| {
            let text = format!(
                "<query xmlns='http://jabber.org/protocol/disco#items'><x xmlns='jabber:x:data' type='submit'><field \
                 var='FORM_TYPE'><value>urn:xmpp:pubsub-ext-disco:0</value></field>{fields}</x></query>"
            );
            Extended::parse(&xmpp::xml::parse_element(text.as_bytes(), "").unwrap())
        };
        let field = |var: &str, value: &str| format!("<field var='{var}'><value>{value}</value></field>");
        let plain = Extended { has_items: true, has_nodes: true, has_linked: false, is_full: false, depth: 0 };
        for (fields, expected) in [
            (String::new(), plain),
            (field("type", "nodes"), Extended { has_items: false, ..plain }),
            (field("type", "items"), Extended { has_nodes: false, ..plain }),
            (field("linked_nodes", "true"), Extended { has_linked: true, ..plain }),
            (field("full_metadata", "1"), Extended { is_full: true, ..plain }),
            (field("depth", "3"), Extended { depth: 3, ..plain }),
            (field("depth", "99999"), Extended { depth: 16, ..plain }),
        ] {
            assert_eq!(parse(&fields).unwrap(), Some(expected), "{fields}");
        }
        for bad in [("type", "people"), ("depth", "-1"), ("depth", "deep"), ("linked_nodes", "perhaps")] {
            assert!(parse(&field(bad.0, bad.1)).is_err(), "{bad:?}");
        }
        let other = "<query xmlns='http://jabber.org/protocol/disco#items'/>";
        assert_eq!(Extended::parse(&xmpp::xml::parse_element(other.as_bytes(), "").unwrap()).unwrap(), None);
    }
}
