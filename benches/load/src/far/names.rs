//! The names of the far domains: a DNS server over UDP (RFC 1035, RFC 2782) that answers
//! from what it was given, so that the server under load finds whom it is told to find.
//!
//! Every far domain has one SRV record, for STARTTLS or for direct TLS (XEP-0368). Its
//! target is `localhost`, since some servers look addresses up elsewhere than services.
//! Everything else inside the far zone does not exist; what is outside it is refused.

use crate::Res;
use crate::client::err;
use std::net::SocketAddr;
use tokio::net::UdpSocket;

/// What is known of the far domains.
#[derive(Clone)]
pub(crate) struct Zone {
    /// The domains, in lower case.
    pub(crate) domains: Vec<String>,
    /// The parent of them all.
    pub(crate) parent: String,
    /// Where they accept streams.
    pub(crate) port: u16,
    /// They expect TLS from the first byte.
    pub(crate) direct: bool,
}

const A: u16 = 1;
const SRV: u16 = 33;
const TTL: [u8; 4] = 300u32.to_be_bytes();

/// A name in wire form, uncompressed.
fn wire(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|l| !l.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap_or(63));
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

/// The question's name in lower case, its type, and where the question ends.
fn question(query: &[u8]) -> Option<(String, u16, usize)> {
    let (mut at, mut name) = (12, String::new());
    loop {
        let len = usize::from(*query.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        if len > 63 {
            return None;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&std::str::from_utf8(query.get(at..at + len)?).ok()?.to_ascii_lowercase());
        at += len;
    }
    let kind = u16::from_be_bytes(query.get(at..at + 2)?.try_into().ok()?);
    query.get(at + 4..at + 4).map(|_| (name, kind, at + 4))
}

fn record(owner: &str, kind: u16, data: &[u8]) -> Vec<u8> {
    let mut r = wire(owner);
    r.extend_from_slice(&kind.to_be_bytes());
    r.extend_from_slice(&[0, 1]);
    r.extend_from_slice(&TTL);
    r.extend_from_slice(&u16::try_from(data.len()).unwrap_or(0).to_be_bytes());
    r.extend_from_slice(data);
    r
}

impl Zone {
    /// The records of `name`, or nothing if there is no such name.
    fn look_up(&self, name: &str, kind: u16) -> Option<Vec<Vec<u8>>> {
        if name == "localhost" {
            return Some(if kind == A { vec![record(name, A, &[127, 0, 0, 1])] } else { Vec::new() });
        }
        let service = if self.direct { "_xmpps-server._tcp." } else { "_xmpp-server._tcp." };
        if name.strip_prefix(service).is_some_and(|d| self.domains.iter().any(|x| x == d)) {
            let mut data = vec![0, 0, 0, 0];
            data.extend_from_slice(&self.port.to_be_bytes());
            data.extend_from_slice(&wire("localhost"));
            return Some(if kind == SRV { vec![record(name, SRV, &data)] } else { Vec::new() });
        }
        let exists = name == self.parent || self.domains.iter().any(|d| d == name);
        exists.then(Vec::new)
    }

    /// The answer to one datagram, unless it is none of a resolver's.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let head = query.get(..12)?;
        if head[2] & 0xf8 != 0 || head[4..6] != [0, 1] {
            return None;
        }
        let (name, kind, end) = question(query)?;
        let ours = name == "localhost" || name == self.parent || name.ends_with(&format!(".{}", self.parent));
        let found = self.look_up(&name, kind);
        let code: u8 = match (&found, ours) {
            (_, false) => 5,
            (None, true) => 3,
            (Some(_), true) => 0,
        };
        let answers = found.unwrap_or_default();
        // How long it may be remembered that there is nothing.
        let soa = (answers.is_empty() && ours).then(|| {
            let mut data = [wire(&self.parent), wire(&self.parent)].concat();
            [1u32, 3600, 600, 86400, 300].iter().for_each(|n| data.extend_from_slice(&n.to_be_bytes()));
            record(&self.parent, 6, &data)
        });
        let mut out = vec![head[0], head[1], 0x84 | (head[2] & 1), 0x80 | code, 0, 1, 0];
        out.extend_from_slice(&[u8::try_from(answers.len()).ok()?, 0, u8::from(soa.is_some()), 0, 0]);
        out.extend_from_slice(query.get(12..end)?);
        answers.iter().chain(&soa).for_each(|r| out.extend_from_slice(r));
        Some(out)
    }

    /// Answer on `at` for as long as the runtime lives.
    pub(crate) async fn serve(self, at: SocketAddr) -> Res<()> {
        let socket = UdpSocket::bind(at).await.map_err(|e| format!("DNS on {at}: {e}"))?;
        tokio::spawn(async move {
            let mut query = [0; 1500];
            // An error is a datagram nobody waits for any more.
            loop {
                if let Ok((n, from)) = socket.recv_from(&mut query).await
                    && let Some(a) = self.answer(&query[..n])
                {
                    let _ = socket.send_to(&a, from).await.map_err(err);
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn ask(name: &str, kind: u16) -> Vec<u8> {
        let zone =
            Zone { domains: vec!["d1.far.example".into()], parent: "far.example".into(), port: 5, direct: false };
        let mut q = vec![7, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        q.extend_from_slice(&wire(name));
        q.extend_from_slice(&kind.to_be_bytes());
        q.extend_from_slice(&[0, 1]);
        zone.answer(&q).unwrap()
    }

    #[test]
    fn finds_what_there_is() {
        let a = ask("_xmpp-server._tcp.D1.far.example", SRV);
        assert_eq!((&a[..4], &a[6..8]), (&[7, 8, 0x85, 0x80][..], &[0, 1][..]));
        assert!(a.ends_with(&[0, 5, 9, b'l', b'o', b'c', b'a', b'l', b'h', b'o', b's', b't', 0]));
    }

    #[test]
    fn says_what_there_is_not() {
        for (name, kind, code) in [
            ("_xmpps-server._tcp.d1.far.example", SRV, 3),
            ("_xmpp-server._tcp.d2.far.example", SRV, 3),
            ("d1.far.example", A, 0),
            ("example.org", A, 5),
        ] {
            let a = ask(name, kind);
            assert_eq!((a[3] & 15, a[7]), (code, 0), "{name}");
        }
    }
}
