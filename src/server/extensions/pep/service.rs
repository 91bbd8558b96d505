//! Services with a domain of their own (XEP-0060 as a whole; XEP-0277 section 4 wants one for comments, XEP-0503 one for
//! spaces): where they are, who may create nodes there, and what they offer.
//!
//! All are the same: what a node holds is known by its name and its configuration, not by the service it is in. They
//! have addresses of their own because clients look for them there.

use std::sync::Arc;

use serde::Deserialize;
use xmpp::{BareJid, ns};

use super::{Pep, discovery, features, pending};
use crate::config::{Config, ConfigError};
use crate::extension::{Identity, Mount, Service, To};

/// The section of the configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Section {
    /// Labels before the domain of each host; none switches the services off.
    pub services: Vec<String>,
    /// Who may create nodes.
    pub create: Create,
    /// Nodes of one creator in one service.
    pub nodes_per_creator_max: u64,
    /// Items in all nodes of one creator in one service.
    pub items_per_creator_max: u64,
    /// Items of a guest in one home in a minute; 0 is no bound.
    pub items_per_minute_max: u64,
}

/// Who may create nodes in the services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Create {
    /// The accounts of this server.
    #[default]
    Local,
    /// Anyone, from any server.
    Anyone,
    /// The administrators.
    Admins,
}

pub(super) const EXAMPLE: &str = "[pubsub]\n\
    # Pubsub services of each host: labels before its domain, any of \"pubsub\", \"comments\" and \"spaces\". Other\n\
    # servers find them if DNS and the certificate name them too.\n\
    services = [\"pubsub\", \"comments\", \"spaces\"]\n\
    # Who may create nodes there: \"local\" (the accounts of this server), \"anyone\" or \"admins\". Others are forbidden.\n\
    create = \"local\"\n\
    # Of one creator in one service: nodes, and items in all of them. More is answered with max-nodes-exceeded, or\n\
    # resource-constraint.\n\
    nodes_per_creator_max = 10000\n\
    items_per_creator_max = 1000000\n\
    # Items that somebody may publish in a minute at one account, or one service, in nodes that are not theirs: comments,\n\
    # likes, posts where everybody may post. Each 4096 bytes of one count as another, and all guests from one server\n\
    # have a hundred times as much. More is answered with resource-constraint. 0 is no bound.\n\
    items_per_minute_max = 60\n";

/// The services there can be, how they are called, and what one has that the others have not.
const KINDS: [(&str, &str, &[&str]); 3] = [
    ("pubsub", "Publish-Subscribe", &[ns::TAGS, ns::DIRECTORY]),
    ("comments", "Comments", &[]),
    ("spaces", "Spaces", &[]),
];

impl Default for Section {
    fn default() -> Self {
        Self {
            services: KINDS.iter().map(|(label, ..)| (*label).to_owned()).collect(),
            create: Create::Local,
            nodes_per_creator_max: 10_000,
            items_per_creator_max: 1_000_000,
            items_per_minute_max: 60,
        }
    }
}

/// Where the services are, and their policy.
pub struct Hosting {
    services: Vec<(BareJid, Service)>,
    create: Create,
    hosts: Vec<BareJid>,
    admins: Vec<BareJid>,
    pub(super) nodes_per_creator_max: u64,
    pub(super) items_per_creator_max: u64,
    pub(super) items_per_minute_max: u64,
}

