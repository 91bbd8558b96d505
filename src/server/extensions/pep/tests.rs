//! Pubsub at accounts, whole: a router with all extensions, sessions without streams, and what comes into their
//! mailboxes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use xmpp::limits::Limits;
use xmpp::{BareJid, FullJid, Stanza};

use super::{Hosting, Pep, Rosters};
use crate::config::Config;
use crate::config::ResourceConflict;
use crate::extension::{Kit, Mount};
use crate::extensions::blocking::Blocks;
use crate::extensions::roster::Books;
use crate::extensions::timeline::Timeline;
use crate::fanout::contacts::Contacts;
use crate::router::Router;
use crate::runtime::{Clock, SeededIds, SimulatedClock};
use crate::session::interest::{Interest, Interests};
use crate::session::mailbox::Taken;
use crate::session::{Session, SessionLimits, Sessions};
use crate::tables::Credentials;
use crate::tables::accounts::Accounts;
use crate::tables::nodes::{Nodes, NodesLimits};

/// 2026-11-22T12:00:00Z.
const NOW: u64 = 1_795_348_800_000_000;
const ROMEO: &str = "romeo@example.net/orchard";
const JULIET: &str = "juliet@example.com/balcony";
const BLOG: &str = "urn:xmpp:microblog:0";

pub(in crate::extensions) struct Stage {
    pub(in crate::extensions) router: Arc<Router>,
    pub(in crate::extensions) clock: Arc<SimulatedClock>,
    kit: Kit,
    config: Config,
    pub(super) accounts: Arc<Accounts>,
}

impl Stage {
    pub(in crate::extensions) async fn new() -> Self {
        Self::over(Arc::new(store::Memory::new())).await
    }

    pub(in crate::extensions) async fn over(store: Arc<dyn store::Store>) -> Self {
        Self::configured(store, "").await
    }

    /// Over a store that may hold something already, with this configuration.
    pub(in crate::extensions) async fn configured(store: Arc<dyn store::Store>, text: &str) -> Self {
        let clock = Arc::new(SimulatedClock::new(NOW));
        // Another house over the same store draws other numbers.
        let ids = Arc::new(SeededIds::new(1 + store.stats().commits));
        let hosts = "[[host]]\ndomain = \"example.net\"\n[[host]]\ndomain = \"example.com\"\n";
        let config = Config::parse(&format!("{hosts}{text}"), None).unwrap();
        let mut sections = config.sections.clone();
        let sessions = Sessions::new(SessionLimits {
            sessions_per_account_max: 10,
            mailbox_bytes_max: config.limits.mailbox_bytes_max,
        });
        let clock_: Arc<dyn Clock> = Arc::<SimulatedClock>::clone(&clock);
        let hosts = ["example.net".into(), "example.com".into()];
        let ids_ = Arc::<SeededIds>::clone(&ids);
        let router = Arc::new(Router::new(hosts, sessions, Interests::new(10), Arc::clone(&clock_), ids_));
        let kit = Kit { store, router: Arc::clone(&router), clock: clock_, ids };
        let credentials = Credentials::load(&kit.store, &kit.ids, Default::default()).await.unwrap();
        let extensions =
            crate::extensions::furnish(&kit, &credentials, &config, &Arc::default(), &mut sections).unwrap();
        router.wire(Mount::assemble(&extensions).unwrap());
        for jid in ["romeo@example.net", "juliet@example.com", "nurse@example.com"] {
            let _exists = credentials.accounts.create(&BareJid::new(jid).unwrap(), "secret", NOW).await;
        }
        Self { router, clock, kit, config, accounts: Arc::clone(&credentials.accounts) }
    }

    /// Another one over the same store, for what nobody can ask for at the right moment.
    pub(super) fn pep(&self) -> Arc<Pep> {
        let (kit, config) = (&self.kit, &self.config);
        let (books, blocks) = (Books::new(kit), Blocks::new(kit));
        let contacts: Arc<dyn Contacts> = Arc::new(Rosters::new(&books));
        let nodes = Arc::new(Nodes::new(Arc::clone(&kit.store), NodesLimits::default()));
        let mut sections = config.sections.clone();
        let settings = sections.take("timeline").unwrap();
        let timeline = Timeline::new(kit, &nodes, &contacts, &blocks, config, settings).unwrap();
        let hosting = Hosting::new(config, sections.take("pubsub").unwrap()).unwrap();
        Pep::new(kit, &self.accounts, &contacts, (&nodes, &timeline), config, hosting, Vec::new())
    }

