//! What an engine on disk must be able to do, and how a value is laid out in it.
//!
//! An engine keeps one tree. A value is one byte that says how it is stored, and then itself or, above
//! [`Disk::value_bytes_max`], its length: such a value lies in pieces under keys of their own, written and
//! removed in the same batch as its row. (sled moves big pages to files it never syncs, so no row there is
//! longer than 4 KiB.)

use std::ops::ControlFlow;

use bytes::{BufMut, Bytes, BytesMut};

use crate::admit::{Overlay, View};
use crate::fault::Fault;
use crate::range::{Collector, Page, Range, Rows};
use crate::{KEY_BYTES_MAX, TABLE_MAX, VALUE_BYTES_MAX};

/// Rows of the store's own: the number of the last commit.
pub(crate) const SEQUENCE_KEY: &[u8] = &[0xFE, b's'];
/// The first byte of a piece's key; then come the row's key and the piece's number.
const PIECE: u8 = 0xFF;
const WHOLE: u8 = 0;
const IN_PIECES: u8 = 1;

/// Rows for the engine: the key and, unless it is to be removed, the value.
pub(crate) type Writes = Vec<(Bytes, Option<Bytes>)>;

/// Given each row of a scan; breaks when it has enough.
pub(crate) type Visitor<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// Makes everything applied so far durable. Runs on a thread of its own, beside `apply`.
pub(crate) type Sync = Box<dyn FnMut() -> Result<(), Fault> + Send>;

/// An engine with files. Calls block. `apply` is called by one thread at a time and never beside a read.
pub(crate) trait Disk: Send + std::marker::Sync + 'static {
    /// Its name, as in the configuration and the data directory.
    fn name(&self) -> &'static str;
    /// The longest value it can take in one piece.
    fn value_bytes_max(&self) -> usize;
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault>;
    /// Visits the keys from `from` (included) to `to` (excluded), in order or in reverse.
    fn scan(&self, from: &[u8], to: &[u8], reverse: bool, visit: &mut Visitor<'_>) -> Result<(), Fault>;
    /// Makes the writes, all or none, visible at once and durable at the next sync.
    fn apply(&self, writes: Writes) -> Result<(), Fault>;
    fn syncer(&self) -> Sync;
    /// What it takes on disk, in bytes; approximate.
    fn disk_bytes(&self) -> u64;
}

/// Reads and writes values through their layout.
pub(crate) struct Layout<D> {
    pub(crate) disk: D,
    /// Tables that may hold a value in pieces. Only there must the old row be read before it is replaced.
    in_pieces: Box<[bool; 256]>,
}

impl<D: Disk> Layout<D> {
    pub(crate) fn new(disk: D) -> Result<Self, Fault> {
        let mut in_pieces = Box::new([false; 256]);
        let mut from = vec![PIECE];
        loop {
            let mut found = None;
            disk.scan(&from, &[PIECE, PIECE], false, &mut |key, _| {
                found = key.get(1).copied();
                ControlFlow::Break(())
            })?;
            let Some(table) = found else { break };
            if let Some(flag) = in_pieces.get_mut(usize::from(table)) {
                *flag = true;
            }
            from = vec![PIECE, table.saturating_add(1)];
        }
        Ok(Self { disk, in_pieces })
    }

    /// The last commit in the engine.
    pub(crate) fn sequence(&self) -> Result<u64, Fault> {
        let row = self.disk.get(SEQUENCE_KEY)?;
        crate::version(row.as_deref()).ok_or_else(|| Fault::new("the number of the last commit is unreadable"))
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        if key.first().is_none_or(|table| *table >= TABLE_MAX) {
            return Ok(None);
        }
        let Some(row) = self.disk.get(key)? else { return Ok(None) };
        match row.split_first() {
            Some((&WHOLE, _)) => Ok(Some(row.slice(1..))),
            _ => self.join(key, &row).map(Some),
        }
    }

    /// One page. The caller keeps `apply` away meanwhile.
    pub(crate) fn scan(&self, range: &Range, page: Page) -> Result<Rows, Fault> {
        let to = match range.to() {
            Some(to) if to < [TABLE_MAX].as_slice() => to,
            _ => &[TABLE_MAX],
        };
        if range.from() >= to {
            return Ok(Rows { rows: Vec::new(), is_complete: true });
        }
        let mut collector = Collector::new(page);
        let mut fault = None;
        let mut is_complete = true;
        self.disk.scan(range.from(), to, range.is_reversed(), &mut |key, row| {
            if collector.is_full() {
                is_complete = false;
                return ControlFlow::Break(());
            }
            let value = match row.split_first() {
                Some((&WHOLE, value)) => Bytes::copy_from_slice(value),
                _ => match self.join(key, row) {
                    Ok(value) => value,
                    Err(broken) => {
                        fault = Some(broken);
                        return ControlFlow::Break(());
                    }
                },
            };
            if collector.take(Bytes::copy_from_slice(key), value) {
                ControlFlow::Continue(())
            } else {
                is_complete = false;
                ControlFlow::Break(())
            }
        })?;
        match fault {
            Some(fault) => Err(fault),
            None => Ok(collector.finish(is_complete)),
        }
    }

