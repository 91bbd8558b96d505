//! Components that lie, stall or are merely broken, and what they get for it; `docs/refusals.md` is made of the same rows.
//!
//! Each is played against a whole house. A component that has done nothing wrong is connected, and must stay so; nothing
//! that was not permitted may reach Juliet.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use chirrup::config::{Config, ResourceConflict};
use chirrup::house::{House, World};
use chirrup::session::Session;
use chirrup::session::mailbox::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use xmpp::limits::Limits;
use xmpp::stream::component::proof;
use xmpp::{FullJid, Stanza};

/// A row: what a component does, and what it is told.
pub struct Row {
    pub when: &'static str,
    /// Written one after the other. `{header}` opens its stream, `{proof}` is its handshake, `{repeat}` two megabytes.
    pub does: &'static [&'static str],
    /// The condition of the stream error; or of a stanza error, after which the stream lives.
    pub told: &'static str,
    /// Who says so.
    pub by: &'static str,
}

/// Conditions of errors that answer a stanza.
pub const IS_STANZA_ERROR: [&str; 3] = ["bad-request", "forbidden", "service-unavailable"];

const XEP: &str = "XEP-0114 3";

macro_rules! header {
    ($attributes:literal) => {
        concat!("<stream:stream xmlns:stream='http://etherx.jabber.org/streams' ", $attributes, ">")
    };
}

