//! Handshakes between two servers over an in-process wire.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use rustls_pki_types::CertificateDer;

use super::super::tests::{Folder, client, two_hosts};
use super::*;

type Met = (Transport, TlsFacts, Peer);

fn shown(tls: &Tls, domain: &str) -> Vec<CertificateDer<'static>> {
    tls.certificate(domain).unwrap().certified.cert.clone()
}

/// Each side's view: of who accepted, of who dialled.
async fn meet(tls: &Tls, local: &str, remote: &str, accept: Start, dial: Start) -> (io::Result<Met>, io::Result<Met>) {
    let (near, far) = tokio::io::duplex(4096);
    tokio::join!(tls.accept_server(far, accept, None), tls.connect_server(near, local, remote, dial))
}

#[tokio::test]
async fn both_show_who_they_are_and_neither_judges() {
    let folder = Folder::new("servers");
    let tls = Tls::load(&two_hosts(&folder.0)).unwrap();
    for start in [Start::StartTls, Start::Direct] {
        let (accepted, dialled) = meet(&tls, "Capulet.example", "montague.example", start, start).await;
        let (accepted, dialled) = (accepted.unwrap(), dialled.unwrap());
        assert_eq!(accepted.2.chain, shown(&tls, "capulet.example"));
        assert_eq!(accepted.2.asked_for.as_deref(), Some("montague.example"));
        assert_eq!(dialled.2.chain, shown(&tls, "montague.example"));
        assert_eq!((accepted.1.version, dialled.1.version), ("1.3", "1.3"));
        assert!(accepted.1.exporter.is_some());
        assert_eq!(accepted.1.exporter, dialled.1.exporter);
    }
}

#[tokio::test]
async fn who_asks_for_no_name_is_shown_the_host_it_has_addressed() {
    let folder = Folder::new("addressed");
    let tls = Tls::load(&two_hosts(&folder.0)).unwrap();
    let cases = [
        (Some("Montague.example"), "montague.example"),
        (Some("verona.example"), "capulet.example"),
        (None, "capulet.example"),
    ];
    for (addressed, domain) in cases {
        let mut config = client(rustls::ALL_VERSIONS, &[]);
        config.enable_sni = false;
        let connector = TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("montague.example").unwrap();
        for is_server in [true, false] {
            let (near, far) = tokio::io::duplex(4096);
            let accept = async {
                if is_server {
                    tls.accept_server(far, Start::StartTls, addressed).await.map(|_| ())
                } else {
                    tls.accept(far, Start::StartTls, addressed, false).await.map(|_| ())
                }
            };
            let (accepted, connected) = tokio::join!(accept, connector.connect(name.clone(), near));
            accepted.unwrap();
            let connected = connected.unwrap();
            assert_eq!(connected.get_ref().1.peer_certificates().unwrap(), shown(&tls, domain), "{addressed:?}");
        }
    }
}

#[tokio::test]
async fn a_peer_may_show_nothing() {
    let folder = Folder::new("shy");
    let tls = Tls::load(&two_hosts(&folder.0)).unwrap();
    for (version, name) in [(&rustls::version::TLS12, "1.2"), (&rustls::version::TLS13, "1.3")] {
        let (near, far) = tokio::io::duplex(4096);
        let connector = TlsConnector::from(Arc::new(client(&[version], &[ALPN_SERVER])));
        let connect = connector.connect(ServerName::try_from("capulet.example").unwrap(), near);
        let (accepted, connected) = tokio::join!(tls.accept_server(far, Start::Direct, None), connect);
        let (_, facts, peer) = accepted.unwrap();
        let connected = connected.unwrap();
        assert_eq!(peer.chain, []);
        assert_eq!((facts.version, facts.exporter.is_some()), (name, name == "1.3"));
        assert_eq!(connected.get_ref().1.alpn_protocol(), Some(ALPN_SERVER));
    }
}

#[tokio::test]
async fn direct_tls_speaks_xmpp_server_and_nothing_else() {
    let folder = Folder::new("protocol");
    let tls = Tls::load(&two_hosts(&folder.0)).unwrap();
    for (protocol, is_met) in [(&b"xmpp-client"[..], false), (b"h2", false), (ALPN_SERVER, true)] {
        let (near, far) = tokio::io::duplex(4096);
        let connector = TlsConnector::from(Arc::new(client(rustls::ALL_VERSIONS, &[protocol])));
        let connect = connector.connect(ServerName::try_from("capulet.example").unwrap(), near);
        let (accepted, _) = tokio::join!(tls.accept_server(far, Start::Direct, None), connect);
        assert_eq!(accepted.is_ok(), is_met, "{}", String::from_utf8_lossy(protocol));
    }
    // Servers of the past name no protocol, after STARTTLS nobody does.
    let (accepted, dialled) = meet(&tls, "capulet.example", "montague.example", Start::Direct, Start::StartTls).await;
    assert!(accepted.is_ok() && dialled.is_ok());
}

#[tokio::test]
async fn names_that_cannot_be_are_refused_at_once() {
    let folder = Folder::new("names");
    let tls = Tls::load(&two_hosts(&folder.0)).unwrap();
    let (wire, _) = tokio::io::duplex(64);
    let connecting = tls.connect_server(wire, "capulet.example", "no name", Start::Direct);
    let error = connecting.await.map(drop).expect_err("no name");
    assert_eq!(error.to_string(), "not a domain name: `no name`");
    let (accepted, _) = meet(&tls, "capulet.example", "Grün.example", Start::Direct, Start::Direct).await;
    assert_eq!(accepted.unwrap().2.asked_for.as_deref(), Some("xn--grn-ioa.example"));
}

#[tokio::test]
async fn a_service_or_a_component_shows_the_certificate_of_its_host_or_of_the_first() {
    let folder = Folder::new("services");
    let tls = Tls::load(&two_hosts(&folder.0)).unwrap();
    for (local, host) in [("pubsub.montague.example", "montague.example"), ("irc.verona.example", "capulet.example")] {
        let (accepted, _) = meet(&tls, local, "montague.example", Start::Direct, Start::Direct).await;
        assert_eq!(accepted.unwrap().2.chain, shown(&tls, host), "{local}");
    }
}

#[tokio::test]
async fn a_changed_certificate_is_shown_to_servers_too() {
    let folder = Folder::new("changed");
    let tls = Tls::load(&two_hosts(&folder.0)).unwrap();
    let before = shown(&tls, "capulet.example");
    std::fs::remove_file(folder.0.join("certificates/capulet.example.key.pem")).unwrap();
    assert_eq!(tls.refresh().0, ["capulet.example"]);
    let (accepted, dialled) = meet(&tls, "capulet.example", "capulet.example", Start::Direct, Start::Direct).await;
    let (accepted, dialled) = (accepted.unwrap().2.chain, dialled.unwrap().2.chain);
    assert_ne!(accepted, before);
    assert_eq!(accepted, shown(&tls, "capulet.example"));
    assert_eq!(accepted, dialled);
}

#[tokio::test]
async fn what_is_not_tls_ends_the_handshake() {
    use tokio::io::AsyncWriteExt;
    let folder = Folder::new("garbage");
    let tls = Tls::load(&two_hosts(&folder.0)).unwrap();
    let (mut near, far) = tokio::io::duplex(4096);
    near.write_all(b"<?xml version='1.0'?><stream:stream>").await.unwrap();
    assert!(tls.accept_server(far, Start::Direct, None).await.is_err());
    let (near, mut far) = tokio::io::duplex(4096);
    far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    assert!(tls.connect_server(near, "capulet.example", "montague.example", Start::Direct).await.is_err());
}