    /// Applies what was decided, and the number of the last commit in it.
    pub(crate) fn apply(&mut self, changes: &Overlay, sequence: u64) -> Result<(), Fault> {
        let mut writes = Writes::with_capacity(changes.len() + 1);
        for (key, value) in changes {
            self.lay_out(key, value.as_ref(), &mut writes)?;
        }
        writes.push((Bytes::from_static(SEQUENCE_KEY), Some(Bytes::copy_from_slice(&sequence.to_be_bytes()))));
        self.disk.apply(writes)
    }

    fn lay_out(&mut self, key: &Bytes, value: Option<&Bytes>, writes: &mut Writes) -> Result<(), Fault> {
        let piece_bytes = self.disk.value_bytes_max().saturating_sub(1).max(1);
        let table = usize::from(key.first().copied().unwrap_or_default());
        let pieces_before = match self.in_pieces.get(table) {
            Some(true) => match self.disk.get(key)? {
                Some(row) => length(&row).map_or(0, |length| length.div_ceil(piece_bytes)),
                None => 0,
            },
            _ => 0,
        };
        let mut pieces = 0;
        let row = match value {
            None => None,
            Some(value) if value.len() <= piece_bytes => {
                let mut row = BytesMut::with_capacity(value.len() + 1);
                row.put_u8(WHOLE);
                row.put_slice(value);
                Some(row.freeze())
            }
            Some(value) => {
                for (number, piece) in value.chunks(piece_bytes).enumerate() {
                    writes.push((piece_key(key, number), Some(Bytes::copy_from_slice(piece))));
                    pieces = number + 1;
                }
                if let Some(flag) = self.in_pieces.get_mut(table) {
                    *flag = true;
                }
                let mut row = BytesMut::with_capacity(9);
                row.put_u8(IN_PIECES);
                row.put_u64(value.len() as u64);
                Some(row.freeze())
            }
        };
        for number in pieces..pieces_before {
            writes.push((piece_key(key, number), None));
        }
        writes.push((key.clone(), row));
        Ok(())
    }

    /// Puts a value in pieces together.
    fn join(&self, key: &[u8], row: &[u8]) -> Result<Bytes, Fault> {
        let broken = || Fault::new(format!("the row {} is damaged", key.escape_ascii()));
        let length = length(row).ok_or_else(broken)?;
        let mut value = BytesMut::with_capacity(length);
        let mut number = 0;
        while value.len() < length {
            let piece = self.disk.get(&piece_key(key, number))?.ok_or_else(broken)?;
            if piece.is_empty() || value.len() + piece.len() > length {
                return Err(broken());
            }
            value.put_slice(&piece);
            number += 1;
        }
        Ok(value.freeze())
    }

    /// The key of the row that the piece under `key` belongs to, and the piece's number.
    pub(crate) fn piece_owner(key: &[u8]) -> Option<(&[u8], u32)> {
        let (rest, number) = key.strip_prefix(&[PIECE])?.split_last_chunk::<4>()?;
        Some((rest, u32::from_be_bytes(*number)))
    }

    /// The number of pieces of the row under `key`; zero when it is whole or absent.
    pub(crate) fn pieces_of(&self, key: &[u8]) -> Result<usize, Fault> {
        let piece_bytes = self.disk.value_bytes_max().saturating_sub(1).max(1);
        Ok(self.disk.get(key)?.and_then(|row| length(&row)).map_or(0, |length| length.div_ceil(piece_bytes)))
    }

    /// Visits the raw keys of pieces after `from`, at most `rows_max`.
    pub(crate) fn piece_keys(&self, from: &[u8], rows_max: usize) -> Result<Vec<Bytes>, Fault> {
        let mut keys = Vec::new();
        let start = if from.is_empty() { &[PIECE] } else { from };
        self.disk.scan(start, &[PIECE, PIECE], false, &mut |key, _| {
            keys.push(Bytes::copy_from_slice(key));
            if keys.len() < rows_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        Ok(keys)
    }
}

/// The length of a value that lies in pieces; `None` for any other row.
fn length(row: &[u8]) -> Option<usize> {
    let (kind, length) = row.split_first()?;
    let length = usize::try_from(u64::from_be_bytes(length.try_into().ok()?)).ok()?;
    (*kind == IN_PIECES && length <= VALUE_BYTES_MAX).then_some(length)
}

/// No two rows share a piece's key: its length says where the row's key ends.
fn piece_key(key: &[u8], number: usize) -> Bytes {
    let mut piece = BytesMut::with_capacity(key.len() + 5);
    piece.put_u8(PIECE);
    piece.put_slice(key);
    piece.put_u32(u32::try_from(number).unwrap_or(u32::MAX));
    debug_assert!(piece.len() <= KEY_BYTES_MAX + 5);
    piece.freeze()
}

impl<D: Disk> View for Layout<D> {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
        Layout::get(self, key)
    }

    fn keys(&self, from: &[u8], to: &[u8], rows_max: usize) -> Result<Vec<Bytes>, Fault> {
        let mut keys = Vec::new();
        if from < to {
            self.disk.scan(from, to, false, &mut |key, _| {
                keys.push(Bytes::copy_from_slice(key));
                if keys.len() < rows_max { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
        }
        Ok(keys)
    }
}
