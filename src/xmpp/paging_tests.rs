//! The examples of XEP-0059, what is refused, and properties of walking through a list.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;

fn parse(inner: &str) -> Result<Option<Query>, BadQuery> {
    Query::parse(&format!("<query xmlns='jabber:iq:search'><nick/>{inner}</query>").parse().unwrap())
}

fn set(inner: &str) -> Result<Query, BadQuery> {
    parse(&format!("<set xmlns='http://jabber.org/protocol/rsm'>{inner}</set>")).map(Option::unwrap)
}

#[test]
fn the_printed_queries() {
    assert_eq!(parse(""), Ok(None));
    let query = set("<max>10</max>").unwrap();
    assert_eq!((query.max, query.start()), (Some(10), Start::First));
    let query = set("<max>10</max><after>peterpan@neverland.lit</after>").unwrap();
    assert_eq!(query.start(), Start::After("peterpan@neverland.lit"));
    let query = set("<max>10</max><before>peter@pixyland.org</before>").unwrap();
    assert_eq!(query.start(), Start::Before("peter@pixyland.org"));
    assert_eq!(set("<max>10</max><before/>").unwrap().start(), Start::Last);
    assert_eq!(set("<max>10</max><index>371</index>").unwrap().start(), Start::Index(371));
    assert_eq!(set("<max>0</max>").unwrap().size(50), 0);
}

#[test]
fn what_is_refused() {
    for bad in [
        "<max>ten</max>",
        "<max/>",
        "<max>-1</max>",
        "<max>+1</max>",
        "<index>1.5</index>",
        "<max>1</max><max>2</max>",
        "<before/><before>x</before>",
        "<after>a</after><before>b</before>",
        "<after>a</after><index>1</index>",
        "<before/><index>1</index>",
    ] {
        assert!(set(bad).is_err(), "{bad}");
    }
    assert!(set(&format!("<after>{}</after>", "x".repeat(UID_BYTES_MAX + 1))).is_err());
    let twice = "<set xmlns='http://jabber.org/protocol/rsm'/>".repeat(2);
    assert!(parse(&twice).is_err());
}

#[test]
fn numbers_have_no_end_and_pages_do() {
    let query = set("<max>99999999999999999999999</max>").unwrap();
    assert_eq!(query.max, Some(u32::MAX));
    assert_eq!(query.size(100), 100);
    assert_eq!(Query::default().size(100), 100);
    assert_eq!(set("<max> 7\n</max><after/>").unwrap(), Query { max: Some(7), ..Query::default() });
    let beyond = set("<index>99999999999999999999999</index>").unwrap();
    let (range, page) = beyond.cut(&["a", "b"], 10, |uid| uid).unwrap();
    assert_eq!((range, page.first, page.count), (2..2, None, Some(2)));
}

#[test]
fn an_empty_page_has_no_ends() {
    let (_, page) = set("<max>0</max>").unwrap().cut(&["a", "b"], 10, |uid| uid).unwrap();
    let written = page.to_element();
    assert!(!written.has_child("first", ns::RSM) && !written.has_child("last", ns::RSM));
    assert_eq!(written.get_child("count", ns::RSM).unwrap().text(), "2");
}

#[test]
fn a_missing_item_is_not_found() {
    for query in ["<after>z</after>", "<before>z</before>"] {
        assert_eq!(set(query).unwrap().cut(&["a", "b"], 10, |uid| uid), None);
    }
}

proptest! {
    #[test]
    fn walking_either_way_gives_everything_once(len in 0_usize..60, max in 1_u32..10, page_max in 1_usize..10) {
        let list: Vec<String> = (0..len).map(|n| n.to_string()).collect();
        let mut forwards = Vec::new();
        let mut query = Query { max: Some(max), ..Query::default() };
        loop {
            let (range, page) = query.cut(&list, page_max, String::as_str).unwrap();
            prop_assert!(range.len() <= page_max && range.len() <= max as usize);
            let Some(last) = page.last else { break };
            prop_assert_eq!(page.index, Some(forwards.len() as u64));
            forwards.extend_from_slice(&list[range]);
            query.after = Some(last);
        }
        prop_assert_eq!(&forwards, &list);
        let mut backwards = Vec::new();
        let mut query = Query { max: Some(max), before: Some(String::new()), ..Query::default() };
        loop {
            let (range, page) = query.cut(&list, page_max, String::as_str).unwrap();
            let Some(first) = page.first else { break };
            backwards.splice(0..0, list[range].iter().cloned());
            query.before = Some(first);
        }
        prop_assert_eq!(&backwards, &list);
    }

    #[test]
    fn what_is_written_is_read(max in proptest::option::of(any::<u32>()), which in 0..4, uid in "[ -~]{1,20}", n in any::<u64>()) {
        let mut query = Query { max, ..Query::default() };
        match which {
            0 => query.after = Some(uid.clone()),
            1 => query.before = Some(uid.clone()),
            2 => query.index = Some(n),
            _ => query.before = Some(String::new()),
        }
        prop_assert_eq!(Query::parse_set(&query.to_element()), Ok(query));
        let page = Page { first: Some(uid.clone()), last: Some(uid), index: Some(n), count: Some(n) };
        prop_assert_eq!(Page::parse_set(&page.to_element()), Ok(page));
    }
}
