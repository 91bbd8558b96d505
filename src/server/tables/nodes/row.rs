//! How the values are written.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use pubsub::config::{FIELDS, field};
use pubsub::extended::Reach;
use pubsub::model::{ItemHead, Shows, SubscriptionOptions};
use pubsub::{Affiliation, Item, Node, NodeConfig, SubId, Subscription, SubscriptionState, Tally, Timestamp};
use store::Fault;
use xmpp::{BareJid, Jid};

use super::super::row::{Reader, Writer};
use super::Number;

const FORMAT: u8 = 1;
const WHAT: &str = "nodes";

fn fault(wrong: &str) -> Fault {
    Fault::new(format!("a row of {WHAT} {wrong}"))
}

fn bare(text: &str) -> Result<BareJid, Fault> {
    BareJid::new(text).map_err(|error| fault(&format!("names {text}: {error}")))
}

/// Everything of a node that changes rarely. The configuration is written as its form: names and values.
pub(super) fn write_node(node: &Node, number: &Number) -> Bytes {
    let mut row = Writer::new(FORMAT).bytes(number).text(node.creator.as_str()).u64(node.created.0);
    // What has no value has none in the configuration that reading begins with.
    let fields = FIELDS.iter().map(|field| (field, (field.get)(&node.config))).filter(|(_, values)| !values.is_empty());
    row = row.u64(fields.clone().count() as u64);
    for (field, values) in fields {
        row = row.text(field.var.trim_start_matches("pubsub#")).u64(values.len() as u64);
        for value in values {
            row = row.text(&value);
        }
    }
    row.finish()
}

/// The node without its counters, and its number.
pub(super) fn read_node(name: &str, row: Bytes) -> Result<(Node, Number), Fault> {
    let mut row = Reader::new(row, FORMAT, WHAT)?;
    let number = Number::try_from(&*row.bytes()?).map_err(|_| fault("has no number"))?;
    let creator = bare(&row.text()?)?;
    let created = Timestamp(row.u64()?);
    let mut config = NodeConfig::service(0);
    for _ in 0..row.u64()? {
        let var = row.text()?;
        // What is not of XEP-0060 says its namespace itself.
        let var = if var.starts_with('{') { var.into() } else { format!("pubsub#{var}") };
        let values = (0..row.u64()?).map(|_| row.text()).collect::<Result<Vec<_>, Fault>>()?;
        let values: Vec<&str> = values.iter().map(AsRef::as_ref).collect();
        // A field that no longer exists says nothing any more.
        if let Some(field) = field(&var) {
            (field.set)(&mut config, &values).map_err(|bad| fault(&format!("has a bad {var}: {}", bad.0)))?;
        }
    }
    let node = Node { name: name.into(), creator, created, config: Arc::new(config), tally: Tally::default() };
    Ok((node, number))
}

/// The counters. The version comes first, so that a batch can expect it. What is 0 almost everywhere comes last, and is
/// left out there.
pub(super) fn write_tally(tally: &Tally, floor: u64) -> Bytes {
    let mut row = BytesMut::with_capacity(56);
    for number in
        [tally.version, tally.sequence, tally.items, tally.subscribers, tally.owners, tally.affiliations, floor]
    {
        row.put_u64(number);
    }
    if tally.multiples > 0 || tally.extended > 0 {
        row.put_u64(tally.multiples);
    }
    if tally.extended > 0 {
        row.put_u64(tally.extended);
    }
    row.freeze()
}

pub(super) fn read_tally(mut row: Bytes) -> Result<(Tally, u64), Fault> {
    let mut next = || row.try_get_u64().map_err(|_| fault("has too few counters"));
    let mut tally = Tally {
        version: next()?,
        sequence: next()?,
        items: next()?,
        subscribers: next()?,
        owners: next()?,
        affiliations: next()?,
        multiples: 0,
        extended: 0,
    };
    let floor = next()?;
    tally.multiples = next().unwrap_or(0);
    tally.extended = next().unwrap_or(0);
    Ok((tally, floor))
}

pub(super) fn write_item(item: &Item) -> Bytes {
    let mut row = BytesMut::with_capacity(item.payload.len() + item.id.len() + item.publisher.as_str().len() + 32);
    row.put_u8(FORMAT);
    row.put_u64(item.published.0);
    row.put_u64(item.updated.0);
    for text in [&*item.id, item.publisher.as_str()] {
        row.put_u32(u32::try_from(text.len()).unwrap_or(u32::MAX));
        row.put_slice(text.as_bytes());
    }
    // The rest is the payload: reading it copies nothing.
    row.put_slice(&item.payload);
    row.freeze()
}

