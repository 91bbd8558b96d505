//! Web servers in this process, and what their documents are worth.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use rustls_pki_types::PrivateKeyDer;
use sha2::{Digest, Sha256, Sha512};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const WELL_KNOWN: &str = "/.well-known/posh/xmpp-server.json";

/// Serves HTTPS at `address` with `made`; `answer` gives the whole response to the path asked for. Counts requests.
fn serve(court: &Court, at: &str, made: &Made, answer: impl Fn(&str) -> String + Send + 'static) -> Arc<AtomicUsize> {
    let address: SocketAddr = at.parse().unwrap();
    let mut listener = court.dialer.listen(address, Duration::ZERO);
    let key = PrivateKeyDer::try_from(made.key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.der.clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    crate::runtime::start(async move {
        while let Some(wire) = listener.recv().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let Ok(mut secure) = acceptor.accept(wire).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match secure.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap_or_default();
            let _the_reader_may_have_had_enough = secure.write_all(answer(path).as_bytes()).await;
            let _as_above = secure.shutdown().await;
        }
    });
    count
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn moved(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
}

fn fingerprints(certificate: &CertificateDer<'_>, expires: u64) -> String {
    let hash = STANDARD.encode(Sha256::digest(certificate));
    format!(r#"{{"fingerprints":[{{"sha-256":"{hash}"}}],"expires":{expires}}}"#)
}

fn court(foundry: &Foundry) -> Court {
    let resolver = ScriptedResolver::new().with_host("capulet.example", false, &["192.0.2.80"]).with_host(
        "hosting.example",
        false,
        &["192.0.2.81"],
    );
    Court::new(foundry, resolver)
}

const WEB: &str = "192.0.2.80:443";
const HOSTING_WEB: &str = "192.0.2.81:443";
const OTHER_NAME: &str = "it is for hosting.example";

#[tokio::test]
async fn a_domain_may_publish_the_certificate_of_its_host() {
    let foundry = Foundry::new();
    let web = foundry.good();
    let hosting = Foundry::make(&foundry.trusted, &["hosting.example"], |_| {});
    let homemade = self_signed(&["hosting.example"], |_| {});
    for made in [&hosting, &homemade] {
        let court = court(&foundry);
        let document = fingerprints(&made.der, 3600);
        let count = serve(&court, WEB, &web, move |path| {
            assert_eq!(path, WELL_KNOWN);
            ok(&document)
        });
        assert_eq!(court.accepted(&[&made.der]).await, "POSH");
        assert_eq!(court.dialled(&[&made.der], &place("hosting.example", false)).await, "POSH");
        assert_eq!(count.load(Ordering::SeqCst), 1, "asked once");
        let other = self_signed(&["hosting.example"], |_| {});
        let said = court.accepted(&[&other.der]).await;
        let expected = "self-signed; it is for hosting.example; \
                        POSH: the domain publishes fingerprints of other certificates";
        assert_eq!(said, expected);
        court.clock.advance(Duration::from_secs(3601));
        assert_eq!(court.accepted(&[&made.der]).await, "POSH");
        assert_eq!(count.load(Ordering::SeqCst), 2, "asked again when stale");
        assert!(court.said().contains("POSH https://capulet.example/.well-known/posh/xmpp-server.json: found"));
    }
}

#[tokio::test]
async fn documents_that_say_nothing_or_nonsense() {
    let foundry = Foundry::new();
    let web = foundry.good();
    let hosting = Foundry::make(&foundry.trusted, &["hosting.example"], |_| {});
    let hash = |certificate: &CertificateDer<'_>| STANDARD_NO_PAD.encode(Sha512::digest(certificate));
    let (right, wrong) = (hash(&hosting.der), hash(&web.der));
    let with = |reason: &str| format!("{OTHER_NAME}; POSH: {reason}");
    let table: Vec<(&str, String, String)> = vec![
        (
            "unpadded, second, beside unknown",
            ok(&format!(
                r#"{{"x":1,"fingerprints":[{{"sha-512":"{wrong}"}},{{"md5":"AAAA","sha-512":"{right}"}}],"expires":1}}"#
            )),
            "POSH".into(),
        ),
        (
            "another's",
            ok(&format!(r#"{{"fingerprints":[{{"sha-512":"{wrong}"}}],"expires":60}}"#)),
            with("the domain publishes fingerprints of other certificates"),
        ),
        ("expired", ok(&fingerprints(&hosting.der, 0)), with("the document says that it has expired")),
        (
            "no fingerprint",
            ok(r#"{"fingerprints":[],"expires":60}"#),
            with("the document holds no fingerprint that can be used"),
        ),
        ("no fingerprints", ok(r#"{"expires":60}"#), with("the document holds no fingerprint that can be used")),
        (
            "unknown hash",
            ok(r#"{"fingerprints":[{"md5":"AAAA"}],"expires":60}"#),
            with("the document holds no fingerprint that can be used"),
        ),
        (
            "not base64",
            ok(r#"{"fingerprints":[{"sha-256":"?"}],"expires":60}"#),
            with("the document holds no fingerprint that can be used"),
        ),
        (
            "both",
            ok(&format!(r#"{{"url":"https://x.example/","fingerprints":[{{"sha-512":"{right}"}}],"expires":60}}"#)),
            with("the document holds both `url` and `fingerprints`"),
        ),
        ("nothing", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".into(), OTHER_NAME.into()),
        ("a broken server", "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n".into(), OTHER_NAME.into()),
        ("not HTTP", "220 smtp.example\r\n".into(), OTHER_NAME.into()),
        ("silence", String::new(), OTHER_NAME.into()),
        (
            "a circle",
            moved(WELL_KNOWN),
            with(&format!("more than 3 redirects from https://capulet.example{WELL_KNOWN}")),
        ),
        ("not HTTPS", moved("http://capulet.example/"), with("http://capulet.example/ is not HTTPS")),
        ("nowhere", moved(""), with(&format!("https://capulet.example{WELL_KNOWN} redirects to nowhere: ``"))),
        (
            "refers to HTTP",
            ok(r#"{"url":"http://hosting.example/","expires":60}"#),
            with("http://hosting.example/ is not HTTPS"),
        ),
        ("refers to nonsense", ok(r#"{"url":"what is this","expires":60}"#), with("`what is this` is not an address")),
        (
            "refers to itself",
            ok(&format!(r#"{{"url":"https://capulet.example{WELL_KNOWN}","expires":60}}"#)),
            with(&format!("https://capulet.example{WELL_KNOWN} refers to yet another document")),
        ),
        (
            "too big",
            ok(&format!(r#"{{"expires":60,"x":"{}"}}"#, "y".repeat(70_000))),
            with(&format!("https://capulet.example{WELL_KNOWN} breaks off, or has more than 65536 bytes")),
        ),
        (
            "breaks off",
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".into(),
            with(&format!("https://capulet.example{WELL_KNOWN} breaks off, or has more than 65536 bytes")),
        ),
    ];
    for (name, response, expected) in table {
        let court = court(&foundry);
        serve(&court, WEB, &web, move |_| response.clone());
        assert_eq!(court.accepted(&[&hosting.der]).await, expected, "{name}: {}", court.said());
    }
    let court = court(&foundry);
    serve(&court, WEB, &web, |_| ok("{"));
    let said = court.accepted(&[&hosting.der]).await;
    assert!(said.contains("is not a POSH document: EOF"), "{said}");
}

#[tokio::test]
async fn references_and_redirects_lead_to_the_host() {
    let foundry = Foundry::new();
    let (web, hosting) = (foundry.good(), Foundry::make(&foundry.trusted, &["hosting.example"], |_| {}));
    let reference = ok(r#"{"url":"https://hosting.example/posh.json","expires":60}"#);
    for (first, path) in [(reference, "/posh.json"), (moved("https://hosting.example/here?a=b"), "/here?a=b")] {
        let court = court(&foundry);
        let count = serve(&court, WEB, &web, move |_| first.clone());
        let document = fingerprints(&hosting.der, 3600);
        serve(&court, HOSTING_WEB, &hosting, move |asked| {
            assert_eq!(asked, path);
            ok(&document)
        });
        assert_eq!(court.accepted(&[&hosting.der]).await, "POSH", "{}", court.said());
        // The lower of the two `expires` counts (RFC 7711 section 6).
        court.clock.advance(Duration::from_secs(61));
        assert_eq!(court.accepted(&[&hosting.der]).await, "POSH");
        assert_eq!(count.load(Ordering::SeqCst), if path == "/posh.json" { 2 } else { 1 });
    }
}

#[tokio::test]
async fn a_web_server_must_prove_itself() {
    let foundry = Foundry::new();
    let hosting = Foundry::make(&foundry.trusted, &["hosting.example"], |_| {});
    for web in [
        self_signed(&["capulet.example"], |_| {}),
        Foundry::make(&foundry.unknown, &["capulet.example"], |_| {}),
        Foundry::make(&foundry.trusted, &["verona.example"], |_| {}),
        Foundry::make(&foundry.trusted, &["capulet.example"], |p| p.not_after = date_time_ymd(2026, 6, 2)),
    ] {
        let court = court(&foundry);
        let document = fingerprints(&hosting.der, 3600);
        serve(&court, WEB, &web, move |_| ok(&document));
        assert_eq!(court.accepted(&[&hosting.der]).await, OTHER_NAME);
    }
    // Fingerprints do not revive what has expired, and the domain is not even asked.
    let court = court(&foundry);
    let old = self_signed(&["hosting.example"], |p| p.not_after = date_time_ymd(2026, 6, 2));
    let count = serve(&court, WEB, &foundry.good(), |_| String::new());
    court.accepted(&[&old.der]).await;
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_long_and_nobody_is_asked_often() {
    let foundry = Foundry::new();
    let hosting = Foundry::make(&foundry.trusted, &["hosting.example"], |_| {});
    let court = court(&foundry);
    court.dialer.silence(WEB.parse().unwrap());
    let begun = tokio::time::Instant::now();
    for _ in 0..10 {
        assert_eq!(court.accepted(&[&hosting.der]).await, OTHER_NAME);
    }
    assert_eq!(begun.elapsed(), Duration::from_secs(10), "of paused time, for the first alone");
    assert_eq!(court.dialer.dialled().len(), 1);
    // Many domains at once: a few are asked, the others are told that it is not their turn, and all come to an end.
    let many: Vec<_> = (0..100)
        .map(|n| {
            let host = format!("{n}.example");
            court.resolver.set_addresses(
                &host,
                crate::runtime::Family::V4,
                Duration::from_secs(3600),
                Err(crate::runtime::LookupError::TimedOut),
            );
            let (trust, chain) = (Arc::clone(&court.trust), vec![hosting.der.clone()]);
            crate::runtime::start(async move {
                let peer = Peer { chain, asked_for: None };
                trust.judge(&host, &peer, Met::Accepted, &Trace::silent()).await
            })
        })
        .collect();
    let begun = tokio::time::Instant::now();
    for one in many {
        assert_eq!(verdict(&one.await.unwrap()), OTHER_NAME);
    }
    assert!(begun.elapsed() <= Duration::from_secs(21));
}