impl Hosting {
    /// The services of `config`'s hosts. A domain that is a host itself is no service.
    ///
    /// # Errors
    /// When the section names a service there is not, or a bound of nothing.
    pub fn new(config: &Config, section: Section) -> Result<Self, ConfigError> {
        let hosts: Vec<BareJid> = config.hosts.iter().filter_map(|host| BareJid::new(&host.domain).ok()).collect();
        let mut services = Vec::new();
        for label in &section.services {
            let Some((_, name, features)) = KINDS.iter().find(|(known, ..)| known == label) else {
                return Err(ConfigError::new(format!("`pubsub.services`: there is no `{label}`"))
                    .with_hint("choose from \"pubsub\", \"comments\" and \"spaces\""));
            };
            for host in &hosts {
                let domain = format!("{label}.{}", host.domain());
                let Some(domain) = BareJid::new(&domain).ok().filter(|domain| !hosts.contains(domain)) else {
                    continue;
                };
                services.push((domain, Service { host: host.domain().into(), name, features }));
            }
        }
        for (key, bound) in [
            ("nodes_per_creator_max", section.nodes_per_creator_max),
            ("items_per_creator_max", section.items_per_creator_max),
        ] {
            if bound == 0 {
                return Err(ConfigError::new(format!("`pubsub.{key}` is 0, which would refuse everything"))
                    .with_hint("leave the key out for the default"));
            }
        }
        Ok(Self {
            services,
            create: section.create,
            hosts,
            admins: config.admins.iter().filter_map(|admin| BareJid::new(admin).ok()).collect(),
            nodes_per_creator_max: section.nodes_per_creator_max,
            items_per_creator_max: section.items_per_creator_max,
            items_per_minute_max: section.items_per_minute_max,
        })
    }

    /// The service that lists the posts of an account under their hashtags: `pubsub.` before its domain.
    pub(super) fn tags_of(&self, account: &BareJid) -> Option<&BareJid> {
        let _is_account = account.localpart()?;
        let host = account.domain();
        let is_theirs = |domain: &str| domain.strip_prefix("pubsub.") == Some(host);
        self.services
            .iter()
            .find(|(domain, service)| *service.host == *host && is_theirs(domain.domain()))
            .map(|(domain, _)| domain)
    }

    /// Whether a home is a service that lists posts.
    pub(super) fn keeps_tags(&self, home: &BareJid) -> bool {
        home.localpart().is_none()
            && self.services.iter().any(|(domain, service)| {
                domain == home && domain.domain().strip_prefix("pubsub.") == Some(&*service.host)
            })
    }

    /// Whether an entity may create nodes (XEP-0060 section 8.1.1).
    pub(super) fn may_create(&self, entity: &BareJid) -> bool {
        let is_local =
            || entity.localpart().is_some() && self.hosts.iter().any(|host| host.domain() == entity.domain());
        match self.create {
            Create::Anyone => true,
            Create::Local => is_local() || self.admins.contains(entity),
            Create::Admins => self.admins.contains(entity),
        }
    }
}

