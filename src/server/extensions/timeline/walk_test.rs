//! Walks through services of both orders, honest and not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use proptest::prelude::*;

use super::*;

/// A service that has these items, the oldest first.
struct Service {
    items: Vec<(Box<str>, String)>,
    is_newest_first: bool,
}

impl Service {
    fn answer(&self, bound: &Bound) -> Vec<ToldItem> {
        let mut list: Vec<usize> = (0..self.items.len()).collect();
        if self.is_newest_first {
            list.reverse();
        }
        let at = |id: &str| list.iter().position(|at| *self.items[*at].0 == *id).unwrap();
        let page: Vec<usize> = match bound {
            Bound::Newest if self.is_newest_first => list.iter().copied().take(PAGE_ITEMS).collect(),
            Bound::Newest => list.iter().copied().skip(list.len().saturating_sub(PAGE_ITEMS)).collect(),
            Bound::Before(id) => list[at(id).saturating_sub(PAGE_ITEMS)..at(id)].to_vec(),
            Bound::After(id) => list.iter().copied().skip(at(id) + 1).take(PAGE_ITEMS).collect(),
        };
        let told = page.into_iter().map(|at| {
            let (id, payload) = self.items[at].clone();
            ToldItem::Published { id, publisher: None, payload: Some(payload.into()) }
        });
        told.collect()
    }
}

fn entry(id: usize) -> (Box<str>, String) {
    // A second each, so that dates say which is newer.
    let date = format!("2026-11-23T{:02}:{:02}:{:02}Z", id / 3600, id / 60 % 60, id % 60);
    (format!("i{id}").into(), format!("<entry><updated>{date}</updated></entry>"))
}

fn walk(
    service: &Service,
    seen: Option<&[u64]>,
    here: impl Fn(&str) -> Option<u64>,
) -> (Vec<Box<str>>, Vec<u64>, usize) {
    let mut walk = Walk::new(seen);
    let mut pages = 0;
    loop {
        pages += 1;
        let page = walk.read("n", "n", service.answer(&walk.bound())).unwrap();
        let known = page.iter().map(|sent| here(&sent.id)).collect();
        if !walk.take(page, known) {
            break;
        }
    }
    let (found, newest) = walk.finish();
    (found.into_iter().map(|sent| sent.id).collect(), newest, pages)
}

proptest! {
    /// What was published since the last answer is found, all of it and in order, whatever order the service gives.
    #[test]
    fn what_is_missing_is_found_once_and_in_order(
        before in 0usize..120,
        missed in 0usize..400,
        is_newest_first: bool,
    ) {
        let all: Vec<_> = (0..before + missed).map(entry).collect();
        let then = Service { items: all[..before].to_vec(), is_newest_first };
        let (nothing, seen, _) = walk(&then, None, |_| None);
        prop_assert!(nothing.is_empty(), "what was there before it was followed");
        let service = Service { items: all.clone(), is_newest_first };
        let (found, newest, pages) = walk(&service, Some(&seen), |_| None);
        let expected: Vec<Box<str>> = all[before..].iter().map(|(id, _)| id.clone()).collect();
        prop_assert_eq!(found, expected);
        prop_assert!(pages <= missed / PAGE_ITEMS + 2);
        prop_assert!(newest.len() <= PAGE_ITEMS);
    }

    #[test]
    fn anything_may_be_answered(
        ids in proptest::collection::vec("[a-c]{0,2}", 0..60),
        node in "[nm]",
        payload in "\\PC{0,60}",
    ) {
        let mut walk = Walk::new(Some(&[]));
        let items: Vec<ToldItem> = ids
            .iter()
            .map(|id| ToldItem::Published { id: id.as_str().into(), publisher: None, payload: Some(payload.clone().into()) })
            .collect();
        if let Some(page) = walk.read("n", &node, items) {
            prop_assert!(node == "n" && page.len() <= PAGE_ITEMS);
            let here = page.iter().map(|_| None).collect();
            walk.take(page, here);
        }
    }
}

#[test]
fn what_was_edited_is_missing_again_and_what_came_meanwhile_does_not_end_the_walk() {
    let mut service = Service { items: (0..20).map(entry).collect(), is_newest_first: false };
    let (_, seen, _) = walk(&service, None, |_| None);
    let mut edited = service.items.remove(3);
    edited.1 = entry(100).1;
    service.items.extend([entry(20), edited, entry(21)]);
    // The last of them came by itself.
    let (found, ..) = walk(&service, Some(&seen), |id| (id == "i21").then_some(7));
    assert_eq!(found, ["i20".into(), "i3".into(), "i21".into()]);
}

#[test]
fn a_node_followed_before_anybody_asked_ends_at_what_is_here() {
    let service = Service { items: (0..30).map(entry).collect(), is_newest_first: true };
    let (found, ..) = walk(&service, None, |id| (id == "i27").then_some(1));
    assert_eq!(found, ["i28".into(), "i29".into()]);
}

#[test]
fn a_service_without_end_is_left_after_some_pages() {
    let mut walk = Walk::new(Some(&[]));
    let mut pages = 0;
    loop {
        let page = pages;
        let items = (0..PAGE_ITEMS).map(move |at| ToldItem::Published {
            id: format!("{page}-{at}").into(),
            publisher: None,
            payload: Some("<t xmlns='t'/>".into()),
        });
        pages += 1;
        let page = walk.read("n", "n", items.collect()).unwrap();
        let here = page.iter().map(|_| None).collect();
        if !walk.take(page, here) {
            break;
        }
    }
    assert_eq!(pages, PAGES_MAX);
    assert_eq!(walk.finish().0.len(), PAGES_MAX * PAGE_ITEMS);
}

#[test]
fn no_honest_service_sends_this() {
    let item =
        |id: &str| ToldItem::Published { id: id.into(), publisher: None, payload: Some("<t xmlns='t'/>".into()) };
    assert!(Walk::new(None).read("n", "other", vec![item("a")]).is_none(), "another node");
    assert!(Walk::new(None).read("n", "n", vec![item("a"), item("a")]).is_none(), "the same twice");
    assert!(Walk::new(None).read("n", "n", vec![ToldItem::Retracted("a".into())]).is_none());
    let many = (0..=PAGE_ITEMS).map(|at| item(&at.to_string())).collect();
    assert!(Walk::new(None).read("n", "n", many).is_none(), "more than was asked for");
    let mut walk = Walk::new(Some(&[]));
    let page = walk.read("n", "n", vec![item("a")]).unwrap();
    assert!(walk.take(page, vec![None]));
    assert!(walk.read("n", "n", vec![item("a")]).is_none(), "the same page again");
}
