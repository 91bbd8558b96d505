//! Searching an archive against searching a list.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use proptest::prelude::*;
use store::{Batch, Memory, Store};
use xmpp::{BareJid, Jid};

use super::super::{Arrival, Keep, Landed, Preferences, Span, Want};
use super::*;

const CONTACTS: [&str; 3] = ["romeo@montague.lit/orchard", "romeo@montague.lit/street", "nurse@capulet.lit"];
const VOCABULARY: [&str; 6] = ["love", "Night", "rose", "Tag", "naïve", "word"];

fn account() -> BareJid {
    BareJid::new("juliet@capulet.lit").unwrap()
}

fn ledgers(store: &Arc<dyn Store>) -> Ledgers<()> {
    Ledgers::new(Arc::clone(store), Preferences::default(), |_| false)
}

async fn add(ledgers: &Ledgers<()>, ledger: &Ledger<()>, contact: usize, message: &str) -> Place {
    let mut batch = Batch::new();
    let arrival =
        Arrival { now: 10, chance: 7, contact: CONTACTS[contact], is_outgoing: false, message: message.as_bytes() };
    let place = ledger.add(&arrival, &mut batch).unwrap();
    ledgers.store.commit_durably(batch).await.unwrap();
    assert!(matches!(ledger.land(place, None, |()| {}), Landed::Done));
    place
}

fn message(text: &[usize], is_encrypted: bool) -> String {
    let text: Vec<&str> = text.iter().map(|word| VOCABULARY[*word]).collect();
    let encrypted = if is_encrypted { "<encrypted xmlns='urn:xmpp:omemo:2'/>" } else { "" };
    format!("<message to='juliet@capulet.lit' type='chat'><body>{}</body>{encrypted}</message>", text.join(" "))
}

#[derive(Clone, Debug)]
enum Step {
    Add { contact: usize, text: Vec<usize>, is_encrypted: bool },
    Restart,
    Index,
    Trim { bytes_max: u64 },
    Bury { which: usize },
    Search { typed: Vec<usize>, is_joined: bool, with: usize, from: usize, to: usize, max: usize, is_from_end: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let text = || proptest::collection::vec(0..VOCABULARY.len(), 1..4);
    prop_oneof![
        60 => (0..3_usize, text(), 0..10_u8)
            .prop_map(|(contact, text, odds)| Step::Add { contact, text, is_encrypted: odds == 0 }),
        1 => Just(Step::Restart),
        1 => Just(Step::Index),
        1 => (1_000..30_000_u64).prop_map(|bytes_max| Step::Trim { bytes_max }),
        2 => (0..400_usize).prop_map(|which| Step::Bury { which }),
        6 => (text(), any::<bool>(), 0..4_usize, 0..400_usize, 0..400_usize, 1..30_usize, any::<bool>()).prop_map(
            |(typed, is_joined, with, from, to, max, is_from_end)| Step::Search {
                typed, is_joined, with, from, to, max, is_from_end
            }
        ),
    ]
}

struct Row {
    place: Place,
    contact: usize,
    text: Vec<usize>,
    is_readable: bool,
}

impl Row {
    fn is_found(&self, typed: &[usize], is_joined: bool, with: Option<&Jid>) -> bool {
        let is_with = with.is_none_or(|with| match with.is_full() {
            true => CONTACTS[self.contact] == with.as_str(),
            false => bare(CONTACTS[self.contact]) == with.as_str(),
        });
        let has = match is_joined {
            true => self.text.windows(typed.len()).any(|part| part == typed),
            false => typed.iter().all(|word| self.text.contains(word)),
        };
        self.is_readable && is_with && has
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_search_finds_what_reading_everything_finds(steps in proptest::collection::vec(step(), 1..400)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let memory: Arc<dyn Store> = Arc::new(Memory::new());
            let mut archives = ledgers(&memory);
            let mut ledger = archives.open(&account()).await.unwrap();
            let mut model: Vec<Row> = Vec::new();
            for step in steps {
                match step {
                    Step::Add { contact, text, is_encrypted } => {
                        let place = add(&archives, &ledger, contact, &message(&text, is_encrypted)).await;
                        model.push(Row { place, contact, text, is_readable: !is_encrypted });
                    }
                    Step::Restart => {
                        archives = ledgers(&memory);
                        ledger = archives.open(&account()).await.unwrap();
                    }
                    Step::Index => while archives.index(&ledger, 2).await.unwrap() {},
                    Step::Trim { bytes_max } => {
                        while archives.trim(&ledger, Keep { since: 0, bytes_max }).await.unwrap() {}
                        let before = usize::try_from(ledger.size().0).unwrap();
                        model.drain(..model.len() - before);
                    }
                    Step::Bury { which } => {
                        let count = model.len().max(1);
                        let Some(row) = model.get_mut(which % count) else { continue };
                        let entry = archives.get(&ledger, row.place).await.unwrap().unwrap();
                        if !entry.is_tombstone() {
                            archives.bury(&ledger, &entry, b"<message to='a@b'><retracted xmlns='x'/></message>").await.unwrap();
                            row.is_readable = false;
                        }
                    }
                    Step::Search { typed, is_joined, with, from, to, max, is_from_end } => {
                        let with = [None, Some("romeo@montague.lit"), Some(CONTACTS[0]), Some(CONTACTS[2])][with];
                        let with = with.map(|with| Jid::new(with).unwrap());
                        let mut span = Span::ALL;
                        if let Some(row) = model.get(from) {
                            span = span.after(row.place);
                        }
                        if let Some(row) = model.get(to) {
                            span = span.before(row.place);
                        }
                        let words: Vec<&str> = typed.iter().map(|word| VOCABULARY[*word]).collect();
                        let words = words.join(if is_joined { "-" } else { " " }).to_uppercase();
                        let query = Query::parse(&words).unwrap();
                        let want = Want { span, with: with.as_ref(), messages_max: max, bytes_max: usize::MAX, is_from_end };
                        let found = loop {
                            match archives.search(&ledger, want, &query).await.unwrap() {
                                Searched::Found(found) => break found,
                                Searched::Behind => {}
                                Searched::TooBroad => panic!("so many are not there"),
                            }
                        };
                        let is_found = |row: &&Row| {
                            span.contains(row.place) && row.is_found(&typed, is_joined, with.as_ref())
                        };
                        let mut expected: Vec<Place> = model.iter().filter(is_found).map(|row| row.place).collect();
                        let is_complete = expected.len() <= max;
                        if is_from_end {
                            expected.drain(..expected.len().saturating_sub(max));
                        } else {
                            expected.truncate(max);
                        }
                        let places: Vec<Place> = found.entries.iter().map(|entry| entry.place).collect();
                        assert_eq!((places, found.is_complete), (expected, is_complete), "{words} {want:?}");
                    }
                }
            }
        });
    }
}

