//! What was sent, what came of it, and what must never be: looked at whenever something arrives, and at the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;
use xmpp::{Element, Stanza};

use super::folk::element;
use super::plan::{Kind, Mood, Plan};
use super::town::Town;

const EVENT: &str = "http://jabber.org/protocol/pubsub#event";

/// A message by its sender, its recipient and its number.
type Key = (usize, usize, u64);

/// The book of a run.
pub struct Ledger {
    plan: Plan,
    began: Instant,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// How often each person has logged out.
    departures: HashMap<usize, u64>,
    messages: BTreeMap<Key, Message>,
    /// The numbers that arrived, by pair.
    arrived: BTreeMap<(usize, usize), Vec<u64>>,
    questions: BTreeMap<String, Asked>,
    /// Items published and confirmed, by publisher and node; and the number of the next.
    posted: HashMap<(usize, String), u64>,
    /// The last item heard of, by reader, publisher and node.
    told: HashMap<(usize, usize, String), u64>,
    /// How many items of a feed a faithful reader was told of.
    told_count: HashMap<(usize, usize), u64>,
    /// Who is blocked by whom, confirmed.
    blocked: BTreeSet<(usize, usize)>,
    /// Whose address asked to follow whom and was confirmed.
    rosters: HashMap<usize, BTreeMap<String, (String, bool)>>,
    objections: Vec<String>,
    story: Vec<String>,
}

/// Which answers came, and whether one of them says that nobody knows.
#[derive(Debug, Default)]
struct Answers {
    count: u32,
    is_in_doubt: bool,
}

impl Answers {
    /// One more. There is one only, unless its house was in doubt whether what is answered had arrived.
    fn add(&mut self, answer: &Element) -> Result<(), String> {
        self.count += 1;
        self.is_in_doubt |= String::from(answer).contains("nobody knows whether this arrived");
        if self.count > 2 || (self.count == 2 && !self.is_in_doubt) { Err("answered again".to_owned()) } else { Ok(()) }
    }
}

#[derive(Debug, Default)]
struct Message {
    sent: Duration,
    /// The departures of its sender when it was sent.
    departures: u64,
    delivered: u32,
    errors: Answers,
}

#[derive(Debug)]
struct Asked {
    who: usize,
    whom: usize,
    departures: u64,
    answers: Answers,
}

impl Ledger {
    pub fn new(plan: &Plan) -> Self {
        Self { plan: plan.clone(), began: Instant::now(), inner: Mutex::default() }
    }

    /// Something is wrong.
    pub fn object(&self, what: String) {
        let mut inner = self.inner.lock().unwrap();
        if inner.objections.len() < 20 {
            inner.objections.push(format!("{:.3}s {what}", self.began.elapsed().as_secs_f64()));
        }
    }

    /// What is wrong.
    pub fn objections(&self) -> Vec<String> {
        self.inner.lock().unwrap().objections.clone()
    }

    /// Everything that arrived, in order: the same for the same seed.
    pub fn story(&self) -> Vec<String> {
        self.inner.lock().unwrap().story.clone()
    }

    /// The next message of a pair, to be sent.
    pub fn message(&self, from: usize, to: usize, address: &str) -> String {
        let mut inner = self.inner.lock().unwrap();
        let number = inner.messages.range((from, to, 0)..=(from, to, u64::MAX)).count() as u64 + 1;
        let departures = inner.departures.get(&from).copied().unwrap_or_default();
        let message = Message { sent: self.began.elapsed(), departures, ..Message::default() };
        inner.messages.insert((from, to, number), message);
        format!("<message to='{address}' type='chat' id='m-{from}-{to}-{number}'><body>{number}</body></message>")
    }

    /// The next question of somebody, to be sent.
    pub fn question(&self, who: usize, whom: usize, address: &str, type_: &str, payload: &str) -> String {
        let mut inner = self.inner.lock().unwrap();
        let id = format!("q-{}", inner.questions.len());
        let departures = inner.departures.get(&who).copied().unwrap_or_default();
        inner.questions.insert(id.clone(), Asked { who, whom, departures, answers: Answers::default() });
        let to = if address.is_empty() { String::new() } else { format!(" to='{address}'") };
        format!("<iq type='{type_}'{to} id='{id}'>{payload}</iq>")
    }