    /// A session that is available and wants to be told of these nodes.
    pub(in crate::extensions) async fn log_in(&self, jid: &str, notify: &[&str]) -> Actor<'_> {
        let jid = FullJid::new(jid).unwrap();
        let session = self.router.sessions.bind(jid, ResourceConflict::Replace, NOW, || unreachable!()).unwrap();
        let actor = Actor { stage: self, session };
        actor.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>").await;
        actor.send("<presence/>").await;
        actor.read().await;
        let features: Vec<String> = notify.iter().map(|node| format!("{node}+notify")).collect();
        let interest = Interest::from_features(features.iter().map(String::as_str));
        actor.session.state().available.as_mut().unwrap().interest = Some(Arc::new(interest));
        self.router.tell(|listener| listener.caps_learned(&actor.session)).await;
        actor
    }

    pub(in crate::extensions) async fn minute(&self) {
        self.clock.advance(Duration::from_secs(60));
        let now = self.clock.now();
        self.router.tell(|listener| listener.minute_passed(now)).await;
    }
}

pub(in crate::extensions) struct Actor<'a> {
    pub(in crate::extensions) stage: &'a Stage,
    pub(in crate::extensions) session: Arc<Session>,
}

impl Actor<'_> {
    pub(in crate::extensions) async fn send(&self, stanza: &str) {
        let stanza = Stanza::parse(stanza.to_owned().into(), &Limits::server()).unwrap();
        self.stage.router.from_session(&self.session, stanza).await;
    }

    /// Everything in the mailbox after the tasks that tell have had their turn.
    pub(in crate::extensions) async fn read(&self) -> Vec<String> {
        for _ in 0..200 {
            tokio::task::yield_now().await;
        }
        self.take()
    }

    /// Everything in the mailbox now.
    pub(in crate::extensions) fn take(&self) -> Vec<String> {
        let mut stanzas = Vec::new();
        loop {
            let mut out = Vec::new();
            match self.session.mailbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut out, 1) {
                Poll::Ready(Taken::Frames) => {
                    let text = String::from_utf8(out).unwrap();
                    assert!(Stanza::parse(text.clone().into(), &Limits::server()).is_ok(), "{text}");
                    stanzas.push(text);
                }
                Poll::Ready(_) | Poll::Pending => return stanzas,
            }
        }
    }

    pub(in crate::extensions) async fn ask(&self, stanza: &str) -> String {
        self.send(stanza).await;
        let mut came = self.read().await;
        assert!(!came.is_empty(), "no answer to {stanza}");
        came.remove(0)
    }

    /// A set to an account; the answer.
    pub(in crate::extensions) async fn set(&self, to: &str, inside: &str) -> String {
        self.ask(&format!(
            "<iq type='set' id='s' to='{to}'><pubsub xmlns='http://jabber.org/protocol/pubsub'>{inside}</pubsub></iq>"
        ))
        .await
    }

    pub(in crate::extensions) async fn get(&self, to: &str, inside: &str) -> String {
        self.ask(&format!(
            "<iq type='get' id='g' to='{to}'><pubsub xmlns='http://jabber.org/protocol/pubsub'>{inside}</pubsub></iq>"
        ))
        .await
    }

    pub(super) async fn own(&self, kind: &str, inside: &str) -> String {
        let to = self.session.jid.bare();
        self.ask(&format!(
            "<iq type='{kind}' id='o' to='{to}'>\
             <pubsub xmlns='http://jabber.org/protocol/pubsub#owner'>{inside}</pubsub></iq>"
        ))
        .await
    }

    pub(in crate::extensions) async fn post(&self, id: &str, title: &str) -> String {
        let to = self.session.jid.bare().to_string();
        self.set(
            &to,
            &format!(
                "<publish node='{BLOG}'><item id='{id}' publisher='forged@example.net'>\
                 <entry xmlns='http://www.w3.org/2005/Atom'><title>{title}</title></entry></item></publish>"
            ),
        )
        .await
    }
}

pub(super) async fn befriend(one: &Actor<'_>, other: &Actor<'_>) {
    let (here, there) = (one.session.jid.bare(), other.session.jid.bare());
    one.send(&format!("<presence to='{there}' type='subscribe'/>")).await;
    other.send(&format!("<presence to='{here}' type='subscribed'/>")).await;
    other.send(&format!("<presence to='{here}' type='subscribe'/>")).await;
    one.send(&format!("<presence to='{there}' type='subscribed'/>")).await;
    one.read().await;
    other.read().await;
}

