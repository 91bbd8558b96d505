//! Addresses of nodes and items as URIs: `xmpp:SERVICE?;node=NODE;item=ITEM` (XEP-0060 section 12.22, RFC 5122).
//!
//! Read leniently, since every client writes them a little differently; written in one way only, so that two that mean
//! the same are the same.

use xmpp::jid::BareJid;

/// A node, or an item of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The account or service.
    pub service: BareJid,
    /// The node.
    pub node: Box<str>,
    /// The item, if it is one.
    pub item: Option<Box<str>>,
}

impl Place {
    /// Reads a URI. `None` when it is none, or names no node.
    #[must_use]
    pub fn parse(uri: &str) -> Option<Self> {
        let rest = uri.trim().strip_prefix("xmpp:")?;
        let (path, query) = rest.split_once('?')?;
        let path = decode(path)?;
        let service = BareJid::new(path.strip_prefix("//").unwrap_or(&path)).ok()?;
        let (mut node, mut item) = (None, None);
        for pair in query.split(';') {
            let Some((key, value)) = pair.trim().split_once('=') else { continue };
            let slot = match key {
                "node" => &mut node,
                "item" => &mut item,
                _ => continue,
            };
            let value = decode(value)?;
            *slot = (!value.is_empty()).then(|| Box::from(value));
        }
        Some(Self { service, node: node?, item })
    }

    /// The one way we write it: everything escaped that is not unreserved (RFC 3986 section 2.3).
    #[must_use]
    pub fn write(&self) -> String {
        let mut out = String::from("xmpp:");
        encode(&mut out, self.service.as_str(), "@");
        out.push_str("?;node=");
        encode(&mut out, &self.node, "");
        if let Some(item) = &self.item {
            out.push_str(";item=");
            encode(&mut out, item, "");
        }
        out
    }
}

/// Percent-decoded text; `None` when it is no UTF-8 or ends within an escape.
pub(super) fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            let value = digit(bytes.next()?)? * 16 + digit(bytes.next()?)?;
            out.push(u8::try_from(value).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

fn encode(out: &mut String, text: &str, plain: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        let char = char::from(byte);
        if char.is_ascii_alphanumeric() || "-._~".contains(char) || plain.contains(char) {
            out.push(char);
        } else {
            out.push('%');
            for half in [byte >> 4, byte & 15] {
                out.push(HEX.get(usize::from(half)).map_or('0', |digit| char::from(*digit)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::Place;
    use proptest::prelude::*;
    use xmpp::jid::BareJid;

    fn place(service: &str, node: &str, item: Option<&str>) -> Place {
        Place { service: BareJid::new(service).unwrap(), node: node.into(), item: item.map(Into::into) }
    }

    #[test]
    fn what_clients_write_is_read() {
        let blog = place("juliet@capulet.lit", "urn:xmpp:microblog:0", Some("balcony/1"));
        for uri in [
            "xmpp:juliet@capulet.lit?;node=urn%3Axmpp%3Amicroblog%3A0;item=balcony%2F1",
            "xmpp:juliet@capulet.lit?;node=urn%3axmpp%3amicroblog%3a0;item=balcony/1",
            "xmpp:juliet@capulet.lit?;node=urn:xmpp:microblog:0;item=balcony/1",
            "xmpp:juliet%40capulet.lit?pubsub;action=retrieve;item=balcony%2F1;node=urn:xmpp:microblog:0",
            "xmpp:juliet@capulet.lit?;\n  node=urn%3Axmpp%3Amicroblog%3A0;\n  item=balcony%2F1",
        ] {
            assert_eq!(Place::parse(uri).as_ref(), Some(&blog), "{uri}");
        }
        assert_eq!(blog.write(), "xmpp:juliet@capulet.lit?;node=urn%3Axmpp%3Amicroblog%3A0;item=balcony%2F1");
        for bad in [
            "",
            "http://capulet.lit/",
            "xmpp:juliet@capulet.lit",
            "xmpp:juliet@capulet.lit?;item=x",
            "xmpp:?;node=x",
            "xmpp:a@b@c?;node=x",
            "xmpp:juliet@capulet.lit?;node=%ff",
            "xmpp:juliet@capulet.lit?;node=%4",
            "xmpp:juliet@capulet.lit?;node=",
        ] {
            assert_eq!(Place::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(node in ".{1,60}", item in proptest::option::of(".{1,60}")) {
            let place = place("juliet@capulet.lit", &node, item.as_deref());
            prop_assert_eq!(Place::parse(&place.write()), Some(place));
        }

        #[test]
        fn nothing_panics(uri in ".{0,200}") {
            let _read = Place::parse(&uri);
            let _read = Place::parse(&format!("xmpp:{uri}"));
        }
    }
}