    /// The next item of a node, to be published.
    pub fn item(&self, by: usize, node: &str) -> u64 {
        let mut inner = self.inner.lock().unwrap();
        let number = inner.posted.entry((by, node.to_owned())).or_default();
        *number += 1;
        *number
    }

    /// Somebody has logged out.
    pub fn left(&self, who: usize) {
        *self.inner.lock().unwrap().departures.entry(who).or_default() += 1;
    }

    /// Somebody has blocked somebody, and it was confirmed.
    fn confirm_block(inner: &mut Inner, id: &str) {
        let Some((who, whom)) = id.strip_prefix("block-").and_then(|pair| pair.split_once('-')) else { return };
        inner.blocked.insert((who.parse().unwrap(), whom.parse().unwrap()));
    }

    /// Whether somebody lets somebody see their presence.
    pub fn welcomes(&self, who: usize, from: &str) -> bool {
        !(who as u64 + from.len() as u64 + self.plan.seed).is_multiple_of(5)
    }

    /// Whether everything between two houses arrives: they resume streams, and nothing lasts too long.
    fn is_sure(&self, one: usize, other: usize) -> bool {
        self.plan.mood == Mood::Gentle && self.plan.kind_between(one, other) == Kind::Resumes
    }

    /// Who is behind an address.
    fn who(&self, address: Option<&str>) -> Option<usize> {
        let bare = address?.split('/').next()?;
        (0..self.plan.people).find(|who| self.plan.jid(*who) == bare)
    }

    /// Something arrived. What is wrong with it, if anything.
    pub fn heard(&self, by: usize, stanza: &Stanza) -> Result<(), String> {
        let element = element(stanza);
        let from = self.who(element.attr("from"));
        let is_error = element.attr("type") == Some("error");
        let mut inner = self.inner.lock().unwrap();
        let text = String::from_utf8_lossy(&stanza.render()).into_owned();
        inner.story.push(format!("{:.3}s p{by} {}", self.began.elapsed().as_secs_f64(), text));
        if let Some(from) = from
            && inner.blocked.contains(&(by, from))
            && !is_error
            && element.attr("type") != Some("result")
            && element.get_child("delay", "urn:xmpp:delay").is_none()
        {
            return Err("came from somebody who is blocked".to_owned());
        }
        match element.name() {
            "message" => self.take_message(&mut inner, by, from, &element, is_error),
            "iq" => self.take_iq(&mut inner, by, &element, is_error),
            _ => Ok(()),
        }
    }

    fn take_message(
        &self,
        inner: &mut Inner,
        by: usize,
        from: Option<usize>,
        element: &Element,
        is_error: bool,
    ) -> Result<(), String> {
        if let Some(items) = element.get_child("event", EVENT).and_then(|event| event.get_child("items", EVENT)) {
            let Some(from) = from else { return Err("a notification of nobody".to_owned()) };
            return self.take_items(inner, by, from, items, element.get_child("delay", "urn:xmpp:delay").is_some());
        }
        let Some(id) = element.attr("id").and_then(|id| id.strip_prefix("m-")) else { return Ok(()) };
        let numbers: Vec<u64> = id.split('-').map(|number| number.parse().unwrap()).collect();
        let [sender, recipient, number] = numbers[..] else { return Err("a strange message".to_owned()) };
        let (sender, recipient) = (usize::try_from(sender).unwrap(), usize::try_from(recipient).unwrap());
        let Some(message) = inner.messages.get_mut(&(sender, recipient, number)) else {
            return Err("a message nobody sent".to_owned());
        };
        if is_error {
            if by != sender {
                return Err("an error for somebody else".to_owned());
            }
            message.errors.add(element)?;
            if self.is_sure(self.plan.home_of(sender), self.plan.home_of(recipient)) {
                return Err("an error for what should have been resumed".to_owned());
            }
            return Ok(());
        }
        if by != recipient || from != Some(sender) {
            return Err("a message for or from somebody else".to_owned());
        }
        // What was kept for somebody comes again rather than not at all when it cannot be removed.
        let is_kept = element.get_child("delay", "urn:xmpp:delay").is_some() && self.plan.has_faults();
        if message.delivered > 0 && is_kept {
            return Ok(());
        }
        message.delivered += 1;
        if message.delivered > 1 {
            return Err("a message came twice".to_owned());
        }
        inner.arrived.entry((sender, recipient)).or_default().push(number);
        Ok(())
    }