#[tokio::test]
async fn a_post_is_published_followed_told_read_and_retracted() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO, &[]).await, stage.log_in(JULIET, &[]).await);
    let answer = juliet.post("1", "first").await;
    assert!(answer.contains("type='result'") && answer.contains("<item id='1'/>"), "{answer}");
    // Nobody follows, and Juliet did not ask to be told.
    assert!(juliet.read().await.is_empty());

    let followed =
        romeo.set("juliet@example.com", &format!("<subscribe node='{BLOG}' jid='romeo@example.net'/>")).await;
    assert!(followed.contains("subscription='subscribed'"), "{followed}");
    // The profile of feeds sends no last item.
    assert!(romeo.read().await.is_empty());

    juliet.post("2", "second").await;
    let told = romeo.read().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("from='juliet@example.com'") && told[0].contains("type='headline'"), "{}", told[0]);
    assert!(told[0].contains("<item id='2' publisher='juliet@example.com'><entry "), "{}", told[0]);
    assert!(told[0].contains("second") && !told[0].contains("forged"), "{}", told[0]);

    let items = romeo.get("juliet@example.com", &format!("<items node='{BLOG}'/>")).await;
    let (first, second) = (items.find("first").unwrap(), items.find("second").unwrap());
    assert!(first < second, "in order of publication: {items}");
    let last = romeo.get("juliet@example.com", &format!("<items node='{BLOG}' max_items='1'/>")).await;
    assert!(last.contains("second") && !last.contains(">first<"), "{last}");
    let one = romeo.get("juliet@example.com", &format!("<items node='{BLOG}'><item id='1'/></items>")).await;
    assert!(one.contains("first") && !one.contains(">second<"), "{one}");

    let retracted = juliet
        .set("juliet@example.com", &format!("<retract node='{BLOG}' notify='true'><item id='1'/></retract>"))
        .await;
    assert!(retracted.contains("type='result'"), "{retracted}");
    let told = romeo.read().await;
    assert!(told[0].contains("<retract id='1'/>"), "{told:?}");
    let items = romeo.get("juliet@example.com", &format!("<items node='{BLOG}'/>")).await;
    assert!(!items.contains("first"), "{items}");

    let left = romeo.set("juliet@example.com", &format!("<unsubscribe node='{BLOG}' jid='romeo@example.net'/>")).await;
    assert!(left.contains("subscription='none'"), "{left}");
    juliet.post("3", "third").await;
    assert!(romeo.read().await.is_empty());
}

#[tokio::test]
async fn strangers_may_not_publish_and_pages_go_both_ways() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO, &[]).await, stage.log_in(JULIET, &[]).await);
    for number in 0..120 {
        juliet.post(&number.to_string(), &format!("post {number}.")).await;
    }
    let forged = romeo
        .set(
            "juliet@example.com",
            &format!(
                "<publish node='{BLOG}'><item id='x'><entry xmlns='http://www.w3.org/2005/Atom'/></item></publish>"
            ),
        )
        .await;
    assert!(forged.contains("<forbidden"), "{forged}");
    let missing = romeo.get("juliet@example.com", "<items node='nothing'/>").await;
    assert!(missing.contains("item-not-found"), "{missing}");

    let page = |set: &str| format!("<items node='{BLOG}'/><set xmlns='http://jabber.org/protocol/rsm'>{set}</set>");
    let mut seen = Vec::new();
    let mut before = String::new();
    loop {
        let answer = romeo.get("juliet@example.com", &page(&format!("<max>7</max><before>{before}</before>"))).await;
        assert!(answer.contains("<count>120</count>"), "{answer}");
        let numbers: Vec<u32> =
            answer.split("post ").skip(1).map(|rest| rest.split('.').next().unwrap().parse().unwrap()).collect();
        let Some(first) = numbers.first() else { break };
        before = first.to_string();
        seen.splice(0..0, numbers);
    }
    assert_eq!(seen, (0..120).collect::<Vec<u32>>());
    let forward = romeo.get("juliet@example.com", &page("<max>2</max><after>57</after>")).await;
    assert!(forward.contains("post 58.") && forward.contains("post 59.") && !forward.contains("post 60."), "{forward}");
    let first = romeo.get("juliet@example.com", &page("<max>2</max>")).await;
    assert!(first.contains("<first index='0'>0</first>"), "{first}");
    let gone = romeo.get("juliet@example.com", &page("<max>2</max><after>nothing</after>")).await;
    assert!(gone.contains("item-not-found"), "{gone}");
    let count = romeo.get("juliet@example.com", &page("<max>0</max>")).await;
    assert!(count.contains("<count>120</count>") && !count.contains("post "), "{count}");
    // An old id published again replaces its item, however long ago that was.
    juliet.post("5", "post 5, edited.").await;
    let edited = romeo.get("juliet@example.com", &page("<max>1</max><before/>")).await;
    assert!(edited.contains("edited") && edited.contains("<count>120</count>"), "{edited}");
    juliet.post("119", "post 119.").await;
    // Who asks for everything is given the newest hundred, and told so.
    let all = romeo.get("juliet@example.com", &format!("<items node='{BLOG}'/>")).await;
    assert!(all.contains("post 119.") && !all.contains("post 19.") && all.contains("<count>120</count>"), "{all}");
}

