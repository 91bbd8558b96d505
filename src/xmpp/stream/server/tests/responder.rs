//! Who is answered, what is offered, and who proves itself by its certificate (RFC 6120 sections 4.7 and 6,
//! XEP-0178 section 3).

use super::*;

const SASL: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";

fn auth(identity: &str) -> String {
    AUTH.replace('=', "\0").replacen("\0</auth>", &format!("{identity}</auth>"), 1).replace('\0', "=")
}

#[test]
fn the_header_is_answered_with_one() {
    let mut house = House::accept(settings(), None);
    house.hear(HEADER);
    let said = house.said();
    let expected = format!(
        "<?xml version='1.0'?><stream:stream from='montague.example' id='{}' to='capulet.example' version='1.0' \
         xml:lang='en' xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
         xmlns:db='jabber:server:dialback'>",
        house.stream.id()
    );
    assert!(said.starts_with(&expected), "{said}");
}

#[test]
fn the_caller_says_what_is_offered_to_whom() {
    let mechanisms = format!("<mechanisms {SASL}><mechanism>EXTERNAL</mechanism></mechanisms>");
    let dialback = "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>";
    let bidi = "<bidi xmlns='urn:xmpp:features:bidi'/>";
    let sm = "<sm xmlns='urn:xmpp:sm:3'/>";
    let limits = "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>524288</max-bytes>\
                  <idle-seconds>600</idle-seconds></limits><x xmlns='urn:example'/>";
    for (permitted, offered) in [
        (BOTH, [&mechanisms, dialback, bidi, sm, limits].concat()),
        (EXTERNAL, [&mechanisms, bidi, limits].concat()),
        (DIALBACK, [dialback, bidi, sm, limits].concat()),
        (Permitted::default(), [bidi, limits].concat()),
    ] {
        let idle_time_max = Some(Duration::from_secs(600));
        let features = vec!["<x xmlns='urn:example'/>".into()];
        let mut house = House::accept(Settings { idle_time_max, features, ..settings() }, Some(facts()));
        house.stream.handle_bytes(HEADER.as_bytes());
        let opened = Event::Opened { from: Some(PEER.into()), to: OURS.into() };
        assert_eq!(house.stream.poll_event(), Some(opened));
        assert!(!house.stream.wants_bytes());
        house.stream.handle_opened(permitted);
        let features = ["<stream:features>", &offered, "</stream:features>"].concat();
        assert_says(&house.said(), "<stream:features>", &features);
        assert!(house.stream.wants_bytes());
    }
}

#[test]
fn what_the_house_does_not_do_is_not_offered() {
    let off = Settings { external: false, dialback: false, bidi: false, acks: false, ..settings() };
    let mut house = House::accept(off, Some(facts()));
    house.hear(HEADER);
    let limits = "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>524288</max-bytes></limits>";
    assert_says(&house.said(), "<stream:features>", &format!("<stream:features>{limits}</stream:features>"));
    house.hear(AUTH);
    assert_eq!(house.said(), format!("<failure {SASL}><invalid-mechanism/></failure>"));
    house.hear(BIDI);
    assert_eq!(house.ended(), Condition::UnsupportedStanzaType);
}

#[test]
fn a_certificate_without_a_name_to_check_it_for_is_nothing() {
    let mut house = House::accept(settings(), Some(facts()));
    house.hear(HEADER.replace("from='capulet.example' ", ""));
    assert!(!house.said().contains("EXTERNAL"));
    house.hear(AUTH);
    assert_eq!(house.said(), format!("<failure {SASL}><invalid-mechanism/></failure>"));
}

#[test]
fn in_the_clear_there_is_no_certificate() {
    let mut house = House::accept(Settings { tls: crate::stream::Tls::Optional, ..settings() }, None);
    house.hear(HEADER);
    let said = house.said();
    assert!(said.contains("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>") && !said.contains("EXTERNAL"));
    assert!(said.contains("dialback"), "{said}");
    house.hear(AUTH);
    assert_eq!(house.said(), format!("<failure {SASL}><invalid-mechanism/></failure>"));
}

