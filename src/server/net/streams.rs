//! What our client streams offer: the settings of the stream machine, made once from configuration and wiring.

use std::sync::Arc;
use std::time::Duration;

use xmpp::limits::Limits;
use xmpp::sasl::token::TokenMechanism;
use xmpp::sasl::{Hash, Mechanism};
use xmpp::stream::{Sasl2, Settings, Tls};
use xmpp::xml::element_bytes;
use xmpp::{Element, ns};

use crate::config::{Config, Registration};
use crate::extension::{Spec, Xep};
use crate::extensions::caps;
use crate::router::Router;

/// What belongs to streams as such rather than to an extension.
pub static SPEC: Spec = Spec {
    name: "streams",
    xeps: &[
        Xep::complete(352, "1.0.0"),
        Xep::complete(368, "1.1.0"),
        Xep::complete(386, "1.1.0"),
        Xep::complete(388, "1.0.4"),
        Xep::declined(397, "0.1.1"),
        Xep::complete(440, "1.0.0"),
        Xep::complete(474, "0.5.0"),
        Xep::complete(480, "0.2.0"),
        Xep::complete(484, "0.2.0"),
        Xep::complete(509, "0.2.0"),
        Xep::complete(515, "0.1.0"),
    ],
    config: "",
};

/// The settings for each door.
#[derive(Debug)]
pub struct Streams {
    start_tls: Arc<Settings>,
    direct_tls: Arc<Settings>,
}

impl Streams {
    /// What `config` allows and `router` is wired for.
    #[must_use]
    pub fn new(config: &Config, router: &Router) -> Self {
        let limits = &config.limits;
        let domains = config.hosts.iter().map(|host| host.domain.to_lowercase());
        let mut settings = Settings::new(domains);
        settings.registration = config.registration != Registration::Closed;
        settings.invitations = settings.registration;
        settings.limits = Limits {
            stanza_bytes_max: limits.stanza_bytes_max,
            depth_max: limits.depth_max,
            attributes_max: limits.attributes_max,
            elements_max: limits.elements_max,
            ..Limits::client()
        };
        settings.unauthenticated_bytes_max = limits.unauthenticated_bytes_max;
        settings.negotiation_time_max = Duration::from_secs(limits.unauthenticated_seconds_max);
        settings.authentications_max = u8::try_from(limits.authentication_attempts_max).unwrap_or(u8::MAX);
        settings.acks = config.c2s.stream_management;
        settings.client_states = true;
        settings.tells_limits = true;
        settings.idle_seconds = Some(limits.idle_seconds_max);
        let bind2 = router.wiring().bind2.iter().filter(|(_, is_offered, _)| *is_offered);
        settings.sasl2 = Some(Sasl2 {
            bind_features: bind2.map(|(ns, ..)| Box::from(*ns)).collect(),
            tokens: TokenMechanism::ALL.to_vec(),
            upgrades: vec![Hash::Sha512],
        });
        if config.c2s.scram_sha_512 {
            settings.mechanisms.extend([Mechanism::ScramSha512Plus, Mechanism::ScramSha512]);
            settings.mechanisms.sort_unstable();
        }
        if config.c2s.client_certificates {
            // The machine offers it to those only who have shown one that is worth something.
            settings.mechanisms.insert(0, Mechanism::External);
        }
        settings.features = vec![
            element_bytes(&caps::stream_feature(router)),
            element_bytes(&Element::builder("ver", ns::ROSTER_VERSIONING).build()),
            element_bytes(&Element::builder("sub", ns::PRE_APPROVAL).build()),
        ];
        let start_tls = if config.c2s.tls_required { Tls::Required } else { Tls::Optional };
        Self {
            start_tls: Arc::new(Settings { tls: start_tls, ..settings.clone() }),
            direct_tls: Arc::new(Settings { tls: Tls::Unavailable, ..settings }),
        }
    }

    /// For connections that begin in the clear.
    #[must_use]
    pub fn start_tls(&self) -> Arc<Settings> {
        Arc::clone(&self.start_tls)
    }

    /// For connections that begin with TLS.
    #[must_use]
    pub fn direct_tls(&self) -> Arc<Settings> {
        Arc::clone(&self.direct_tls)
    }
}
