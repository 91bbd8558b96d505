//! A house and `montague.lit`, on which the rows of `timelines` are played: what Juliet and Tybalt do, and what is counted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use chirrup::config::Config;
use chirrup::extensions::timeline::item_id;
use chirrup::house::{House, World};
use chirrup::router::Router;
use chirrup::router::road::Road;
use chirrup::runtime::{Clock, Timestamp};
use chirrup::session::mailbox::Frame;
use chirrup::tables::nodes::{Nodes, NodesLimits};
use pubsub::config::Bound;
use pubsub::{Change, Item, Node, NodeConfig, Tally, Timestamp as Moment};
use tokio::sync::mpsc;
use tokio::time::Instant;
use xmpp::limits::Limits;
use xmpp::stanza::{IqType, Kind};
use xmpp::{BareJid, Stanza, StanzaError};

use super::street::Guest;
use super::timelines::{Act, Answers, Row, Shows};

/// 2026-01-01T00:00:00Z.
const FIRST_MOMENT: Timestamp = 1_767_225_600_000_000;

/// The runtime's time as wall time.
struct StageClock(Instant);

impl Clock for StageClock {
    fn now(&self) -> Timestamp {
        FIRST_MOMENT + u64::try_from(self.0.elapsed().as_micros()).unwrap()
    }
}

/// The way to `montague.lit`, and what is heard there.
struct Montague {
    heard: mpsc::UnboundedSender<Stanza>,
}

impl Road for Montague {
    fn send(&self, _local: &str, _remote: &str, frame: Frame) -> Result<(), StanzaError> {
        let mut bytes = Vec::new();
        frame.write(&mut bytes);
        self.heard.send(parse(String::from_utf8(bytes).unwrap())).unwrap();
        Ok(())
    }
}

fn parse(text: String) -> Stanza {
    Stanza::parse(text.into(), &Limits::server()).unwrap_or_else(|error| panic!("no stanza: {error:?}"))
}

/// What was heard at `montague.lit`: questions for items, messages, and what answers Tybalt.
#[derive(Default)]
struct Heard {
    questions: AtomicUsize,
    messages: AtomicUsize,
    pages: AtomicUsize,
}

/// A page that is as full as was asked for, of items that nobody saw before.
fn another_page(number: usize) -> String {
    let items = (0..50).map(|at| format!("<item id='{number}-{at}'><t xmlns='urn:example:t'/></item>"));
    format!("<items node='blog'>{}</items>", items.collect::<String>())
}

async fn serve(
    mut heard: mpsc::UnboundedReceiver<Stanza>,
    router: Weak<Router>,
    answers: Answers,
    seen: Arc<Heard>,
    to_tybalt: mpsc::UnboundedSender<Stanza>,
) {
    while let Some(stanza) = heard.recv().await {
        let kind = match stanza.head.kind {
            Kind::Iq(kind @ (IqType::Get | IqType::Set)) => kind,
            Kind::Iq(_) => {
                let _gone = to_tybalt.send(stanza);
                continue;
            }
            _ => {
                seen.messages.fetch_add(1, Ordering::Relaxed);
                continue;
            }
        };
        let is_question = kind == IqType::Get && stanza.content.child("pubsub", xmpp::ns::PUBSUB).is_some();
        if is_question {
            seen.questions.fetch_add(1, Ordering::Relaxed);
        }
        let inside = match (answers, is_question) {
            (Answers::Never, _) => continue,
            (_, false) => String::new(),
            (Answers::Nothing, true) => {
                "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='blog'/></pubsub>".to_owned()
            }
            (_, true) => {
                let page = another_page(seen.pages.fetch_add(1, Ordering::Relaxed));
                format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'>{page}</pubsub>")
            }
        };
        if is_question && answers == Answers::ForEverSlowly {
            tokio::time::sleep(Duration::from_secs(29)).await;
        }
        let head = &stanza.head;
        let (Some(from), Some(to), Some(id)) = (&head.to, &head.from, &head.id) else { panic!("{stanza:?}") };
        let answer = format!("<iq type='result' from='{from}' to='{to}' id='{id}'>{inside}</iq>");
        let Some(router) = router.upgrade() else { return };
        router.from_remote(parse(answer)).await;
    }
}

