//! Roster, presence, messages, offline messages and blocking together: a router with their extensions, sessions
//! without streams, and what comes into their mailboxes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use xmpp::limits::Limits;
use xmpp::{BareJid, FullJid, Stanza};

use crate::config::ResourceConflict;
use crate::config::{Config, Sections};
use crate::extension::{Kit, Mount};
use crate::router::Router;
use crate::runtime::{Clock, SeededIds, SimulatedClock};
use crate::session::interest::Interests;
use crate::session::mailbox::Taken;
use crate::session::{Session, SessionLimits, Sessions};
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
        let clock = Arc::new(SimulatedClock::new(NOW));
        let ids = Arc::new(SeededIds::new(1));
        let mut config = Config::default();
        config.limits.roster_items_max = 50;
        config.limits.offline_messages_per_account_max = 3;
        config.limits.blocklist_items_max = 3;
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
        let accounts = Arc::new(Accounts::load(Arc::clone(&store), Arc::<SeededIds>::clone(&ids)).await.unwrap());
        let kit = Kit { store: Arc::clone(&store), router: Arc::clone(&router), clock: clock_, ids };
        let extensions = super::furnish(&kit, &accounts, &config, &mut Sections::default()).unwrap();
        router.wire(Mount::assemble(&extensions).unwrap());
        Self { router, clock, accounts, store }
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
    }

    /// Everything in the mailbox, a string for each stanza.
    fn read(&self) -> Vec<String> {
        let mut stanzas = Vec::new();
        loop {
            let mut out = Vec::new();
            match self.session.mailbox.poll_take(&mut Context::from_waker(Waker::noop()), &mut out, 1) {
                Poll::Ready(Taken::Frames) => stanzas.push(String::from_utf8(out).unwrap()),
                Poll::Ready(Taken::Close(_)) | Poll::Pending => return stanzas,
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

#[tokio::test]
async fn a_roster_is_set_pushed_got_and_emptied() {
    let stage = Stage::new().await;
    let (orchard, home) = (stage.log_in(ROMEO).await, stage.connect("romeo@example.net/home").await);
    let set = "<iq type='set' id='s1'><query xmlns='jabber:iq:roster'><item jid='nurse@example.com' name='Nurse'>\
               <group>Servants</group></item></query></iq>";
    let answers = orchard.ask(set).await;
    assert_eq!(answers.len(), 2);
    assert!(answers[0].contains("to='romeo@example.net/orchard' id='roster-1'"), "{answers:?}");
    assert!(
        answers[0]
            .contains("<item jid='nurse@example.com' subscription='none' name='Nurse'><group>Servants</group></item>")
    );
    assert!(answers[1].contains("type='result'") && answers[1].contains("id='s1'"));
    assert!(home.read().is_empty(), "who never asked for the roster is not interested");

    let got = home.ask("<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>").await;
    assert!(got[0].contains("name='Nurse'") && got[0].contains("ver="), "{got:?}");

    let remove = "<iq type='set' id='s2'><query xmlns='jabber:iq:roster'><item jid='nurse@example.com' subscription='remove'/></query></iq>";
    orchard.send(remove).await;
    let pushed = home.read();
    assert!(pushed[0].contains("<item jid='nurse@example.com' subscription='remove'/>"), "{pushed:?}");
    assert!(orchard.ask(remove).await.last().unwrap().contains("item-not-found"));
    let own = "<iq type='set' id='s3'><query xmlns='jabber:iq:roster'><item jid='romeo@example.net'/></query></iq>";
    assert!(orchard.ask(own).await.last().unwrap().contains("not-allowed"));
    let other =
        "<iq type='set' id='s4' to='juliet@example.com'><query xmlns='jabber:iq:roster'><item jid='a@b'/></query></iq>";
    assert!(orchard.ask(other).await.last().unwrap().contains("forbidden"));
}

#[tokio::test]
async fn a_client_is_told_what_it_missed_and_nothing_else() {
    let stage = Stage::new().await;
    let version = |answer: &str| answer.split("ver='").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    let get = |ver: &str| format!("<iq type='get' id='g'><query xmlns='jabber:iq:roster' ver='{ver}'/></iq>");
    let set = |item: &str| format!("<iq type='set' id='s'><query xmlns='jabber:iq:roster'>{item}</query></iq>");
    let romeo = stage.log_in(ROMEO).await;
    for number in 0..5 {
        romeo.send(&set(&format!("<item jid='c{number}@example.org'/>"))).await;
    }
    let known = version(romeo.read().iter().rev().find(|stanza| stanza.contains("ver=")).unwrap());
    assert_eq!(romeo.ask(&get(&known)).await.len(), 1, "nothing was missed");

    romeo.send(&set("<item jid='c1@example.org' name='One'/>")).await;
    romeo.send(&set("<item jid='c2@example.org' subscription='remove'/>")).await;
    romeo.send(&set("<item jid='c1@example.org' name='Uno'/>")).await;
    romeo.read();
    // After a restart too.
    let stage = Stage::over(Arc::clone(&stage.store)).await;
    let romeo = stage.connect(ROMEO).await;
    let answers = romeo.ask(&get(&known)).await;
    assert_eq!(answers.len(), 3, "{answers:?}");
    assert!(answers[0].contains("type='result'") && !answers[0].contains("<query"), "an empty result comes first");
    assert!(answers[1].contains("jid='c2@example.org' subscription='remove'"));
    assert!(answers[2].contains("name='Uno'"));

    for strange in ["", "nonsense", "0-1", "ffff-ffff"] {
        let answers = romeo.ask(&get(strange)).await;
        assert!(answers.len() == 1 && answers[0].matches("<item").count() == 4, "{strange}: {answers:?}");
    }
}

#[tokio::test]
async fn a_full_roster_takes_no_more() {
    let stage = Stage::new().await;
    let romeo = stage.connect(ROMEO).await;
    for number in 0..50 {
        romeo
            .send(&format!(
                "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='c{number}@b'/></query></iq>"
            ))
            .await;
    }
    romeo.read();
    let one_more = "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='d@b'/></query></iq>";
    assert!(romeo.ask(one_more).await[0].contains("resource-constraint"));
    let answers = romeo.ask("<presence to='d@b' type='subscribe'/>").await;
    assert!(
        answers[0].contains("resource-constraint") && answers[0].contains("to='romeo@example.net/orchard'"),
        "{answers:?}"
    );
    let known = "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='c7@b' name='Seven'/></query></iq>";
    assert!(romeo.ask(known).await[0].contains("type='result'"), "what is there can change");
}

#[tokio::test]
async fn two_become_contacts_and_part_again() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);

    let asked =
        romeo.ask("<presence to='juliet@example.com/x' type='subscribe' id='p1'><status>Hi</status></presence>").await;
    assert!(asked.len() == 1 && asked[0].contains("subscription='none' ask='subscribe'"), "{asked:?}");
    let request = juliet.read();
    assert_eq!(request.len(), 1, "the request and no push: {request:?}");
    assert_eq!(
        request[0],
        "<presence to='juliet@example.com' from='romeo@example.net' type='subscribe' id='p1'><status>Hi</status></presence>"
    );

    let approved = juliet.ask("<presence to='romeo@example.net' type='subscribed'/>").await;
    assert!(approved.len() == 1 && approved[0].contains("jid='romeo@example.net' subscription='from'"), "{approved:?}");
    let told = romeo.read();
    assert!(told[0].contains("type='subscribed'"), "before the push: {told:?}");
    assert!(told[1].contains("subscription='to'") && !told[1].contains("ask="));
    assert!(told[2].contains("from='juliet@example.com/balcony'") && !told[2].contains("type="));

    juliet.send("<presence to='romeo@example.net' type='subscribe'/>").await;
    romeo.send("<presence to='juliet@example.com' type='subscribed'/>").await;
    assert!(romeo.read().iter().any(|stanza| stanza.contains("subscription='both'")));
    juliet.read();

    romeo.send("<presence><show>away</show></presence>").await;
    assert_eq!(
        juliet.read(),
        ["<presence to='juliet@example.com' from='romeo@example.net/orchard'><show>away</show></presence>"]
    );
    romeo.read();

    // Section 3.2: juliet withdraws what she granted.
    let withdrawn = juliet.ask("<presence to='romeo@example.net' type='unsubscribed'/>").await;
    assert!(withdrawn.iter().any(|stanza| stanza.contains("subscription='to'")), "{withdrawn:?}");
    let told = romeo.read();
    assert!(told[0].contains("from='juliet@example.com/balcony' type='unavailable'"), "{told:?}");
    assert!(told[1].contains("from='juliet@example.com' type='unsubscribed'"));
    assert!(told[2].contains("subscription='from'"));

    // Section 2.5.2: romeo removes her.
    romeo.send("<iq type='set' id='x'><query xmlns='jabber:iq:roster'><item jid='juliet@example.com' subscription='remove'/></query></iq>").await;
    let told = juliet.read();
    assert!(told[0].contains("type='unavailable'") && told[1].contains("type='unsubscribed'"), "{told:?}");
    assert!(told[2].contains("jid='romeo@example.net' subscription='none'"));
}

#[tokio::test]
async fn a_request_waits_for_who_is_away_and_comes_until_it_is_answered() {
    let stage = Stage::new().await;
    stage.account("juliet@example.com").await;
    let romeo = stage.log_in(ROMEO).await;
    romeo.send("<presence to='juliet@example.com' type='subscribe'><status>one</status></presence>").await;
    romeo.send("<presence to='juliet@example.com' type='subscribe'><status>two</status></presence>").await;
    romeo.send("<presence to='nobody@example.com' type='subscribe'/>").await;
    let stage = Stage::over(Arc::clone(&stage.store)).await;
    for _ in 0..2 {
        let juliet = stage.connect(JULIET).await;
        let got = juliet.ask("<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>").await;
        assert!(!got[0].contains("<item"), "a request is no roster item (section 3.1.3): {got:?}");
        let told = juliet.ask("<presence/>").await;
        assert_eq!(told.iter().filter(|stanza| stanza.contains("type='subscribe'")).count(), 1, "{told:?}");
        assert!(told.iter().any(|stanza| stanza.contains("<status>one</status>")), "the whole stanza was kept");
        juliet.vanish().await;
    }
    let juliet = stage.connect(JULIET).await;
    juliet.send("<presence/>").await;
    juliet.send("<presence to='romeo@example.net' type='unsubscribed'/>").await;
    juliet.vanish().await;
    let juliet = stage.connect(JULIET).await;
    assert!(!juliet.ask("<presence/>").await.iter().any(|stanza| stanza.contains("subscribe")), "it was answered");
}

#[tokio::test]
async fn a_pre_approved_contact_is_let_in_at_once() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    let noted = juliet.ask("<presence to='romeo@example.net' type='subscribed'/>").await;
    assert!(noted[0].contains("approved='true'"), "{noted:?}");
    assert!(romeo.read().is_empty());
    let told = romeo.ask("<presence to='juliet@example.com' type='subscribe'/>").await;
    assert!(told.iter().any(|stanza| stanza.contains("type='subscribed'")), "{told:?}");
    assert!(told.iter().any(|stanza| stanza.contains("from='juliet@example.com/balcony'")));
    assert!(!juliet.read().iter().any(|stanza| stanza.contains("type='subscribe'")), "she is not asked");
}

