//! How often a client waits for the server until it is in: round trips, counted on the wire below TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::stage::actor::{Actor, Heard, Sasl2, Wire};
use crate::stage::director::Theatre;
use crate::stage::house::InProcess;

const CAST: &str = "# Nobody speaks\n\n[Client] Juliet\n\tjid: juliet@localhost\n\tpassword: secret\n";
const CLIENT: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";

/// A wire that counts: whoever reads after having written has waited for the other side once.
struct Counted {
    wire: Box<dyn Wire>,
    has_written: bool,
    waits: Arc<AtomicU32>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.wire).poll_read(cx, buffer))?;
        if std::mem::take(&mut self.has_written) {
            self.waits.fetch_add(1, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.has_written = true;
        Pin::new(&mut self.wire).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}

/// A client on a counted wire that has done TLS, and the count.
async fn enter(theatre: &InProcess) -> (Actor, Arc<AtomicU32>) {
    let (wire, security) = theatre.dial_tls("localhost").await.unwrap();
    let waits = Arc::new(AtomicU32::new(0));
    let counted = Counted { wire, has_written: false, waits: Arc::clone(&waits) };
    (Actor::enter(Box::new(counted), "localhost", security).await.unwrap(), waits)
}

async fn next(actor: &mut Actor) -> String {
    let heard = actor.hear(std::time::Duration::from_secs(5)).await.unwrap();
    match heard {
        Heard::Frame(crate::stage::frames::Frame::Element(element)) => String::from(&element),
        other => panic!("{other:?}"),
    }
}

/// One for TCP, which is not seen here, one for TLS 1.3, and one for everything else: header, token, resource, and the
/// first stanza go in one flight and are answered in one.
#[tokio::test(start_paused = true)]
async fn with_a_token_the_first_stanza_is_answered_in_the_third_round_trip() {
    let theatre = InProcess::build("logins", CAST).await.unwrap();
    theatre.admit("juliet", "localhost", "secret").await.unwrap();
    let ping = "<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>";

    let (mut actor, waits) = enter(&theatre).await;
    let request = "<request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/>";
    let wishes = Sasl2 { client: Some(CLIENT), bind: Some("<tag>Counter</tag>"), beside: request, ..Sasl2::default() };
    actor.log_in_with("juliet", "secret", &wishes).await.unwrap();
    let success = next(&mut actor).await;
    let token = success.split_once("token=\"").or_else(|| success.split_once("token='")).unwrap().1;
    let token = token.split(['"', '\'']).next().unwrap().to_owned();
    actor.write(ping.as_bytes()).await.unwrap();
    assert!(next(&mut actor).await.contains("result"));
    let by_password = 1 + waits.load(Ordering::Relaxed);

    let (mut actor, waits) = enter(&theatre).await;
    actor.authenticate("juliet", "secret", None).await.unwrap();
    actor.bind(Some("old")).await.unwrap();
    actor.write(ping.as_bytes()).await.unwrap();
    assert!(next(&mut actor).await.contains("result"));
    let by_rfc_6120 = 1 + waits.load(Ordering::Relaxed);

    let (mut actor, waits) = enter(&theatre).await;
    let beside = "<fast xmlns='urn:xmpp:fast:0'/>";
    let bind = Some("<tag>Counter</tag><enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    let wishes = Sasl2 { client: Some(CLIENT), token: Some(&token), bind, beside, behind: ping };
    actor.log_in_with("juliet", "", &wishes).await.unwrap();
    let success = next(&mut actor).await;
    assert!(success.contains("/success>"));
    assert!(next(&mut actor).await.contains("result"));
    let by_token = 1 + waits.load(Ordering::Relaxed);

    // The link is lost, and what was answered on it was not acknowledged.
    let enabled = success.split_once("<enabled").unwrap().1;
    let id = enabled.split_once("id=").unwrap().1.split(['"', '\'']).nth(1).unwrap().to_owned();
    drop(actor);
    let (mut actor, waits) = enter(&theatre).await;
    let beside = format!("{beside}<resume xmlns='urn:xmpp:sm:3' h='0' previd='{id}'/>");
    let again = ping.replace("'1'", "'2'");
    let wishes = Sasl2 { client: Some(CLIENT), token: Some(&token), bind, beside: &beside, behind: &again };
    actor.log_in_with("juliet", "", &wishes).await.unwrap();
    assert!(next(&mut actor).await.contains("<resumed"));
    let missed = next(&mut actor).await;
    assert!(missed.contains("id=\"1\"") || missed.contains("id='1'"), "{missed}");
    let answer = next(&mut actor).await;
    assert!(answer.contains("id=\"2\"") || answer.contains("id='2'"), "{answer}");
    let by_resumption = 1 + waits.load(Ordering::Relaxed);

    assert_eq!((by_token, by_resumption, by_password, by_rfc_6120), (3, 3, 6, 8));
}
