//! Stanzas: what is spliced, what is rendered anew, what is answered; the table of errors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use bytes::Bytes;
use minidom::Node;
use proptest::prelude::*;

use super::*;
use crate::limits::Limits;
use crate::ns;
use crate::xml::{Context, XmlError, generated, parse_element, parse_element_in};

fn parse_in(text: &str, context: &Context) -> Result<Stanza, Unparsable> {
    Stanza::parse_in(Bytes::copy_from_slice(text.as_bytes()), context, &Limits::client())
}

fn parse(text: &str) -> Result<Stanza, Unparsable> {
    parse_in(text, &Context::client())
}

fn content(text: &str) -> String {
    String::from_utf8(parse(text).unwrap().content.as_bytes().to_vec()).unwrap()
}

#[test]
fn a_chat_message_is_head_and_slices() {
    let text = "<message to='Romeo@Example.net/Orchard' type='chat' id='a&amp;b' xml:lang='it'>\
                <body>Art thou &lt;not&gt; Romeo?</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>";
    let frame = Bytes::copy_from_slice(text.as_bytes());
    let stanza = Stanza::parse(frame.clone(), &Limits::client()).unwrap();
    assert_eq!(stanza.head.to.as_ref().unwrap(), "romeo@example.net/Orchard");
    assert_eq!(stanza.head.id.as_deref(), Some("a&b"));
    assert_eq!(stanza.head.lang.as_deref(), Some("it"));
    assert_eq!(stanza.head.kind, Kind::Message(MessageType::Chat));
    let names: Vec<_> = stanza.content.children().map(|child| (child.name(), child.ns())).collect();
    assert_eq!(names, [("body", "jabber:client"), ("active", "http://jabber.org/protocol/chatstates")]);
    assert_eq!(stanza.content.first().unwrap().text().unwrap(), "Art thou <not> Romeo?");
    assert_eq!(stanza.content.first().unwrap().open().unwrap().text(), "Art thou <not> Romeo?");
    // Not copied: the content lies in the frame.
    assert!(frame.as_ptr_range().contains(&stanza.content.as_bytes().as_ptr()));
    let again = Stanza::parse(stanza.render(), &Limits::client()).unwrap();
    assert_eq!(again, stanza);
}

#[test]
fn what_stands_on_its_own_is_left_as_it_is() {
    for inside in [
        "",
        " ",
        "<body/>",
        "<body >a</body\n>",
        "<body xml:lang='en'>a</body>",
        "<a xmlns='urn:a'><b/></a>",
        "<a xmlns=\"urn:a\"><message xmlns='jabber:client'><body/></message></a>",
        "<x:a xmlns:x='urn:x' x:b=''><x:c/></x:a>",
        "<a xmlns='urn:a' xmlns:x='urn:x'><x:b><c/></x:b></a>",
        "<body><b xmlns='urn:b'/></body>",
        "<a xmlns=''/>",
        "text <body/> text",
        "<body><![CDATA[<]]></body>",
    ] {
        assert_eq!(content(&format!("<message>{inside}</message>")), inside);
        assert_eq!(content(&format!("<message xmlns='jabber:client'>{inside}</message>")), inside);
    }
    assert_eq!(content("<message/>"), "");
}

#[test]
fn what_leans_on_its_surroundings_is_written_anew() {
    for (text, inside) in [
        // A prefix of the stanza or of the stream.
        ("<message xmlns:x='urn:x'><x:a/></message>", "<a xmlns='urn:x'/>"),
        ("<message xmlns:x='urn:x'><x:a><b/></x:a></message>", "<a xmlns='urn:x'><b xmlns='jabber:client'/></a>"),
        ("<message xmlns:x='urn:x'><a x:b=''/></message>", "<a xmlns:n0='urn:x' n0:b=''/>"),
        ("<message><stream:a/></message>", "<a xmlns='http://etherx.jabber.org/streams'/>"),
        (
            "<message xmlns:x='urn:x'> <a xmlns='urn:a'><x:b/></a>t</message>",
            " <a xmlns='urn:a'><b xmlns='urn:x'/></a>t",
        ),
        // The stream's default namespace through an element that does not declare its own.
        (
            "<message><x:a xmlns:x='urn:x'><b/></x:a></message>",
            "<a xmlns='urn:x' xmlns:x='urn:x'><b xmlns='jabber:client'/></a>",
        ),
        // The content namespace where it goes without saying.
        ("<message><body xmlns='jabber:client'/></message>", "<body/>"),
        ("<message><x:body xmlns:x='jabber:client'/></message>", "<body xmlns:x='jabber:client'/>"),
        ("<message><a><b xmlns='jabber:client'/></a></message>", "<a><b/></a>"),
        ("<c:message xmlns:c='jabber:client' xmlns='urn:a'><c:body/><d/></c:message>", "<body/><d xmlns='urn:a'/>"),
        ("<message xmlns:x='urn:x'><x:a>&lt;<![CDATA[&]]></x:a></message>", "<a xmlns='urn:x'>&lt;&amp;</a>"),
    ] {
        assert_eq!(content(text), inside, "{text}");
    }
}

