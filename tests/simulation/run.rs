//! One run of a plan: everybody moves in, things happen and go wrong, everything is mended, and the book is closed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::folk::{FEED, NEWS, Person, full};
use super::ledger::{Ledger, Summary};
use super::plan::{Act, Node, Plan, Question};
use super::town::Town;

/// Until everything that was under way has come to its end: longer than any patience of a house.
const SETTLED: Duration = Duration::from_secs(900);
/// Bytes by which a queue may pass its bound: one stanza always fits.
const ONE_STANZA: usize = 4_096;

/// What came of a run.
pub struct Outcome {
    pub objections: Vec<String>,
    pub summary: Summary,
    pub story: Vec<String>,
}

/// Runs `plan`.
pub async fn run(plan: &Plan) -> Outcome {
    let town = Town::found(plan).await;
    let ledger = Arc::new(Ledger::new(plan));
    let people = (0..plan.people).map(|_| Mutex::new(None)).collect();
    let mut run = Run { plan: plan.clone(), town, ledger, people, works: JoinSet::new() };
    run.move_in().await;
    run.town.trouble();
    for (pause, act) in &plan.acts {
        sleep(Duration::from_millis(*pause)).await;
        run.act(act).await;
        run.check_bounds();
    }
    run.town.calm();
    while run.works.join_next().await.is_some() {}
    sleep(SETTLED).await;
    run.part().await;
    let mut summary = run.ledger.close(&run.town);
    summary.dialled = run.town.dialled();
    Outcome { objections: run.ledger.objections(), summary, story: run.ledger.story() }
}

struct Run {
    plan: Plan,
    town: Arc<Town>,
    ledger: Arc<Ledger>,
    people: Arc<[Mutex<Option<Person>>]>,
    /// Houses that are being restarted, memories that are slow.
    works: JoinSet<()>,
}

impl Run {
    async fn move_in(&mut self) {
        for who in 0..self.plan.people {
            self.enter(who);
            self.publish(who, Node::Feed);
        }
        sleep(Duration::from_secs(1)).await;
        for (who, whom) in self.plan.faithful.clone() {
            self.follow(who, whom, true);
        }
        sleep(Duration::from_secs(60)).await;
    }

    fn enter(&self, who: usize) {
        enter(&self.plan, &self.town, &self.ledger, &self.people, who);
    }

    /// Has somebody send something, if they are there.
    fn send(&self, who: usize, stanza: impl FnOnce() -> String) {
        if let Some(person) = &*self.people[who].lock().unwrap() {
            person.send(stanza());
        }
    }

    fn publish(&self, by: usize, node: Node) {
        let (name, options) = match node {
            Node::News => (NEWS, ""),
            Node::Feed => (
                FEED,
                "<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>\
                 http://jabber.org/protocol/pubsub#publish-options</value></field><field \
                 var='pubsub#access_model'><value>open</value></field><field var='pubsub#max_items'><value>max\
                 </value></field></x></publish-options>",
            ),
        };
        self.send(by, || {
            let number = self.ledger.item(by, name);
            let payload = format!(
                "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{name}'><item id='{number}'><t \
                 xmlns='urn:example:t'>{number}</t></item></publish>{options}</pubsub>"
            );
            self.ledger.question(by, by, "", "set", &payload)
        });
    }

    fn follow(&self, who: usize, whom: usize, is_on: bool) {
        let (jid, own) = (self.plan.jid(whom), self.plan.jid(who));
        let name = if is_on { "subscribe" } else { "unsubscribe" };
        let payload =
            format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'><{name} node='{FEED}' jid='{own}'/></pubsub>");
        self.send(who, || self.ledger.question(who, whom, &jid, "set", &payload));
    }

