//! XEP-0499: discovery of what is below a node and of what is linked to it, each with its metadata.
//!
//! What is found is in one order: a node, what is linked to it, then each of its children in the same way, all by name.
//! A page goes on behind an element of the page before; to find it again the way is gone again, which is why it has an
//! end.

use std::sync::Arc;

use pubsub::access::{may_pass, may_see};
use pubsub::model::TIES_MAX;
use pubsub::wire::{metadata_form, relationships_form};
use pubsub::{Caller, Home, Refusal, Request, decide};
use xmpp::form::{Form, FormType};
use xmpp::paging::{Page, Query, Start};
use xmpp::xml::{WithAttribute as _, element_bytes};
use xmpp::{BareJid, Element, StanzaError, ns};

use super::serve::Failure;
use super::types::Types;
use super::{Pep, home_of};
use crate::tables::nodes::{Held, Tie};

/// Nodes looked at for one answer.
const NODES_MAX: usize = 2_000;

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
    /// Whether there was no room for one.
    is_cut: bool,
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

    fn finish(self, is_page: bool) -> Vec<Element> {
        let page = Page {
            first: self.found.first().map(|found| found.at.clone()),
            last: self.found.last().map(|found| found.at.clone()),
            index: None,
            count: None,
        };
        let set = (is_page || self.is_cut).then(|| page.to_element());
        self.found.into_iter().map(|found| found.element).chain(set).collect()
    }
}

/// What stands for a node, or for an item in it, in `<after/>`.
fn position(node: &str, item: Option<&str>) -> String {
    format!("{}:{node}{}", node.len(), item.unwrap_or_default())
}

/// The same, read.
fn placed(position: &str) -> Option<(&str, Option<&str>)> {
    let (length, rest) = position.split_once(':')?;
    let (node, item) = rest.split_at_checked(length.parse().ok()?)?;
    Some((node, Some(item).filter(|item| !item.is_empty())))
}

impl Pep {
    fn answer_of(&self, page: &Query) -> Answered {
        Answered {
            found: Vec::new(),
            size: page.size(self.page_max()),
            bytes: 0,
            bytes_max: self.results_bytes_max,
            is_cut: false,
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
        let _shown = self.read(home, caller, &request).await?;
        let nodes = self.nodes_around(home, caller, node, wanted).await?;
        let mut rest = nodes.as_slice();
        let mut answered = self.answer_of(page);
        let mut after_item = None;
        if let Some((node, item)) = after {
            let at = nodes.iter().position(|held| *held.node.name == *node);
            rest = nodes.get(at.ok_or_else(StanzaError::item_not_found)?..).unwrap_or_default();
            after_item = Some(item);
        }
        for held in rest {
            // The first of them was given already, if this goes on behind it.
            let passed = after_item.take();
            let is_shown = wanted.has_nodes && *held.node.name != *node && passed.is_none();
            if is_shown && !answered.push(position(&held.node.name, None), self.described(home, held, wanted).await?) {
                break;
            }
            if wanted.has_items && !self.push_items(home, caller, held, passed.flatten(), &mut answered).await? {
                break;
            }
        }
        Ok(answered.finish(*page != Query::default()))
    }

    /// Adds the items of a node behind one of them; whether there was room for all.
    async fn push_items(
        &self,
        home: &BareJid,
        caller: &Caller,
        held: &Held,
        after: Option<&str>,
        answered: &mut Answered,
    ) -> Result<bool, StanzaError> {
        let entry = self.nodes.entry(home, &held.node.name);
        let request = Request::NodeItems { node: held.node.name.clone(), page: Query::default() };
        let view = self.view(&entry, Some(held), &request, caller).await.map_err(Failure::from)?;
        if decide(&view, caller, &request, self.now()).is_err() {
            // It may be known that it is there, and not what it holds.
            return Ok(true);
        }
        let mut after: Option<String> = after.map(str::to_owned);
        loop {
            let query = Query { max: u32::try_from(self.limits.page_items_max).ok(), after, ..Query::default() };
            let found = self.page(&entry, held, &query).await?;
            for item in &found.items {
                let element = Element::builder("item", ns::DISCO_ITEMS)
                    .attribute("jid", home.as_str())
                    .attribute("node", &*held.node.name)
                    .attribute("name", &*item.id);
                if !answered.push(position(&held.node.name, Some(&item.id)), element.build()) {
                    return Ok(false);
                }
            }
            match found.items.last() {
                Some(last) if found.items.len() >= self.page_max() => after = Some(last.id.to_string()),
                _ => return Ok(true),
            }
        }
    }

    /// The node, and those around it that the caller may know of, in their order.
    async fn nodes_around(
        &self,
        home: &BareJid,
        caller: &Caller,
        node: &str,
        wanted: &Extended,
    ) -> Result<Vec<Arc<Held>>, StanzaError> {
        let relation = match home_of(home) == Home::Account && caller.bare != *home {
            true => self.contacts.relation(home, &caller.bare).await.map_err(Failure::from)?,
            false => pubsub::request::Relation::default(),
        };
        let mut seen = Vec::new();
        let mut looked_at = 0;
        // What is to be looked at, the next at the end.
        let mut waiting: Vec<(Box<str>, usize)> = vec![(node.into(), 0)];
        while let Some((name, layer)) = waiting.pop() {
            looked_at += 1;
            let held = self.nodes.held(&self.nodes.entry(home, &name)).await.map_err(Failure::from)?;
            let Some(held) = held else { continue };
            let mut all = self.nodes.above(home, &held, &caller.bare).await.map_err(Failure::from)?;
            all.push(self.nodes.standing_above(home, &held, &caller.bare).await.map_err(Failure::from)?);
            if may_pass(&all, &relation, may_see).is_err() {
                continue;
            }
            let mut next = Vec::new();
            let ties = [(Tie::Link, layer, wanted.has_linked), (Tie::Child, layer + 1, layer < wanted.depth)];
            for (tie, layer, _) in ties.into_iter().filter(|(.., is_wanted)| *is_wanted) {
                let rows_max = NODES_MAX.saturating_sub(looked_at + waiting.len() + next.len()) + 1;
                let tied = self.nodes.below(home, &name, tie, None, rows_max).await.map_err(Failure::from)?;
                if tied.len() >= rows_max {
                    let why = "there is too much below this node: ask for less, or further down";
                    return Err(StanzaError::policy_violation().with_text(why));
                }
                next.extend(tied.into_iter().map(|name| (name, layer)));
            }
            waiting.extend(next.into_iter().rev());
            seen.push(held);
        }
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::{Extended, placed, position};

    #[test]
    fn positions_are_read_as_they_are_written() {
        for (node, item) in [("a", None), ("a:b", Some("1:c")), ("", Some("x")), ("ä", Some("ö"))] {
            assert_eq!(placed(&position(node, item)), Some((node, item)));
        }
        for bad in ["", "x", "1:", "-1:a", "1:ä", "99999999999999999999:a"] {
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
