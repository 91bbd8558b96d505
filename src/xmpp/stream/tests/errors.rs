//! Every stream error we send, provoked (RFC 6120 section 4.9.3), and stanza errors that leave the stream alone.

use super::*;

fn header(replace: &str, with: &str) -> String {
    assert!(HEADER.contains(replace));
    HEADER.replacen(replace, with, 1)
}

#[test]
fn a_bad_header_is_answered_with_ours_and_an_error() {
    use Condition::*;
    let long = header("juliet", &"x".repeat(5000));
    for (input, expected) in [
        ("hello".to_owned(), NotWellFormed),
        (header("stream:stream ", "stream:river "), BadFormat),
        (header("http://etherx.jabber.org/streams", "http://wrong.example/"), InvalidNamespace),
        (header("jabber:client", "jabber:server"), InvalidNamespace),
        (header("jabber:client", "http://wrong.example/"), InvalidNamespace),
        (header("version='1.0' xml", "version='11.0' xml"), UnsupportedVersion),
        (header("version='1.0' xml", "version='0.9' xml"), UnsupportedVersion),
        (header("version='1.0' xml", "version='one' xml"), UnsupportedVersion),
        (header("version='1.0' xml", "xml"), UnsupportedVersion),
        (header("to='im.example.com'", "to='wherefore.example'"), HostUnknown),
        (header("to='im.example.com'", "to='@'"), HostUnknown),
        (header("to='im.example.com'", "to='juliet@im.example.com'"), HostUnknown),
        (header("to='im.example.com'", ""), HostUnknown),
        (header("from='juliet@im.example.com'", "from='@'"), InvalidFrom),
        (header("xml:lang='en'", "xml:lang='en' lang"), NotWellFormed),
        (header("<?xml version='1.0'?>", "<?xml version='1.0' encoding='UTF-16'?>"), UnsupportedEncoding),
        (header("<?xml version='1.0'?>", "<!DOCTYPE stream>"), RestrictedXml),
        (header("<?xml version='1.0'?>", "<!-- hello -->"), RestrictedXml),
        (long, PolicyViolation),
    ] {
        let mut house = House::new(settings(), None);
        house.hear(&input);
        let said = String::from_utf8(house.out.clone()).unwrap();
        assert!(said.starts_with("<?xml version='1.0'?><stream:stream from='im.example.com' id='"), "{said}");
        assert!(!said.contains("<stream:features>"), "{said}");
        assert_eq!(house.ended(), expected, "{input}");
    }
}

#[test]
fn bytes_that_are_not_utf8() {
    let mut house = House::new(settings(), None);
    house.hear(b"\xff\xfe<\0?\0");
    assert_eq!(house.ended(), Condition::UnsupportedEncoding);
    let mut house = House::bound();
    house.hear(b"<message><body>\xc3(</body></message>");
    assert_eq!(house.ended(), Condition::UnsupportedEncoding);
}

#[test]
fn a_version_is_two_numbers() {
    for version in ["1.0", "01.00", "1.13"] {
        let mut house = House::new(settings(), None);
        house.hear(header("version='1.0' xml", &format!("version='{version}' xml")));
        assert!(house.events.is_empty());
        assert!(house.said().contains(" version='1.0' xml:lang='en'"));
    }
}

#[test]
fn before_authentication() {
    use Condition::*;
    let deep = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>".repeat(40);
    for (input, expected) in [
        ("<message to='romeo@example.net'><body>Wherefore art thou?</body></message>", NotAuthorized),
        ("<presence/>", NotAuthorized),
        ("<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>", NotAuthorized),
        ("<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>", NotAuthorized),
        (BIND, NotAuthorized),
        ("<pubsub/>", UnsupportedStanzaType),
        ("<inactive xmlns='urn:xmpp:csi:0'/>", UnsupportedStanzaType),
        ("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", UnsupportedStanzaType),
        ("<message><body></message>", NotWellFormed),
        ("<message><foo:body/></message>", NotWellFormed),
        ("hello", BadFormat),
        ("<!-- hello -->", RestrictedXml),
        (&deep, PolicyViolation),
    ] {
        let mut house = House::new(settings(), Some(facts()));
        house.hear(HEADER);
        house.hear(input);
        assert_eq!(house.ended(), expected, "{input}");
        assert_eq!(house.events.len(), 1);
    }
}