    fn ask(&self, from: usize, to: usize, what: Question) {
        let jid = self.plan.jid(to);
        let (address, payload) = match what {
            Question::PingDomain => (Plan::domain(self.plan.home_of(to)), "<ping xmlns='urn:xmpp:ping'/>".to_owned()),
            Question::PingResource => (full(&jid), "<ping xmlns='urn:xmpp:ping'/>".to_owned()),
            Question::Info => (jid, "<query xmlns='http://jabber.org/protocol/disco#info'/>".to_owned()),
            Question::Page => (
                jid,
                format!(
                    "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='{FEED}'/><set \
                     xmlns='http://jabber.org/protocol/rsm'><max>5</max><before/></set></pubsub>"
                ),
            ),
        };
        self.send(from, || self.ledger.question(from, to, &address, "get", &payload));
    }

    fn presence(&self, who: usize, whom: usize, type_: &str) {
        self.send(who, || format!("<presence to='{}' type='{type_}'/>", self.plan.jid(whom)));
    }

    async fn act(&mut self, act: &Act) {
        let milliseconds = Duration::from_millis;
        match *act {
            Act::Say { from, to, count, is_full } => {
                let jid = self.plan.jid(to);
                let address = if is_full { full(&jid) } else { jid };
                for _ in 0..count {
                    self.send(from, || self.ledger.message(from, to, &address));
                }
            }
            Act::Ask { from, to, what, count } => (0..count).for_each(|_| self.ask(from, to, what)),
            Act::Post { by, node, count } => (0..count).for_each(|_| self.publish(by, node)),
            Act::Follow { who, whom, is_on } => {
                if !self.plan.faithful.contains(&(who, whom)) {
                    self.follow(who, whom, is_on);
                }
            }
            Act::Befriend { who, whom, is_on } => {
                self.presence(who, whom, if is_on { "subscribe" } else { "unsubscribe" });
            }
            Act::Cancel { who, whom } => self.presence(who, whom, "unsubscribed"),
            Act::Block { who, whom } => {
                let jid = self.plan.jid(whom);
                self.send(who, || {
                    format!(
                        "<iq type='set' id='block-{who}-{whom}'><block xmlns='urn:xmpp:blocking'><item jid='{jid}'/>\
                         </block></iq>"
                    )
                });
            }
            Act::Leave { who } => {
                let person = self.people[who].lock().unwrap().take();
                if let Some(person) = person {
                    person.leave().await;
                }
            }
            Act::Return { who } => self.enter(who),
            Act::Cut { pair, late } => {
                for line in self.town.lines_between(pair) {
                    line.cut(late.map(milliseconds));
                }
            }
            Act::Stall { pair, direction, time } => {
                for line in self.town.lines_between(pair) {
                    line.stall(direction, milliseconds(time));
                }
            }
            Act::Wall { pair, time, is_loud } => self.town.wall(pair, milliseconds(time), is_loud),
            Act::Nameless { house, time } => self.town.forget_names(house, milliseconds(time)),
            Act::Slow { house, by, time } => self.slow(house, milliseconds(by), milliseconds(time)),
            Act::Fault { house, after } => self.town.memory(house).fail_after(after),
            Act::Restart { house, down } => self.restart(house, milliseconds(down)),
        }
    }

    fn slow(&mut self, house: usize, by: Duration, time: Duration) {
        let memory = self.town.memory(house);
        memory.hold_flushes(true);
        self.works.spawn(async move {
            let end = tokio::time::Instant::now() + time;
            while tokio::time::Instant::now() < end {
                sleep(by).await;
                memory.flush();
            }
            memory.hold_flushes(false);
        });
    }

    fn restart(&mut self, house: usize, down: Duration) {
        let Some(shut) = self.town.shut(house) else { return };
        let (plan, town, ledger, people) =
            (self.plan.clone(), Arc::clone(&self.town), Arc::clone(&self.ledger), Arc::clone(&self.people));
        self.works.spawn(async move {
            let inhabitants = || (0..plan.people).filter(|who| plan.home_of(*who) == house);
            let mut away = Vec::new();
            for who in inhabitants() {
                let person = people[who].lock().unwrap().take();
                if let Some(person) = person {
                    person.leave().await;
                    away.push(who);
                }
            }
            let _deaf = shut.stop().await;
            sleep(down).await;
            town.open(house).await;
            for who in away {
                enter(&plan, &town, &ledger, &people, who);
            }
        });
    }

