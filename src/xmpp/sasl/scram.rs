//! SCRAM (RFC 5802, RFC 7677), server side.
//!
//! What is stored for an account is [`Keys`]: from them a password can be checked and cannot be had back.
//! An exchange is two steps. [`ClientFirst::parse`] reads who wants in; the caller looks the keys up;
//! [`ServerExchange::begin`] gives the challenge and [`ServerExchange::finish`] checks the proof. An unknown
//! account gets [`Keys::fake`], the same for the same name every time, so neither the answers nor the work
//! done tell whether the account exists.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use super::{ChannelBinding, Failure, Hash, Mechanism, prepare_password};

/// Longest nonce accepted from a client, in bytes.
pub const NONCE_BYTES_MAX: usize = 256;
/// Bytes of salt we give out; fake salts have the same.
pub const SALT_BYTES: usize = 16;
/// Fewest iterations RFC 5802 section 5.1 permits.
pub const ITERATIONS_MIN: u32 = 4096;
/// What new keys are made with (XEP-0438 section 4).
pub const ITERATIONS_DEFAULT: u32 = 10_000;

/// What is stored for an account and one hash (RFC 5802 section 3). A thief of the keys can pretend to be
/// the server and can guess passwords at the cost of `iterations` each, and cannot log in.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// At least 8 random bytes; [`SALT_BYTES`] when made by us.
    pub salt: Vec<u8>,
    /// How often the password was stretched.
    pub iterations: u32,
    /// H(ClientKey).
    pub stored_key: Vec<u8>,
    /// HMAC(SaltedPassword, "Server Key").
    pub server_key: Vec<u8>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

impl Keys {
    /// Makes keys from a password. Slow by intention: `iterations` HMACs.
    /// `None` when the password cannot be prepared (see [`prepare_password`]).
    pub fn derive(hash: Hash, password: &str, salt: &[u8], iterations: u32) -> Option<Self> {
        let prepared = prepare_password(password)?;
        let salted = hash.stretch(prepared.as_bytes(), salt, iterations);
        Some(Self::from_salted(hash, &salted, salt, iterations))
    }

    /// Makes keys from a password that was stretched already, as XEP-0480 section 3 has clients send it. `None` if it
    /// has not the length of the hash.
    pub fn of_salted(hash: Hash, salted_password: &[u8], salt: &[u8], iterations: u32) -> Option<Self> {
        (salted_password.len() == hash.len()).then(|| Self::from_salted(hash, salted_password, salt, iterations))
    }

    fn from_salted(hash: Hash, salted_password: &[u8], salt: &[u8], iterations: u32) -> Self {
        let client_key = hash.hmac(salted_password, &[b"Client Key"]);
        Self {
            salt: salt.to_vec(),
            iterations,
            stored_key: hash.digest(&client_key),
            server_key: hash.hmac(salted_password, &[b"Server Key"]),
        }
    }

    /// Keys for an account that does not exist: always the same for the same `localpart`, unlike any other,
    /// and matching no password anybody can find. `secret` is the server's own and stays the same for as
    /// long as its accounts do; `iterations` is what its accounts have.
    pub fn fake(hash: Hash, secret: &[u8], localpart: &str, iterations: u32) -> Self {
        let name = localpart.as_bytes();
        let mut salt = hash.hmac(secret, &[b"salt\0", name]);
        salt.truncate(SALT_BYTES);
        Self {
            salt,
            iterations,
            stored_key: hash.hmac(secret, &[b"stored key\0", name]),
            server_key: hash.hmac(secret, &[b"server key\0", name]),
        }
    }

    /// Whether this is the password. Slow by intention, and as slow for a password that cannot be prepared.
    pub fn verify(&self, hash: Hash, password: &str) -> bool {
        let prepared = prepare_password(password);
        let salted = hash.stretch(prepared.as_deref().unwrap_or_default().as_bytes(), &self.salt, self.iterations);
        let found = Self::from_salted(hash, &salted, &self.salt, self.iterations);
        bool::from(found.stored_key.ct_eq(&self.stored_key)) && prepared.is_some()
    }
}

