//! Policy: with which domains we talk, and on what terms. A lookup in what the configuration says, and nothing else.
//!
//! The most exact rule counts: the domain itself, then the longest `*.suffix` it is below, then the section's own
//! values. In allow-list mode a domain that no rule names is treated as blocked.

use std::collections::HashMap;
use std::sync::Arc;

use xmpp::StanzaError;

use crate::config::s2s::{Action, DomainRule, Mode, S2s};
use crate::net::seek::Override;

/// The terms on which one domain is talked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Whether it is talked to at all.
    pub is_allowed: bool,
    /// Whether streams must be encrypted.
    pub tls_required: bool,
    /// Whether its certificate must be good for it.
    pub require_valid_certificate: bool,
    /// Whether it may prove itself by dialback, and we to it.
    pub dialback: bool,
    /// Where to find it, and the name its certificate is for, if not as DNS says.
    pub chosen: Option<Override>,
    /// Bytes that may wait for it.
    pub queue_bytes_max: usize,
    /// Bytes a second read from it, on average.
    pub read_bytes_per_second_max: u64,
    /// Authenticated streams from it at a time.
    pub connections_max: usize,
}

/// All terms, ready for lookup.
#[derive(Debug)]
pub struct Policy {
    otherwise: Arc<Terms>,
    exact: HashMap<Box<str>, Arc<Terms>>,
    below: HashMap<Box<str>, Arc<Terms>>,
}

impl Policy {
    /// What `config` says.
    ///
    /// # Errors
    /// A sentence that names the key and what is wrong with it.
    pub fn new(config: &S2s) -> Result<Self, String> {
        let otherwise = Terms {
            is_allowed: config.mode == Mode::Open,
            tls_required: config.tls_required,
            require_valid_certificate: config.require_valid_certificate,
            dialback: config.dialback,
            chosen: None,
            queue_bytes_max: config.queue_bytes_max,
            read_bytes_per_second_max: config.read_bytes_per_second_max,
            connections_max: config.connections_per_domain_max,
        };
        let (mut exact, mut below) = (HashMap::new(), HashMap::new());
        for rule in &config.domains {
            let terms = Arc::new(terms(rule, &otherwise)?);
            let (name, rules) = match rule.name.strip_prefix("*.") {
                Some(name) => (name, &mut below),
                None => (rule.name.as_str(), &mut exact),
            };
            let name = xmpp::Jid::new(name)
                .ok()
                .filter(xmpp::Jid::is_domain)
                .ok_or_else(|| format!("`s2s.domain`: `{}` is not a domain name", rule.name))?;
            rules.insert(Box::from(name.domain()), terms);
        }
        Ok(Self { otherwise: Arc::new(otherwise), exact, below })
    }

    /// The terms for `domain`, prepared.
    #[must_use]
    pub fn terms(&self, domain: &str) -> &Arc<Terms> {
        if let Some(terms) = self.exact.get(domain) {
            return terms;
        }
        if !self.below.is_empty() {
            let mut rest = domain;
            while let Some((_, parent)) = rest.split_once('.') {
                if let Some(terms) = self.below.get(parent) {
                    return terms;
                }
                rest = parent;
            }
        }
        &self.otherwise
    }

    /// Whether any domain but those with a rule of their own is talked to.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.otherwise.is_allowed
    }

    /// What the sender of a stanza to a domain that is not talked to is told.
    #[must_use]
    pub fn refusal() -> StanzaError {
        StanzaError::not_allowed().with_text("this server does not talk to that domain")
    }
}

