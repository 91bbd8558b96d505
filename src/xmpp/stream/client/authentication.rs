//! How a client proves who it is: what it chooses of what is offered, and the profile of RFC 6120 section 6.
//!
//! What a server says within SCRAM of what it offered is compared with what came (XEP-0474, XEP-0515).

use super::super::TlsFacts;
use super::{Client, Ending, Event, Step};
use crate::sasl::client::{Binding, ClientExchange, Distrust};
use crate::sasl::plain::Message;
use crate::sasl::token::TokenMechanism;
use crate::sasl::{ChannelBinding, Hash, Mechanism, decode_message, encode_message};
use crate::xml::write_attr;
use crate::{Element, ns};

/// What a server offers to prove oneself by.
#[derive(Clone, Debug, Default)]
pub(super) struct Offer {
    /// The mechanisms of the profile that is used, as they came.
    mechanisms: Vec<String>,
    /// The types of channel binding, if any are announced (XEP-0440).
    bindings: Option<Vec<String>>,
    /// Whether this is SASL2, and what it offers inline.
    pub(super) sasl2: Option<Inline>,
}

/// What SASL2 offers beside.
#[derive(Clone, Debug, Default)]
pub(super) struct Inline {
    pub(super) bind: bool,
    /// Whether Bind 2 enables stream management.
    pub(super) bind_acks: bool,
    pub(super) acks: bool,
    pub(super) tokens: Vec<TokenMechanism>,
    pub(super) upgrades: Vec<Hash>,
}

/// What is to come of the server's last message.
#[derive(Debug)]
pub(super) enum Proof {
    Scram(Hash, Box<ClientExchange>),
    Token {
        secret: String,
        channel: Vec<u8>,
    },
    /// The mechanism lets the server prove nothing.
    Plain,
}

fn texts<'a>(parent: &'a Element, name: &'a str, ns: &'a str) -> impl Iterator<Item = String> + 'a {
    parent.children().filter(move |child| child.is(name, ns)).map(|child| child.text().trim().to_owned())
}

impl Offer {
    /// Reads features; `None` where nothing is offered.
    pub(super) fn read(features: &Element, uses_sasl2: bool) -> Option<Self> {
        let bindings = features
            .get_child("sasl-channel-binding", ns::SASL_CB)
            .map(|announced| announced.children().filter_map(|child| child.attr("type")).map(str::to_owned).collect());
        let profile = features.get_child("authentication", ns::SASL2).filter(|_| uses_sasl2);
        let Some(profile) = profile else {
            let mechanisms = texts(features.get_child("mechanisms", ns::SASL)?, "mechanism", ns::SASL).collect();
            return Some(Self { mechanisms, bindings, sasl2: None });
        };
        let mechanisms = texts(profile, "mechanism", ns::SASL2).collect();
        let mut sasl2 = Inline {
            upgrades: texts(profile, "upgrade", ns::SASL_UPGRADE)
                .filter_map(|task| super::sasl2::hash_of(&task))
                .collect(),
            ..Inline::default()
        };
        if let Some(inline) = profile.get_child("inline", ns::SASL2) {
            sasl2.acks = inline.has_child("sm", ns::ACKS);
            if let Some(fast) = inline.get_child("fast", ns::FAST) {
                sasl2.tokens = texts(fast, "mechanism", ns::FAST).filter_map(|name| name.parse().ok()).collect();
            }
            if let Some(bind) = inline.get_child("bind", ns::BIND2) {
                sasl2.bind = true;
                let mut features = bind.get_child("inline", ns::BIND2).into_iter().flat_map(Element::children);
                sasl2.bind_acks = features.any(|feature| feature.attr("var") == Some(ns::ACKS));
            }
        }
        Some(Self { mechanisms, bindings, sasl2: Some(sasl2) })
    }

    fn has(&self, mechanism: Mechanism) -> bool {
        self.mechanisms.iter().any(|name| name == mechanism.name())
    }

    /// The channel to bind to: the strongest type the server announces and we have data for. A server that
    /// announces none is taken to have the one that all must have (XEP-0440 section 3).
    fn channel(&self, tls: Option<&TlsFacts>) -> Option<(ChannelBinding, Vec<u8>)> {
        let facts = tls?;
        let is_announced = |kind: ChannelBinding| match &self.bindings {
            Some(announced) => announced.iter().any(|name| name == kind.name()),
            None => kind == ChannelBinding::TlsServerEndPoint,
        };
        let mut kinds = ChannelBinding::ALL.into_iter().filter(|kind| is_announced(*kind));
        kinds.find_map(|kind| Some((kind, facts.binding(kind)?.to_vec())))
    }
}

impl Client {
    /// Begins with what features offer.
    pub(super) fn authenticate(&mut self, features: &Element) -> Result<(), Ending> {
        let uses_sasl2 = self.login.uses_sasl2 && self.tls.is_some();
        let offer = Offer::read(features, uses_sasl2).ok_or(Ending::NoCommonFeature("authentication"))?;
        self.step = Step::Authenticating;
        self.offer = offer.clone();
        match &offer.sasl2 {
            Some(inline) => self.authenticate_sasl2(&offer, inline),
            None => {
                let (mechanism, message) = self.prove(&offer)?;
                self.out.extend_from_slice(format!("<auth xmlns='{}'", ns::SASL).as_bytes());
                write_attr(&mut self.out, "mechanism", mechanism.name());
                self.out.extend_from_slice(format!(">{}</auth>", encode_message(&message)).as_bytes());
                Ok(())
            }
        }
    }