impl Pep {
    /// Mounts the services, each an item of its host.
    pub(super) fn mount_services(self: &Arc<Self>, at: &mut Mount) {
        at.identity(To::SERVICE, Identity { category: "pubsub", type_: "service", name: "" });
        // XEP-0346 section 4: forms are offered and filled in at nodes like others.
        at.identity(To::SERVICE, Identity { category: "pubsub", type_: "urn:xmpp:fdp:0", name: "" });
        at.iq_get(To::SERVICE, ("pubsub", ns::PUBSUB), self, Self::get);
        at.iq_set(To::SERVICE, ("pubsub", ns::PUBSUB), self, Self::set);
        at.iq_get(To::SERVICE, ("pubsub", ns::PUBSUB_OWNER), self, Self::get_owner);
        at.iq_set(To::SERVICE, ("pubsub", ns::PUBSUB_OWNER), self, Self::set_owner);
        at.iq_set(To::SERVICE, ("query", ns::ARCHIVE), self, Self::archive_of_service);
        at.iq_get(To::SERVICE, ("query", ns::ARCHIVE), self, Self::archive_of_service);
        at.iq_get(To::SERVICE, ("metadata", ns::ARCHIVE), self, Self::archive_of_service);
        at.command(To::ACCOUNT | To::SERVICE, Arc::new(pending::GetPending(Arc::clone(self))));
        at.unfeature(To::SERVICE, ns::PUBSUB_OWNER);
        for feature in features::COMMON {
            at.feature(To::SERVICE, feature);
        }
        // Of accounts whoever keeps their archive says so, if they have one besides those of their nodes.
        at.feature(To::SERVICE, ns::ARCHIVE_EXTENDED);
        let (limits, per_minute) = (self.limits_of(pubsub::Home::Service), self.floods.items_per_minute_max());
        at.service_form(Arc::new(move || discovery::limits_form(&limits, per_minute)));
        for (domain, service) in &self.hosting.services {
            at.service(domain, service.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use xmpp::BareJid;

    use super::{Create, EXAMPLE, Hosting, Section};
    use crate::config::Config;

    fn hosting(text: &str) -> Result<Hosting, String> {
        let mut config = Config::parse(text, None).unwrap();
        let section: Section = config.sections.take("pubsub").map_err(|error| error.to_string())?;
        Hosting::new(&config, section).map_err(|error| error.to_string())
    }

    #[test]
    fn every_host_has_its_services_and_a_host_is_none() {
        let text = "[[host]]\ndomain = \"a.example\"\n[[host]]\ndomain = \"pubsub.a.example\"\n";
        let hosting = hosting(text).unwrap();
        let domains: Vec<_> = hosting.services.iter().map(|(domain, _)| domain.as_str()).collect();
        let expected = [
            "pubsub.pubsub.a.example",
            "comments.a.example",
            "comments.pubsub.a.example",
            "spaces.a.example",
            "spaces.pubsub.a.example",
        ];
        assert_eq!(domains, expected);
        // Hashtags and the directory are said to be where they are.
        for (domain, service) in &hosting.services {
            let keeps = service.features.contains(&xmpp::ns::TAGS) && service.features.contains(&xmpp::ns::DIRECTORY);
            assert_eq!(keeps, hosting.keeps_tags(domain), "{domain}");
        }
    }

    #[test]
    fn who_may_create_is_the_administrators_choice() {
        let text = "admins = [\"root@b.example\"]\n[[host]]\ndomain = \"a.example\"\n[pubsub]\ncreate = ";
        let people = ["alice@a.example", "bob@b.example", "root@b.example", "a.example"];
        for (create, allowed) in [
            ("local", [true, false, true, false]),
            ("anyone", [true, true, true, true]),
            ("admins", [false, false, true, false]),
        ] {
            let hosting = hosting(&format!("{text}{create:?}")).unwrap();
            let may = people.map(|who| hosting.may_create(&BareJid::new(who).unwrap()));
            assert_eq!(may, allowed, "{create}");
        }
    }

    #[test]
    fn sections_that_make_no_sense_are_refused() {
        for (text, part) in [
            ("[pubsub]\nservices = [\"muc\"]", "there is no `muc`"),
            ("[pubsub]\ncreate = \"nobody\"", "nobody"),
            ("[pubsub]\nnodes_per_creator_max = 0", "`pubsub.nodes_per_creator_max` is 0"),
            ("[pubsub]\nwonder = 1", "wonder"),
        ] {
            let said = hosting(text).err().unwrap();
            assert!(said.contains(part), "{said}");
        }
        assert!(hosting("[pubsub]\nservices = []").unwrap().services.is_empty());
    }

    #[test]
    fn the_example_is_the_default() {
        let mut config = Config::parse(EXAMPLE, None).unwrap();
        let (said, default) = (config.sections.take::<Section>("pubsub").unwrap(), Section::default());
        assert_eq!(said.services, default.services);
        assert_eq!((said.create, Create::Local), (default.create, default.create));
        assert_eq!(said.nodes_per_creator_max, default.nodes_per_creator_max);
        assert_eq!(said.items_per_creator_max, default.items_per_creator_max);
        assert_eq!(said.items_per_minute_max, default.items_per_minute_max);
    }
}
