//! Clients: which installations an account is used from, how they log in, and their tokens (XEP-0388, 0484, 0494).
//!
//! A client is known by the id that it gives itself; here it goes by a name that is derived from that, from which the id
//! cannot be had back. A token is not stored: it is derived from what is, from a secret of this installation and from the
//! account's keys, so that with another password all tokens of an account are void. A client has at most two: the one it
//! uses, and the one it was given last. A row is read, changed and written in the turn of its account.

mod row;

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use store::{Batch, Fault, KeyReader, Page, Range, Store};
use tokio::sync::MutexGuard;
use xmpp::BareJid;
use xmpp::sasl::token::{Shown, TokenMechanism};
use xmpp::sasl::{Failure, Hash};
use xmpp::stream::entry::{Proof, Token, UserAgent};

pub use self::row::Client;
use self::row::Issued;
use super::accounts::Accounts;
pub use super::certificates::Shown as Certificate;
use super::certificates::{Certificates, Worth};
use super::turns::Turns;
use super::{Table, delete_range, fault, installation};
use crate::config::ConfigError;
use crate::runtime::{Ids, Timestamp, rfc3339};

/// The name of the secret that clients' names and tokens are made from, in [`Table::Installation`].
const SECRET: &str = "clients";
/// A day, in microseconds.
const DAY: u64 = 24 * 60 * 60 * 1_000_000;
/// A token this old is replaced when it is used, in microseconds; or at half its life, if that is sooner.
const ROTATION: u64 = DAY;
/// A client that comes back within this time is not written down again for that alone, in microseconds: phones do so
/// with every tunnel.
const SEEN_AGAIN: u64 = 10 * 60 * 1_000_000;

/// What is kept of clients.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// For how many days a token is good.
    pub token_days: u64,
    /// After how many days a client that was not seen is forgotten, with its tokens.
    pub days_max: u64,
    /// How many clients of an account are remembered.
    pub clients_per_account_max: usize,
    /// Whether the names of their software and devices are.
    pub keep_descriptions: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { token_days: 30, days_max: 180, clients_per_account_max: 64, keep_descriptions: true }
    }
}

impl Settings {
    /// # Errors
    /// When a number has no meaning.
    pub fn check(&self) -> Result<(), ConfigError> {
        for (name, is_zero) in [
            ("token_days", self.token_days == 0),
            ("days_max", self.days_max == 0),
            ("clients_per_account_max", self.clients_per_account_max == 0),
        ] {
            if is_zero {
                return Err(ConfigError::new(format!("`clients.{name}` is 0, with which no token would be good"))
                    .with_hint("leave the key out for the default"));
            }
        }
        Ok(())
    }
}

/// A client that has logged in.
#[derive(Debug, Default)]
pub struct Entered {
    /// What its account calls it, if it is known again.
    pub name: Option<Box<str>>,
    /// Its new token.
    pub token: Option<Token>,
}

/// A client that has shown a token of its own.
#[derive(Debug)]
pub struct Checked {
    /// What answers it.
    pub answer: Vec<u8>,
    /// The certificate for which the token was given, if it was for one.
    pub certificate: Option<Certificate>,
}

/// The clients of all accounts.
pub struct Clients {
    store: Arc<dyn Store>,
    ids: Arc<dyn Ids>,
    accounts: Arc<Accounts>,
    certificates: Arc<Certificates>,
    secret: Vec<u8>,
    turns: Turns,
    settings: Settings,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn prefix(account: &BareJid) -> store::KeyBuilder {
    Table::Clients.key().str(account.as_str())
}

fn key(account: &BareJid, name: &str) -> bytes::Bytes {
    prefix(account).str(name).build()
}

impl Clients {
    /// Takes the clients in `store`; draws the secret when it is not there yet.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load(
        store: Arc<dyn Store>,
        ids: Arc<dyn Ids>,
        accounts: Arc<Accounts>,
        certificates: Arc<Certificates>,
        settings: Settings,
    ) -> Result<Self, Fault> {
        let secret = installation::secret(&store, ids.as_ref(), SECRET).await?;
        Ok(Self { store, ids, accounts, certificates, secret, turns: Turns::default(), settings })
    }

    fn letters(&self, length: usize, parts: &[&str]) -> String {
        const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let parts: Vec<&[u8]> = parts.iter().flat_map(|part| [part.as_bytes(), b"\0"]).collect();
        let mac = Hash::Sha256.hmac(&self.secret, &parts);
        let digits = mac.iter().filter_map(|byte| DIGITS.get(usize::from(byte & 31)));
        digits.take(length).map(|&digit| char::from(digit)).collect()
    }

    /// What `account` calls the client that gives itself this id.
    #[must_use]
    pub fn name(&self, account: &BareJid, id: &str) -> String {
        self.letters(16, &["name", account.as_str(), id])
    }

    /// A name for what has none: the same for the same resource.
    #[must_use]
    pub fn name_of_resource(&self, account: &BareJid, resource: &str) -> String {
        self.letters(16, &["resource name", account.as_str(), resource])
    }

