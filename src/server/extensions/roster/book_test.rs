//! A book and its line of changes over a store that can be held, broken and stopped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use store::memory::Control;

use super::*;
use crate::config::ResourceConflict;
use crate::session::SessionLimits;
use crate::session::mailbox::Taken;

struct Desk {
    book: Book,
    rosters: Rosters,
    sessions: Sessions,
    session: Arc<Session>,
    control: Control,
}

fn jid(text: &str) -> BareJid {
    BareJid::new(text).unwrap()
}

async fn open(control: &Control) -> (Rosters, Book) {
    let rosters = Rosters::new(Arc::new(control.open()));
    let loaded = rosters.load("romeo@example.net").await.unwrap();
    (rosters, Book::new(jid("romeo@example.net"), loaded))
}

impl Desk {
    async fn new() -> Self {
        let control = store::Memory::new().control();
        let (rosters, book) = open(&control).await;
        let sessions = Sessions::new(SessionLimits { sessions_per_account_max: 1, mailbox_bytes_max: 1 << 20 });
        let full = xmpp::FullJid::new("romeo@example.net/orchard").unwrap();
        let session = sessions.bind(full, ResourceConflict::Refuse, 0, || unreachable!()).unwrap();
        session.state().interested = true;
        Self { book, rosters, sessions, session, control }
    }

    async fn name(&self, contact: &str, name: &str) -> Result<(), Fault> {
        let decide = |before: &Contact, _| {
            let after = Contact { is_listed: true, name: name.into(), ..before.clone() };
            Ok::<_, Fault>(Decided { edit: Edit::Put(after), told: None, is_pushed_anyway: true, then: () })
        };
        let (change, ()) = self.book.decide(7, &jid(contact), decide)?;
        self.book.pass(&self.rosters, &self.sessions, change.unwrap()).await
    }

    fn pushes(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Taken::Frames) = self.session.mailbox.poll_take(&mut context, &mut out, usize::MAX) {}
        String::from_utf8(out).unwrap().split_inclusive("</iq>").map(str::to_owned).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_hears_of_what_is_not_durable() {
    let desk = Desk::new().await;
    desk.control.hold_flushes(true);
    let named = desk.name("juliet@example.com", "Juliet");
    tokio::pin!(named);
    assert!(tokio::time::timeout(Duration::from_secs(1), &mut named).await.is_err(), "it waits for the flush");
    assert!(desk.pushes().is_empty());
    assert_eq!(&*desk.book.contact("juliet@example.com").unwrap().name, "Juliet", "decisions see it at once");
    desk.control.hold_flushes(false);
    named.await.unwrap();
    assert_eq!(desk.pushes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn many_changes_take_few_commits_and_are_told_in_order() {
    let desk = Desk::new().await;
    let before = desk.control.open();
    let commits = || store::Store::stats(&before).commits;
    desk.control.hold_flushes(true);
    let all = async {
        let names: Vec<String> = (0..50).map(|number| format!("c{number}@example.com")).collect();
        let mut under_way: Vec<_> = names.iter().map(|name| Box::pin(desk.name(name, "x"))).collect();
        let mut context = Context::from_waker(Waker::noop());
        for change in &mut under_way {
            assert!(change.as_mut().poll(&mut context).is_pending());
        }
        desk.control.hold_flushes(false);
        for change in under_way {
            change.await.unwrap();
        }
    };
    all.await;
    assert!(commits() <= 2, "{} commits", commits());
    let pushes = desk.pushes();
    assert_eq!(pushes.len(), 50);
    for (number, push) in pushes.iter().enumerate() {
        assert!(push.contains(&format!("id='roster-{:x}'", number + 1)), "{push}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_whose_maker_is_stopped_goes_with_the_next() {
    let desk = Desk::new().await;
    desk.control.hold_flushes(true);
    let stopped = tokio::time::timeout(Duration::from_secs(1), desk.name("juliet@example.com", "Juliet")).await;
    assert!(stopped.is_err());
    desk.control.hold_flushes(false);
    desk.name("nurse@example.com", "Nurse").await.unwrap();
    assert_eq!(desk.pushes().len(), 2, "the first one is told too");
    let (_, book) = open(&desk.control).await;
    assert!(book.contact("juliet@example.com").is_some() && book.contact("nurse@example.com").is_some());
}

#[tokio::test]
async fn a_book_that_cannot_be_written_is_closed() {
    let desk = Desk::new().await;
    desk.name("juliet@example.com", "Juliet").await.unwrap();
    desk.pushes();
    desk.control.break_writes(Some(Fault::new("the disk is gone")));
    assert!(desk.name("nurse@example.com", "Nurse").await.is_err());
    assert!(desk.book.is_closed());
    assert!(desk.name("nurse@example.com", "Nurse").await.is_err());
    assert!(desk.pushes().is_empty(), "nobody was told");
    desk.control.break_writes(None);
    let (_, book) = open(&desk.control).await;
    assert!(book.contact("juliet@example.com").is_some() && book.contact("nurse@example.com").is_none());
}

#[tokio::test]
async fn old_removals_are_forgotten_and_the_whole_roster_is_sent_instead() {
    let desk = Desk::new().await;
    desk.name("keep@example.com", "x").await.unwrap();
    let known = "7-1".to_owned();
    for number in 0..=TRACES_MAX {
        let contact = jid(&format!("c{number}@example.com"));
        desk.name(contact.as_str(), "x").await.unwrap();
        let decide = |_: &Contact, _: Counts| {
            Ok::<_, Fault>(Decided { edit: Edit::Remove, told: None, is_pushed_anyway: false, then: () })
        };
        let (change, ()) = desk.book.decide(7, &contact, decide).unwrap();
        desk.book.pass(&desk.rosters, &desk.sessions, change.unwrap()).await.unwrap();
    }
    let pages = desk.book.pages();
    assert_eq!(pages.removed.len(), TRACES_MAX);
    assert!(pages.missed(&known).is_none(), "a removal it missed is forgotten");
    let last = format!("7-{:x}", pages.head.version - 1);
    assert_eq!(pages.missed(&last).map(|missed| missed.len()), Some(1));
    assert_eq!(pages.counts, Counts { listed: 1, requests: 0 });
}
