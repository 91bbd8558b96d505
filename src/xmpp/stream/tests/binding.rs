//! Resource binding (RFC 6120 section 7), registration before it (XEP-0077), and what is offered beside it.

use super::*;

fn authenticated(settings: Settings) -> House {
    let mut house = House::new(settings, Some(facts()));
    house.hear([HEADER, PLAIN].concat());
    house.out.clear();
    house.events.clear();
    house
}

fn bind(inner: &str) -> String {
    format!("<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{inner}</bind></iq>")
}

fn refused(condition: &str) -> String {
    format!("<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>")
}

#[test]
fn the_features_of_an_authenticated_stream() {
    let caps = Bytes::from_static(b"<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' ver='v'/>");
    let rosterver = Bytes::from_static(b"<ver xmlns='urn:xmpp:features:rosterver'/>");
    let features = vec![caps, rosterver];
    let mut house = authenticated(Settings { features, registration: true, ..settings() });
    house.hear(HEADER);
    assert_eq!(
        house.said().split_once("<stream:features>").unwrap().1,
        "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>\
         <session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>\
         <c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' ver='v'/>\
         <ver xmlns='urn:xmpp:features:rosterver'/></stream:features>"
    );
}

#[test]
fn chosen_by_either_side() {
    for (inner, resource) in [
        ("<resource>balcony</resource>", "balcony"),
        ("<resource>a &lt; b</resource>", "a < b"),
        ("", "chosen"),
        ("<resource/>", "chosen"),
    ] {
        let mut house = authenticated(settings());
        house.hear(HEADER);
        house.out.clear();
        house.hear(bind(inner));
        let jid = format!("juliet@im.example.com/{resource}");
        assert_eq!(house.stream.jid().unwrap().as_str(), jid);
        assert_eq!(
            house.said(),
            format!(
                "<iq type='result' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>{}</jid></bind></iq>",
                jid.replace('<', "&lt;")
            )
        );
        assert_eq!(house.stream.domain(), "im.example.com");
    }
}

#[test]
fn refused_and_tried_again() {
    let mut house = authenticated(settings());
    house.hear(HEADER);
    house.out.clear();
    house.hear(bind(&format!("<resource>{}</resource>", "x".repeat(1024))));
    assert!(house.said().contains(&refused("bad-request")));
    house.hear(bind("").replace("set", "get"));
    assert!(house.said().contains(&refused("bad-request")));
    house.hear(bind("").replace(" id='1'", ""));
    assert!(house.said().contains(&refused("bad-request")));
    house.refusal = Some(StanzaError::conflict());
    house.hear(BIND);
    let said = house.said();
    assert!(said.starts_with("<iq type='error' id='b1'><error type='") && said.contains(&refused("conflict")));
    house.refusal = Some(StanzaError::resource_constraint());
    house.hear(BIND);
    assert!(house.said().contains(&refused("resource-constraint")));
    house.hear(BIND);
    assert!(house.stream.jid().is_some());
}

#[test]
fn refused_once_too_often() {
    let mut house = authenticated(settings());
    house.hear(HEADER);
    for _ in 0..6 {
        house.refusal = Some(StanzaError::conflict());
        house.hear(BIND);
    }
    assert_eq!(house.ended(), Condition::PolicyViolation);
}

#[test]
fn stanzas_wait_for_it() {
    for stanza in ["<presence/>", "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>"] {
        let mut house = authenticated(settings());
        house.hear([HEADER, stanza].concat());
        assert_eq!(house.ended(), Condition::NotAuthorized);
    }
}

#[test]
fn stanzas_sent_in_the_same_breath_follow_it() {
    let mut house = authenticated(settings());
    house.hear([HEADER, BIND, "<presence/>", "<message/>"].concat());
    assert_eq!(house.events.len(), 2);
    assert!(house.stream.jid().is_some());
}

#[test]
fn the_old_session_request_is_granted() {
    let mut house = House::bound();
    house.hear("<iq type='set' id='s1'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>");
    let said = house.said();
    assert!(said.starts_with("<iq") && said.contains("type='result'") && said.contains("id='s1'"), "{said}");
    assert!(house.events.is_empty());
}

#[test]
fn registration_where_it_is_permitted() {
    const REGISTER: &str = "<iq type='get' id='r1'><query xmlns='jabber:iq:register'/></iq>";
    let open = || Settings { registration: true, ..settings() };
    let mut house = House::new(open(), Some(facts()));
    house.hear(HEADER);
    assert!(house.said().contains("<register xmlns='http://jabber.org/features/iq-register'/>"));
    house.hear(REGISTER);
    let [Event::Register(request)] = house.events.as_slice() else { panic!("{:?}", house.events) };
    house.stream.send(&Stanza::iq_result(&request.head, None));
    assert!(house.said().contains("id='r1'"));
    house.hear([REGISTER; 8].concat());
    assert_eq!(house.ended(), Condition::PolicyViolation);
    // Not where it is not, nor before a TLS that is required.
    for (settings, tls) in [(settings(), Some(facts())), (open(), None)] {
        let mut house = House::new(settings, tls);
        house.hear([HEADER, REGISTER].concat());
        assert_eq!(house.ended(), Condition::NotAuthorized);
    }
}

#[test]
fn where_only_one_domain_is_served_it_need_not_be_named() {
    let mut house = House::new(Settings { domains: vec!["im.example.com".into()], ..settings() }, Some(facts()));
    house.hear(HEADER.replace(" to='im.example.com'", ""));
    assert!(house.said().contains("<mechanisms"));
    let mut house = House::new(settings(), Some(facts()));
    house.hear(HEADER.replace("im.example.com", "CHAT.example"));
    assert!(house.said().contains("from='chat.example'"));
    assert_eq!(house.stream.domain(), "chat.example");
}

#[test]
fn a_bound_stream_is_small() {
    assert!(size_of::<Stream>() <= 384, "{}", size_of::<Stream>());
    let house = House::bound();
    assert_eq!(house.stream.line.out.capacity(), 0);
    assert_eq!(house.stream.line.framer.buffered(), 0);
    assert!(house.stream.pending.is_none());
}

#[test]
fn a_session_request_to_somebody_else_is_a_stanza() {
    let session = "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>";
    let mut house = House::bound();
    house.hear(format!("<iq type='set' id='s1' to='im.example.com'>{session}</iq>"));
    assert!(house.said().contains("type='result'") && house.events.is_empty());
    house.hear(format!("<iq type='set' id='s1' to='romeo@example.net'>{session}</iq>"));
    assert!(matches!(house.events.as_slice(), [Event::Stanza(_)]));
}
