//! How the values of our rows are written: a format byte, then fields in a fixed order.
//!
//! Numbers are big-endian, texts and byte strings have a length of four bytes before them. A reader that meets
//! a format it does not know or a row that ends early answers with a [`Fault`]: that is a damaged or newer
//! store, and never a stranger's doing.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use store::Fault;

/// Writes one value.
#[derive(Debug)]
pub(super) struct Writer(BytesMut);

impl Writer {
    /// Begins a value of this format.
    pub(super) fn new(format: u8) -> Self {
        let mut row = BytesMut::with_capacity(64);
        row.put_u8(format);
        Self(row)
    }

    pub(super) fn u8(mut self, number: u8) -> Self {
        self.0.put_u8(number);
        self
    }

    pub(super) fn u64(mut self, number: u64) -> Self {
        self.0.put_u64(number);
        self
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        // Every value is bounded far below this by the stanza it came in.
        self.0.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.put_slice(bytes);
        self
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    pub(super) fn finish(self) -> Bytes {
        self.0.freeze()
    }
}

/// Reads one value in the order it was written.
#[derive(Debug)]
pub(super) struct Reader {
    row: Bytes,
    what: &'static str,
}

impl Reader {
    /// Begins a value, which must be of this format; `what` names the table in faults.
    pub(super) fn new(row: Bytes, format: u8, what: &'static str) -> Result<Self, Fault> {
        let mut reader = Self { row, what };
        if reader.u8()? == format { Ok(reader) } else { Err(reader.fault("has an unknown format")) }
    }

    pub(super) fn u8(&mut self) -> Result<u8, Fault> {
        self.row.try_get_u8().map_err(|_| self.fault("ends early"))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Fault> {
        self.row.try_get_u64().map_err(|_| self.fault("ends early"))
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes, Fault> {
        let len = self.row.try_get_u32().map_err(|_| self.fault("ends early"))?;
        let len = usize::try_from(len).map_err(|_| self.fault("ends early"))?;
        if len > self.row.len() {
            return Err(self.fault("ends early"));
        }
        Ok(self.row.split_to(len))
    }

    pub(super) fn text(&mut self) -> Result<Box<str>, Fault> {
        let bytes = self.bytes()?;
        std::str::from_utf8(&bytes).map(Box::from).map_err(|_| self.fault("has text that is not UTF-8"))
    }

    /// Everything not read yet.
    pub(super) fn rest(self) -> Bytes {
        self.row
    }

    fn fault(&self, wrong: &str) -> Fault {
        Fault::new(format!("a row of {} {wrong}", self.what))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let row = Writer::new(1).u8(7).u64(u64::MAX).text("Ünïcode").bytes(b"\0\x01").finish();
        let mut reader = Reader::new(row, 1, "tests").unwrap();
        assert_eq!(reader.u8().unwrap(), 7);
        assert_eq!(reader.u64().unwrap(), u64::MAX);
        assert_eq!(&*reader.text().unwrap(), "Ünïcode");
        assert_eq!(reader.bytes().unwrap(), &b"\0\x01"[..]);
    }

    #[test]
    fn damage_is_a_fault_and_no_panic() {
        let row = Writer::new(1).u64(7).text("a text").finish();
        assert!(Reader::new(row.clone(), 2, "tests").is_err(), "another format");
        for end in 0..row.len() {
            let read = || -> Result<(), Fault> {
                let mut reader = Reader::new(row.slice(..end), 1, "tests")?;
                reader.u64()?;
                reader.text().map(drop)
            };
            assert!(read().is_err(), "cut at {end}");
        }
    }
}
