//! Crowds, on real sockets: more connections than there may be, and those who are there already.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use chirrup::house::{House, Server};
use chirrup::net::listen::Admission;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::caller::Act::{LogsIn, Says};
use super::caller::Caller;
use super::certificates::Shown;
use super::plays::Play;
use super::street::{Neighbours, Street};
use super::wire::Wire;

pub const ROWS: &[Play] = &[CROWD, ONE_ADDRESS, RESETS];

const CROWD: Play = Play {
    when: "there are thousands of connections, of which some wait and some come and go",
    by: "XEP-0205 4.1",
    told: &["cut"],
};
const ONE_ADDRESS: Play = Play {
    when: "one address, or one network of IPv6, has more connections than it may",
    by: "XEP-0205 4.1",
    told: &["cut"],
};
const RESETS: Play = Play {
    when: "connections are reset in the middle of a header, of TLS, of a stanza",
    by: "RFC 6120 4.6.1",
    told: &[],
};

/// Connections held, and connections tried.
const HELD: usize = 60;
const TRIED: usize = 2000;

/// A house with a door on a real socket, and a neighbour.
async fn open(street: &Street, s2s: &str) -> (Neighbours, Server, SocketAddr) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let neighbours = Neighbours::settle_listening(street, s2s, free).await;
    let server = Server::open(Arc::clone(&neighbours.juliet.house)).await.unwrap();
    (neighbours, server, free)
}

async fn caller(street: &Street, address: SocketAddr) -> Caller {
    let wire = TcpStream::connect(address).await.unwrap();
    Caller::over(Wire::new(Box::new(wire)), street.foundry.show(Shown::Good).map(Arc::new))
}

/// Whether the house closes a connection without a word.
async fn is_turned_away(wire: &mut TcpStream) -> bool {
    let mut bytes = [0; 16];
    matches!(tokio::time::timeout(Duration::from_secs(20), wire.read(&mut bytes)).await, Ok(Ok(0) | Err(_)))
}

fn links(house: &House) -> usize {
    house.federation.links()
}

/// Waits until something is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..2000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}");
}

#[tokio::test]
async fn a_crowd_at_the_door() {
    let street = Street::new();
    let (neighbours, server, address) = open(&street, &format!("connections_max = {HELD}")).await;
    let house = &neighbours.juliet.house;
    let before = links(house);
    // One who has business here.
    let mut guest = caller(&street, address).await;
    guest.act(LogsIn).await;
    let mut crowd = Vec::new();
    for _ in 1..HELD {
        crowd.push(TcpStream::connect(address).await.unwrap());
    }
    until("the crowd is let in", || links(house) == before + HELD).await;
    for number in 0..TRIED {
        let mut wire = TcpStream::connect(address).await.unwrap();
        if number % 100 == 0 {
            assert!(is_turned_away(&mut wire).await, "{number}");
        }
    }
    assert_eq!(links(house), before + HELD);
    guest.act(Says("<message from='romeo@montague.lit' to='juliet@capulet.lit/balcony' id='m'/>")).await;
    assert_eq!(guest.wire.told, [""; 0]);
    assert_eq!(neighbours.juliet.take().and_then(|stanza| stanza.head.id).as_deref(), Some("m"));
    neighbours.greet("during").await;
    // The crowd goes, and others may come.
    drop(crowd);
    until("the crowd is gone", || links(house) == before + 1).await;
    let mut another = caller(&street, address).await;
    another.act(LogsIn).await;
    assert_eq!(another.wire.told, [""; 0]);
    neighbours.greet("after").await;
    server.stop().await;
}

#[tokio::test]
async fn connections_that_break() {
    let street = Street::new();
    let (neighbours, server, address) = open(&street, "").await;
    let house = &neighbours.juliet.house;
    let before = links(house);
    let header = super::caller::HEADER;
    let starttls = format!("{header}<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    for said in ["", "<stream:str", header, &starttls] {
        for _ in 0..20 {
            let mut caller = caller(&street, address).await;
            caller.wire.say(said).await;
            caller.wire.cut();
        }
    }
    for said in ["", "<message from='romeo@montague.lit' to='juliet@capulet.lit/balcony' id='m'><bo"] {
        let mut caller = caller(&street, address).await;
        caller.act(LogsIn).await;
        caller.wire.say(said).await;
        caller.wire.cut();
    }
    until("all are gone", || links(house) == before).await;
    assert!(neighbours.juliet.take().is_none());
    neighbours.greet("after").await;
    server.stop().await;
}

#[test]
fn one_address_has_its_share() {
    let admission = Admission::new(100, 3);
    let admit = |address: &str| admission.admit(address.parse::<IpAddr>().unwrap());
    let mut held = Vec::new();
    for network in ["192.0.2.7", "2001:db8:1:2::", "::ffff:192.0.2.9"] {
        for _ in 0..3 {
            held.push(admit(network).expect("there is room"));
        }
        assert!(admit(network).is_none(), "{network}");
    }
    assert!(admit("2001:db8:1:2:3:4:5:6").is_none(), "the same network");
    assert!(admit("192.0.2.9").is_none(), "the same address, written otherwise");
    assert!(admit("2001:db8:1:3::").is_some() && admit("192.0.2.8").is_some());
    held.clear();
    assert!(admit("192.0.2.7").is_some());
}
