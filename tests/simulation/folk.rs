//! People: sessions without streams, which do as they are told, answer what is asked of them, and note what they get.

use std::sync::Arc;
use std::task::Poll;

use base64::Engine as _;
use chirrup::config::ResourceConflict;
use chirrup::house::House;
use chirrup::session::Session;
use chirrup::session::mailbox::Taken;
use sha1::Digest as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use xmpp::limits::Limits;
use xmpp::{Element, FullJid, Stanza};

use super::ledger::Ledger;

/// The node that is asked for with `+notify`.
pub const NEWS: &str = "urn:example:news";
/// The node that is subscribed to.
pub const FEED: &str = "urn:example:feed";
const RESOURCE: &str = "here";

/// What somebody is told to do.
enum Order {
    Send(String),
    Leave(oneshot::Sender<()>),
}

/// Somebody who is logged in.
pub struct Person {
    orders: mpsc::UnboundedSender<Order>,
    task: JoinHandle<()>,
}

impl Person {
    /// Logs in, asks for the roster and the block list, and becomes available.
    pub fn enter(house: &Arc<House>, who: usize, jid: &str, ledger: &Arc<Ledger>) -> Self {
        let full = FullJid::new(&format!("{jid}/{RESOURCE}")).unwrap();
        let now = house.clock.now();
        let session = house.router.sessions.bind(full, ResourceConflict::Replace, now, String::new).unwrap();
        let (orders, arriving) = mpsc::unbounded_channel();
        let living = Living { house: Arc::clone(house), session, who, ledger: Arc::clone(ledger) };
        let task = tokio::spawn(living.live(arriving));
        let person = Self { orders, task };
        person.send("<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>".to_owned());
        person.send(format!(
            "<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:example:client' ver='{}'/>\
             </presence>",
            caps()
        ));
        person
    }

    /// Sends a stanza after those before it.
    pub fn send(&self, stanza: String) {
        self.orders.send(Order::Send(stanza)).unwrap();
    }

    /// Goes, after everything was said.
    pub async fn leave(self) {
        let (gone, is_gone) = oneshot::channel();
        self.orders.send(Order::Leave(gone)).ok();
        is_gone.await.ok();
        self.task.await.unwrap();
    }
}

/// The full address of somebody who is logged in.
pub fn full(jid: &str) -> String {
    format!("{jid}/{RESOURCE}")
}

fn caps() -> String {
    let text = format!("client/pc//sim<http://jabber.org/protocol/disco#info<{NEWS}+notify<urn:xmpp:ping<");
    base64::engine::general_purpose::STANDARD.encode(sha1::Sha1::digest(text))
}

struct Living {
    house: Arc<House>,
    session: Arc<Session>,
    who: usize,
    ledger: Arc<Ledger>,
}

impl Living {
    async fn live(self, mut orders: mpsc::UnboundedReceiver<Order>) {
        Box::pin(self.house.router.tell(|listener| listener.session_bound(&self.session))).await;
        let gone = loop {
            let order = tokio::select! {
                biased;
                taken = self.take() => {
                    match taken {
                        Some(stanza) => self.hear(stanza).await,
                        None => {
                            self.ledger.object(format!("{} was thrown out", self.session.jid));
                            break None;
                        }
                    }
                    continue;
                }
                order = orders.recv() => order,
            };
            match order {
                Some(Order::Send(stanza)) => self.say(&stanza).await,
                Some(Order::Leave(gone)) => break Some(gone),
                None => break None,
            }
        };
        // Nothing comes between the last look and the end: nobody else runs.
        while let Some(stanza) = self.take_now() {
            self.note(&stanza);
        }
        self.ledger.left(self.who);
        self.house.router.sessions.unbind(&self.session);
        if let Some(presences) = &self.house.router.wiring().presences {
            presences.ended(Arc::clone(&self.session)).await;
        }
        if let Some(gone) = gone {
            gone.send(()).ok();
        }
    }

    async fn take(&self) -> Option<Stanza> {
        let mut bytes = Vec::new();
        match std::future::poll_fn(|cx| self.session.mailbox.poll_take(cx, &mut bytes, 1)).await {
            Taken::Frames => Some(parse(bytes)),
            Taken::Close(_) | Taken::Cut(_) => None,
        }
    }

    fn take_now(&self) -> Option<Stanza> {
        let mut bytes = Vec::new();
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match self.session.mailbox.poll_take(&mut cx, &mut bytes, 1) {
            Poll::Ready(Taken::Frames) => Some(parse(bytes)),
            _ => None,
        }
    }

    async fn say(&self, stanza: &str) {
        self.session.heard(self.house.clock.now());
        let stanza = parse(stanza.as_bytes().to_vec());
        self.house.router.from_session(&self.session, stanza).await;
    }

    fn note(&self, stanza: &Stanza) {
        if let Err(objection) = self.ledger.heard(self.who, stanza) {
            self.ledger.object(format!(
                "{}: {objection}: {}",
                self.session.jid,
                String::from_utf8_lossy(&stanza.render())
            ));
        }
    }

    async fn hear(&self, stanza: Stanza) {
        self.note(&stanza);
        for answer in self.answers(&stanza) {
            self.say(&answer).await;
        }
    }

    /// What a client does by itself.
    fn answers(&self, stanza: &Stanza) -> Vec<String> {
        let mut element = element(stanza);
        let type_ = element.attr("type").unwrap_or_default().to_owned();
        let from = element.attr("from").unwrap_or_default().to_owned();
        let id = element.attr("id").unwrap_or_default().to_owned();
        let to = if from.is_empty() { String::new() } else { format!(" to='{from}'") };
        let Some(payload) = element.children_mut().next() else {
            let is_asked = stanza.head.kind.name() == "presence" && type_ == "subscribe";
            return if is_asked { vec![self.reply_to_subscribe(&from)] } else { Vec::new() };
        };
        if stanza.head.kind.name() == "presence" && type_ == "subscribe" {
            return vec![self.reply_to_subscribe(&from)];
        }
        if stanza.head.kind.name() != "iq" || !matches!(type_.as_str(), "get" | "set") {
            return Vec::new();
        }
        let result = if payload.is("query", "http://jabber.org/protocol/disco#info") {
            let node = payload.attr("node").map(|node| format!(" node='{node}'")).unwrap_or_default();
            format!(
                "<query xmlns='http://jabber.org/protocol/disco#info'{node}><identity category='client' type='pc' \
                 name='sim'/><feature var='http://jabber.org/protocol/disco#info'/><feature var='{NEWS}+notify'/>\
                 <feature var='urn:xmpp:ping'/></query>"
            )
        } else {
            String::new()
        };
        vec![format!("<iq type='result' id='{id}'{to}>{result}</iq>")]
    }

    /// Most are let in.
    fn reply_to_subscribe(&self, from: &str) -> String {
        let type_ = if self.ledger.welcomes(self.who, from) { "subscribed" } else { "unsubscribed" };
        format!("<presence to='{from}' type='{type_}'/>")
    }
}

fn parse(bytes: Vec<u8>) -> Stanza {
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Stanza::parse(bytes.into(), &Limits::server()).unwrap_or_else(|error| panic!("{error:?}: {text}"))
}

/// The stanza as a tree.
pub fn element(stanza: &Stanza) -> Element {
    let text = String::from_utf8(stanza.render().to_vec()).unwrap();
    crate::stage::frames::elements(&text).unwrap().pop().unwrap()
}
