//! Roster items as elements (RFC 6121 section 2.1.2): written from what we keep, read from what clients set.

use xmpp::xml::{escape_attr, escape_text};
use xmpp::{BareJid, Element, Jid, StanzaError, ns};

use crate::tables::roster::Contact;

/// Bytes of a contact's name, and of one group's.
pub const NAME_BYTES_MAX: usize = 1023;
/// Groups one contact may be in.
pub const GROUPS_MAX: usize = 64;

/// What a roster set asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    /// Add or update an item.
    Put {
        /// Whom.
        jid: BareJid,
        /// What to call it; empty for nothing.
        name: Box<str>,
        /// Where to put it.
        groups: Box<[Box<str>]>,
    },
    /// Remove an item.
    Remove(BareJid),
}

/// Reads the query of a roster set (RFC 6121 sections 2.1.5 and 2.3.3).
///
/// # Errors
/// `bad-request` for anything but one item with an address, and for doubled groups; `jid-malformed` for an address
/// that is none or has a resource; `not-acceptable` for names and groups that are empty, too long or too many.
pub fn parse_set(query: &Element) -> Result<Wish, StanzaError> {
    let mut items = query.children().filter(|child| child.is("item", ns::ROSTER));
    let (Some(item), None) = (items.next(), items.next()) else {
        return Err(StanzaError::bad_request().with_text("a roster set has exactly one item"));
    };
    let jid = item.attr("jid").ok_or_else(StanzaError::bad_request)?;
    let jid = Jid::new(jid).map_err(|error| StanzaError::jid_malformed().with_text(error.to_string()))?;
    if !jid.is_bare() {
        return Err(StanzaError::jid_malformed().with_text("a roster item has no resource"));
    }
    let jid = jid.into_bare();
    // Every other value is ignored (section 2.1.5, rule 2).
    if item.attr("subscription") == Some("remove") {
        return Ok(Wish::Remove(jid));
    }
    let name: Box<str> = item.attr("name").unwrap_or_default().into();
    let mut groups: Vec<Box<str>> = Vec::new();
    for group in item.children().filter(|child| child.is("group", ns::ROSTER)) {
        let group: Box<str> = group.text().into();
        if groups.contains(&group) {
            return Err(StanzaError::bad_request().with_text("a group is named twice"));
        }
        if group.is_empty() || group.len() > NAME_BYTES_MAX || groups.len() >= GROUPS_MAX {
            return Err(StanzaError::not_acceptable().with_text("a group is empty, too long or one too many"));
        }
        groups.push(group);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(StanzaError::not_acceptable().with_text("the name is too long"));
    }
    Ok(Wish::Put { jid, name, groups: groups.into() })
}

/// Appends the item of a contact.
pub(super) fn write(out: &mut Vec<u8>, jid: &BareJid, contact: &Contact) {
    open(out, jid, contact.subscription.as_str());
    if !contact.name.is_empty() {
        out.extend_from_slice(b" name='");
        escape_attr(out, &contact.name);
        out.push(b'\'');
    }
    if contact.is_asked {
        out.extend_from_slice(b" ask='subscribe'");
    }
    if contact.is_approved {
        out.extend_from_slice(b" approved='true'");
    }
    if contact.groups.is_empty() {
        out.extend_from_slice(b"/>");
        return;
    }
    out.push(b'>');
    for group in &contact.groups {
        out.extend_from_slice(b"<group>");
        escape_text(out, group);
        out.extend_from_slice(b"</group>");
    }
    out.extend_from_slice(b"</item>");
}

/// Appends the item that says a contact was removed.
pub(super) fn write_removed(out: &mut Vec<u8>, jid: &BareJid) {
    open(out, jid, "remove");
    out.extend_from_slice(b"/>");
}

fn open(out: &mut Vec<u8>, jid: &BareJid, subscription: &str) {
    out.extend_from_slice(b"<item jid='");
    escape_attr(out, jid.as_str());
    out.extend_from_slice(b"' subscription='");
    out.extend_from_slice(subscription.as_bytes());
    out.push(b'\'');
}

/// Is the item of both the same?
pub(super) fn looks_the_same(one: &Contact, other: &Contact) -> bool {
    (one.subscription, one.is_asked, one.is_approved) == (other.subscription, other.is_asked, other.is_approved)
        && one.name == other.name
        && one.groups == other.groups
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::tables::roster::Subscription;
    use xmpp::stanza::Condition;

    fn parse(inside: &str) -> Result<Wish, Condition> {
        let query: Element = format!("<query xmlns='jabber:iq:roster'>{inside}</query>").parse().unwrap();
        parse_set(&query).map_err(|error| error.condition)
    }

    #[test]
    fn what_section_2_3_3_refuses() {
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        let many: String = (0..=GROUPS_MAX).map(|number| format!("<group>{number}</group>")).collect();
        for (inside, condition) in [
            ("", Condition::BadRequest),
            ("<item/>", Condition::BadRequest),
            ("<item jid='a@b'/><item jid='c@d'/>", Condition::BadRequest),
            ("<item jid='a@b'><group>x</group><group>x</group></item>", Condition::BadRequest),
            ("<item jid='a@'/>", Condition::JidMalformed),
            ("<item jid='a@b/c'/>", Condition::JidMalformed),
            ("<item jid='a@b'><group/></item>", Condition::NotAcceptable),
            (&format!("<item jid='a@b' name='{long}'/>"), Condition::NotAcceptable),
            (&format!("<item jid='a@b'><group>{long}</group></item>"), Condition::NotAcceptable),
            (&format!("<item jid='a@b'>{many}</item>"), Condition::NotAcceptable),
        ] {
            assert_eq!(parse(inside), Err(condition), "{inside}");
        }
    }

    #[test]
    fn what_clients_may_not_set_is_ignored() {
        let wish =
            parse("<item jid='Nurse@Example.com' subscription='both' ask='subscribe' approved='true' name='N'/>");
        let jid = BareJid::new("nurse@example.com").unwrap();
        assert_eq!(wish, Ok(Wish::Put { jid: jid.clone(), name: "N".into(), groups: Box::default() }));
        assert_eq!(parse("<item jid='nurse@example.com' subscription='remove'/>"), Ok(Wish::Remove(jid)));
    }

    #[test]
    fn an_item_is_written_with_everything_escaped() {
        let contact = Contact {
            subscription: Subscription::From,
            is_asked: true,
            is_approved: true,
            is_listed: true,
            name: "O'<Nurse>&".into(),
            groups: ["a<b".into()].into(),
            ..Contact::default()
        };
        let mut out = Vec::new();
        write(&mut out, &BareJid::new("nurse@example.com").unwrap(), &contact);
        let item: Element =
            String::from_utf8(out).unwrap().replacen("<item", "<item xmlns='jabber:iq:roster'", 1).parse().unwrap();
        assert_eq!(item.attr("name"), Some("O'<Nurse>&"));
        assert_eq!(item.attr("subscription"), Some("from"));
        assert_eq!((item.attr("ask"), item.attr("approved")), (Some("subscribe"), Some("true")));
        assert_eq!(item.children().map(Element::text).collect::<Vec<_>>(), ["a<b"]);
    }
}