/// Puts Juliet's list of whom she follows into the store, before the house is built over it.
async fn list(store: &Arc<dyn store::Store>, count: usize) {
    let nodes = Nodes::new(Arc::clone(store), NodesLimits::default());
    let home = BareJid::new("juliet@localhost").unwrap();
    let entry = nodes.entry(&home, xmpp::ns::PUBSUB_SUBSCRIPTION);
    let config = NodeConfig { max_items: Bound::Max, ..NodeConfig::service(0) };
    let mut tally = Tally { version: 1, ..Tally::default() };
    let name = xmpp::ns::PUBSUB_SUBSCRIPTION.into();
    let node = Node { name, creator: home.clone(), created: Moment(1), config: Arc::new(config), tally };
    let (_, mut held) = nodes.commit(&entry, None, &[Change::CreateNode(node)], None, [7; 16], 1).await.unwrap();
    for numbers in (0..count).collect::<Vec<_>>().chunks(1_000) {
        let mut changes = Vec::new();
        for number in numbers {
            let service =
                if *number == 0 { "tybalt@montague.lit".to_owned() } else { format!("{number}@montague.lit") };
            let id = item_id(&BareJid::new(&service).unwrap(), "blog", &home);
            let payload =
                format!("<subscription xmlns='urn:xmpp:pubsub:subscription:0' server='{service}' node='blog'/>");
            tally.sequence += 1;
            tally.items += 1;
            changes.push(Change::PutItem(Item {
                sequence: tally.sequence,
                id: id.into(),
                publisher: home.clone(),
                published: Moment(1),
                updated: Moment(1),
                payload: payload.into(),
            }));
        }
        tally.version += 1;
        changes.insert(0, Change::Tally(tally));
        held = nodes.commit(&entry, held.as_deref(), &changes, None, [7; 16], 1).await.unwrap().1;
    }
}

/// What a house does once a minute, but for its sessions: Juliet's has no stream, and is silent.
async fn keep(house: Weak<House>) {
    loop {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let Some(house) = house.upgrade() else { return };
        house.router.expire_questions();
        let now = house.clock.now();
        house.router.tell(|listener| listener.minute_passed(now)).await;
    }
}

pub struct Stage {
    juliet: Guest,
    seen: Arc<Heard>,
    to_tybalt: mpsc::UnboundedReceiver<Stanza>,
}

impl Stage {
    pub async fn new(number: usize, row: &Row) -> Self {
        let folder = std::env::temp_dir().join(format!("chirrup-timelines-{}-{number}", std::process::id()));
        let text = format!(
            "data_directory = {:?}\n[limits]\nidle_seconds_max = 100000\n{}\n",
            folder.display().to_string(),
            row.policy
        );
        let world = World { clock: Arc::new(StageClock(Instant::now())), ..World::alone() };
        for act in row.does {
            if let Act::Lists(count) = *act {
                list(&world.store, count).await;
            }
        }
        let house = House::build(Config::parse(&text, None).unwrap(), world).await.unwrap();
        let _removed = std::fs::remove_dir_all(folder);
        tokio::spawn(keep(Arc::downgrade(&house)));
        let (heard, hears) = mpsc::unbounded_channel();
        house.router.open_detour(Arc::new(Montague { heard }));
        let (answered, to_tybalt) = mpsc::unbounded_channel();
        let seen = Arc::<Heard>::default();
        tokio::spawn(serve(hears, Arc::downgrade(&house.router), row.answers, Arc::clone(&seen), answered));
        house.accounts.create(&BareJid::new("juliet@localhost").unwrap(), "secret", 0).await.unwrap();
        let mut stage = Self { juliet: Guest::new(&house, "juliet@localhost/balcony"), seen, to_tybalt };
        for node in ["blog", "club"] {
            let said = stage
                .ask(&format!(
                    "<iq type='set'><pubsub xmlns='http://jabber.org/protocol/pubsub'><create node='{node}'/><configure><x \
                     xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
                     <value>http://jabber.org/protocol/pubsub#node_config</value></field><field var='pubsub#access_model'>\
                     <value>open</value></field></x></configure></pubsub></iq>"
                ))
                .await;
            assert!(said.contains("type='result'"), "{said}");
        }
        stage
    }

