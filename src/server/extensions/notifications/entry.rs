//! One entry of the node: what people did about one thing, in the words of Atom for clients that know nothing else, and in
//! those of `urn:chirrup:notifications:0` for the others. Pure.

use pubsub::Timestamp;
use pubsub::profile::uri::Place;
use sha1::{Digest as _, Sha1};
use xmpp::xml::WithAttribute as _;
use xmpp::{BareJid, Element, ns};

use crate::extension::{Act, Happening};

/// People named in one entry: the latest.
pub(super) const PEOPLE_MAX: usize = 10;
/// Characters of the title.
const TITLE_CHARS: usize = 300;

/// Somebody who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) jid: BareJid,
    /// When, as it is written.
    pub(super) stamp: String,
    /// The item that says so.
    pub(super) at: Option<String>,
    pub(super) text: Option<String>,
}

/// What people did about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) act: Act,
    pub(super) about: Option<String>,
    /// How many did, or how often.
    pub(super) count: u64,
    /// The latest of them, the newest first.
    pub(super) people: Vec<Person>,
}

/// In which entry something is told: all likes of a post are in one, and so are its comments; followers are by the day.
pub(super) fn id_of(happening: &Happening, now: Timestamp) -> String {
    let place = match happening.act {
        Act::Follow => None,
        Act::Mention => happening.at.as_ref(),
        Act::Reply | Act::Like | Act::Repost => happening.about.as_ref().or(happening.at.as_ref()),
    };
    let name = happening.act.name();
    match place {
        Some(place) => {
            let hash = Sha1::digest(place.write());
            let hash: String = hash.iter().take(10).map(|byte| format!("{byte:02x}")).collect();
            format!("{name}-{hash}")
        }
        None => format!("{name}-{}", now.to_string().get(..10).unwrap_or_default()),
    }
}

impl Entry {
    pub(super) fn new(happening: &Happening) -> Self {
        let about = happening.about.as_ref().map(Place::write);
        Self { act: happening.act, about, count: 0, people: Vec::new() }
    }

    /// Takes in what somebody did, or took back. Whether that changes anything.
    pub(super) fn take(&mut self, happening: &Happening, now: Timestamp) -> bool {
        let at = happening.at.as_ref().map(Place::write);
        // A person comments many times, and each comment is one; nobody follows or likes twice.
        let is_same =
            |person: &Person| person.jid == happening.person && (happening.act != Act::Reply || person.at == at);
        let known = self.people.iter().position(is_same);
        if happening.is_taken_back {
            match known {
                Some(known) => drop(self.people.remove(known)),
                // One of those who are not named. A follower may as well be in the entry of another day.
                None if self.count > self.people.len() as u64 && happening.act != Act::Follow => {}
                None => return false,
            }
            self.count = self.count.saturating_sub(1);
            return true;
        }
        let person = Person { jid: happening.person.clone(), stamp: now.to_string(), at, text: happening.text.clone() };
        match known {
            // The same again is no news.
            Some(known) if self.people.get(known).is_some_and(|old| old.at == person.at && old.text == person.text) => {
                return false;
            }
            Some(known) => drop(self.people.remove(known)),
            // One of those that are not named any more was edited.
            None if happening.is_edit && self.count > self.people.len() as u64 => return false,
            None => self.count = self.count.saturating_add(1),
        }
        self.people.insert(0, person);
        self.people.truncate(PEOPLE_MAX);
        true
    }

    /// Nobody of those who are `blocked` did anything. Whether that changes anything.
    pub(super) fn without(&mut self, is_blocked: impl Fn(&BareJid) -> bool) -> bool {
        let before = self.people.len();
        self.people.retain(|person| !is_blocked(&person.jid));
        let gone = before - self.people.len();
        self.count = self.count.saturating_sub(gone as u64);
        gone > 0
    }

