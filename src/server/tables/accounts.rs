//! Accounts: who may log in, and what proves it.
//!
//! Stored are the SCRAM keys of RFC 5802 for SHA-256, SHA-1 and, but for accounts that are older than it, SHA-512, each under a salt of its own; passwords are not. A
//! login by SCRAM costs the server a read and a few HMACs; only PLAIN and new passwords are stretched here, on worker
//! threads, few at a time. For accounts that do not exist there are keys too ([`Keys::fake`]), so that neither answers
//! nor time tell who exists. An account's other data belongs to other tables; who removes an account tells them.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use store::{Batch, CommitError, Fault, KeyReader, Page, Range, Store};
use tokio::sync::Semaphore;
use xmpp::BareJid;
use xmpp::sasl::scram::{ITERATIONS_DEFAULT, SALT_BYTES};
use xmpp::sasl::{Hash, Keys, PASSWORD_BYTES_MAX, prepare_password};

use super::disabled::Disabled;
use super::{Table, fault, installation};
use crate::runtime::{Ids, Timestamp};

/// Accounts in one page of a list.
pub const LIST_ROWS_MAX: usize = 500;
/// First byte of a stored account: the shape of what follows.
const SHAPE: u8 = 2;
/// That of an account without keys of SHA-512: all were so once.
const SHAPE_OF_OLD: u8 = 1;
/// The name of the secret that fake keys are made from, in [`Table::Installation`].
const FAKE_KEYS: &str = "fake-keys";

/// Why an account was not opened or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountError {
    /// There is one by that name, or what belonged to one is still being deleted.
    Exists,
    /// There is none by that name.
    Unknown,
    /// An account is `localpart@domain`.
    NotAnAccount,
    /// Empty, longer than [`PASSWORD_BYTES_MAX`] bytes, or of characters that RFC 8265 section 4 does not permit.
    BadPassword,
    /// The invitation does not exist, is for another domain, has been used, or has expired.
    BadInvitation,
    /// Ours, not theirs.
    Fault(Fault),
}

impl fmt::Display for AccountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists => f.write_str("there is an account by that name"),
            Self::Unknown => f.write_str("there is no account by that name"),
            Self::NotAnAccount => {
                f.write_str("an account is written localpart@domain, without an escaped space at either end")
            }
            Self::BadPassword => write!(
                f,
                "a password has 1 to {PASSWORD_BYTES_MAX} bytes and no control characters (RFC 8265 section 4)"
            ),
            Self::BadInvitation => f.write_str("the invitation does not exist, was used, or has expired"),
            Self::Fault(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for AccountError {}

impl From<Fault> for AccountError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// One account in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its address.
    pub account: BareJid,
    /// When it was opened.
    pub created: Timestamp,
}

/// The accounts of all hosts.
pub struct Accounts {
    store: Arc<dyn Store>,
    ids: Arc<dyn Ids>,
    secret: Vec<u8>,
    disabled: Disabled,
    /// How many passwords are stretched at a time: strangers can ask for it, and it must leave room for others.
    stretching: Arc<Semaphore>,
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

/// What is stored for one account.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    created: Timestamp,
    sha256: Keys,
    sha1: Keys,
    sha512: Option<Keys>,
}

