//! The `[components]` section and the `[[component]]` tables: programs beside the server that serve domains of their
//! own (XEP-0114), and what they may do in the name of others (XEP-0355, XEP-0356).

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

use super::ConfigError;

/// Where components connect, and their bounds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Components {
    /// Addresses to listen on; empty: no listener. There is no TLS here.
    pub listen: Vec<SocketAddr>,
    /// Seconds from a connection to a good handshake.
    pub handshake_seconds_max: u64,
    /// Bytes read from a connection before its handshake is good.
    pub unauthenticated_bytes_max: usize,
    /// Bytes of one stanza from a component.
    pub stanza_bytes_max: usize,
    /// Bytes a second read from one component on average, all its connections together; more is read later.
    pub read_bytes_per_second_max: u64,
    /// Bytes waiting for one connection; the next stanza is answered with `resource-constraint`.
    pub queue_bytes_max: usize,
    /// Connections at a time, in all, with a good handshake or without.
    pub connections_max: usize,
    /// Connections from one address (IPv4) or one /64 (IPv6); loopback is not counted.
    pub connections_per_address_max: usize,
}

impl Default for Components {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            handshake_seconds_max: 30,
            unauthenticated_bytes_max: 16 << 10,
            stanza_bytes_max: 512 << 10,
            read_bytes_per_second_max: 8 << 20,
            queue_bytes_max: 8 << 20,
            connections_max: 256,
            connections_per_address_max: 64,
        }
    }
}

/// One component.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Its domain.
    pub name: String,
    /// What it shares with us and proves to know.
    pub secret: String,
    /// Network addresses it may connect from; empty: all that reach the listener.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Connections at a time. What is for the component is spread over them.
    #[serde(default = "one")]
    pub connections_max: usize,
    /// What happens to one connection more.
    #[serde(default)]
    pub on_conflict: OnConflict,
    /// What keeps stanzas on one of several connections.
    #[serde(default)]
    pub balance: Balance,
    /// The host whose service it is; none: the one whose domain it is below, or else the first.
    #[serde(default)]
    pub host: Option<String>,
    /// Whether it is one of its host's items in service discovery.
    #[serde(default = "yes")]
    pub is_listed: bool,
    /// What it is called there.
    #[serde(default)]
    pub label: Option<String>,
    /// What it may do in the name of the host's accounts (XEP-0356).
    #[serde(default)]
    pub privileges: Privileges,
    /// What is handled by it instead of the server (XEP-0355).
    #[serde(default, rename = "delegation")]
    pub delegations: Vec<Delegation>,
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the secret.
        f.debug_struct("Component")
            .field("name", &self.name)
            .field("addresses", &self.addresses)
            .field("connections_max", &self.connections_max)
            .field("on_conflict", &self.on_conflict)
            .field("balance", &self.balance)
            .field("host", &self.host)
            .field("is_listed", &self.is_listed)
            .field("label", &self.label)
            .field("privileges", &self.privileges)
            .field("delegations", &self.delegations)
            .finish_non_exhaustive()
    }
}

impl Component {
    /// Its domain, prepared.
    #[must_use]
    pub fn domain(&self) -> Option<Box<str>> {
        domain_of(&self.name)
    }

    /// The host whose service it is: the one that is named, else the nearest above it, else the first.
    #[must_use]
    pub fn host_in(&self, config: &super::Config) -> Box<str> {
        let hosts = || config.hosts.iter().filter_map(|host| domain_of(&host.domain));
        let name = self.domain().unwrap_or_default();
        let is_below = |host: &str| name.strip_suffix(host).is_some_and(|rest| rest.ends_with('.'));
        let named = self.host.as_deref().and_then(domain_of);
        named
            .or_else(|| hosts().filter(|host| is_below(host)).max_by_key(|host| host.len()))
            .or_else(|| hosts().next())
            .unwrap_or_default()
    }
}

fn domain_of(name: &str) -> Option<Box<str>> {
    xmpp::Jid::new(name).ok().filter(xmpp::Jid::is_domain).map(|jid| jid.domain().into())
}

/// What happens to a connection for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// It is refused with `conflict`.
    #[default]
    Refuse,
    /// It gets the place of the oldest, which is closed with `conflict`.
    Replace,
}

/// Whose stanzas stay on one of several connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Balance {
    /// Those of one sender.
    #[default]
    Sender,
    /// Those to one recipient.
    Recipient,
    /// Those of one sender to one recipient.
    Pair,
}

/// Which requests are permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// None.
    #[default]
    None,
    /// Those of type `get`.
    Get,
    /// Those of type `set`.
    Set,
    /// All.
    Both,
}

impl Access {
    /// Whether requests of this type are permitted.
    #[must_use]
    pub fn permits(self, is_set: bool) -> bool {
        matches!((self, is_set), (Self::Both, _) | (Self::Get, false) | (Self::Set, true))
    }

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Get => "get",
            Self::Set => "set",
            Self::Both => "both",
        }
    }
}