    fn take_items(
        &self,
        inner: &mut Inner,
        by: usize,
        from: usize,
        items: &Element,
        is_old: bool,
    ) -> Result<(), String> {
        let node = items.attr("node").unwrap_or_default().to_owned();
        for item in items.children().filter(|child| child.name() == "item") {
            let number: u64 = item.attr("id").unwrap_or_default().parse().map_err(|_| "a strange item")?;
            if is_old {
                continue;
            }
            let told = inner.told.entry((by, from, node.clone())).or_default();
            if *told == number {
                return Err("told twice of an item".to_owned());
            }
            if *told > number {
                return Err(format!("told after number {told}"));
            }
            *told = number;
            if node == super::folk::FEED {
                *inner.told_count.entry((by, from)).or_default() += 1;
            }
        }
        Ok(())
    }

    fn take_iq(&self, inner: &mut Inner, by: usize, element: &Element, is_error: bool) -> Result<(), String> {
        if !matches!(element.attr("type"), Some("result" | "error")) {
            return Ok(());
        }
        let id = element.attr("id").unwrap_or_default();
        if !is_error {
            Self::confirm_block(inner, id);
        }
        if id == "final-roster" {
            let items = element.children().flat_map(Element::children);
            let roster = items.map(|item| {
                let attr = |name: &str| item.attr(name).unwrap_or_default().to_owned();
                (attr("jid"), (attr("subscription"), item.attr("ask").is_some()))
            });
            let roster = roster.collect();
            inner.rosters.insert(by, roster);
        }
        let Some(asked) = inner.questions.get_mut(id) else { return Ok(()) };
        if asked.who != by {
            return Err("an answer for somebody else".to_owned());
        }
        let (one, other) = (self.plan.home_of(asked.who), self.plan.home_of(asked.whom));
        asked.answers.add(element)?;
        if asked.answers.is_in_doubt && self.is_sure(one, other) {
            return Err("an error for what should have been resumed".to_owned());
        }
        Ok(())
    }

    /// Whether a message was delivered, and no error came.
    pub fn is_delivered(&self, from: usize, to: usize) -> bool {
        let inner = self.inner.lock().unwrap();
        let last = inner.messages.range((from, to, 0)..=(from, to, u64::MAX)).next_back();
        last.is_some_and(|(_, message)| message.delivered == 1 && message.errors.count == 0)
    }

    /// Whether somebody blocks somebody.
    pub fn is_blocked(&self, who: usize, by: usize) -> bool {
        self.inner.lock().unwrap().blocked.contains(&(by, who))
    }

