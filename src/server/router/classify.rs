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
    /// Another server's domain.
    Remote(Box<str>),
}

/// Classifies `to` against the domains served.
#[must_use]
pub fn classify(to: &Jid, hosts: &HashSet<Box<str>>) -> Destination {
    if !hosts.contains(to.domain()) {
        return Destination::Remote(to.domain().into());
    }
    if to.localpart().is_none() {
        return Destination::Domain(to.to_bare());
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
        let at = |jid: &str| classify(&Jid::new(jid).unwrap(), &hosts);
        assert!(matches!(at("here.example"), Destination::Domain(domain) if domain.as_str() == "here.example"));
        assert!(matches!(at("here.example/admin"), Destination::Domain(domain) if domain.as_str() == "here.example"));
        assert!(matches!(at("romeo@here.example"), Destination::Account(_)));
        assert!(matches!(at("romeo@here.example/orchard"), Destination::Resource(_)));
        assert!(matches!(at("romeo@there.example"), Destination::Remote(domain) if &*domain == "there.example"));
        assert!(matches!(at("sub.here.example"), Destination::Remote(_)));
    }
}
