//! Streams that are cut and resumed (XEP-0198 section 5): TCP connect to `<resumed/>`, authentication included.
//!
//! A phone's socket is dropped with messages unread in it, and more are sent while it is away. All of them have to come
//! after `<resumed/>`, each once and in order, and the server has to have counted what the phone said. What is measured
//! is the phones' coming back; sending to them is not.

use crate::client::{Client, err};
use crate::context::Context;
use crate::measure::{Fields, percentiles};
use crate::polite::{auto_reply, iq, presence};
use crate::sasl2::Device;
use crate::xml::{attr, find_tag, has, is, show};
use crate::{Res, lock, sasl};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How a phone comes back.
#[derive(Clone, Copy, ValueEnum, PartialEq, Eq, Debug)]
pub(crate) enum Via {
    /// SASL, a new stream, `<resume/>`
    Classic,
    /// By token, with `<resume/>` inline (XEP-0388, XEP-0484)
    Fast,
}

/// Phones whose streams are cut.
#[derive(Args)]
pub(crate) struct Resume {
    /// Phones, each of another account
    #[arg(long, default_value_t = 200)]
    sessions: usize,
    #[arg(long, value_enum, default_value = "classic")]
    via: Via,
    /// Messages to each while it is away, and as many that are in its socket when it is cut
    #[arg(long, default_value_t = 1)]
    messages: usize,
    /// How often all are cut and come back: measured windows
    #[arg(long, default_value_t = 5)]
    reps: usize,
    /// Do not wait for the stream's features (fast only; XEP-0509)
    #[arg(long)]
    pipeline: bool,
}

const SM: &str = "urn:xmpp:sm:3";
const BODY: &str = "You were away: the fast red fox jumps over the lazy dog.";

/// A device with a stream that can be resumed.
struct Phone {
    device: Device,
    /// None while it is away.
    client: Option<Client>,
    jid: String,
    previd: String,
    /// Stanzas received, and sent.
    handled: u32,
    sent: u32,
    /// Number of the message that is due.
    due: usize,
    /// Times that TLS was resumed.
    tls_resumed: usize,
}

impl Phone {
    async fn arrive(t: crate::client::Target, n: usize, via: Via) -> Res<Phone> {
        let mut device = Device::new(&t, n)?;
        let enable = format!("<enable xmlns='{SM}' resume='true'/>");
        let (client, enabled) = match via {
            Via::Fast => {
                let bind = format!("<bind xmlns='urn:xmpp:bind:0'><tag>load</tag>{enable}</bind>");
                device.by_password(&bind).await?
            }
            Via::Classic => {
                let mut c = Client::login(&device.t, n).await?;
                c.send(&enable).await?;
                let enabled = c.next().await?.to_vec();
                (c, enabled)
            }
        };
        let previd =
            find_tag(&enabled, "enabled").and_then(|e| attr(e, "id")).ok_or_else(|| show(&enabled))?.to_string();
        let jid = client.jid.clone();
        let mut p = Phone { device, client: Some(client), jid, previd, handled: 0, sent: 0, due: 0, tls_resumed: 0 };
        p.say(&presence(false)).await?;
        p.quiet().await?;
        Ok(p)
    }

    fn client(&mut self) -> Res<&mut Client> {
        self.client.as_mut().ok_or_else(|| "is away".into())
    }

    async fn say(&mut self, stanza: &str) -> Res<()> {
        self.sent += 1;
        self.client()?.send(stanza).await
    }

    /// Take the next element; its name's beginning tells what it was.
    async fn take(&mut self) -> Res<Vec<u8>> {
        let st = self.client()?.next().await?.to_vec();
        if is(&st, "r") {
            let a = format!("<a xmlns='{SM}' h='{}'/>", self.handled);
            self.client()?.send(&a).await?;
        }
        if is(&st, "message") || is(&st, "iq") || is(&st, "presence") {
            self.handled += 1;
            if let Some(n) = attr(&st, "id").and_then(|i| i.strip_prefix("away-")) {
                if n.parse() != Ok(self.due) || !has(&st, BODY) {
                    return Err(format!("message {n} where {} was due", self.due));
                }
                self.due += 1;
            }
            if let Some(answer) = auto_reply(&st) {
                self.say(&answer).await?;
            }
        }
        Ok(st)
    }

    /// Until the server has answered: what comes before that is seen.
    async fn quiet(&mut self) -> Res<()> {
        let id = format!("quiet{}", self.sent);
        self.say(&iq(
            "get",
            self.jid.clone().split(['@', '/']).nth(1).unwrap_or(""),
            &id,
            "<ping xmlns='urn:xmpp:ping'/>",
        ))
        .await?;
        while attr(&self.take().await?, "id") != Some(&id) {}
        Ok(())
    }

