//! A client and a server joined by two queues of bytes.

use super::client::{Client, Ending, Event as ClientEvent, Login};
use super::*;
use crate::sasl::Hash;

/// Lets both talk until neither has anything to say, `size` bytes at a time; returns what happened to the client.
fn converse(client: &mut Client, house: &mut House, size: usize) -> Vec<ClientEvent> {
    let mut events = Vec::new();
    loop {
        let mut up = Vec::new();
        client.poll_transmit(&mut up);
        for piece in up.chunks(size) {
            house.hear(piece);
        }
        let is_secured = house.events.last() == Some(&Event::StartTls);
        let down = house.said();
        for piece in down.as_bytes().chunks(size) {
            client.handle_bytes(piece);
            while let Some(event) = client.poll_event() {
                if event == ClientEvent::StartTls {
                    assert!(is_secured);
                    client.handle_secured(facts());
                    house.stream.handle_secured(facts());
                    house.events.clear();
                }
                events.push(event);
            }
        }
        if up.is_empty() && down.is_empty() {
            return events;
        }
    }
}

fn login() -> Login {
    Login::new(BareJid::new("juliet@im.example.com").unwrap(), PASSWORD, "clientnonce")
}

fn bound(resource: &str) -> ClientEvent {
    ClientEvent::Bound(FullJid::new(&format!("juliet@im.example.com/{resource}")).unwrap())
}

#[test]
fn over_starttls_however_the_bytes_are_cut() {
    for size in [1, 2, 7, 64, 100_000] {
        let mut house = House::new(settings(), None);
        let mut client = Client::open(Login { resource: Some("balcony".into()), ..login() }, None);
        let events = converse(&mut client, &mut house, size);
        assert_eq!(events, [ClientEvent::StartTls, bound("balcony")]);
        assert_eq!(house.stream.jid(), client.jid());
    }
}

#[test]
fn over_direct_tls_with_each_mechanism() {
    for mechanism in Mechanism::ALL.into_iter().skip(1) {
        let mut house = House::new(Settings { mechanisms: Mechanism::ALL.to_vec(), ..settings() }, Some(facts()));
        // A client that could not bind does not claim that it was not let.
        let mechanisms = vec![mechanism];
        let mut client = Client::open(Login { mechanisms, ..login() }, Some(facts()));
        assert_eq!(converse(&mut client, &mut house, 50), [bound("chosen")], "{mechanism}");
        assert_eq!(client.take_salted().map(|(hash, _)| hash), mechanism.hash());
    }
}

#[test]
fn again_with_what_was_left_of_the_last_time() {
    let mut house = House::new(settings(), Some(facts()));
    let mut client = Client::open(login(), Some(facts()));
    converse(&mut client, &mut house, 50);
    let salted = client.take_salted();
    assert!(matches!(salted, Some((Hash::Sha256, _))));
    // The password is not needed any more.
    let login = Login { salted, password: Password::new("forgotten"), ..login() };
    let mut house = House::new(settings(), Some(facts()));
    let mut client = Client::open(login, Some(facts()));
    assert_eq!(converse(&mut client, &mut house, 50), [bound("chosen")]);
}

#[test]
fn in_the_clear_only_when_told_to() {
    let open = || Settings { tls: Tls::Unavailable, ..settings() };
    let mut client = Client::open(login(), None);
    let events = converse(&mut client, &mut House::new(open(), None), 50);
    assert_eq!(events, [ClientEvent::Closed(Ending::NoCommonFeature("TLS"))]);
    let mut client = Client::open(Login { may_be_clear: true, ..login() }, None);
    assert_eq!(converse(&mut client, &mut House::new(open(), None), 50), [bound("chosen")]);
}

#[test]
fn somebody_in_the_middle_is_noticed() {
    // The client's channel ends at somebody else, who has another of his own with us.
    let theirs = TlsFacts {
        exporter: Some(vec![1; 32]),
        server_end_point: Some(vec![2; 32]),
        version: "1.3",
        client_certificate: None,
    };
    let mut client = Client::open(login(), Some(theirs));
    let events = converse(&mut client, &mut House::new(settings(), Some(facts())), 50);
    assert_eq!(events, [ClientEvent::Closed(Ending::NotAuthenticated("not-authorized".into()))]);
}

#[test]
fn a_wrong_password() {
    let mut client = Client::open(Login { password: Password::new("wrong"), ..login() }, Some(facts()));
    let events = converse(&mut client, &mut House::new(settings(), Some(facts())), 50);
    assert_eq!(events, [ClientEvent::Closed(Ending::NotAuthenticated("not-authorized".into()))]);
}

#[test]
fn stanzas_both_ways_and_a_goodbye() {
    let mut house = House::new(settings(), Some(facts()));
    let mut client = Client::open(login(), Some(facts()));
    converse(&mut client, &mut house, 50);
    house.events.clear();
    let hello: Stanza = Stanza::parse(
        Bytes::from_static(b"<message xml:lang='cs'><body>hello</body></message>"),
        &crate::limits::Limits::client(),
    )
    .unwrap();
    client.send(&hello);
    house.stream.send(&hello);
    assert_eq!(converse(&mut client, &mut house, 3), [ClientEvent::Stanza(hello.clone())]);
    assert_eq!(house.events, [Event::Stanza(hello)]);
    house.stream.close(Some(Condition::SystemShutdown.into()));
    let events = converse(&mut client, &mut house, 3);
    assert_eq!(events, [ClientEvent::Closed(Ending::Refused(Condition::SystemShutdown.into()))]);
    assert!(house.stream.is_over());
}
