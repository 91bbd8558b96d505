//! One XMPP client session as a load generator needs it: TCP, TLS, authentication,
//! bind (RFC 6120), reading and writing stanzas.
//!
//! Certificates are not verified and passwords not prepared: this is no client for people.

use crate::polite::{auto_reply, iq};
use crate::xml::{self, Frame, Framer, attr, has, is, show, text_of};
use crate::{Res, sasl, tls};
use clap::ValueEnum;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// How a session is secured.
#[derive(Clone, Copy, ValueEnum, PartialEq, Eq, Debug)]
pub(crate) enum Tls {
    /// Not at all
    None,
    /// RFC 6120 section 5
    Starttls,
    /// XEP-0368
    Direct,
}

/// How a session authenticates.
#[derive(Clone, Copy, ValueEnum, PartialEq, Eq, Debug)]
pub(crate) enum Mech {
    /// RFC 4616
    Plain,
    /// RFC 5802
    ScramSha1,
    /// RFC 7677
    ScramSha256,
}

/// The server under load, and who logs in there.
#[derive(Clone)]
pub(crate) struct Target {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    /// The domain served.
    pub(crate) domain: String,
    pub(crate) tls: Tls,
    pub(crate) mech: Mech,
    /// Pattern of localparts; `{n}` is the account's number.
    pub(crate) user: String,
    /// Pattern of passwords.
    pub(crate) pass: String,
    /// It is the bare relay of [`crate::relay`], which speaks no XMPP.
    pub(crate) bare: bool,
    /// Source addresses to spread connections over.
    pub(crate) sources: u32,
    /// The longest a login may take.
    pub(crate) timeout: Duration,
    pub(crate) connector: TlsConnector,
    /// Salted passwords already derived.
    pub(crate) salted: Arc<sasl::Cache>,
}

impl Target {
    /// Localpart of account `n`.
    pub(crate) fn user(&self, n: usize) -> String {
        self.user.replace("{n}", &n.to_string())
    }

    /// Password of account `n`.
    pub(crate) fn pass(&self, n: usize) -> String {
        self.pass.replace("{n}", &n.to_string())
    }

    /// Bare address of account `n`.
    pub(crate) fn jid(&self, n: usize) -> String {
        format!("{}@{}", self.user(n), self.domain)
    }
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Gone,
}

/// A session, or a connection on its way to one.
pub(crate) struct Client {
    io: Io,
    framer: Framer,
    /// The full address bound.
    pub(crate) jid: String,
}

pub(crate) fn err(e: impl std::fmt::Display) -> String {
    e.to_string()
}

/// A number no other call in this process returned.
pub(crate) fn unique() -> u64 {
    static N: AtomicU64 = AtomicU64::new(1);
    N.fetch_add(1, Ordering::Relaxed)
}

impl Client {
    /// Connect, secure and authenticate as account `n`, bind a resource, and start
    /// a session where the server still requires one. No presence is sent.
    pub(crate) async fn login(t: &Target, n: usize) -> Res<Client> {
        let work = async {
            let (mut c, _) = Client::connect(t, n).await?;
            sasl::authenticate(&mut c, t, n).await?;
            let features = c.open(&t.domain).await?;
            let bind = format!(
                "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>load{:x}</resource></bind>",
                unique()
            );
            let r = c.iq("set", "", &bind).await?;
            c.jid = text_of(&r, "jid").ok_or("no jid in bind result")?.to_string();
            if let Some(s) = xml::find_tag(&features, "session") {
                let end = s.windows(9).position(|w| w == b"</session").unwrap_or(0);
                if !has(&s[..end], "<optional") {
                    c.iq("set", "", "<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>").await?;
                }
            }
            Ok(c)
        };
        match tokio::time::timeout(t.timeout, work).await {
            Ok(r) => r.map_err(|e: String| format!("login of {}: {e}", t.user(n))),
            Err(_) => Err(format!("login of {}: timed out", t.user(n))),
        }
    }

    /// A connection to the bare relay that says `hello` and counts as account `n`.
    pub(crate) async fn bare(t: &Target, n: usize, hello: &str) -> Res<Client> {
        let mut c = Client { io: Io::Plain(tcp(t, n).await?), framer: Framer::headless(), jid: t.jid(n) + "/load" };
        if t.tls != Tls::None {
            c.upgrade(t).await?;
        }
        c.send(hello).await?;
        Ok(c)
    }

    /// TCP, and TLS where it comes first; nothing of XMPP.
    pub(crate) async fn reach(t: &Target, n: usize) -> Res<Client> {
        let mut c = Client { io: Io::Plain(tcp(t, n).await?), framer: Framer::new(), jid: String::new() };
        if t.tls == Tls::Direct {
            c.upgrade(t).await?;
        }
        Ok(c)
    }

    /// TCP, TLS and the first stream features, no authentication.
    pub(crate) async fn connect(t: &Target, n: usize) -> Res<(Client, Vec<u8>)> {
        let mut c = Client::reach(t, n).await?;
        let mut features = c.open(&t.domain).await?;
        if t.tls == Tls::Starttls {
            if !has(&features, "urn:ietf:params:xml:ns:xmpp-tls") {
                return Err("starttls is not offered".into());
            }
            c.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
            if !is(c.next().await?, "proceed") {
                return Err("starttls refused".into());
            }
            c.upgrade(t).await?;
            features = c.open(&t.domain).await?;
        }
        Ok((c, features))
    }

