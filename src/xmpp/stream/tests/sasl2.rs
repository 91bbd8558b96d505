//! SASL2 with all that goes with it (XEP-0388, 0386, 0484, 0480, 0509, 0474, 0515), as it is spoken.

use super::super::entry::{Proof, Token};
use super::*;
use crate::limits::Limits;
use crate::sasl::client::{Binding, ClientExchange};
use crate::sasl::token::{self, TokenMechanism};
use crate::sasl::{ChannelBinding, decode_message, encode_message};

pub(super) const CLIENT: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";
pub(super) const TOKEN: &str = "a token";
/// `\0juliet\0r0m30myr0m30`
const SECRET: &str = "AGp1bGlldAByMG0zMG15cjBtMzA=";

/// What the house does of what is asked: resumes `old`, binds where the tag is not `refused`, gives tokens.
pub(super) fn enter(wishes: &Wishes) -> Result<Entered, Failure> {
    let jid = |resource: &str| wishes.account.with_resource(resource).unwrap();
    let resumed = wishes.resume.as_ref().map(|(previd, _)| match &**previd {
        "old" => Ok(Resumed { jid: jid("old"), acks: Acks::default() }),
        "liar" => Err(ResumeFailed::Impossible(Condition::UndefinedCondition.into())),
        _ => Err(ResumeFailed::not_found(Some(3))),
    });
    let bound = wishes.bind.as_ref().map(|bind| match bind.tag.as_deref() {
        Some("refused") => Err(StanzaError::resource_constraint()),
        tag => Ok(Bound {
            jid: jid(&format!("{}/1", tag.unwrap_or("none"))),
            acks: bind.acks.map(|_| Enabled::default()),
            inside: bind.features.iter().map(|_| Bytes::from_static(b"<done xmlns='x'/>")).collect(),
        }),
    });
    let token = wishes.token.map(|_| Token { secret: TOKEN.into(), expiry: "2026-12-01T00:00:00Z".into() });
    Ok(Entered { resumed, bound, token })
}

pub(super) fn with_sasl2() -> Settings {
    Settings {
        sasl2: Some(Sasl2 {
            bind_features: vec!["urn:xmpp:carbons:2".into()],
            tokens: TokenMechanism::ALL.to_vec(),
            upgrades: vec![Hash::Sha512],
        }),
        acks: true,
        client_states: true,
        tells_limits: true,
        idle_seconds: Some(600),
        ..settings()
    }
}

fn house() -> House {
    House::new(with_sasl2(), Some(facts()))
}

fn authenticate(mechanism: &str, inside: &str) -> String {
    format!("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{mechanism}'>{inside}</authenticate>")
}

fn plain(inside: &str) -> String {
    authenticate("PLAIN", &format!("<initial-response>{SECRET}</initial-response>{inside}"))
}

fn shown(mechanism: &str, token: &str, channel: &[u8], inside: &str) -> String {
    let message = encode_message(&token::show("juliet", token, channel));
    let agent = format!("<user-agent id='{CLIENT}'/>");
    authenticate(mechanism, &format!("<initial-response>{message}</initial-response>{agent}{inside}"))
}

const FAST: &str = "<fast xmlns='urn:xmpp:fast:0'/>";
const BIND2: &str = "<bind xmlns='urn:xmpp:bind:0'><tag>Balcony</tag></bind>";

fn failure(condition: &str) -> String {
    format!("<failure xmlns='urn:xmpp:sasl:2'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></failure>")
}

#[test]
fn it_is_offered_under_tls_and_nowhere_else() {
    let mut house = house();
    house.hear(HEADER);
    let said = house.said();
    let offer = "<inline><bind xmlns='urn:xmpp:bind:0'><inline><feature var='urn:xmpp:carbons:2'/>\
        <feature var='urn:xmpp:csi:0'/><feature var='urn:xmpp:sm:3'/></inline></bind><sm xmlns='urn:xmpp:sm:3'/>\
        <fast xmlns='urn:xmpp:fast:0'><mechanism>HT-SHA-256-EXPR</mechanism><mechanism>HT-SHA-256-ENDP</mechanism>\
        <mechanism>HT-SHA-256-NONE</mechanism></fast></inline>\
        <upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-512</upgrade></authentication>";
    assert!(said.contains(offer), "{said}");
    assert!(said.contains("<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>16384</max-bytes></limits>"), "{said}");
    assert!(said.contains("<config-version xmlns='urn:xmpp:iap:0' scheme='opaque' value='"), "{said}");
    assert_eq!(said.matches("<sasl-channel-binding").count(), 1);

    let mut clear = House::new(Settings { tls: Tls::Optional, ..with_sasl2() }, None);
    clear.hear(HEADER);
    assert!(!clear.said().contains("urn:xmpp:sasl:2"));
    clear.hear(plain(""));
    assert_eq!(clear.said(), failure("encryption-required"));
    let mut old = House::new(settings(), Some(facts()));
    old.hear(HEADER);
    old.said();
    old.hear(plain(""));
    assert_eq!(old.ended(), Condition::UnsupportedStanzaType);
}

