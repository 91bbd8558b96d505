//! The `[limits]` section: every bound on what a stranger, a client or an account may make the server do.
//!
//! Names carry their unit and end in `_max`. What happens at each bound is written beside it in the example below,
//! which is also what `config.example.toml` shows. No value may be zero: a bound of nothing refuses everything.

use serde::Deserialize;

use super::ConfigError;

macro_rules! limits {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $value:expr;)*) => {
        /// Every bound, with its unit in its name.
        #[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Limits {
            $($(#[$doc])* pub $name: $type,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $value,)* }
            }
        }

        impl Limits {
            /// Each key with its value, in the order of the example.
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name as u64),)*]
            }
        }
    };
}

limits! {
    /// Bytes of one stanza; more ends the stream with `policy-violation`. RFC 6120 section 13.12 asks for at least 10000.
    stanza_bytes_max: usize = 262_144;
    /// Elements inside elements in one stanza.
    depth_max: usize = 64;
    /// Attributes on one element.
    attributes_max: usize = 64;
    /// Elements in one stanza.
    elements_max: usize = 16_384;
    /// Seconds from accepting a connection to a bound session.
    unauthenticated_seconds_max: u64 = 60;
    /// Bytes read from a connection before it has authenticated.
    unauthenticated_bytes_max: usize = 65_536;
    /// Failed authentications on one stream before it is closed. RFC 6120 section 6.4.5 recommends 2 to 5.
    authentication_attempts_max: usize = 4;
    /// Connections at a time from one address (IPv4) or one /64 (IPv6); loopback is not counted.
    connections_per_address_max: usize = 256;
    /// Connections at a time in all.
    connections_max: usize = 100_000;
    /// Sessions of one account at a time; the next is refused with `resource-constraint`.
    sessions_per_account_max: usize = 32;
    /// Bytes waiting to be written to one session; a session that is slower is closed with `resource-constraint`.
    mailbox_bytes_max: usize = 4_194_304;
    /// Bytes a second read from one authenticated stream, on average; faster ones are read later.
    read_bytes_per_second_max: u64 = 4_194_304;
    /// Seconds without a byte from a client until it is asked for a sign of life, and then closed.
    idle_seconds_max: u64 = 300;
    /// Accounts opened from one address in an hour, where registration is open.
    registrations_per_address_per_hour_max: usize = 5;
    /// Messages kept for one account while it is away; the next is answered with `service-unavailable`.
    offline_messages_per_account_max: usize = 1_000;
    /// Contacts in one roster.
    roster_items_max: usize = 50_000;
    /// Addresses in one blocklist.
    blocklist_items_max: usize = 5_000;
    /// Bytes of one account's private XML storage (XEP-0049).
    private_bytes_max: usize = 262_144;
    /// Bytes of one vCard (XEP-0054).
    vcard_bytes_max: usize = 196_608;
    /// Addresses one session may have sent directed presence to.
    directed_presences_max: usize = 1_000;
    /// Bytes of one published payload; more is `not-acceptable` with `payload-too-big`.
    pubsub_payload_bytes_max: usize = 196_608;
    /// Nodes of one account, comment nodes of its posts included.
    pubsub_nodes_per_account_max: usize = 1_000_000;
    /// Items of one node; `max_items` can ask for no more than this.
    pubsub_items_per_node_max: usize = 10_000_000;
    /// Subscriptions to one node.
    pubsub_subscriptions_per_node_max: usize = 1_000_000;
    /// Affiliations on one node other than `none`.
    pubsub_affiliations_per_node_max: usize = 10_000;
    /// Items in one answer; for more, ask for the next page (XEP-0059).
    pubsub_page_items_max: usize = 100;
}

impl Limits {
    /// The snippet for `config.example.toml`.
    pub const EXAMPLE: &str = include_str!("limits.toml");

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        for (name, value) in self.entries() {
            if value == 0 {
                return Err(ConfigError::new(format!("`limits.{name}` is 0, which would refuse everything"))
                    .with_hint("leave the key out for the default"));
            }
        }
        if self.stanza_bytes_max < 10_000 {
            return Err(ConfigError::new(format!("`limits.stanza_bytes_max` is {}", self.stanza_bytes_max))
                .with_hint("RFC 6120 section 13.12 asks for at least 10000"));
        }
        if self.pubsub_payload_bytes_max >= self.stanza_bytes_max {
            return Err(ConfigError::new(format!(
                "`limits.pubsub_payload_bytes_max` ({}) does not fit in a stanza",
                self.pubsub_payload_bytes_max
            ))
            .with_hint(format!("choose less than `limits.stanza_bytes_max` ({})", self.stanza_bytes_max)));
        }
        Ok(())
    }
}
