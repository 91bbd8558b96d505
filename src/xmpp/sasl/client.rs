//! The client side of SCRAM (RFC 5802), for tools and tests and, later, for outgoing streams.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use super::scram::{SALT_BYTES, escape, is_nonce, xor};
use super::{ChannelBinding, Hash, downgrade, prepare_password};

/// Most iterations a server may ask for: a lying one could otherwise keep us busy for hours.
pub const ITERATIONS_MAX: u32 = 1_000_000;

/// What the server did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// Its message breaks the grammar, asks for an unknown extension or for more than [`ITERATIONS_MAX`].
    Malformed,
    /// Its nonce does not begin with ours.
    Nonce,
    /// It could not prove that it knows our keys.
    Signature,
    /// The password cannot be prepared.
    Password,
    /// It reported an error in its last message.
    Refused,
    /// It offered something else than what came to us: somebody between took the better part away (XEP-0474), or it
    /// speaks another version of TLS than we do (XEP-0515).
    Downgraded,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the server's SCRAM message is malformed",
            Self::Nonce => "the server's nonce is not a continuation of ours",
            Self::Signature => "the server could not prove that it knows the password's keys",
            Self::Password => "the password has characters that are not permitted",
            Self::Refused => "the server refused the proof",
            Self::Downgraded => "what the server offered was changed on the way",
        })
    }
}

impl std::error::Error for Distrust {}

/// How the client uses the channel (RFC 5802 section 6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// `n`
    Unsupported,
    /// `y`: we could, but no bound mechanism was offered.
    Unoffered,
    /// `p=`, with the channel's data.
    Bound(ChannelBinding, Vec<u8>),
}

/// A password once stretched, kept so that logging in again with the same salt is fast (RFC 5802
/// section 5.1 on `i`).
#[derive(Clone, PartialEq, Eq)]
pub struct Salted {
    salt: Vec<u8>,
    iterations: u32,
    salted_password: Vec<u8>,
}

impl fmt::Debug for Salted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Salted").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// An exchange of ours with a server.
pub struct ClientExchange {
    hash: Hash,
    password: String,
    gs2_header: String,
    channel: Vec<u8>,
    bare: String,
    nonce: String,
    salted: Option<Salted>,
    verifier: Option<Vec<u8>>,
    /// What the server should say of what it offered, and of TLS.
    offer: Option<(String, Option<&'static str>)>,
}

impl fmt::Debug for ClientExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientExchange").field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl ClientExchange {
    /// Begins. `nonce` is random, printable ASCII without commas; `salted` is what an earlier exchange
    /// left behind.
    pub fn new(
        hash: Hash,
        binding: Binding,
        authzid: Option<&str>,
        username: &str,
        password: &str,
        nonce: &str,
        salted: Option<Salted>,
    ) -> Self {
        let (flag, channel) = match binding {
            Binding::Unsupported => ("n".to_owned(), Vec::new()),
            Binding::Unoffered => ("y".to_owned(), Vec::new()),
            Binding::Bound(kind, channel) => (format!("p={}", kind.name()), channel),
        };
        let authzid = authzid.map(|authzid| format!("a={}", escape(authzid))).unwrap_or_default();
        Self {
            hash,
            password: password.to_owned(),
            gs2_header: format!("{flag},{authzid},"),
            channel,
            bare: format!("n={},r={nonce}", escape(username)),
            nonce: nonce.to_owned(),
            salted,
            verifier: None,
            offer: None,
        }
    }

    /// What came to us of the server's offer: its mechanisms, its types of channel binding if it announced any, and the
    /// version of TLS, `1.2` or `1.3`. A server that says what it offered has to say this (XEP-0474, XEP-0515).
    #[must_use]
    pub fn with_offer(mut self, mechanisms: &[&str], bindings: Option<&[&str]>, tls: Option<&str>) -> Self {
        let hash = downgrade::hash(self.hash, mechanisms, bindings);
        self.offer = Some((hash, tls.and_then(downgrade::version)));
        self
    }

    /// `client-first-message`.
    pub fn first(&self) -> String {
        format!("{}{}", self.gs2_header, self.bare)
    }

    /// Answers `server-first-message` with `client-final-message`. Stretches the password, which is slow,
    /// unless the salt is the one known.
    ///
    /// # Errors
    /// See [`Distrust`].
    pub fn respond(&mut self, challenge: &[u8]) -> Result<String, Distrust> {
        let text = std::str::from_utf8(challenge).map_err(|_| Distrust::Malformed)?;
        let mut attributes = text.split(',');
        let mut next = |name: &str| attributes.next().and_then(|attribute| attribute.strip_prefix(name));
        let nonce = next("r=").ok_or(Distrust::Malformed)?;
        let salt = next("s=").and_then(|salt| STANDARD.decode(salt).ok()).ok_or(Distrust::Malformed)?;
        let iterations = next("i=").and_then(|count| count.parse::<u32>().ok()).ok_or(Distrust::Malformed)?;
        if iterations == 0 || iterations > ITERATIONS_MAX || salt.is_empty() || salt.len() > SALT_BYTES * 16 {
            return Err(Distrust::Malformed);
        }
        if !is_nonce(nonce) || !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(Distrust::Nonce);
        }
        if let Some((hash, version)) = &self.offer {
            let differs = |attribute: &str| match (attribute.strip_prefix("h="), attribute.strip_prefix("t=")) {
                (Some(said), _) => said != hash,
                (_, Some(said)) => version.is_some_and(|version| said != version),
                _ => false,
            };
            if attributes.any(differs) {
                return Err(Distrust::Downgraded);
            }
        }
        let known = self.salted.take().filter(|known| known.salt == salt && known.iterations == iterations);
        let salted = match known {
            Some(known) => known,
            None => {
                let prepared = prepare_password(&self.password).ok_or(Distrust::Password)?;
                let salted_password = self.hash.stretch(prepared.as_bytes(), &salt, iterations);
                Salted { salt, iterations, salted_password }
            }
        };
        let client_key = self.hash.hmac(&salted.salted_password, &[b"Client Key"]);
        let stored_key = self.hash.digest(&client_key);
        let server_key = self.hash.hmac(&salted.salted_password, &[b"Server Key"]);
        let mut binding_input = self.gs2_header.clone().into_bytes();
        binding_input.extend_from_slice(&self.channel);
        let without_proof = format!("c={},r={nonce}", STANDARD.encode(binding_input));
        let auth_message = format!("{},{text},{without_proof}", self.bare);
        let signature = self.hash.hmac(&stored_key, &[auth_message.as_bytes()]);
        self.verifier = Some(self.hash.hmac(&server_key, &[auth_message.as_bytes()]));
        self.salted = Some(salted);
        Ok(format!("{without_proof},p={}", STANDARD.encode(xor(&client_key, &signature))))
    }

    /// Checks `server-final-message` and gives what makes the next exchange fast.
    ///
    /// # Errors
    /// See [`Distrust`]. A server that has not proven itself is not to be trusted, whatever else it says.
    pub fn finish(self, message: &[u8]) -> Result<Salted, Distrust> {
        let text = std::str::from_utf8(message).map_err(|_| Distrust::Malformed)?;
        if text.starts_with("e=") {
            return Err(Distrust::Refused);
        }
        let given = text.strip_prefix("v=").and_then(|rest| rest.split(',').next());
        let given = given.and_then(|given| STANDARD.decode(given).ok()).ok_or(Distrust::Malformed)?;
        match (self.verifier, self.salted) {
            (Some(expected), Some(salted)) if bool::from(expected.ct_eq(&given)) => Ok(salted),
            _ => Err(Distrust::Signature),
        }
    }
}
