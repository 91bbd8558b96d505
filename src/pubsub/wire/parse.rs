//! What stands in an IQ or a message, as a request.

use bytes::Bytes;
use xmpp::Element;
use xmpp::form::{Form, FormType};
use xmpp::jid::{BareJid, Jid};
use xmpp::{ns, paging};

use super::form::{AUTHORIZATION, NODE_CONFIG, PUBLISH_OPTIONS, SUBSCRIBE_OPTIONS, values};
use crate::model::{Affiliation, NodeName, SubscriptionState};
use crate::profile::alternate::lacks_place;
use crate::refusal::Refusal;
use crate::request::{ItemsQuery, NewItem, NewPayload, Request, Wanted};

/// Reads `<pubsub xmlns='http://jabber.org/protocol/pubsub'/>` of an IQ of type `set`, or `get`.
///
/// # Errors
/// The refusal that says what the request lacks.
pub fn parse(is_set: bool, pubsub: &Element) -> Result<Request, Refusal> {
    let child = verb(pubsub, ns::PUBSUB)?;
    match (is_set, child.name()) {
        (true, "publish") => publish(pubsub, child),
        (true, "retract") => retract(child),
        (false, "items") => items(pubsub, child),
        (true, "subscribe") => subscribe(pubsub, child),
        (true, "unsubscribe") => Ok(Request::Unsubscribe { node: node(child)?, jid: jid(child)?, subid: subid(child) }),
        (false, "options") => Ok(Request::Options { node: node(child)?, jid: jid(child)?, subid: subid(child) }),
        (true, "options") => Ok(Request::SetOptions {
            node: node(child)?,
            jid: jid(child)?,
            subid: subid(child),
            options: values(child, SUBSCRIBE_OPTIONS)?.ok_or(Refusal::Malformed("There is no form."))?,
        }),
        (false, "subscriptions") => Ok(Request::Subscriptions { node: optional_node(child) }),
        (false, "affiliations") => Ok(Request::Affiliations { node: optional_node(child) }),
        (true, "create") => create(pubsub, child),
        (false, "default") => Ok(Request::DefaultOptions { node: optional_node(child) }),
        _ => Err(Refusal::Malformed("There is no such request.")),
    }
}

/// Reads `<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'/>`.
///
/// # Errors
/// The refusal that says what the request lacks.
pub fn parse_owner(is_set: bool, pubsub: &Element) -> Result<Request, Refusal> {
    let child = verb(pubsub, ns::PUBSUB_OWNER)?;
    match (is_set, child.name()) {
        (false, "configure") => Ok(Request::Configuration { node: node(child)? }),
        (true, "configure") => {
            if child.get_child("x", ns::DATA_FORMS).is_none() {
                return Err(Refusal::Malformed("There is no form."));
            }
            Ok(Request::Configure { node: node(child)?, config: values(child, NODE_CONFIG)? })
        }
        (false, "default") => Ok(Request::DefaultConfiguration),
        (true, "delete") => {
            let redirect = child.get_child("redirect", ns::PUBSUB_OWNER).and_then(|to| to.attr("uri"));
            Ok(Request::Delete { node: node(child)?, redirect: redirect.map(Into::into) })
        }
        (true, "purge") => Ok(Request::Purge { node: node(child)? }),
        (false, "subscriptions") => Ok(Request::Subscribers { node: node(child)?, page: page(pubsub)? }),
        (true, "subscriptions") => Ok(Request::SetSubscribers { node: node(child)?, wanted: subscribers(child)? }),
        (false, "affiliations") => Ok(Request::Affiliated { node: node(child)?, page: page(pubsub)? }),
        (true, "affiliations") => Ok(Request::SetAffiliated { node: node(child)?, wanted: affiliated(child)? }),
        _ => Err(Refusal::Malformed("There is no such request.")),
    }
}