const fn row(when: &'static str, does: &'static [&'static str], told: &'static str, by: &'static str) -> Row {
    Row { when, does, told, by }
}

pub const ROWS: &[Row] = &[
    row(
        "the domain is nobody's",
        &[header!("xmlns='jabber:component:accept' to='mud.localhost'")],
        "host-unknown",
        XEP,
    ),
    row("the domain is a host", &[header!("xmlns='jabber:component:accept' to='localhost'")], "host-unknown", XEP),
    row(
        "the domain is a service of the server's own",
        &[header!("xmlns='jabber:component:accept' to='pubsub.localhost'")],
        "host-unknown",
        XEP,
    ),
    row(
        "the domain is an account",
        &[header!("xmlns='jabber:component:accept' to='a@irc.localhost'")],
        "host-unknown",
        XEP,
    ),
    row("there is no domain", &[header!("xmlns='jabber:component:accept'")], "host-unknown", XEP),
    row(
        "a client connects",
        &[header!("xmlns='jabber:client' to='localhost' version='1.0'")],
        "invalid-namespace",
        XEP,
    ),
    row(
        "a server connects",
        &[header!("xmlns='jabber:server' to='localhost' version='1.0'")],
        "invalid-namespace",
        XEP,
    ),
    row(
        "the server is to have connected",
        &[header!("xmlns='jabber:component:connect' to='irc.localhost'")],
        "invalid-namespace",
        XEP,
    ),
    row("the secret is another", &["{header}", "<handshake>{wrong}</handshake>"], "not-authorized", XEP),
    row("the secret itself is shown", &["{header}", "<handshake>irc secret</handshake>"], "not-authorized", XEP),
    row(
        "the handshake is of another stream",
        &["{header}", "<handshake>aaee83c26aeeafcbabeabfcbcd50df997e0a2a1e</handshake>"],
        "not-authorized",
        XEP,
    ),
    row("the handshake is empty", &["{header}", "<handshake/>"], "not-authorized", XEP),
    row("there is none, and a stanza comes", &["{header}", "{forged}"], "not-authorized", "RFC 6120 4.9.3.12"),
    row(
        "SASL is tried",
        &["{header}", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>"],
        "not-authorized",
        XEP,
    ),
    row("nothing is said", &["{wait}"], "connection-timeout", "RFC 6120 4.9.3.4"),
    row("nothing follows the header", &["{header}", "{wait}"], "connection-timeout", "RFC 6120 4.9.3.4"),
    row("the header never ends", &["<stream:stream a='{repeat}"], "policy-violation", "RFC 6120 13.12"),
    row("the handshake never ends", &["{header}", "<handshake>{repeat}"], "policy-violation", "RFC 6120 13.12"),
    row("the component is connected already", &["{again}"], "conflict", XEP),
    row("a stanza is from a user of the host", &["{header}", "{proof}", "{forged}"], "invalid-from", XEP),
    row(
        "a stanza is from the host",
        &["{header}", "{proof}", "<message from='localhost' to='juliet@localhost/balcony'/>"],
        "invalid-from",
        XEP,
    ),
    row(
        "a stanza is from another component",
        &["{header}", "{proof}", "<presence from='good.localhost' to='juliet@localhost/balcony'/>"],
        "invalid-from",
        XEP,
    ),
    row(
        "a stanza is from a domain below its own",
        &["{header}", "{proof}", "<message from='a@x.irc.localhost' to='juliet@localhost/balcony'/>"],
        "invalid-from",
        XEP,
    ),
    row(
        "a stanza is from another server",
        &["{header}", "{proof}", "<iq type='result' id='1' from='a@verona.lit' to='juliet@localhost/balcony'/>"],
        "invalid-from",
        XEP,
    ),
    row(
        "a malformed stanza is from a user of the host",
        &["{header}", "{proof}", "<iq type='dance' id='1' from='romeo@localhost' to='juliet@localhost/balcony'/>"],
        "invalid-from",
        XEP,
    ),
    row(
        "a stanza is to nobody",
        &["{header}", "{proof}", "<message from='irc.localhost' id='1'/>"],
        "bad-request",
        "XEP-0114 3, RFC 6120 8.1.1.2",
    ),
    row(
        "a request has no content",
        &["{header}", "{proof}", "<iq type='get' id='1' from='irc.localhost' to='localhost'/>"],
        "bad-request",
        "RFC 6120 8.2.3",
    ),
    row(
        "a roster is asked for",
        &[
            "{header}",
            "{proof}",
            "<iq type='get' id='1' from='irc.localhost' to='juliet@localhost'><query xmlns='jabber:iq:roster'/></iq>",
        ],
        "forbidden",
        "XEP-0356 4.3",
    ),
    row(
        "a message is to be sent in somebody's name, where no component has privileges",
        &[
            "{header}",
            "{proof}",
            "<message from='irc.localhost' to='localhost' id='1'><privilege xmlns='urn:xmpp:privilege:2'><forwarded \
             xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='romeo@localhost' \
             to='juliet@localhost/balcony'/></forwarded></privilege></message>",
        ],
        // Where no component has privileges, nobody takes such messages.
        "service-unavailable",
        "XEP-0356 5.1",
    ),
    row(
        "an administration command is run",
        &[
            "{header}",
            "{proof}",
            "<iq type='set' id='1' from='irc.localhost' to='localhost'><command \
             xmlns='http://jabber.org/protocol/commands' node='http://jabber.org/protocol/admin#shutdown'/></iq>",
        ],
        "forbidden",
        "XEP-0133 6",
    ),
    row(
        "a second handshake comes",
        &["{header}", "{proof}", "{proof}"],
        "unsupported-stanza-type",
        "RFC 6120 4.9.3.24",
    ),
    row(
        "a stanza is larger than may be",
        &["{header}", "{proof}", "<message to='juliet@localhost/balcony'><body>{repeat}"],
        "policy-violation",
        "RFC 6120 13.12",
    ),
    row("a comment comes", &["{header}", "{proof}", "<!-- -->"], "restricted-xml", "RFC 6120 11.1"),
    row("what comes is not XML", &["{header}", "{proof}", "<message></iq>"], "not-well-formed", "RFC 6120 11.3"),
];

const FORGED: &str = "<message from='romeo@localhost' to='juliet@localhost/balcony'><body>x</body></message>";
const HEADER: &str = header!("xmlns='jabber:component:accept' to='irc.localhost'");

struct Stage {
    house: Arc<House>,
    juliet: Arc<Session>,
}

impl Stage {
    async fn new(name: usize) -> Self {
        let folder = std::env::temp_dir().join(format!("chirrup-gate-{}-{name}", std::process::id()));
        let text = format!(
            "data_directory = {:?}\nadmins = [\"irc.localhost@localhost\"]\n\
             [[component]]\nname = \"irc.localhost\"\nsecret = \"irc secret\"\n\
             [[component]]\nname = \"good.localhost\"\nsecret = \"good secret\"\n",
            folder.display().to_string()
        );
        let house = House::build(Config::parse(&text, None).unwrap(), World::alone()).await.unwrap();
        let _removed = std::fs::remove_dir_all(folder);
        let jid = FullJid::new("juliet@localhost/balcony").unwrap();
        let account = jid.bare();
        house.accounts.create(&account, "secret", 0).await.unwrap();
        let bound = house.router.sessions.bind(jid, ResourceConflict::Replace, 1, String::new);
        Self { house, juliet: bound.unwrap() }
    }

    fn dial(&self) -> DuplexStream {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        tokio::spawn(Arc::clone(&self.house).attach_component(Box::new(far), peer));
        near
    }

    async fn good(&self) -> DuplexStream {
        let mut wire = self.dial();
        let (_, said) = act(&mut wire, &HEADER.replace("irc.", "good."), "").await;
        let id = id_in(&said);
        let (_, said) = act(&mut wire, &format!("<handshake>{}</handshake>", proof(&id, "good secret")), "").await;
        assert!(said.ends_with("<handshake/>"), "{said}");
        wire
    }

    async fn play(&self, row: &Row) -> Result<(), String> {
        let mut good = self.good().await;
        let mut wire = self.dial();
        let mut said = String::new();
        for &step in row.does {
            match step {
                "{wait}" => {
                    tokio::time::sleep(Duration::from_secs(40)).await;
                    said = act(&mut wire, "", &said).await.1;
                }
                "{again}" => {
                    let mut first = wire;
                    said = act(&mut first, HEADER, "").await.1;
                    act(&mut first, &handshake(&said, "irc secret"), "").await;
                    wire = self.dial();
                    said = act(&mut wire, HEADER, "").await.1;
                    said = act(&mut wire, &handshake(&said, "irc secret"), &said).await.1;
                    // Kept until the end of the row.
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_secs(60)).await;
                        drop(first);
                    });
                }
                text => {
                    let text = match text {
                        "{header}" => HEADER.to_owned(),
                        "{proof}" => handshake(&said, "irc secret"),
                        "{forged}" => FORGED.to_owned(),
                        other => other
                            .replace("{wrong}", &proof(&id_in(&said), "another secret"))
                            .replace("{repeat}", &"x".repeat(2_000_000)),
                    };
                    said = act(&mut wire, &text, &said).await.1;
                }
            }
        }
        if !said.contains(&format!("<{} ", row.told)) {
            return Err(format!("was told {}", said.chars().take(2_000).collect::<String>()));
        }
        let is_over = said.ends_with("</stream:stream>");
        if is_over != said.contains("<stream:error>") {
            return Err(format!("an end without an error, or an error without an end: {said}"));
        }
        if !self.juliet.mailbox.drain().is_empty() {
            return Err("something reached Juliet".to_owned());
        }
        let text = "<message from='romeo@localhost' to='good.localhost'><body>hi</body></message>";
        let stanza = Stanza::parse(bytes::Bytes::from_static(text.as_bytes()), &Limits::server()).unwrap();
        let from = stanza.head.from.as_ref();
        let sent = self.house.router.relay_frame(from, "good.localhost", Frame::Whole(stanza.render()));
        sent.map_err(|error| format!("the good one is gone: {error}"))?;
        let (_, heard) = act(&mut good, "", "").await;
        if heard.contains("<body>hi</body>") { Ok(()) } else { Err("the good one heard nothing".to_owned()) }
    }
}

