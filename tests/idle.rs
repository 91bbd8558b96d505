//! XEP-0286: what an hour costs a phone that lies in a pocket: bytes, and how often its radio has to wake.
//!
//! One account with fifty contacts, who come and go, type, write now and then, and change their nodes, all drawn from one
//! seed: the same hour each time, on paused time. The phone is connected with stream management and answers what it has
//! to; its client says that somebody looks at it, or that nobody does (XEP-0352); or it is not connected, and woken by its
//! app server (XEP-0357). A wake-up is anything on the wire after ten seconds of silence: so long an LTE radio stays
//! connected (XEP-0286 section 4). `cargo test --test house idle -- --nocapture` prints the table of
//! `benches/RESULTS.md`.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::stage::actor::{Actor, Heard, Wire};
use crate::stage::director::Theatre as _;
use crate::stage::frames::Frame;
use crate::stage::house::InProcess;

const CONTACTS: usize = 50;
const HOUR: u64 = 3_600;
/// How long the radio stays connected after something passed.
const TAIL: Duration = Duration::from_secs(10);

/// How the phone spends the hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Active,
    Inactive,
    Pushed,
}

#[derive(Debug, Default)]
struct Meter {
    is_on: bool,
    down: usize,
    up: usize,
    wakes: usize,
    last: Option<Instant>,
}

impl Meter {
    fn passed(&mut self, down: usize, up: usize) {
        if !self.is_on || down + up == 0 {
            return;
        }
        let now = Instant::now();
        self.wakes += usize::from(self.last.is_none_or(|last| now - last > TAIL));
        self.last = Some(now);
        self.down += down;
        self.up += up;
    }
}

