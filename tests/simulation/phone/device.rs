//! A device: a client that acknowledges, resumes, catches up and says again, and notes what it gets.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use xmpp::Element;
use xmpp::sasl::client::{Binding, ClientExchange, Salted};
use xmpp::sasl::{Hash, decode_message, encode_message};

use super::super::chance::Chance;
use super::day::{DOMAIN, PASSWORD, Place};
use super::link::Link;
use crate::stage::frames::Frame;

const SM: &str = "urn:xmpp:sm:3";
const MAM: &str = "urn:xmpp:mam:2";
const FORWARD: &str = "urn:xmpp:forward:0";
const CARBONS: &str = "urn:xmpp:carbons:2";

/// What a device is told.
#[derive(Clone, Debug)]
pub enum Order {
    /// Its user types messages to the account of another device, or to that device.
    Say { to: usize, is_full: bool, count: u64 },
    /// Typing and presence.
    Noise { to: usize },
    /// Somebody looks at it, or nobody does.
    Look(bool),
    /// Closes its stream.
    Leave,
    /// Comes back if it has left.
    Return,
    /// Reads its whole archive.
    Read,
}

/// What a device has noted.
#[derive(Default)]
pub struct Notes {
    /// To whom each message was that its user typed.
    pub typed: Vec<usize>,
    /// What it has got: by the archive's id, who typed it and the how manieth it was.
    pub seen: BTreeMap<String, (usize, usize)>,
    /// The whole archive, read at the end.
    pub archive: Option<Vec<(String, (usize, usize))>>,
    /// What it has not been able to send.
    pub waiting: usize,
    /// What it is doing.
    pub state: String,
}

/// A device, to be told.
pub struct Handle {
    orders: mpsc::UnboundedSender<Order>,
    notes: Arc<Mutex<Notes>>,
}

impl Handle {
    pub fn tell(&self, order: Order) {
        self.orders.send(order).ok();
    }

    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap()
    }
}

/// A stanza that was given to a stream and not acknowledged.
struct Sent {
    stanza: String,
    /// Which of the messages typed, if it is one, and what was the last it knew of its archive before.
    message: Option<(usize, Option<String>)>,
}

/// A stream that can be resumed.
struct Managed {
    previd: String,
    heard: u32,
    acked: u32,
}

enum Over {
    /// The link is lost.
    Lost,
    /// It has closed its stream.
    Left,
}

pub struct Device {
    place: Arc<Place>,
    names: Arc<Vec<(usize, String)>>,
    index: usize,
    acknowledges: bool,
    chance: Chance,
    orders: mpsc::UnboundedReceiver<Order>,
    notes: Arc<Mutex<Notes>>,
    salted: Option<Salted>,
    managed: Option<Managed>,
    sent: VecDeque<Sent>,
    /// Typed and not given to a stream, or to one that is lost: then with what was the last it knew of its archive before.
    outbox: VecDeque<(usize, String, Option<Option<String>>)>,
    is_away: bool,
    is_caught_up: bool,
    is_seen: bool,
    /// The last id it knows of its archive.
    last: Option<String>,
    /// The last message of each device that came by itself on this stream.
    live: HashMap<usize, usize>,
    reading: Option<Vec<(String, (usize, usize))>>,
    queries: u32,
    /// When to ask its archive again that could not answer.
    retry: Option<Instant>,
}

impl Device {
    pub fn start(
        place: &Arc<Place>,
        names: &Arc<Vec<(usize, String)>>,
        index: usize,
        acknowledges: bool,
        seed: u64,
    ) -> Handle {
        let (orders, arriving) = mpsc::unbounded_channel();
        let notes: Arc<Mutex<Notes>> = Arc::default();
        let device = Self {
            place: Arc::clone(place),
            names: Arc::clone(names),
            index,
            acknowledges,
            chance: Chance::new(seed, 100 + index as u64),
            orders: arriving,
            notes: Arc::clone(&notes),
            salted: None,
            managed: None,
            sent: VecDeque::new(),
            outbox: VecDeque::new(),
            is_away: false,
            is_caught_up: false,
            is_seen: true,
            last: None,
            live: HashMap::new(),
            reading: None,
            queries: 0,
            retry: None,
        };
        tokio::spawn(device.live());
        Handle { orders, notes }
    }