#[test]
fn a_header_that_makes_no_sense_is_answered_and_refused() {
    for (from, to, condition) in [
        ("to='montague.example'", "to='verona.example'", Condition::HostUnknown),
        ("to='montague.example'", "to='romeo@montague.example'", Condition::HostUnknown),
        // There are two to choose from.
        (" to='montague.example'", "", Condition::HostUnknown),
        ("from='capulet.example'", "from='@'", Condition::InvalidFrom),
        ("from='capulet.example'", "from='juliet@capulet.example'", Condition::InvalidFrom),
        ("from='capulet.example'", "from='montague.example'", Condition::InvalidFrom),
        ("from='capulet.example'", "from='chat.montague.example'", Condition::InvalidFrom),
        ("xmlns='jabber:server'", "xmlns='jabber:client'", Condition::InvalidNamespace),
        ("xmlns='jabber:server'", "xmlns='urn:example'", Condition::InvalidNamespace),
        (" version='1.0' xmlns=", " version='2.0' xmlns=", Condition::UnsupportedVersion),
        (" version='1.0' xmlns=", " version='one' xmlns=", Condition::UnsupportedVersion),
        ("<stream:stream", "<!DOCTYPE x><stream:stream", Condition::RestrictedXml),
    ] {
        for tls in [None, Some(facts())] {
            let mut house = House::accept(settings(), tls);
            house.hear(HEADER.replacen(from, to, 1));
            let said = String::from_utf8(house.out.clone()).unwrap();
            assert!(said.starts_with("<?xml version='1.0'?><stream:stream from='montague.example'"), "{said}");
            assert_eq!(house.ended(), condition, "{to}");
            assert_eq!(house.events.len(), 1);
        }
    }
}

#[test]
fn a_header_without_a_version_is_from_before_there_were_features() {
    let old = HEADER.replace(" version='1.0' xmlns=", " xmlns=");
    let mut house = House::accept(settings(), None);
    house.hear(&old);
    assert_eq!(house.ended(), Condition::UnsupportedVersion);
    let mut house = House::accept(Settings { tls: crate::stream::Tls::Optional, ..settings() }, None);
    house.hear(&old);
    assert!(!house.said().contains("features"));
    house.hear([&request(PEER, OURS), MESSAGE].concat());
    assert_eq!(house.said(), format!("<db:result from='{OURS}' to='{PEER}' type='valid'/>"));
    assert!(matches!(house.events[..], [Event::Heard { .. }, Event::Stanza(_)]));
}

#[test]
fn external_proves_the_domain_to_all_of_ours() {
    // `capulet.example`, as it is and as XEP-0288 prints it.
    for identity in ["=", "Y2FwdWxldC5leGFtcGxl", "\n  Y2FwdWxldC5leGFtcGxl\n"] {
        let mut house = House::accepted(&[HEADER]);
        house.hear(auth(identity));
        assert_eq!((house.said().as_str(), house.happened()), (SUCCESS, vec![]));
        house.hear(HEADER);
        let said = house.said();
        assert!(said.starts_with("<?xml") && !said.contains("EXTERNAL") && !said.contains("bidi"), "{said}");
        assert!(said.contains("<sm xmlns='urn:xmpp:sm:3'/>"), "{said}");
        let heard = Event::Heard { from: PEER.into(), to: None, by: Proof::External };
        assert_eq!(house.happened(), [heard]);
        assert!(house.stream.may_hear(PEER, OURS) && house.stream.may_hear(PEER, CHAT));
        assert!(!house.stream.may_hear("rooms.capulet.example", OURS) && !house.stream.may_send(OURS, PEER));
        assert_eq!(house.stream.poll_timeout(), None);
    }
}

#[test]
fn external_asks_for_what_it_needs() {
    let mut house = House::accepted(&[HEADER]);
    house.hear(auth(""));
    assert_eq!(house.said(), format!("<challenge {SASL}/>"));
    house.hear(format!("<response {SASL}/>"));
    assert_eq!(house.said(), SUCCESS);
}

#[test]
fn another_identity_is_for_the_certificate_to_prove() {
    // `rooms.capulet.example`
    let rooms = auth("cm9vbXMuY2FwdWxldC5leGFtcGxl");
    let mut house = House::accepted(&[HEADER]);
    house.certified.push("rooms.capulet.example");
    house.hear(&rooms);
    assert_eq!(house.said(), SUCCESS);
    house.hear(HEADER.replace("from='capulet", "from='rooms.capulet"));
    assert!(house.stream.may_hear("rooms.capulet.example", OURS) && !house.stream.may_hear(PEER, OURS));
    let mut house = House::accepted(&[HEADER]);
    house.hear(&rooms);
    assert_eq!(house.said(), format!("<failure {SASL}><invalid-authzid/></failure>"));
    // While the certificate is looked at, nothing is read.
    let mut house = House::accepted(&[HEADER]);
    house.stream.handle_bytes([&rooms, MESSAGE].concat().as_bytes());
    let asked = Event::Authenticate { domain: "rooms.capulet.example".into() };
    assert_eq!((house.stream.poll_event(), house.stream.poll_event()), (Some(asked), None));
    assert!(!house.stream.wants_bytes());
    house.stream.close(None);
    house.stream.handle_external(true);
    assert_eq!(house.said(), "</stream:stream>");
    assert!(!house.stream.may_hear("rooms.capulet.example", OURS));
}