    /// The answer to a request of Juliet's.
    async fn ask(&mut self, iq: &str) -> String {
        let to = if iq.contains(" to='") { "" } else { " to='juliet@localhost'" };
        let stanza = parse(iq.replacen("<iq", &format!("<iq{to} id='ask'"), 1));
        self.juliet.house.router.from_session(&self.juliet.session, stanza).await;
        // Those that nobody answers are looked through once a minute.
        for _ in 0..10_000 {
            while let Some(stanza) = self.juliet.take() {
                if stanza.head.id.as_deref() == Some("ask") {
                    return String::from_utf8_lossy(&stanza.render()).into_owned();
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        "no answer".to_owned()
    }

    /// What Tybalt sends; the answer, if he asks.
    async fn send(&mut self, stanza: &str) -> Option<String> {
        let is_question = stanza.starts_with("<iq");
        let kind = if is_question { "iq" } else { "message" };
        let from = if stanza.contains(" from='") { "" } else { " from='tybalt@montague.lit/street'" };
        let to = if stanza.contains(" to='") { "" } else { " to='juliet@localhost'" };
        let stanza = stanza.replacen(&format!("<{kind}"), &format!("<{kind}{from}{to} id='ask'"), 1);
        self.juliet.house.router.from_remote(parse(stanza)).await;
        if !is_question {
            return None;
        }
        let answer = tokio::time::timeout(Duration::from_secs(40), self.to_tybalt.recv()).await;
        Some(String::from_utf8_lossy(&answer.unwrap().unwrap().render()).into_owned())
    }

    /// Whether what was done is answered as the row says.
    pub async fn play(&mut self, row: &Row) -> Result<(), String> {
        let mut told = row.told.iter();
        for act in row.does {
            let long = "x".repeat(2_000);
            let said = match *act {
                Act::Juliet(asks) => Some(self.ask(&asks.replace("{long}", &long)).await),
                Act::Tybalt(sends) => self.send(&sends.replace("{long}", &long)).await,
                Act::Again(count, sends) => {
                    for number in 0..count {
                        self.send(&sends.replace("{n}", &number.to_string())).await;
                    }
                    None
                }
                Act::Items(count) => {
                    let items = (0..count).map(|at| format!("<item id='i{at}'><t xmlns='urn:example:t'/></item>"));
                    let items: String = items.collect();
                    self.send(&format!(
                        "<message type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'><items \
                         node='blog'>{items}</items></event></message>"
                    ))
                    .await
                }
                Act::Lists(_) => None,
                Act::Hours(hours) => {
                    tokio::time::sleep(Duration::from_secs(hours * 3_600)).await;
                    None
                }
            };
            // What goes on behind an answer.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let Some(said) = said else { continue };
            let expected = told.next().ok_or("somebody asks more than is told")?;
            let is_told = match expected.split_whitespace().collect::<Vec<_>>().as_slice() {
                [] => said.contains("type='result'"),
                conditions => conditions.iter().all(|condition| said.contains(&format!("<{condition} xmlns="))),
            };
            if !is_told {
                return Err(format!("instead of {expected:?} was told {said}"));
            }
        }
        if told.next().is_some() {
            return Err("more is told than was asked".to_owned());
        }
        // As long as anything that was begun may take.
        tokio::time::sleep(Duration::from_secs(15 * 60)).await;
        let gets = (self.seen.questions.load(Ordering::Relaxed), self.seen.messages.load(Ordering::Relaxed));
        if gets != row.gets {
            return Err(format!("montague.lit gets {gets:?}"));
        }
        let shown = self.whole().await;
        let is_shown = match row.shows {
            Shows::These(items) => shown == items,
            Shows::Count(count) => shown.len() == count,
            Shows::Fewer(count) => shown.len() < count,
        };
        if is_shown { Ok(()) } else { Err(format!("{} are shown: {:.500}", shown.len(), format!("{shown:?}"))) }
    }

    /// The items in the timeline, the oldest first.
    async fn whole(&mut self) -> Vec<String> {
        let (mut all, mut before) = (Vec::new(), String::new());
        loop {
            let page = self
                .ask(&format!(
                    "<iq type='get'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items \
                     node='urn:chirrup:timeline:0'/><set xmlns='http://jabber.org/protocol/rsm'><max>100</max>\
                     <before>{before}</before></set></pubsub></iq>"
                ))
                .await;
            let values = |name: &str| {
                let rest = page.split(name).skip(1);
                rest.map(|rest| rest.split('\'').next().unwrap().to_owned()).collect::<Vec<_>>()
            };
            let mut items = values("t:item='");
            let Some(first) = values("<item id='").into_iter().next() else { return all };
            before = first;
            items.append(&mut all);
            all = items;
        }
    }
}
