//! Measured stretches, and clients that ask, wait for the whole answer, and ask again.

use crate::Res;
use crate::chat::Talk;
use crate::client::Client;
use crate::context::Context;
use crate::lock;
use crate::measure::{Fields, now_ns, percentiles};
use clap::Args;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// How long a loop runs.
#[derive(Args, Clone)]
pub(crate) struct Span {
    /// Measured seconds
    #[arg(long, default_value_t = 10.0)]
    secs: f64,
    /// Seconds of warm-up before the measured window
    #[arg(long, default_value_t = 2.0)]
    warmup: f64,
}

impl Span {
    /// Warm up, then measure what `t` counts.
    pub(crate) async fn measure(&self, x: &Context, t: &Talk, what: &str) -> Fields {
        tokio::time::sleep(Duration::from_secs_f64(self.warmup)).await;
        let w = x.server.window();
        t.measuring.store(true, Relaxed);
        tokio::time::sleep(Duration::from_secs_f64(self.secs)).await;
        t.measuring.store(false, Relaxed);
        w.fields(what, t.measured.load(Relaxed))
    }
}

/// A question: type of the iq, address, payload.
pub(crate) type Question = (&'static str, String, String);

/// Looks at each stanza up to the iq result, and says what is wrong with the whole.
pub(crate) trait Examine: Send {
    /// One stanza of the answer.
    fn see(&mut self, st: &[u8]);
    /// The answer is complete: what is wrong with it?
    fn verdict(&mut self) -> Option<String>;
}

/// Every client asks, waits for the whole answer, and asks again. `ask` is given the
/// client's place and the question's number, `examine` makes one examiner an answer.
pub(crate) async fn closed_loop<A, M, E>(
    x: &Context,
    clients: Vec<Client>,
    span: &Span,
    ask: A,
    examine: M,
) -> Res<Fields>
where
    A: Fn(usize, u64) -> Question + Clone + Send + 'static,
    M: Fn() -> E + Clone + Send + 'static,
    E: Examine + 'static,
{
    x.server.settle(Duration::from_secs(20)).await;
    let t = Talk::new();
    let bytes = Arc::new(AtomicUsize::new(0));
    let n = clients.len();
    let tasks: Vec<_> = clients
        .into_iter()
        .enumerate()
        .map(|(i, mut c)| {
            let (t, ask, examine, bytes) = (t.clone(), ask.clone(), examine.clone(), bytes.clone());
            tokio::spawn(async move {
                let mut k = 0u64;
                while !t.stop.load(Relaxed) {
                    let (kind, to, payload) = ask(i, k);
                    let (mut examiner, mut len) = (examine(), 0);
                    let t0 = now_ns();
                    let r = c
                        .iq_seeing(kind, &to, &payload, |st| {
                            examiner.see(st);
                            len += st.len();
                        })
                        .await;
                    if let Some(e) = r.err().or_else(|| examiner.verdict()) {
                        return t.fail(e);
                    }
                    k += 1;
                    if t.measuring.load(Relaxed) {
                        bytes.fetch_add(len, Relaxed);
                    }
                    t.count(t0);
                }
            })
        })
        .collect();
    let mut f = span.measure(x, &t, "requests").await;
    let done = t.measured.load(Relaxed);
    t.stop.store(true, Relaxed);
    for task in tasks {
        let _ = tokio::time::timeout(Duration::from_secs(20), task).await;
    }
    f.insert("clients".into(), json!(n));
    f.insert("bytes_per_answer".into(), json!(bytes.load(Relaxed) as u64 / done.max(1)));
    f.insert("latency_ms".into(), percentiles(&t.latency));
    if done == 0 {
        t.fail("no request was answered".into());
    }
    let errors = lock(&t.errors).clone();
    if !errors.is_empty() {
        f.insert("errors".into(), json!(errors));
    }
    Ok(f)
}
