//! What server streams are told when they begin, made once from the configuration; and the house's dialback secret.

use std::sync::Arc;
use std::time::Duration;

use store::{Fault, Store};
use xmpp::limits::Limits;
use xmpp::stream::Tls;
use xmpp::stream::server::{Secret, Settings};

use crate::config::Config;
use crate::extension::{Spec, Xep};
use crate::router::Router;
use crate::runtime::Ids;
use crate::tables::installation;

/// What belongs to server streams rather than to an extension.
pub static SPEC: Spec = Spec {
    name: "s2s",
    xeps: &[
        Xep::complete(178, "1.2"),
        Xep::complete(185, "1.0"),
        Xep::complete(198, "1.6.3"),
        Xep::partial(220, "1.1.1"),
        Xep::complete(288, "1.0.1"),
        Xep::partial(344, "0.4"),
        Xep::partial(478, "0.2.0"),
    ],
    config: "",
};

/// The name of the secret that dialback keys are made from, in [`Table::Installation`].
const SECRET: &str = "dialback";

/// Reads the secret that dialback keys are made from; draws it when there is none yet.
///
/// # Errors
/// When the store fails.
pub async fn load_secret(store: &Arc<dyn Store>, ids: &dyn Ids) -> Result<Secret, Fault> {
    Ok(Secret::new(&installation::secret(store, ids, SECRET).await?))
}

/// The settings for each kind of beginning.
#[derive(Debug)]
pub(super) struct AllSettings {
    required: Arc<Settings>,
    optional: Arc<Settings>,
    direct: Arc<Settings>,
    accepts_clear: bool,
}

impl AllSettings {
    pub(super) fn new(config: &Config, router: &Router, secret: &Secret) -> Self {
        let s2s = &config.s2s;
        let mut settings = Settings::new(router.hosts().chain(router.components()), secret.clone());
        // The first speaks for us where the peer names none we know; the order of a set is nobody's wish.
        let first = config.hosts.first().map(|host| host.domain.to_lowercase()).unwrap_or_default();
        settings.domains.sort_by_key(|domain| (**domain != *first, domain.clone()));
        settings.bidi = s2s.bidi;
        settings.acks = s2s.stream_management;
        settings.limits = Limits {
            stanza_bytes_max: s2s.stanza_bytes_max,
            depth_max: config.limits.depth_max,
            attributes_max: config.limits.attributes_max,
            elements_max: config.limits.elements_max,
            ..Limits::server()
        };
        settings.unauthenticated_bytes_max = s2s.unauthenticated_bytes_max;
        settings.negotiation_time_max = Duration::from_secs(s2s.handshake_seconds_max);
        settings.idle_time_max = Some(Duration::from_secs(s2s.idle_seconds));
        settings.pairs_max = s2s.pairs_per_connection_max;
        let accepts_clear = !s2s.tls_required || s2s.domains.iter().any(|rule| rule.tls_required == Some(false));
        Self {
            required: Arc::new(Settings { tls: Tls::Required, ..settings.clone() }),
            optional: Arc::new(Settings { tls: Tls::Optional, ..settings.clone() }),
            direct: Arc::new(Settings { tls: Tls::Unavailable, ..settings }),
            accepts_clear,
        }
    }

    /// For connections made to us.
    pub(super) fn accepting(&self, is_direct: bool) -> Arc<Settings> {
        self.dialling(is_direct, !self.accepts_clear)
    }

    /// For connections we make.
    pub(super) fn dialling(&self, is_direct: bool, tls_required: bool) -> Arc<Settings> {
        Arc::clone(match (is_direct, tls_required) {
            (true, _) => &self.direct,
            (false, true) => &self.required,
            (false, false) => &self.optional,
        })
    }
}