#[test]
fn a_server_stream_gives_the_same_content() {
    let text = "<message from='a@b.example' to='c@d.example'><body>hi</body><a xmlns='urn:a'/></message>";
    let stanza = parse_in(text, &Context::server()).unwrap();
    assert_eq!(stanza, parse(text).unwrap());
    assert!(stanza.content.has("body", ns::CLIENT));
    let text = "<message from='a@b.example' to='c@d.example'><body xmlns='jabber:server'>hi</body></message>";
    assert_eq!(parse_in(text, &Context::server()).unwrap().content.as_bytes(), "<body>hi</body>");
    let foreign = parse_in("<message xmlns='jabber:client'/>", &Context::server());
    assert!(matches!(foreign, Err(Unparsable::NotAStanza { .. })), "{foreign:?}");
}

/// RFC 6120 section 4.7.4.
#[test]
fn the_stream_gives_the_language_a_stanza_lacks() {
    let context = Context::client().with_lang("fr");
    assert_eq!(parse_in("<message/>", &context).unwrap().head.lang.as_deref(), Some("fr"));
    assert_eq!(parse_in("<message xml:lang='de'/>", &context).unwrap().head.lang.as_deref(), Some("de"));
    assert_eq!(parse("<message/>").unwrap().head.lang, None);
}

#[test]
fn a_good_head_with_something_wrong_is_answered() {
    let text = Condition::BadRequest;
    for (text, condition, reply) in [
        ("<message to='a@b@c'/>", Condition::JidMalformed, "<message type='error'"),
        ("<message to='' id='1'/>", Condition::JidMalformed, "<message type='error' id='1'"),
        ("<presence type='invisible'/>", text, "<presence type='error'"),
        ("<iq type='get' id='1'/>", text, "<iq type='error' id='1'"),
        ("<iq type='set' id='1'><a/><b/></iq>", text, "<iq type='error' id='1'"),
        ("<iq type='get'><a/></iq>", text, "<iq type='error'"),
        ("<iq id='1'><a/></iq>", text, "<iq type='error' id='1'"),
        (
            "<iq type='ask' id='1' to='b.example' from='a@b.example/c'><a/></iq>",
            text,
            "<iq to='a@b.example/c' from='b.example' type='error' id='1'",
        ),
    ] {
        let Err(Unparsable::Malformed { head, error }) = parse(text) else { panic!("{text}") };
        assert_eq!(error.condition, condition, "{text}");
        let answer = Stanza::error_reply(&head, None, &error).unwrap().render();
        let answer = std::str::from_utf8(&answer).unwrap();
        assert!(answer.starts_with(&format!("{reply}><error ")), "{text}: {answer}");
    }
    for text in ["<iq type='result' id='1'><a/><b/></iq>", "<iq type='error'/>", "<message type='error' to='@'/>"] {
        let Err(Unparsable::Malformed { head, error }) = parse(text) else { panic!("{text}") };
        assert_eq!(Stanza::error_reply(&head, None, &error), None, "{text}");
    }
    assert_eq!(parse("<message from='@'/>"), Err(Unparsable::Xml(XmlError::InvalidFrom)));
    assert_eq!(parse("<message><x:a/></message>"), Err(Unparsable::Xml(XmlError::NotWellFormed)));
}

#[test]
fn other_elements_are_no_stanzas() {
    for (text, name, ns) in [
        ("<r xmlns='urn:xmpp:sm:3'/>", "r", "urn:xmpp:sm:3"),
        ("<message xmlns='urn:a'/>", "message", "urn:a"),
        ("<stream:features/>", "features", ns::STREAM),
        ("<msg/>", "msg", ns::CLIENT),
    ] {
        let expected =
            Unparsable::NotAStanza { name: name.into(), ns: ns.into(), bytes: Bytes::copy_from_slice(text.as_bytes()) };
        assert_eq!(parse(text), Err(expected));
    }
}

