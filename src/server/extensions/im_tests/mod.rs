//! Roster, presence, messages, offline messages and blocking together: a router with their extensions, sessions
//! without streams, and what comes into their mailboxes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod archive;
mod blocking;
mod contacts;
mod copies;
mod delegated;
mod messages;
mod push;
mod registration;
mod retention;
mod services;
mod steps;

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use xmpp::limits::Limits;
use xmpp::{BareJid, FullJid, Stanza};

use crate::config::ResourceConflict;
use crate::config::{Config, Registration, Sections};
use crate::extension::{Kit, Mount};
use crate::router::Router;
use crate::runtime::{Clock, SeededIds, SimulatedClock};
use crate::session::interest::Interests;
use crate::session::mailbox::Taken;
use crate::session::{Session, SessionLimits, Sessions};
use crate::tables::Credentials;
use crate::tables::accounts::Accounts;

/// 2026-11-22T12:00:00Z.
const NOW: u64 = 1_795_348_800_000_000;

struct Stage {
    router: Arc<Router>,
    clock: Arc<SimulatedClock>,
    accounts: Arc<Accounts>,
    store: Arc<dyn store::Store>,
}

impl Stage {
    async fn new() -> Self {
        Self::over(Arc::new(store::Memory::new())).await
    }

    /// Another house over the same store, as after a restart.
    async fn over(store: Arc<dyn store::Store>) -> Self {
        Self::furnished(store, "").await
    }

    /// A house without archives.
    async fn unarchived(store: Arc<dyn store::Store>) -> Self {
        Self::furnished(store, "[archive]\nenabled = false").await
    }

    async fn furnished(store: Arc<dyn store::Store>, sections: &str) -> Self {
        let clock = Arc::new(SimulatedClock::new(NOW));
        let ids = Arc::new(SeededIds::new(1));
        let mut config = Config::default();
        config.limits.roster_items_max = 50;
        config.limits.offline_messages_per_account_max = 3;
        config.limits.blocklist_items_max = 3;
        config.registration = Registration::Open;
        config.admins = vec!["root@example.net".into()];
        let sessions = Sessions::new(SessionLimits {
            sessions_per_account_max: 10,
            mailbox_bytes_max: config.limits.mailbox_bytes_max,
        });
        let clock_: Arc<dyn Clock> = Arc::<SimulatedClock>::clone(&clock);
        let router = Arc::new(Router::new(
            ["example.net".into(), "example.com".into()],
            sessions,
            Interests::new(10),
            Arc::clone(&clock_),
            Arc::<SeededIds>::clone(&ids),
        ));
        let kit = Kit { store: Arc::clone(&store), router: Arc::clone(&router), clock: clock_, ids };
        let mut sections: Sections = Config::parse(sections, None).unwrap().sections;
        let credentials = Credentials::load(&kit.store, &kit.ids, Default::default()).await.unwrap();
        let extensions = super::furnish(&kit, &credentials, &config, &Arc::default(), &mut sections).unwrap();
        router.wire(Mount::assemble(&extensions).unwrap());
        Self { router, clock, accounts: credentials.accounts, store }
    }

    /// Until what subscriptions left to be done is done: nothing here waits for anything but its turn.
    async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    async fn account(&self, jid: &str) {
        self.accounts.create(&BareJid::new(jid).unwrap(), "secret", NOW).await.unwrap();
    }

    async fn connect(&self, jid: &str) -> Actor<'_> {
        let jid = FullJid::new(jid).unwrap();
        let session = self.router.sessions.bind(jid, ResourceConflict::Replace, NOW, || unreachable!()).unwrap();
        self.router.tell(|listener| listener.session_bound(&session)).await;
        Actor { stage: self, session }
    }

    /// Connected, with the roster asked for and initial presence sent; what came of that is read.
    async fn log_in(&self, jid: &str) -> Actor<'_> {
        let actor = self.connect(jid).await;
        actor.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
        actor.send("<presence/>").await;
        actor.read();
        actor
    }
}

struct Actor<'a> {
    stage: &'a Stage,
    session: Arc<Session>,
}

impl Actor<'_> {
    async fn send(&self, stanza: &str) {
        let stanza = Stanza::parse(stanza.to_owned().into(), &Limits::server()).unwrap();
        self.stage.router.from_session(&self.session, stanza).await;
        self.stage.settle().await;
    }

    /// Everything in the mailbox, a string for each stanza.
    fn read(&self) -> Vec<String> {
        let mut stanzas = Vec::new();
        loop {
            let mut out = Vec::new();
            match self.session.mailbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut out, 1) {
                Poll::Ready(Taken::Frames) => stanzas.push(String::from_utf8(out).unwrap()),
                Poll::Ready(_) | Poll::Pending => return stanzas,
            }
        }
    }

    /// Sends, and answers what came back to the sender.
    async fn ask(&self, stanza: &str) -> Vec<String> {
        self.send(stanza).await;
        self.read()
    }

    /// The stream breaks.
    async fn vanish(self) {
        self.stage.router.sessions.unbind(&self.session);
        if let Some(rules) = &self.stage.router.wiring().presences {
            rules.ended(Arc::clone(&self.session)).await;
        }
        self.stage.router.tell(|listener| listener.session_ended(&self.session)).await;
    }
}

/// Both see each other's presence afterwards.
async fn befriend(one: &Actor<'_>, other: &Actor<'_>) {
    let (here, there) = (one.session.jid.bare(), other.session.jid.bare());
    one.send(&format!("<presence to='{there}' type='subscribe'/>")).await;
    other.send(&format!("<presence to='{here}' type='subscribed'/>")).await;
    other.send(&format!("<presence to='{here}' type='subscribe'/>")).await;
    one.send(&format!("<presence to='{there}' type='subscribed'/>")).await;
    one.read();
    other.read();
}

const ROMEO: &str = "romeo@example.net/orchard";
const JULIET: &str = "juliet@example.com/balcony";