#[tokio::test]
async fn contacts_are_told_what_they_asked_for() {
    let tune = "http://jabber.org/protocol/tune";
    let stage = Stage::new().await;
    let romeo = stage.log_in(ROMEO, &[tune]).await;
    let juliet = stage.log_in(JULIET, &[tune]).await;
    let nurse = stage.log_in("nurse@example.com/chamber", &[tune]).await;
    befriend(&romeo, &juliet).await;
    let play = format!(
        "<publish node='{tune}'><item><tune xmlns='{tune}'><title>Wedding March</title></tune></item></publish>"
    );
    let answer = juliet.set("juliet@example.com", &play).await;
    assert!(answer.contains("type='result'"), "{answer}");
    let told = romeo.read().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("Wedding March") && told[0].contains("to='romeo@example.net/orchard'"), "{told:?}");
    assert!(nurse.read().await.is_empty(), "she sees no presence");
    let refused = nurse.get("juliet@example.com", &format!("<items node='{tune}'/>")).await;
    assert!(refused.contains("presence-subscription-required"), "{refused}");
    // A second resource comes online, and is sent the last item, with its date.
    let later = stage.log_in("romeo@example.net/home", &[tune]).await;
    let told = later.read().await;
    assert!(told.iter().any(|one| one.contains("Wedding March") && one.contains("urn:xmpp:delay")), "{told:?}");
    // Who subscribed and loses sight of her presence is no subscriber any more, and is told.
    romeo.set("juliet@example.com", &format!("<subscribe node='{tune}' jid='romeo@example.net'/>")).await;
    assert!(juliet.own("get", &format!("<subscriptions node='{tune}'/>")).await.contains("romeo@example.net"));
    juliet.send("<presence to='romeo@example.net' type='unsubscribed'/>").await;
    assert!(romeo.read().await.iter().any(|one| one.contains("subscription='none'") && one.contains(tune)));
    juliet.read().await;
    assert!(!juliet.own("get", &format!("<subscriptions node='{tune}'/>")).await.contains("romeo@example.net"));
    // One that did not ask is not told.
    let silent = stage.log_in("romeo@example.net/phone", &[]).await;
    assert!(silent.read().await.iter().all(|one| !one.contains("pubsub#event")));
}

#[tokio::test]
async fn everybody_may_comment_and_nobody_overwrite() {
    let node = "urn:xmpp:microblog:0:comments/1";
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO, &[]).await, stage.log_in(JULIET, &[]).await);
    let nurse = stage.log_in("nurse@example.com/chamber", &[]).await;
    let absent = romeo.set("juliet@example.com", &format!("<publish node='{node}'><item id='a'/></publish>")).await;
    assert!(absent.contains("item-not-found"), "only its owner makes a node: {absent}");
    let made = juliet.set("juliet@example.com", &format!("<create node='{node}'/>")).await;
    assert!(made.contains("type='result'"), "{made}");
    let entry = |text: &str| {
        format!(
            "<publish node='{node}'><item id='a'><entry xmlns='http://www.w3.org/2005/Atom'>\
             <title>{text}</title></entry></item></publish>"
        )
    };
    assert!(romeo.set("juliet@example.com", &entry("nice")).await.contains("type='result'"));
    assert!(romeo.set("juliet@example.com", &entry("very nice")).await.contains("type='result'"), "his own");
    assert!(nurse.set("juliet@example.com", &entry("mine")).await.contains("<forbidden"));
    let retract = format!("<retract node='{node}'><item id='a'/></retract>");
    assert!(nurse.set("juliet@example.com", &retract).await.contains("<forbidden"));
    let read = nurse.get("juliet@example.com", &format!("<items node='{node}'/>")).await;
    assert!(read.contains("publisher='romeo@example.net'") && read.contains("very nice"), "{read}");
    assert!(juliet.set("juliet@example.com", &retract).await.contains("type='result'"), "she moderates");
}

