//! The far side of federation: a handful of domains that dial the server under load and
//! accept its streams, one socket for each domain and direction (RFC 6120, XEP-0178).
//!
//! They prove who they are by SASL EXTERNAL with certificates of [`authority`], or by
//! dialback (XEP-0220) where there is no TLS. They believe whatever the server under load
//! says it is: this measures servers of one's own choosing, and federates with nobody.

pub(crate) mod authority;
mod names;
mod stream;

use crate::client::{Tls, err, unique};
use crate::polite::auto_reply;
use crate::xml::{Frame, attr, has, is, show, text_of};
use crate::{Res, lock, tls};
use base64::{Engine, engine::general_purpose::STANDARD as B64};
use clap::Args;
use rustls_pki_types::ServerName;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use stream::{Counted, Io, SASL_NS, SM_NS, Stream, TLS_NS, header};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Where the far domains are, and how they behave.
#[derive(Args, Clone)]
pub(crate) struct Federation {
    /// Far domains: d0.far.example and on
    #[arg(long, default_value_t = 10)]
    pub(crate) domains: usize,
    /// Where the server under load accepts streams of servers
    #[arg(long)]
    s2s: SocketAddr,
    /// How streams between servers are secured, both ways; without TLS by dialback
    #[arg(long, value_enum, default_value = "starttls")]
    s2s_tls: Tls,
    /// Where the far domains accept streams
    #[arg(long)]
    listen: SocketAddr,
    /// Where their names are answered for, over UDP
    #[arg(long)]
    dns: SocketAddr,
    /// Folder of the certificates `chirrup-load authority` made
    #[arg(long)]
    pki: PathBuf,
    /// Announce multicast (XEP-0033) on every far domain
    #[arg(long)]
    pub(crate) multicast: bool,
    /// Offer and use stream management (XEP-0198) on streams between servers
    #[arg(long)]
    acks: bool,
}

const PARENT: &str = "far.example";
const MULTICAST: &str = "http://jabber.org/protocol/address";

/// The names of the first `n` far domains.
pub(crate) fn domains(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("d{i}.{PARENT}")).collect()
}

/// Who is told what the far domains receive.
pub(crate) trait Ear: Send + Sync {
    /// A stanza came for far domain `d`. If the answer is false, what politeness
    /// demands is replied.
    fn hear(&self, far: &Far, d: usize, st: &[u8]) -> bool;
}

/// Nobody: everything is answered politely.
pub(crate) struct Deaf;

impl Ear for Deaf {
    fn hear(&self, _: &Far, _: usize, _: &[u8]) -> bool {
        false
    }
}

/// What the server under load has sent over its own streams.
#[derive(Default)]
pub(crate) struct Traffic {
    /// Bytes of TCP, with TLS around them if there is TLS.
    pub(crate) wire: Arc<AtomicU64>,
    /// Stanzas, and their bytes.
    pub(crate) stanzas: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

/// All far domains.
pub(crate) struct Far {
    /// Their names.
    pub(crate) domains: Vec<String>,
    /// What goes to the server under load.
    out: Vec<mpsc::UnboundedSender<String>>,
    /// The domain of the server under load.
    home: String,
    o: Federation,
    ear: Arc<dyn Ear>,
    connector: TlsConnector,
    acceptor: TlsAcceptor,
    secret: String,
    pub(crate) traffic: Traffic,
    errors: Mutex<Vec<String>>,
}

/// As long as no stream takes to be set up.
const PATIENCE: Duration = Duration::from_secs(40);

impl Far {
    /// Answer for the names, accept streams, and dial one from each domain.
    pub(crate) async fn start(o: &Federation, home: &str, ear: Arc<dyn Ear>) -> Res<Arc<Far>> {
        let direct = o.s2s_tls == Tls::Direct;
        let (connector, acceptor) = tls::servers(authority::load(&o.pki)?, direct)?;
        let (out, queues): (Vec<_>, Vec<_>) = (0..o.domains).map(|_| mpsc::unbounded_channel()).unzip();
        let far = Arc::new(Far {
            domains: domains(o.domains),
            out,
            home: home.to_string(),
            o: o.clone(),
            ear,
            connector,
            acceptor,
            secret: unique_secret(),
            traffic: Traffic::default(),
            errors: Mutex::default(),
        });
        let zone = names::Zone { domains: far.domains.clone(), parent: PARENT.into(), port: o.listen.port(), direct };
        zone.serve(o.dns).await?;
        let listener = TcpListener::bind(o.listen).await.map_err(|e| format!("{}: {e}", o.listen))?;
        tokio::spawn(accept(far.clone(), listener));
        for (d, queue) in queues.into_iter().enumerate() {
            let dialled = tokio::time::timeout(PATIENCE, far.dial(d)).await;
            let stream = dialled.map_err(|_| "timed out".into()).and_then(|r| r);
            let stream = stream.map_err(|e: String| format!("{} to {home}: {e}", far.domains[d]))?;
            far.clone().run(d, stream, queue);
        }
        Ok(far)
    }

