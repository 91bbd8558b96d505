//! Certificates that accounts have said their clients log in with (XEP-0257).
//!
//! ```text
//! Certificates:       account, name -> hash, when it ends, whether it manages certificates, the certificate
//! CertificateOwners:  hash, account -> name
//! ```
//!
//! A certificate goes by the hash of it. Whether it is one, and when it ends, is found out by whoever brings it. The rows of
//! an account are read and then written in its turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use store::{Batch, CommitError, Fault, KeyReader, Page, Range, Store};
use xmpp::{BareJid, FullJid};

use super::row::{Reader, Writer};
use super::turns::Turns;
use super::{Table, accounts, fault};
use crate::runtime::Timestamp;

const FORMAT: u8 = 1;
const WHAT: &str = "certificates";
/// More than these no account may have: so many are read of one.
pub const PER_ACCOUNT_MAX: usize = 100;
/// The longest certificate that is taken, in bytes.
pub const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;

/// What a certificate goes by: SHA-256 of it.
pub type Fingerprint = [u8; 32];

/// A certificate that an account has registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// What its owner calls it.
    pub name: Box<str>,
    /// What it goes by.
    pub fingerprint: Fingerprint,
    /// When it ends.
    pub until: Timestamp,
    /// Whether a client that logs in with it may change the list of certificates.
    pub may_manage: bool,
    /// The certificate, in DER.
    pub der: Bytes,
}

/// A certificate that a client has shown to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What it goes by.
    pub fingerprint: Fingerprint,
    /// When it ends.
    pub until: Timestamp,
    /// Whether an authority vouches for it, so that it need not be registered.
    pub is_vouched_for: bool,
    /// The only resource it is for, if it names one.
    pub resource: Option<Box<str>>,
}

impl Shown {
    /// Whether the client may not have the resource of `jid`.
    #[must_use]
    pub fn forbids(&self, jid: &FullJid) -> bool {
        self.resource.as_ref().is_some_and(|only| **only != *jid.resource())
    }
}

/// What a certificate is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// It lets nobody in, or no longer.
    Nothing,
    /// It lets in a client that may not change who has access to the account.
    Entry,
    /// It lets in a client that may.
    Management,
}

/// Why a certificate was not taken.
#[derive(Debug)]
pub enum NotAdded {
    /// The name is another's, or the certificate is there under another name.
    Taken,
    /// There are too many already.
    TooMany,
    /// The account has been removed.
    NoAccount,
    /// The store failed.
    Fault(Fault),
}

impl From<Fault> for NotAdded {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The certificates of all accounts.
pub struct Certificates {
    store: Arc<dyn Store>,
    turns: Turns,
    /// Whether there has been one since the house was built.
    is_any: AtomicBool,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").finish_non_exhaustive()
    }
}

fn prefix(account: &BareJid) -> Bytes {
    Table::Certificates.key().str(account.as_str()).build()
}

fn key(account: &BareJid, name: &str) -> Bytes {
    Table::Certificates.key().str(account.as_str()).str(name).build()
}

fn owner_key(fingerprint: &Fingerprint, account: &BareJid) -> Bytes {
    Table::CertificateOwners.key().bytes(fingerprint).str(account.as_str()).build()
}

impl Registered {
    fn render(&self) -> Bytes {
        let row = Writer::new(FORMAT).bytes(&self.fingerprint).u64(self.until).u8(u8::from(self.may_manage));
        row.bytes(&self.der).finish()
    }

    fn read(name: Box<str>, row: Bytes) -> Result<Self, Fault> {
        let mut row = Reader::new(row, FORMAT, WHAT)?;
        let fingerprint = row.bytes()?;
        let fingerprint =
            fingerprint.first_chunk().copied().ok_or_else(|| Fault::new("a row of certificates has a short hash"))?;
        let (until, may_manage, der) = (row.u64()?, row.u8()? == 1, row.bytes()?);
        Ok(Self { name, fingerprint, until, may_manage, der })
    }
}

