//! What must hold for any bytes, as functions the fuzz targets and a replay of the corpus call.
//!
//! Nothing is returned: a broken promise is a panic.

mod conversation;
mod server;

pub use conversation::{form, machine, sasl};
pub use server::server;

use bytes::Bytes;
use minidom::rxml::{Event, Parse, Parser};
use xmpp::limits::Limits;
use xmpp::stanza::{Content, Unparsable};
use xmpp::xml::{Context, Frame, Framer, parse_element_in};
use xmpp::{Jid, Stanza};

/// Elements of a stream, and whether it was closed without an error.
fn read(pieces: impl Iterator<Item = impl AsRef<[u8]>>) -> (Vec<(Bytes, Context)>, bool) {
    let mut framer = Framer::new(&Limits::unauthenticated());
    let mut context = Context::client();
    let mut elements = Vec::new();
    for piece in pieces {
        framer.push(piece.as_ref());
        loop {
            match framer.next() {
                Ok(Some(Frame::Open(header))) => context = header.context,
                Ok(Some(Frame::Element(bytes))) => elements.push((bytes, context.clone())),
                Ok(Some(Frame::Close)) => return (elements, true),
                Ok(None) => break,
                Err(_) => return (elements, false),
            }
        }
    }
    (elements, false)
}

/// Bytes of a stream: frames do not depend on how it is cut; a stanza says the same when it is rendered; what
/// is taken is taken by rxml.
pub fn stream(data: &[u8]) {
    let whole = read(std::iter::once(data));
    assert_eq!(whole, read(data.chunks(1)), "cut into bytes");
    assert_eq!(whole, read(data.chunks(7)), "cut into sevens");
    let (elements, is_closed) = whole;
    let limits = Limits::unauthenticated();
    let mut is_good = is_closed;
    for (bytes, context) in elements {
        let tree = parse_element_in(&bytes, &context, &limits);
        is_good &= tree.is_ok();
        match Stanza::parse_in(bytes.clone(), &context, &limits) {
            Ok(stanza) => {
                let tree = tree.expect("a stanza is well-formed");
                assert_eq!(stanza.content.children().count(), tree.children().count());
                for (child, element) in stanza.content.children().zip(tree.children()) {
                    assert_eq!(child.name(), element.name());
                    let opened = child.open().expect("a child stands on its own");
                    // On other streams what was in their namespace is in that of clients now.
                    if context.content_ns == "jabber:client" {
                        assert_eq!(&opened, element);
                        assert_eq!(child.ns(), element.ns());
                    }
                }
                let checked = Content::from_bytes_checked(stanza.content.as_bytes().clone());
                assert_eq!(checked.as_ref(), Ok(&stanza.content));
                if context.content_ns == "jabber:client" {
                    let again = Stanza::parse(stanza.render(), &Limits::server());
                    assert_eq!(again.as_ref(), Ok(&stanza));
                }
            }
            Err(Unparsable::Xml(_)) => {}
            Err(_) => assert!(tree.is_ok()),
        }
    }
    // rxml takes a carriage return in an attribute for an error.
    if is_good && !data.contains(&b'\r') {
        // XML has nothing against white space before the first tag; rxml has.
        by_rxml(data.trim_ascii_start());
    }
}

fn by_rxml(mut data: &[u8]) {
    let mut parser = Parser::new();
    let mut depth = 0;
    loop {
        match parser.parse(&mut data, true) {
            Ok(Some(Event::StartElement(..))) => depth += 1,
            Ok(Some(Event::EndElement(_))) => {
                depth -= 1;
                // What comes after the end of a stream is ignored.
                if depth == 0 {
                    return;
                }
            }
            Ok(Some(_)) => {}
            other => panic!("rxml: {other:?}"),
        }
    }
}

/// Text as an address: what is prepared stays as it is and splits into its parts.
pub fn jid(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(jid) = Jid::new(text) else { return };
    assert_eq!(Jid::new(jid.as_str()), Ok(jid.clone()));
    assert_eq!(Jid::from_parts(jid.localpart(), jid.domain(), jid.resource()), Ok(jid.clone()));
    assert!(jid.as_str().len() <= 3 * 1023 + 2);
}

#[cfg(test)]
mod tests {
    /// Every input of a corpus; every prefix of it; it with each byte gone.
    fn replay(name: &str, target: fn(&[u8])) {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/").to_owned() + name;
        let mut count = 0;
        for entry in std::fs::read_dir(corpus).unwrap() {
            let input = std::fs::read(entry.unwrap().path()).unwrap();
            target(&input);
            for at in 0..input.len() {
                target(&input[..at]);
                target(&[&input[..at], &input[at + 1..]].concat());
                target(&[&input[..at], b"<", &input[at..]].concat());
            }
            count += 1;
        }
        assert!(count > 0, "the corpus is empty");
    }

    #[test]
    fn stream() {
        replay("stream", super::stream);
    }

    #[test]
    fn jid() {
        replay("jid", super::jid);
    }

    #[test]
    fn machine() {
        replay("machine", super::machine);
    }

    #[test]
    fn server() {
        replay("server", super::server);
    }

    #[test]
    fn sasl() {
        replay("sasl", super::sasl);
    }

    #[test]
    fn form() {
        replay("form", super::form);
    }
}