#[test]
fn times_are_written_short_and_read_back() {
    for times in [vec![], vec![5], vec![5, 6, 1_000, u64::from(u32::MAX), 1 << 60]] {
        let row = write_times(5, &times);
        assert_eq!(read_times(5, &row).unwrap(), times);
    }
    assert_eq!(write_times(1_000_000, &[1_000_000, 1_000_100]).len(), 3);
    for broken in
        [&[][..], &[9], &[FORMAT, 0x80], &[FORMAT, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]]
    {
        assert!(read_times(5, broken).is_err(), "{broken:?}");
    }
}

#[tokio::test]
async fn nothing_of_a_word_is_left_when_its_message_is_gone() {
    let memory: Arc<dyn Store> = Arc::new(Memory::new());
    let archives = ledgers(&memory);
    let ledger = archives.open(&account()).await.unwrap();
    let first = add(&archives, &ledger, 0, &message(&[0, 1], false)).await;
    for _ in 0..3 * SEGMENT {
        add(&archives, &ledger, 2, &message(&[1], false)).await;
    }
    let rows = async || {
        let rows =
            memory.scan(Table::ArchiveWords.key().str("juliet@capulet.lit").range(), Page::rows(1_000)).await.unwrap();
        rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert!(rows().await.is_empty(), "nobody searched yet");
    while archives.index(&ledger, 1).await.unwrap() {}
    let has =
        |rows: &[bytes::Bytes], word: &[u8]| rows.iter().any(|key| key.windows(word.len()).any(|part| part == word));
    assert!(has(&rows().await, b"love") && has(&rows().await, b"night"));
    let entry = archives.get(&ledger, first).await.unwrap().unwrap();
    archives.bury(&ledger, &entry, b"<message/>").await.unwrap();
    assert!(!has(&rows().await, b"love") && has(&rows().await, b"night"), "what was taken back is not in the index");
    while archives.trim(&ledger, Keep { since: u64::MAX, bytes_max: 0 }).await.unwrap() {}
    assert!(rows().await.is_empty());
    archives.delete("juliet@capulet.lit").await.unwrap();
}
