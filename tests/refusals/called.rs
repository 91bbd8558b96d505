//! A server that is dialled, with whatever manners a row of the table gives it.
//!
//! It answers each thing that is said with a text. In that, `{from}` is the domain it is asked for, `{to}` who asks,
//! `{id}` the stream's identifier as in [`HEADER`] or that of what is answered. A text that ends in `!` is said, and then
//! the connection is closed; an empty one is silence.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chirrup::runtime::Transport;
use xmpp::Element;

use super::certificates::{Made, Shown};
use super::street::Street;
use super::wire::Wire;
use crate::stage::frames::Frame;

pub const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
                          xmlns:stream='http://etherx.jabber.org/streams' id='{id}' from='{from}' to='{to}' \
                          version='1.0'>";
pub const STARTTLS: &str = "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>\
                            </stream:features>";
pub const PROCEED: &str = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
pub const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
pub const NOT_AUTHORIZED: &str = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>";
pub const DIALBACK: &str = "<stream:features><dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>\
                            </stream:features>";
pub const NONE: &str = "<stream:features/>";
/// EXTERNAL, and dialback for whom that does not do.
pub const BOTH: &str = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>\
                        <mechanism>EXTERNAL</mechanism></mechanisms>\
                        <dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback></stream:features>";

/// What a server that is dialled does.
#[derive(Clone, Copy)]
pub struct Manners {
    pub shows: Shown,
    /// TLS begins with the first byte.
    pub is_direct: bool,
    /// Nothing is read or said.
    pub is_mute: bool,
    pub header: &'static str,
    /// To the header in the clear.
    pub clear: &'static str,
    pub starttls: &'static str,
    /// What comes in place of TLS after that.
    pub in_place_of_tls: Option<&'static str>,
    /// Its header after TLS and after SASL, if not the same.
    pub header_secure: &'static str,
    /// To the header after TLS.
    pub features: &'static str,
    pub auth: &'static str,
    /// To the header after SASL.
    pub features_authenticated: &'static str,
    pub result: &'static str,
    pub verify: &'static str,
    /// To each message, question and presence.
    pub stanza: &'static str,
    /// To `<enable/>`.
    pub enable: &'static str,
}

/// One that is as it should be.
pub const GOOD: Manners = Manners {
    shows: Shown::Good,
    is_direct: false,
    is_mute: false,
    header: HEADER,
    clear: STARTTLS,
    starttls: PROCEED,
    in_place_of_tls: None,
    header_secure: HEADER,
    features: BOTH,
    auth: SUCCESS,
    features_authenticated: NONE,
    result: "<db:result from='{from}' to='{to}' type='valid'/>",
    verify: "<db:verify from='{from}' to='{to}' id='{id}' type='valid'/>",
    stanza: "",
    enable: "",
};

/// One that knows dialback alone.
pub const OLD: Manners = Manners { features: DIALBACK, ..GOOD };

/// What happened at a server that was dialled.
#[derive(Default)]
pub struct Visits {
    /// What each visitor said that is worth telling, in order.
    pub told: Mutex<Vec<Vec<String>>>,
    /// The keys it has been shown by dialback, with the stream's identifier.
    pub keys: Mutex<Vec<(String, String)>>,
}

impl Visits {
    pub fn count(&self) -> usize {
        self.told.lock().unwrap().len()
    }
}

/// Puts a server with `manners` at an address, with the certificate of its choice.
pub fn open(street: &Street, at: &str, manners: Manners) -> Arc<Visits> {
    let made = street.foundry.show(manners.shows).map(Arc::new);
    open_showing(street, at, manners, made)
}

/// The same, with this certificate.
pub fn open_showing(street: &Street, at: &str, manners: Manners, made: Option<Arc<Made>>) -> Arc<Visits> {
    let visits = Arc::<Visits>::default();
    let kept = Arc::clone(&visits);
    let address: SocketAddr = at.parse().unwrap();
    street.dialer.at(address, move || {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let number = {
            let mut told = kept.told.lock().unwrap();
            told.push(Vec::new());
            told.len() - 1
        };
        let host = Host { manners, made: made.clone(), visits: Arc::clone(&kept), number };
        tokio::spawn(host.receive(Box::new(far)));
        Box::pin(async move { Ok(Box::new(near) as Transport) })
    });
    visits
}

