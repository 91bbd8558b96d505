//! How a client is written into its row.

use bytes::Bytes;
use store::Fault;
use xmpp::sasl::token::TokenMechanism;

use super::super::certificates::Shown;
use super::super::row::{Reader, Writer};
use crate::runtime::Timestamp;

/// First byte of a stored client: the shape of what follows.
const FORMAT: u8 = 2;
/// That of rows in which it is not said what a token was given for.
const FORMAT_OF_OLD: u8 = 1;

/// What is known of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// When it logged in first, as far as is remembered.
    pub first_seen: Timestamp,
    /// When it logged in last.
    pub last_seen: Timestamp,
    /// The name of its software, or nothing.
    pub software: Box<str>,
    /// The name of its device, or nothing.
    pub device: Box<str>,
    /// Whether it knew the account's password: the marker of that.
    pub password: Option<u64>,
    /// The certificate it has logged in with last, if it has.
    pub certificate: Option<Shown>,
    /// The token it uses.
    pub used: Option<Issued>,
    /// The token it was given and has not used yet.
    pub given: Option<Issued>,
}

/// A token, but for the secret it is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The only mechanism it is good for.
    pub mechanism: TokenMechanism,
    pub(super) salt: [u8; 16],
    /// Since when.
    pub issued: Timestamp,
    /// Until when.
    pub expires: Timestamp,
    /// How often the client says it has used it, if it does.
    pub count: Option<u32>,
    /// The marker of the account's password at the time.
    pub marker: u64,
    /// The certificate it was given for, where that was not the password.
    pub certificate: Option<Shown>,
}

fn write_shown(shown: Option<&Shown>, row: Writer) -> Writer {
    let Some(shown) = shown else { return row.u8(0) };
    let row = row.u8(1).bytes(&shown.fingerprint).u64(shown.until).u8(u8::from(shown.is_vouched_for));
    // A resource is never empty.
    row.text(shown.resource.as_deref().unwrap_or_default())
}

fn read_shown(row: &mut Reader, format: u8) -> Result<Option<Shown>, Fault> {
    if row.u8()? == 0 {
        return Ok(None);
    }
    let fingerprint = row.bytes()?;
    let fingerprint =
        fingerprint.first_chunk().copied().ok_or_else(|| Fault::new("a row of clients has a short hash"))?;
    let until = row.u64()?;
    if format == FORMAT_OF_OLD {
        return Ok(Some(Shown { fingerprint, until, is_vouched_for: false, resource: None }));
    }
    let is_vouched_for = row.u8()? == 1;
    let resource = Some(row.text()?).filter(|resource| !resource.is_empty());
    Ok(Some(Shown { fingerprint, until, is_vouched_for, resource }))
}

impl Issued {
    /// In the place of one that there is not.
    pub(super) const fn nothing() -> Self {
        let mechanism = TokenMechanism::Unbound;
        Self { mechanism, salt: [0; 16], issued: 0, expires: 0, count: None, marker: 0, certificate: None }
    }

    fn write(this: Option<&Self>, row: Writer) -> Writer {
        let Some(this) = this else { return row.u8(0) };
        let mechanism = match this.mechanism {
            TokenMechanism::Exporter => 1,
            TokenMechanism::EndPoint => 2,
            TokenMechanism::Unbound => 3,
        };
        let count = this.count.map_or(0, |count| u64::from(count) + 1);
        let row = row.u8(mechanism).bytes(&this.salt).u64(this.issued).u64(this.expires).u64(count).u64(this.marker);
        write_shown(this.certificate.as_ref(), row)
    }

    fn read(row: &mut Reader, format: u8) -> Result<Option<Self>, Fault> {
        let mechanism = match row.u8()? {
            0 => return Ok(None),
            1 => TokenMechanism::Exporter,
            2 => TokenMechanism::EndPoint,
            3 => TokenMechanism::Unbound,
            _ => return Err(Fault::new("a row of clients has a token of an unknown kind")),
        };
        let salt = row.bytes()?;
        let salt = salt.first_chunk().copied().ok_or_else(|| Fault::new("a row of clients has a short salt"))?;
        let (issued, expires, count, marker) = (row.u64()?, row.u64()?, row.u64()?, row.u64()?);
        let count = count.checked_sub(1).map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let certificate = if format == FORMAT { read_shown(row, format)? } else { None };
        Ok(Some(Self { mechanism, salt, issued, expires, count, marker, certificate }))
    }
}

impl Client {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            first_seen: now,
            last_seen: now,
            software: Box::default(),
            device: Box::default(),
            password: None,
            certificate: None,
            used: None,
            given: None,
        }
    }

    pub(super) fn render(&self) -> Bytes {
        let row = Writer::new(FORMAT)
            .u64(self.first_seen)
            .u64(self.last_seen)
            .text(&self.software)
            .text(&self.device)
            .u8(u8::from(self.password.is_some()))
            .u64(self.password.unwrap_or_default());
        let row = write_shown(self.certificate.as_ref(), row);
        let row = Issued::write(self.used.as_ref(), row);
        Issued::write(self.given.as_ref(), row).finish()
    }

    pub(super) fn read(row: Bytes) -> Result<Self, Fault> {
        let format = row.first().copied().filter(|format| *format == FORMAT_OF_OLD).unwrap_or(FORMAT);
        let mut row = Reader::new(row, format, "clients")?;
        let (first_seen, last_seen) = (row.u64()?, row.u64()?);
        let (software, device) = (row.text()?, row.text()?);
        let has_password = row.u8()? == 1;
        let password = Some(row.u64()?).filter(|_| has_password);
        let certificate = read_shown(&mut row, format)?;
        let mut used = Issued::read(&mut row, format)?;
        let mut given = Issued::read(&mut row, format)?;
        if format == FORMAT_OF_OLD && certificate.is_some() {
            // They may have been given for the certificate, and for no other resource than its own.
            (used, given) = (None, None);
        }
        Ok(Self { first_seen, last_seen, software, device, password, certificate, used, given })
    }
}