#[test]
fn without_wishes_the_stream_goes_on_where_it_is() {
    let mut house = house();
    house.hear([HEADER, &plain(""), BIND, "<presence/>"].concat());
    let said = house.said();
    let success = "<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>juliet@im.example.com\
        </authorization-identifier></success><stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>";
    assert!(said.contains(success), "{said}");
    assert_eq!(said.matches("<stream:stream").count(), 1);
    let after = said.split_once("</success>").unwrap().1;
    assert!(after.contains("<max-bytes>262144</max-bytes><idle-seconds>600</idle-seconds>") && !after.contains("sasl"));
    assert_eq!(house.stream.jid().unwrap().as_str(), "juliet@im.example.com/balcony");
    assert!(matches!(house.events.last(), Some(Event::Stanza(_))));
}

#[test]
fn a_resource_with_all_that_belongs_to_it() {
    let mut house = house();
    let agent = format!(
        "<user-agent id='{}'><software>  A{}</software><device>Kiva's\u{7f} Phone</device></user-agent>",
        CLIENT.to_uppercase(),
        "\u{e9}".repeat(300)
    );
    let bind = "<bind xmlns='urn:xmpp:bind:0'><tag>Awesome</tag><enable xmlns='urn:xmpp:carbons:2'/>\
        <enable xmlns='urn:xmpp:sm:3' resume='true' max='30'/><inactive xmlns='urn:xmpp:csi:0'/></bind>\
        <request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-ENDP'/>";
    house.hear([HEADER, &plain(&[&agent, bind].concat()), "<r xmlns='urn:xmpp:sm:3'/>"].concat());
    let said = house.said();
    let success = "<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>juliet@im.example.com/Awesome/1\
        </authorization-identifier><bound xmlns='urn:xmpp:bind:0'><enabled xmlns='urn:xmpp:sm:3'/><done xmlns='x'/></bound>\
        <token xmlns='urn:xmpp:fast:0' expiry='2026-12-01T00:00:00Z' token='a token'/></success><stream:features>";
    assert!(said.contains(success), "{said}");
    let after = said.split_once("</success>").unwrap().1;
    assert!(!after.contains("xmpp-bind"), "{after}");
    let Some(Event::Enter(wishes)) = house.events.first() else { panic!("{:?}", house.events) };
    assert_eq!(wishes.agent.id.as_deref(), Some(CLIENT));
    let software = wishes.agent.software.as_deref().unwrap();
    assert!(software.starts_with('A') && software.len() <= 256, "{software}");
    assert_eq!(wishes.agent.device.as_deref(), Some("Kiva's Phone"));
    let bind = wishes.bind.as_ref().unwrap();
    assert_eq!(bind.acks, Some((true, Some(30))));
    assert_eq!((bind.is_active, bind.features.len()), (Some(false), 1));
    assert_eq!(wishes.token, Some(TokenMechanism::EndPoint));
    assert!(house.events.contains(&Event::Inactive), "{:?}", house.events);
    assert!(house.stream.acks().is_some());
}

#[test]
fn an_earlier_stream_comes_before_a_resource() {
    let resume = |previd: &str, h: &str| format!("<resume xmlns='urn:xmpp:sm:3' previd='{previd}' h='{h}'/>{BIND2}");
    for (previd, h, expected, bound) in [
        ("old", "1", "<resumed xmlns='urn:xmpp:sm:3' h='0' previd='old'/></success>", "old"),
        ("gone", "1", "<failed xmlns='urn:xmpp:sm:3' h='3'><item-not-found ", "Balcony/1"),
        ("old", "x", "<failed xmlns='urn:xmpp:sm:3'><bad-request ", "Balcony/1"),
    ] {
        let mut house = house();
        house.hear([HEADER, &plain(&resume(previd, h))].concat());
        let said = house.said();
        assert!(said.contains(expected), "{said}");
        assert_eq!(house.stream.jid().unwrap().resource(), bound);
        assert_eq!(said.contains("<bound "), bound != "old");
        assert_eq!(house.stream.acks().is_some(), bound == "old");
    }
    let mut house = house();
    house.hear([HEADER, &plain(&resume("liar", "7"))].concat());
    assert_eq!(house.ended(), Condition::UndefinedCondition);
}

