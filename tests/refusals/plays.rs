//! What takes more than one other server, or more than one stream, to try. Each play is a row of the table, too.

use std::sync::Arc;
use std::time::Duration;

use chirrup::s2s::Door;

use super::called::{self, Manners};
use super::caller::Act::{LogsIn, Opens, Says, Secures};
use super::caller::{AUTH, Caller};
use super::certificates::Shown;
use super::street::{Guest, MONTAGUE, Neighbours, Street};

/// A row whose play is below.
pub struct Play {
    pub when: &'static str,
    pub by: &'static str,
    /// What the other server is told.
    pub told: &'static [&'static str],
}

const LENIENT: &str = "require_valid_certificate = false";
const NO_EXTERNAL: &str = "EXTERNAL is not offered";
const PARIS: &str = "192.0.2.4";
/// A server of paris.lit that takes keys.
const COLLECTOR: Manners = Manners { shows: Shown::OtherName, ..called::OLD };

pub const ROWS: &[Play] = &[
    STOLEN_KEY,
    RELAYED_KEY,
    QUESTIONS,
    SOMEBODY_ELSES_STREAM,
    IMPOSSIBLE_RESUMPTION,
    TOO_MANY_STREAMS,
    WRONG_WAY,
    POSH_FOR_ANOTHER,
    POSH_NONSENSE,
    MANY_KEYS,
];

fn caller(street: &Street, neighbours: &Neighbours, shown: Shown) -> Caller {
    let shown = street.foundry.show(shown).map(Arc::new);
    Caller::at(&neighbours.juliet.house, Door::StartTls, shown)
}

/// A house at montague.lit that shows paris.lit a key of its own.
async fn collected(street: &Street, manners: Manners) -> String {
    street.name("paris.lit", PARIS);
    let paris = called::open(street, &format!("{PARIS}:5269"), manners);
    let montague = street.house(&["montague.lit"], MONTAGUE, LENIENT).await;
    let romeo = Guest::new(&montague, "romeo@montague.lit/orchard");
    romeo.say("helen@paris.lit", "1").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let keys = paris.keys.lock().unwrap();
    keys.first().expect("a key is shown").0.clone()
}

const STOLEN_KEY: Play = Play {
    when: "a key is shown that montague.lit has shown to paris.lit",
    by: "XEP-0220 3, XEP-0185 4",
    told: &[NO_EXTERNAL, "result invalid", "closed"],
};

#[tokio::test(start_paused = true)]
async fn a_key_that_was_shown_to_another() {
    let street = Street::new();
    let neighbours = Neighbours::settle(&street, LENIENT).await;
    let key = collected(&street, COLLECTOR).await;
    let mut thief = caller(&street, &neighbours, Shown::OtherName);
    thief.act(Secures).await;
    thief.act(Opens).await;
    thief.say(&format!("<db:result from='montague.lit' to='capulet.lit'>{key}</db:result>")).await;
    assert_eq!(thief.wire.told, STOLEN_KEY.told);
    neighbours.greet("after").await;
}

const RELAYED_KEY: Play = Play {
    when: "the same, and paris.lit has given its stream the identifier of ours",
    by: "XEP-0220 3, XEP-0185 4",
    told: &[NO_EXTERNAL, "result invalid", "closed"],
};

#[tokio::test(start_paused = true)]
async fn a_key_that_was_shown_to_another_on_a_stream_with_our_identifier() {
    let street = Street::new();
    let neighbours = Neighbours::settle(&street, LENIENT).await;
    let mut thief = caller(&street, &neighbours, Shown::OtherName);
    thief.act(Secures).await;
    thief.act(Opens).await;
    let header: &'static str = called::HEADER.replace("{id}", &thief.wire.id).leak();
    let key = collected(&street, Manners { header_secure: header, ..COLLECTOR }).await;
    thief.say(&format!("<db:result from='montague.lit' to='capulet.lit'>{key}</db:result>")).await;
    assert_eq!(thief.wire.told, RELAYED_KEY.told);
    neighbours.greet("after").await;
}

const QUESTIONS: Play = Play {
    when: "we are asked about a key of ours, then about it for another stream, for another domain, and by another",
    by: "XEP-0220 2.2.2, XEP-0185 4",
    told: &[NO_EXTERNAL, "verify valid", "verify invalid", "verify invalid", "verify invalid"],
};

