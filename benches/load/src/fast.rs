//! Logging in by token (XEP-0484) with SASL2 and Bind 2, over TLS sessions that are resumed: TCP connect to the
//! address bound.

use crate::client::err;
use crate::context::Context;
use crate::measure::{Fields, percentiles};
use crate::sasl2::Device;
use crate::xml::has;
use crate::{Res, lock};
use clap::Args;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Devices that log in by token, again and again.
#[derive(Args)]
pub(crate) struct FastLogin {
    /// Logins in the measured window
    n: usize,
    /// Devices, each of another account
    #[arg(long, default_value_t = 200)]
    users: usize,
    /// Ask for a new token each time, and use it the next time
    #[arg(long)]
    rotate: bool,
    /// Do not wait for the stream's features (XEP-0509)
    #[arg(long)]
    pipeline: bool,
}

const BIND: &str = "<bind xmlns='urn:xmpp:bind:0'><tag>load</tag></bind>";

async fn one(d: &mut Device, o: (bool, bool), latency: &Mutex<Vec<u32>>) -> Res<()> {
    let (rotate, pipeline) = o;
    let (before, inside) =
        if rotate { (d.token.clone(), BIND.to_string() + &Device::wish()) } else { (String::new(), BIND.into()) };
    let t0 = Instant::now();
    let (c, success) = d.by_token(&inside, !pipeline).await?;
    lock(latency).push(u32::try_from(t0.elapsed().as_micros()).unwrap_or(u32::MAX));
    let wrong = if !has(&success, "<bound ") || !c.jid.contains('/') {
        "no resource was bound"
    } else if !c.tls_is_resumed() {
        "the session of TLS was not resumed"
    } else if before == d.token {
        "the token asked for was not given"
    } else {
        c.close().await;
        return Ok(());
    };
    Err(wrong.into())
}

/// Each device logs in `times` times; the devices are given back.
async fn logins(
    x: &Context,
    devices: Vec<Device>,
    times: usize,
    o: &FastLogin,
    latency: &Arc<Mutex<Vec<u32>>>,
) -> Res<Vec<Device>> {
    let n = devices.len();
    let slots = Arc::new(Mutex::new(devices.into_iter().map(Some).collect::<Vec<_>>()));
    let (how, first) = ((o.rotate, o.pipeline), x.first);
    x.each(first..first + n, |u, t| {
        let (slots, latency) = (slots.clone(), latency.clone());
        async move {
            let mut d = lock(&slots).get_mut(u - first).and_then(Option::take).ok_or("no device")?;
            for _ in 0..times {
                tokio::time::timeout(t.timeout, one(&mut d, how, &latency))
                    .await
                    .map_err(err)?
                    .map_err(|e| format!("{}: {e}", t.user(u)))?;
            }
            Ok(d)
        }
    })
    .await
}

/// Log in by token again and again.
pub(crate) async fn fast_login(x: &Context, o: &FastLogin) -> Res<Fields> {
    let latency = Arc::new(Mutex::new(Vec::new()));
    let users = o.users.clamp(1, o.n.max(1));
    let devices = x
        .each(x.first..x.first + users, |u, t| async move {
            let mut d = Device::new(&t, u)?;
            let (c, _) = d.by_password(BIND).await.map_err(|e| format!("{}: {e}", t.user(u)))?;
            c.close().await;
            Ok(d)
        })
        .await?;
    let first = devices.first().map(|d| d.token.clone()).unwrap_or_default();
    let devices = logins(x, devices, 1, o, &latency).await?;
    x.server.settle(Duration::from_secs(10)).await;
    lock(&latency).clear();
    let times = o.n.div_ceil(users);
    let w = x.server.window();
    let mut devices = logins(x, devices, times, o, &latency).await?;
    let mut f = w.fields("logins", (times * users) as u64);
    f.insert("concurrency".into(), json!(x.concurrency));
    f.insert("rotate".into(), json!(o.rotate));
    f.insert("pipeline".into(), json!(o.pipeline));
    f.insert("login_ms".into(), percentiles(&latency));
    if o.rotate
        && let Some(d) = devices.first_mut()
    {
        d.token = first;
        if d.by_token(BIND, true).await.is_ok() {
            f.insert("errors".into(), json!(["a token that was replaced long ago is still good"]));
        }
    }
    Ok(f)
}