#[test]
fn a_failed_external_is_told_why_and_may_be_followed_by_dialback() {
    for (element, failure) in [
        // `juliet@capulet.example`, `montague.example`, 0xff
        (auth("anVsaWV0QGNhcHVsZXQuZXhhbXBsZQ=="), "invalid-authzid"),
        (auth("bW9udGFndWUuZXhhbXBsZQ=="), "invalid-authzid"),
        (auth("/w=="), "invalid-authzid"),
        (auth("?"), "incorrect-encoding"),
        (AUTH.replace("EXTERNAL", "PLAIN"), "invalid-mechanism"),
        (format!("<response {SASL}>=</response>"), "malformed-request"),
        (format!("<abort {SASL}/>"), "aborted"),
    ] {
        let mut house = House::accepted(&[HEADER]);
        house.hear(&element);
        assert_eq!(house.said(), format!("<failure {SASL}><{failure}/></failure>"), "{element}");
        house.hear(request(PEER, OURS));
        assert_eq!(house.said(), format!("<db:result from='{OURS}' to='{PEER}' type='valid'/>"));
    }
    let mut house = House::accepted(&[HEADER]);
    house.hear(auth("?").repeat(3));
    assert_eq!(house.ended(), Condition::PolicyViolation);
}

#[test]
fn a_peer_stays_who_it_has_proven_to_be() {
    for (from, to, condition) in [
        ("from='capulet.example'", "from='verona.example'", Condition::InvalidFrom),
        ("to='montague.example'", "to='chat.montague.example'", Condition::NotAuthorized),
    ] {
        let mut house = House::accepted(&[HEADER]);
        house.hear([AUTH, &HEADER.replacen(from, to, 1)].concat());
        assert_eq!(house.ended(), condition);
    }
    let mut house = House::trusting();
    house.hear(AUTH);
    assert_eq!(house.ended(), Condition::NotAuthorized);
    // Nor does it change its mind while its key is being verified.
    let mut house = House::accepted(&[HEADER]);
    house.verdict = None;
    house.hear([&request(PEER, OURS), AUTH].concat());
    assert_eq!(house.ended(), Condition::NotAuthorized);
}

#[test]
fn strangers_are_bounded_in_bytes_and_time() {
    let mut house = House::accept(settings(), Some(facts()));
    house.hear(HEADER);
    assert_eq!(house.stream.poll_timeout(), Some(Duration::from_secs(60)));
    house.hear(" ".repeat(70_000));
    assert_eq!(house.ended(), Condition::PolicyViolation);
    let mut house = House::accept(settings(), Some(facts()));
    house.hear([HEADER, "<db:result from='capulet.example'>", &"x".repeat(20_000)].concat());
    assert_eq!(house.ended(), Condition::PolicyViolation);
    let mut house = House::accepted(&[HEADER]);
    house.stream.handle_timeout();
    house.work();
    assert_eq!(house.ended(), Condition::ConnectionTimeout);
    // Not so a peer.
    let mut house = House::trusting();
    house.hear(" ".repeat(70_000));
    house.hear(MESSAGE.replace("Ay me!", &"x".repeat(20_000)));
    assert!(matches!(house.events[..], [Event::Stanza(_)]));
    house.stream.handle_timeout();
    assert_eq!(house.stream.poll_event(), None);
}

#[test]
fn what_nobody_knows_ends_the_stream() {
    for element in [
        "<x xmlns='urn:example'/>",
        "<stream:features/>",
        PROCEED,
        "<sm xmlns='urn:xmpp:sm:3'/>",
        "<db:other from='capulet.example' to='montague.example'/>",
        "<enabled xmlns='urn:xmpp:sm:3'/>",
        "<resumed xmlns='urn:xmpp:sm:3' h='0' previd='x'/>",
    ] {
        let mut house = House::trusting();
        house.hear(element);
        let condition = if element == PROCEED { None } else { Some(Condition::UnsupportedStanzaType) };
        match condition {
            Some(condition) => assert_eq!(house.ended(), condition, "{element}"),
            None => assert_eq!(house.ending(), Ending::Closed),
        }
    }
}

#[test]
fn the_peer_ends_the_stream() {
    let error = "<stream:error><host-gone xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>";
    let mut house = House::trusting();
    house.hear([error, "</stream:stream>"].concat());
    assert_eq!(house.ending(), Ending::Theirs(Condition::HostGone.into()));
    assert!(house.stream.is_over() && house.events.len() == 1);
    let mut house = House::trusting();
    house.hear("</stream:stream>");
    assert_eq!(house.ending(), Ending::Closed);
    assert!(house.stream.is_over());
    let error = "<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>evil.example\
                 </see-other-host></stream:error>";
    let mut house = House::trusting();
    house.hear(error);
    let Ending::Theirs(error) = house.ending() else { panic!("not theirs") };
    assert_eq!(error.to_string(), "undefined-condition (see-other-host evil.example)");
}
