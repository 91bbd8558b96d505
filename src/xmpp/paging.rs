//! Result set management (XEP-0059, version 1.0): asking for a part of a list, and saying which part it is.
//!
//! A [`Query`] says where to start and how far to go, a [`Page`] what was given. Lists that are in memory
//! are cut by [`Query::cut`]; lists in the store are scanned by whoever owns them, with [`Query::start`].

use std::fmt;
use std::ops::Range;

use crate::xml::WithAttribute;
use crate::{Element, StanzaError, ns};

/// Longest identifier of an item accepted in a query, in bytes: that of the longest JID.
pub const UID_BYTES_MAX: usize = 3071;

/// What part of a list is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// At most this many items; 0 asks for the count alone. Numbers beyond `u32::MAX` are that.
    pub max: Option<u32>,
    /// The items that follow this one.
    pub after: Option<String>,
    /// The items that precede this one; when empty, the last page.
    pub before: Option<String>,
    /// The items from this position on, the first being 0.
    pub index: Option<u64>,
}

/// Where a page begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// At the first item.
    First,
    /// Right after this item.
    After(&'a str),
    /// The page ends right before this item.
    Before(&'a str),
    /// The page ends with the last item.
    Last,
    /// At this position.
    Index(u64),
}

impl Query {
    /// Reads the `<set/>` among an element's children; `None` when there is none.
    ///
    /// # Errors
    /// When there are several, a number is not a number, an identifier is longer than [`UID_BYTES_MAX`], or
    /// more than one of `after`, `before` and `index` is given: to which the specification gives no meaning.
    pub fn parse(parent: &Element) -> Result<Option<Self>, BadQuery> {
        let mut sets = parent.children().filter(|child| child.is("set", ns::RSM));
        let Some(set) = sets.next() else { return Ok(None) };
        if sets.next().is_some() {
            return Err(BadQuery("there is more than one set"));
        }
        Self::parse_set(set).map(Some)
    }

    /// Reads `<set xmlns='http://jabber.org/protocol/rsm'/>`.
    ///
    /// # Errors
    /// As [`Query::parse`].
    pub fn parse_set(set: &Element) -> Result<Self, BadQuery> {
        let mut query = Self::default();
        for child in set.children().filter(|child| child.has_ns(ns::RSM)) {
            let text = child.text();
            let is_repeated = match child.name() {
                "max" => {
                    let max = u32::try_from(number(&text)?).unwrap_or(u32::MAX);
                    query.max.replace(max).is_some()
                }
                // Before the first item begins the list (section 2.2), so an empty `after` says nothing.
                "after" if text.is_empty() => false,
                "after" => query.after.replace(uid(text)?).is_some(),
                "before" => query.before.replace(uid(text)?).is_some(),
                "index" => query.index.replace(number(&text)?).is_some(),
                _ => false,
            };
            if is_repeated {
                return Err(BadQuery("an element of the set is given twice"));
            }
        }
        match [query.after.is_some(), query.before.is_some(), query.index.is_some()] {
            [true, true, _] | [true, _, true] | [_, true, true] => {
                Err(BadQuery("only one of after, before and index can be given"))
            }
            _ => Ok(query),
        }
    }

    /// Where the page begins or ends.
    pub fn start(&self) -> Start<'_> {
        match (self.after.as_deref(), self.before.as_deref(), self.index) {
            (Some(uid), ..) => Start::After(uid),
            (_, Some(""), _) => Start::Last,
            (_, Some(uid), _) => Start::Before(uid),
            (_, _, Some(index)) => Start::Index(index),
            _ => Start::First,
        }
    }

    /// How many items to give when we give no more than `page_max` at once.
    pub fn size(&self, page_max: usize) -> usize {
        self.max.map_or(page_max, |max| usize::try_from(max).unwrap_or(usize::MAX).min(page_max))
    }

    /// Cuts a list that is in memory, in its order; `uid` gives an item's identifier. Returns the range to
    /// give and its description, or `None` when the item named is not in the list (`item-not-found`,
    /// section 2.4).
    pub fn cut<T>(&self, list: &[T], page_max: usize, uid: impl Fn(&T) -> &str) -> Option<(Range<usize>, Page)> {
        let find = |wanted: &str| list.iter().position(|item| uid(item) == wanted);
        let size = self.size(page_max);
        let range = match self.start() {
            Start::First => 0..size.min(list.len()),
            Start::After(wanted) => forwards(find(wanted)? + 1, size, list.len()),
            Start::Before(wanted) => backwards(find(wanted)?, size),
            Start::Last => backwards(list.len(), size),
            Start::Index(index) => forwards(usize::try_from(index).unwrap_or(usize::MAX), size, list.len()),
        };
        let given = list.get(range.clone()).unwrap_or_default();
        let page = Page {
            first: given.first().map(|item| uid(item).to_owned()),
            last: given.last().map(|item| uid(item).to_owned()),
            index: Some(range.start as u64).filter(|_| !given.is_empty()),
            count: Some(list.len() as u64),
        };
        Some((range, page))
    }

    /// Writes the query.
    pub fn to_element(&self) -> Element {
        Element::builder("set", ns::RSM)
            .append_all(self.max.map(|max| child("max", &max.to_string())))
            .append_all(self.after.as_deref().map(|uid| child("after", uid)))
            .append_all(self.before.as_deref().map(|uid| child("before", uid)))
            .append_all(self.index.map(|index| child("index", &index.to_string())))
            .build()
    }
}

