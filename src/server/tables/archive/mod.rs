//! Message archives (XEP-0313), one for each account.
//!
//! ```text
//! Archive:            account, place           -> flags, contact, the message
//! ArchiveByContact:   account, contact, block  -> nothing
//! ArchiveHeads:       account                  -> messages and bytes before a place, the oldest place
//! ArchivePreferences: account                  -> what to keep
//! ```
//!
//! A place is when a message came and 64 bits of chance, so it sorts by time, and what it is called outside (its
//! archive id, [`Place::id`]) leads straight to its row. Places of one account only grow, whatever the clock does.
//!
//! Every [`BLOCK`] rows form a block, which is called by the place of its first row. The index by contact knows the
//! blocks that hold something of a contact and is written once for each, so a message costs one row and not two, and
//! a page of the rarest contact reads [`BLOCK`] rows for each message it finds.

mod ledger;
mod preferences;
mod read;
mod retention;
#[cfg(test)]
mod tests;
mod words;

pub use ledger::{Arrival, Landed, Ledger, Ledgers};
pub use preferences::{Policy, Preferences};
pub use read::{Found, Span, Want};
pub use retention::Keep;
pub use words::{Query, Searched, TooLong, is_encrypted};

use bytes::{BufMut, Bytes, BytesMut};
use store::{Fault, KeyBuilder, KeyReader, Range};

use super::Table;
use super::row::{Reader, Writer};

const FORMAT: u8 = 1;
const WHAT: &str = "message archives";
/// Rows in a block.
pub const BLOCK: usize = 32;

/// Where a message is in its archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// When it came, in microseconds since the Unix epoch.
    pub time: u64,
    /// So that nobody guesses it.
    pub chance: u64,
}

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Letters of an id: 56 bits of time and 64 of chance, five in each.
const ID_LETTERS: usize = 24;
const CHANCE_BITS: u32 = 64;
const TIME_MAX: u64 = (1 << 56) - 1;

impl Place {
    /// Before everything.
    pub const FIRST: Self = Self { time: 0, chance: 0 };
    /// Behind everything.
    pub const LAST: Self = Self { time: u64::MAX, chance: u64::MAX };

    /// The id that clients know it by: 24 letters and digits.
    #[must_use]
    pub fn id(self) -> String {
        let bits = (u128::from(self.time & TIME_MAX) << CHANCE_BITS) | u128::from(self.chance);
        let letter = |at: usize| {
            let index = (bits >> (5 * (ID_LETTERS - 1 - at))) & 31;
            char::from(ALPHABET.get(usize::try_from(index).unwrap_or(0)).copied().unwrap_or(b'a'))
        };
        (0..ID_LETTERS).map(letter).collect()
    }

    /// The place that has this id; `None` for what is no id of ours.
    #[must_use]
    pub fn parse(id: &str) -> Option<Self> {
        if id.len() != ID_LETTERS {
            return None;
        }
        let mut bits = 0_u128;
        for byte in id.bytes() {
            let value = match byte {
                b'a'..=b'z' => byte - b'a',
                b'2'..=b'7' => byte - b'2' + 26,
                _ => return None,
            };
            bits = (bits << 5) | u128::from(value);
        }
        let (time, chance) = (u64::try_from(bits >> CHANCE_BITS).ok()?, bits & u128::from(u64::MAX));
        Some(Self { time, chance: u64::try_from(chance).ok()? })
    }

    /// The least place after this one.
    #[must_use]
    pub fn next(self) -> Self {
        match self.chance.checked_add(1) {
            Some(chance) => Self { chance, ..self },
            None => Self { time: self.time.saturating_add(1), chance: 0 },
        }
    }
}

/// It begins a block.
const BEGINS_BLOCK: u8 = 1;
/// The account sent it.
const OUTGOING: u8 = 2;
/// Its content was retracted.
const TOMBSTONE: u8 = 4;

/// One archived message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub place: Place,
    flags: u8,
    contact: Bytes,
    /// The stanza, without the archive's own `<stanza-id/>`.
    pub message: Bytes,
}

impl Entry {
    /// The other side's address, as it stands in the stanza: full if that is.
    #[must_use]
    pub fn contact(&self) -> &str {
        std::str::from_utf8(&self.contact).unwrap_or_default()
    }

    /// Whether the account sent it.
    #[must_use]
    pub fn is_outgoing(&self) -> bool {
        self.flags & OUTGOING != 0
    }

    /// Whether its content was retracted already.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.flags & TOMBSTONE != 0
    }

    fn begins_block(&self) -> bool {
        self.flags & BEGINS_BLOCK != 0
    }

    fn write(flags: u8, contact: &str, message: &[u8]) -> Bytes {
        let mut row = BytesMut::with_capacity(6 + contact.len() + message.len());
        row.put_u8(FORMAT);
        row.put_u8(flags);
        row.put_u32(u32::try_from(contact.len()).unwrap_or(u32::MAX));
        row.put_slice(contact.as_bytes());
        row.put_slice(message);
        row.freeze()
    }

    fn to_row(&self) -> Bytes {
        Self::write(self.flags, self.contact(), &self.message)
    }

    fn read(key: &[u8], prefix_len: usize, row: Bytes) -> Result<Self, Fault> {
        let mut key = KeyReader::after(key, prefix_len);
        let place = Place { time: key.u64()?, chance: key.u64()? };
        let mut row = Reader::new(row, FORMAT, WHAT)?;
        Ok(Self { place, flags: row.u8()?, contact: row.bytes()?, message: row.rest() })
    }
}

fn bare(contact: &str) -> &str {
    contact.split_once('/').map_or(contact, |(bare, _)| bare)
}

fn rows_prefix(account: &str) -> Bytes {
    Table::Archive.key().str(account).build()
}

fn index_prefix(account: &str, contact: &str) -> Bytes {
    Table::ArchiveByContact.key().str(account).str(contact).build()
}

fn head_key(account: &str) -> Bytes {
    Table::ArchiveHeads.key().str(account).build()
}

fn at(prefix: &[u8], place: Place) -> Bytes {
    KeyBuilder::extend(prefix).u64(place.time).u64(place.chance).build()
}

/// Places from `from` (included) to `to` (excluded).
fn between(prefix: &[u8], from: Place, to: Place) -> Range {
    if from >= to {
        return Range::between(prefix.to_vec(), prefix.to_vec());
    }
    Range::between(at(prefix, from), at(prefix, to))
}

/// How much an archive holds, as it was when a block began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    /// What is counted here came before this place.
    counted_to: Place,
    messages: u64,
    bytes: u64,
    /// Nothing is before it.
    oldest: Place,
}

impl Head {
    const EMPTY: Self = Self { counted_to: Place::FIRST, messages: 0, bytes: 0, oldest: Place::FIRST };

    fn to_row(self) -> Bytes {
        Writer::new(FORMAT)
            .u64(self.counted_to.time)
            .u64(self.counted_to.chance)
            .u64(self.messages)
            .u64(self.bytes)
            .u64(self.oldest.time)
            .u64(self.oldest.chance)
            .finish()
    }

    fn read(row: Bytes) -> Result<Self, Fault> {
        let mut row = Reader::new(row, FORMAT, WHAT)?;
        Ok(Self {
            counted_to: Place { time: row.u64()?, chance: row.u64()? },
            messages: row.u64()?,
            bytes: row.u64()?,
            oldest: Place { time: row.u64()?, chance: row.u64()? },
        })
    }
}