#[tokio::test]
async fn presence_comes_and_goes_with_the_resource() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    befriend(&romeo, &juliet).await;

    let chamber = stage.connect("juliet@example.com/chamber").await;
    let told = chamber.ask("<presence><priority>-1</priority></presence>").await;
    let from = |jid: &str| told.iter().filter(|stanza| stanza.contains(&format!("from='{jid}'"))).count();
    assert_eq!(
        (from("juliet@example.com/chamber"), from("juliet@example.com/balcony"), from(ROMEO)),
        (1, 1, 1),
        "{told:?}"
    );
    assert_eq!(juliet.read().len(), 1, "the account's other resources hear of it");
    assert_eq!(romeo.read().len(), 1);

    chamber.vanish().await;
    for other in [&romeo, &juliet] {
        let told = other.read();
        assert!(
            told.len() == 1 && told[0].contains("from='juliet@example.com/chamber' type='unavailable'"),
            "{told:?}"
        );
    }
    romeo.send("<presence type='unavailable'><status>gone home</status></presence>").await;
    assert!(juliet.read()[0].contains("<status>gone home</status>"));
    assert!(romeo.read()[0].contains("type='unavailable'"), "also to the resource itself");
    juliet.send("<presence><show>dnd</show></presence>").await;
    assert!(romeo.read().is_empty(), "who is connected and not available gets no presence");
    let back = romeo.ask("<presence/>").await;
    assert!(back.iter().any(|stanza| stanza.contains("<show>dnd</show>")), "{back:?}");
    for wrong in ["128", "-129", "x", ""] {
        let answer = romeo.ask(&format!("<presence id='w'><priority>{wrong}</priority></presence>")).await;
        assert!(answer[0].contains("bad-request"), "{wrong}: {answer:?}");
    }
}