fn forwards(start: usize, size: usize, len: usize) -> Range<usize> {
    let start = start.min(len);
    start..start.saturating_add(size).min(len)
}

fn backwards(end: usize, size: usize) -> Range<usize> {
    end.saturating_sub(size)..end
}

fn child(name: &str, text: &str) -> Element {
    let element = Element::builder(name, ns::RSM);
    if text.is_empty() { element.build() } else { element.append(text).build() }
}

/// A non-negative number, with the white space XML Schema lets stand around it.
fn number(text: &str) -> Result<u64, BadQuery> {
    let digits = text.trim_matches([' ', '\t', '\r', '\n']);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadQuery("max and index must be numbers of at least 0"));
    }
    // Digits alone can fail only by being too many.
    Ok(digits.parse().unwrap_or(u64::MAX))
}

fn uid(text: String) -> Result<String, BadQuery> {
    if text.len() > UID_BYTES_MAX { Err(BadQuery("the item identifier is too long")) } else { Ok(text) }
}

/// What part of a list was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The first item given; `None` when none was.
    pub first: Option<String>,
    /// The last item given; `None` when none was.
    pub last: Option<String>,
    /// The position of the first item in the whole list, which may be approximate.
    pub index: Option<u64>,
    /// The length of the whole list, which may be approximate.
    pub count: Option<u64>,
}

impl Page {
    /// Writes the page. `first` and `last` are written both or not at all (section 2.2).
    pub fn to_element(&self) -> Element {
        let ends = self.first.as_deref().zip(self.last.as_deref());
        let first = ends.map(|(first, _)| {
            Element::builder("first", ns::RSM)
                .attribute("index", self.index.map(|index| index.to_string()).as_deref())
                .append(first)
                .build()
        });
        Element::builder("set", ns::RSM)
            .append_all(first)
            .append_all(ends.map(|(_, last)| child("last", last)))
            .append_all(self.count.map(|count| child("count", &count.to_string())))
            .build()
    }

    /// Reads a page, as a client does.
    ///
    /// # Errors
    /// When a number is not a number.
    pub fn parse_set(set: &Element) -> Result<Self, BadQuery> {
        let mut page = Self::default();
        for child in set.children().filter(|child| child.has_ns(ns::RSM)) {
            match child.name() {
                "first" => {
                    page.index = child.attr("index").map(number).transpose()?;
                    page.first = Some(child.text());
                }
                "last" => page.last = Some(child.text()),
                "count" => page.count = Some(number(&child.text())?),
                _ => {}
            }
        }
        Ok(page)
    }
}

/// Why a query is refused: `bad-request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadQuery(&'static str);

impl fmt::Display for BadQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for BadQuery {}

impl From<BadQuery> for StanzaError {
    fn from(error: BadQuery) -> Self {
        Self::bad_request().with_text(error.0)
    }
}

#[cfg(test)]
#[path = "paging_tests.rs"]
mod tests;