#[tokio::test]
async fn owners_configure_see_their_followers_and_delete() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO, &[]).await, stage.log_in(JULIET, &[]).await);
    juliet.post("1", "first").await;
    let form = juliet.own("get", &format!("<configure node='{BLOG}'/>")).await;
    assert!(form.contains("pubsub#access_model") && form.contains("<value>open</value>"), "{form}");
    let set = "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
        <value>http://jabber.org/protocol/pubsub#node_config</value></field>\
        <field var='pubsub#title'><value>Balcony</value></field>\
        <field var='pubsub#deliver_payloads'><value>1</value></field>\
        <field var='pubsub#notify_sub'><value>1</value></field></x>";
    let done = juliet.own("set", &format!("<configure node='{BLOG}'>{set}</configure>")).await;
    assert!(done.contains("type='result'"), "{done}");
    romeo.set("juliet@example.com", &format!("<subscribe node='{BLOG}' jid='romeo@example.net'/>")).await;
    let told = juliet.read().await;
    assert!(told.iter().any(|one| one.contains("<subscription") && one.contains("romeo@example.net")), "{told:?}");
    let followers = juliet.own("get", &format!("<subscriptions node='{BLOG}'/>")).await;
    assert!(followers.contains("jid='romeo@example.net'"), "{followers}");
    let mine = romeo.get("juliet@example.com", "<subscriptions/>").await;
    assert!(mine.contains(&format!("node='{BLOG}'")), "{mine}");
    juliet.post("2", "second").await;
    assert!(romeo.read().await[0].contains("second"));
    let about = romeo
        .ask(&format!("<iq type='get' id='d' to='juliet@example.com'><query xmlns='http://jabber.org/protocol/disco#info' node='{BLOG}'/></iq>"))
        .await;
    for expected in ["pubsub#meta-data", "Balcony", "<value>1</value>", "2026-11-22T12:00:00Z", "type='leaf'"] {
        assert!(about.contains(expected), "{expected}: {about}");
    }
    let nodes = romeo
        .ask("<iq type='get' id='d' to='juliet@example.com'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>")
        .await;
    assert!(nodes.contains(BLOG), "{nodes}");
    let deleted = juliet.own("set", &format!("<delete node='{BLOG}'/>")).await;
    assert!(deleted.contains("type='result'"), "{deleted}");
    let told = romeo.read().await;
    assert!(told[0].contains("<delete node="), "{told:?}");
    let read = romeo.get("juliet@example.com", &format!("<items node='{BLOG}'/>")).await;
    assert!(read.contains("type='result'") && !read.contains("<item "), "{read}");
    // What remained is cleared, and the name is free.
    for _ in 0..4 {
        stage.minute().await;
    }
    assert!(romeo.get("juliet@example.com", "<subscriptions/>").await.contains("<subscriptions></subscriptions>"));
    juliet.post("9", "again").await;
    assert!(romeo.get("juliet@example.com", &format!("<items node='{BLOG}'/>")).await.contains("again"));
}

#[tokio::test]
async fn stories_are_told_for_a_day() {
    let node = "urn:xmpp:pubsub-social-feed:stories:0";
    let stage = Stage::new().await;
    let juliet = stage.log_in(JULIET, &[]).await;
    let story = "<entry xmlns='http://www.w3.org/2005/Atom'><title>today</title></entry>";
    juliet.set("juliet@example.com", &format!("<publish node='{node}'><item id='1'>{story}</item></publish>")).await;
    let read = format!("<items node='{node}'/>");
    assert!(juliet.get("juliet@example.com", &read).await.contains("today"));
    stage.clock.advance(Duration::from_secs(86_400));
    assert!(!juliet.get("juliet@example.com", &read).await.contains("today"), "not shown");
    stage.minute().await;
    let count = juliet
        .get("juliet@example.com", &format!("{read}<set xmlns='http://jabber.org/protocol/rsm'><max>0</max></set>"))
        .await;
    assert!(count.contains("<count>0</count>"), "and not there: {count}");
}

