//! Two houses with all extensions and a road between them: a post to many readers on another server leaves as few
//! stanzas and reaches each of them once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use xmpp::limits::Limits;
use xmpp::stanza::Kind;
use xmpp::{BareJid, FullJid, Stanza, StanzaError, ns};

use crate::config::{Config, ResourceConflict, Sections};
use crate::extension::{Kit, Mount};
use crate::router::Router;
use crate::router::road::Road;
use crate::runtime::{Clock, SeededIds, SimulatedClock};
use crate::session::interest::Interests;
use crate::session::mailbox::{Frame, Taken};
use crate::session::{Session, SessionLimits, Sessions};
use crate::tables::Credentials;

const NOW: u64 = 1_795_348_800_000_000;
const READERS: usize = 600;

/// What leaves a house, until it is carried over.
#[derive(Default)]
struct Sent(Mutex<Vec<Stanza>>);

impl Road for Sent {
    fn send(&self, _local: &str, _remote: &str, frame: Frame) -> Result<(), StanzaError> {
        let mut bytes = Vec::new();
        frame.write(&mut bytes);
        self.0.lock().unwrap().push(Stanza::parse(bytes.into(), &Limits::server()).unwrap());
        Ok(())
    }
}

struct House {
    router: Arc<Router>,
    sent: Arc<Sent>,
}

impl House {
    async fn new(domain: &str) -> Self {
        let store: Arc<dyn store::Store> = Arc::new(store::Memory::new());
        let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new(NOW));
        let ids = Arc::new(SeededIds::new(1));
        let config = Config::default();
        let sessions = Sessions::new(SessionLimits { sessions_per_account_max: 10, mailbox_bytes_max: 1 << 20 });
        let ids_ = Arc::<SeededIds>::clone(&ids);
        let router = Arc::new(Router::new([domain.into()], sessions, Interests::new(10), Arc::clone(&clock), ids_));
        let kit = Kit { store, router: Arc::clone(&router), clock, ids };
        let credentials = Credentials::load(&kit.store, &kit.ids, Default::default()).await.unwrap();
        let romeo = BareJid::new(&format!("romeo@{domain}")).unwrap();
        let _exists = credentials.accounts.create(&romeo, "secret", NOW).await;
        let extensions =
            crate::extensions::furnish(&kit, &credentials, &config, &Arc::default(), &mut Sections::default()).unwrap();
        router.wire(Mount::assemble(&extensions).unwrap());
        let sent = Arc::new(Sent::default());
        router.open_road(Arc::<Sent>::clone(&sent));
        Self { router, sent }
    }

    async fn log_in(&self, jid: &str) -> Arc<Session> {
        let jid = FullJid::new(jid).unwrap();
        let session = self.router.sessions.bind(jid, ResourceConflict::Replace, NOW, || unreachable!()).unwrap();
        self.say(&session, "<presence/>").await;
        read(&session);
        session
    }

    async fn say(&self, session: &Arc<Session>, stanza: &str) {
        let stanza = Stanza::parse(stanza.to_owned().into(), &Limits::server()).unwrap();
        self.router.from_session(session, stanza).await;
    }
}

fn read(session: &Session) -> Vec<String> {
    let mut stanzas = Vec::new();
    loop {
        let mut out = Vec::new();
        match session.mailbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut out, 1) {
            Poll::Ready(Taken::Frames) => stanzas.push(String::from_utf8(out).unwrap()),
            Poll::Ready(_) | Poll::Pending => return stanzas,
        }
    }
}

/// Carries what was sent until nothing more is; what came to the other side is returned.
async fn carry(one: &House, other: &House) -> Vec<Stanza> {
    let mut carried = Vec::new();
    for _ in 0..10 {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        for (from, to) in [(one, other), (other, one)] {
            let sent = std::mem::take(&mut *from.sent.0.lock().unwrap());
            for stanza in sent {
                if std::ptr::eq(from, one) {
                    carried.push(stanza.clone());
                }
                to.router.from_remote(stanza).await;
            }
        }
    }
    carried
}

fn publish(item: &str) -> String {
    format!(
        "<iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='t'><item id='{item}'>\
         <t xmlns='urn:example:t'/></item></publish><publish-options><x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>\
         <field var='pubsub#access_model'><value>open</value></field></x></publish-options></pubsub></iq>"
    )
}

#[tokio::test]
async fn a_post_to_many_readers_elsewhere_is_few_stanzas_and_reaches_each_once() {
    let (here, there) = (House::new("here.example").await, House::new("there.example").await);
    let romeo = here.log_in("romeo@here.example/orchard").await;
    here.say(&romeo, &publish("first")).await;
    let mut readers = Vec::new();
    for at in 0..READERS {
        let jid = format!("u{at}@there.example");
        let reader = there.log_in(&format!("{jid}/r")).await;
        let subscribe = format!(
            "<iq type='set' id='s' to='romeo@here.example'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
             <subscribe node='t' jid='{jid}'/></pubsub></iq>"
        );
        there.say(&reader, &subscribe).await;
        readers.push(reader);
    }
    carry(&here, &there).await;
    // The first post asks, as it goes to each of them; the second knows.
    here.say(&romeo, &publish("second")).await;
    let sent = carry(&here, &there).await;
    let is_message = |one: &&Stanza| matches!(one.head.kind, Kind::Message(_));
    assert_eq!(sent.iter().filter(is_message).count(), READERS);
    assert_eq!(sent.len() - READERS, 1, "one question");
    for reader in &readers {
        read(reader);
    }
    here.say(&romeo, &publish("third")).await;
    let sent = carry(&here, &there).await;
    assert_eq!(sent.len(), 3, "250 at a time, as the other server told");
    assert!(sent.iter().all(|one| one.content.has("addresses", ns::ADDRESS)));
    for reader in &readers {
        let heard = read(reader);
        assert_eq!(heard.len(), 1, "{heard:?}");
        let heard = heard.first().unwrap();
        assert!(heard.contains("id='third'") && heard.contains("from='romeo@here.example'"), "{heard}");
        assert!(heard.starts_with(&format!("<message to='{}'", reader.jid.bare())), "{heard}");
        assert!(!heard.contains("addresses"), "nobody learns of the others: {heard}");
    }
}
