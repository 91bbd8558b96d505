//! What accounts and sessions cost: registering, logging in, being there.

use crate::client::{Client, Target};
use crate::context::Context;
use crate::measure::{Fields, percentiles, round};
use crate::polite::{iq, presence};
use crate::xml::{attr, has, show};
use crate::{Res, lock};
use clap::Args;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A login storm.
#[derive(Args)]
pub(crate) struct Login {
    /// Logins in the measured window
    n: usize,
    /// Distinct accounts to go through
    #[arg(long, default_value_t = 1000)]
    users: usize,
    /// Start this many logins a second instead of --concurrency at once
    #[arg(long)]
    rate: Option<f64>,
    /// Also fetch the roster and send initial presence (timed up to the roster)
    #[arg(long)]
    full: bool,
    /// Logins before the measured window
    #[arg(long, default_value_t = 200)]
    warmup: usize,
}

/// Sessions that do nothing.
#[derive(Args)]
pub(crate) struct Idle {
    /// Sessions to open
    pub(crate) n: usize,
    /// Also fetch the roster on login
    #[arg(long)]
    roster: bool,
    /// Seconds to hold the sessions and watch the server's CPU
    #[arg(long, default_value_t = 20.0)]
    hold: f64,
}

/// Register `n` accounts in band.
pub(crate) async fn register(x: &Context, n: usize) -> Res<Fields> {
    let w = x.server.window();
    let made = x
        .each(x.first..x.first + n, |u, t| async move {
            let (mut c, _) = Client::connect(&t, u).await?;
            let q = format!(
                "<query xmlns='jabber:iq:register'><username>{}</username><password>{}</password></query>",
                t.user(u),
                t.pass(u)
            );
            c.send(&iq("set", "", "reg", &q)).await?;
            let answer = loop {
                let st = c.next().await?;
                if attr(st, "id") == Some("reg") {
                    break st.to_vec();
                }
            };
            c.close().await;
            match attr(&answer, "type") {
                Some("result") => Ok(true),
                Some("error") if has(&answer, "<conflict") => Ok(false),
                _ => Err(format!("register {}: {}", t.user(u), show(&answer))),
            }
        })
        .await?;
    let new = made.iter().filter(|m| **m).count();
    let mut f = w.fields("registered", new as u64);
    f.insert("existing".into(), json!(n - new));
    Ok(f)
}

async fn one(t: Target, u: usize, full: bool, latency: Arc<Mutex<Vec<u32>>>) -> Res<()> {
    let t0 = Instant::now();
    let mut c = Client::login(&t, u).await?;
    if full {
        c.iq("get", "", "<query xmlns='jabber:iq:roster'/>").await?;
        c.send(&presence(false)).await?;
    }
    lock(&latency).push(u32::try_from(t0.elapsed().as_micros()).unwrap_or(u32::MAX));
    c.close().await;
    Ok(())
}

async fn storm(x: &Context, o: &Login, from: usize, n: usize, latency: &Arc<Mutex<Vec<u32>>>) -> Res<()> {
    let full = o.full;
    let user = |i: usize| x.first + (from + i) % o.users.max(1);
    let Some(rate) = o.rate else {
        return x.each((0..n).map(user), |u, t| one(t, u, full, latency.clone())).await.map(drop);
    };
    let mut set = tokio::task::JoinSet::new();
    let start = tokio::time::Instant::now();
    for i in 0..n {
        tokio::time::sleep_until(start + Duration::from_secs_f64(i as f64 / rate)).await;
        set.spawn(one(x.target.clone(), user(i), full, latency.clone()));
    }
    while let Some(d) = set.join_next().await {
        d.map_err(|e| e.to_string())??;
    }
    Ok(())
}

/// Log in again and again.
pub(crate) async fn login(x: &Context, o: &Login) -> Res<Fields> {
    let latency = Arc::new(Mutex::new(Vec::new()));
    storm(x, o, 0, o.warmup, &latency).await?;
    x.server.settle(Duration::from_secs(10)).await;
    lock(&latency).clear();
    let w = x.server.window();
    storm(x, o, o.warmup, o.n, &latency).await?;
    let mut f = w.fields("logins", o.n as u64);
    f.insert("concurrency".into(), json!(x.concurrency));
    f.insert("full".into(), json!(o.full));
    f.insert("login_ms".into(), percentiles(&latency));
    Ok(f)
}

/// Open sessions and let them be.
pub(crate) async fn idle(x: &Context, o: &Idle) -> Res<Fields> {
    // Load the code paths first, so that their one-time memory is not counted.
    for c in x.login_all(x.first..x.first + 20.min(o.n), Some(presence(false))).await? {
        c.close().await;
    }
    x.server.settle(Duration::from_secs(15)).await;
    let before = x.server.memory();
    let (w, t) = (x.server.window(), Instant::now());
    let roster = o.roster;
    let tasks = x
        .each(x.first..x.first + o.n, move |u, t| async move {
            let mut c = Client::login(&t, u).await?;
            if roster {
                c.iq("get", "", "<query xmlns='jabber:iq:roster'/>").await?;
            }
            c.send(&presence(false)).await?;
            Ok(tokio::spawn(c.idle()))
        })
        .await?;
    let opened = w.fields("sessions", o.n as u64);
    let secs = t.elapsed().as_secs_f64();
    x.server.settle(Duration::from_secs(30)).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = x.server.memory();
    let hold = x.server.window();
    tokio::time::sleep(Duration::from_secs_f64(o.hold)).await;
    let held = hold.fields("sessions", o.n as u64);
    let settled = x.server.memory();
    let lost = tasks.iter().filter(|t| t.is_finished()).count();
    let per = |a: u64, b: u64| json!(a.saturating_sub(b) / o.n.max(1) as u64);
    let mut f = Fields::new();
    f.insert("sessions".into(), json!(o.n));
    f.insert("open_secs".into(), round(secs));
    f.insert("open_cpu_us_per_session".into(), opened.get("cpu_us_per_op").cloned().unwrap_or(Value::Null));
    f.insert("rss_before".into(), json!(before.rss));
    f.insert("rss_after".into(), json!(after.rss));
    f.insert("rss_per_session".into(), per(after.rss, before.rss));
    f.insert("rss_per_session_held".into(), per(settled.rss, before.rss));
    f.insert("pss_per_session".into(), per(after.pss, before.pss));
    f.insert("hold_secs".into(), json!(o.hold));
    f.insert("idle_cpu_pct".into(), held.get("server_cpu_pct").cloned().unwrap_or(Value::Null));
    if lost > 0 {
        f.insert("errors".into(), json!([format!("{lost} sessions ended")]));
    }
    Ok(f)
}