    /// Reads what [`Entry::write`] wrote; `None` for anything else.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let root = xmpp::xml::parse_element(payload, "").ok()?;
        let told = root.get_child("notification", ns::NOTIFICATIONS)?;
        let act = Act::parse(told.attr("kind")?)?;
        let count = told.attr("count")?.parse().ok()?;
        let about = told.attr("about").map(str::to_owned);
        let people = told.children().filter(|child| child.is("by", ns::NOTIFICATIONS)).filter_map(|by| {
            let text = by.text();
            Some(Person {
                jid: BareJid::new(by.attr("jid")?).ok()?,
                stamp: by.attr("stamp")?.to_owned(),
                at: by.attr("href").map(str::to_owned),
                text: (!text.is_empty()).then_some(text),
            })
        });
        Some(Self { act, about, count, people: people.take(PEOPLE_MAX).collect() })
    }

    /// The payload of the item, under the address `id`.
    pub(super) fn write(&self, id: &Place, since: Timestamp, now: Timestamp) -> Element {
        let text = |name: &str, text: &str| Element::builder(name, ns::ATOM).append(text).build();
        let link = |rel: &str, href: &str| {
            Element::builder("link", ns::ATOM).attribute("rel", rel).attribute("href", href).build()
        };
        let mut told = Element::builder("notification", ns::NOTIFICATIONS)
            .attribute("kind", self.act.name())
            .attribute("count", &*self.count.to_string())
            .attribute("about", self.about.as_deref());
        for person in &self.people {
            let by = Element::builder("by", ns::NOTIFICATIONS)
                .attribute("jid", person.jid.as_str())
                .attribute("stamp", &*person.stamp)
                .attribute("href", person.at.as_deref());
            told = told.append(match &person.text {
                Some(text) => by.append(text.as_str()).build(),
                None => by.build(),
            });
        }
        let title = Element::builder("title", ns::ATOM).attribute("type", "text").append(self.title());
        let mut entry = Element::builder("entry", ns::ATOM)
            .append(title.build())
            .append(text("id", &id.write()))
            .append(text("published", &since.to_string()))
            .append(text("updated", &now.to_string()));
        for person in &self.people {
            let author = Element::builder("author", ns::ATOM)
                .append(text("name", person.jid.as_str()))
                .append(text("uri", &format!("xmpp:{}", person.jid)));
            entry = entry.append(author.build());
        }
        // Where to look: at what says so, or at what it is about.
        let newest = self.people.first().and_then(|person| person.at.as_deref());
        if let Some(href) = newest.or(self.about.as_deref()) {
            entry = entry.append(link("alternate", href));
        }
        if let Some(about) = self.about.as_deref().filter(|about| newest.is_some_and(|newest| newest != *about)) {
            entry = entry.append(link("related", about));
        }
        entry.append(told.build()).build()
    }

    /// What happened, in a line.
    fn title(&self) -> String {
        let Some(first) = self.people.first() else { return String::new() };
        let mut names: Vec<&BareJid> = Vec::new();
        for person in &self.people {
            if !names.contains(&&person.jid) {
                names.push(&person.jid);
            }
        }
        let others = match self.act {
            Act::Reply => names.len().saturating_sub(1) as u64,
            _ => self.count.saturating_sub(1),
        };
        let who = match others {
            0 => first.jid.to_string(),
            1 => format!("{} and another", first.jid),
            others => format!("{} and {others} others", first.jid),
        };
        let did = match self.act {
            Act::Mention => "mentioned you",
            Act::Reply => "replied to you",
            Act::Like if others == 0 => "likes what you wrote",
            Act::Like => "like what you wrote",
            Act::Repost => "repeated what you wrote",
            Act::Follow if others == 0 => "follows you",
            Act::Follow => "follow you",
        };
        let said = first.text.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
        format!("{who} {did}{said}").chars().take(TITLE_CHARS).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::*;

    fn happening(act: Act, person: &str, at: Option<&str>) -> Happening {
        let place = |item: &str| Place {
            service: BareJid::new("juliet@capulet.lit").unwrap(),
            node: "urn:xmpp:microblog:0".into(),
            item: Some(item.into()),
        };
        Happening {
            act,
            whom: BareJid::new("juliet@capulet.lit").unwrap(),
            person: BareJid::new(person).unwrap(),
            at: at.map(place),
            about: Some(place("post")),
            text: at.map(|at| format!("text {at}")),
            is_taken_back: false,
            is_edit: false,
        }
    }

    #[test]
    fn many_are_one_entry_that_names_the_latest() {
        let mut entry = Entry::new(&happening(Act::Like, "a@x.lit", None));
        for number in 0..1_000 {
            let like = happening(Act::Like, &format!("p{number}@x.lit"), None);
            assert!(entry.take(&like, Timestamp(number)));
            assert_eq!(id_of(&like, Timestamp(0)), id_of(&happening(Act::Like, "a@x.lit", None), Timestamp(9)));
        }
        assert_eq!((entry.count, entry.people.len()), (1_000, PEOPLE_MAX));
        assert_eq!(entry.title(), "p999@x.lit and 999 others like what you wrote");
        assert!(!entry.take(&happening(Act::Like, "p999@x.lit", None), Timestamp(1_001)), "nobody likes twice");
        let mut back = happening(Act::Like, "p999@x.lit", None);
        back.is_taken_back = true;
        assert!(entry.take(&back, Timestamp(1_002)));
        assert_eq!((entry.count, entry.people[0].jid.as_str()), (999, "p998@x.lit"));
        assert!(entry.without(|jid| jid.as_str() == "p998@x.lit"));
        assert_eq!(entry.count, 998);
    }

    #[test]
    fn everybody_comments_as_often_as_they_like() {
        let first = happening(Act::Reply, "a@x.lit", Some("1"));
        let mut entry = Entry::new(&first);
        assert!(entry.take(&first, Timestamp(1)));
        assert!(!entry.take(&first, Timestamp(2)), "the same again is no news");
        assert!(entry.take(&happening(Act::Reply, "a@x.lit", Some("2")), Timestamp(3)));
        assert_eq!((entry.count, &*entry.title()), (2, "a@x.lit replied to you: text 2"));
        let mut back = happening(Act::Reply, "a@x.lit", Some("3"));
        back.is_taken_back = true;
        assert!(!entry.take(&back, Timestamp(4)), "what was never told");
    }

    #[test]
    fn what_is_edited_is_no_news_and_who_followed_another_day_is_not_missing_today() {
        let edited = |act, at: &str| Happening { is_edit: true, ..happening(act, "a@x.lit", Some(at)) };
        let mut entry = Entry::new(&happening(Act::Reply, "a@x.lit", Some("0")));
        for number in 0..15 {
            assert!(entry.take(&happening(Act::Reply, "a@x.lit", Some(&number.to_string())), Timestamp(number)));
        }
        assert!(!entry.take(&edited(Act::Reply, "1"), Timestamp(20)), "it is not named any more");
        let mut named = edited(Act::Reply, "14");
        named.text = Some("another".to_owned());
        assert!(entry.take(&named, Timestamp(21)), "its text is told");
        assert_eq!((entry.count, entry.people[0].text.as_deref()), (15, Some("another")));
        let mut entry = Entry::new(&edited(Act::Mention, "1"));
        assert!(entry.take(&edited(Act::Mention, "1"), Timestamp(1)), "it names them only now");

        let mut entry = Entry::new(&happening(Act::Follow, "p0@x.lit", None));
        for number in 0..12 {
            assert!(entry.take(&happening(Act::Follow, &format!("p{number}@x.lit"), None), Timestamp(number)));
        }
        let gone = |person| Happening { is_taken_back: true, ..happening(Act::Follow, person, None) };
        assert!(!entry.take(&gone("old@x.lit"), Timestamp(30)));
        assert!(entry.take(&gone("p11@x.lit"), Timestamp(31)));
        assert_eq!(entry.count, 11);
    }

    #[test]
    fn what_is_written_is_read() {
        for act in Act::ALL {
            let mut entry = Entry::new(&happening(act, "a@x.lit", Some("1")));
            entry.take(&happening(act, "a@x.lit", Some("1")), Timestamp(1_000));
            entry.take(&happening(act, "b@x.lit", None), Timestamp(2_000));
            let place = happening(act, "a@x.lit", Some("1")).at.unwrap();
            let bytes = xmpp::xml::element_bytes(&entry.write(&place, Timestamp(0), Timestamp(1)));
            assert_eq!(Entry::parse(&bytes), Some(entry.clone()), "{}", String::from_utf8_lossy(&bytes));
            let body = pubsub::profile::microblog::summary(&bytes, 300).unwrap();
            assert!(body.starts_with("b@x.lit and another "), "{body}");
        }
        assert_eq!(Entry::parse(b"<entry xmlns='http://www.w3.org/2005/Atom'/>"), None);
    }
}