#[test]
fn too_much_before_authentication() {
    let mut house = House::new(Settings { unauthenticated_bytes_max: 2000, ..settings() }, Some(facts()));
    house.hear(HEADER);
    for _ in 0..30 {
        house.hear(" ".repeat(100));
    }
    assert_eq!(house.ended(), Condition::PolicyViolation);

    // Who is authenticated is not bound by it any more.
    let mut house = House::new(Settings { unauthenticated_bytes_max: 2000, ..settings() }, Some(facts()));
    house.hear(prelude());
    house.hear(format!("<message><body>{}</body></message>", "x".repeat(5000)));
    assert!(matches!(house.events.last(), Some(Event::Stanza(_))));
}

#[test]
fn too_long_before_a_resource_is_bound() {
    let mut house = House::new(settings(), Some(facts()));
    assert_eq!(house.stream.poll_timeout(), Some(std::time::Duration::from_secs(60)));
    house.stream.handle_timeout();
    house.work();
    assert_eq!(house.ended(), Condition::ConnectionTimeout);
    let mut house = House::bound();
    assert_eq!(house.stream.poll_timeout(), None);
    house.stream.handle_timeout();
    house.work();
    assert!(house.events.is_empty());
}

#[test]
fn on_a_bound_stream() {
    use Condition::*;
    let big = format!("<message><body>{}</body></message>", "x".repeat(300_000));
    let deep = format!("<message>{}", "<x>".repeat(100));
    let wide = format!("<message {}/>", (0..100).map(|n| format!("a{n}='' ")).collect::<String>());
    let many = format!("<message>{}</message>", "<x/>".repeat(10_000));
    let named = format!("<message><{}/></message>", "x".repeat(300));
    for (input, expected) in [
        ("<message><body></message>", NotWellFormed),
        ("<message><foo:body>What is this foo?</foo:body></message>", NotWellFormed),
        ("<message to='a' to='b'/>", NotWellFormed),
        ("<message><body>&bogus;</body></message>", RestrictedXml),
        ("<message><!--<subject/>--><body/></message>", RestrictedXml),
        ("<message><?php ?></message>", RestrictedXml),
        ("<pubsub xmlns='jabber:client'/>", UnsupportedStanzaType),
        ("<message xmlns='jabber:server'/>", UnsupportedStanzaType),
        ("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", UnsupportedStanzaType),
        (PLAIN, UnsupportedStanzaType),
        ("<foo:message xmlns:foo='jabber:client'><foo:body>foo</foo:body></foo:message>", BadNamespacePrefix),
        ("<foo:iq type='get' xmlns:foo='jabber:client'/>", BadNamespacePrefix),
        ("<foo:pubsub xmlns:foo='jabber:client'/>", UnsupportedStanzaType),
        ("<message from='romeo@example.net'/>", InvalidFrom),
        ("<message from='juliet@im.example.com/chamber'/>", InvalidFrom),
        ("<message from='@'/>", InvalidFrom),
        ("hello", BadFormat),
        ("</stream:river>", NotWellFormed),
        (&big, PolicyViolation),
        (&deep, PolicyViolation),
        (&wide, PolicyViolation),
        (&many, PolicyViolation),
        (&named, PolicyViolation),
    ] {
        let mut house = House::bound();
        house.hear(input);
        let input = input.get(..80).unwrap_or(input);
        assert_eq!(house.ended(), expected, "{input}");
        assert_eq!(house.events.len(), 1, "{input}");
    }
    let mut house = House::bound();
    house.hear(big);
    assert!(house.said().contains("<stanza-too-big xmlns='urn:xmpp:errors'/></stream:error>"));
}