    /// No queue is longer than it may be.
    fn check_bounds(&self) {
        for (index, plan) in self.plan.houses.iter().enumerate() {
            let Some(house) = self.town.house(index) else { continue };
            for row in house.federation.status() {
                // What was sent and nobody acknowledged comes back when its link ends, however full it is.
                if row.queue_bytes > plan.queue_bytes_max + plan.unacknowledged_bytes_max + ONE_STANZA {
                    self.ledger.object(format!("house {index} has a queue of {} bytes", row.queue_bytes));
                }
            }
        }
    }

    /// Everybody comes back, everything works, and both sides agree on what is so.
    async fn part(&mut self) {
        for who in 0..self.plan.people {
            self.enter(who);
        }
        sleep(Duration::from_secs(1)).await;
        let all = 0..self.plan.people;
        let pairs: Vec<(usize, usize)> = all
            .clone()
            .flat_map(|who| all.clone().map(move |whom| (who, whom)))
            .filter(|(who, whom)| self.plan.home_of(*who) != self.plan.home_of(*whom))
            .collect();
        for (who, whom) in &pairs {
            let address = self.plan.jid(*whom);
            self.send(*who, || self.ledger.message(*who, *whom, &address));
            // What was lost on the way is said again, so that both come to know the same.
            if self.ledger.welcomes(*whom, &self.plan.jid(*who)) {
                self.presence(*who, *whom, "subscribe");
            } else {
                self.presence(*who, *whom, "unsubscribe");
                self.presence(*whom, *who, "unsubscribed");
            }
            // One after the other: a queue may be small.
            sleep(Duration::from_millis(2_003)).await;
        }
        // What crossed the end of an idle stream may have been in doubt; now nothing is, at no round moment.
        sleep(Duration::from_millis(7_309)).await;
        for (who, whom) in &pairs {
            let address = self.plan.jid(*whom);
            self.send(*who, || self.ledger.message(*who, *whom, &address));
            sleep(Duration::from_millis(1_037)).await;
        }
        sleep(Duration::from_secs(100)).await;
        for (who, whom) in pairs {
            let is_apart = self.ledger.is_blocked(who, whom) || self.ledger.is_blocked(whom, who);
            if !self.ledger.is_delivered(who, whom) && !is_apart {
                self.ledger.object(format!("in the end p{who} does not reach p{whom}"));
            }
        }
        for who in 0..self.plan.people {
            self.send(who, || "<iq type='get' id='final-roster'><query xmlns='jabber:iq:roster'/></iq>".to_owned());
        }
        sleep(Duration::from_secs(10)).await;
        for index in 0..self.plan.houses.len() {
            for row in self.town.house(index).unwrap().federation.status() {
                if row.queue_stanzas > 0 {
                    self.ledger.object(format!("house {index} keeps something: {row:?}"));
                }
            }
        }
        for person in self.people.iter() {
            let person = person.lock().unwrap().take();
            if let Some(person) = person {
                person.leave().await;
            }
        }
        for index in 0..self.plan.houses.len() {
            if let Some(shut) = self.town.shut(index)
                && shut.stop().await > 0
            {
                self.ledger.object(format!("a link of house {index} outlives it"));
            }
        }
    }
}

/// Lets somebody in, if their house is open and they are not there.
fn enter(plan: &Plan, town: &Town, ledger: &Arc<Ledger>, people: &[Mutex<Option<Person>>], who: usize) {
    let Some(house) = town.house(plan.home_of(who)) else { return };
    let mut place = people[who].lock().unwrap();
    if place.is_none() {
        *place = Some(Person::enter(&house, who, &plan.jid(who), ledger));
    }
}