#[test]
fn a_resource_that_is_refused_can_be_asked_for_again() {
    let mut house = house();
    let refused = BIND2.replace("Balcony", "refused");
    house.hear([HEADER, &plain(&refused), BIND].concat());
    let said = house.said();
    let failed = "<failed xmlns='urn:xmpp:bind:0'><resource-constraint \
        xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed></success>";
    assert!(said.contains(failed), "{said}");
    assert_eq!(house.stream.jid().unwrap().resource(), "balcony");
}

/// SCRAM from first to last; chance is the same every time.
fn scram(mechanism: &str, hash: Hash, settings: Settings, inside: &str) -> (String, String) {
    let binding = Binding::Bound(ChannelBinding::TlsExporter, facts().exporter.unwrap());
    let mut client = ClientExchange::new(hash, binding, None, "juliet", PASSWORD, "nonce", None);
    let first = encode_message(client.first().as_bytes());
    let inside = format!("<initial-response>{first}</initial-response>{inside}");
    let first = [HEADER, &authenticate(mechanism, &inside)].concat();
    let mut house = House::new(settings, Some(facts()));
    house.hear(&first);
    let said = house.said();
    let challenge = said.rsplit_once("<challenge xmlns='urn:xmpp:sasl:2'>").unwrap().1.split_once('<').unwrap().0;
    let challenge = decode_message(challenge).unwrap();
    let last = encode_message(client.respond(&challenge).unwrap().as_bytes());
    let response = format!("<response xmlns='urn:xmpp:sasl:2'>{last}</response>");
    (first + &response, String::from_utf8(challenge).unwrap())
}

#[test]
fn what_was_offered_is_part_of_the_proof() {
    let (conversation, challenge) = scram("SCRAM-SHA-256-PLUS", Hash::Sha256, with_sasl2(), BIND2);
    let offered = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"];
    let bindings = ["tls-exporter", "tls-server-end-point"];
    let hash = crate::sasl::downgrade::hash(Hash::Sha256, &offered, Some(&bindings));
    assert!(challenge.ends_with(&format!(",i=16,h={hash},t=0304")), "{challenge}");
    let mut house = house();
    house.hear(&conversation);
    let said = house.said();
    assert!(said.contains("<success xmlns='urn:xmpp:sasl:2'><additional-data>dj"), "{said}");
    assert_eq!(house.stream.jid().unwrap().as_str(), "juliet@im.example.com/Balcony/1");
}

#[test]
fn however_the_bytes_are_cut() {
    let (conversation, _) = scram("SCRAM-SHA-256-PLUS", Hash::Sha256, with_sasl2(), BIND2);
    let conversation = conversation + "<presence/></stream:stream>";
    let hear = |pieces: Vec<&[u8]>| {
        let mut house = house();
        pieces.into_iter().for_each(|piece| house.hear(piece));
        (house.said(), format!("{:?}", house.events), house.stream.is_over())
    };
    let whole = hear(vec![conversation.as_bytes()]);
    assert!(whole.2 && whole.1.contains("Presence"), "{whole:?}");
    assert_eq!(hear(conversation.as_bytes().chunks(1).collect()), whole);
    for at in 0..conversation.len() {
        let (left, right) = conversation.as_bytes().split_at(at);
        assert_eq!(hear(vec![left, right]), whole, "cut at {at}");
    }
}

#[test]
fn a_token_lets_its_client_in_where_it_is_bound_to() {
    let channel = facts().exporter.unwrap();
    let end_point = facts().server_end_point.unwrap();
    for (mechanism, channel) in
        [("HT-SHA-256-EXPR", &*channel), ("HT-SHA-256-ENDP", &*end_point), ("HT-SHA-256-NONE", &[])]
    {
        let mut house = house();
        house.hear([HEADER, &shown(mechanism, TOKEN, channel, &[FAST, BIND2].concat())].concat());
        let said = house.said();
        let answer = said.split_once("<additional-data>").unwrap().1.split_once('<').unwrap().0;
        assert!(token::is_answered(&decode_message(answer).unwrap(), TOKEN, channel));
        assert_eq!(house.stream.jid().unwrap().resource(), "Balcony/1");
        let Some(Event::Enter(wishes)) = house.events.last() else { panic!() };
        assert!(matches!(wishes.proof, Proof::Token { invalidate: false, .. }));
    }
    let other_client = shown("HT-SHA-256-EXPR", TOKEN, &channel, FAST).replace("d4565fa7", "00000000");
    let nameless = shown("HT-SHA-256-EXPR", TOKEN, &channel, FAST).replace(&format!(" id='{CLIENT}'"), "");
    for (wrong, condition) in [
        (shown("HT-SHA-256-EXPR", "another token", &channel, FAST), "not-authorized"),
        (shown("HT-SHA-256-EXPR", TOKEN, b"another channel", FAST), "not-authorized"),
        (shown("HT-SHA-256-EXPR", TOKEN, &channel, ""), "invalid-mechanism"),
        (shown("HT-SHA-256-UNIQ", TOKEN, &channel, FAST), "invalid-mechanism"),
        (shown("HT-SHA-256-EXPR", TOKEN, &channel, "<fast xmlns='urn:xmpp:fast:0' count='-1'/>"), "malformed-request"),
        (other_client, "not-authorized"),
        (nameless, "malformed-request"),
    ] {
        let mut house = house();
        house.hear([HEADER, &wrong].concat());
        let said = house.said();
        assert!(said.ends_with(&failure(condition)), "{wrong}: {said}");
    }
}