    /// The end of the resource that this client gets for this tag: the same each time (XEP-0386).
    #[must_use]
    pub fn resource(&self, account: &BareJid, id: &str, tag: &str) -> String {
        self.letters(12, &["resource", account.as_str(), id, tag])
    }

    fn token(&self, account: &BareJid, name: &str, issued: &Issued, marker: u64) -> String {
        let mechanism = issued.mechanism.name().as_bytes();
        let parts: &[&[u8]] =
            &[b"token\0", account.as_str().as_bytes(), b"\0", name.as_bytes(), b"\0", mechanism, &issued.salt];
        let half = |which: u8| Hash::Sha256.hmac(&self.secret, &[&parts.concat(), &marker.to_be_bytes(), &[which]]);
        // Two halves, for 32 letters of 5 bits each make 160 of 256.
        let letters = |mac: Vec<u8>| -> String {
            mac.iter().map(|byte| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[usize::from(byte & 31)])).collect()
        };
        letters(half(0)) + &letters(half(1))
    }

    async fn row(&self, account: &BareJid, name: &str) -> Result<Option<Client>, Fault> {
        self.store.get(&key(account, name)).await?.map(Client::read).transpose()
    }

    async fn write(&self, account: &BareJid, name: &str, client: &Client, durably: bool) -> Result<(), Fault> {
        let mut batch = Batch::new();
        batch.put(key(account, name), client.render());
        if durably {
            return self.store.commit_durably(batch).await.map_err(fault);
        }
        // Should it not survive, a client was seen somewhat earlier than is remembered.
        self.store.commit(batch).await.map(drop).map_err(fault)
    }

    /// Whether what a client shows is a token of its own, and then what answers it. With `count`, how often it has used
    /// it, which must be more each time; with `invalidate`, it was the last time. As much is done where there is no such
    /// account or client. A token that was given for a certificate is worth no more than that is now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn check(
        &self,
        account: &BareJid,
        id: &str,
        shown: &Shown,
        count: Option<u32>,
        invalidate: bool,
        now: Timestamp,
    ) -> Result<Result<Checked, Failure>, Fault> {
        let name = self.name(account, id);
        let _turn = self.turns.of(account.as_str()).await;
        let marker = self.accounts.marker(account).await?;
        let mut client = self.row(account, &name).await?.unwrap_or_else(|| Client::new(now));
        let mut found = None;
        // Both places are looked at, whatever is there.
        for (place, issued) in [(1, client.given.as_ref()), (0, client.used.as_ref())] {
            let nothing = Issued::nothing();
            let token = self.token(account, &name, issued.unwrap_or(&nothing), marker);
            let answer = shown.verify(&token);
            if let (Some(issued), Some(answer), None) = (issued, answer, &found)
                && issued.mechanism == shown.mechanism
                && issued.marker == marker
            {
                found = Some((place, issued.clone(), answer));
            }
        }
        let Some((place, mut issued, answer)) = found else { return Ok(Err(Failure::NotAuthorized)) };
        if issued.expires <= now {
            return Ok(Err(Failure::CredentialsExpired));
        }
        if let Some(certificate) = &issued.certificate
            && self.certificates.worth(account, certificate).await? == Worth::Nothing
        {
            return Ok(Err(Failure::NotAuthorized));
        }
        if let Some(count) = count {
            if issued.count.is_some_and(|before| count <= before) {
                return Ok(Err(Failure::NotAuthorized));
            }
            issued.count = Some(count);
        }
        let is_changed = place == 1 || count.is_some() || invalidate;
        if place == 1 {
            client.given = None;
        }
        let certificate = issued.certificate.clone();
        client.used = Some(issued).filter(|_| !invalidate);
        if is_changed {
            self.write(account, &name, &client, invalidate || count.is_some()).await?;
        }
        Ok(Ok(Checked { answer, certificate }))
    }

    /// Remembers that a client has logged in, and gives it a token if it wants one, or if the one it used has grown old.
    /// The token is durable when this returns. `certificate` is what it has shown for EXTERNAL, or what the token that it
    /// has shown was given for: what it can do by the new one is what it can do now, and not for longer than the certificate
    /// is good. A client that came by a token and has been forgotten since is not let in.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn entered(
        &self,
        account: &BareJid,
        agent: &UserAgent,
        (proof, certificate): (Proof, Option<Certificate>),
        wanted: Option<TokenMechanism>,
        now: Timestamp,
    ) -> Result<Result<Entered, Failure>, Fault> {
        let Some(id) = &agent.id else { return Ok(Ok(Entered::default())) };
        let name = self.name(account, id);
        let turn = self.turns.of(account.as_str()).await;
        let marker = self.accounts.marker(account).await?;
        let known = self.row(account, &name).await?;
        let mut client = match &known {
            Some(client) => client.clone(),
            None if matches!(proof, Proof::Token { .. }) => return Ok(Err(Failure::NotAuthorized)),
            None => {
                self.make_room(account, &turn, now).await?;
                Client::new(now)
            }
        };
        if self.settings.keep_descriptions {
            client.software = agent.software.clone().unwrap_or_default();
            client.device = agent.device.clone().unwrap_or_default();
        }
        let has_grown_old = |used: &Issued| {
            let life = used.expires.saturating_sub(used.issued);
            now.saturating_sub(used.issued) > ROTATION.min(life / 2)
        };
        let mut wanted = wanted;
        match proof {
            Proof::Token { mechanism, invalidate } => {
                let is_old = !invalidate && client.used.as_ref().is_some_and(has_grown_old);
                wanted = wanted.or(Some(mechanism).filter(|_| is_old));
            }
            Proof::Mechanism(_) if proof.is_password() => client.password = Some(marker),
            Proof::Mechanism(_) => client.certificate.clone_from(&certificate),
        }
        let is_certified = matches!(proof, Proof::Mechanism(_)) && certificate.is_some();
        let token = wanted.map(|mechanism| {
            let mut salt = [0; 16];
            self.ids.fill(&mut salt);
            let expires = now.saturating_add(self.settings.token_days.saturating_mul(DAY));
            let expires = certificate.as_ref().map_or(expires, |certificate| expires.min(certificate.until));
            let issued = Issued { mechanism, salt, issued: now, expires, count: None, marker, certificate };
            let secret = self.token(account, &name, &issued, marker);
            client.given = Some(issued);
            Token { secret, expiry: rfc3339(expires / 1_000_000 * 1_000_000) }
        });
        if known.is_none_or(|known| client != known || now.abs_diff(known.last_seen) >= SEEN_AGAIN) {
            client.last_seen = now;
            self.write(account, &name, &client, token.is_some() || is_certified).await?;
        }
        Ok(Ok(Entered { name: Some(name.into()), token }))
    }

    /// Whether a client is remembered.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_known(&self, account: &BareJid, name: &str) -> Result<bool, Fault> {
        Ok(self.store.get(&key(account, name)).await?.is_some())
    }

    /// What is known of one client: its password only if that is still the account's.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn find(&self, account: &BareJid, name: &str) -> Result<Option<Client>, Fault> {
        let Some(client) = self.row(account, name).await? else { return Ok(None) };
        let marker = self.accounts.marker(account).await?;
        Ok(Some(Client { password: client.password.filter(|then| *then == marker), ..client }))
    }

    /// Every client of `account`, by name, with what of it is still good: its password, its certificate, its tokens.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, account: &BareJid, now: Timestamp) -> Result<Vec<(Box<str>, Client)>, Fault> {
        let marker = self.accounts.marker(account).await?;
        let rows = self.store.scan(Range::prefix(prefix(account).build()), Page::rows(1000)).await?;
        let registered = if self.certificates.is_any() { self.certificates.list(account).await? } else { Vec::new() };
        let lets_in = |shown: &Certificate| {
            shown.is_vouched_for || registered.iter().any(|one| one.fingerprint == shown.fingerprint)
        };
        let mut listed = Vec::new();
        for (row, value) in &rows {
            let mut reader = KeyReader::new(row, Table::Clients as u8)?;
            let (_, name) = (reader.str()?, reader.str()?);
            let mut client = Client::read(value.clone())?;
            if now.saturating_sub(client.last_seen) > self.settings.days_max.saturating_mul(DAY) {
                continue;
            }
            let is_good = |issued: &Issued| {
                issued.marker == marker && issued.expires > now && issued.certificate.as_ref().is_none_or(lets_in)
            };
            client.used = client.used.filter(is_good);
            client.given = client.given.filter(is_good);
            client.password = client.password.filter(|then| *then == marker);
            client.certificate = client.certificate.filter(lets_in);
            listed.push((name.into(), client));
        }
        Ok(listed)
    }

    /// Forgets those who have not been seen for long, and if there are too many still, the one who was seen first.
    async fn make_room(&self, account: &BareJid, _turn: &MutexGuard<'_, ()>, now: Timestamp) -> Result<(), Fault> {
        let rows = self.store.scan(Range::prefix(prefix(account).build()), Page::rows(1000)).await?;
        let mut seen = Vec::new();
        for (row, value) in &rows {
            seen.push((Client::read(value.clone())?.last_seen, row.clone()));
        }
        seen.sort_unstable();
        let too_many = (seen.len() + 1).saturating_sub(self.settings.clients_per_account_max.max(1));
        let oldest = now.saturating_sub(self.settings.days_max.saturating_mul(DAY));
        let mut batch = Batch::new();
        for (at, (last_seen, row)) in seen.into_iter().enumerate() {
            if at < too_many || last_seen < oldest {
                batch.delete(row);
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.store.commit(batch).await.map(drop).map_err(fault)
    }

    /// Forgets a client with its tokens. Durable when this returns.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget(&self, account: &BareJid, name: &str) -> Result<(), Fault> {
        let _turn = self.turns.of(account.as_str()).await;
        let mut batch = Batch::new();
        batch.delete(key(account, name));
        self.store.commit_durably(batch).await.map_err(fault)
    }

    /// Forgets all clients of an account.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_all(&self, account: &BareJid) -> Result<(), Fault> {
        delete_range(self.store.as_ref(), Range::prefix(prefix(account).build())).await.map_err(fault)
    }
}

#[cfg(test)]
mod tests;