    /// Looks at everything, after the end.
    pub fn close(&self, town: &Town) -> Summary {
        let mut summary = Summary::default();
        let mut wrong = Vec::new();
        let inner = self.inner.lock().unwrap();
        for ((from, to, number), message) in &inner.messages {
            summary.messages += 1;
            summary.errors += u64::from(message.errors.count);
            summary.both += u64::from(message.errors.count > 0 && message.delivered > 0);
            if message.delivered > 0 || message.errors.count > 0 {
                continue;
            }
            let (one, other) = (self.plan.home_of(*from), self.plan.home_of(*to));
            let has_left = inner.departures.get(from).copied().unwrap_or_default() > message.departures;
            let id = format!("id='m-{from}-{to}-{number}'");
            let is_on_the_way = || town.lost(one, other).iter().any(|lost| String::from_utf8_lossy(lost).contains(&id));
            match self.plan.kind_between(one, other) {
                Kind::Plain if is_on_the_way() => summary.lost += 1,
                // Who is gone cannot be told; in a gentle run there is nothing to be told.
                _ if has_left && self.plan.mood == Mood::Rough => summary.unheard += 1,
                Kind::Acknowledges if has_left => summary.unheard += 1,
                kind => wrong.push(format!(
                    "message {number} from p{from} to p{to} ({kind:?}), sent at {:.3}s, was neither delivered nor \
                     answered",
                    message.sent.as_secs_f64()
                )),
            }
        }
        for ((from, to), numbers) in &inner.arrived {
            // What a house gave up in doubt may still be on its way when it says the next thing on another wire.
            let is_sure = |number: &u64| !inner.messages[&(*from, *to, *number)].errors.is_in_doubt;
            let numbers: Vec<u64> = numbers.iter().copied().filter(is_sure).collect();
            if let Some(at) = numbers.windows(2).find(|two| two[0] > two[1]) {
                wrong.push(format!("message {} from p{from} to p{to} came after {}", at[1], at[0]));
            }
        }
        for (id, asked) in &inner.questions {
            summary.questions += 1;
            let (one, other) = (self.plan.home_of(asked.who), self.plan.home_of(asked.whom));
            if asked.answers.count > 0 {
                continue;
            }
            summary.unanswered += 1;
            let has_left = inner.departures.get(&asked.who).copied().unwrap_or_default() > asked.departures;
            if self.is_sure(one, other) && !has_left {
                wrong.push(format!("question {id} of p{} to p{} was never answered", asked.who, asked.whom));
            }
        }
        for (reader, publisher) in &self.plan.faithful {
            let (one, other) = (self.plan.home_of(*reader), self.plan.home_of(*publisher));
            let posted = inner.posted.get(&(*publisher, super::folk::FEED.to_owned())).copied().unwrap_or_default();
            let told = inner.told_count.get(&(*reader, *publisher)).copied().unwrap_or_default();
            let was_there = !inner.departures.contains_key(reader) && !inner.departures.contains_key(publisher);
            if self.is_sure(one, other) && was_there && told + 1 != posted {
                wrong.push(format!("p{reader} was told of {told} of the {posted} items of p{publisher}"));
            }
            summary.told += told;
        }
        drop(inner);
        self.check_rosters(&mut wrong);
        for what in wrong {
            self.object(what);
        }
        summary
    }

    /// Both sides of a subscription know the same of it.
    fn check_rosters(&self, wrong: &mut Vec<String>) {
        let inner = self.inner.lock().unwrap();
        for who in 0..self.plan.people {
            let Some(roster) = inner.rosters.get(&who) else {
                wrong.push(format!("p{who} did not get its roster"));
                continue;
            };
            for whom in (0..self.plan.people).filter(|whom| self.plan.home_of(*whom) != self.plan.home_of(who)) {
                let Some(theirs) = inner.rosters.get(&whom) else { continue };
                let sees = roster.get(&self.plan.jid(whom)).is_some_and(|item| matches!(&*item.0, "to" | "both"));
                let is_seen = theirs.get(&self.plan.jid(who)).is_some_and(|item| matches!(&*item.0, "from" | "both"));
                let is_blocked = inner.blocked.contains(&(who, whom)) || inner.blocked.contains(&(whom, who));
                if sees != is_seen && !is_blocked {
                    wrong.push(format!("p{who} sees p{whom}: {sees}; p{whom} is seen by p{who}: {is_seen}"));
                }
            }
        }
    }
}

/// What a run was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    pub messages: u64,
    /// Messages answered with an error, those of them that arrived nevertheless, those lost on wires without
    /// acknowledgements, and those whose senders could not be told.
    pub errors: u64,
    pub both: u64,
    pub lost: u64,
    pub unheard: u64,
    pub questions: u64,
    pub unanswered: u64,
    /// Items that faithful readers were told of.
    pub told: u64,
    pub dialled: u64,
}