    fn bare(&self) -> String {
        format!("p{}@{DOMAIN}", self.names[self.index].0)
    }

    fn object(&self, what: String) {
        self.place.object(format!("d{}: {what}", self.index));
    }

    fn state(&self, what: &str) {
        tracing::info!(device = self.index, now = self.place.seconds(), what);
        self.notes.lock().unwrap().state = what.to_owned();
    }

    async fn live(mut self) {
        loop {
            while self.is_away {
                self.state("away");
                match self.orders.recv().await {
                    Some(order) => self.take_offline(order),
                    None => return,
                }
            }
            match self.connect().await {
                Some(Over::Left) => {
                    self.managed = None;
                    self.is_away = true;
                    continue;
                }
                Some(Over::Lost) | None => {}
            }
            self.state("lost");
            let most = if self.place.is_calm() { 2_000 } else { 400_000 };
            let until = Instant::now() + Duration::from_millis(self.chance.spread(5, most));
            loop {
                tokio::select! {
                    biased;
                    order = self.orders.recv() => match order {
                        Some(order) => self.take_offline(order),
                        None => return,
                    },
                    () = sleep_until(until) => break,
                }
                if self.place.is_calm() {
                    break;
                }
            }
        }
    }

    fn take_offline(&mut self, order: Order) {
        match order {
            Order::Say { to, is_full, count } => self.type_messages(to, is_full, count),
            Order::Return => self.is_away = false,
            Order::Look(is_seen) => self.is_seen = is_seen,
            Order::Leave => {}
            Order::Read => self.reading = Some(Vec::new()),
            Order::Noise { .. } => {}
        }
    }

    fn type_messages(&mut self, to: usize, is_full: bool, count: u64) {
        if !self.acknowledges || self.names[to].0 == self.names[self.index].0 {
            return;
        }
        let (account, resource) = &self.names[to];
        let resource = if is_full { format!("/{resource}") } else { String::new() };
        for _ in 0..count {
            let number = {
                let mut notes = self.notes.lock().unwrap();
                notes.typed.push(to);
                notes.waiting += 1;
                notes.typed.len() - 1
            };
            let name = format!("d{}-{number}", self.index);
            let padding = "x".repeat(usize::try_from(self.chance.spread(1, 600)).unwrap());
            self.outbox.push_back((
                number,
                format!(
                    "<message to='p{account}@{DOMAIN}{resource}' type='chat' id='{name}'><body>{name} {padding}</body></message>"
                ),
                None,
            ));
        }
    }

    /// One link, from beginning to end.
    async fn connect(&mut self) -> Option<Over> {
        let end = self.place.connect(self.index)?;
        let mut link = Link::new(end);
        self.state("logging in");
        timeout(Duration::from_secs(40), self.log_in(&mut link)).await.ok()??;
        self.state("online");
        Some(self.talk(&mut link).await)
    }

    async fn open(&self, link: &mut Link) -> Option<()> {
        link.send(format!(
            "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='{DOMAIN}' version='1.0'>"
        ));
        let features = link.element().await?;
        features.is("features", "http://etherx.jabber.org/streams").then_some(())
    }

