//! What single steps cost, in nanoseconds: reading, addressing, rendering, queueing.
//!
//! `cargo run --release -p chirrup-load --example micro` prints one line a step, the
//! smallest and the median of its batches. To be run before and after a change that
//! claims to improve one of them; what they come to together, with sockets, store and
//! scheduler around them, is what `benches/run` measures.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a command-line tool speaks there")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "the input is our own")]

use bytes::Bytes;
use chirrup::session::mailbox::{Frame as Outgoing, Mailbox};
use std::hint::black_box;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};
use xmpp::limits::Limits;
use xmpp::xml::{Frame, Framer};
use xmpp::{Jid, Stanza};

const MESSAGE: &[u8] = b"<message to='u19002@bench.test' type='chat' id='c5f0aa7e1c2d-17-1763860000000000000'>\
    <body>The quick brown fox jumps over the lazy dog, and then, after a short rest, it jumps back over the same dog \
    again. Bye!</body></message>";

/// A publish of an Atom entry of about 600 bytes.
fn publish() -> Vec<u8> {
    let words = "lorem ipsum dolor ".repeat(10);
    format!(
        "<iq type='set' id='pub1'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:xmpp:microblog:0'>\
         <item id='x1'><entry xmlns='http://www.w3.org/2005/Atom'><title type='text'>Post</title>\
         <id>tag:bench.invalid,2026-11-22:x1</id><published>2026-11-22T20:00:00Z</published>\
         <updated>2026-11-22T20:00:00Z</updated><author><name>u20001@bench.test</name>\
         <uri>xmpp:u20001@bench.test</uri></author><link rel='alternate' type='application/atom+xml' \
         href='xmpp:u20001@bench.test?;node=urn:xmpp:microblog:0;item=x1'/><content type='text'>{words}</content>\
         </entry></item></publish></pubsub></iq>"
    )
    .into_bytes()
}

/// Time `step`, which does `times` operations, in batches for about half a second.
fn time(name: &str, times: u32, mut step: impl FnMut()) {
    let mut batches = Vec::new();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(500) {
        let t = Instant::now();
        for _ in 0..64 {
            step();
        }
        batches.push(t.elapsed().as_nanos() as f64 / f64::from(64 * times));
    }
    batches.sort_by(f64::total_cmp);
    println!("{name:<52} {:>9.0} {:>9.0}", batches[0], batches[batches.len() / 2]);
}

/// A framer inside an open stream.
fn opened(limits: &Limits) -> Framer {
    let mut framer = Framer::new(limits);
    framer.push(
        b"<?xml version='1.0'?><stream:stream to='bench.test' xmlns='jabber:client' \
          xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
    );
    while framer.next().expect("a header").is_some() {}
    framer
}

fn frames(framer: &mut Framer, bytes: &[u8], mut each: impl FnMut(Bytes)) {
    framer.push(bytes);
    while let Some(frame) = framer.next().expect("well-formed") {
        if let Frame::Element(bytes) = frame {
            each(bytes);
        }
    }
}

fn main() {
    let limits = Limits::default();
    let (message, publish) = (Bytes::from_static(MESSAGE), Bytes::from(publish()));
    let sender: Jid = "u19001@bench.test/load1".parse().expect("a JID");
    println!("{:<52} {:>9} {:>9}", "ns per operation", "smallest", "median");

    let mut framer = opened(&limits);
    time("split off a message of 280 bytes", 1, || frames(&mut framer, MESSAGE, |b| drop(black_box(b))));
    let eight = MESSAGE.repeat(8);
    time("the same, eight in one read", 8, || frames(&mut framer, &eight, |b| drop(black_box(b))));
    time("split off a publish of 900 bytes", 1, || frames(&mut framer, &publish, |b| drop(black_box(b))));

    time("parse the message", 1, || drop(black_box(Stanza::parse(message.clone(), &limits))));
    time("parse the publish", 1, || drop(black_box(Stanza::parse(publish.clone(), &limits))));
    time("prepare a bare address", 1, || drop(black_box(Jid::new("u19002@bench.test"))));
    time("prepare a full address", 1, || drop(black_box(Jid::new("u19002@bench.test/load1"))));

    let mut stanza = Stanza::parse(message, &limits).expect("a stanza");
    stanza.head.from = Some(sender.clone());
    time("render the message", 1, || drop(black_box(stanza.render())));
    time("split, parse, stamp and render the message", 1, || {
        frames(&mut framer, MESSAGE, |b| {
            let mut stanza = Stanza::parse(b, &limits).expect("a stanza");
            stanza.head.from = Some(sender.clone());
            drop(black_box(stanza.render()));
        });
    });

    let shared = Outgoing::Addressed { before: "<message to='", to: sender, after: publish };
    let mut out = Vec::with_capacity(64 * 1024);
    time("write a shared notification of 900 bytes", 1, || {
        out.clear();
        shared.write(&mut out);
        black_box(&out);
    });
    let mailbox = Mailbox::new(1 << 20);
    let mut cx = Context::from_waker(Waker::noop());
    time("queue a notification and take it", 1, || {
        out.clear();
        mailbox.push(shared.clone());
        let _ = black_box(mailbox.poll_take(&mut cx, &mut out, 64 * 1024));
    });
}
