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
        tokio::spawn(Arc::clone(&juliet.house).attach_server(Box::new(far), Door::StartTls, peer));
        near.write_all(says.as_bytes()).await.unwrap();
        wires.push((number, near));
    }
    let (near, far) = tokio::io::duplex(4096);
    tokio::spawn(Arc::clone(&juliet.house).attach_server(Box::new(far), Door::DirectTls, peer));
    wires.push((9, near));
    tokio::time::sleep(Duration::from_secs(25)).await;
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
    tokio::spawn(Arc::clone(&juliet.house).attach_server(Box::new(far), Door::StartTls, peer));
    near.write_all(HEADER.as_bytes()).await.unwrap();
    near.write_all(b"<db:result from='montague.lit' to='capulet.lit'>0123456789abcdef</db:result>").await.unwrap();
    near.write_all(b"<message from='romeo@montague.lit' to='juliet@capulet.lit/balcony'/>").await.unwrap();
    let mut said = String::new();
    near.read_to_string(&mut said).await.unwrap();
    assert!(said.contains("not-authorized") || said.contains("type='invalid'"), "{said}");
    assert!(juliet.take().is_none() && romeo.take().is_none());
}
