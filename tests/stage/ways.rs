//! The ways between the servers of one play: what one sends is read anew and comes to the other, in order.
//!
//! Stands in for streams between servers: every stanza is written, parsed as it would be on a server stream, and
//! handed over as proven. One task carries for each pair of domains. A domain nobody serves cannot be reached.
//! A character may be the server of a domain itself ([`Ways::serve`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use chirrup::router::Router;
use chirrup::router::road::Road;
use chirrup::session::mailbox::Frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use xmpp::limits::Limits;
use xmpp::xml::Context;
use xmpp::{Stanza, StanzaError, ns};

use super::frames::Pieces;

/// Who is behind a domain.
#[derive(Clone)]
enum End {
    House(Weak<Router>),
    Character(mpsc::UnboundedSender<Vec<u8>>),
}

/// All of them.
#[derive(Default)]
pub struct Ways {
    ends: Mutex<BTreeMap<String, End>>,
    pairs: Mutex<BTreeMap<(String, String), mpsc::UnboundedSender<Stanza>>>,
}

impl Ways {
    /// Between nobody yet.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// From now on a house serves `domain`.
    pub fn join(&self, domain: &str, router: &Arc<Router>) {
        self.ends.lock().unwrap().insert(domain.to_owned(), End::House(Arc::downgrade(router)));
    }

    /// From now on, and until the wire ends, `domain` is served by whoever holds the other end of it.
    pub fn serve(self: &Arc<Self>, domain: &str, wire: DuplexStream) {
        let (mut heard, mut said) = tokio::io::split(wire);
        let (to_character, mut for_character) = mpsc::unbounded_channel::<Vec<u8>>();
        self.ends.lock().unwrap().insert(domain.to_owned(), End::Character(to_character));
        tokio::spawn(async move {
            while let Some(bytes) = for_character.recv().await {
                if said.write_all(&bytes).await.is_err() {
                    return;
                }
            }
        });
        let (ways, domain) = (Arc::clone(self), domain.to_owned());
        tokio::spawn(async move {
            let mut bytes = Vec::new();
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = heard.read(&mut buffer).await {
                bytes.extend_from_slice(&buffer[..length]);
                // What a character sends is written at once: a piece that does not end will go on.
                let Ok(text) = std::str::from_utf8(&bytes) else { continue };
                if text == "</stream:stream>" {
                    break;
                }
                let mut pieces = Pieces::new(text);
                let mut whole = Vec::new();
                let is_all = loop {
                    match pieces.next() {
                        Ok(Some(piece)) => whole.push(piece),
                        Ok(None) => break true,
                        Err(_) => break false,
                    }
                };
                if is_all {
                    bytes.clear();
                    for piece in whole {
                        ways.carry(read(piece.into_bytes()));
                    }
                }
            }
            ways.ends.lock().unwrap().remove(&domain);
        });
    }

    /// Queues a stanza for the server of its recipient. `false` if there is none.
    fn carry(&self, stanza: Stanza) -> bool {
        let domain =
            |jid: &Option<xmpp::Jid>| jid.as_ref().expect("a stanza between servers has addresses").domain().to_owned();
        let (from, to) = (domain(&stanza.head.from), domain(&stanza.head.to));
        let Some(end) = self.ends.lock().unwrap().get(&to).cloned() else { return false };
        match end {
            End::Character(wire) => wire.send(stanza.render().to_vec()).is_ok(),
            End::House(router) => {
                let mut pairs = self.pairs.lock().unwrap();
                let queue = pairs.entry((from, to)).or_insert_with(|| {
                    let (queue, mut waiting) = mpsc::unbounded_channel();
                    tokio::spawn(async move {
                        while let Some(stanza) = waiting.recv().await {
                            let Some(router) = router.upgrade() else { return };
                            router.from_remote(stanza).await;
                        }
                    });
                    queue
                });
                queue.send(stanza).is_ok()
            }
        }
    }
}

impl Road for Ways {
    fn send(&self, local: &str, remote: &str, frame: Frame) -> Result<(), StanzaError> {
        let mut bytes = Vec::new();
        frame.write(&mut bytes);
        let stanza = read(bytes);
        let head = &stanza.head;
        assert_eq!(head.from.as_ref().map(|jid| jid.domain()), Some(local), "{head:?}");
        assert_eq!(head.to.as_ref().map(|jid| jid.domain()), Some(remote), "{head:?}");
        if self.carry(stanza) { Ok(()) } else { Err(StanzaError::remote_server_not_found()) }
    }
}

fn read(bytes: Vec<u8>) -> Stanza {
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut context = Context::client();
    context.content_ns = ns::SERVER.into();
    context.default_ns = ns::SERVER.into();
    Stanza::parse_in(bytes.into(), &context, &Limits::server())
        .unwrap_or_else(|error| panic!("no stanza for a server: {error:?}\n{text}"))
}
