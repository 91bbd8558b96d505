//! Whom an address names, as seen from this house. A pure function.

use std::collections::HashSet;

use xmpp::{BareJid, FullJid, Jid};

/// Where a stanza goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A domain this house serves (a resource of the domain counts as the domain).
    Domain(BareJid),
    /// The bare address of an account here, whether it exists or not.
    Account(BareJid),
    /// One resource of an account here.
    Resource(FullJid),
    /// A service of this house with a domain of its own (a resource of it counts as the service).
    Service(BareJid),
    /// Another server's domain.
    Remote(Box<str>),
}

/// Classifies `to` against the domains served: `hosts` have accounts, services have none. What is before the `@` of a
/// service's domain is an account that does not exist.
#[must_use]
pub fn classify(to: &Jid, hosts: &HashSet<Box<str>>, is_service: impl FnOnce(&str) -> bool) -> Destination {
    let is_host = hosts.contains(to.domain());
    if !is_host && !is_service(to.domain()) {
        return Destination::Remote(to.domain().into());
    }
    if to.localpart().is_none() {
        return if is_host { Destination::Domain(to.to_bare()) } else { Destination::Service(to.to_bare()) };
    }
    match to.to_full() {
        Some(full) => Destination::Resource(full),
        None => Destination::Account(to.to_bare()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::{Destination, classify};
    use xmpp::Jid;

    #[test]
    fn every_kind_of_address_has_one_destination() {
        let hosts = ["here.example".into()].into();
        let at = |jid: &str| classify(&Jid::new(jid).unwrap(), &hosts, |domain| domain == "pubsub.here.example");
        assert!(matches!(at("here.example"), Destination::Domain(domain) if domain.as_str() == "here.example"));
        assert!(matches!(at("here.example/admin"), Destination::Domain(domain) if domain.as_str() == "here.example"));
        assert!(matches!(at("romeo@here.example"), Destination::Account(_)));
        assert!(matches!(at("romeo@here.example/orchard"), Destination::Resource(_)));
        assert!(matches!(at("romeo@there.example"), Destination::Remote(domain) if &*domain == "there.example"));
        assert!(matches!(at("sub.here.example"), Destination::Remote(_)));
        assert!(matches!(at("pubsub.here.example"), Destination::Service(_)));
        assert!(
            matches!(at("pubsub.here.example/node"), Destination::Service(at) if at.as_str() == "pubsub.here.example")
        );
        assert!(matches!(at("nobody@pubsub.here.example"), Destination::Account(_)));
    }
}