pub(super) fn read_item(sequence: u64, row: Bytes) -> Result<Item, Fault> {
    let mut fields = Reader::new(row, FORMAT, WHAT)?;
    let (published, updated) = (Timestamp(fields.u64()?), Timestamp(fields.u64()?));
    let id = fields.text()?;
    let publisher = fields.text()?;
    Ok(Item { sequence, id, publisher: bare(&publisher)?, published, updated, payload: fields.rest() })
}

pub(super) fn write_item_head(item: &Item) -> Bytes {
    Writer::new(FORMAT).u64(item.sequence).u64(item.published.0).text(item.publisher.as_str()).finish()
}

pub(super) fn read_item_head(id: &str, row: Bytes) -> Result<ItemHead, Fault> {
    let mut row = Reader::new(row, FORMAT, WHAT)?;
    let (sequence, published) = (row.u64()?, Timestamp(row.u64()?));
    Ok(ItemHead { sequence, id: id.into(), publisher: bare(&row.text()?)?, published })
}

/// Where the item is, and when its id was first published.
pub(super) fn read_item_times(row: Bytes) -> Result<(u64, Timestamp), Fault> {
    let mut row = Reader::new(row, FORMAT, WHAT)?;
    Ok((row.u64()?, Timestamp(row.u64()?)))
}

const DELIVER: u8 = 0b01;
const BODY: u8 = 0b10;
const LEASE: u8 = 0b100;
const AFTER: u8 = 0b1000;
/// The identifier is another than the version of the node the subscription is told from.
const ID: u8 = 0b1_0000;
/// Another subscription of the same address follows.
const MORE: u8 = 0b10_0000;
const SHOW: u8 = 0b100_0000;
const PAYLOAD: u8 = 0b1000_0000;
/// Beside the state: what the subscription is about follows.
const REACH: u8 = 0b10;
const SUBSCRIBED: u8 = 0b1;

/// All subscriptions of one address to one node. Most have one, and it takes no more for there being others.
pub(super) fn write_subscriptions(rows: &[Subscription]) -> Bytes {
    let mut row = Writer::new(FORMAT);
    for (at, subscription) in rows.iter().enumerate() {
        let options = subscription.options;
        let optional = [
            (options.expire.map(|Timestamp(end)| end), LEASE),
            (Some(subscription.after).filter(|after| *after > 0), AFTER),
            (Some(subscription.id.0).filter(|id| *id != subscription.since), ID),
            (options.show.map(|Shows(set)| u64::from(set)), SHOW),
            (options.has_payload.map(u64::from), PAYLOAD),
        ];
        let mut bits = 0;
        let plain = [(options.deliver, DELIVER), (options.include_body, BODY), (at + 1 < rows.len(), MORE)];
        for (is_set, bit) in plain.into_iter().chain(optional.map(|(number, bit)| (number.is_some(), bit))) {
            bits |= if is_set { bit } else { 0 };
        }
        let is_subscribed = subscription.state == SubscriptionState::Subscribed;
        let is_extended = options.reach.is_extended();
        let state = if is_subscribed { SUBSCRIBED } else { 0 } | if is_extended { REACH } else { 0 };
        row = row.u8(state).u64(subscription.since).u8(bits);
        for (number, _) in optional {
            if let Some(number) = number {
                row = row.u64(number);
            }
        }
        if is_extended {
            row = row.u64(options.reach.to_number());
        }
    }
    row.finish()
}

/// The subscriptions of an address, in the order in which they were asked for; at least one.
pub(super) fn read_subscriptions(jid: &Jid, row: Bytes) -> Result<Vec<Subscription>, Fault> {
    let mut row = Reader::new(row, FORMAT, WHAT)?;
    let mut rows = Vec::with_capacity(1);
    loop {
        let first = row.u8()?;
        let is_subscribed = first & SUBSCRIBED != 0;
        let state = if is_subscribed { SubscriptionState::Subscribed } else { SubscriptionState::Pending };
        let since = row.u64()?;
        let bits = row.u8()?;
        let mut optional = |bit: u8| if bits & bit == 0 { Ok(None) } else { row.u64().map(Some) };
        let expire = optional(LEASE)?.map(Timestamp);
        // Subscriptions that were written before positions were have none: everything is for them.
        let after = optional(AFTER)?.unwrap_or(0);
        let id = SubId(optional(ID)?.unwrap_or(since));
        let show = optional(SHOW)?.and_then(|set| u8::try_from(set).ok()).map(Shows);
        let has_payload = optional(PAYLOAD)?.map(|wish| wish != 0);
        let (deliver, include_body) = (bits & DELIVER != 0, bits & BODY != 0);
        let reach = if first & REACH == 0 { Reach::default() } else { Reach::from_number(row.u64()?) };
        let options = SubscriptionOptions { deliver, include_body, expire, show, has_payload, reach };
        rows.push(Subscription { jid: jid.clone(), id, state, since, after, options });
        if bits & MORE == 0 {
            return Ok(rows);
        }
    }
}

