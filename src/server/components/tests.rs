//! Houses with components, over pipes and paused time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use xmpp::stream::component::proof;

use super::*;
use crate::house::{House, World};

const CONFIG: &str = "[components]\nqueue_bytes_max = 2000\nhandshake_seconds_max = 7\n\
    [[component]]\nname = \"irc.localhost\"\nsecret = \"s\"\n";

async fn house(text: &str) -> Arc<House> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("chirrup-components-{}-{number}", std::process::id()));
    let text = format!("data_directory = {:?}\n{text}", folder.display().to_string());
    let house = House::build(Config::parse(&text, None).unwrap(), World::alone()).await.unwrap();
    let _removed = std::fs::remove_dir_all(folder);
    house
}

/// A component's end of a wire.
struct Peer(DuplexStream);

impl Peer {
    fn dial(house: &Arc<House>, address: &str) -> Self {
        let (near, far) = tokio::io::duplex(16 * 1024);
        runtime::start(Arc::clone(house).attach_component(Box::new(far), address.parse().unwrap()));
        Self(near)
    }

    async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until `end` has come, or the end.
    async fn hear(&mut self, end: &str) -> String {
        let mut bytes = Vec::new();
        let mut buffer = [0; 1024];
        while !String::from_utf8_lossy(&bytes).contains(end) {
            match self.0.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(length) => bytes.extend_from_slice(&buffer[..length]),
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    /// Opens a stream and proves `secret`; what came of that.
    async fn join(&mut self, secret: &str) -> String {
        let header = "<stream:stream xmlns='jabber:component:accept' \
            xmlns:stream='http://etherx.jabber.org/streams' to='irc.localhost'>";
        self.say(header).await;
        let text = self.hear("'>").await;
        let id = text.split(" id='").nth(1).unwrap().split('\'').next().unwrap().to_owned();
        self.say(&format!("<handshake>{}</handshake>", proof(&id, secret))).await;
        self.hear(">").await
    }

    async fn joined(house: &Arc<House>) -> Self {
        let mut peer = Self::dial(house, "127.0.0.1");
        assert_eq!(peer.join("s").await, "<handshake/>");
        peer
    }
}

fn message(from: &str, to: &str, size: usize) -> Stanza {
    let text = format!("<message from='{from}' to='{to}'><body>{}</body></message>", "x".repeat(size));
    Stanza::parse(text.into_bytes().into(), &Limits::server()).unwrap()
}

fn relay(house: &House, stanza: &Stanza) -> Result<(), StanzaError> {
    house.router.relay_frame(stanza.head.from.as_ref(), "irc.localhost", Frame::Whole(stanza.render()))
}

#[tokio::test(start_paused = true)]
async fn a_component_gets_what_is_for_it_and_nothing_is_kept_while_it_is_away() {
    let house = house(CONFIG).await;
    let stanza = message("romeo@localhost/x", "#room@irc.localhost", 1);
    assert_eq!(relay(&house, &stanza).unwrap_err(), absent());
    let mut peer = Peer::joined(&house).await;
    relay(&house, &stanza).unwrap();
    assert!(peer.hear("</message>").await.contains("<body>x</body>"));
    assert!(house.components.status()[0].is_connected && house.components.status()[0].sent == 1);
    drop(peer);
    runtime::pause(Duration::from_secs(1)).await;
    assert_eq!(relay(&house, &stanza).unwrap_err(), absent());
    assert!(!house.components.status()[0].is_connected);
}

#[tokio::test(start_paused = true)]
async fn its_domain_is_not_here_and_yet_spoken_for() {
    let house = house(CONFIG).await;
    assert!(!house.router.serves("irc.localhost") && house.router.speaks_for("irc.localhost"));
    assert!(!house.router.speaks_for("x.irc.localhost"));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_refused_more_and_holds_up_nobody() {
    let house = house(CONFIG).await;
    let _deaf = Peer::joined(&house).await;
    let stanza = message("romeo@localhost/x", "#room@irc.localhost", 900);
    let mut taken = 0;
    let error = loop {
        match relay(&house, &stanza) {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        runtime::pause(Duration::from_millis(1)).await;
        assert!(taken < 1000, "nothing is refused");
    };
    assert_eq!(error.condition, xmpp::stanza::Condition::ResourceConstraint);
}

#[tokio::test(start_paused = true)]
async fn a_second_connection_is_refused_or_takes_over() {
    let first = house(CONFIG).await;
    let mut one = Peer::joined(&first).await;
    assert!(Peer::dial(&first, "127.0.0.1").join("s").await.contains("stream:error"));
    relay(&first, &message("a@localhost", "b@irc.localhost", 1)).unwrap();
    assert!(one.hear("</message>").await.contains("<body>x"), "the first is unharmed");

    let second = house(&format!("{CONFIG}on_conflict = \"replace\"\n")).await;
    let mut one = Peer::joined(&second).await;
    let mut two = Peer::joined(&second).await;
    assert!(one.hear("</stream:stream>").await.contains("<conflict "));
    relay(&second, &message("a@localhost", "b@irc.localhost", 1)).unwrap();
    assert!(two.hear("</message>").await.contains("<body>x"));
}

#[tokio::test(start_paused = true)]
async fn several_connections_share_the_work_by_sender() {
    let house = house(&format!("{CONFIG}connections_max = 3\n")).await;
    let mut peers = [Peer::joined(&house).await, Peer::joined(&house).await, Peer::joined(&house).await];
    for round in 1..=2 {
        for number in 0..30 {
            relay(&house, &message(&format!("u{number}@localhost/r{round}"), "b@irc.localhost", 1)).unwrap();
            runtime::pause(Duration::from_millis(1)).await;
        }
    }
    relay(&house, &message("end@localhost", "b@irc.localhost", 1)).unwrap();
    runtime::pause(Duration::from_millis(10)).await;
    let sent: Vec<u64> = house.components.status().iter().map(|row| row.sent).collect();
    assert_eq!(sent.iter().sum::<u64>(), 61);
    assert!(sent.iter().all(|count| *count >= 2), "{sent:?}");
    for (peer, count) in peers.iter_mut().zip(&sent) {
        let mut text = String::new();
        while text.matches("</message>").count() < *count as usize {
            text += &peer.hear("</message>").await;
        }
        for number in 0..30 {
            let of = |round: u32| text.contains(&format!("'u{number}@localhost/r{round}'"));
            assert_eq!(of(1), of(2), "one sender stays on one connection");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_one_connection_has_not_written_another_does() {
    let house = house(&format!("{CONFIG}connections_max = 2\nbalance = \"recipient\"\n")).await;
    let deaf = Peer::joined(&house).await;
    let stanza = message("romeo@localhost/x", "#room@irc.localhost", 900);
    for _ in 0..18 {
        relay(&house, &stanza).unwrap();
        runtime::pause(Duration::from_millis(1)).await;
    }
    let mut good = Peer::joined(&house).await;
    drop(deaf);
    assert!(good.hear("</message>").await.contains("#room@irc.localhost"));
}

#[tokio::test(start_paused = true)]
async fn only_from_where_it_may_and_only_in_time() {
    let house = house(&format!("{CONFIG}addresses = [\"192.0.2.1\"]\n")).await;
    let refused = Peer::dial(&house, "192.0.2.2").join("s").await;
    assert!(refused.contains("stream:error"), "{refused}");
    assert_eq!(Peer::dial(&house, "::ffff:192.0.2.1").join("s").await, "<handshake/>");
    let mut silent = Peer::dial(&house, "192.0.2.1");
    assert!(silent.hear("</stream:stream>").await.contains("<connection-timeout "));
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_read_at_its_pace_and_holds_up_nobody() {
    let text = "[components]\nread_bytes_per_second_max = 100000\n[[component]]\nname = \"irc.localhost\"\n\
        secret = \"s\"\n[[component]]\nname = \"good.localhost\"\nsecret = \"s\"\n";
    let house = house(text).await;
    let mut flooding = Peer::joined(&house).await;
    let before = tokio::time::Instant::now();
    let one = format!("<message to='good.localhost'><body>{}</body></message>", "x".repeat(10_000));
    for _ in 0..200 {
        flooding.say(&one).await;
    }
    // Two megabytes at a tenth of one a second, less what may be sent at once.
    assert!(before.elapsed() >= Duration::from_secs(14), "{:?}", before.elapsed());
    relay(&house, &message("romeo@localhost", "b@irc.localhost", 1)).unwrap();
    let mut heard = String::new();
    while !heard.contains("<body>x</body>") {
        heard = flooding.hear("</message>").await;
        assert!(!heard.is_empty(), "the stream has ended");
    }
}

#[tokio::test(start_paused = true)]
async fn the_house_closes() {
    let house = house(CONFIG).await;
    let mut peer = Peer::joined(&house).await;
    house.components.stop().await;
    assert!(peer.hear("</stream:stream>").await.contains("<system-shutdown "));
}

#[tokio::test]
async fn a_component_belongs_to_the_host_it_is_below() {
    let text = "[[host]]\ndomain = \"a.example\"\n[[host]]\ndomain = \"b.a.example\"\n\
        [[component]]\nname = \"x.b.a.example\"\nsecret = \"s\"\n[[component]]\nname = \"x.a.example\"\nsecret = \"s\"\n\
        [[component]]\nname = \"other\"\nsecret = \"s\"\n[[component]]\nname = \"x.a\"\nsecret = \"s\"\nhost = \"b.a.example\"\n";
    let config = Config::parse(text, None).unwrap();
    let hosts: Vec<_> = config.component.iter().map(|rule| rule.host_in(&config)).collect();
    assert_eq!(hosts, ["b.a.example".into(), "a.example".into(), "a.example".into(), Box::from("b.a.example")]);
}

#[tokio::test]
async fn what_cannot_be_configured_is_said_at_once() {
    let one = "[[component]]\nname = \"irc.localhost\"\n";
    for (text, part) in [
        ("[[component]]\nname = \"localhost\"\nsecret = \"s\"\n".to_owned(), "is a [[host]] and a [[component]]"),
        (format!("{one}secret = \"\"\n"), "empty `secret`"),
        (one.to_owned(), "secret"),
        (format!("{one}secret = \"s\"\n{one}secret = \"s\"\n"), "two [[component]]"),
        ("[[component]]\nname = \"a@b\"\nsecret = \"s\"\n".to_owned(), "not a domain name"),
        (format!("{one}secret = \"s\"\nconnections_max = 0\n"), "connections_max"),
        (format!("{one}secret = \"s\"\nhost = \"elsewhere\"\n"), "which is none"),
        (format!("{one}secret = \"s\"\nprivileges = {{ presence = \"roster\" }}\n"), "needs `roster"),
        (format!("{one}secret = \"s\"\ndelegation = [{{ namespace = \"a\" }}, {{ namespace = \"a\" }}]\n"), "twice"),
        ("[components]\nstanza_bytes_max = 1\n".to_owned(), "too small"),
    ] {
        let error = Config::parse(&text, None).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    let taken = "[[component]]\nname = \"pubsub.localhost\"\nsecret = \"s\"\n";
    let config = Config::parse(taken, None).unwrap();
    assert!(House::rehearse(&config).await.unwrap_err().contains("served by the server itself"));
    let config = Config::parse(&format!("{one}secret = \"verysecret\"\n"), None).unwrap();
    let secret = format!("{:?}", config.component);
    assert!(!secret.contains("verysecret"));
}