impl Accounts {
    /// Takes the accounts in `store`; draws the secret for fake keys when it is not there yet.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(store: Arc<dyn Store>, ids: Arc<dyn Ids>) -> Result<Self, Fault> {
        let secret = installation::secret(&store, ids.as_ref(), FAKE_KEYS).await?;
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
        let disabled = Disabled::load(Arc::clone(&store)).await?;
        Ok(Self { store, ids, secret, disabled, stretching: Arc::new(Semaphore::new(threads)) })
    }

    /// Whether there is such an account.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn exists(&self, account: &BareJid) -> Result<bool, Fault> {
        Ok(self.store.get(&key(account)).await?.is_some())
    }

    /// The keys that a SCRAM exchange for `localpart` at `domain` checks against: the account's, or fake ones where
    /// there is no such account or no such name could be. `localpart` is as the client sent it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn keys(&self, localpart: &str, domain: &str, hash: Hash) -> Result<Keys, Fault> {
        let account = BareJid::from_parts(Some(localpart), domain).ok();
        // A name that cannot be costs a read like one that could: the key is then one that is never written.
        let row = account.as_ref().map_or_else(|| Table::Accounts.key().build(), key);
        let found = self.store.get(&row).await?;
        let name = account.as_ref().map_or(localpart, BareJid::as_str);
        let fake = Keys::fake(hash, &self.secret, name, ITERATIONS_DEFAULT);
        // Whoever is disabled is told no more than whoever has the password wrong.
        let found = found.filter(|_| account.as_ref().is_none_or(|account| !self.disabled.has(account)));
        let Some(row) = found else { return Ok(fake) };
        let record = Record::read(&row)?;
        Ok(match hash {
            Hash::Sha256 => record.sha256,
            Hash::Sha1 => record.sha1,
            Hash::Sha512 => record.sha512.unwrap_or(fake),
        })
    }

    /// A number that changes with the password of `account` and says nothing of it. One comes for an account that does
    /// not exist, too.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn marker(&self, account: &BareJid) -> Result<u64, Fault> {
        let keys = self.keys(account.localpart().unwrap_or_default(), account.domain(), Hash::Sha256).await?;
        let marker = Hash::Sha256.hmac(&self.secret, &[b"marker\0", &keys.stored_key]);
        Ok(marker.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes)))
    }

    /// Whether `account` has no keys of this hash yet.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn lacks_keys(&self, account: &BareJid, hash: Hash) -> Result<bool, Fault> {
        let Some(row) = self.store.get(&key(account)).await? else { return Ok(false) };
        Ok(hash == Hash::Sha512 && Record::read(&row)?.sha512.is_none())
    }

    /// Adds keys of SHA-512 to an account that has none (XEP-0480). Those of other hashes stay as they are. Durable when
    /// this returns.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn add_keys(&self, account: &BareJid, keys: Keys) -> Result<(), Fault> {
        let Some(row) = self.store.get(&key(account)).await? else { return Ok(()) };
        let record = Record::read(&row)?;
        if record.sha512.is_some() {
            return Ok(());
        }
        let record = Record { sha512: Some(keys), ..record };
        let mut batch = Batch::new();
        batch.expect_value(key(account), row).put(key(account), record.render());
        match self.store.commit_durably(batch).await {
            // Another password has come between: these keys are of the one before.
            Ok(()) | Err(CommitError::Conflict(_)) => Ok(()),
            Err(error) => Err(fault(error)),
        }
    }

    /// Whether `password` is that of `localpart` at `domain`. As slow when there is no such account.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn check_password(&self, localpart: &str, domain: &str, password: &str) -> Result<bool, Fault> {
        let keys = self.keys(localpart, domain, Hash::Sha256).await?;
        let password = password.to_owned();
        self.stretch(move || keys.verify(Hash::Sha256, &password)).await
    }

    /// Opens an account. Durable when this returns.
    ///
    /// # Errors
    /// [`AccountError::Exists`], [`AccountError::NotAnAccount`], [`AccountError::BadPassword`], or a fault.
    pub async fn create(&self, account: &BareJid, password: &str, now: Timestamp) -> Result<(), AccountError> {
        self.open(account, password, now, None).await
    }

    /// Opens an account with an invitation, which is used up by it.
    ///
    /// # Errors
    /// As [`Accounts::create`], and [`AccountError::BadInvitation`].
    pub async fn create_invited(
        &self,
        account: &BareJid,
        password: &str,
        token: &str,
        now: Timestamp,
    ) -> Result<(), AccountError> {
        self.open(account, password, now, Some(token)).await
    }

    async fn open(
        &self,
        account: &BareJid,
        password: &str,
        now: Timestamp,
        token: Option<&str>,
    ) -> Result<(), AccountError> {
        if account.localpart().is_none_or(is_misread) {
            return Err(AccountError::NotAnAccount);
        }
        let mut batch = Batch::new();
        if let Some(token) = token {
            let invitation = Table::Invitations.key().str(token).build();
            let row = self.store.get(&invitation).await?.ok_or(AccountError::BadInvitation)?;
            // Whether it had expired was asked when it was shown, and counts only then (XEP-0445 section 4).
            let (_, domain) = read_invitation(&row).ok_or(AccountError::BadInvitation)?;
            if domain != account.domain() {
                return Err(AccountError::BadInvitation);
            }
            batch.expect_value(invitation.clone(), row).delete(invitation);
        }
        if self.exists(account).await? {
            return Err(AccountError::Exists);
        }
        let record = self.record(password, now).await?;
        batch.expect_absent(key(account)).expect_absent(closing_key(account)).put(key(account), record.render());
        let is_its = |row: &Bytes| *row == key(account) || *row == closing_key(account);
        match self.store.commit_durably(batch).await {
            Ok(()) => Ok(()),
            Err(CommitError::Conflict(row)) if is_its(&row) => Err(AccountError::Exists),
            Err(CommitError::Conflict(_)) => Err(AccountError::BadInvitation),
            Err(error) => Err(fault(error).into()),
        }
    }

    /// Gives an account another password. Durable when this returns.
    ///
    /// # Errors
    /// [`AccountError::Unknown`], [`AccountError::BadPassword`], or a fault.
    pub async fn set_password(&self, account: &BareJid, password: &str) -> Result<(), AccountError> {
        let row = self.store.get(&key(account)).await?.ok_or(AccountError::Unknown)?;
        let record = self.record(password, Record::read(&row)?.created).await?;
        let mut batch = Batch::new();
        batch.expect_present(key(account)).put(key(account), record.render());
        match self.store.commit_durably(batch).await {
            Ok(()) => Ok(()),
            Err(CommitError::Conflict(_)) => Err(AccountError::Unknown),
            Err(error) => Err(fault(error).into()),
        }
    }

    /// Closes an account: nobody can log in to it, and nobody can open one by the name before [`Accounts::closed`] is
    /// called, lest what the one before had be the next one's. Answers whether there was one. Durable when this returns.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove(&self, account: &BareJid) -> Result<bool, Fault> {
        if !self.exists(account).await? {
            return Ok(false);
        }
        let mut batch = Batch::new();
        batch.delete(key(account)).put(closing_key(account), Vec::new());
        self.store.commit_durably(batch).await.map_err(fault)?;
        self.disabled.remove(account).await.map_err(fault)?;
        Ok(true)
    }

    /// All that belonged to an account that was removed has been deleted: its name is free.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn closed(&self, account: &BareJid) -> Result<(), Fault> {
        let mut batch = Batch::new();
        batch.delete(closing_key(account));
        self.store.commit_durably(batch).await.map_err(fault)
    }

    /// Accounts that were removed and of which [`Accounts::closed`] has not been said: at most [`LIST_ROWS_MAX`].
    ///
    /// # Errors
    /// When the store fails.
    pub async fn closing(&self) -> Result<Vec<BareJid>, Fault> {
        let rows = self.store.scan(Table::Closing.key().range(), Page::rows(LIST_ROWS_MAX)).await?;
        rows.iter().map(|(row, _)| account_of(row, Table::Closing)).collect()
    }

    /// Lets nobody log in to an account until it is enabled again; what is there stays. Durable when this returns.
    ///
    /// # Errors
    /// [`AccountError::Unknown`], or a fault.
    pub async fn disable(&self, account: &BareJid, now: Timestamp) -> Result<(), AccountError> {
        if !self.exists(account).await? {
            return Err(AccountError::Unknown);
        }
        self.disabled.add(account, now).await.map_err(|error| fault(error).into())
    }

    /// Lets an account be used again. Answers whether it was disabled. Durable when this returns.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn enable(&self, account: &BareJid) -> Result<bool, Fault> {
        self.disabled.remove(account).await.map_err(fault)
    }

    /// Whether an account is disabled: nobody may begin a session of it.
    #[must_use]
    pub fn is_disabled(&self, account: &BareJid) -> bool {
        self.disabled.has(account)
    }

    /// The disabled accounts of `domain`, in order.
    #[must_use]
    pub fn disabled(&self, domain: &str) -> Vec<BareJid> {
        self.disabled.of(domain)
    }

    /// Accounts of `domain` in the order of their names, at most [`LIST_ROWS_MAX`], going on after `after`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, domain: &str, after: Option<&BareJid>) -> Result<Vec<Listed>, Fault> {
        let mut range = Range::prefix(Table::Accounts.key().str(domain).build());
        if let Some(after) = after {
            range = range.after(&key(after));
        }
        let rows = self.store.scan(range, Page::rows(LIST_ROWS_MAX)).await?;
        let mut listed = Vec::new();
        for (row, value) in &rows {
            let account = account_of(row, Table::Accounts)?;
            listed.push(Listed { account, created: Record::read(value)?.created });
        }
        Ok(listed)
    }

    /// Makes an invitation to `domain` that can be used once, until `expires`. Answers its token.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn invite(&self, domain: &str, expires: Timestamp) -> Result<String, Fault> {
        let token = self.ids.id();
        let mut row = expires.to_be_bytes().to_vec();
        row.extend_from_slice(domain.as_bytes());
        let mut batch = Batch::new();
        batch.put(Table::Invitations.key().str(&token), row);
        self.store.commit_durably(batch).await.map_err(fault)?;
        Ok(token)
    }

    /// Whether `token` would open an account at `domain` now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_invitation(&self, token: &str, domain: &str, now: Timestamp) -> Result<bool, Fault> {
        let row = self.store.get(Table::Invitations.key().str(token).as_ref()).await?;
        let invitation = row.as_deref().and_then(read_invitation);
        Ok(invitation.is_some_and(|(expires, at)| expires > now && at == domain))
    }

    async fn record(&self, password: &str, created: Timestamp) -> Result<Record, AccountError> {
        if password.is_empty() || password.len() > PASSWORD_BYTES_MAX || prepare_password(password).is_none() {
            return Err(AccountError::BadPassword);
        }
        let [mut salt256, mut salt1, mut salt512] = [[0_u8; SALT_BYTES]; 3];
        for salt in [&mut salt256, &mut salt1, &mut salt512] {
            self.ids.fill(salt);
        }
        let password = password.to_owned();
        let derived = self.stretch(move || {
            let sha256 = Keys::derive(Hash::Sha256, &password, &salt256, ITERATIONS_DEFAULT)?;
            let sha1 = Keys::derive(Hash::Sha1, &password, &salt1, ITERATIONS_DEFAULT)?;
            let sha512 = Keys::derive(Hash::Sha512, &password, &salt512, ITERATIONS_DEFAULT)?;
            Some(Record { created, sha256, sha1, sha512: Some(sha512) })
        });
        derived.await?.ok_or(AccountError::BadPassword)
    }

    /// Does slow work on a worker thread, as many at a time as the machine has threads.
    async fn stretch<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
        let permit = Arc::clone(&self.stretching).acquire_owned().await;
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        })
        .await
        .map_err(|error| Fault::new(format!("stretching a password failed: {error}")))
    }
}