/// A wire with a meter.
struct Metered(Box<dyn Wire>, Arc<Mutex<Meter>>);

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.0).poll_read(cx, buf);
        self.1.lock().unwrap().passed(buf.filled().len() - before, 0);
        read
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.0).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = &written {
            self.1.lock().unwrap().passed(0, *count);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Numbers from a seed (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What the contacts do in the hour: when, who, and what they send.
fn hour() -> Vec<(u64, usize, String)> {
    let mut chance = Chance(0x0286_0352_0357);
    let mut doings = Vec::new();
    for who in 0..CONTACTS {
        // Four times away and back: a screen saver.
        for _ in 0..4 {
            let at = chance.below(HOUR - 400);
            doings.push((at, who, "<presence><show>away</show></presence>".to_owned()));
            doings.push((at + 60 + chance.below(300), who, "<presence/>".to_owned()));
        }
    }
    let chat =
        |id: u64, content: &str| format!("<message to='juliet@localhost' type='chat' id='m{id}'>{content}</message>");
    let state = |name: &str| format!("<{name} xmlns='http://jabber.org/protocol/chatstates'/>");
    for id in 0..12 {
        // Twelve times somebody types; four times it becomes a message.
        let (at, who) = (chance.below(HOUR - 100), chance.below(5) as usize);
        doings.push((at, who, chat(id, &state("composing"))));
        doings.push((at + 8, who, chat(id, &state("paused"))));
        if id % 3 == 0 {
            doings.push((at + 12, who, chat(id, &format!("<body>Is it you, number {id}?</body>{}", state("active")))));
        }
    }
    for id in 0..8 {
        // A new avatar, a new device.
        let node = ["urn:xmpp:avatar:metadata", "eu.siacs.conversations.axolotl.devicelist"][id % 2];
        let payload = [
            "<metadata xmlns='urn:xmpp:avatar:metadata'/>",
            "<list xmlns='eu.siacs.conversations.axolotl'><device id='1'/></list>",
        ][id % 2];
        let publish = format!(
            "<iq type='set' id='p{id}'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{node}'>\
             <item id='current'>{payload}</item></publish></pubsub></iq>"
        );
        doings.push((chance.below(HOUR), chance.below(CONTACTS as u64) as usize, publish));
    }
    doings.sort();
    doings
}

async fn log_in(theatre: &InProcess, name: &str, resource: &str, meter: Option<&Arc<Mutex<Meter>>>) -> Actor {
    let (wire, security) = theatre.dial("localhost").await.unwrap();
    let wire = match meter {
        Some(meter) => Box::new(Metered(wire, Arc::clone(meter))),
        None => wire,
    };
    let mut actor = Actor::enter(wire, "localhost", security).await.unwrap();
    actor.authenticate(name, "secret", None).await.unwrap();
    actor.bind(Some(resource)).await.unwrap();
    actor
}

/// Somebody who says what it is given, hears everything, and, if it is the phone, acknowledges and says what it can.
fn live(mut actor: Actor, is_phone: bool) -> mpsc::UnboundedSender<String> {
    let (sender, mut lines) = mpsc::unbounded_channel::<String>();
    tokio::spawn(async move {
        let mut handled = 0_u32;
        loop {
            tokio::select! {
                biased;
                line = lines.recv() => match line {
                    Some(line) => actor.write(line.as_bytes()).await.unwrap(),
                    None => return,
                },
                heard = actor.hear(Duration::from_secs(100_000)) => {
                    let Ok(Heard::Frame(Frame::Element(element))) = heard else { return };
                    match element.name() {
                        "r" if is_phone => actor.write(format!("<a xmlns='urn:xmpp:sm:3' h='{handled}'/>").as_bytes()).await.unwrap(),
                        "enabled" => handled = 0,
                        "iq" => {
                            handled += 1;
                            let query = element.children().next();
                            if let (Some("get"), Some(query), Some(id)) = (element.attr("type"), query, element.attr("id")) {
                                let answer = match query.name() {
                                    "query" => disco(query.attr("node").unwrap_or_default()),
                                    _ => String::new(),
                                };
                                let to = element.attr("from").unwrap_or("localhost");
                                actor.write(format!("<iq type='result' id='{id}' to='{to}'>{answer}</iq>").as_bytes()).await.unwrap();
                            }
                        }
                        _ => handled += 1,
                    }
                }
            }
        }
    });
    sender
}

const NOTIFY: [&str; 2] = ["eu.siacs.conversations.axolotl.devicelist+notify", "urn:xmpp:avatar:metadata+notify"];

fn disco(node: &str) -> String {
    let features: String = NOTIFY.iter().map(|feature| format!("<feature var='{feature}'/>")).collect();
    format!(
        "<query xmlns='http://jabber.org/protocol/disco#info' node='{node}'><identity category='client' type='phone'/>{features}</query>"
    )
}

/// One hour. What passed by the phone, and how often its app server was told.
async fn spend(way: Way) -> (usize, usize, usize) {
    let play = "# An hour\n\n[Server] App server\n\tjid: push.example\n\n-----\n\nApp server connects\n";
    let theatre = InProcess::build(&format!("idle-{way:?}"), play).await.unwrap();
    theatre.admit("juliet", "localhost", "secret").await.unwrap();
    for at in 0..CONTACTS {
        theatre.admit(&format!("c{at}"), "localhost", "secret").await.unwrap();
    }
    let meter = Arc::new(Mutex::new(Meter::default()));
    let pushes = Arc::new(Mutex::new(0));
    let mut app = theatre.serve("push.example").await.unwrap();
    let told = Arc::clone(&pushes);
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut text, mut bytes) = (String::new(), [0; 4096]);
        while let Ok(count @ 1..) = app.read(&mut bytes).await {
            text.push_str(&String::from_utf8_lossy(&bytes[..count]));
            while let Some((iq, rest)) = text.split_once("</iq>").map(|(iq, rest)| (iq.to_owned(), rest.to_owned())) {
                text = rest;
                *told.lock().unwrap() += 1;
                let id = iq.split(" id='").nth(1).and_then(|rest| rest.split('\'').next()).unwrap_or_default();
                let answer = format!("<iq type='result' from='push.example' to='localhost' id='{id}'/>");
                app.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    let phone = live(log_in(&theatre, "juliet", "phone", Some(&meter)).await, true);
    let say = |text: &str| phone.send(text.to_owned()).unwrap();
    let pause = || tokio::time::sleep(Duration::from_secs(2));
    let mut contacts = Vec::new();
    for at in 0..CONTACTS {
        let contact = live(log_in(&theatre, &format!("c{at}"), "pc", None).await, false);
        contact.send("<presence/>".to_owned()).unwrap();
        contacts.push(contact);
    }
    say("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>");
    say("<presence><c xmlns='http://jabber.org/protocol/caps' node='urn:phone' ver='1' hash='sha-1'/></presence>");
    say("<iq type='set' id='push'><enable xmlns='urn:xmpp:push:0' jid='push.example' node='n'/></iq>");
    for (at, contact) in contacts.iter().enumerate() {
        say(&format!("<presence type='subscribe' to='c{at}@localhost'/>"));
        contact.send("<presence type='subscribe' to='juliet@localhost'/>".to_owned()).unwrap();
    }
    pause().await;
    for (at, contact) in contacts.iter().enumerate() {
        say(&format!("<presence type='subscribed' to='c{at}@localhost'/>"));
        contact.send("<presence type='subscribed' to='juliet@localhost'/>".to_owned()).unwrap();
    }
    pause().await;
    say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    match way {
        Way::Active => {}
        Way::Inactive => say("<inactive xmlns='urn:xmpp:csi:0'/>"),
        Way::Pushed => say("<presence type='unavailable'/></stream:stream>"),
    }
    pause().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    meter.lock().unwrap().is_on = true;
    *pushes.lock().unwrap() = 0;
    let began = Instant::now();
    for (at, who, what) in hour() {
        tokio::time::sleep_until(began + Duration::from_secs(at)).await;
        contacts[who].send(what).unwrap();
    }
    tokio::time::sleep_until(began + Duration::from_secs(HOUR)).await;
    let pushes = *pushes.lock().unwrap();
    let meter = meter.lock().unwrap();
    (meter.down, meter.up, if way == Way::Pushed { pushes } else { meter.wakes })
}

#[test]
fn a_phone_in_a_pocket_is_left_alone() {
    let mut table = String::from("| phone | bytes down | bytes up | wake-ups in an hour |\n|---|---:|---:|---:|\n");
    let mut wakes = Vec::new();
    for (way, name) in [
        (Way::Active, "connected, active"),
        (Way::Inactive, "connected, inactive (CSI)"),
        (Way::Pushed, "not connected, woken by push"),
    ] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let (down, up, woke) = runtime.block_on(spend(way));
        runtime.shutdown_background();
        table.push_str(&format!("| {name} | {down} | {up} | {woke} |\n"));
        wakes.push(woke);
    }
    println!("{table}");
    // Four messages are worth it, and not every ping or avatar need come beside one of them.
    assert!(wakes[0] > 100 && wakes[1] < 20 && (1..=4).contains(&wakes[2]), "{table}");
}
