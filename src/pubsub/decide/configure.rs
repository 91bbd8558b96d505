//! Show and change the configuration of a node (XEP-0060 sections 8.2 and 8.3), and what a submitted form means.

use crate::config::{AccessModel, BadValue, Bound, IGNORED, NodeConfig, field};
use crate::decision::{Audience, Change, Decision, Event, Reply};
use crate::extended::updated;
use crate::model::{Home, Limits};
use crate::profile;
use crate::profile::public::is_guarded;
use crate::refusal::Refusal;
use crate::request::{Caller, Values, View};

use super::{Draft, owned};

pub(super) fn show(view: &View, caller: &Caller) -> Result<Decision, Refusal> {
    let node = owned(view, caller)?;
    Ok(Decision::reply(Reply::Configuration(node.name.clone(), (*node.config).clone())))
}

pub(super) fn show_default(view: &View) -> Decision {
    Decision::reply(Reply::DefaultConfiguration(profile::default_config(view.home, "", &view.limits)))
}

pub(super) fn configure(view: &View, caller: &Caller, values: Option<&Values>) -> Result<Decision, Refusal> {
    let node = owned(view, caller)?;
    let Some(values) = values else {
        // Section 8.2.4: cancelled, "the existing configuration MUST be applied".
        return Ok(Decision::reply(Reply::Empty));
    };
    let mut config = (*node.config).clone();
    apply(&mut config, values, view, &node.name, Unknown::Ignored)?;
    if is_guarded(&node.name) && not_its_own(&config) != not_its_own(&node.config) {
        return Err(Refusal::KeptByService);
    }
    let mut draft = Draft::new(node);
    if config == *node.config {
        return Ok(draft.finish(Reply::Empty));
    }
    if let Bound::At(max) = config.max_items
        && node.tally.items > max
    {
        draft.changes.push(Change::TrimTo(max));
        draft.tally.items = max;
    }
    // Section 8.2.5.3. The new configuration decides, since it is what the owner wants now.
    if config.notify_config {
        draft.tell(Audience::Subscribers, Event::Configured);
    }
    let fields = updated(Some(&node.config), &config);
    if config.deliver_notifications && !fields.is_empty() {
        draft.tell(Audience::Extended, Event::Metadata(fields));
    }
    draft.changes.push(Change::Configure(config));
    Ok(draft.finish(Reply::Empty))
}

/// What is not for a node to say that follows another's access. A form that is sent back as it came changes none of it.
fn not_its_own(config: &NodeConfig) -> impl PartialEq + use<'_> {
    let takes_payloads = config.payload_bytes_max > 0;
    (config.access_model, &config.roster_groups_allowed, &config.parent, &config.link, takes_payloads)
}

/// What to do with a field that is in no form of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// A configuration form of a client that knows more: what we do not know, we leave.
    Ignored,
    /// Publish options: "it MUST reject the publication upon encountering unknown fields" (section 7.1.5).
    Refused,
}

/// Applies a submitted form. On refusal, `config` is not to be used.
pub(super) fn apply(
    config: &mut NodeConfig,
    values: &Values,
    view: &View,
    node: &str,
    unknown: Unknown,
) -> Result<(), Refusal> {
    for (var, given) in &values.0 {
        let bad = |why: &str| match unknown {
            Unknown::Ignored => Refusal::BadConfiguration(format!("{var}: {why}")),
            Unknown::Refused => Refusal::InvalidOptions(format!("{var}: {why}")),
        };
        check_sizes(given, &view.limits).map_err(|BadValue(why)| bad(&why))?;
        let given: Vec<&str> = given.iter().map(|value| &**value).collect();
        if let Some(field) = field(var) {
            (field.set)(config, &given).map_err(|BadValue(why)| match (unknown, &**var) {
                // Section 8.1.3 has a word for this one.
                (Unknown::Ignored, "pubsub#access_model") => Refusal::UnsupportedAccessModel(why),
                _ => bad(&why),
            })?;
        } else if &**var == "pubsub#node_type" {
            if given != ["leaf"] {
                return Err(bad("only leaf nodes exist here"));
            }
        } else if unknown == Unknown::Refused && !IGNORED.contains(&&**var) {
            return Err(bad("there is no such field"));
        }
    }
    profile::spaces::complete(config, values);
    amend(config, view.home, node, &view.limits)
}

/// Makes a configuration possible here: what the service bounds is brought within its bounds, what a profile
/// requires is set.
///
/// # Errors
/// [`Refusal::UnsupportedAccessModel`] in a home that has no roster.
pub fn amend(config: &mut NodeConfig, home: Home, node: &str, limits: &Limits) -> Result<(), Refusal> {
    config.payload_bytes_max = config.payload_bytes_max.min(limits.payload_bytes_max);
    if config.item_expire == Bound::At(0) {
        // "After no time" can only be meant as "never": a node whose items are gone at once is of no use.
        config.item_expire = Bound::Max;
    }
    if profile::keeps_everything(node) {
        config.max_items = Bound::Max;
    }
    match config.access_model {
        AccessModel::Presence if home == Home::Service => Err(no_roster()),
        AccessModel::Roster if home == Home::Service => Err(no_roster()),
        _ => Ok(()),
    }
}

fn no_roster() -> Refusal {
    Refusal::UnsupportedAccessModel("That access model needs a roster, and a service has none.".to_owned())
}

fn check_sizes(values: &[Box<str>], limits: &Limits) -> Result<(), BadValue> {
    if values.len() > limits.config_values_max {
        return Err(BadValue(format!("at most {} values are taken", limits.config_values_max)));
    }
    if values.iter().any(|value| value.len() > limits.config_value_bytes_max) {
        return Err(BadValue(format!("at most {} bytes are taken", limits.config_value_bytes_max)));
    }
    Ok(())
}

/// Section 7.1.5: each field of the publish options is compared with the node's configuration.
pub(super) fn check_preconditions(
    config: &NodeConfig,
    values: &Values,
    view: &View,
    node: &str,
) -> Result<(), Refusal> {
    let mut wanted = config.clone();
    apply(&mut wanted, values, view, node, Unknown::Refused)?;
    if wanted == *config {
        return Ok(());
    }
    for (var, _) in &values.0 {
        if field(var).is_some_and(|field| (field.get)(config) != (field.get)(&wanted)) {
            return Err(Refusal::PreconditionNotMet(var.to_string()));
        }
    }
    Ok(())
}