    async fn upgrade(&mut self, t: &Target) -> Res<()> {
        let Io::Plain(tcp) = std::mem::replace(&mut self.io, Io::Gone) else {
            return Err("already TLS".into());
        };
        self.io = Io::Tls(Box::new(tls::connect(&t.connector, &t.domain, tcp).await?));
        Ok(())
    }

    /// What the channel is bound to by `tls-exporter` (RFC 9266); nothing without TLS.
    pub(crate) fn exporter(&self) -> Res<Vec<u8>> {
        let Io::Tls(tls) = &self.io else { return Ok(Vec::new()) };
        let (_, connection) = tls.get_ref();
        connection.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", Some(b"")).map_err(err)
    }

    /// Has an earlier session of TLS been resumed?
    pub(crate) fn tls_is_resumed(&self) -> bool {
        let Io::Tls(tls) = &self.io else { return false };
        tls.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// Open a stream; answers the features element.
    pub(crate) async fn open(&mut self, domain: &str) -> Res<Vec<u8>> {
        self.open_as(None, domain, "").await
    }

    /// Open a stream saying who one is, not waiting for its features before saying `more`; answers them.
    pub(crate) async fn open_as(&mut self, from: Option<&str>, domain: &str, more: &str) -> Res<Vec<u8>> {
        self.framer.reset();
        let from = from.map(|from| format!(" from='{from}'")).unwrap_or_default();
        self.send(&format!(
            "<?xml version='1.0'?><stream:stream{from} to='{domain}' xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>{more}"
        ))
        .await?;
        let f = self.next().await?.to_vec();
        if has(&f[..f.len().min(20)], "features") { Ok(f) } else { Err(format!("expected features, got {}", show(&f))) }
    }

    /// Write, and see that it leaves.
    pub(crate) async fn send(&mut self, s: &str) -> Res<()> {
        match &mut self.io {
            Io::Plain(t) => t.write_all(s.as_bytes()).await.map_err(err),
            Io::Tls(t) => {
                t.write_all(s.as_bytes()).await.map_err(err)?;
                t.flush().await.map_err(err)
            }
            Io::Gone => Err("no stream".into()),
        }
    }

    /// Next first-level element. Cancel-safe: nothing is lost if dropped.
    pub(crate) async fn next(&mut self) -> Res<&[u8]> {
        let range = loop {
            match self.framer.next() {
                Some(Frame::Stanza(r)) => break r,
                Some(Frame::Open) => {}
                Some(Frame::Close) => return Err("stream closed by server".into()),
                None => {
                    let buf = self.framer.space();
                    let n = match &mut self.io {
                        Io::Plain(t) => t.read_buf(buf).await,
                        Io::Tls(t) => t.read_buf(buf).await,
                        Io::Gone => Ok(0),
                    };
                    if n.map_err(err)? == 0 {
                        return Err("connection closed by server".into());
                    }
                }
            }
        };
        let st = &self.framer.bytes[range];
        if is(st, "stream:error") {
            return Err(show(st));
        }
        Ok(st)
    }

    /// Send an iq and wait for its answer (error answers are `Err`), replying
    /// to whatever the server asks meanwhile. Other stanzas are dropped.
    pub(crate) async fn iq(&mut self, kind: &str, to: &str, payload: &str) -> Res<Vec<u8>> {
        self.iq_seeing(kind, to, payload, |_| ()).await
    }

    /// The same, showing `see` each stanza that comes, the answer included.
    pub(crate) async fn iq_seeing(
        &mut self,
        kind: &str,
        to: &str,
        payload: &str,
        mut see: impl FnMut(&[u8]),
    ) -> Res<Vec<u8>> {
        let id = format!("i{}", unique());
        self.send(&iq(kind, to, &id, payload)).await?;
        loop {
            let st = self.next().await?;
            see(st);
            if is(st, "iq") && attr(st, "id") == Some(&id) {
                match attr(st, "type") {
                    Some("result") => return Ok(st.to_vec()),
                    Some("error") => return Err(show(st)),
                    _ => {}
                }
            }
            if let Some(a) = auto_reply(st) {
                self.send(&a).await?;
            }
        }
    }

    /// Read and answer until the connection ends or the task is aborted; why it ended.
    pub(crate) async fn idle(mut self) -> String {
        loop {
            let a = match self.next().await {
                Ok(st) => auto_reply(st),
                Err(e) => return e,
            };
            if let Some(a) = a
                && let Err(e) = self.send(&a).await
            {
                return e;
            }
        }
    }

    /// Close the stream in order, waiting a little for the server to do so too.
    pub(crate) async fn close(mut self) {
        let _ = self.send("</stream:stream>").await;
        let _ = tokio::time::timeout(Duration::from_secs(5), async { while self.next().await.is_ok() {} }).await;
    }
}

async fn tcp(t: &Target, n: usize) -> Res<TcpStream> {
    let sock = TcpSocket::new_v4().map_err(err)?;
    if t.sources > 1 {
        let last = u8::try_from(n as u32 % t.sources.min(250)).unwrap_or(0);
        sock.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1 + last)), 0)).map_err(err)?;
    }
    let tcp = sock.connect(t.addr).await.map_err(err)?;
    tcp.set_nodelay(true).map_err(err)?;
    Ok(tcp)
}