#[tokio::test(start_paused = true)]
async fn a_key_of_ours_is_good_for_one_stream_of_one_pair() {
    let street = Street::new();
    let neighbours = Neighbours::settle(&street, "").await;
    street.name("paris.lit", PARIS);
    let paris = called::open(&street, &format!("{PARIS}:5269"), COLLECTOR);
    neighbours.juliet.say("helen@paris.lit", "1").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (key, id) = paris.keys.lock().unwrap().first().cloned().unwrap();
    let mut asking = caller(&street, &neighbours, Shown::Nothing);
    asking.act(Secures).await;
    asking.act(Opens).await;
    for (from, to, id) in [
        ("paris.lit", "capulet.lit", &*id),
        ("paris.lit", "capulet.lit", "another"),
        ("paris.lit", "rosaline.lit", &id),
        ("montague.lit", "capulet.lit", &id),
    ] {
        asking.say(&format!("<db:verify from='{from}' to='{to}' id='{id}'>{key}</db:verify>")).await;
    }
    assert_eq!(asking.wire.told, QUESTIONS.told);
}

const SOMEBODY_ELSES_STREAM: Play = Play {
    when: "a stream of montague.lit is resumed by paris.lit: while it lives, and when it is lost; its own server then does",
    by: "XEP-0198 5",
    told: &["failed item-not-found", "failed item-not-found"],
};