#[tokio::test]
async fn what_was_published_is_there_after_a_restart() {
    let store: Arc<dyn store::Store> = Arc::new(store::Memory::new());
    {
        let stage = Stage::over(Arc::clone(&store)).await;
        let (romeo, juliet) = (stage.log_in(ROMEO, &[]).await, stage.log_in(JULIET, &[]).await);
        for number in 0..60 {
            juliet.post(&number.to_string(), &format!("post {number}.")).await;
        }
        juliet.post("30", "edited").await;
        romeo.set("juliet@example.com", &format!("<subscribe node='{BLOG}' jid='romeo@example.net'/>")).await;
    }
    let stage = Stage::over(store).await;
    let (romeo, juliet) = (stage.log_in(ROMEO, &[]).await, stage.log_in(JULIET, &[]).await);
    let items = juliet.get("juliet@example.com", &format!("<items node='{BLOG}'/>")).await;
    assert_eq!(items.matches("<item ").count(), 60);
    assert!(items.find("edited").unwrap() > items.find("post 59.").unwrap(), "an edit is the newest");
    juliet.post("60", "more").await;
    assert_eq!(romeo.read().await.len(), 1);
}

#[tokio::test]
async fn a_removed_account_leaves_nothing() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO, &[]).await, stage.log_in(JULIET, &[]).await);
    juliet.post("1", "first").await;
    romeo.post("1", "his").await;
    romeo.set("juliet@example.com", &format!("<subscribe node='{BLOG}' jid='romeo@example.net'/>")).await;
    stage.accounts.remove(&romeo.session.jid.bare()).await.unwrap();
    stage.router.close_account(&romeo.session.jid.bare()).await;
    let followers = juliet.own("get", &format!("<subscriptions node='{BLOG}'/>")).await;
    assert!(!followers.contains("romeo"), "{followers}");
    assert!(juliet.get("romeo@example.net", &format!("<items node='{BLOG}'/>")).await.contains("item-not-found"));
}

#[tokio::test]
async fn many_items_go_at_once_and_their_ids_are_free() {
    let stage = Stage::new().await;
    let juliet = stage.log_in(JULIET, &[]).await;
    let to = "juliet@example.com";
    let form = |fields: &str| {
        format!(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
             <value>http://jabber.org/protocol/pubsub#node_config</value></field>{fields}</x>"
        )
    };
    let set = |var: &str, value: &str| form(&format!("<field var='pubsub#{var}'><value>{value}</value></field>"));
    juliet.set(to, &format!("<create node='n'/><configure>{}</configure>", set("max_items", "max"))).await;
    let post =
        |number: u32| format!("<publish node='n'><item id='{number}'><x xmlns='urn:x'>{number}.</x></item></publish>");
    for number in 0..450 {
        juliet.set(to, &post(number)).await;
    }
    let count = "<items node='n'/><set xmlns='http://jabber.org/protocol/rsm'><max>0</max></set>";
    assert!(juliet.get(to, count).await.contains("<count>450</count>"));
    juliet.own("set", &format!("<configure node='n'>{}</configure>", set("max_items", "5"))).await;
    let left = juliet.get(to, "<items node='n'/>").await;
    assert_eq!(left.matches("<item ").count(), 5, "{left}");
    assert!(left.contains(">445.<") && left.contains(">449.<"), "{left}");
    let gone = juliet.get(to, "<items node='n'><item id='7'/></items>").await;
    assert!(!gone.contains("<item "), "{gone}");
    // An id from below the floor is published anew before the old item is cleared, and survives that.
    juliet.set(to, &post(7)).await;
    stage.minute().await;
    let left = juliet.get(to, "<items node='n'/>").await;
    assert!(left.contains(">7.<") && left.contains(">449.<") && !left.contains(">445.<"), "{left}");
    assert!(juliet.get(to, "<items node='n'><item id='7'/></items>").await.contains(">7.<"));
    juliet.own("set", "<purge node='n'/>").await;
    assert!(!juliet.get(to, "<items node='n'/>").await.contains("<item "));
    juliet.set(to, &post(8)).await;
    stage.minute().await;
    assert_eq!(juliet.get(to, "<items node='n'/>").await.matches("<item ").count(), 1);
    // An expiry that comes later counts for what is there.
    juliet.own("set", &format!("<configure node='n'>{}</configure>", set("item_expire", "30"))).await;
    stage.minute().await;
    stage.minute().await;
    assert!(juliet.get(to, count).await.contains("<count>0</count>"));
}
