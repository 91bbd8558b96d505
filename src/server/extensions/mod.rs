//! One file or folder for each protocol, and the one list of them.
//!
//! Extensions are built in an order the compiler checks: what one needs of another is an argument.

pub mod about;
pub mod administration;
pub mod archive;
pub mod avatar;
pub mod blocking;
pub mod bookmarks;
pub mod caps;
pub mod carbons;
pub mod certificates;
pub mod clients;
pub mod commands;
pub mod delegation;
pub mod disco;
pub mod displayed;
pub mod external;
pub mod following;
pub mod last;
pub mod messages;
pub mod multicast;
pub mod notifications;
pub mod offline;
pub mod pep;
pub mod ping;
pub mod presence;
pub mod private;
pub mod privileges;
pub mod push;
pub mod register;
pub mod roster;
pub mod search;
pub mod time;
pub mod timeline;
pub mod vcard;
pub mod version;

use std::sync::Arc;

use crate::config::{Config, ConfigError, Sections};
use crate::extension::{Extension, Kit};
use crate::fanout::contacts::Contacts;
use crate::runtime::Switch;
use crate::tables::Credentials;
use crate::tables::nodes::{Nodes, NodesLimits};

/// Builds every extension. Their order is the order in which they hear of moments.
///
/// # Errors
/// When a section of the configuration does not read as its owner expects.
pub fn furnish(
    kit: &Kit,
    credentials: &Credentials,
    config: &Config,
    switch: &Arc<Switch>,
    sections: &mut Sections,
) -> Result<Vec<Arc<dyn Extension>>, ConfigError> {
    let accounts = &credentials.accounts;
    let books = roster::Books::new(kit);
    let blocks = blocking::Blocks::new(kit);
    let announcer = presence::Announcer::new(kit, &books, &blocks);
    let privileges = privileges::Privileges::new(kit, accounts, &books, &announcer, config);
    let archive = archive::Archive::new(kit, &books, sections.take("archive")?)?;
    let offline = offline::Offline::new(kit, &archive, config);
    let delivery = messages::Delivery::new(kit, accounts, &offline, &archive);
    let portraits = avatar::Portraits::new(kit);
    let needs = presence::Needs {
        accounts,
        books: &books,
        blocks: &blocks,
        announcer: &announcer,
        offline: &offline,
        delivery: &delivery,
        portraits: &portraits,
    };
    let presence = presence::Presence::new(kit, &needs, config);
    let cards = vcard::Cards::new(kit, &portraits, &presence);
    let pubsub = pep::Hosting::new(config, sections.take("pubsub")?)?;
    let contacts: Arc<dyn Contacts> = Arc::new(pep::Rosters::new(&books));
    let nodes = Arc::new(Nodes::new(Arc::clone(&kit.store), NodesLimits::default()));
    let timeline = timeline::Timeline::new(kit, &nodes, &contacts, &blocks, config, sections.take("timeline")?)?;
    let bookmarks = bookmarks::Bookmarks::new(kit);
    let mirrors: Vec<Arc<dyn pep::step::Mirror>> = vec![Arc::<vcard::Cards>::clone(&cards), bookmarks.clone()];
    let pep = pep::Pep::new(kit, accounts, &contacts, (&nodes, &timeline), config, pubsub, mirrors);
    Ok(vec![
        disco::Disco::new(kit, config),
        // First of the guards: what is blocked is nobody else's business.
        blocking::Blocking::new(kit, &blocks, &announcer, &archive, config),
        roster::Roster::new(&books, &announcer, &privileges, config),
        presence,
        delivery,
        archive::Service::new(&archive, &offline, pep.archives(), config),
        offline,
        multicast::Multicast::new(kit, sections.take("multicast")?),
        Arc::new(carbons::Carbons),
        caps::Caps::new(kit),
        certificates::ClientCertificates::new(kit, credentials, config)?,
        clients::ClientAccess::new(kit, credentials),
        commands::Commands::new(kit),
        delegation::Delegation::new(kit, &blocks, config, sections.take("delegation")?)?,
        privileges,
        administration::Administration::new(kit, accounts, &books, switch, config),
        Arc::new(ping::Ping),
        Arc::new(version::Version),
        time::Time::new(kit),
        last::Last::new(kit, &books),
        about::About::new(config, &sections.take("contacts")?, &sections.take("data_policy")?)?,
        search::Search::new(kit, sections.take("search")?),
        external::Externals::new(kit, sections.take("external_services")?)?,
        register::Register::new(kit, accounts, config),
        private::Private::new(kit, config, &bookmarks, &pep),
        displayed::Displayed::new(&pep),
        push::Push::new(kit, &books, &blocks, sections.take("push")?)?,
        vcard::Vcard::new(kit, &cards, &pep, config),
        following::Following::new(kit, &pep, &timeline),
        notifications::Notifications::new(kit, &pep, &blocks),
        pep,
        timeline,
    ])
}

#[cfg(test)]
mod im_tests;