    /// The way back, up to the last message that came meanwhile.
    async fn come_back(&mut self, o: (Via, bool), due: usize, latency: &Mutex<Vec<u32>>) -> Res<()> {
        let (via, pipeline) = o;
        let resume = format!("<resume xmlns='{SM}' previd='{}' h='{}'/>", self.previd, self.handled);
        let t0 = Instant::now();
        let (client, answer) = match via {
            Via::Fast => self.device.by_token(&resume, !pipeline).await?,
            Via::Classic => {
                let (t, n) = (&self.device.t, self.device.n);
                let (mut c, _) = Client::connect(t, n).await?;
                sasl::authenticate(&mut c, t, n).await?;
                c.open(&t.domain).await?;
                c.send(&resume).await?;
                let answer = c.next().await?.to_vec();
                (c, answer)
            }
        };
        let resumed = find_tag(&answer, "resumed").ok_or_else(|| show(&answer))?;
        if attr(resumed, "h") != Some(&self.sent.to_string()) {
            return Err(format!("{} stanzas were sent: {}", self.sent, show(&answer)));
        }
        self.tls_resumed += usize::from(client.tls_is_resumed());
        self.client = Some(client);
        lock(latency).push(u32::try_from(t0.elapsed().as_micros()).unwrap_or(u32::MAX));
        while self.due < due {
            self.take().await?;
        }
        Ok(())
    }
}

type Phones = Arc<Mutex<Vec<Option<Phone>>>>;

/// Do something with every phone, some at a time.
async fn with_each<F, Fut>(x: &Context, phones: &Phones, f: F) -> Res<()>
where
    F: Fn(Phone) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Res<Phone>> + Send,
{
    let (n, first) = (lock(phones).len(), x.first);
    x.each(first..first + n, |u, t| {
        let (phones, f) = (phones.clone(), f.clone());
        async move {
            let phone = lock(&phones).get_mut(u - first).and_then(Option::take).ok_or("a phone is missing")?;
            let done = tokio::time::timeout(t.timeout, f(phone)).await.map_err(err)?;
            let phone = done.map_err(|e| format!("{}: {e}", t.user(u)))?;
            if let Some(slot) = lock(&phones).get_mut(u - first) {
                *slot = Some(phone);
            }
            Ok(())
        }
    })
    .await
    .map(drop)
}

/// Send message `k` to every phone, and wait until the server has dealt with that.
async fn send(c: &mut Client, t: &crate::client::Target, phones: &Phones, k: usize) -> Res<()> {
    let to: Vec<String> = lock(phones).iter().flatten().map(|p| p.jid.clone()).collect();
    for jid in to {
        c.send(&format!("<message to='{jid}' type='chat' id='away-{k}'><body>{BODY}</body></message>")).await?;
    }
    c.iq("get", &t.domain, "<ping xmlns='urn:xmpp:ping'/>").await.map(drop)
}

/// Cut streams and resume them.
pub(crate) async fn resume(x: &Context, o: &Resume) -> Res<Vec<Fields>> {
    let (via, how) = (o.via, (o.via, o.pipeline));
    let phones = x.each(x.first..x.first + o.sessions, move |u, t| Phone::arrive(t, u, via)).await?;
    let phones: Phones = Arc::new(Mutex::new(phones.into_iter().map(Some).collect()));
    let mut sender = Client::login(&x.target, x.first + o.sessions).await?;
    let (mut lines, mut sent) = (Vec::new(), 0);
    // The first time TLS has a session to resume only where it was resumed; it also warms up.
    for rep in 0..=o.reps {
        for is_away in [false, true] {
            for _ in 0..o.messages {
                send(&mut sender, &x.target, &phones, sent).await?;
                sent += 1;
            }
            x.server.settle(Duration::from_secs(20)).await;
            if !is_away {
                lock(&phones).iter_mut().flatten().for_each(|p| p.client = None);
                x.server.settle(Duration::from_secs(20)).await;
            }
        }
        let latency = Arc::new(Mutex::new(Vec::new()));
        let before: usize = lock(&phones).iter().flatten().map(|p| p.tls_resumed).sum();
        let w = x.server.window();
        let seen = latency.clone();
        with_each(x, &phones, move |mut p| {
            let seen = seen.clone();
            async move { p.come_back(how, sent, &seen).await.map(|()| p) }
        })
        .await?;
        let mut f = w.fields("resumptions", o.sessions as u64);
        // Whatever comes twice comes before the answer to a ping.
        with_each(x, &phones, |mut p| async move { p.quiet().await.map(|()| p) }).await?;
        if rep == 0 {
            continue;
        }
        let after: usize = lock(&phones).iter().flatten().map(|p| p.tls_resumed).sum();
        f.insert("via".into(), json!(format!("{:?}", o.via).to_lowercase()));
        f.insert("pipeline".into(), json!(o.pipeline));
        f.insert("messages".into(), json!(2 * o.messages));
        f.insert("concurrency".into(), json!(x.concurrency));
        f.insert("tls_resumed_pct".into(), json!((after - before) * 100 / o.sessions.max(1)));
        f.insert("resume_ms".into(), percentiles(&latency));
        lines.push(f);
    }
    Ok(lines)
}