#[test]
fn keys_of_another_hash_are_left_behind() {
    let mut house = house();
    let next = "<next xmlns='urn:xmpp:sasl:2' task='UPGR-SCRAM-SHA-512'/>";
    let upgrade = "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-512</upgrade>";
    house.hear([HEADER, &plain(&[upgrade, BIND2].concat()), next].concat());
    let said = house.said();
    let tasks = "<continue xmlns='urn:xmpp:sasl:2'><tasks><task>UPGR-SCRAM-SHA-512</task></tasks></continue>\
        <task-data xmlns='urn:xmpp:sasl:2'><salt xmlns='urn:xmpp:scram-upgrade:0' iterations='10000'>";
    let salt = said.split_once(tasks).unwrap().1.split_once('<').unwrap().0;
    let keys = Keys::derive(Hash::Sha512, PASSWORD, &decode_message(salt).unwrap(), 10_000).unwrap();
    let salted = Hash::Sha512.stretch(PASSWORD.as_bytes(), &decode_message(salt).unwrap(), 10_000);
    let data = format!(
        "<task-data xmlns='urn:xmpp:sasl:2'><hash xmlns='urn:xmpp:scram-upgrade:0'>{}</hash></task-data>",
        encode_message(&salted)
    );
    house.hear(data);
    let Some(Event::Upgrade { hash: Hash::Sha512, keys: left, .. }) = house.events.first() else { panic!() };
    assert_eq!(**left, keys);
    assert!(house.said().contains("/Balcony/1</authorization-identifier>"));

    // Whoever has only a token cannot set a password with it.
    let mut house = self::house();
    let channel = facts().exporter.unwrap();
    house.hear([HEADER, &shown("HT-SHA-256-EXPR", TOKEN, &channel, &[FAST, upgrade].concat())].concat());
    assert!(house.said().contains("<success "));
}

#[test]
fn tasks_are_done_as_they_are_set() {
    let upgrade = plain("<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>UPGR-SCRAM-SHA-512</upgrade>");
    let next = "<next xmlns='urn:xmpp:sasl:2' task='UPGR-SCRAM-SHA-512'/>";
    let data = |hash: &str| {
        let hash = format!("<hash xmlns='urn:xmpp:scram-upgrade:0'>{hash}</hash>");
        format!("<task-data xmlns='urn:xmpp:sasl:2'>{hash}</task-data>")
    };
    for (wrong, condition) in [
        (next.replace("512", "256"), "invalid-mechanism"),
        (data("AAAA"), "malformed-request"),
        ([next, next].concat(), "malformed-request"),
        ([next, &data("AAAA")].concat(), "malformed-request"),
        ([next, &data("not base64!")].concat(), "incorrect-encoding"),
        ([next, "<task-data xmlns='urn:xmpp:sasl:2'/>"].concat(), "malformed-request"),
        ("<abort xmlns='urn:xmpp:sasl:2'/>".to_owned(), "aborted"),
    ] {
        let mut house = house();
        house.hear([HEADER, &upgrade, &wrong].concat());
        let said = house.said();
        assert!(said.ends_with(&failure(condition)), "{wrong}: {said}");
        assert!(house.events.is_empty(), "nobody is in: {:?}", house.events);
    }
    let mut house = house();
    house.hear([HEADER, &upgrade, &plain("")].concat());
    assert_eq!(house.ended(), Condition::PolicyViolation);
}