#[test]
fn every_condition_can_be_sent_and_read() {
    for &condition in Condition::ALL {
        let mut house = House::bound();
        house.stream.close(Some(StreamError::new(condition).with_text("a < b")));
        house.work();
        let said = house.said();
        let error = said.strip_suffix("</stream:stream>").unwrap();
        assert!(error.contains("<text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>a &lt; b</text>"));
        let element = parse_element_in(error.as_bytes(), &Context::client(), &crate::limits::Limits::client()).unwrap();
        let read = StreamError::parse(&element);
        assert_eq!((read.condition, read.text.as_deref()), (condition, Some("a < b")));
        assert_eq!(house.events, [Event::Closed(Some(read))]);
        // Closing again says nothing more.
        house.stream.close(Some(Condition::Reset.into()));
        house.work();
        assert_eq!(house.said(), "");
        assert_eq!(house.events.len(), 1);
        assert!(!house.stream.is_over());
        house.hear("<message/></stream:stream>");
        assert!(house.stream.is_over());
        assert_eq!((house.said().as_str(), house.events.len()), ("", 1));
    }
}

#[test]
fn a_condition_we_do_not_know_is_undefined() {
    let mut house = House::bound();
    house.hear(
        "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>a:1</see-other-host>\
         </stream:error>",
    );
    assert_eq!(house.said(), "</stream:stream>");
    // Where it points to is for a log.
    let error = StreamError::new(Condition::UndefinedCondition).with_text("see-other-host a:1");
    assert_eq!(house.events, [Event::Closed(Some(error))]);
    let mut house = House::bound();
    house.hear("<stream:error><flooded xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>");
    assert_eq!(house.events, [Event::Closed(Some(Condition::UndefinedCondition.into()))]);
}

#[test]
fn a_peer_may_end_the_stream_at_any_time() {
    let end = "</stream:stream>";
    let before = "<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
    let mut house = House::new(settings(), None);
    house.hear([HEADER, before, end].concat());
    assert_eq!(house.events, [Event::Closed(Some(Condition::PolicyViolation.into()))]);
    assert!(house.said().ends_with(end) && house.stream.is_over());
    let mut house = House::bound();
    house.hear([end, "<message/>"].concat());
    assert_eq!((house.said().as_str(), house.events.as_slice()), (end, &[Event::Closed(None)][..]));
    assert!(house.stream.is_over() && !house.stream.wants_bytes());
}

#[test]
fn a_bad_stanza_with_a_good_head_is_answered_and_the_stream_lives() {
    for (input, condition) in [
        ("<iq type='get' id='1' to='@'><x xmlns='y'/></iq>", "jid-malformed"),
        ("<iq type='subscribe' id='1'><x xmlns='y'/></iq>", "bad-request"),
        ("<iq type='get' id='1'/>", "bad-request"),
        ("<iq type='set' id='1'><x xmlns='y'/><x xmlns='y'/></iq>", "bad-request"),
        ("<iq type='get'><x xmlns='y'/></iq>", "bad-request"),
        ("<presence type='absent' id='1'/>", "bad-request"),
        ("<message id='1' to='a@@b'><body/></message>", "jid-malformed"),
    ] {
        let mut house = House::bound();
        house.hear(input);
        let said = house.said();
        assert!(said.contains(&format!("<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>")), "{said}");
        assert!(said.contains("type='error'"), "{said}");
        assert_eq!(said.contains("id='1'"), input.contains("id='1'"), "{said}");
        assert!(matches!(house.events.as_slice(), [Event::Malformed { .. }]));
        house.hear("<presence/>");
        assert!(matches!(house.events.last(), Some(Event::Stanza(_))));
    }
    // An answer is never answered.
    let mut house = House::bound();
    house.hear("<iq type='error' id='1' to='@'/><message type='error' to='@'/>");
    assert_eq!((house.said().as_str(), house.events.len()), ("", 2));
}

#[test]
fn the_sender_may_name_itself() {
    let mut house = House::bound();
    house.hear("<message from='juliet@im.example.com'/><message from='Juliet@IM.example.com/balcony'/>");
    assert_eq!(house.events.len(), 2);
    assert!(house.events.iter().all(|event| matches!(event, Event::Stanza(_))));
}