    async fn log_in(&mut self, link: &mut Link) -> Option<()> {
        self.open(link).await?;
        let localpart = format!("p{}", self.names[self.index].0);
        let salted = self.salted.clone();
        let mut exchange =
            ClientExchange::new(Hash::Sha256, Binding::Unsupported, None, &localpart, PASSWORD, "nonce", salted);
        let first = encode_message(exchange.first().as_bytes());
        let ns = "urn:ietf:params:xml:ns:xmpp-sasl";
        link.send(format!("<auth xmlns='{ns}' mechanism='SCRAM-SHA-256'>{first}</auth>"));
        let challenge = decode_message(&said(link.element().await?, "challenge")?).ok()?;
        let response = encode_message(exchange.respond(&challenge).unwrap().as_bytes());
        link.send(format!("<response xmlns='{ns}'>{response}</response>"));
        let success = decode_message(&said(link.element().await?, "success")?).ok()?;
        self.salted = exchange.finish(&success).ok();
        self.open(link).await?;
        if self.resume(link).await? {
            return Some(());
        }
        let name = &self.names[self.index].1;
        link.send(format!(
            "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{name}</resource></bind></iq>"
        ));
        let bound = link.element().await?;
        if bound.attr("type") != Some("result") {
            self.object(format!("cannot bind: {}", String::from(&bound)));
            return None;
        }
        self.managed = None;
        self.is_caught_up = false;
        if self.acknowledges {
            link.send(format!("<enable xmlns='{SM}' resume='true'/>"));
            let enabled = loop {
                match link.element().await? {
                    enabled if enabled.is("enabled", SM) => break enabled,
                    error if error.is("error", "http://etherx.jabber.org/streams") => return None,
                    // What was sent before does not count.
                    early => self.take(link, &early),
                }
            };
            let previd = enabled.attr("id")?.to_owned();
            self.managed = Some(Managed { previd, heard: 0, acked: 0 });
        }
        // What was given to an earlier stream: whether it was heard, the archive says.
        for sent in std::mem::take(&mut self.sent).into_iter().rev() {
            if let Some((number, before)) = sent.message {
                // Whether it was heard is written behind that.
                self.last.clone_from(&before);
                self.outbox.push_front((number, sent.stanza, Some(before)));
            }
        }
        self.is_caught_up = false;
        self.retry = None;
        self.live.clear();
        self.send(link, "<iq type='set' id='carbons'><enable xmlns='urn:xmpp:carbons:2'/></iq>".to_owned());
        self.send(link, "<presence/>".to_owned());
        self.query(link);
        Some(())
    }

    /// Goes on with the stream that was lost, if there was one and the house remembers.
    async fn resume(&mut self, link: &mut Link) -> Option<bool> {
        let Some(managed) = &mut self.managed else { return Some(false) };
        link.send(format!("<resume xmlns='{SM}' h='{}' previd='{}'/>", managed.heard, managed.previd));
        let answer = link.element().await?;
        let h: Option<u32> = answer.attr("h").map(|h| h.parse().unwrap());
        if let Some(h) = h {
            for _ in managed.acked..h {
                if self.sent.pop_front().is_some_and(|sent| sent.message.is_some()) {
                    self.notes.lock().unwrap().waiting -= 1;
                }
            }
            managed.acked = h;
        }
        if !answer.is("resumed", SM) {
            if !answer.is("failed", SM) {
                self.object(format!("asked to resume and heard {}", String::from(&answer)));
            }
            self.place.refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            self.managed = None;
            return Some(false);
        }
        self.place.resumed.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        for sent in &self.sent {
            link.send(sent.stanza.clone());
        }
        link.send(format!("<r xmlns='{SM}'/>"));
        // Every stream begins active.
        if !self.is_seen {
            link.send("<inactive xmlns='urn:xmpp:csi:0'/>");
        }
        Some(true)
    }

    fn send(&mut self, link: &Link, stanza: String) {
        self.send_counted(link, stanza, None);
    }

    fn send_counted(&mut self, link: &Link, stanza: String, message: Option<(usize, Option<String>)>) {
        link.send(stanza.clone());
        if self.managed.is_some() {
            self.sent.push_back(Sent { stanza, message });
        }
    }