fn terms(rule: &DomainRule, otherwise: &Terms) -> Result<Terms, String> {
    let chosen = match rule.address.as_deref() {
        Some(address) => {
            let wrong = || format!("`s2s.domain.address`: `{address}` is neither `host` nor `host:port`");
            let (host, port) = place(address).ok_or_else(wrong)?;
            Some(Override { host: Some(host), port, is_direct: rule.direct_tls, tls_name: rule.tls_name.clone() })
        }
        None => rule.tls_name.clone().map(|name| Override { tls_name: Some(name), ..Override::default() }),
    };
    Ok(Terms {
        is_allowed: rule.action == Action::Allow,
        tls_required: rule.tls_required.unwrap_or(otherwise.tls_required),
        require_valid_certificate: rule.require_valid_certificate.unwrap_or(otherwise.require_valid_certificate),
        dialback: rule.dialback.unwrap_or(otherwise.dialback),
        chosen,
        queue_bytes_max: rule.queue_bytes_max.unwrap_or(otherwise.queue_bytes_max),
        read_bytes_per_second_max: rule.read_bytes_per_second_max.unwrap_or(otherwise.read_bytes_per_second_max),
        connections_max: rule.connections_max.unwrap_or(otherwise.connections_max),
    })
}

/// Host and port of `host`, `host:port`, an address, or an address and a port.
fn place(address: &str) -> Option<(String, Option<u16>)> {
    if let Ok(socket) = address.parse::<std::net::SocketAddr>() {
        return Some((socket.ip().to_string(), Some(socket.port())));
    }
    let unbracketed = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if let Ok(ip) = unbracketed.parse::<std::net::IpAddr>() {
        return Some((ip.to_string(), None));
    }
    let (host, port) = match address.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (address, None),
    };
    let is_name = !host.is_empty() && host.len() <= 255 && !host.contains([':', '/', '@', ' ', '[', ']']);
    is_name.then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::config::Config;

    fn policy(text: &str) -> Policy {
        Policy::new(&Config::parse(text, None).unwrap().s2s).unwrap()
    }

    #[test]
    fn the_most_exact_rule_counts() {
        let policy = policy(
            "[[s2s.domain]]\nname = \"*.example\"\naction = \"block\"\n\
             [[s2s.domain]]\nname = \"*.good.example\"\n\
             [[s2s.domain]]\nname = \"bad.good.example\"\naction = \"block\"\ndialback = false\n",
        );
        for (domain, is_allowed) in [
            ("example", true),
            ("other.example", false),
            ("deep.other.example", false),
            ("good.example", false),
            ("a.good.example", true),
            ("a.b.good.example", true),
            ("bad.good.example", false),
            ("a.bad.good.example", true),
            ("verona.lit", true),
        ] {
            assert_eq!(policy.terms(domain).is_allowed, is_allowed, "{domain}");
        }
        assert!(!policy.terms("bad.good.example").dialback);
        assert!(policy.terms("a.good.example").dialback, "what a rule does not say is as everywhere");
    }

    #[test]
    fn an_allow_list_allows_what_it_lists() {
        let policy = policy(
            "[s2s]\nmode = \"allow-list\"\n[[s2s.domain]]\nname = \"verona.lit\"\n[[s2s.domain]]\nname = \"*.verona.lit\"\n",
        );
        assert!(policy.terms("verona.lit").is_allowed && policy.terms("rooms.verona.lit").is_allowed);
        assert!(!policy.terms("mantua.lit").is_allowed && !policy.terms("notverona.lit").is_allowed);
    }

    #[test]
    fn places_are_read_in_every_notation() {
        for (text, host, port) in [
            ("xmpp.verona.lit", "xmpp.verona.lit", None),
            ("xmpp.verona.lit:5270", "xmpp.verona.lit", Some(5270)),
            ("192.0.2.1", "192.0.2.1", None),
            ("192.0.2.1:1", "192.0.2.1", Some(1)),
            ("2001:db8::1", "2001:db8::1", None),
            ("[2001:db8::1]", "2001:db8::1", None),
            ("[2001:db8::1]:1", "2001:db8::1", Some(1)),
        ] {
            assert_eq!(place(text), Some((host.to_owned(), port)), "{text}");
        }
        for text in ["", ":1", "verona.lit:port", "verona.lit:70000", "a/b", "a b"] {
            assert_eq!(place(text), None, "{text}");
        }
    }
}
