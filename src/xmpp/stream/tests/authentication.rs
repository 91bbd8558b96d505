//! SASL on the stream: what is offered, how it fails, and how often it may (RFC 6120 section 6, XEP-0440).

use super::*;
use crate::sasl::client::{Binding, ClientExchange};
use crate::sasl::{ChannelBinding, decode_message, encode_message};

fn auth(mechanism: &str, message: &[u8]) -> String {
    let message = encode_message(message);
    format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>{message}</auth>")
}

fn response(message: &[u8]) -> String {
    format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{}</response>", encode_message(message))
}

fn failure(name: &str) -> String {
    format!("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><{name}/></failure>")
}

fn opened() -> House {
    let mut house = House::new(settings(), Some(facts()));
    house.hear(HEADER);
    house.out.clear();
    house
}

/// The character data of the one element that was said.
fn data(said: &str) -> Vec<u8> {
    decode_message(said.split_once('>').unwrap().1.split_once('<').unwrap().0).unwrap()
}

fn scram(house: &mut House, mechanism: Mechanism, binding: Binding, username: &str, password: &str) -> String {
    let hash = mechanism.hash().unwrap();
    let mut client = ClientExchange::new(hash, binding, None, username, password, "clientnonce", None);
    house.hear(auth(mechanism.name(), client.first().as_bytes()));
    let challenge = house.said();
    if challenge.contains("<failure") {
        return challenge;
    }
    house.hear(response(client.respond(&data(&challenge)).unwrap().as_bytes()));
    let said = house.said();
    if said.contains("<success") {
        client.finish(&data(&said)).unwrap();
    }
    said
}

fn bound_to(kind: ChannelBinding) -> Binding {
    Binding::Bound(kind, facts().binding(kind).unwrap().to_vec())
}

#[test]
fn everything_is_offered_under_tls() {
    let mut house = House::new(settings(), Some(facts()));
    house.hear(HEADER);
    let said = house.said();
    let (header, features) = said.split_once("<stream:features>").unwrap();
    assert!(header.contains(" to='juliet@im.example.com'"));
    assert_eq!(
        features,
        "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-256-PLUS</mechanism>\
         <mechanism>SCRAM-SHA-1-PLUS</mechanism><mechanism>SCRAM-SHA-256</mechanism>\
         <mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism></mechanisms>\
         <sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/>\
         <channel-binding type='tls-server-end-point'/></sasl-channel-binding></stream:features>"
    );
    // TLS 1.2 without extended master secret has no exporter to bind to.
    let mut house = House::new(settings(), Some(TlsFacts { exporter: None, ..facts() }));
    house.hear(HEADER);
    assert!(!house.said().contains("tls-exporter"));
    let mut house = House::new(settings(), Some(TlsFacts { exporter: None, server_end_point: None, ..facts() }));
    house.hear(HEADER);
    let said = house.said();
    assert!(!said.contains("PLUS") && !said.contains("sasl-cb"));
}

#[test]
fn scram_in_every_variant() {
    for mechanism in [Mechanism::ScramSha1, Mechanism::ScramSha256] {
        let said = scram(&mut opened(), mechanism, Binding::Unsupported, "juliet", PASSWORD);
        assert!(said.starts_with("<success"), "{said}");
    }
    for mechanism in [Mechanism::ScramSha1Plus, Mechanism::ScramSha256Plus] {
        for kind in ChannelBinding::ALL {
            let mut house = opened();
            let said = scram(&mut house, mechanism, bound_to(kind), "juliet", PASSWORD);
            assert!(said.starts_with("<success"), "{said}");
            assert_eq!(house.events, [Event::Authenticated(BareJid::new("juliet@im.example.com").unwrap())]);
        }
    }
}

#[test]
fn localparts_are_prepared() {
    let mut house = opened();
    let said = scram(&mut house, Mechanism::ScramSha256, Binding::Unsupported, "Juliet", PASSWORD);
    assert!(said.starts_with("<success"));
    let said = scram(&mut opened(), Mechanism::ScramSha256, Binding::Unsupported, "juli et", PASSWORD);
    assert_eq!(said, failure("not-authorized"));
}

#[test]
fn an_unknown_account_fails_like_a_wrong_password() {
    let challenge = |username: &str| {
        let mut house = opened();
        house.hear(auth("SCRAM-SHA-256", format!("n,,n={username},r=x").as_bytes()));
        String::from_utf8(data(&house.said())).unwrap()
    };
    let shape = |challenge: &str| challenge.split(',').map(str::len).collect::<Vec<_>>();
    assert_eq!(shape(&challenge("juliet")), shape(&challenge("nobody")));
    assert_eq!(challenge("nobody"), challenge("nobody"));
    for (username, password) in [("nobody", PASSWORD), ("juliet", "wrong")] {
        let said = scram(&mut opened(), Mechanism::ScramSha256, Binding::Unsupported, username, password);
        assert_eq!(said, failure("not-authorized"));
        let mut house = opened();
        house.hear(auth("PLAIN", format!("\0{username}\0{password}").as_bytes()));
        assert_eq!(house.said(), failure("not-authorized"));
    }
}

#[test]
fn a_downgrade_and_a_stolen_channel_are_noticed() {
    let said = scram(&mut opened(), Mechanism::ScramSha256, Binding::Unoffered, "juliet", PASSWORD);
    assert_eq!(said, failure("not-authorized"));
    let stolen = Binding::Bound(ChannelBinding::TlsExporter, vec![8; 32]);
    let said = scram(&mut opened(), Mechanism::ScramSha256Plus, stolen, "juliet", PASSWORD);
    assert_eq!(said, failure("not-authorized"));
    // In the clear nothing bound is offered, and `y` is the truth.
    let mut house = House::new(Settings { tls: Tls::Optional, ..settings() }, None);
    house.hear(HEADER);
    house.out.clear();
    let said = scram(&mut house, Mechanism::ScramSha256, Binding::Unoffered, "juliet", PASSWORD);
    assert!(said.starts_with("<success"));
}

