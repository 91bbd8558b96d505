//! The framer: the same frames however the bytes are cut, its bounds, and what it holds while idle.

use bytes::Bytes;
use proptest::prelude::*;

use super::super::{Context, Frame, Framer, XmlError};
use super::generated;
use super::oracle::ours;
use crate::limits::Limits;

const HEADER: &str = "<?xml version='1.0'?><stream:stream to='example.com' version='1.0' xml:lang='en' \
                      xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

/// All frames of pieces pushed one after the other, and how it ended.
fn frames(pieces: &[&[u8]], limits: &Limits) -> (Vec<Frame>, Option<XmlError>) {
    let mut framer = Framer::new(limits);
    let mut frames = Vec::new();
    for piece in pieces {
        framer.push(piece);
        loop {
            match framer.next() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

fn opened() -> Framer {
    let mut framer = Framer::new(&Limits::client());
    framer.push(HEADER.as_bytes());
    assert!(matches!(framer.next(), Ok(Some(Frame::Open(_)))));
    framer
}

fn element(text: &'static str) -> Frame {
    Frame::Element(Bytes::from_static(text.as_bytes()))
}

#[test]
fn a_session_is_the_same_cut_anywhere() {
    let session = [
        HEADER,
        " <iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>\n\n<r xmlns='urn:xmpp:sm:3'/>",
        "<message><body>a > b, \"c\" <![CDATA[</message> ]] ]]> \u{1f980}</body></message><a b='/'></a>",
        "<presence/>  </stream:stream >",
    ]
    .concat();
    let whole = frames(&[session.as_bytes()], &Limits::client());
    assert_eq!(whole.1, None);
    assert_eq!(whole.0.len(), 7);
    assert_eq!(whole.0.last(), Some(&Frame::Close));
    for cut in 1..session.len() {
        let (before, after) = session.as_bytes().split_at(cut);
        assert_eq!(frames(&[before, after], &Limits::client()), whole, "cut at {cut}");
    }
    let bytes: Vec<&[u8]> = session.as_bytes().chunks(1).collect();
    assert_eq!(frames(&bytes, &Limits::client()), whole);
}

proptest! {
    #![proptest_config(crate::cases(300))]

    #[test]
    fn anything_is_the_same_cut_anywhere(inside in generated::damaged(), size in 1..40_usize) {
        let stream = [HEADER.as_bytes(), &inside, b"</stream:stream>"].concat();
        let limits = Limits::client();
        let whole = ours(&stream, usize::MAX, &limits);
        for size in [1, size] {
            // Which error is found first may depend on how much is there; whether there is one may not.
            prop_assert_eq!(ours(&stream, size, &limits).map_err(drop), whole.as_ref().map_err(drop).cloned());
        }
    }

    #[test]
    fn noise_is_survived(noise in prop::collection::vec(any::<u8>(), 0..200), size in 1..40_usize) {
        let limits = Limits::client();
        drop(ours(&noise, size, &limits));
        drop(ours(&[HEADER.as_bytes(), &noise].concat(), size, &limits));
    }
}

#[test]
fn the_header_says_what_stanzas_inherit() {
    let mut framer = Framer::new(&Limits::client());
    framer.push(HEADER.as_bytes());
    let Ok(Some(Frame::Open(header))) = framer.next() else { panic!("no header") };
    assert_eq!(header.to.as_deref(), Some("example.com"));
    assert_eq!(header.version.as_deref(), Some("1.0"));
    assert_eq!((header.from, header.id), (None, None));
    assert_eq!(&*header.content_ns, "jabber:client");
    assert_eq!(header.context, Context::client().with_lang("en"));
}

/// RFC 6120 section 4.8.5: the prefix is the sender's choice.
#[test]
fn a_header_may_use_any_prefix_or_none() {
    for header in [
        "<stream xmlns='http://etherx.jabber.org/streams'>",
        "<stream xmlns='http://etherx.jabber.org/streams' xmlns:c='jabber:client'>",
        "<s:stream xmlns='jabber:client' xmlns:s='http://etherx.jabber.org/streams'>",
        "<?xml version=\"1.0\" encoding='UTF-8' standalone='yes' ?>\n<s:stream xmlns:s='http://etherx.jabber.org/streams'>",
    ] {
        let (frames, error) = frames(&[header.as_bytes()], &Limits::client());
        assert!(matches!(*frames, [Frame::Open(_)]) && error.is_none(), "{header}: {error:?}");
    }
}

#[test]
fn what_is_no_header_has_its_error() {
    let long = format!("<stream:stream to='{}", "x".repeat(5000));
    for (header, error) in [
        ("<stream:stream>", XmlError::NotWellFormed),
        ("<stream xmlns='jabber:client'>", XmlError::InvalidNamespace),
        ("<stream:stream xmlns:stream='http://etherx.jabber.org/stream'>", XmlError::InvalidNamespace),
        ("<stream:flow xmlns:stream='http://etherx.jabber.org/streams'>", XmlError::BadFormat),
        ("GET / HTTP/1.1\r\n\r\n", XmlError::NotWellFormed),
        ("\u{feff}<stream>", XmlError::NotWellFormed),
        ("\0<\0s", XmlError::BadEncoding),
        ("<\0s\0", XmlError::BadEncoding),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}", XmlError::NotWellFormed),
        (" <?xml version='1.0'?>", XmlError::Restricted),
        ("<?xml version='1.1'?><a>", XmlError::UnsupportedVersion),
        ("<?xml version='1.0' encoding='latin1'?><a>", XmlError::BadEncoding),
        ("<?xml encoding='utf-8'?><a>", XmlError::NotWellFormed),
        ("<?xml version='1.0' standalone='yes' encoding='utf-8'?><a>", XmlError::NotWellFormed),
        ("<?xml version='1.0'encoding='utf-8'?><a>", XmlError::NotWellFormed),
        ("<?xml?><a>", XmlError::Restricted),
        ("<?xml-stylesheet href='a'?><a>", XmlError::Restricted),
        ("<!DOCTYPE stream>", XmlError::Restricted),
        ("<!-- hello --><a>", XmlError::Restricted),
        (&long, XmlError::TooBig),
    ] {
        assert_eq!(frames(&[header.as_bytes()], &Limits::client()).1, Some(error), "{header}");
        let bytes: Vec<&[u8]> = header.as_bytes().chunks(1).collect();
        assert_eq!(frames(&bytes, &Limits::client()).1, Some(error), "{header}");
    }
    for start in [&b"\xfe\xff"[..], b"\xff\xfe", b"k\0", b"\0k", b" \0"] {
        let cut: Vec<&[u8]> = start.chunks(1).collect();
        assert_eq!(frames(&cut, &Limits::client()), frames(&[start], &Limits::client()), "{start:?}");
    }
    let latin1 =
        frames(&[b"<stream:stream to='\xe9' xmlns:stream='http://etherx.jabber.org/streams'>"], &Limits::client());
    assert_eq!(latin1.1, Some(XmlError::BadEncoding));
}

#[test]
fn what_may_not_stand_between_stanzas_has_its_error() {
    for (text, error) in [
        ("hello", XmlError::BadFormat),
        (" hello <a/>", XmlError::BadFormat),
        ("&amp;", XmlError::BadFormat),
        ("<![CDATA[ ]]>", XmlError::BadFormat),
        ("<!-- hello -->", XmlError::Restricted),
        ("<a><!-- hello --></a>", XmlError::Restricted),
        ("<?php ?>", XmlError::Restricted),
        ("<?xml version='1.0'?>", XmlError::Restricted),
        ("<!DOCTYPE a>", XmlError::Restricted),
        ("<a<b>", XmlError::NotWellFormed),
        ("<a b='<'>", XmlError::NotWellFormed),
        ("</stream>", XmlError::NotWellFormed),
        ("</stream:streams>", XmlError::NotWellFormed),
    ] {
        let mut framer = opened();
        framer.push(text.as_bytes());
        assert_eq!(framer.next(), Err(error), "{text}");
    }
}

/// Whether or not the element is complete, and however it comes.
fn is_bounded(limits: &Limits, text: &str, size: usize) -> Option<XmlError> {
    let stream = [HEADER, text].concat();
    let pieces: Vec<&[u8]> = stream.as_bytes().chunks(size).collect();
    frames(&pieces, limits).1
}

#[test]
fn bounds_hold_to_the_byte() {
    let limits = Limits { stanza_bytes_max: 100, depth_max: 3, ..Limits::client() };
    let exact = format!("<a>{}</a>", "x".repeat(93));
    let over = format!("<a>{}</a>", "x".repeat(94));
    for size in [1, 7, 5000] {
        assert_eq!(is_bounded(&limits, &exact, size), None);
        assert_eq!(is_bounded(&limits, &exact.repeat(3), size), None);
        assert_eq!(is_bounded(&limits, &over, size), Some(XmlError::TooBig));
        assert_eq!(is_bounded(&limits, &format!("<a {}", " ".repeat(200)), size), Some(XmlError::TooBig));
        assert_eq!(is_bounded(&limits, &format!("<a>{}", "x".repeat(200)), size), Some(XmlError::TooBig));
        assert_eq!(is_bounded(&limits, &format!("<a><![CDATA[{}", "x".repeat(200)), size), Some(XmlError::TooBig));
        assert_eq!(is_bounded(&limits, &format!("<a b='{}", "x".repeat(200)), size), Some(XmlError::TooBig));
        assert_eq!(is_bounded(&limits, "<a><b><c/></b></a>", size), None);
        assert_eq!(is_bounded(&limits, "<a><b><c><d/></c></b></a>", size), Some(XmlError::TooDeep));
        assert_eq!(is_bounded(&limits, "<a><b><c><d>", size), Some(XmlError::TooDeep));
        // Blanks between stanzas keep the connection alive and belong to none.
        assert_eq!(is_bounded(&limits, &" ".repeat(1000), size), None);
    }
    let end = format!("<a></a{}", " ".repeat(1000));
    assert!(is_bounded(&Limits::client(), &end, 1).is_some());
}

#[test]
fn nothing_is_held_while_idle() {
    let mut framer = opened();
    for text in ["<message><body>hi</body></message>", " ", "<a/><b/>", "<a/> \n"] {
        framer.push(text.as_bytes());
        while framer.next().unwrap().is_some() {}
        assert_eq!((framer.buffered(), framer.capacity()), (0, 0), "{text}");
    }
    framer.push(b"<a/><b");
    assert_eq!(framer.next(), Ok(Some(element("<a/>"))));
    assert_eq!(framer.next(), Ok(None));
    assert_eq!(framer.buffered(), 2);
}

/// RFC 6120 section 5.4.3.3: what came before TLS is not taken as if it had come under it.
#[test]
fn a_reset_forgets_and_a_restart_keeps() {
    let pipelined = format!("<auth/>\n{HEADER}<iq/>");
    let mut framer = opened();
    framer.push(pipelined.as_bytes());
    assert_eq!(framer.next(), Ok(Some(element("<auth/>"))));
    let mut restarted = opened();
    restarted.push(pipelined.as_bytes());
    assert_eq!(restarted.next(), Ok(Some(element("<auth/>"))));

    framer.reset();
    assert_eq!((framer.next(), framer.buffered()), (Ok(None), 0));
    restarted.restart();
    assert!(matches!(restarted.next(), Ok(Some(Frame::Open(_)))));
    assert_eq!(restarted.next(), Ok(Some(element("<iq/>"))));
}

#[test]
fn an_empty_stream_opens_and_closes() {
    let header = HEADER.replace('>', "/>").replace("?/>", "?>");
    let (frames, error) = frames(&[header.as_bytes(), b"<a/>"], &Limits::client());
    assert!(matches!(*frames, [Frame::Open(_), Frame::Close]), "{frames:?} {error:?}");
}

#[test]
fn nothing_comes_after_the_end() {
    let (frames, error) = frames(&[HEADER.as_bytes(), b"</stream:stream><a/>", b"<b>hello &"], &Limits::client());
    assert!(matches!(*frames, [Frame::Open(_), Frame::Close]) && error.is_none());
}