struct Host {
    manners: Manners,
    made: Option<Arc<Made>>,
    visits: Arc<Visits>,
    number: usize,
}

impl Host {
    async fn receive(self, transport: Transport) {
        let mut wire = Wire::new(transport);
        if self.manners.is_mute {
            return tokio::time::sleep(Duration::from_secs(100_000)).await;
        }
        if self.manners.is_direct && !self.secure(&mut wire, true).await {
            return self.keep(&wire);
        }
        let mut names = (String::new(), String::new());
        let mut is_authenticated = false;
        while let Some(frame) = wire.next(Duration::from_secs(100_000)).await {
            self.keep(&wire);
            let manners = &self.manners;
            let mut id = wire.id.clone();
            let answer = match &frame {
                Frame::Close => "</stream:stream>!",
                Frame::Open(header) => {
                    let attr = |name: &str| header.attr(name).unwrap_or_default().to_owned();
                    names = (attr("to"), attr("from"));
                    let (header, features) = match (wire.is_secure, is_authenticated) {
                        (false, _) => (manners.header, manners.clear),
                        (true, false) => (manners.header_secure, manners.features),
                        (true, true) => (manners.header_secure, manners.features_authenticated),
                    };
                    let id = format!("stream-{}", self.number);
                    wire.id.clone_from(&id);
                    if !self.answer(&mut wire, header, &names, &id).await {
                        return;
                    }
                    features
                }
                Frame::Element(element) => {
                    id = element.attr("id").map_or(id, str::to_owned);
                    self.answer_to(element, &wire)
                }
            };
            if !self.answer(&mut wire, answer, &names, &id).await {
                return;
            }
            let Frame::Element(element) = frame else { continue };
            match (element.name(), manners.in_place_of_tls) {
                ("starttls", Some(text)) => {
                    if self.answer(&mut wire, text, &names, "").await {
                        // What is said now is not for us to read.
                        tokio::time::sleep(Duration::from_secs(100_000)).await;
                    }
                    return;
                }
                ("starttls", None) if answer == PROCEED && !self.secure(&mut wire, false).await => {
                    return self.keep(&wire);
                }
                ("auth", _) => is_authenticated = answer == SUCCESS,
                _ => {}
            }
        }
        self.keep(&wire);
    }

    fn answer_to(&self, element: &Element, wire: &Wire) -> &'static str {
        let manners = &self.manners;
        match element.name() {
            "starttls" => manners.starttls,
            "auth" => manners.auth,
            "result" if element.attr("type").is_none() => {
                self.visits.keys.lock().unwrap().push((element.text(), wire.id.clone()));
                manners.result
            }
            "verify" if element.attr("type").is_none() => manners.verify,
            "message" | "presence" | "iq" => manners.stanza,
            "enable" => manners.enable,
            _ => "",
        }
    }

    /// Whether the connection is still wanted.
    async fn answer(&self, wire: &mut Wire, text: &str, (from, to): &(String, String), id: &str) -> bool {
        let said = text.replace("{from}", from).replace("{to}", to).replace("{id}", id);
        match said.strip_suffix('!') {
            Some(last) => {
                wire.say(last).await;
                wire.hang_up().await;
                self.keep(wire);
                false
            }
            None => {
                wire.say(&said).await;
                true
            }
        }
    }

    async fn secure(&self, wire: &mut Wire, is_direct: bool) -> bool {
        match &self.made {
            Some(made) => wire.accept_tls(made, is_direct).await,
            None => false,
        }
    }

    fn keep(&self, wire: &Wire) {
        self.visits.told.lock().unwrap()[self.number].clone_from(&wire.told);
    }
}
