//! The home timeline: what the nodes that an account follows sent it, local and remote, as one private node of the
//! account, `urn:chirrup:timeline:0`.
//!
//! What is in it follows from what is followed: the items of the nodes the account is subscribed to by its bare
//! address, from when it subscribed on, as far as they are still there and the account may read them, in the order in
//! which they came. `feeder` writes references on arrival, `read` merges them with what is looked for in nodes that
//! have very many followers, `page` answers who asks for items. `xeps/chirrup-timeline.md` is the protocol.

mod afar;
mod answers;
mod archive;
mod copies;
mod feeder;
mod fill;
mod gaps;
mod page;
mod read;
mod tenure;
mod walk;

pub use feeder::Feeder;
pub use tenure::item_id;

use std::sync::{Arc, Weak};

use serde::Deserialize;
use xmpp::form::{Field, FieldType, Form, FormType};
use xmpp::{BareJid, ns};

use self::afar::Overheard;
use self::answers::Answers;
use self::gaps::Gaps;
use crate::config::{Config, ConfigError};
use crate::extension::{Extension, FormSource, Kit, Listener, Mount, Pending, Spec, To};
use crate::extensions::blocking::Blocks;
use crate::fanout::contacts::Contacts;
use crate::runtime::{Clock, Ids, Timestamp};
use crate::tables::nodes::Nodes;

static SPEC: Spec = Spec { name: "timeline", xeps: &[], config: include_str!("config.toml") };

/// The section `[timeline]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Entries of one account.
    pub entries_per_account_max: u64,
    /// Days an entry is kept; 0 is for as long as there is room.
    pub days_max: u64,
    /// Subscribers from which on a node's followers look for its items themselves.
    pub merge_followers_min: u64,
    /// Nodes that one account follows.
    pub follows_per_account_max: u64,
    /// Hours after which nodes elsewhere are asked again for what did not come; 0 is never.
    pub gaps_hours: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            entries_per_account_max: 20_000,
            days_max: 0,
            merge_followers_min: 10_000,
            follows_per_account_max: 5_000,
            gaps_hours: 12,
        }
    }
}

impl Settings {
    /// # Errors
    /// When a bound is zero.
    fn check(&self) -> Result<(), ConfigError> {
        for (name, value) in [
            ("entries_per_account_max", self.entries_per_account_max),
            ("follows_per_account_max", self.follows_per_account_max),
        ] {
            if value == 0 {
                return Err(ConfigError::new(format!("`timeline.{name}` is 0, which would refuse everything"))
                    .with_hint("leave the key out for the default"));
            }
        }
        Ok(())
    }
}

/// The timelines of all accounts.
#[expect(missing_debug_implementations, reason = "there is nothing to show")]
pub struct Timeline {
    // Given to what goes on after the one who asked has gone.
    this: Weak<Self>,
    feeder: Arc<Feeder>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    overheard: Overheard,
    gaps: Gaps,
    /// When the house was opened, in milliseconds: what came before it may have come nowhere.
    opened: u64,
    answers: Answers,
    contacts: Arc<dyn Contacts>,
    blocks: Arc<Blocks>,
    page_items_max: usize,
    page_bytes_max: usize,
}

impl Timeline {
    /// Timelines over `nodes`, for the contacts that `contacts` knows and without those that `blocks` blocks.
    ///
    /// # Errors
    /// When the section makes no sense.
    pub fn new(
        kit: &Kit,
        nodes: &Arc<Nodes>,
        contacts: &Arc<dyn Contacts>,
        blocks: &Arc<Blocks>,
        config: &Config,
        settings: Settings,
    ) -> Result<Arc<Self>, ConfigError> {
        settings.check()?;
        Ok(Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            feeder: Feeder::start(kit, nodes, settings),
            clock: Arc::clone(&kit.clock),
            ids: Arc::clone(&kit.ids),
            overheard: Overheard::default(),
            gaps: Gaps::default(),
            opened: kit.clock.now() / 1_000,
            answers: Answers::default(),
            contacts: Arc::clone(contacts),
            blocks: Arc::clone(blocks),
            page_items_max: config.limits.pubsub_page_items_max,
            page_bytes_max: config.limits.mailbox_bytes_max / 8,
        }))
    }

    /// What it bounds, for who asks the domain.
    fn limits_form(&self) -> FormSource {
        let settings = self.feeder.shared().settings.clone();
        let field = |var: &str, value: u64| Field::new(var, FieldType::TextSingle).value(value.to_string());
        Arc::new(move || {
            Form::typed(FormType::Result, "urn:chirrup:timeline:limits:0")
                .with(field("entries_per_account_max", settings.entries_per_account_max))
                .with(field("days_max", settings.days_max))
                .with(field("follows_per_account_max", settings.follows_per_account_max))
                .to_element()
        })
    }

    /// Itself, for tasks.
    fn handle(&self) -> Option<Arc<Self>> {
        self.this.upgrade()
    }

    /// Who blocks whom.
    #[must_use]
    pub fn blocks(&self) -> &Arc<Blocks> {
        &self.blocks
    }

    /// Who writes on arrival.
    #[must_use]
    pub fn feeder(&self) -> &Arc<Feeder> {
        &self.feeder
    }
}

#[cfg(test)]
mod cost;
#[cfg(test)]
mod tests;

impl Listener for Timeline {
    fn minute_passed(&self, _now: Timestamp) -> Pending<()> {
        self.forget_overheard();
        let (feeder, timeline) = (Arc::clone(&self.feeder), self.handle());
        Pending::later(async move {
            if let Err(error) = feeder.sweep().await {
                tracing::error!(%error, "timelines cannot be looked after");
            }
            if let Some(timeline) = timeline
                && let Err(error) = timeline.seek().await
            {
                tracing::error!(%error, "what is missing in timelines cannot be looked for");
            }
        })
    }

    fn server_linked(&self, domain: &str) -> Pending<()> {
        self.gaps.linked(domain, self.feeder.shared().now());
        Pending::now(())
    }

    fn account_removed(&self, account: &BareJid) -> Pending<()> {
        let (feeder, account) = (Arc::clone(&self.feeder), account.clone());
        Pending::later(async move {
            if let Err(error) = feeder.shared().timelines.delete(account.as_str()).await {
                tracing::error!(%account, %error, "the timeline of a removed account is left behind");
            }
        })
    }
}

impl Extension for Timeline {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.feature(To::ACCOUNT, ns::TIMELINE);
        at.domain_form(self.limits_form());
        at.events(Arc::<Self>::clone(&self));
        at.listener(self);
    }
}