/// Logs in as paris.lit.
async fn log_in_as_paris(street: &Street, neighbours: &Neighbours) -> Caller {
    let mut paris = caller(street, neighbours, Shown::OtherName);
    paris.act(Secures).await;
    let header = super::caller::HEADER.replace("montague.lit", "paris.lit");
    for text in [&*header, AUTH, &header] {
        paris.say(text).await;
    }
    paris
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_resumed_by_whose_it_is() {
    let street = Street::new();
    let neighbours = Neighbours::settle(&street, "").await;
    let mut owner = caller(&street, &neighbours, Shown::Good);
    owner.act(LogsIn).await;
    owner.act(Says("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")).await;
    let id = owner.wire.resumption.clone();
    assert!(!id.is_empty());
    let resume = format!("<resume xmlns='urn:xmpp:sm:3' h='0' previd='{id}'/>");
    let mut told = Vec::new();
    for is_lost in [false, true] {
        if is_lost {
            owner.wire.cut();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let mut paris = log_in_as_paris(&street, &neighbours).await;
        paris.say(&resume).await;
        told.extend(paris.wire.told);
    }
    assert_eq!(told, SOMEBODY_ELSES_STREAM.told);
    let mut owner = caller(&street, &neighbours, Shown::Good);
    owner.act(LogsIn).await;
    owner.say(&resume).await;
    assert_eq!(owner.wire.told, ["resumed"]);
    neighbours.greet("after").await;
}

const IMPOSSIBLE_RESUMPTION: Play = Play {
    when: "a stream is resumed of which more was handled than was sent",
    by: "XEP-0198 5",
    told: &["stream error undefined-condition (handled-count-too-high)"],
};

#[tokio::test(start_paused = true)]
async fn a_stream_is_resumed_of_which_more_was_handled_than_was_sent() {
    let street = Street::new();
    let neighbours = Neighbours::settle(&street, "").await;
    let mut owner = caller(&street, &neighbours, Shown::Good);
    owner.act(LogsIn).await;
    owner.act(Says("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")).await;
    let id = owner.wire.resumption.clone();
    owner.wire.cut();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut owner = caller(&street, &neighbours, Shown::Good);
    owner.act(LogsIn).await;
    owner.say(&format!("<resume xmlns='urn:xmpp:sm:3' h='1' previd='{id}'/>")).await;
    assert_eq!(owner.wire.told, IMPOSSIBLE_RESUMPTION.told);
    neighbours.greet("after").await;
}

const TOO_MANY_STREAMS: Play = Play {
    when: "a domain has more streams than it may",
    by: "RFC 6120 4.9.3.17",
    told: &["stream error resource-constraint"],
};

#[tokio::test(start_paused = true)]
async fn a_domain_has_its_share_of_streams() {
    let street = Street::new();
    let neighbours = Neighbours::settle(&street, "connections_per_domain_max = 2").await;
    let mut all = Vec::new();
    for number in 0..3 {
        let mut caller = caller(&street, &neighbours, Shown::Good);
        caller.act(LogsIn).await;
        let told = if number < 2 { &[] } else { TOO_MANY_STREAMS.told };
        assert_eq!(caller.wire.told, told, "{number}");
        all.push(caller);
    }
    neighbours.greet("after").await;
    all.clear();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut again = caller(&street, &neighbours, Shown::Good);
    again.act(LogsIn).await;
    assert_eq!(again.wire.told, [""; 0], "a place was given back");
}

const WRONG_WAY: Play = Play {
    when: "it wants stanzas both ways: it gets those for its own domain, and no others",
    by: "XEP-0288 2.2",
    told: &["message"],
};

#[tokio::test(start_paused = true)]
async fn nobody_gets_what_is_for_another_domain() {
    let street = Street::new();
    let neighbours = Neighbours::settle(&street, "").await;
    street.name("montague.lit", MONTAGUE);
    let montague = called::open(&street, &format!("{MONTAGUE}:5269"), called::GOOD);
    let mut paris = caller(&street, &neighbours, Shown::OtherName);
    paris.act(Secures).await;
    let header = super::caller::HEADER.replace("montague.lit", "paris.lit");
    for text in [&*header, "<bidi xmlns='urn:xmpp:bidi'/>", AUTH, &header] {
        paris.say(text).await;
    }
    for (to, id) in [("helen@paris.lit", "1"), ("romeo@montague.lit", "2"), ("a@im.paris.lit", "3")] {
        neighbours.juliet.say(to, id).await;
    }
    paris.act(super::caller::Act::Waits(5)).await;
    assert_eq!(paris.wire.told, WRONG_WAY.told);
    assert_eq!(*montague.told.lock().unwrap(), [["message"]]);
}

const POSH_FOR_ANOTHER: Play = Play {
    when: "the certificate is for another name, and the domain publishes fingerprints of others (POSH)",
    by: "RFC 7711 3.3",
    told: &[NO_EXTERNAL],
};
const POSH_NONSENSE: Play = Play {
    when: "the certificate is for another name, and what the domain publishes makes no sense (POSH)",
    by: "RFC 7711 3.1",
    told: &[NO_EXTERNAL],
};

/// A web server at montague.lit that gives everybody this document.
fn publish(street: &Street, document: &'static str) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    street.name("montague.lit", MONTAGUE);
    let made = street.foundry.good(&["montague.lit"]);
    let acceptor = tokio_rustls::TlsAcceptor::from(super::certificates::server(&made, None));
    let mut listener = street.dialer.listen(format!("{MONTAGUE}:443").parse().unwrap(), Duration::ZERO);
    tokio::spawn(async move {
        while let Some(wire) = listener.recv().await {
            let Ok(mut secure) = acceptor.accept(wire).await else { continue };
            let mut asked = [0; 4096];
            let _the_question = secure.read(&mut asked).await;
            let length = document.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{document}"
            );
            let _unheard = secure.write_all(answer.as_bytes()).await;
            let _anyway = secure.shutdown().await;
        }
    });
}

#[tokio::test(start_paused = true)]
async fn fingerprints_of_other_certificates_prove_nothing() {
    let other = r#"{"fingerprints":[{"sha-256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}],"expires":3600}"#;
    for (document, play) in [(other, &POSH_FOR_ANOTHER), ("<html/>", &POSH_NONSENSE), ("{}", &POSH_NONSENSE)] {
        let street = Street::new();
        publish(&street, document);
        let neighbours = Neighbours::settle(&street, "").await;
        let mut caller = caller(&street, &neighbours, Shown::OtherName);
        caller.act(Secures).await;
        caller.act(Opens).await;
        assert_eq!(caller.wire.told, play.told, "{document}");
        // And where we dial.
        called::open(&street, &format!("{MONTAGUE}:5269"), COLLECTOR);
        neighbours.juliet.say("romeo@montague.lit", "1").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let heard = neighbours.juliet.heard();
        let (what, stanza) = heard.first().expect("an answer");
        assert_eq!(what, "1: remote-server-timeout");
        let text = stanza.error().and_then(|error| error.text).unwrap_or_default();
        assert!(text.contains("POSH"), "{text}");
        neighbours.greet("after").await;
    }
}

const MANY_KEYS: Play = Play {
    when: "strangers show keys of hundreds of domains whose machines do not answer: our own stanzas leave as ever",
    by: "XEP-0220 2.5",
    told: &[NO_EXTERNAL],
};

#[tokio::test(start_paused = true)]
async fn keys_to_verify_do_not_keep_stanzas_from_leaving() {
    let street = Street::new();
    let neighbours = Neighbours::settle(&street, LENIENT).await;
    street.name("montague.lit", MONTAGUE);
    let montague = called::open(&street, &format!("{MONTAGUE}:5269"), called::GOOD);
    street.dialer.silence("192.0.2.66:5269".parse().unwrap());
    let mut strangers = Vec::new();
    for stranger in 0..10 {
        let mut caller = caller(&street, &neighbours, Shown::Nothing);
        caller.act(Secures).await;
        caller.act(Opens).await;
        let mut keys = String::new();
        for number in 0..60 {
            let domain = format!("d{stranger}-{number}.lit");
            street.name(&domain, "192.0.2.66");
            keys += &format!("<db:result from='{domain}' to='capulet.lit'>0123</db:result>");
        }
        strangers.push((caller, keys));
    }
    for (caller, keys) in &mut strangers {
        caller.wire.say(keys).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Sooner than any of those can be given up.
    neighbours.juliet.say("romeo@montague.lit", "1").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(*montague.told.lock().unwrap(), [["message"]]);
    neighbours.greet("after").await;
    for (caller, _) in &mut strangers {
        caller.wire.hear(Duration::from_millis(10)).await;
        assert_eq!(caller.wire.told, MANY_KEYS.told);
    }
}