fn id_in(said: &str) -> String {
    said.split(" id='").nth(1).and_then(|rest| rest.split('\'').next()).unwrap_or_default().to_owned()
}

fn handshake(said: &str, secret: &str) -> String {
    format!("<handshake>{}</handshake>", proof(&id_in(said), secret))
}

/// Writes `text`, and hears until nothing has come for a second. Whether the connection is over, and all that was said.
async fn act(wire: &mut DuplexStream, text: &str, before: &str) -> (bool, String) {
    let (mut read, mut write) = tokio::io::split(wire);
    let mut said = before.as_bytes().to_vec();
    let mut buffer = vec![0; 64 * 1024];
    let writing = async {
        // The server may have heard enough before all is written.
        let _cut_short = write.write_all(text.as_bytes()).await;
    };
    let reading = async {
        loop {
            match tokio::time::timeout(Duration::from_secs(1), read.read(&mut buffer)).await {
                Err(_) => return false,
                Ok(Ok(0) | Err(_)) => return true,
                Ok(Ok(length)) => said.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            }
        }
    };
    let (is_over, ()) = tokio::join!(reading, async {
        let _enough = tokio::time::timeout(Duration::from_secs(20), writing).await;
    });
    (is_over, String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test(start_paused = true)]
async fn components() {
    let mut wrong = Vec::new();
    for (number, row) in ROWS.iter().enumerate() {
        if let Err(why) = Stage::new(number).await.play(row).await {
            wrong.push(format!("{}: {why}", row.when));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), ROWS.len(), wrong.join("\n"));
}