/// Whether a localpart would be shown with a space at its beginning or end, which it must not (XEP-0106 section 4.1).
fn is_misread(localpart: &str) -> bool {
    localpart.starts_with("\\20") || localpart.ends_with("\\20")
}

/// Under which an account's keys are, as long as there is one.
pub(super) fn key(account: &BareJid) -> Bytes {
    Table::Accounts.key().str(account.domain()).str(account.localpart().unwrap_or_default()).build()
}

fn closing_key(account: &BareJid) -> Bytes {
    Table::Closing.key().str(account.domain()).str(account.localpart().unwrap_or_default()).build()
}

fn account_of(row: &[u8], table: Table) -> Result<BareJid, Fault> {
    let mut reader = KeyReader::new(row, table as u8)?;
    let (domain, localpart) = (reader.str()?, reader.str()?);
    BareJid::from_parts(Some(&localpart), &domain)
        .map_err(|error| Fault::new(format!("a stored account has a bad address: {error}")))
}

/// Expiry and domain.
fn read_invitation(row: &[u8]) -> Option<(Timestamp, &str)> {
    let (expires, domain) = row.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*expires), std::str::from_utf8(domain).ok()?))
}

impl Record {
    /// Shape, when opened, then for SHA-256, SHA-1 and, if there are keys of it, SHA-512: iterations, and salt and two keys, each after its length.
    fn render(&self) -> Vec<u8> {
        let mut row = vec![if self.sha512.is_some() { SHAPE } else { SHAPE_OF_OLD }];
        row.extend_from_slice(&self.created.to_be_bytes());
        for keys in [&self.sha256, &self.sha1].into_iter().chain(&self.sha512) {
            row.extend_from_slice(&keys.iterations.to_be_bytes());
            for part in [&keys.salt, &keys.stored_key, &keys.server_key] {
                row.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
                row.extend(part.iter().take(usize::from(u8::MAX)));
            }
        }
        row
    }

    fn read(row: &[u8]) -> Result<Self, Fault> {
        Self::take_apart(row).ok_or_else(|| Fault::new("a stored account cannot be read"))
    }

    fn take_apart(row: &[u8]) -> Option<Self> {
        let (&shape @ (SHAPE | SHAPE_OF_OLD), row) = row.split_first()? else { return None };
        let (created, mut row) = row.split_first_chunk::<8>()?;
        let mut keys = || {
            let (iterations, mut rest) = row.split_first_chunk::<4>()?;
            let mut part = || {
                let (length, after) = rest.split_first()?;
                let (part, after) = after.split_at_checked(usize::from(*length))?;
                rest = after;
                Some(part.to_vec())
            };
            let (salt, stored_key, server_key) = (part()?, part()?, part()?);
            row = rest;
            Some(Keys { salt, iterations: u32::from_be_bytes(*iterations), stored_key, server_key })
        };
        let (sha256, sha1) = (keys()?, keys()?);
        let sha512 = if shape == SHAPE { Some(keys()?) } else { None };
        Some(Self { created: u64::from_be_bytes(*created), sha256, sha1, sha512 })
    }
}

#[cfg(test)]
#[path = "accounts_tests.rs"]
mod tests;