pub(super) fn write_affiliation(affiliation: Affiliation) -> Bytes {
    Writer::new(FORMAT).text(affiliation.as_str()).finish()
}

pub(super) fn read_affiliation(row: Bytes) -> Result<Affiliation, Fault> {
    let mut row = Reader::new(row, FORMAT, WHAT)?;
    Affiliation::parse(&row.text()?).ok_or_else(|| fault("has an unknown affiliation"))
}

/// Where an item that expires lives.
pub(super) fn write_place(home: &str, name: &str) -> Bytes {
    Writer::new(FORMAT).text(home).text(name).finish()
}

pub(super) fn read_place(row: Bytes) -> Result<(Box<str>, Box<str>), Fault> {
    let mut row = Reader::new(row, FORMAT, WHAT)?;
    Ok((row.text()?, row.text()?))
}

/// Who left an address behind, and the address.
pub(super) fn write_moved(owner: &BareJid, uri: &str) -> Bytes {
    Writer::new(FORMAT).text(owner.as_str()).text(uri).finish()
}

pub(super) fn read_moved(row: Bytes) -> Result<(BareJid, Box<str>), Fault> {
    let mut row = Reader::new(row, FORMAT, WHAT)?;
    Ok((bare(&row.text()?)?, row.text()?))
}

/// What kind of work a row of the remains is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Items up to the position in the key go.
    Items,
    /// Everything goes.
    Node,
    /// Items get an expiry, since the configuration has one now.
    Expiry,
}

/// What remains to be done about a node.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Remains {
    /// Not before this time, in microseconds since the Unix epoch: somebody may still be reading.
    pub(super) not_before: u64,
    /// What.
    pub(super) work: Work,
    /// Where it is or was.
    pub(super) home: Box<str>,
    /// What it is or was called.
    pub(super) name: Box<str>,
}

pub(super) fn write_remains(remains: &Remains) -> Bytes {
    let work = match remains.work {
        Work::Items => 0,
        Work::Node => 1,
        Work::Expiry => 2,
    };
    Writer::new(FORMAT).u64(remains.not_before).u8(work).text(&remains.home).text(&remains.name).finish()
}

pub(super) fn read_remains(row: Bytes) -> Result<Remains, Fault> {
    let mut row = Reader::new(row, FORMAT, WHAT)?;
    let not_before = row.u64()?;
    let work = match row.u8()? {
        0 => Work::Items,
        1 => Work::Node,
        2 => Work::Expiry,
        _ => return Err(fault("asks for unknown work")),
    };
    Ok(Remains { not_before, work, home: row.text()?, name: row.text()? })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::*;

    fn subscription(id: u64, since: u64) -> Subscription {
        let (jid, state) = (Jid::new("romeo@montague.lit").unwrap(), SubscriptionState::Subscribed);
        Subscription { jid, id: SubId(id), state, since, after: 0, options: SubscriptionOptions::default() }
    }

    #[test]
    fn one_subscription_is_written_as_it_was_before_there_could_be_several() {
        let row = write_subscriptions(&[subscription(7, 7)]);
        assert_eq!(&*row, &[FORMAT, 1, 0, 0, 0, 0, 0, 0, 0, 7, DELIVER]);
    }

    #[test]
    fn all_subscriptions_of_an_address_are_read_as_they_were_written() {
        let mut rows = vec![subscription(7, 9), subscription(8, 8)];
        rows[0].options.expire = Some(Timestamp(5));
        rows[1].options.deliver = false;
        rows[1].options.show = Shows::one("xa");
        rows[1].after = 3;
        rows[1].options.reach = Reach::default().with_kinds(&["metadata".into()]).unwrap().with_depth("-1").unwrap();
        rows.push(Subscription { state: SubscriptionState::Pending, ..subscription(10, 10) });
        let row = write_subscriptions(&rows);
        assert_eq!(read_subscriptions(&rows[0].jid, row.clone()).unwrap(), rows);
        assert!(read_subscriptions(&rows[0].jid, row.slice(..row.len() - 1)).is_err(), "a torn row is seen");
    }

    #[test]
    fn counters_are_read_as_they_were_written() {
        let mut tally =
            Tally { version: 1, sequence: 2, items: 3, subscribers: 4, owners: 5, affiliations: 6, ..Tally::default() };
        assert_eq!(write_tally(&tally, 7).len(), 56);
        assert_eq!(read_tally(write_tally(&tally, 7)).unwrap(), (tally, 7));
        tally.extended = 9;
        assert_eq!(read_tally(write_tally(&tally, 7)).unwrap(), (tally, 7));
        tally.multiples = 8;
        assert_eq!(read_tally(write_tally(&tally, 7)).unwrap(), (tally, 7));
    }
}
