//! Keys whose byte order is the order of what they say.
//!
//! The first byte is the table. Then come components: strings, escaped and terminated so that "ab" sorts
//! before "abc" whatever follows; unsigned integers, big-endian; integers in descending order, complemented;
//! and fixed-width bytes as they are. A reader takes them apart again in the same order.

use std::fmt;

use bytes::Bytes;

use crate::range::Range;

/// Ends a string component. 0x00 inside a string is followed by 0xFF, which sorts after this.
const END: [u8; 2] = [0x00, 0x01];
const ESCAPED_ZERO: [u8; 2] = [0x00, 0xFF];

/// Builds a key, component by component.
#[derive(Clone, Debug)]
pub struct KeyBuilder(Vec<u8>);

impl KeyBuilder {
    /// Begins a key in `table`, which must be below [`TABLE_MAX`](crate::TABLE_MAX).
    #[must_use]
    pub fn new(table: u8) -> Self {
        let mut key = Vec::with_capacity(64);
        key.push(table);
        Self(key)
    }

    /// Goes on from a key or prefix built earlier.
    #[must_use]
    pub fn extend(prefix: &[u8]) -> Self {
        let mut key = Vec::with_capacity(prefix.len() + 32);
        key.extend_from_slice(prefix);
        Self(key)
    }

    /// A string.
    #[must_use]
    pub fn str(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Bytes of any length, escaped and terminated like a string.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let mut key = self.open(bytes);
        key.0.extend_from_slice(&END);
        key
    }

    /// The beginning of a string, for a range over every string that begins so. Nothing can follow it.
    #[must_use]
    pub fn str_prefix(self, text: &str) -> Self {
        self.open(text.as_bytes())
    }

    fn open(mut self, mut bytes: &[u8]) -> Self {
        while let Some(zero) = bytes.iter().position(|byte| *byte == 0) {
            let (before, rest) = bytes.split_at(zero);
            self.0.extend_from_slice(before);
            self.0.extend_from_slice(&ESCAPED_ZERO);
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.0.extend_from_slice(bytes);
        self
    }

    /// One byte.
    #[must_use]
    pub fn u8(mut self, number: u8) -> Self {
        self.0.push(number);
        self
    }

    /// Four bytes, ascending.
    #[must_use]
    pub fn u32(mut self, number: u32) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Eight bytes, ascending.
    #[must_use]
    pub fn u64(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// Eight bytes, descending: the greatest number sorts first.
    #[must_use]
    pub fn u64_descending(self, number: u64) -> Self {
        self.u64(!number)
    }

    /// Bytes of a width both sides know, as they are.
    #[must_use]
    pub fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// The finished key.
    #[must_use]
    pub fn build(self) -> Bytes {
        self.0.into()
    }

    /// Every key that begins with what was built so far.
    #[must_use]
    pub fn range(self) -> Range {
        Range::prefix(self.0)
    }
}

impl From<KeyBuilder> for Bytes {
    fn from(key: KeyBuilder) -> Bytes {
        key.build()
    }
}

impl AsRef<[u8]> for KeyBuilder {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A key was not built the way it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadKey;

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key in the store has an unexpected shape")
    }
}

impl std::error::Error for BadKey {}

impl From<BadKey> for crate::fault::Fault {
    fn from(bad: BadKey) -> Self {
        crate::fault::Fault::new(bad.to_string())
    }
}

/// Takes a key apart in the order it was built.
#[derive(Clone, Debug)]
pub struct KeyReader<'a>(&'a [u8]);

impl<'a> KeyReader<'a> {
    /// Reads behind a prefix whose length the caller knows (the table byte, or more).
    #[must_use]
    pub fn after(key: &'a [u8], prefix_len: usize) -> Self {
        Self(key.get(prefix_len..).unwrap_or_default())
    }

    /// Reads a key of `table`.
    ///
    /// # Errors
    /// [`BadKey`] when it belongs to another table.
    pub fn new(key: &'a [u8], table: u8) -> Result<Self, BadKey> {
        match key.split_first() {
            Some((first, rest)) if *first == table => Ok(Self(rest)),
            _ => Err(BadKey),
        }
    }

    /// A string.
    ///
    /// # Errors
    /// [`BadKey`] when it is not terminated or not UTF-8.
    pub fn str(&mut self) -> Result<String, BadKey> {
        String::from_utf8(self.bytes()?).map_err(|_| BadKey)
    }

