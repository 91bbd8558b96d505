//! Which rows a scan reads, in which direction, and how many at most.

use bytes::Bytes;

/// A key and its value.
pub type Row = (Bytes, Bytes);

/// A half-open interval of keys, `from` included and `to` excluded, read forwards or backwards.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Range {
    pub(crate) from: Bytes,
    pub(crate) to: Option<Bytes>,
    pub(crate) reverse: bool,
}

impl Range {
    /// Every key.
    #[must_use]
    pub fn all() -> Self {
        Self { from: Bytes::new(), to: None, reverse: false }
    }

    /// Every key that begins with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let from = prefix.into();
        let to = after_prefix(&from);
        Self { from, to, reverse: false }
    }

    /// From `from` (included) to `to` (excluded). Empty when `to <= from`.
    #[must_use]
    pub fn between(from: impl Into<Bytes>, to: impl Into<Bytes>) -> Self {
        Self { from: from.into(), to: Some(to.into()), reverse: false }
    }

    /// The same keys, greatest first.
    #[must_use]
    pub fn reversed(mut self) -> Self {
        self.reverse = true;
        self
    }

    /// Only what is strictly greater than `key`.
    #[must_use]
    pub fn after(mut self, key: &[u8]) -> Self {
        let mut next = Vec::with_capacity(key.len() + 1);
        next.extend_from_slice(key);
        next.push(0);
        if next.as_slice() > self.from.as_ref() {
            self.from = next.into();
        }
        self
    }

    /// Only what is strictly less than `key`.
    #[must_use]
    pub fn before(mut self, key: &[u8]) -> Self {
        if self.to.as_ref().is_none_or(|to| key < to.as_ref()) {
            self.to = Some(Bytes::copy_from_slice(key));
        }
        self
    }

    /// Goes on where a page ended: strictly past `key` in the direction of reading.
    #[must_use]
    pub fn past(self, key: &[u8]) -> Self {
        if self.reverse { self.before(key) } else { self.after(key) }
    }

    /// The first key that may be in it.
    #[must_use]
    pub fn from(&self) -> &[u8] {
        &self.from
    }

    /// The first key after it; `None` when it has no end.
    #[must_use]
    pub fn to(&self) -> Option<&[u8]> {
        self.to.as_deref()
    }

    /// Whether it is read from its end.
    #[must_use]
    pub fn is_reversed(&self) -> bool {
        self.reverse
    }

    /// True when no key can be in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.to.as_ref().is_some_and(|to| *to <= self.from)
    }

    /// True when `key` lies in it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.from.as_ref() && self.to.as_ref().is_none_or(|to| key < to.as_ref())
    }
}

/// The least key greater than every key with this prefix; `None` for an empty prefix or one of 0xFF only.
fn after_prefix(prefix: &[u8]) -> Option<Bytes> {
    let kept = prefix.iter().rposition(|byte| *byte != 0xFF)?;
    let mut end = prefix.get(..=kept)?.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    Some(end.into())
}

/// How much one scan may return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Page {
    /// At most this many rows.
    pub rows_max: usize,
    /// Stop before the row that would take keys and values past this many bytes; one row is always given.
    pub bytes_max: usize,
}

impl Page {
    /// At most `rows_max` rows, and at most 1 MiB.
    #[must_use]
    pub fn rows(rows_max: usize) -> Self {
        Self { rows_max, bytes_max: 1 << 20 }
    }

    /// The same with another bound on bytes.
    #[must_use]
    pub fn bytes(mut self, bytes_max: usize) -> Self {
        self.bytes_max = bytes_max;
        self
    }
}

/// What a scan found, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// The rows, in the direction asked for.
    pub rows: Vec<Row>,
    /// True when the range holds nothing beyond these rows; false when a bound of the page ended the scan
    /// (there may or may not be more).
    pub is_complete: bool,
}

impl std::ops::Deref for Rows {
    type Target = [Row];
    fn deref(&self) -> &[Row] {
        &self.rows
    }
}

impl IntoIterator for Rows {
    type Item = Row;
    type IntoIter = std::vec::IntoIter<Row>;
    fn into_iter(self) -> Self::IntoIter {
        self.rows.into_iter()
    }
}

impl<'a> IntoIterator for &'a Rows {
    type Item = &'a Row;
    type IntoIter = std::slice::Iter<'a, Row>;
    fn into_iter(self) -> Self::IntoIter {
        self.rows.iter()
    }
}

/// Collects rows until a page is full.
pub(crate) struct Collector {
    page: Page,
    bytes: usize,
    rows: Vec<Row>,
}

impl Collector {
    pub(crate) fn new(page: Page) -> Self {
        Self { page, bytes: 0, rows: Vec::with_capacity(page.rows_max.min(64)) }
    }

    /// True when the next row would be one too many.
    pub(crate) fn is_full(&self) -> bool {
        self.rows.len() >= self.page.rows_max
    }

    /// Takes the row, or gives back false when it would pass the bound on bytes.
    pub(crate) fn take(&mut self, key: Bytes, value: Bytes) -> bool {
        let bytes = self.bytes.saturating_add(key.len() + value.len());
        if bytes > self.page.bytes_max && !self.rows.is_empty() {
            return false;
        }
        self.bytes = bytes;
        self.rows.push((key, value));
        true
    }

    pub(crate) fn finish(self, is_complete: bool) -> Rows {
        Rows { rows: self.rows, is_complete }
    }
}

/// Fills a page from an ordered iterator.
pub(crate) fn collect<E>(page: Page, rows: impl Iterator<Item = Result<Row, E>>) -> Result<Rows, E> {
    let mut collector = Collector::new(page);
    for row in rows {
        let (key, value) = row?;
        if collector.is_full() || !collector.take(key, value) {
            return Ok(collector.finish(false));
        }
    }
    Ok(collector.finish(true))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use super::*;

    #[test]
    fn a_prefix_ends_where_the_next_begins() {
        for (prefix, end) in [
            (&b"a"[..], Some(&b"b"[..])),
            (b"a\xFF", Some(b"b")),
            (b"a\xFF\xFF", Some(b"b")),
            (b"\xFF", None),
            (b"", None),
        ] {
            assert_eq!(Range::prefix(prefix).to(), end, "{prefix:?}");
        }
    }

    #[test]
    fn going_past_a_key_never_widens() {
        let range = Range::between(&b"b"[..], &b"d"[..]);
        assert_eq!(range.clone().after(b"a").from(), b"b");
        assert_eq!(range.clone().after(b"b").from(), b"b\0");
        assert_eq!(range.clone().before(b"x").to(), Some(&b"d"[..]));
        assert_eq!(range.clone().reversed().past(b"c").to(), Some(&b"c"[..]));
        assert!(range.before(b"b").is_empty());
    }
}
