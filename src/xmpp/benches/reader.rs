//! What reading and writing one stanza costs: `cargo bench -p chirrup-xmpp [-- part of a name]`.
//!
//! Prints nanoseconds per operation, the best of many short rounds. Nothing is asserted: figures belong in the
//! change that claims to improve them.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement, not the house"
)]

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use xmpp::limits::Limits;
use xmpp::xml::{Frame, Framer, parse_element};
use xmpp::{FullJid, Jid, Stanza};

const CHAT: &str = "<message to='romeo@example.net/orchard' type='chat' id='0b2c3d4e-5f60' xml:lang='en'>\
    <body>Wherefore art thou Romeo? Deny thy father and refuse thy name.</body>\
    <active xmlns='http://jabber.org/protocol/chatstates'/>\
    <request xmlns='urn:xmpp:receipts'/></message>";

const POST: &str = "<iq to='juliet@example.com' type='set' id='pub1'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
    <publish node='urn:xmpp:microblog:0'><item id='4af1e0aa'><entry xmlns='http://www.w3.org/2005/Atom'>\
    <title type='text'>hanging out at the Caf&#233; Napolitano</title><author><name>Juliet Capulet</name>\
    <uri>xmpp:juliet@example.com</uri></author><id>tag:example.com,2008:posts-4af1e0aa</id>\
    <published>2008-05-08T18:30:02Z</published><updated>2008-05-08T18:30:02Z</updated>\
    <link rel='alternate' href='xmpp:juliet@example.com?;node=urn%3Axmpp%3Amicroblog%3A0;item=4af1e0aa'/>\
    </entry></item></publish></pubsub></iq>";

/// Measures, unless the command line names something else.
fn measure(name: &str, mut operation: impl FnMut()) {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    if wanted.is_some_and(|wanted| !name.contains(&wanted)) {
        return;
    }
    // Many short rounds, of which the best was not interrupted by anything else on the machine.
    const COUNT: u32 = 200;
    let best = (0..1500)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..COUNT {
                operation();
            }
            start.elapsed() / COUNT
        })
        .min()
        .unwrap();
    println!("{:>7} ns  {name}", best.as_nanos());
}

fn main() {
    let limits = Limits::client();
    for (name, text) in [("chat message", CHAT), ("post", POST)] {
        println!("{name}, {} bytes", text.len());
        let frame = Bytes::copy_from_slice(text.as_bytes());
        let stanza = Stanza::parse(frame.clone(), &limits).unwrap();
        measure("parse, bytes in hand", || drop(black_box(Stanza::parse(frame.clone(), &limits).unwrap())));
        let mut framer = Framer::new(&limits);
        framer.push(b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>");
        framer.next().unwrap();
        measure("frame, one read", || {
            framer.push(text.as_bytes());
            drop(black_box(framer.next().unwrap()));
        });
        measure("frame and parse, one read", || {
            framer.push(text.as_bytes());
            let Some(Frame::Element(frame)) = framer.next().unwrap() else { return };
            drop(black_box(Stanza::parse(frame, &limits).unwrap()));
        });
        measure("render", || drop(black_box(stanza.render())));
        let mut out = Vec::with_capacity(4096);
        measure("render into a buffer", || {
            out.clear();
            stanza.render_into(&mut out);
            black_box(&out);
        });
        let child = stanza.content.first().unwrap();
        measure("open the first child", || drop(black_box(child.open().unwrap())));
        measure("open it by rxml", || {
            drop(black_box(minidom::Element::from_reader_with_prefixes(
                &child.bytes()[..],
                "jabber:client".to_owned(),
            )));
        });
        measure("text of the first child", || drop(black_box(child.text())));
        measure("the whole as a tree", || drop(black_box(parse_element(text.as_bytes(), "jabber:client"))));
        measure("clone", || drop(black_box(stanza.clone())));
    }
    println!("addresses");
    measure("full, plain", || drop(black_box(Jid::new("romeo@example.net/orchard"))));
    measure("full, upper case", || drop(black_box(Jid::new("Romeo@Example.net/orchard"))));
    measure("full, beyond ASCII", || drop(black_box(Jid::new("\u{3c0}@b\u{fc}cher.example/\u{3c3}"))));
    let full = FullJid::new("romeo@example.net/orchard").unwrap();
    measure("bare of a full one", || drop(black_box(full.bare())));
}