#[tokio::test]
async fn directed_presence_ends_with_the_session() {
    let stage = Stage::new().await;
    let (romeo, nurse) = (stage.log_in(ROMEO).await, stage.log_in("nurse@example.com/kitchen").await);
    romeo.send("<presence to='nurse@example.com'><show>dnd</show></presence>").await;
    assert!(nurse.read()[0].contains("<show>dnd</show>"));
    romeo.send("<presence><show>away</show></presence>").await;
    assert!(nurse.read().is_empty(), "she is no contact");
    // Section 4.6.6: only that he is there.
    let probe = format!("<presence to='{ROMEO}' type='probe' id='q'/>");
    assert_eq!(nurse.ask(&probe).await, [format!("<presence to='nurse@example.com/kitchen' from='{ROMEO}' id='q'/>")]);
    let ping = format!("<iq to='{ROMEO}' type='get' id='i'><ping xmlns='urn:xmpp:ping'/></iq>");
    nurse.send(&ping).await;
    assert!(romeo.read().iter().any(|stanza| stanza.contains("<ping")), "she knows that he is there");
    romeo.vanish().await;
    let told = nurse.read();
    assert!(told.len() == 1 && told[0].contains("type='unavailable'"), "{told:?}");
}

#[tokio::test]
async fn a_stranger_learns_nothing() {
    let stage = Stage::new().await;
    stage.account("juliet@example.com").await;
    let (romeo, _juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    for to in ["juliet@example.com", JULIET, "nobody@example.com"] {
        let answer = romeo.ask(&format!("<presence to='{to}' type='probe' id='q'/>")).await;
        assert!(answer.is_empty(), "an unsubscribed changes nothing and is not delivered: {answer:?}");
    }
    for to in [JULIET, "juliet@example.com/nowhere", "nobody@example.com/x"] {
        let answer = romeo.ask(&format!("<iq to='{to}' type='get' id='i'><ping xmlns='urn:xmpp:ping'/></iq>")).await;
        assert!(answer.len() == 1 && answer[0].contains("service-unavailable"), "{to}: {answer:?}");
    }
    let answer =
        romeo.ask("<iq to='juliet@example.com' type='get' id='i'><query xmlns='jabber:iq:roster'/></iq>").await;
    assert!(answer[0].contains("forbidden"));
}

#[tokio::test]
async fn messages_follow_priorities() {
    let stage = Stage::new().await;
    let romeo = stage.log_in(ROMEO).await;
    let (balcony, chamber) = (stage.log_in(JULIET).await, stage.log_in("juliet@example.com/chamber").await);
    chamber.send("<presence><priority>5</priority></presence>").await;
    balcony.read();
    chamber.read();
    let counts = || (balcony.read().len(), chamber.read().len());

    romeo.send("<message to='juliet@example.com' type='chat'><body>most available</body></message>").await;
    assert_eq!(counts(), (0, 1));
    romeo.send("<message to='juliet@example.com' type='headline'><body>all</body></message>").await;
    assert_eq!(counts(), (1, 1));
    romeo.send(&format!("<message to='{JULIET}' type='chat'><body>one</body></message>")).await;
    assert_eq!(counts(), (1, 0));
    romeo.send("<message to='juliet@example.com/gone' type='chat'><body>elsewhere</body></message>").await;
    assert_eq!(counts(), (0, 1));
    chamber.send("<presence><priority>-5</priority></presence>").await;
    counts();
    romeo.send("<message to='juliet@example.com'><body>not to a negative one</body></message>").await;
    assert_eq!(counts(), (1, 0));
    for refused in [
        "<message to='juliet@example.com' type='groupchat'/>",
        "<message to='juliet@example.com/gone'/>",
        "<message to='nobody@example.com' type='chat'/>",
    ] {
        let answer = romeo.ask(refused).await;
        assert!(answer.len() == 1 && answer[0].contains("service-unavailable"), "{refused}: {answer:?}");
    }
    for dropped in
        ["<message to='juliet@example.com' type='error'/>", "<message to='nobody@example.com' type='headline'/>"]
    {
        assert!(romeo.ask(dropped).await.is_empty(), "{dropped}");
    }
    assert_eq!(counts(), (0, 0));
    let note = romeo.ask("<message type='chat'><body>to myself</body></message>").await;
    assert!(note[0].contains("to='romeo@example.net'"), "{note:?}");
}

#[tokio::test]
async fn messages_wait_for_who_is_away_in_their_order() {
    let stage = Stage::new().await;
    stage.account("juliet@example.com").await;
    let romeo = stage.log_in(ROMEO).await;
    for number in 1..=4 {
        let said =
            format!("<message to='juliet@example.com' type='chat' id='m{number}'><body>{number}</body></message>");
        let answer = romeo.ask(&said).await;
        assert_eq!(answer.len(), usize::from(number == 4), "the queue has room for three: {answer:?}");
        stage.clock.advance(std::time::Duration::from_secs(60));
    }
    let typing = "<message to='juliet@example.com' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>";
    assert!(romeo.ask(typing).await.is_empty());

    // A restart loses nothing; a negative priority does not fetch.
    let stage = Stage::over(Arc::clone(&stage.store)).await;
    let juliet = stage.connect(JULIET).await;
    assert_eq!(juliet.ask("<presence><priority>-1</priority></presence>").await.len(), 1);
    let came: Vec<String> =
        juliet.ask("<presence/>").await.into_iter().filter(|stanza| stanza.starts_with("<message")).collect();
    assert_eq!(came.len(), 3);
    for (number, stanza) in came.iter().enumerate() {
        assert!(stanza.contains(&format!("<body>{}</body>", number + 1)), "{came:?}");
    }
    assert!(
        came[0].contains("<delay xmlns='urn:xmpp:delay' from='example.com' stamp='2026-11-22T12:00:00Z'>"),
        "{came:?}"
    );
    assert!(came[2].contains("stamp='2026-11-22T12:02:00Z'"));
    juliet.vanish().await;
    let juliet = stage.connect(JULIET).await;
    assert_eq!(juliet.ask("<presence/>").await.len(), 1, "they came once");
}

#[tokio::test]
async fn what_a_lost_stream_never_read_is_not_lost() {
    let stage = Stage::new().await;
    stage.account("juliet@example.com").await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    romeo.send("<message to='juliet@example.com' type='chat'><body>one</body></message>").await;
    romeo.send("<message to='juliet@example.com/balcony' type='chat'><body>two</body></message>").await;
    romeo.send("<message to='juliet@example.com/balcony' id='n'><body>only there</body></message>").await;
    juliet.vanish().await;
    let answer = romeo.read();
    assert!(
        answer.len() == 1 && answer[0].contains("service-unavailable") && answer[0].contains("id='n'"),
        "{answer:?}"
    );

    for _ in 0..2 {
        let juliet = stage.connect(JULIET).await;
        juliet.send("<presence/>").await;
        // Once more nobody reads.
        juliet.vanish().await;
    }
    let juliet = stage.connect("juliet@example.com/chamber").await;
    let came = juliet.ask("<presence/>").await;
    let came: Vec<&String> = came.iter().filter(|stanza| stanza.starts_with("<message")).collect();
    assert_eq!(came.len(), 2, "{came:?}");
    assert!(came[0].contains("<body>one</body>") && came[1].contains("<body>two</body>"));
    assert!(came.iter().all(|stanza| stanza.matches("<delay").count() == 1), "{came:?}");
}

#[tokio::test]
async fn nobody_else_says_when_we_held_a_message_up() {
    let stage = Stage::new().await;
    stage.account("juliet@example.com").await;
    let romeo = stage.log_in(ROMEO).await;
    let forged = "<delay xmlns='urn:xmpp:delay' from='example.com' stamp='1999-01-01T00:00:00Z'/>";
    romeo.send(&format!("<message to='juliet@example.com' type='chat'><body>x</body>{forged}</message>")).await;
    let juliet = stage.connect(JULIET).await;
    let came = juliet.ask("<presence/>").await;
    assert!(!came.iter().any(|stanza| stanza.contains("1999")), "{came:?}");
}

#[tokio::test]
async fn the_blocked_see_nobody_and_reach_nobody() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    befriend(&romeo, &juliet).await;
    let list = "<iq type='get' id='b'><blocklist xmlns='urn:xmpp:blocking'/></iq>";
    assert!(juliet.ask(list).await[0].contains("<blocklist xmlns='urn:xmpp:blocking'></blocklist>"));
    let command = |name: &str, jid: &str| {
        format!("<iq type='set' id='c'><{name} xmlns='urn:xmpp:blocking'><item jid='{jid}'/></{name}></iq>")
    };

    let answers = juliet.ask(&command("block", "romeo@example.net")).await;
    assert!(
        answers[0].contains("<block xmlns='urn:xmpp:blocking'><item jid='romeo@example.net'/></block>"),
        "{answers:?}"
    );
    assert!(answers[1].contains("type='result'"));
    assert!(romeo.read()[0].contains("from='juliet@example.com/balcony' type='unavailable'"));

    juliet.send("<presence><show>chat</show></presence>").await;
    assert!(romeo.read().is_empty());
    for (sent, condition) in [
        ("<message to='juliet@example.com' type='chat'><body>x</body></message>", Some("service-unavailable")),
        ("<message to='juliet@example.com/balcony'><body>x</body></message>", Some("service-unavailable")),
        (
            "<iq to='juliet@example.com/balcony' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
            Some("service-unavailable"),
        ),
        (
            "<iq to='juliet@example.com' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
            Some("service-unavailable"),
        ),
        ("<message to='juliet@example.com' type='headline'><body>x</body></message>", None),
        ("<presence to='juliet@example.com' type='probe'/>", None),
        ("<presence to='juliet@example.com' type='subscribe'/>", None),
        ("<presence to='juliet@example.com'/>", None),
        ("<iq to='juliet@example.com/balcony' type='result' id='1'/>", None),
    ] {
        juliet.read();
        let answer: Vec<String> =
            romeo.ask(sent).await.into_iter().filter(|stanza| !stanza.contains("jabber:iq:roster")).collect();
        assert_eq!(answer.len(), usize::from(condition.is_some()), "{sent}: {answer:?}");
        assert!(condition.is_none_or(|condition| answer[0].contains(condition)), "{sent}: {answer:?}");
        assert!(juliet.read().is_empty(), "{sent}");
    }
    for sent in
        ["<message to='romeo@example.net'><body>x</body></message>", "<presence to='romeo@example.net/orchard'/>"]
    {
        let answer = juliet.ask(sent).await;
        assert!(
            answer[0].contains("<not-acceptable") && answer[0].contains("<blocked xmlns='urn:xmpp:blocking:errors'/>"),
            "{answer:?}"
        );
    }
    assert!(romeo.read().is_empty());

    let answers = juliet.ask("<iq type='set' id='c'><unblock xmlns='urn:xmpp:blocking'/></iq>").await;
    assert!(answers[0].contains("<unblock xmlns='urn:xmpp:blocking'></unblock>"), "{answers:?}");
    assert!(romeo.read()[0].contains("<show>chat</show>"), "he sees her again");
    assert!(answers.iter().any(|stanza| stanza.contains(&format!("from='{ROMEO}'"))), "and she him: {answers:?}");
    romeo.send("<message to='juliet@example.com' type='chat'><body>x</body></message>").await;
    assert_eq!(juliet.read().len(), 1);

    assert!(
        juliet.ask("<iq type='set' id='c'><block xmlns='urn:xmpp:blocking'/></iq>").await[0].contains("bad-request")
    );
    assert!(juliet.ask(&command("block", "@")).await[0].contains("jid-malformed"));
    for number in 0..3 {
        juliet.send(&command("block", &format!("s{number}@b"))).await;
    }
    juliet.read();
    assert!(juliet.ask(&command("block", "s4@b")).await[0].contains("resource-constraint"));
}

