//! Links that are cut: what is resumed arrives once and in order, what is in doubt is answered.

use std::collections::BTreeSet;
use std::time::Duration;

use xmpp::stanza::Condition;

use super::{Guest, Street, two};

const ROMEO: &str = "romeo@montague.lit/orchard";
const JULIET: &str = "juliet@capulet.lit/balcony";

/// Says so many things while the wires are cut now and then.
async fn talk(street: &Street, one: &Guest, other: &Guest, count: usize, between: Duration) {
    for number in 0..count {
        one.say(ROMEO, number.to_string()).await;
        other.say(JULIET, number.to_string()).await;
        if number % 7 == 3 {
            crate::runtime::pause(between).await;
        }
        if number % 20 == 19 {
            street.cut();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_cut_off_is_resumed_in_order_and_nothing_comes_twice() {
    for (name, s2s) in [("cut", ""), ("cut-no-bidi", "bidi = false\n")] {
        for between in [0, 1, 30, 700] {
            let (street, juliet, romeo) = two(&format!("{name}-{between}"), s2s).await;
            talk(&street, &juliet, &romeo, 200, Duration::from_millis(between)).await;
            let all: Vec<String> = (0..200).map(|number| number.to_string()).collect();
            assert_eq!(romeo.hear_ids(200).await, all, "{name} {between}");
            assert_eq!(juliet.hear_ids(200).await, all, "{name} {between}");
            crate::runtime::pause(Duration::from_secs(600)).await;
            assert!(romeo.take().is_none() && juliet.take().is_none(), "nothing twice");
        }
    }
}

const PLAIN: &str = "stream_management = false\nbidi = false\nconfirm_by_ping = false\n";
const PINGED: &str = "stream_management = false\nconfirm_by_ping = true\nbidi = ";

#[tokio::test(start_paused = true)]
async fn without_acknowledgements_pings_tell_what_has_to_be_answered() {
    let mut answered = 0;
    for (bidi, between) in [(false, 0), (false, 30), (true, 200)] {
        let (street, juliet, romeo) = two(&format!("cut-pinged-{bidi}-{between}"), &format!("{PINGED}{bidi}\n")).await;
        talk(&street, &juliet, &romeo, 200, Duration::from_millis(between)).await;
        crate::runtime::pause(Duration::from_secs(600)).await;
        // What romeo hears and what juliet is told about are hers, and the other way round.
        let mut accounted = [BTreeSet::new(), BTreeSet::new()];
        for (guest, other) in [(&romeo, 0), (&juliet, 1)] {
            while let Some(stanza) = guest.take() {
                let is_answer = stanza.error().is_some();
                answered += usize::from(is_answer);
                let number: u32 = stanza.head.id.unwrap().parse().unwrap();
                accounted[if is_answer { 1 - other } else { other }].insert(number);
            }
        }
        let all: BTreeSet<u32> = (0..200).collect();
        assert_eq!(accounted, [all.clone(), all], "bidi {bidi}, {between} ms");
    }
    assert!(answered > 0, "some were in doubt");
}

#[tokio::test(start_paused = true)]
async fn without_acknowledgements_each_stanza_arrives_or_not_and_in_order() {
    let (street, juliet, romeo) = two("cut-plain", PLAIN).await;
    talk(&street, &juliet, &romeo, 200, Duration::from_millis(30)).await;
    crate::runtime::pause(Duration::from_secs(600)).await;
    let mut last = None;
    let mut count = 0;
    while let Some(stanza) = romeo.take() {
        let number: u32 = stanza.head.id.unwrap().parse().unwrap();
        assert!(last.is_none_or(|last| last < number));
        last = Some(number);
        count += 1;
    }
    assert!(count > 100, "{count}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_resumed_is_answered() {
    let (street, juliet, romeo) = two("cut-doubt", "bidi = false\n").await;
    juliet.say(ROMEO, "0").await;
    assert_eq!(romeo.hear_ids(1).await, ["0"]);
    crate::runtime::pause(Duration::from_secs(5)).await;
    // Nobody reads at the other end any more; then the machine is gone for good, and another comes in its place.
    for wire in street.wires.lock().unwrap().iter() {
        wire.abort();
    }
    juliet.say(ROMEO, "1").await;
    romeo.house.federation.stop().await;
    let another = street.house("montague.lit", "192.0.2.2", super::CLEAR, "").await;
    let romeo = Guest::new(&another, ROMEO).await;
    juliet.say(ROMEO, "2").await;
    let mut heard = Vec::new();
    for _ in 0..600 {
        heard.extend(romeo.take().map(|stanza| stanza.head.id.unwrap()));
        if let Some(reply) = juliet.take() {
            assert_eq!(reply.error().unwrap().condition, Condition::RemoteServerTimeout);
            heard.push(reply.head.id.unwrap());
        }
        crate::runtime::pause(Duration::from_secs(1)).await;
    }
    heard.sort();
    assert_eq!(heard, [Box::from("1"), Box::from("2")], "each is delivered or answered, and once");
}