    fn query(&mut self, link: &Link) {
        self.queries += 1;
        tracing::info!(device = self.index, now = self.place.seconds(), query = self.queries, "reads");
        let last = match (&self.reading, self.is_caught_up) {
            (Some(read), true) => read.last().map(|(id, _)| id.clone()),
            _ => self.last.clone(),
        };
        let after = last.map(|last| format!("<after>{last}</after>")).unwrap_or_default();
        self.send(
            link,
            format!(
                "<iq type='set' id='mam{}'><query xmlns='{MAM}' queryid='{}'><set xmlns='http://jabber.org/protocol/rsm'>\
                 <max>20</max>{after}</set></query></iq>",
                self.queries, self.queries
            ),
        );
    }

    async fn talk(&mut self, link: &mut Link) -> Over {
        loop {
            if self.is_caught_up {
                self.empty_outbox(link);
            }
            let order = tokio::select! {
                biased;
                frame = link.next() => {
                    match frame {
                        Some(Frame::Element(element)) => self.take(link, &element),
                        Some(Frame::Open(_)) => {}
                        Some(Frame::Close) | None => return Over::Lost,
                    }
                    continue;
                }
                order = self.orders.recv() => order,
                () = sleep_until(self.retry.unwrap_or_else(Instant::now)), if self.retry.is_some() => {
                    self.retry = None;
                    self.query(link);
                    continue;
                }
            };
            match order {
                None => return Over::Lost,
                Some(Order::Noise { to }) => {
                    let (account, resource) = &self.names[to];
                    let to = format!("p{account}@{DOMAIN}/{resource}");
                    let state = self.chance.pick(&["composing", "paused", "active"]);
                    let show = self.chance.pick(&["away", "dnd", "chat"]);
                    self.send(link, format!("<message to='{to}' type='chat'><{state} xmlns='http://jabber.org/protocol/chatstates'/></message>"));
                    self.send(link, format!("<presence><show>{show}</show></presence>"));
                    self.send(link, format!("<presence to='{to}'><show>{show}</show></presence>"));
                }
                Some(Order::Look(is_seen)) => {
                    self.is_seen = is_seen;
                    let state = if is_seen { "active" } else { "inactive" };
                    link.send(format!("<{state} xmlns='urn:xmpp:csi:0'/>"));
                }
                // Who has something to say stays until it is said.
                Some(Order::Leave) if self.sent.is_empty() && self.outbox.is_empty() => {
                    if let Some(managed) = &self.managed {
                        link.send(format!("<a xmlns='{SM}' h='{}'/>", managed.heard));
                    }
                    link.send("</stream:stream>");
                    let gone = async { while link.next().await.is_some() {} };
                    timeout(Duration::from_secs(30), gone).await.ok();
                    return Over::Left;
                }
                Some(Order::Read) => {
                    self.reading = Some(Vec::new());
                    if self.is_caught_up {
                        self.query(link);
                    }
                }
                Some(order) => self.take_offline(order),
            }
        }
    }

    /// Says what was typed, but for what turned out to have been heard.
    fn empty_outbox(&mut self, link: &Link) {
        let mut is_any = false;
        while let Some((number, stanza, before)) = self.outbox.pop_front() {
            let is_known = self.notes.lock().unwrap().seen.values().any(|seen| *seen == (self.index, number));
            if is_known {
                self.notes.lock().unwrap().waiting -= 1;
                continue;
            }
            let before = before.unwrap_or_else(|| self.last.clone());
            self.send_counted(link, stanza, Some((number, before)));
            is_any = true;
        }
        if is_any {
            link.send(format!("<r xmlns='{SM}'/>"));
        }
    }