/// What the client says about channel binding (RFC 5802 section 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindingFlag {
    /// `n`: the client cannot.
    Unsupported,
    /// `y`: the client could, and believes that we cannot.
    Unoffered,
    /// `p=`: bound to this channel; `None` for a type we do not know.
    Bound(Option<ChannelBinding>),
}

/// The first message, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFirst {
    /// Channel binding flag.
    pub flag: BindingFlag,
    /// Who to act as, unescaped.
    pub authzid: Option<String>,
    /// Who authenticates, unescaped and as sent: the caller prepares it as a localpart.
    pub username: String,
    nonce: String,
    gs2_header: String,
    bare: String,
}

impl ClientFirst {
    /// Reads `client-first-message`.
    ///
    /// # Errors
    /// [`Failure::MalformedRequest`] for everything RFC 5802 section 7 does not permit, mandatory
    /// extensions included.
    pub fn parse(message: &[u8]) -> Result<Self, Failure> {
        Self::read(message).ok_or(Failure::MalformedRequest)
    }

    fn read(message: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(message).ok()?;
        let (flag, rest) = text.split_once(',')?;
        let (authzid, bare) = rest.split_once(',')?;
        let gs2_header = text.get(..text.len() - bare.len())?;
        let flag = match flag {
            "n" => BindingFlag::Unsupported,
            "y" => BindingFlag::Unoffered,
            _ => BindingFlag::Bound(ChannelBinding::named(flag.strip_prefix("p=")?)),
        };
        let authzid = match authzid {
            "" => None,
            _ => Some(unescape(authzid.strip_prefix("a=")?)?),
        };
        let mut attributes = bare.split(',');
        let username = unescape(attributes.next()?.strip_prefix("n=")?)?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        if !is_nonce(nonce) || !attributes.all(is_extension) {
            return None;
        }
        Some(Self {
            flag,
            authzid,
            username,
            nonce: nonce.to_owned(),
            gs2_header: gs2_header.to_owned(),
            bare: bare.to_owned(),
        })
    }

    /// Checks the flag against the mechanism chosen and what was offered (RFC 5802 section 6), and says
    /// which channel's data the proof must cover.
    ///
    /// # Errors
    /// [`Failure::NotAuthorized`] for `y` although bound mechanisms were offered: somebody took them out of
    /// the list on the way. [`Failure::MalformedRequest`] when flag and mechanism contradict each other or
    /// the type is unknown.
    pub fn binding(&self, mechanism: Mechanism, bound_was_offered: bool) -> Result<Option<ChannelBinding>, Failure> {
        match (&self.flag, mechanism.is_bound()) {
            (BindingFlag::Bound(Some(binding)), true) => Ok(Some(*binding)),
            (BindingFlag::Bound(_), _) | (_, true) => Err(Failure::MalformedRequest),
            (BindingFlag::Unoffered, false) if bound_was_offered => Err(Failure::NotAuthorized),
            (BindingFlag::Unoffered | BindingFlag::Unsupported, false) => Ok(None),
        }
    }
}

/// An exchange between the challenge and the proof.
pub struct ServerExchange {
    hash: Hash,
    keys: Keys,
    /// `client-first-message-bare "," server-first-message ","`, to which the last message is added.
    auth_message: String,
    /// What `c=` must decode to.
    binding_input: Vec<u8>,
    nonce: String,
    authzid: Option<String>,
}

impl fmt::Debug for ServerExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerExchange").field("hash", &self.hash).finish_non_exhaustive()
    }
}

/// How a successful exchange ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// `server-final-message`: proves to the client that we know its keys.
    pub message: String,
    /// Who the client wants to act as; the caller decides whether it may.
    pub authzid: Option<String>,
}

impl ServerExchange {
    /// Answers the first message. `nonce` is random, printable ASCII without commas, 18 bytes or more;
    /// `channel` is the data of the binding type the client named, `None` when it named none.
    /// Returns the exchange and `server-first-message`.
    pub fn begin(hash: Hash, first: ClientFirst, keys: Keys, nonce: &str, channel: Option<&[u8]>) -> (Self, String) {
        Self::begin_with(hash, first, keys, nonce, channel, "")
    }

