//! A client for the demonstration: one account over one real TLS connection, asking and listening.
//!
//! Everything XMPP about it is `xmpp::stream::client`; here are the socket, TLS and the waiting.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use xmpp::stanza::{IqType, Kind};
use xmpp::stream::TlsFacts;
use xmpp::stream::client::{Client, Event, Login};
use xmpp::{BareJid, Jid, Stanza};

/// How long an answer may take. A demonstration that hangs shows nothing.
const PATIENCE: Duration = Duration::from_secs(10);

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// How to reach the server, and by what to know it.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    /// TLS from the first byte; else by STARTTLS.
    pub(super) is_direct: bool,
    pub(super) certificate: CertificateDer<'static>,
}

/// Somebody logged in.
pub(super) struct Player {
    wire: Box<dyn Wire>,
    client: Client,
    secured: String,
    heard: VecDeque<Stanza>,
    asked: u32,
}

impl Player {
    /// Logs in. Trusts the one certificate it was given, and no other.
    pub(super) async fn enter(server: &Server, account: BareJid, password: &str, nonce: &str) -> Result<Self, String> {
        tokio::time::timeout(PATIENCE, Self::negotiate(server, account, password, nonce))
            .await
            .map_err(|_| format!("{}: logging in took too long", server.address))?
    }

    async fn negotiate(server: &Server, account: BareJid, password: &str, nonce: &str) -> Result<Self, String> {
        let domain = account.domain().to_owned();
        let mut login = Login::new(account, password, nonce);
        login.resource = Some("demo".to_owned());
        let tcp = TcpStream::connect(server.address).await.map_err(|error| format!("{}: {error}", server.address))?;
        tcp.set_nodelay(true).map_err(|error| error.to_string())?;
        let mut wire: Box<dyn Wire> = Box::new(tcp);
        let mut secured = String::new();
        let mut facts = None;
        if server.is_direct {
            let (tls, found) = secure(wire, server, &domain).await?;
            secured = format!("TLS {} from the first byte", found.version);
            (wire, facts) = (tls, Some(found));
        }
        let mut client = Client::open(login, facts);
        loop {
            let Some(event) = client.poll_event() else {
                flush(&mut wire, &mut client).await?;
                read(&mut wire, &mut client).await?;
                continue;
            };
            match event {
                Event::StartTls => {
                    flush(&mut wire, &mut client).await?;
                    let (tls, facts) = secure(wire, server, &domain).await?;
                    secured = format!("TLS {} by STARTTLS", facts.version);
                    client.handle_secured(facts);
                    wire = tls;
                }
                Event::Bound(_) => return Ok(Self { wire, client, secured, heard: VecDeque::new(), asked: 0 }),
                Event::Closed(ending) => return Err(ending.to_string()),
                // Nothing of it was asked for.
                Event::Stanza(_)
                | Event::Resumed(_)
                | Event::NotResumed(_)
                | Event::Token(_)
                | Event::TokenRefused
                | Event::Acked(_) => {}
            }
        }
    }

    /// How the connection is encrypted.
    pub(super) fn secured(&self) -> &str {
        &self.secured
    }

    /// The account's address.
    pub(super) fn address(&self) -> String {
        self.client.jid().map(|jid| jid.bare().to_string()).unwrap_or_default()
    }

    /// Sends an IQ with one child and waits for its result.
    pub(super) async fn ask(
        &mut self,
        kind: IqType,
        to: Option<&BareJid>,
        child: (&str, &str, String),
    ) -> Result<Stanza, String> {
        self.asked += 1;
        let id = format!("demo-{}", self.asked);
        let (name, ns, bytes) = child;
        let mut stanza = Stanza::new(Kind::Iq(kind)).id(id.as_str()).with_bytes(name, ns, bytes.as_bytes());
        stanza.head.to = to.map(|to| Jid::from(to.clone()));
        self.client.send(&stanza);
        let answer = self.next(|stanza| stanza.head.id.as_deref() == Some(id.as_str())).await?;
        match answer.error() {
            Some(error) => Err(format!("the server refused: {error}")),
            None => Ok(answer),
        }
    }

    /// Sends a stanza that has no answer.
    pub(super) async fn send(&mut self, stanza: &Stanza) -> Result<(), String> {
        self.client.send(stanza);
        flush(&mut self.wire, &mut self.client).await
    }

    /// The first stanza, heard already or to come, that `is_wanted`.
    pub(super) async fn next(&mut self, is_wanted: impl Fn(&Stanza) -> bool) -> Result<Stanza, String> {
        if let Some(place) = self.heard.iter().position(&is_wanted) {
            return self.heard.remove(place).ok_or_else(|| "nothing was heard".to_owned());
        }
        let listening = async {
            loop {
                match self.client.poll_event() {
                    Some(Event::Stanza(stanza)) if is_wanted(&stanza) => return Ok(stanza),
                    Some(Event::Stanza(stanza)) => self.heard.push_back(stanza),
                    Some(Event::Closed(ending)) => return Err(ending.to_string()),
                    Some(_) => {}
                    None => {
                        flush(&mut self.wire, &mut self.client).await?;
                        read(&mut self.wire, &mut self.client).await?;
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, listening).await.map_err(|_| "no answer came".to_owned())?
    }

    /// Ends the stream.
    pub(super) async fn leave(mut self) {
        self.client.close();
        let _gone = flush(&mut self.wire, &mut self.client).await;
        let _gone = self.wire.shutdown().await;
    }
}

async fn flush(wire: &mut Box<dyn Wire>, client: &mut Client) -> Result<(), String> {
    let mut out = Vec::new();
    if client.poll_transmit(&mut out) > 0 {
        wire.write_all(&out).await.map_err(|error| format!("the connection broke: {error}"))?;
        wire.flush().await.map_err(|error| format!("the connection broke: {error}"))?;
    }
    Ok(())
}

async fn read(wire: &mut Box<dyn Wire>, client: &mut Client) -> Result<(), String> {
    let mut bytes = [0_u8; 4096];
    let length = wire.read(&mut bytes).await.map_err(|error| format!("the connection broke: {error}"))?;
    if length == 0 {
        return Err("the server closed the connection".to_owned());
    }
    client.handle_bytes(bytes.get(..length).unwrap_or_default());
    Ok(())
}

async fn secure(wire: Box<dyn Wire>, server: &Server, domain: &str) -> Result<(Box<dyn Wire>, TlsFacts), String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(server.certificate.clone()).map_err(|error| format!("the server's certificate: {error}"))?;
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    if server.is_direct {
        config.alpn_protocols = vec![b"xmpp-client".to_vec()];
    }
    let name = ServerName::try_from(domain.to_owned()).map_err(|error| error.to_string())?;
    let tls =
        TlsConnector::from(Arc::new(config)).connect(name, wire).await.map_err(|error| format!("TLS: {error}"))?;
    let (_, connection) = tls.get_ref();
    let facts = TlsFacts {
        exporter: connection.export_keying_material(vec![0_u8; 32], b"EXPORTER-Channel-Binding", Some(b"")).ok(),
        server_end_point: None,
        version: if connection.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3) { "1.3" } else { "1.2" },
        client_certificate: None,
    };
    Ok((Box::new(tls), facts))
}