/// RFC 6121 section 5.2.2: what is not understood is normal.
#[test]
fn types_are_read_and_written() {
    for (text, kind) in [
        ("<message type='chat'/>", Kind::Message(MessageType::Chat)),
        ("<message type='shout'/>", Kind::Message(MessageType::Normal)),
        ("<message type='normal'/>", Kind::Message(MessageType::Normal)),
        ("<presence/>", Kind::Presence(PresenceType::Available)),
        ("<presence type='unsubscribed'/>", Kind::Presence(PresenceType::Unsubscribed)),
        ("<iq type='result' id='1'/>", Kind::Iq(IqType::Result)),
    ] {
        let stanza = parse(text).unwrap();
        assert_eq!(stanza.head.kind, kind);
        assert_eq!(parse(std::str::from_utf8(&stanza.render()).unwrap()).unwrap(), stanza);
    }
}

#[test]
fn an_answer_turns_the_addresses_round() {
    let asked =
        parse("<iq type='get' id='1' from='a@b.example/c' to='b.example' xml:lang='en'><q xmlns='urn:q'/></iq>")
            .unwrap();
    let payload = Element::bare("q", "urn:q");
    let result = Stanza::iq_result(&asked.head, Some(&payload));
    assert_eq!(result.render(), "<iq to='a@b.example/c' from='b.example' type='result' id='1'><q xmlns='urn:q'/></iq>");
    assert_eq!(Stanza::iq_result_bytes(&asked.head, "q", "urn:q", b"<q xmlns='urn:q'/>"), result);
    assert_eq!(Stanza::error_reply(&result.head, None, &StanzaError::forbidden()), None);
    let error = Stanza::error_reply(&asked.head, Some(&asked.content), &StanzaError::forbidden()).unwrap();
    assert_eq!(
        error.render(),
        "<iq to='a@b.example/c' from='b.example' type='error' id='1'><q xmlns='urn:q'/>\
         <error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
    );
    assert_eq!(error.error(), Some(StanzaError::forbidden()));
    let sly = parse("<message><error type='wait'><gone/></error><body/></message>").unwrap();
    let error = Stanza::error_reply(&sly.head, Some(&sly.content), &StanzaError::forbidden()).unwrap();
    assert_eq!(error.error(), Some(StanzaError::forbidden()));
    assert_eq!(asked.error(), None);
    let mut alone = Vec::new();
    result.render_alone_into(&mut alone, ns::CLIENT);
    assert!(alone.starts_with(b"<iq xmlns='jabber:client' to="));
}

#[test]
fn content_can_be_added_to_and_taken_from() {
    let mut content =
        parse("<message> <a xmlns='urn:a'/> <x:b xmlns:x='urn:b&amp;'>t</x:b> </message>").unwrap().content;
    assert!(content.has("a", "urn:a") && content.has("b", "urn:b&") && !content.has("b", "urn:a"));
    content.push(&Element::builder("c", "jabber:client").append("t").build());
    content.push_bytes("d", "urn:d", b"<d xmlns='urn:d'/>");
    assert_eq!(content.as_bytes(), " <a xmlns='urn:a'/> <x:b xmlns:x='urn:b&amp;'>t</x:b> <c>t</c><d xmlns='urn:d'/>");
    let content = content.without(|child| child.is("a", "urn:a") || child.ns() == ns::CLIENT);
    assert_eq!(content.as_bytes(), "  <x:b xmlns:x='urn:b&amp;'>t</x:b> <d xmlns='urn:d'/>");
    let names: Vec<_> = content.children().map(|child| (child.name(), child.ns(), child.bytes().len())).collect();
    assert_eq!(names, [("b", "urn:b&", 33), ("d", "urn:d", 18)]);
    let again = Content::from_bytes_checked(content.as_bytes().clone()).unwrap();
    let found: Vec<_> = again.children().map(|child| (child.name(), child.ns(), child.bytes().len())).collect();
    assert_eq!(found, names);
    assert_eq!(Content::from_bytes_checked(Bytes::from_static(b"</x><x>")), Err(XmlError::NotWellFormed));
}

#[test]
fn text_is_what_the_tree_says() {
    for (inside, text) in [
        ("<a/>", Some("")),
        ("<a b='>'></a>", Some("")),
        ("<a b=\"/>'\">t</a >", Some("t")),
        ("<a>x&lt;y\r\n<![CDATA[&lt;\r]]>z&#33;</a>", Some("x<y\n&lt;\nz!")),
        ("<a>x<b/></a>", None),
    ] {
        let stanza = parse(&format!("<message>{inside}</message>")).unwrap();
        let child = stanza.content.first().unwrap();
        assert_eq!(child.text().as_deref(), text, "{inside}");
        if let Some(text) = text {
            assert_eq!(child.open().unwrap().text(), text);
        }
    }
}