#[tokio::test]
async fn a_domain_or_a_resource_can_be_blocked() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    let block =
        |jid: &str| format!("<iq type='set' id='c'><block xmlns='urn:xmpp:blocking'><item jid='{jid}'/></block></iq>");
    let chat = "<message to='juliet@example.com' type='chat'><body>x</body></message>";
    juliet.send(&block("romeo@example.net/home")).await;
    romeo.send(chat).await;
    assert_eq!(juliet.read().len(), 2, "another resource of his, and the answer");
    juliet.send(&block("example.net")).await;
    juliet.read();
    assert!(romeo.ask(chat).await[0].contains("service-unavailable"));
    // Her own domain: everybody on it but the server and herself.
    juliet.send(&block("example.com")).await;
    juliet.read();
    let ping = juliet.ask("<iq to='example.com' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    assert!(ping[0].contains("type='result'"), "{ping:?}");
}

#[tokio::test]
async fn a_removed_account_leaves_nothing_behind() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    befriend(&romeo, &juliet).await;
    let account = romeo.session.jid.bare();
    romeo.vanish().await;
    juliet.read();
    stage.router.close_account(&account).await;
    let told = juliet.read();
    assert!(told.iter().any(|stanza| stanza.contains("jid='romeo@example.net' subscription='none'")), "{told:?}");
    let romeo = stage.connect(ROMEO).await;
    let got = romeo.ask("<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>").await;
    assert!(!got[0].contains("<item"), "{got:?}");
}