#[test]
fn who_knows_the_features_need_not_wait_for_them() {
    let mut first = house();
    first.hear(HEADER);
    let said = first.said();
    let version = said.split_once("scheme='opaque' value='").unwrap().1.split_once('\'').unwrap().0.to_owned();
    let said_before =
        |version: &str| format!("<config-version xmlns='urn:xmpp:iap:0' scheme='opaque' value='{version}'/>");
    let mut known = house();
    let flight = [HEADER, &plain(&[BIND2, &said_before(&version)].concat()), "<presence/>"].concat();
    known.hear(flight);
    assert!(matches!(known.events.last(), Some(Event::Stanza(_))), "one flight and nothing waited for");
    let mut changed = house();
    changed.hear([HEADER, &plain(&[BIND2, &said_before("other")].concat()), &plain(BIND2)].concat());
    let said = changed.said();
    let mismatch = "<failure xmlns='urn:xmpp:sasl:2'><aborted xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>\
        <config-version-mismatch xmlns='urn:xmpp:iap:0'/></failure><success ";
    assert!(said.contains(mismatch), "{said}");
    let settings = Settings { mechanisms: vec![Mechanism::Plain], ..with_sasl2() };
    let mut other = House::new(settings, Some(facts()));
    other.hear(HEADER);
    assert!(!other.said().contains(&version), "other features have another version");
}

#[test]
fn what_is_wrong_is_told_and_counted() {
    let wrong = plain("").replace(SECRET, "AGp1bGlldAB4");
    for (said, condition) in [
        (authenticate("BLURDYBLOOP", ""), "invalid-mechanism"),
        ("<authenticate xmlns='urn:xmpp:sasl:2'/>".to_owned(), "invalid-mechanism"),
        (wrong.clone(), "not-authorized"),
        (plain("").replace(SECRET, "!!"), "incorrect-encoding"),
        (plain("<user-agent id='me'/>"), "malformed-request"),
        (authenticate("EXTERNAL", "<initial-response/>"), "invalid-mechanism"),
        ("<response xmlns='urn:xmpp:sasl:2'/>".to_owned(), "malformed-request"),
        ("<abort xmlns='urn:xmpp:sasl:2'/>".to_owned(), "malformed-request"),
    ] {
        let mut house = house();
        house.hear([HEADER, &said].concat());
        let answer = house.said();
        assert!(answer.ends_with(&failure(condition)), "{said}: {answer}");
        // It may be tried again, by either profile.
        house.hear(plain(BIND2));
        assert!(house.stream.jid().is_some());
    }
    let mut house = house();
    house.hear(
        [HEADER, &wrong.repeat(3), PLAIN.replace("AGp1bGlldAByMG0zMG15cjBtMzA=", "AGp1bGlldAB4").as_str()].concat(),
    );
    assert_eq!(house.ended(), Condition::PolicyViolation, "the limit is the same for both together");
}

#[test]
fn nothing_else_is_heard_during_an_authentication() {
    let begun = [HEADER, &authenticate("PLAIN", "")].concat();
    for between in ["<presence/>", PLAIN, BIND, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", &plain("")] {
        let mut house = house();
        house.hear([&begun, between].concat());
        assert_eq!(house.ended(), Condition::PolicyViolation, "{between}");
    }
    for after in [plain(""), PLAIN.to_owned()] {
        let mut house = house();
        house.hear([HEADER, &plain(""), &after].concat());
        assert_eq!(house.ended(), Condition::NotAuthorized, "{after}");
    }
}

#[test]
fn nobody_is_let_in_as_somebody_else() {
    let mut house = house();
    house.hear([&HEADER.replace("juliet@", "romeo@"), &*plain(BIND2)].concat());
    assert!(house.said().ends_with(&failure("invalid-authzid")));
    assert!(house.events.is_empty());
}

#[test]
fn thousands_of_wishes_are_too_many() {
    let bind = format!("<bind xmlns='urn:xmpp:bind:0'>{}</bind>", "<a xmlns='b'/>".repeat(1000));
    let mut house = house();
    house.hear([HEADER, &plain(&bind)].concat());
    assert_eq!(house.ended(), Condition::PolicyViolation);
    assert!(house.events.iter().all(|event| matches!(event, Event::Closed(_))));
}

#[test]
fn what_does_not_fit_before_authentication_is_not_half_read_after_it() {
    let settings = Settings { unauthenticated_bytes_max: 1024, limits: Limits::client(), ..with_sasl2() };
    let mut house = House::new(settings, Some(facts()));
    let long = format!("<message><body>{}</body></message>", "x".repeat(2000));
    house.hear([HEADER, &plain(BIND2), &long].concat());
    assert_eq!(house.ended(), Condition::PolicyViolation);
}