/// RFC 6120 section 8.3.3, every condition with the type the text associates with it.
#[test]
fn every_condition_is_rendered_and_read_back() {
    assert_eq!(Condition::ALL.len(), 22);
    for &condition in Condition::ALL {
        assert_eq!(Condition::from_name(condition.name()), Some(condition));
        let specific = Element::bare("closed-node", "http://jabber.org/protocol/pubsub#errors");
        let plain = StanzaError::new(condition);
        let full = plain
            .clone()
            .with_text("<why>")
            .with_specific(specific)
            .with_address("xmpp:a@b")
            .with_type(ErrorType::Continue);
        for error in [plain, full] {
            let mut out = Vec::new();
            error.render_into(&mut out);
            let element = parse_element(&out, ns::CLIENT).unwrap();
            assert_eq!(element, error.to_element());
            assert_eq!(StanzaError::parse(&element), Some(error));
        }
    }
    let careless = parse_element(b"<error code='404'><a xmlns='urn:a'/></error>", ns::CLIENT).unwrap();
    let read = StanzaError::parse(&careless).unwrap();
    assert_eq!((read.condition, read.type_), (Condition::UndefinedCondition, ErrorType::Cancel));
    assert_eq!(StanzaError::parse(&Element::bare("mistake", ns::CLIENT)), None);
}

/// What a tree is when it stands elsewhere: what was in the namespace of the stanza, like all its parents, is
/// in the namespace of that place.
fn moved(element: &Element, is_chain: bool) -> Element {
    let is_chain = is_chain && element.has_ns(ns::CLIENT);
    let namespace = if is_chain { "urn:elsewhere".to_owned() } else { element.ns() };
    let mut copy = Element::bare(element.name(), namespace);
    copy.attrs_mut().clone_from(element.attrs());
    for node in element.nodes() {
        copy.append_node(match node {
            Node::Element(child) => Node::Element(moved(child, is_chain)),
            Node::Text(text) => Node::Text(text.clone()),
        });
    }
    copy
}

fn stanzas() -> impl Strategy<Value = String> {
    let root = prop::sample::select(
        &["<message>", "<message xmlns:x='urn:x' xmlns:y='jabber:client'>", "<message xmlns='jabber:client' to='a'>"][..],
    );
    (root, prop::collection::vec(generated::element(), 0..3), any::<bool>()).prop_map(|(root, elements, is_bare)| {
        let mut inside = elements.concat();
        if is_bare && root.contains("xmlns:x") {
            // Now the stanza's declarations are the ones in force.
            inside = inside.replace(" xmlns:x='urn:x'", "").replace(" xmlns:x=\"urn:x\"", "");
        }
        format!("{root}{inside}</message>")
    })
}

proptest! {
    #![proptest_config(crate::cases(500))]

    /// The one promise of content: cut out and put elsewhere it means the same.
    #[test]
    fn content_means_the_same_elsewhere(text in stanzas()) {
        let Ok(original) = parse_element_in(text.as_bytes(), &Context::client(), &Limits::client()) else {
            return Ok(());
        };
        let stanza = parse(&text).unwrap();
        let inside = String::from_utf8(stanza.content.as_bytes().to_vec()).unwrap();
        let elsewhere = parse_element(format!("<x>{inside}</x>").as_bytes(), "urn:elsewhere").unwrap();
        let expected = moved(&original, true);
        prop_assert_eq!(elsewhere.nodes().collect::<Vec<_>>(), expected.nodes().collect::<Vec<_>>(), "{}", inside);

        let children: Vec<_> = original.children().collect();
        prop_assert_eq!(stanza.content.children().count(), children.len());
        for (child, element) in stanza.content.children().zip(children) {
            prop_assert!(child.is(element.name(), &element.ns()));
            prop_assert_eq!(&child.open().unwrap(), element);
            if element.children().next().is_none() {
                prop_assert_eq!(child.text().unwrap(), element.text());
            } else {
                prop_assert_eq!(child.text(), None);
            }
        }
        prop_assert_eq!(&parse(std::str::from_utf8(&stanza.render()).unwrap()).unwrap(), &stanza);
        prop_assert_eq!(&Content::from_bytes_checked(stanza.content.as_bytes().clone()).unwrap(), &stanza.content);
    }
}