    /// Send `st` from far domain `d`.
    pub(crate) fn say(&self, d: usize, st: String) {
        let _ = self.out[d].send(st);
    }

    /// What went wrong on the streams so far.
    pub(crate) fn errors(&self) -> Vec<String> {
        lock(&self.errors).clone()
    }

    /// The fields of a result line that say how this was set up.
    pub(crate) fn describe(&self, f: &mut crate::measure::Fields) {
        f.insert("domains".into(), self.domains.len().into());
        f.insert("s2s_tls".into(), format!("{:?}", self.o.s2s_tls).to_lowercase().into());
        f.insert("multicast".into(), self.o.multicast.into());
        f.insert("acks".into(), self.o.acks.into());
    }

    fn fail(&self, e: String) {
        let mut v = lock(&self.errors);
        if v.len() < 10 {
            v.push(e);
        }
    }

    /// The key that proves `from` to the receiver of stream `id` (XEP-0185 in spirit).
    fn key(&self, from: &str, id: &str) -> String {
        let hash = Sha256::digest(format!("{} {} {from} {id}", self.secret, self.home));
        hash.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// What far domain `d` replies to `st` unless somebody knows better.
    fn reply(&self, d: usize, st: &[u8]) -> Option<String> {
        let to = attr(st, "to").unwrap_or(&self.domains[d]);
        if is(st, "iq") && attr(st, "type") == Some("get") && !to.contains('@') {
            let (from, id) = (attr(st, "from")?, attr(st, "id").unwrap_or(""));
            let payload = if has(st, "http://jabber.org/protocol/disco#info") {
                let multicast = if self.o.multicast { format!("<feature var='{MULTICAST}'/>") } else { String::new() };
                format!(
                    "<query xmlns='http://jabber.org/protocol/disco#info'>\
                     <identity category='server' type='im' name='load'/>\
                     <feature var='http://jabber.org/protocol/disco#info'/>{multicast}</query>"
                )
            } else if has(st, "http://jabber.org/protocol/disco#items") {
                "<query xmlns='http://jabber.org/protocol/disco#items'/>".into()
            } else {
                String::new()
            };
            if !payload.is_empty() {
                return Some(format!("<iq type='result' from='{to}' to='{from}' id='{id}'>{payload}</iq>"));
            }
        }
        let reply = auto_reply(st)?;
        let (name, rest) = reply.split_once(' ')?;
        Some(format!("{name} from='{to}' {rest}"))
    }

    fn hear(&self, d: usize, st: &[u8]) {
        self.traffic.stanzas.fetch_add(1, Relaxed);
        self.traffic.bytes.fetch_add(st.len() as u64, Relaxed);
        if !self.ear.hear(self, d, st)
            && let Some(r) = self.reply(d, st)
        {
            self.say(d, r);
        }
    }

    /// A stream from far domain `d` on which stanzas may be sent.
    async fn dial(&self, d: usize) -> Res<Stream> {
        let (me, home) = (self.domains[d].as_str(), self.home.as_str());
        let tcp = TcpStream::connect(self.o.s2s).await.map_err(err)?;
        tcp.set_nodelay(true).map_err(err)?;
        let mut io = Io::Plain(Counted { tcp, received: Arc::default() });
        if self.o.s2s_tls == Tls::Direct {
            io = self.secure(io).await?;
        }
        let mut s = Stream::new(io);
        let (mut id, mut features) = open(&mut s, me, home).await?;
        if self.o.s2s_tls == Tls::Starttls {
            s.send(&format!("<starttls xmlns='{TLS_NS}'/>")).await?;
            let answer = s.next().await?;
            if !is(answer, "proceed") {
                return Err(format!("starttls: {}", show(answer)));
            }
            s = Stream::new(self.secure(s.into_io()).await?);
            (id, features) = open(&mut s, me, home).await?;
        }
        if has(&features, "EXTERNAL") {
            let authzid = B64.encode(me);
            s.send(&format!("<auth xmlns='{SASL_NS}' mechanism='EXTERNAL'>{authzid}</auth>")).await?;
            let answer = s.next().await?;
            if !is(answer, "success") {
                return Err(format!("EXTERNAL: {}", show(answer)));
            }
            s.restart();
            (_, features) = open(&mut s, me, home).await?;
        } else if self.o.s2s_tls == Tls::None {
            let key = self.key(me, &id);
            s.send(&format!("<db:result from='{me}' to='{home}'>{key}</db:result>")).await?;
            let answer = s.next().await?;
            if attr(answer, "type") != Some("valid") {
                return Err(format!("dialback: {}", show(answer)));
            }
        } else {
            return Err(format!("EXTERNAL is not offered: {}", show(&features)));
        }
        if self.o.acks && has(&features, SM_NS) {
            s.send(&format!("<enable xmlns='{SM_NS}'/>")).await?;
            let answer = s.next().await?;
            if !is(answer, "enabled") {
                return Err(format!("stream management: {}", show(answer)));
            }
        }
        Ok(s)
    }

    async fn secure(&self, io: Io) -> Res<Io> {
        let Io::Plain(tcp) = io else {
            return Err("already TLS".into());
        };
        let name = ServerName::try_from(self.home.clone()).map_err(err)?;
        Ok(Io::Client(Box::new(self.connector.connect(name, tcp).await.map_err(|e| format!("TLS: {e}"))?)))
    }

    /// Keep a dialled stream: what is to be sent is written together.
    fn run(self: Arc<Self>, d: usize, s: Stream, mut queue: mpsc::UnboundedReceiver<String>) {
        let (mut reader, mut writer) = s.split();
        let ask = if self.o.acks { format!("<r xmlns='{SM_NS}'/>") } else { String::new() };
        let far = self.clone();
        tokio::spawn(async move {
            while let Some(mut batch) = queue.recv().await {
                while batch.len() < 65536
                    && let Ok(more) = queue.try_recv()
                {
                    batch.push_str(&more);
                }
                batch.push_str(&ask);
                let written = async {
                    writer.write_all(batch.as_bytes()).await?;
                    writer.flush().await
                };
                if let Err(e) = written.await {
                    return far.fail(format!("stream of {}: {e}", far.domains[d]));
                }
            }
        });
        tokio::spawn(async move {
            loop {
                match reader.next().await {
                    Ok(st) if is(st, "a") || is(st, "r") => {}
                    Ok(st) => self.hear(d, st),
                    Err(e) => return self.fail(format!("stream of {}: {e}", self.domains[d])),
                }
            }
        });
    }

    /// Be the receiving, or the authoritative, server of one stream.
    async fn receive(&self, tcp: TcpStream) -> Res<()> {
        tcp.set_nodelay(true).map_err(err)?;
        let mut first = [0];
        tcp.peek(&mut first).await.map_err(err)?;
        let tcp = Counted { tcp, received: self.traffic.wire.clone() };
        let mut secured = first == [0x16];
        let mut s = Stream::new(if secured { self.secured(Io::Plain(tcp)).await? } else { Io::Plain(tcp) });
        let (mut proven, mut d, mut handled) = (false, 0, 0u32);
        loop {
            let range = match s.frame().await? {
                Frame::Stanza(range) => range,
                Frame::Close => return s.send("</stream:stream>").await,
                Frame::Open => {
                    let (from, to) = (s.header("from"), s.header("to"));
                    d = self.domains.iter().position(|x| *x == to).ok_or_else(|| format!("a stream for {to}"))?;
                    let features = self.features(secured, proven);
                    s.send(&(header(&to, &from, Some(&format!("far{}", unique()))) + &features)).await?;
                    continue;
                }
            };
            let st = s.element(range);
            let (from, to) = (attr(st, "from").unwrap_or(""), attr(st, "to").unwrap_or(""));
            let answer = if is(st, "message") || is(st, "presence") || is(st, "iq") {
                if !proven {
                    return Err(format!("a stanza before authentication: {}", show(st)));
                }
                handled = handled.wrapping_add(1);
                self.hear(d, st);
                continue;
            } else if is(st, "starttls") {
                s.send(&format!("<proceed xmlns='{TLS_NS}'/>")).await?;
                s = Stream::new(self.secured(s.into_io()).await?);
                secured = true;
                continue;
            } else if is(st, "auth") {
                proven = true;
                s.send(&format!("<success xmlns='{SASL_NS}'/>")).await?;
                s.restart();
                continue;
            } else if is(st, "db:result") {
                proven = true;
                format!("<db:result from='{to}' to='{from}' type='valid'/>")
            } else if is(st, "db:verify") {
                let id = attr(st, "id").unwrap_or("");
                let valid = text_of(st, "db:verify").map(str::trim) == Some(self.key(to, id).as_str());
                let kind = if valid { "valid" } else { "invalid" };
                format!("<db:verify from='{to}' to='{from}' id='{id}' type='{kind}'/>")
            } else if is(st, "enable") {
                handled = 0;
                format!("<enabled xmlns='{SM_NS}'/>")
            } else if is(st, "r") {
                format!("<a xmlns='{SM_NS}' h='{handled}'/>")
            } else if is(st, "a") {
                continue;
            } else {
                return Err(show(st));
            };
            s.send(&answer).await?;
        }
    }

    async fn secured(&self, io: Io) -> Res<Io> {
        let Io::Plain(tcp) = io else {
            return Err("already TLS".into());
        };
        Ok(Io::Server(Box::new(self.acceptor.accept(tcp).await.map_err(|e| format!("TLS: {e}"))?)))
    }

    fn features(&self, secured: bool, proven: bool) -> String {
        let dialback = "<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>";
        let list = if !secured && self.o.s2s_tls != Tls::None {
            format!("<starttls xmlns='{TLS_NS}'><required/></starttls>")
        } else if secured && !proven {
            format!("<mechanisms xmlns='{SASL_NS}'><mechanism>EXTERNAL</mechanism></mechanisms>{dialback}")
        } else if self.o.acks {
            format!("<sm xmlns='{SM_NS}'/>{dialback}")
        } else {
            dialback.to_string()
        };
        format!("<stream:features>{list}</stream:features>")
    }
}

/// Not known to whoever has not read this process's clock.
fn unique_secret() -> String {
    format!("{:x}-{}", crate::measure::now_ns(), unique())
}

/// Open a stream; its id and features.
async fn open(s: &mut Stream, me: &str, home: &str) -> Res<(String, Vec<u8>)> {
    s.send(&header(me, home, None)).await?;
    match s.frame().await? {
        Frame::Open => {}
        Frame::Stanza(r) => return Err(format!("no stream header: {}", show(s.element(r)))),
        Frame::Close => return Err("stream closed".into()),
    }
    let id = s.header("id");
    let f = s.next().await?;
    if has(&f[..f.len().min(20)], "features") {
        Ok((id, f.to_vec()))
    } else {
        Err(format!("expected features, got {}", show(f)))
    }
}

async fn accept(far: Arc<Far>, listener: TcpListener) {
    while let Ok((tcp, _)) = listener.accept().await {
        let far = far.clone();
        tokio::spawn(async move {
            match far.receive(tcp).await {
                // A server that closes a stream may open another.
                Err(e) if e != "connection closed" => far.fail(format!("accepted stream: {e}")),
                _ => {}
            }
        });
    }
}