    fn take(&mut self, link: &Link, element: &Element) {
        if element.is("a", SM) {
            let h: u32 = element.attr("h").unwrap().parse().unwrap();
            let Some(managed) = &mut self.managed else { return };
            for _ in managed.acked..h {
                let Some(sent) = self.sent.pop_front() else {
                    return self.object(format!("{h} stanzas are acknowledged, and so many were not sent"));
                };
                if sent.message.is_some() {
                    self.notes.lock().unwrap().waiting -= 1;
                }
            }
            managed.acked = h;
            return;
        }
        if element.is("r", SM) {
            if let Some(managed) = &self.managed {
                link.send(format!("<a xmlns='{SM}' h='{}'/>", managed.heard));
            }
            return;
        }
        if !element.has_ns("jabber:client") {
            return;
        }
        if let Some(managed) = &mut self.managed {
            managed.heard += 1;
        }
        match (element.name(), element.attr("type")) {
            ("iq", Some("get")) => {
                let (id, from) = (element.attr("id").unwrap(), element.attr("from").unwrap());
                self.send(link, format!("<iq type='result' id='{id}' to='{from}'/>"));
            }
            ("iq", _) => self.take_answer(link, element),
            ("message", Some("error")) => self.object(format!("heard of an error: {}", String::from(element))),
            ("message", _) => self.take_message(element),
            _ => {}
        }
    }

    fn take_answer(&mut self, link: &Link, element: &Element) {
        tracing::info!(device = self.index, now = self.place.seconds(), answer = String::from(element));
        let Some(query) = element.attr("id").and_then(|id| id.strip_prefix("mam")) else { return };
        // Of an earlier stream.
        if query != self.queries.to_string() {
            return;
        }
        let Some(fin) = element.get_child("fin", MAM) else {
            // It is told to wait, or the power has just gone.
            self.retry = Some(Instant::now() + Duration::from_secs(3));
            return;
        };
        let is_complete = fin.attr("complete") == Some("true");
        match (is_complete, self.is_caught_up, self.reading.is_some()) {
            (false, _, _) => self.query(link),
            (true, true, true) => self.notes.lock().unwrap().archive = self.reading.take(),
            (true, true, false) => {}
            (true, false, is_wanted) => {
                self.is_caught_up = true;
                if is_wanted {
                    self.query(link);
                }
            }
        }
    }

    fn take_message(&mut self, element: &Element) {
        let account = self.bare();
        if let Some(result) = element.get_child("result", MAM) {
            let id = result.attr("id").unwrap().to_owned();
            let message =
                result.get_child("forwarded", FORWARD).and_then(|it| it.get_child("message", "jabber:client"));
            let Some(name) = message.and_then(name_of) else { return };
            if result.attr("queryid") != Some(&self.queries.to_string()) {
                return;
            }
            match &mut self.reading {
                Some(read) if self.is_caught_up => read.push((id, name)),
                _ => {
                    self.notes.lock().unwrap().seen.insert(id.clone(), name);
                    self.last = Some(id);
                }
            }
            return;
        }
        let copy = element.children().find(|child| child.has_ns(CARBONS));
        let message = match copy {
            Some(copy) => copy.get_child("forwarded", FORWARD).and_then(|it| it.get_child("message", "jabber:client")),
            None => Some(element),
        };
        let Some((message, name)) = message.and_then(|message| Some((message, name_of(message)?))) else { return };
        let by_us = |child: &&Element| child.is("stanza-id", "urn:xmpp:sid:0") && child.attr("by") == Some(&account);
        let Some(id) = message.children().find(by_us).and_then(|child| child.attr("id")).map(str::to_owned) else {
            return self.object(format!("got something that is not archived: {}", String::from(element)));
        };
        let (sender, number) = name;
        if self.live.insert(sender, number).is_some_and(|last| last >= number) && self.is_caught_up {
            self.object(format!("d{sender}-{number} came twice or late on one stream"));
        }
        let had = self.notes.lock().unwrap().seen.insert(id.clone(), name).is_some();
        if had && self.is_caught_up {
            self.object(format!("d{sender}-{number} came, and was there already"));
        }
        if self.is_caught_up {
            self.last = Some(id);
        }
    }
}

/// What an element says, if it is the one.
fn said(element: Element, name: &str) -> Option<String> {
    (element.name() == name).then(|| element.text())
}

/// Whose message it is, and the how manieth.
fn name_of(message: &Element) -> Option<(usize, usize)> {
    message.get_child("body", "jabber:client")?;
    let (sender, number) = message.attr("id")?.strip_prefix('d')?.split_once('-')?;
    Some((sender.parse().ok()?, number.parse().ok()?))
}