impl Certificates {
    /// Takes the certificates in `store`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(store: Arc<dyn Store>) -> Result<Self, Fault> {
        let first = store.scan(Range::prefix(Table::Certificates.key().build()), Page::rows(1)).await?;
        Ok(Self { is_any: AtomicBool::new(!first.is_empty()), store, turns: Turns::default() })
    }

    /// Whether there is any, or has been: if not, nobody need be asked for one.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Relaxed)
    }

    /// Adds one to those of `account`, of which there are `count_max` at most. Those that have ended go first, should there
    /// be too many. Durable when this returns.
    ///
    /// # Errors
    /// When the name or the certificate is there already, when there are too many, when the account is gone, and when the
    /// store fails.
    pub async fn add(
        &self,
        account: &BareJid,
        added: &Registered,
        count_max: usize,
        now: Timestamp,
    ) -> Result<(), NotAdded> {
        let _turn = self.turns.of(account.as_str()).await;
        let known = self.list(account).await?;
        if known.iter().any(|one| one.name == added.name || one.fingerprint == added.fingerprint) {
            return Err(NotAdded::Taken);
        }
        let mut batch = Batch::new();
        if known.len() >= count_max {
            let ended: Vec<&Registered> = known.iter().filter(|one| one.until < now).collect();
            if known.len() - ended.len() >= count_max {
                return Err(NotAdded::TooMany);
            }
            for one in ended {
                batch.delete(key(account, &one.name)).delete(owner_key(&one.fingerprint, account));
            }
        }
        batch.put(key(account, &added.name), added.render());
        batch.put(owner_key(&added.fingerprint, account), Writer::new(FORMAT).text(&added.name).finish());
        // Nothing of who is removed may be left to who gets the name next.
        batch.expect_present(accounts::key(account));
        self.is_any.store(true, Ordering::Relaxed);
        match self.store.commit_durably(batch).await {
            Err(CommitError::Conflict(_)) => Err(NotAdded::NoAccount),
            outcome => outcome.map_err(|error| fault(error).into()),
        }
    }

    /// Those of `account`, by name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, account: &BareJid) -> Result<Vec<Registered>, Fault> {
        let prefix = prefix(account);
        let page = Page::rows(PER_ACCOUNT_MAX).bytes(PER_ACCOUNT_MAX * 2 * CERTIFICATE_BYTES_MAX);
        let rows = self.store.scan(Range::prefix(prefix.clone()), page).await?;
        let read = |(key, row): (Bytes, Bytes)| {
            let name = KeyReader::after(&key, prefix.len()).str()?.into();
            Registered::read(name, row)
        };
        rows.into_iter().map(read).collect()
    }

    /// The one that `account` has registered and that goes by this, if there is one.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(&self, account: &BareJid, fingerprint: &Fingerprint) -> Result<Option<Registered>, Fault> {
        let Some(name) = self.store.get(&owner_key(fingerprint, account)).await? else { return Ok(None) };
        let name = Reader::new(name, FORMAT, WHAT)?.text()?;
        let row = self.store.get(&key(account, &name)).await?;
        row.map(|row| Registered::read(name, row)).transpose()
    }

    /// What a certificate is good for that a client of `account` has shown.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn worth(&self, account: &BareJid, shown: &Shown) -> Result<Worth, Fault> {
        let found = self.find(account, &shown.fingerprint).await?;
        Ok(match found {
            Some(found) if found.may_manage => Worth::Management,
            Some(_) => Worth::Entry,
            // Of one that an authority vouches for nothing else is known.
            None if shown.is_vouched_for => Worth::Management,
            None => Worth::Nothing,
        })
    }

    /// Accounts that have registered it: the first few.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn owners(&self, fingerprint: &Fingerprint, count_max: usize) -> Result<Vec<BareJid>, Fault> {
        let prefix = Table::CertificateOwners.key().bytes(fingerprint).build();
        let rows = self.store.scan(Range::prefix(prefix.clone()), Page::rows(count_max)).await?;
        let read = |(key, _): &(Bytes, Bytes)| {
            let account = KeyReader::after(key, prefix.len()).str()?;
            BareJid::new(&account).map_err(|_| Fault::new("a certificate's owner has no address"))
        };
        rows.iter().map(read).collect()
    }

    /// Takes one away from `account`, and says which it was. Durable when this returns.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove(&self, account: &BareJid, name: &str) -> Result<Option<Registered>, Fault> {
        let _turn = self.turns.of(account.as_str()).await;
        let row = key(account, name);
        let Some(found) = self.store.get(&row).await? else { return Ok(None) };
        let found = Registered::read(name.into(), found)?;
        let mut batch = Batch::new();
        batch.delete(row).delete(owner_key(&found.fingerprint, account));
        self.store.commit_durably(batch).await.map_err(fault)?;
        Ok(Some(found))
    }

    /// Takes all away from `account`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove_all(&self, account: &BareJid) -> Result<(), Fault> {
        let _turn = self.turns.of(account.as_str()).await;
        let mut batch = Batch::new();
        for one in self.list(account).await? {
            batch.delete(key(account, &one.name)).delete(owner_key(&one.fingerprint, account));
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.store.commit_durably(batch).await.map_err(fault)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn certificate(name: &str, seed: u8, until: Timestamp) -> Registered {
        let der = Bytes::from(vec![seed; 3]);
        Registered { name: name.into(), fingerprint: [seed; 32], until, may_manage: seed.is_multiple_of(2), der }
    }

    /// As if there were these accounts.
    async fn open(store: &Arc<dyn Store>, all: &[&BareJid]) {
        let mut batch = Batch::new();
        for account in all {
            batch.put(accounts::key(account), Vec::new());
        }
        store.commit_durably(batch).await.unwrap();
    }

    #[tokio::test]
    async fn certificates_are_found_by_name_and_by_what_they_are() {
        let store: Arc<dyn Store> = Arc::new(store::Memory::new());
        let table = Certificates::load(Arc::clone(&store)).await.unwrap();
        assert!(!table.is_any());
        let [juliet, romeo] = ["juliet@capulet.lit", "romeo@montague.lit"].map(|jid| BareJid::new(jid).unwrap());
        open(&store, &[&juliet, &romeo]).await;
        let (phone, bot) = (certificate("Phone", 1, 100), certificate("Bot", 2, 200));
        table.add(&juliet, &phone, 2, 0).await.unwrap();
        table.add(&romeo, &phone, 2, 0).await.unwrap();
        table.add(&juliet, &bot, 2, 0).await.unwrap();
        assert!(table.is_any());
        assert_eq!(table.list(&juliet).await.unwrap(), [bot.clone(), phone.clone()]);
        assert_eq!(table.find(&juliet, &[1; 32]).await.unwrap(), Some(phone.clone()));
        assert_eq!(table.find(&romeo, &[2; 32]).await.unwrap(), None);
        assert_eq!(table.owners(&[1; 32], 8).await.unwrap(), [juliet.clone(), romeo.clone()]);
        assert_eq!(table.owners(&[1; 32], 1).await.unwrap().len(), 1);

        let again = Certificates::load(store).await.unwrap();
        assert!(again.is_any());
        assert_eq!(again.remove(&juliet, "Phone").await.unwrap(), Some(phone));
        assert_eq!(again.remove(&juliet, "Phone").await.unwrap(), None);
        assert_eq!(again.owners(&[1; 32], 8).await.unwrap(), [romeo]);
        again.remove_all(&juliet).await.unwrap();
        assert!(again.owners(&[2; 32], 8).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn names_are_given_once_and_ended_ones_make_room() {
        let store: Arc<dyn Store> = Arc::new(store::Memory::new());
        let table = Certificates::load(Arc::clone(&store)).await.unwrap();
        let juliet = BareJid::new("juliet@capulet.lit").unwrap();
        assert!(matches!(table.add(&juliet, &certificate("A", 1, 100), 2, 0).await, Err(NotAdded::NoAccount)));
        open(&store, &[&juliet]).await;
        let add = async |one: Registered, now| table.add(&juliet, &one, 2, now).await;
        add(certificate("A", 1, 100), 0).await.unwrap();
        assert!(matches!(add(certificate("A", 2, 100), 0).await, Err(NotAdded::Taken)));
        assert!(matches!(add(certificate("B", 1, 100), 0).await, Err(NotAdded::Taken)));
        add(certificate("B", 2, 300), 0).await.unwrap();
        assert!(matches!(add(certificate("C", 3, 300), 50).await, Err(NotAdded::TooMany)));
        add(certificate("C", 3, 300), 101).await.unwrap();
        assert_eq!(table.find(&juliet, &[1; 32]).await.unwrap(), None);
    }

    #[tokio::test]
    async fn as_many_as_there_may_be_are_all_read() {
        let store: Arc<dyn Store> = Arc::new(store::Memory::new());
        let table = Certificates::load(Arc::clone(&store)).await.unwrap();
        let juliet = BareJid::new("juliet@capulet.lit").unwrap();
        open(&store, &[&juliet]).await;
        let der = Bytes::from(vec![0; CERTIFICATE_BYTES_MAX]);
        for seed in 0..=PER_ACCOUNT_MAX {
            let name = format!("{seed:0>256}");
            let one = Registered { der: der.clone(), ..certificate(&name, u8::try_from(seed).unwrap(), 100) };
            let added = table.add(&juliet, &one, PER_ACCOUNT_MAX, 0).await;
            assert_eq!(added.is_ok(), seed < PER_ACCOUNT_MAX, "{seed}");
        }
        assert_eq!(table.list(&juliet).await.unwrap().len(), PER_ACCOUNT_MAX);
        table.remove_all(&juliet).await.unwrap();
        let left = store.scan(Range::prefix(Table::CertificateOwners.key().build()), Page::rows(1)).await.unwrap();
        assert!(left.is_empty() && table.list(&juliet).await.unwrap().is_empty());
    }
}