/// Reads the form with which an owner answers an authorization request (section 8.6), `<x/>` in a message.
///
/// `None` when it is another form, and when it was cancelled: then "the subscription request MUST remain in the
/// pending state".
#[must_use]
pub fn parse_authorization(x: &Element) -> Option<Request> {
    let form = Form::parse(x).ok()?;
    if form.type_ != FormType::Submit || form.form_type() != Some(AUTHORIZATION) {
        return None;
    }
    let node = form.value("pubsub#node").filter(|node| !node.is_empty())?;
    let jid = Jid::new(form.value("pubsub#subscriber_jid")?).ok()?;
    let allow = form.field("pubsub#allow")?.to_bool().ok()?;
    let subid = form.value("pubsub#subid").filter(|subid| !subid.is_empty()).map(Into::into);
    Some(Request::Authorize { node: node.into(), jid, subid, allow })
}

/// Whether a form in a message is an authorization request that its reader cancelled: nothing is decided by it.
#[must_use]
pub fn is_cancelled_authorization(x: &Element) -> bool {
    Form::parse(x).is_ok_and(|form| form.type_ == FormType::Cancel && form.form_type() == Some(AUTHORIZATION))
}

/// The child that names the request: the first in the protocol's namespace.
fn verb<'a>(pubsub: &'a Element, namespace: &str) -> Result<&'a Element, Refusal> {
    pubsub.children().find(|child| child.has_ns(namespace)).ok_or(Refusal::Malformed("The request is empty."))
}

fn optional_node(element: &Element) -> Option<NodeName> {
    element.attr("node").filter(|node| !node.is_empty()).map(Into::into)
}

fn node(element: &Element) -> Result<NodeName, Refusal> {
    optional_node(element).ok_or(Refusal::NodeIdRequired)
}

fn jid(element: &Element) -> Result<Jid, Refusal> {
    let text = element.attr("jid").filter(|jid| !jid.is_empty()).ok_or(Refusal::JidRequired)?;
    Jid::new(text).map_err(|_| Refusal::InvalidJid)
}

fn subid(element: &Element) -> Option<Box<str>> {
    element.attr("subid").filter(|subid| !subid.is_empty()).map(Into::into)
}

fn page(pubsub: &Element) -> Result<paging::Query, Refusal> {
    let query =
        paging::Query::parse(pubsub).map_err(|_| Refusal::Malformed("The result set is not well asked for."))?;
    Ok(query.unwrap_or_default())
}

fn publish(pubsub: &Element, publish: &Element) -> Result<Request, Refusal> {
    let node = node(publish)?;
    let mut items = publish.children().filter(|child| child.is("item", ns::PUBSUB));
    let item = items.next().map(new_item);
    if items.next().is_some() {
        return Err(Refusal::OneItemOnly);
    }
    let options = match pubsub.get_child("publish-options", ns::PUBSUB) {
        Some(options) => values(options, PUBLISH_OPTIONS)?,
        None => None,
    };
    Ok(Request::Publish { node, item, options })
}

/// A `publisher` attribute is not read: who published is what we know, not what is said (section 7.1.2.2).
fn new_item(item: &Element) -> NewItem {
    let id = item.attr("id").filter(|id| !id.is_empty()).map(Into::into);
    let has_text = item.texts().any(|text| !text.trim().is_empty());
    let mut children = item.children();
    let payload = match (children.next(), children.next()) {
        _ if has_text => NewPayload::Bad,
        (None, _) => NewPayload::None,
        (Some(only), None) if !only.has_ns("") => payload(only),
        _ => NewPayload::Bad,
    };
    NewItem { id, payload }
}

/// An element as what is to be published.
#[must_use]
pub fn payload(element: &Element) -> NewPayload {
    NewPayload::One {
        name: element.name().into(),
        namespace: element.ns().into(),
        bytes: payload_bytes(element),
        lacks_place: lacks_place(element),
    }
}

/// The payload as it is stored and spliced: it says its own namespace and leans on nothing.
pub(super) fn payload_bytes(payload: &Element) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    xmpp::xml::write_element(&mut out, payload, "");
    out.shrink_to_fit();
    out.into()
}

fn retract(retract: &Element) -> Result<Request, Refusal> {
    let node = node(retract)?;
    let mut items = retract.children().filter(|child| child.is("item", ns::PUBSUB));
    let id = items.next().and_then(|item| item.attr("id")).filter(|id| !id.is_empty());
    let id = id.ok_or(Refusal::ItemRequired)?.into();
    if items.next().is_some() {
        return Err(Refusal::OneItemOnly);
    }
    Ok(Request::Retract { node, id, notify: matches!(retract.attr("notify"), Some("1" | "true")) })
}

