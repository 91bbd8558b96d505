//! The client's side of SASL: PLAIN (RFC 4616), SCRAM-SHA-1 (RFC 5802) and SCRAM-SHA-256 (RFC 7677) without
//! channel binding, and hashed tokens (`HT-SHA-256-…`) with it, as XEP-0484 uses them.
//!
//! Salted passwords are kept, as RFC 5802 section 5.1 lets a client do, so that the
//! generator's own arithmetic does not pace the logins.

use crate::client::{Client, Mech, Target, err};
use crate::xml::{is, show, text_of};
use crate::{Res, lock};
use base64::{Engine, engine::general_purpose::STANDARD as B64};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Mutex;

/// Account, whether the hash is the long one, and salt.
type Key = (usize, bool, Vec<u8>);

/// Salted passwords already derived.
#[derive(Default)]
pub(crate) struct Cache(Mutex<HashMap<Key, Vec<u8>>>);

/// Authenticate the stream of `c` as account `n`.
pub(crate) async fn authenticate(c: &mut Client, t: &Target, n: usize) -> Res<()> {
    match t.mech {
        Mech::Plain => plain(c, t, n).await,
        Mech::ScramSha1 | Mech::ScramSha256 => scram(c, t, n, t.mech == Mech::ScramSha256).await,
    }
}

async fn plain(c: &mut Client, t: &Target, n: usize) -> Res<()> {
    let b = B64.encode(format!("\0{}\0{}", t.user(n), t.pass(n)));
    c.send(&format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{b}</auth>")).await?;
    let r = c.next().await?;
    if is(r, "success") { Ok(()) } else { Err(show(r)) }
}

/// The hash of the mechanism: `long` is SHA-256, otherwise SHA-1.
fn hash(long: bool, data: &[u8]) -> Vec<u8> {
    if long { Sha256::digest(data).to_vec() } else { Sha1::digest(data).to_vec() }
}

fn mac(long: bool, key: &[u8], data: &[u8]) -> Res<Vec<u8>> {
    if long {
        let mut m = Hmac::<Sha256>::new_from_slice(key).map_err(err)?;
        m.update(data);
        Ok(m.finalize().into_bytes().to_vec())
    } else {
        let mut m = Hmac::<Sha1>::new_from_slice(key).map_err(err)?;
        m.update(data);
        Ok(m.finalize().into_bytes().to_vec())
    }
}

fn salted(t: &Target, n: usize, long: bool, salt: Vec<u8>, rounds: u32) -> Vec<u8> {
    let key = (n, long, salt);
    if let Some(s) = lock(&t.salted.0).get(&key) {
        return s.clone();
    }
    let pass = t.pass(n);
    let mut out = vec![0; if long { 32 } else { 20 }];
    if long {
        pbkdf2::pbkdf2_hmac::<Sha256>(pass.as_bytes(), &key.2, rounds, &mut out);
    } else {
        pbkdf2::pbkdf2_hmac::<Sha1>(pass.as_bytes(), &key.2, rounds, &mut out);
    }
    lock(&t.salted.0).insert(key, out.clone());
    out
}

/// The message within an element, which is base64 there.
pub(crate) fn decode(r: &[u8], element: &str) -> Res<String> {
    let t = text_of(r, element).ok_or_else(|| show(r))?;
    String::from_utf8(B64.decode(t.trim()).map_err(err)?).map_err(err)
}

fn field(s: &str, k: &str) -> Res<String> {
    s.split(',').find_map(|f| f.strip_prefix(k)).map(String::from).ok_or_else(|| format!("no {k} in {s}"))
}

async fn scram(c: &mut Client, t: &Target, n: usize, long: bool) -> Res<()> {
    let (mut scram, first) = Scram::begin(t, n, long)?;
    let name = scram.name();
    c.send(&format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{name}'>{first}</auth>")).await?;
    let reply = scram.respond(t, n, &decode(c.next().await?, "challenge")?)?;
    c.send(&format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{reply}</response>")).await?;
    scram.finish(&decode(c.next().await?, "success")?)
}

/// One exchange of SCRAM, whatever its messages are wrapped in.
pub(crate) struct Scram {
    long: bool,
    bare: String,
    /// The server's signature, once it is known.
    want: String,
}

impl Scram {
    /// The exchange, and its first message in base64.
    pub(crate) fn begin(t: &Target, n: usize, long: bool) -> Res<(Scram, String)> {
        let mut nonce = [0u8; 18];
        getrandom::fill(&mut nonce).map_err(err)?;
        let bare = format!("n={},r={}", t.user(n), B64.encode(nonce));
        let first = B64.encode(format!("n,,{bare}"));
        Ok((Scram { long, bare, want: String::new() }, first))
    }

    /// The mechanism.
    pub(crate) fn name(&self) -> &'static str {
        if self.long { "SCRAM-SHA-256" } else { "SCRAM-SHA-1" }
    }

    /// The answer to the server's challenge, in base64.
    pub(crate) fn respond(&mut self, t: &Target, n: usize, server: &str) -> Res<String> {
        let long = self.long;
        let salt = B64.decode(field(server, "s=")?).map_err(err)?;
        let rounds = field(server, "i=")?.parse().map_err(err)?;
        let salted = salted(t, n, long, salt, rounds);
        let client_key = mac(long, &salted, b"Client Key")?;
        let last = format!("c=biws,r={}", field(server, "r=")?);
        let signed = format!("{},{server},{last}", self.bare);
        let signature = mac(long, &hash(long, &client_key), signed.as_bytes())?;
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        let server_key = mac(long, &salted, b"Server Key")?;
        self.want = B64.encode(mac(long, &server_key, signed.as_bytes())?);
        Ok(B64.encode(format!("{last},p={}", B64.encode(proof))))
    }

    /// Has the server proven itself by its last message?
    pub(crate) fn finish(&self, done: &str) -> Res<()> {
        if field(done, "v=")? == self.want { Ok(()) } else { Err("wrong SCRAM server signature".into()) }
    }
}

/// What shows that one has a token (`HT-SHA-256-…`), in base64.
pub(crate) fn token(t: &Target, n: usize, token: &str, channel: &[u8]) -> Res<String> {
    let mut message = t.user(n).into_bytes();
    message.push(0);
    message.extend(mac(true, token.as_bytes(), &[b"Initiator", channel].concat())?);
    Ok(B64.encode(message))
}

/// Has the server shown, in base64, that it has the token?
pub(crate) fn token_is_answered(answer: &str, token: &str, channel: &[u8]) -> Res<()> {
    let want = mac(true, token.as_bytes(), &[b"Responder", channel].concat())?;
    if B64.decode(answer).map_err(err)? == want { Ok(()) } else { Err("the server has not the token".into()) }
}