    /// Chooses a mechanism and begins with it: its first message.
    pub(super) fn prove(&mut self, offer: &Offer) -> Result<(Mechanism, Vec<u8>), Ending> {
        let channel = offer.channel(self.tls.as_ref());
        let can_use = |mechanism: &Mechanism| {
            offer.has(*mechanism)
                && (!mechanism.is_bound() || channel.is_some())
                && (*mechanism != Mechanism::Plain || self.tls.is_some())
        };
        let mechanism = self.login.mechanisms.iter().copied().find(can_use);
        let mechanism = mechanism.ok_or(Ending::NoCommonFeature("SASL mechanism"))?;
        let username = self.login.account.localpart().unwrap_or_default().to_owned();
        let Some(hash) = mechanism.hash() else {
            self.proof = Some(Proof::Plain);
            let message = Message { authzid: None, authcid: username, password: self.login.password.clone() };
            return Ok((mechanism, message.render()));
        };
        let may_bind = self.login.mechanisms.iter().any(|mechanism| mechanism.is_bound());
        let offers_bound = Mechanism::ALL.into_iter().any(|mechanism| mechanism.is_bound() && offer.has(mechanism));
        let binding = match channel.filter(|_| mechanism.is_bound()) {
            Some((kind, data)) => Binding::Bound(kind, data),
            // Only who could have bound and was offered nothing to bind to says so.
            None if may_bind && self.tls.is_some() && !offers_bound => Binding::Unoffered,
            None => Binding::Unsupported,
        };
        let salted = self.login.salted.take().filter(|(of, _)| *of == hash).map(|(_, salted)| salted);
        let password = self.login.password.expose();
        let mechanisms: Vec<&str> = offer.mechanisms.iter().map(String::as_str).collect();
        let bindings: Option<Vec<&str>> =
            offer.bindings.as_ref().map(|bindings| bindings.iter().map(String::as_str).collect());
        let tls = self.tls.as_ref().map(|facts| facts.version);
        let exchange = ClientExchange::new(hash, binding, None, &username, password, &self.login.nonce, salted)
            .with_offer(&mechanisms, bindings.as_deref(), tls);
        let first = exchange.first().into_bytes();
        self.proof = Some(Proof::Scram(hash, Box::new(exchange)));
        Ok((mechanism, first))
    }

    /// The answer to a challenge, in base64.
    pub(super) fn respond(&mut self, challenge: &str) -> Result<String, Ending> {
        let Some(Proof::Scram(_, exchange)) = &mut self.proof else {
            return Err(Ending::Distrusted(Distrust::Malformed));
        };
        let message = decode_message(challenge.trim()).unwrap_or_default();
        let answer = exchange.respond(&message).map_err(Ending::Distrusted)?;
        Ok(encode_message(answer.as_bytes()))
    }

    /// Whether the server has proven itself by its last message. It need not say one where it cannot.
    pub(super) fn check(&mut self, last: &str) -> Result<(), Ending> {
        let message = decode_message(last.trim()).unwrap_or_default();
        match self.proof.take() {
            Some(Proof::Scram(hash, exchange)) => {
                let salted = exchange.finish(&message).map_err(Ending::Distrusted)?;
                self.login.salted = Some((hash, salted));
                Ok(())
            }
            Some(Proof::Token { secret, channel }) => {
                let is_proven = crate::sasl::token::is_answered(&message, &secret, &channel);
                if is_proven { Ok(()) } else { Err(Ending::Distrusted(Distrust::Signature)) }
            }
            Some(Proof::Plain) => Ok(()),
            // Nothing was begun that could have succeeded.
            None => Err(Ending::Distrusted(Distrust::Malformed)),
        }
    }

    /// Takes an element while the exchange of RFC 6120 is under way.
    pub(super) fn take_sasl(&mut self, element: &Element) -> Result<(), Ending> {
        match element.name() {
            "challenge" => {
                let answer = self.respond(&element.text())?;
                let text = ["<response xmlns='", ns::SASL, "'>", &answer, "</response>"].concat();
                self.out.extend_from_slice(text.as_bytes());
            }
            "success" => {
                self.check(&element.text())?;
                self.is_authenticated = true;
                self.framer.restart();
                self.step = Step::Features;
                self.send_header();
            }
            _ => return Err(refused(element)),
        }
        Ok(())
    }

    /// The token is of no use any more: the password is tried instead.
    pub(super) fn drop_token(&mut self) -> Result<(), Ending> {
        self.login.token = None;
        self.events.push_back(Event::TokenRefused);
        let offer = self.offer.clone();
        let inline = offer.sasl2.clone().unwrap_or_default();
        self.authenticate_sasl2(&offer, &inline)
    }
}

/// What a `<failure/>` says, of either profile.
pub(super) fn refused(failure: &Element) -> Ending {
    let mut conditions = failure.children().filter(|child| child.has_ns(ns::SASL));
    Ending::NotAuthenticated(conditions.next().map_or("not-authorized", Element::name).to_owned())
}