fn items(pubsub: &Element, items: &Element) -> Result<Request, Refusal> {
    let (node, subid) = (node(items)?, subid(items));
    let named: Vec<&Element> = items.children().filter(|child| child.is("item", ns::PUBSUB)).collect();
    if !named.is_empty() {
        let ids = named.iter().map(|item| item.attr("id").filter(|id| !id.is_empty()).map(Into::into));
        let ids = ids.collect::<Option<Vec<Box<str>>>>().ok_or(Refusal::ItemRequired)?;
        return Ok(Request::Items { node, query: ItemsQuery::ByIds(ids), subid });
    }
    let newest = items.attr("max_items").map(str::parse::<u64>).transpose();
    let newest = newest.map_err(|_| Refusal::Malformed("max_items is not a number."))?;
    let set = pubsub.get_child("set", ns::RSM).is_some();
    let order = super::order::order(pubsub)?;
    let query = match (newest, set) {
        (Some(newest), false) => ItemsQuery::Latest(newest),
        (newest, _) => {
            let mut query = page(pubsub)?;
            if let (None, Some(newest)) = (query.max, newest) {
                query.max = Some(u32::try_from(newest).unwrap_or(u32::MAX));
            }
            ItemsQuery::Page(query)
        }
    };
    let query = match (order, query) {
        (None, query) => query,
        (Some(order), ItemsQuery::Latest(newest)) => {
            ItemsQuery::Ordered { order, newest: Some(newest), page: paging::Query::default() }
        }
        (Some(order), ItemsQuery::Page(page)) => ItemsQuery::Ordered { order, newest: None, page },
        (Some(_), other) => other,
    };
    Ok(Request::Items { node, query, subid })
}

fn subscribe(pubsub: &Element, subscribe: &Element) -> Result<Request, Refusal> {
    let options = match pubsub.get_child("options", ns::PUBSUB) {
        // Section 6.3.7: the node and the address are said once.
        Some(options) if options.attr("node").is_some() || options.attr("jid").is_some() => {
            return Err(Refusal::Malformed("Options beside subscribe have neither node nor jid."));
        }
        Some(options) => values(options, SUBSCRIBE_OPTIONS)?,
        None => None,
    };
    Ok(Request::Subscribe { node: node(subscribe)?, jid: jid(subscribe)?, options })
}

fn create(pubsub: &Element, create: &Element) -> Result<Request, Refusal> {
    let config = match pubsub.get_child("configure", ns::PUBSUB) {
        // Section 8.1.3: the node is said once.
        Some(configure) if configure.attr("node").is_some() => {
            return Err(Refusal::Malformed("Configure beside create has no node."));
        }
        Some(configure) => values(configure, NODE_CONFIG)?,
        None => None,
    };
    Ok(Request::Create { node: optional_node(create), config })
}

fn subscribers(list: &Element) -> Result<Vec<Wanted>, Refusal> {
    let entries = list.children().filter(|child| child.is("subscription", ns::PUBSUB_OWNER));
    entries
        .map(|entry| {
            let state = match entry.attr("subscription") {
                None => None,
                Some("subscribed") => Some(SubscriptionState::Subscribed),
                Some("pending") => Some(SubscriptionState::Pending),
                Some("none") => Some(SubscriptionState::None),
                Some(_) => return Err(Refusal::Malformed("There is no such subscription state.")),
            };
            Ok(Wanted { jid: jid(entry)?, subid: subid(entry), state })
        })
        .collect()
}

fn affiliated(list: &Element) -> Result<Vec<(BareJid, Option<Affiliation>)>, Refusal> {
    let entries = list.children().filter(|child| child.is("affiliation", ns::PUBSUB_OWNER));
    entries
        .map(|entry| {
            let affiliation = match entry.attr("affiliation") {
                None => None,
                Some(word) => {
                    let parsed = Affiliation::parse(word);
                    Some(parsed.ok_or(Refusal::Malformed("There is no such affiliation."))?)
                }
            };
            // Section 4.1: "all affiliations MUST be based on a bare JID".
            let jid = jid(entry)?;
            if jid.is_full() {
                return Err(Refusal::InvalidJid);
            }
            Ok((jid.into_bare(), affiliation))
        })
        .collect()
}
