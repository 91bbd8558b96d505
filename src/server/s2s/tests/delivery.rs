//! Stanzas get there, in order, both ways, and whoever cannot be reached is said to be so.

use std::time::Duration;

use xmpp::stanza::Condition;

use super::{Guest, links, two};

const ROMEO: &str = "romeo@montague.lit/orchard";
const JULIET: &str = "juliet@capulet.lit/balcony";

fn numbers(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| number.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn stanzas_arrive_in_order_both_ways() {
    for (name, s2s, connections) in
        [("both", "", 1), ("no-bidi", "bidi = false\n", 2), ("plain", "bidi = false\nstream_management = false\n", 2)]
    {
        let (_street, juliet, romeo) = two(name, s2s).await;
        for number in 0..500 {
            juliet.say(ROMEO, number.to_string()).await;
        }
        assert_eq!(romeo.hear_ids(500).await, numbers(0, 500));
        for number in 0..500 {
            romeo.say(JULIET, number.to_string()).await;
        }
        assert_eq!(juliet.hear_ids(500).await, numbers(0, 500));
        assert_eq!(links(&juliet).len(), connections, "{name}: {:?}", links(&juliet));
        let all_as_expected = links(&romeo).iter().all(|(_, _, by, _)| by.as_deref() == Some("dialback"));
        assert!(all_as_expected, "{name}: {:?}", links(&romeo));
    }
}

#[tokio::test(start_paused = true)]
async fn both_may_begin_at_once() {
    let (_street, juliet, romeo) = two("at-once", "").await;
    for number in 0..200 {
        juliet.say(ROMEO, number.to_string()).await;
        romeo.say(JULIET, number.to_string()).await;
        if number % 50 == 0 {
            crate::runtime::pause(Duration::from_millis(1)).await;
        }
    }
    assert_eq!(romeo.hear_ids(200).await, numbers(0, 200));
    assert_eq!(juliet.hear_ids(200).await, numbers(0, 200));
}

#[tokio::test(start_paused = true)]
async fn a_domain_that_does_not_exist_is_said_not_to_at_once_and_for_a_while() {
    let (street, juliet, _romeo) = two("nowhere", "").await;
    juliet.say("tybalt@nowhere.lit", "1").await;
    let error = juliet.hear().await.error().unwrap();
    assert_eq!(error.condition, Condition::RemoteServerNotFound);
    let asked = street.resolver.asked().len();
    juliet.say("tybalt@nowhere.lit", "2").await;
    let reply = juliet.take().expect("at once");
    assert_eq!(reply.error().unwrap().condition, Condition::RemoteServerNotFound);
    assert_eq!(street.resolver.asked().len(), asked, "nobody is asked again");
    crate::runtime::pause(Duration::from_secs(61)).await;
    juliet.say("tybalt@nowhere.lit", "3").await;
    juliet.hear().await.error().unwrap();
    assert!(street.resolver.asked().len() > asked);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_back_gets_what_waited_and_one_that_does_not_is_given_up() {
    let (street, juliet, romeo) = two("back", "queue_seconds_max = 100\n").await;
    let address = "192.0.2.2:5269".parse().unwrap();
    street.dialer.refuse(address, Duration::ZERO);
    juliet.say(ROMEO, "0").await;
    juliet.say(ROMEO, "1").await;
    crate::runtime::pause(Duration::from_secs(20)).await;
    street.put(&romeo.house, "montague.lit", "192.0.2.2");
    assert_eq!(romeo.hear_ids(2).await, numbers(0, 2));

    street.cut();
    romeo.house.federation.stop().await;
    street.dialer.refuse(address, Duration::ZERO);
    crate::runtime::pause(Duration::from_secs(10)).await;
    juliet.say(ROMEO, "2").await;
    let before = tokio::time::Instant::now();
    let error = juliet.hear().await.error().unwrap();
    assert_eq!(error.condition, Condition::RemoteServerTimeout);
    assert!(before.elapsed() >= Duration::from_secs(90), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn idle_links_close_and_open_again() {
    let (street, juliet, romeo) = two("idle", "idle_seconds = 60\n").await;
    for round in 0..3 {
        juliet.say(ROMEO, round.to_string()).await;
        assert_eq!(romeo.hear_ids(1).await, [round.to_string()]);
        crate::runtime::pause(Duration::from_secs(130)).await;
        assert_eq!((links(&juliet), links(&romeo)), (vec![], vec![]), "round {round}");
    }
    // One for the stream and one for verifying its key, each time; the others asked for POSH.
    let dialled = street.dialer.dialled().into_iter().filter(|address| address.port() == 5269).count();
    assert_eq!(dialled, 6);
}

#[tokio::test(start_paused = true)]
async fn errors_are_not_answered_and_a_full_queue_refuses_the_newest() {
    let (street, juliet, _romeo) = two("full", "queue_bytes_max = 2000\n").await;
    street.dialer.silence("192.0.2.2:5269".parse().unwrap());
    let mut refused = 0;
    for number in 0..20 {
        juliet.say(ROMEO, number.to_string()).await;
        if let Some(reply) = juliet.take() {
            assert_eq!(reply.error().unwrap().condition, Condition::ResourceConstraint);
            assert_eq!(reply.head.id.unwrap().parse::<usize>().unwrap(), number);
            refused += 1;
        }
    }
    assert!((5..15).contains(&refused), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_house_that_stops_says_so_and_loses_nothing() {
    let (_street, juliet, romeo) = two("stop", "").await;
    juliet.say(ROMEO, "0").await;
    assert_eq!(romeo.hear_ids(1).await, numbers(0, 1));
    for number in 1..100 {
        juliet.say(ROMEO, number.to_string()).await;
    }
    juliet.house.federation.stop().await;
    assert_eq!(romeo.hear_ids(99).await, numbers(1, 100));
    assert_eq!((juliet.house.federation.links(), romeo.house.federation.links()), (0, 0));
    juliet.say(ROMEO, "100").await;
    assert!(juliet.hear().await.error().is_some());
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_to_nobody_has_no_link() {
    let (street, juliet, romeo) = two("silent", "").await;
    crate::runtime::pause(Duration::from_secs(3600)).await;
    assert!(links(&juliet).is_empty() && links(&romeo).is_empty() && street.dialer.dialled().is_empty());
    let _another = Guest::new(&juliet.house, "nurse@capulet.lit/hall").await;
}