/// Whose presence is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PresenceAccess {
    /// Nobody's.
    #[default]
    None,
    /// That of the accounts.
    ManagedEntity,
    /// That of the accounts and their contacts.
    Roster,
}

/// What a component may do in the name of the accounts of its host (XEP-0356).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Privileges {
    /// Their rosters.
    pub roster: Access,
    /// Whether it hears of changes in them; none: if it may read them.
    pub roster_push: Option<bool>,
    /// Messages in their names.
    pub message: MessageAccess,
    /// Their presence.
    pub presence: PresenceAccess,
    /// IQs in their names.
    pub iq: Vec<IqAccess>,
}

impl Privileges {
    /// Whether there are any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether changes in rosters are told.
    #[must_use]
    pub fn pushes_roster(&self) -> bool {
        self.roster.permits(false) && self.roster_push != Some(false)
    }
}

/// Whether messages may be sent in the names of accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageAccess {
    /// No.
    #[default]
    None,
    /// Yes.
    Outgoing,
}

/// IQs that may be sent in the names of accounts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IqAccess {
    /// The namespace of their payload.
    pub namespace: String,
    /// Their types.
    #[serde(rename = "type")]
    pub access: Access,
}

/// A namespace that a component handles instead of the server (XEP-0355).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delegation {
    /// The namespace of the payload of IQs to the host or its accounts.
    pub namespace: String,
    /// Attributes the payload must have for it.
    #[serde(default)]
    pub attributes: Vec<String>,
}

const fn one() -> usize {
    1
}

const fn yes() -> bool {
    true
}

/// Components there may be.
const COMPONENTS_MAX: usize = 1_000;

pub(super) fn check(section: &Components, components: &[Component], hosts: &[super::Host]) -> Result<(), ConfigError> {
    let wrong = |message: String| Err(ConfigError::new(message));
    let bounds = [
        ("handshake_seconds_max", section.handshake_seconds_max == 0),
        ("unauthenticated_bytes_max", section.unauthenticated_bytes_max < 1024),
        ("stanza_bytes_max", section.stanza_bytes_max < 10_000),
        ("read_bytes_per_second_max", section.read_bytes_per_second_max == 0),
        ("queue_bytes_max", section.queue_bytes_max == 0),
        ("connections_max", section.connections_max == 0),
        ("connections_per_address_max", section.connections_per_address_max == 0),
    ];
    if let Some((name, _)) = bounds.iter().find(|(_, is_wrong)| *is_wrong) {
        return wrong(format!("`components.{name}` is too small to be of use"));
    }
    if components.len() > COMPONENTS_MAX {
        return wrong(format!("{} components are too many; {COMPONENTS_MAX} can be", components.len()));
    }
    for (index, component) in components.iter().enumerate() {
        let name = &component.name;
        if component.domain().is_none() {
            return wrong(format!("`component.name`: `{name}` is not a domain name"));
        }
        if component.secret.is_empty() {
            return wrong(format!("the component `{name}` has an empty `secret`"));
        }
        if component.connections_max == 0 {
            return wrong(format!("the component `{name}` may have no connection: `connections_max` is 0"));
        }
        if hosts.iter().any(|host| host.domain.eq_ignore_ascii_case(name)) {
            return Err(ConfigError::new(format!("`{name}` is a [[host]] and a [[component]]"))
                .with_hint("give the component a domain of its own, as irc.example.org"));
        }
        if components.iter().take(index).any(|other| other.name.eq_ignore_ascii_case(name)) {
            return Err(ConfigError::new(format!("two [[component]] sections for `{name}`")).with_hint("keep one"));
        }
        if let Some(host) = &component.host
            && !hosts.iter().any(|other| other.domain.eq_ignore_ascii_case(host))
        {
            return wrong(format!("the component `{name}` is to be of the host `{host}`, which is none"));
        }
        let privileges = &component.privileges;
        if privileges.presence == PresenceAccess::Roster && !privileges.roster.permits(false) {
            return Err(ConfigError::new(format!(
                "the component `{name}` may not be told its users' contacts' presence"
            ))
            .with_hint("`presence = \"roster\"` needs `roster = \"get\"` or \"both\" (XEP-0356)"));
        }
        for delegation in &component.delegations {
            if delegation.namespace.is_empty() || delegation.namespace == xmpp::ns::DELEGATION {
                return Err(ConfigError::new(format!(
                    "`{}` cannot be delegated to the component `{name}`",
                    delegation.namespace
                ))
                .with_hint("delegation itself stays with the server (XEP-0355, business rule 5)"));
            }
            let others = components.iter().take(index + 1).flat_map(|other| &other.delegations);
            if others.filter(|other| other.namespace == delegation.namespace).count() > 1 {
                return wrong(format!("`{}` is delegated twice", delegation.namespace));
            }
        }
    }
    Ok(())
}