    /// Bytes of any length.
    ///
    /// # Errors
    /// [`BadKey`] when they are not terminated.
    pub fn bytes(&mut self) -> Result<Vec<u8>, BadKey> {
        let mut text = Vec::new();
        loop {
            let zero = self.0.iter().position(|byte| *byte == 0).ok_or(BadKey)?;
            let (before, rest) = self.0.split_at(zero);
            text.extend_from_slice(before);
            let (mark, rest) = rest.split_first_chunk::<2>().ok_or(BadKey)?;
            self.0 = rest;
            match *mark {
                END => return Ok(text),
                ESCAPED_ZERO => text.push(0),
                _ => return Err(BadKey),
            }
        }
    }

    /// One byte.
    ///
    /// # Errors
    /// [`BadKey`] at the end of the key.
    pub fn u8(&mut self) -> Result<u8, BadKey> {
        self.chunk::<1>().map(|[byte]| byte)
    }

    /// Four bytes, ascending.
    ///
    /// # Errors
    /// [`BadKey`] when fewer are left.
    pub fn u32(&mut self) -> Result<u32, BadKey> {
        self.chunk().map(u32::from_be_bytes)
    }

    /// Eight bytes, ascending.
    ///
    /// # Errors
    /// [`BadKey`] when fewer are left.
    pub fn u64(&mut self) -> Result<u64, BadKey> {
        self.chunk().map(u64::from_be_bytes)
    }

    /// Eight bytes, descending.
    ///
    /// # Errors
    /// [`BadKey`] when fewer are left.
    pub fn u64_descending(&mut self) -> Result<u64, BadKey> {
        self.u64().map(|number| !number)
    }

    /// Bytes of a known width.
    ///
    /// # Errors
    /// [`BadKey`] when fewer are left.
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], BadKey> {
        self.chunk()
    }

    /// What has not been read.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], BadKey> {
        let (chunk, rest) = self.0.split_first_chunk::<N>().ok_or(BadKey)?;
        self.0 = rest;
        Ok(*chunk)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn key(text: &[u8], number: u64, down: u64, more: &str) -> Bytes {
        KeyBuilder::new(7).bytes(text).u64(number).u64_descending(down).str(more).build()
    }

    proptest! {
        #[test]
        fn what_is_built_can_be_read(text in proptest::collection::vec(any::<u8>(), 0..12), number: u64, down: u64, more: String, small: u32, tiny: u8) {
            let built = KeyBuilder::extend(&key(&text, number, down, &more)).u32(small).u8(tiny).fixed(b"xyz").build();
            let mut reader = KeyReader::new(&built, 7).unwrap();
            prop_assert_eq!(reader.bytes().unwrap(), text);
            prop_assert_eq!(reader.u64().unwrap(), number);
            prop_assert_eq!(reader.u64_descending().unwrap(), down);
            prop_assert_eq!(reader.str().unwrap(), more);
            prop_assert_eq!(reader.u32().unwrap(), small);
            prop_assert_eq!(reader.u8().unwrap(), tiny);
            prop_assert_eq!(&reader.fixed::<3>().unwrap(), b"xyz");
            prop_assert!(reader.rest().is_empty());
        }

        #[test]
        fn keys_sort_as_their_components(
            a in (proptest::collection::vec(0u8..3, 0..5), 0u64..3, 0u64..3, "[a\0\u{1}]{0,3}"),
            b in (proptest::collection::vec(0u8..3, 0..5), 0u64..3, 0u64..3, "[a\0\u{1}]{0,3}"),
        ) {
            let as_tuple = (&a.0, a.1, std::cmp::Reverse(a.2), &a.3).cmp(&(&b.0, b.1, std::cmp::Reverse(b.2), &b.3));
            prop_assert_eq!(key(&a.0, a.1, a.2, &a.3).cmp(&key(&b.0, b.1, b.2, &b.3)), as_tuple);
        }

        #[test]
        fn reading_garbage_never_panics(garbage in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(mut reader) = KeyReader::new(&garbage, 7) {
                let _ = (reader.str(), reader.u64(), reader.bytes(), reader.u32(), reader.u8());
            }
        }
    }

    #[test]
    fn a_prefix_finds_its_strings_only() {
        let range = KeyBuilder::new(1).str("ab").range();
        assert!(range.contains(&KeyBuilder::new(1).str("ab").u64(9).build()));
        assert!(!range.contains(&KeyBuilder::new(1).str("abc").u64(9).build()));
        assert!(KeyBuilder::new(1).str_prefix("ab").range().contains(&KeyBuilder::new(1).str("abc").build()));
    }
}
