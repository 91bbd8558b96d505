//! Policy and bounds: who is not wanted, who is too many, who never finishes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xmpp::stanza::Condition;

use super::{CLEAR, Door, Guest, Street, two};

const HEADER: &str = "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' \
                      xmlns:db='jabber:server:dialback' from='montague.lit' to='capulet.lit' version='1.0'>";

#[tokio::test(start_paused = true)]
async fn blocked_domains_are_not_talked_to_in_either_direction() {
    let street = Street::new("blocked");
    let blocking = format!("{CLEAR}[[s2s.domain]]\nname = \"montague.lit\"\naction = \"block\"\n");
    let capulet = street.house("capulet.lit", "192.0.2.1", &blocking, "").await;
    let montague = street.house("montague.lit", "192.0.2.2", CLEAR, "").await;
    let juliet = Guest::new(&capulet, "juliet@capulet.lit/balcony").await;
    let romeo = Guest::new(&montague, "romeo@montague.lit/orchard").await;
    juliet.say("romeo@montague.lit/orchard", "1").await;
    assert_eq!(juliet.take().unwrap().error().unwrap().condition, Condition::NotAllowed);
    assert!(street.dialer.dialled().is_empty());
    romeo.say("juliet@capulet.lit/balcony", "2").await;
    let error = romeo.hear().await.error().unwrap();
    assert_eq!(error.condition, Condition::RemoteServerTimeout);
    assert!(error.text.unwrap().contains("policy-violation"));
}

#[tokio::test(start_paused = true)]
async fn who_never_finishes_is_sent_away_in_time() {
    let (_street, juliet, _romeo) = two("half-open", "handshake_seconds_max = 20\n").await;
    let peer: IpAddr = "192.0.2.9".parse().unwrap();
    let mut wires = Vec::new();
    for (number, says) in ["", "<?xml version='1.0'?>", HEADER, "<stream:stream"].into_iter().enumerate() {
        let (mut near, far) = tokio::io::duplex(4096);
        crate::runtime::start(Arc::clone(&juliet.house).attach_server(Box::new(far), Door::StartTls, peer));
        near.write_all(says.as_bytes()).await.unwrap();
        wires.push((number, near));
    }
    let (near, far) = tokio::io::duplex(4096);
    crate::runtime::start(Arc::clone(&juliet.house).attach_server(Box::new(far), Door::DirectTls, peer));
    wires.push((9, near));
    crate::runtime::pause(Duration::from_secs(25)).await;
    for (number, mut wire) in wires {
        let mut said = String::new();
        wire.read_to_string(&mut said).await.unwrap();
        assert!(number == 9 || said.contains("connection-timeout"), "{number}: {said}");
    }
    assert_eq!(juliet.house.federation.links(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_lies_about_its_domain_is_not_believed() {
    let (_street, juliet, romeo) = two("liar", "").await;
    let peer: IpAddr = "192.0.2.9".parse().unwrap();
    let (mut near, far) = tokio::io::duplex(4096);
    crate::runtime::start(Arc::clone(&juliet.house).attach_server(Box::new(far), Door::StartTls, peer));
    near.write_all(HEADER.as_bytes()).await.unwrap();
    near.write_all(b"<db:result from='montague.lit' to='capulet.lit'>0123456789abcdef</db:result>").await.unwrap();
    near.write_all(b"<message from='romeo@montague.lit' to='juliet@capulet.lit/balcony'/>").await.unwrap();
    let mut said = String::new();
    near.read_to_string(&mut said).await.unwrap();
    assert!(said.contains("not-authorized") || said.contains("type='invalid'"), "{said}");
    assert!(juliet.take().is_none() && romeo.take().is_none());
}

#[tokio::test(start_paused = true)]
async fn one_domain_has_its_share_of_streams() {
    let (_street, juliet, romeo) = two("share", "bidi = false\nconnections_per_domain_max = 2\n").await;
    romeo.say("juliet@capulet.lit/balcony", "1").await;
    assert_eq!(juliet.hear_ids(1).await, ["1"]);
    let registry = &juliet.house.federation.registry;
    let second = registry.admit("montague.lit", 2).expect("one of two");
    assert!(registry.admit("montague.lit", 2).is_none());
    assert!(registry.admit("verona.lit", 2).is_some());
    drop(second);
    romeo.house.federation.stop().await;
    crate::runtime::pause(Duration::from_secs(60)).await;
    assert!(registry.admit("montague.lit", 1).is_some(), "given back");
}

#[tokio::test(start_paused = true)]
async fn a_domain_is_read_at_its_pace_and_loses_nothing() {
    let (_street, juliet, romeo) = two("pace", "read_bytes_per_second_max = 2000\n").await;
    let before = tokio::time::Instant::now();
    for number in 0..200 {
        romeo.say("juliet@capulet.lit/balcony", number.to_string()).await;
    }
    assert_eq!(juliet.hear_ids(200).await.len(), 200);
    // 200 stanzas of some 130 bytes, less what a quiet domain may send at once.
    assert!(before.elapsed() > Duration::from_secs(3), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn several_of_our_domains_share_a_stream_where_dialback_lets_them() {
    let street = Street::new("shared");
    let hosts = "[[host]]\ndomain = \"capulet.lit\"\n[[host]]\ndomain = \"cellar.capulet.lit\"\n";
    let capulet = street.house("capulet.lit", "192.0.2.1", CLEAR, hosts).await;
    street.name("cellar.capulet.lit", "192.0.2.1");
    let montague = street.house("montague.lit", "192.0.2.2", CLEAR, "").await;
    let juliet = Guest::new(&capulet, "juliet@capulet.lit/balcony").await;
    let nurse = Guest::new(&capulet, "nurse@cellar.capulet.lit/wine").await;
    let romeo = Guest::new(&montague, "romeo@montague.lit/orchard").await;
    juliet.say("romeo@montague.lit/orchard", "1").await;
    assert_eq!(romeo.hear_ids(1).await, ["1"]);
    nurse.say("romeo@montague.lit/orchard", "2").await;
    assert_eq!(romeo.hear_ids(1).await, ["2"]);
    assert_eq!(capulet.federation.links(), 1);
    romeo.say("nurse@cellar.capulet.lit/wine", "3").await;
    assert_eq!(nurse.hear_ids(1).await, ["3"]);
    assert_eq!(montague.federation.links(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_domain_whose_records_lead_to_us_is_nobody() {
    let (street, juliet, _romeo) = two("mirror", "").await;
    street.put(&juliet.house, "mirror.lit", "192.0.2.1");
    juliet.say("tybalt@mirror.lit", "1").await;
    let error = juliet.hear().await.error().unwrap();
    assert_eq!(error.condition, Condition::RemoteServerNotFound, "{error:?}");
    assert!(error.text.unwrap().contains("host-unknown"));
}

#[tokio::test(start_paused = true)]
async fn every_step_towards_another_server_is_said() {
    let (_street, juliet, _romeo) = two("probe", "").await;
    let probed = juliet.house.federation.probe("capulet.lit", "montague.lit").await;
    assert_eq!(probed.failure, None, "{probed:#?}");
    let all = probed.steps.join("\n");
    for part in
        ["policy for montague.lit: allowed", "192.0.2.2:5269", "TLS 1.3", "certificate", "features:", "dialback"]
    {
        assert!(all.contains(part), "{part}: {all}");
    }
    let probed = juliet.house.federation.probe("capulet.lit", "nowhere.lit").await;
    assert!(probed.failure.unwrap().contains("no address"));
}