#[test]
fn failures_have_their_names() {
    let sasl = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
    for (input, expected) in [
        (format!("<abort {sasl}/>"), "aborted"),
        (auth("CRAM-MD5", b""), "invalid-mechanism"),
        (format!("<auth {sasl}/>"), "invalid-mechanism"),
        (auth("PLAIN", b"juliet"), "malformed-request"),
        (format!("<auth {sasl} mechanism='PLAIN'>%%%</auth>"), "incorrect-encoding"),
        (auth("PLAIN", b"romeo@example.net\0juliet\0r0m30myr0m30"), "invalid-authzid"),
        (auth("SCRAM-SHA-1", b"n,,n=juliet"), "malformed-request"),
        (auth("SCRAM-SHA-1", b"p=tls-exporter,,n=juliet,r=x"), "malformed-request"),
        (auth("SCRAM-SHA-1-PLUS", b"n,,n=juliet,r=x"), "malformed-request"),
        (auth("SCRAM-SHA-1-PLUS", b"p=tls-unique,,n=juliet,r=x"), "malformed-request"),
        (response(b"n,,n=juliet,r=x"), "malformed-request"),
    ] {
        let mut house = opened();
        house.hear(&input);
        assert_eq!(house.said(), failure(expected), "{input}");
        assert!(house.events.is_empty());
    }
    let mut house = House::new(Settings { tls: Tls::Optional, ..settings() }, None);
    house.hear([HEADER, PLAIN].concat());
    assert!(house.said().ends_with(&failure("encryption-required")));
}

#[test]
fn what_the_house_cannot_answer_is_said_as_such() {
    for (failed, name) in
        [(Failure::TemporaryAuthFailure, "temporary-auth-failure"), (Failure::AccountDisabled, "account-disabled")]
    {
        let mut stream = opened().stream;
        stream.handle_bytes(PLAIN.as_bytes());
        assert!(matches!(stream.poll_event(), Some(Event::CheckPassword { .. })));
        assert!(!stream.wants_bytes());
        stream.handle_password(Err(failed));
        stream.handle_bytes(auth("SCRAM-SHA-1", b"n,,n=juliet,r=x").as_bytes());
        assert!(matches!(stream.poll_event(), Some(Event::NeedCredentials { .. })));
        stream.handle_credentials(Err(failed));
        let mut out = Vec::new();
        stream.poll_transmit(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), failure(name).repeat(2));
    }
}

#[test]
fn an_initial_response_may_come_later() {
    let mut house = opened();
    house.hear("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>");
    assert_eq!(house.said(), "<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
    house.hear(response(b"\0juliet\0r0m30myr0m30"));
    assert_eq!(house.said(), "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
}

#[test]
fn another_handshake_replaces_one_that_is_under_way() {
    let mut house = opened();
    house.hear(auth("SCRAM-SHA-1", b"n,,n=juliet,r=x"));
    house.out.clear();
    let said = scram(&mut house, Mechanism::ScramSha256, Binding::Unsupported, "juliet", PASSWORD);
    assert!(said.starts_with("<success"));
}

#[test]
fn failures_are_counted() {
    let mut house = opened();
    for _ in 0..3 {
        house.hear(auth("PLAIN", b"\0juliet\0wrong"));
    }
    assert_eq!(house.said(), failure("not-authorized").repeat(3));
    house.hear(auth("PLAIN", b"\0juliet\0wrong"));
    assert!(String::from_utf8_lossy(&house.out).starts_with(&failure("not-authorized")));
    assert_eq!(house.ended(), Condition::PolicyViolation);
    // Two mistakes are forgiven.
    let mut house = opened();
    house.hear([auth("PLAIN", b"\0juliet\0wrong").repeat(2), prelude().replace(HEADER, "").replace(BIND, "")].concat());
    assert!(house.said().ends_with("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"));
}

#[test]
fn who_authenticates_is_who_the_stream_is_from() {
    let mut house = House::new(settings(), Some(facts()));
    house.hear([&HEADER.replace("juliet", "romeo"), PLAIN].concat());
    assert_eq!(house.ended(), Condition::InvalidFrom);
    let mut house = House::new(settings(), Some(facts()));
    house.hear([HEADER, PLAIN, &HEADER.replace("juliet", "romeo")].concat());
    assert_eq!(house.ended(), Condition::InvalidFrom);
    // Nor may it go to another domain of ours.
    let mut house = House::new(settings(), Some(facts()));
    house.hear([HEADER, PLAIN, &HEADER.replace("to='im.example.com'", "to='chat.example'")].concat());
    assert_eq!(house.ended(), Condition::NotAuthorized);
}

#[test]
fn once_is_enough() {
    let mut house = House::new(settings(), Some(facts()));
    house.hear([HEADER, PLAIN, HEADER, PLAIN].concat());
    assert_eq!(house.ended(), Condition::NotAuthorized);
}

#[test]
fn an_empty_list_is_not_offered() {
    let mechanisms = vec![Mechanism::Plain, Mechanism::ScramSha256Plus];
    let mut house = House::new(Settings { tls: Tls::Optional, mechanisms, ..settings() }, None);
    house.hear(HEADER);
    assert!(
        house
            .said()
            .ends_with("<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>")
    );
}