    /// The same, with optional attributes behind the iteration count, each with a comma before it.
    pub fn begin_with(
        hash: Hash,
        first: ClientFirst,
        keys: Keys,
        nonce: &str,
        channel: Option<&[u8]>,
        extensions: &str,
    ) -> (Self, String) {
        let nonce = first.nonce + nonce;
        let challenge = format!("r={nonce},s={},i={}{extensions}", STANDARD.encode(&keys.salt), keys.iterations);
        let mut binding_input = first.gs2_header.into_bytes();
        binding_input.extend_from_slice(channel.unwrap_or_default());
        let exchange = Self {
            hash,
            keys,
            auth_message: format!("{},{challenge},", first.bare),
            binding_input,
            nonce,
            authzid: first.authzid,
        };
        (exchange, challenge)
    }

    /// Checks `client-final-message`.
    ///
    /// # Errors
    /// [`Failure::MalformedRequest`] for bad grammar, [`Failure::NotAuthorized`] when the nonce, the
    /// channel or the proof is not the right one.
    pub fn finish(self, message: &[u8]) -> Result<Proven, Failure> {
        let last = ClientFinal::read(message).ok_or(Failure::MalformedRequest)?;
        let auth_message = self.auth_message + last.without_proof;
        let signature = self.hash.hmac(&self.keys.stored_key, &[auth_message.as_bytes()]);
        let client_key = xor(&signature, &last.proof);
        let is_proven = self.hash.digest(&client_key).ct_eq(&self.keys.stored_key);
        // Everything is compared before anything is answered.
        let is_bound = last.binding_input.ct_eq(&self.binding_input);
        let is_fresh = last.nonce.as_bytes().ct_eq(self.nonce.as_bytes());
        let is_whole = last.proof.len() == self.hash.len();
        if !is_whole || !bool::from(is_proven & is_bound & is_fresh) {
            return Err(Failure::NotAuthorized);
        }
        let verifier = self.hash.hmac(&self.keys.server_key, &[auth_message.as_bytes()]);
        Ok(Proven { message: format!("v={}", STANDARD.encode(verifier)), authzid: self.authzid })
    }
}

struct ClientFinal<'a> {
    binding_input: Vec<u8>,
    nonce: &'a str,
    proof: Vec<u8>,
    without_proof: &'a str,
}

impl<'a> ClientFinal<'a> {
    fn read(message: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(message).ok()?;
        let (without_proof, proof) = text.rsplit_once(",p=")?;
        let mut attributes = without_proof.split(',');
        let binding_input = STANDARD.decode(attributes.next()?.strip_prefix("c=")?).ok()?;
        let nonce = attributes.next()?.strip_prefix("r=")?;
        let proof = STANDARD.decode(proof).ok()?;
        attributes.all(is_extension).then_some(Self { binding_input, nonce, proof, without_proof })
    }
}

/// A byte-wise exclusive or; the shorter length wins, and the caller compares lengths.
pub(super) fn xor(left: &[u8], right: &[u8]) -> Vec<u8> {
    left.iter().zip(right).map(|(left, right)| left ^ right).collect()
}

pub(super) fn is_nonce(nonce: &str) -> bool {
    !nonce.is_empty()
        && nonce.len() <= NONCE_BYTES_MAX
        && nonce.bytes().all(|byte| matches!(byte, 0x21..=0x2b | 0x2d..=0x7e))
}

/// An optional extension, which must be ignored; the mandatory `m=` must not be (RFC 5802 section 5.1).
fn is_extension(attribute: &str) -> bool {
    let mut chars = attribute.chars();
    matches!(
        (chars.next(), chars.next(), chars.next()),
        (Some(name), Some('='), Some(_)) if name.is_ascii_alphabetic() && name != 'm'
    )
}

/// Reads a `saslname`: `=2C` is a comma, `=3D` an equals sign, and no other `=` is permitted.
fn unescape(name: &str) -> Option<String> {
    if name.is_empty() || name.contains('\0') {
        return None;
    }
    let mut parts = name.split('=');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (escaped, rest) = part.split_at_checked(2)?;
        out.push(match escaped {
            "2C" => ',',
            "3D" => '=',
            _ => return None,
        });
        out.push_str(rest);
    }
    Some(out)
}

/// Writes a `saslname`.
pub(super) fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

#[cfg(test)]
#[path = "scram_tests.rs"]
mod tests;
