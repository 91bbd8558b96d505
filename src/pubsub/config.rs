//! The configuration of a node: the whole form of XEP-0060 section 16.4.4 as one typed struct.
//!
//! [`FIELDS`] is the one place that knows a field's name, label, kind and place in the struct; forms, preconditions,
//! metadata and defaults are read from it. What a field *means* is said where it is obeyed, in `access` and `decide`.

use xmpp::jid::Jid;

/// A number or the word `max` ("no specific limit other than a server imposed maximum").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// No limit of the node's own.
    Max,
    /// At most this.
    At(u64),
}

/// Who may subscribe and read (XEP-0060 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccessModel {
    /// An owner approves each subscriber; subscribers read.
    Authorize,
    /// Anyone.
    Open,
    /// Who sees the account's presence.
    Presence,
    /// Who is in one of the allowed roster groups.
    Roster,
    /// Who has an affiliation.
    Whitelist,
}

/// Who may publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PublishModel {
    /// Owners, publishers and publish-only.
    Publishers,
    /// These, and every subscriber.
    Subscribers,
    /// Anyone who is not an outcast.
    Open,
}

/// When the newest item is sent unasked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SendLast {
    /// Never.
    Never,
    /// To a new subscriber.
    OnSub,
    /// To a new subscriber, and to a subscriber's resource that becomes available.
    OnSubAndPresence,
}

/// The type of notification messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NotificationType {
    /// `type='normal'`: may be stored for who is away.
    Normal,
    /// `type='headline'`: is for who is there.
    Headline,
}

/// Whose address an item shows (XEP-0060 section 12.17).
///
/// We always record the publisher. `Publisher` shows it; `Owner` and `None` show nobody, so that no reader is ever
/// told a name that is not the publisher's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ItemReply {
    /// Replies go to the owners.
    Owner,
    /// Replies go to the publisher, who is named in each item.
    Publisher,
    /// Nobody is named.
    None,
}

/// What happens when an item is published to a node that holds `max_items` (XEP-0060 section 7.1.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeFull {
    /// The oldest goes, and its retraction is told if `notify_retract` says so.
    RetractOldest,
    /// The oldest goes silently.
    DiscardOldest,
    /// The new one is refused.
    Reject,
}

/// The configuration of a leaf node.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one boolean field of the specification's form")]
pub struct NodeConfig {
    /// `pubsub#title`
    pub title: Option<Box<str>>,
    /// `pubsub#description`
    pub description: Option<Box<str>>,
    /// `pubsub#type`: the semantic type of the payloads.
    pub payload_type: Option<Box<str>>,
    /// `pubsub#language`
    pub language: Option<Box<str>>,
    /// `pubsub#contact`
    pub contacts: Vec<Jid>,
    /// `pubsub#access_model`
    pub access_model: AccessModel,
    /// `pubsub#roster_groups_allowed`
    pub roster_groups_allowed: Vec<Box<str>>,
    /// `pubsub#publish_model`
    pub publish_model: PublishModel,
    /// `pubsub#max_items`
    pub max_items: Bound,
    /// `pubsub#publish_node_full`
    pub node_full: NodeFull,
    /// `pubsub#item_expire`, seconds.
    pub item_expire: Bound,
    /// `pubsub#persist_items`
    pub persist_items: bool,
    /// `pubsub#max_payload_size`, bytes; never more than the service's own limit.
    pub payload_bytes_max: u64,
    /// `pubsub#deliver_notifications`
    pub deliver_notifications: bool,
    /// `pubsub#deliver_payloads`
    pub deliver_payloads: bool,
    /// `pubsub#include_body`: a readable text beside the payload, for everyone.
    pub include_body: bool,
    /// `pubsub#notify_config`
    pub notify_config: bool,
    /// `pubsub#notify_delete`
    pub notify_delete: bool,
    /// `pubsub#notify_retract`
    pub notify_retract: bool,
    /// `pubsub#notify_sub`
    pub notify_sub: bool,
    /// `pubsub#send_last_published_item`
    pub send_last_published_item: SendLast,
    /// `pubsub#presence_based_delivery`
    pub presence_based_delivery: bool,
    /// `pubsub#notification_type`
    pub notification_type: NotificationType,
    /// `pubsub#itemreply`
    pub itemreply: ItemReply,
    /// `{urn:chirrup:pubsub:0}full_text`: whether readers may search what it holds (XEP-0431).
    pub full_text: bool,
    /// `{urn:chirrup:pubsub:0}compare_values`: whether answers with items say values to compare (XEP-0395).
    pub compare_values: bool,
    /// `pubsub#subscribe`: whether subscriptions are allowed.
    pub subscribe: bool,
    /// [`PARENT`]: the node it is below of (XEP-0496).
    pub parent: Option<Box<str>>,
    /// [`LINK`]: the node it belongs to, and goes with (XEP-0496).
    pub link: Option<Box<str>>,
}

impl NodeConfig {
    /// What a generic service gives a new node: open to read, its creator publishes, the newest items are kept.
    #[must_use]
    pub fn service(payload_bytes_max: u64) -> Self {
        Self {
            title: None,
            description: None,
            payload_type: None,
            language: None,
            contacts: Vec::new(),
            access_model: AccessModel::Open,
            roster_groups_allowed: Vec::new(),
            publish_model: PublishModel::Publishers,
            max_items: Bound::Max,
            node_full: NodeFull::RetractOldest,
            item_expire: Bound::Max,
            persist_items: true,
            payload_bytes_max,
            deliver_notifications: true,
            deliver_payloads: true,
            include_body: false,
            notify_config: false,
            notify_delete: true,
            notify_retract: true,
            notify_sub: false,
            send_last_published_item: SendLast::Never,
            presence_based_delivery: false,
            notification_type: NotificationType::Headline,
            itemreply: ItemReply::Publisher,
            full_text: false,
            compare_values: false,
            subscribe: true,
            parent: None,
            link: None,
        }
    }

    /// What an account's new node gets (XEP-0163 section 6): contacts read it, and are sent the last item when they
    /// come online. One item is kept, as everywhere, so that a mood without an id does not pile up.
    #[must_use]
    pub fn account(payload_bytes_max: u64) -> Self {
        Self {
            access_model: AccessModel::Presence,
            max_items: Bound::At(1),
            send_last_published_item: SendLast::OnSubAndPresence,
            ..Self::service(payload_bytes_max)
        }
    }
}

/// Why a value was not taken. The text is for the one who sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadValue(pub String);

/// Which form field a configuration field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `boolean`
    Boolean,
    /// `text-single`
    Text,
    /// `list-single` with these values.
    One(&'static [&'static str]),
    /// `text-multi`: a list whose values we do not know beforehand.
    Texts,
    /// `jid-multi`
    Jids,
}

/// One field of the form.
#[derive(Debug)]
pub struct Field {
    /// `pubsub#…`
    pub var: &'static str,
    /// For people.
    pub label: &'static str,
    /// How it is shown.
    pub kind: Kind,
    /// Whether `pubsub#meta-data` in disco#info shows it too (XEP-0060 section 16.4.3).
    pub is_metadata: bool,
    /// Its values, as a form carries them.
    pub get: fn(&NodeConfig) -> Vec<String>,
    /// Takes values from a form.
    pub set: fn(&mut NodeConfig, &[&str]) -> Result<(), BadValue>,
}

/// The field with the node that one is below of (XEP-0496 section 4.2).
pub const PARENT: &str = "{urn:xmpp:pubsub-relationships:0}parent";
/// The field with the node that one is linked to.
pub const LINK: &str = "{urn:xmpp:pubsub-relationships:0}link";

/// The field of that name.
#[must_use]
pub fn field(var: &str) -> Option<&'static Field> {
    FIELDS.iter().find(|field| field.var == var)
}

fn boolean(values: &[&str]) -> Result<bool, BadValue> {
    match single(values) {
        Some("1" | "true") => Ok(true),
        Some("0" | "false") => Ok(false),
        _ => Err(BadValue("a boolean is one of 0, 1, false, true".into())),
    }
}

fn single<'a>(values: &[&'a str]) -> Option<&'a str> {
    match values {
        [one] => Some(one.trim()),
        _ => None,
    }
}

fn text(values: &[&str]) -> Result<Option<Box<str>>, BadValue> {
    match values {
        [] | [""] => Ok(None),
        [one] => Ok(Some((*one).into())),
        _ => Err(BadValue("only one value is allowed".into())),
    }
}

fn number(values: &[&str]) -> Result<u64, BadValue> {
    single(values).and_then(|one| one.parse().ok()).ok_or_else(|| BadValue("a whole number is expected".into()))
}

fn bound(values: &[&str]) -> Result<Bound, BadValue> {
    match single(values) {
        Some("max") => Ok(Bound::Max),
        _ => number(values).map(Bound::At).map_err(|_| BadValue("a whole number or `max` is expected".into())),
    }
}

fn choice<T: Copy>(values: &[&str], choices: &[(&str, T)]) -> Result<T, BadValue> {
    let wanted = single(values);
    choices.iter().find(|(word, _)| Some(*word) == wanted).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        BadValue(format!("expected one of: {}", words.join(", ")))
    })
}

fn word<T: PartialEq>(value: &T, choices: &[(&str, T)]) -> Vec<String> {
    choices.iter().filter(|(_, candidate)| candidate == value).map(|(word, _)| (*word).to_owned()).collect()
}

fn bit(value: bool) -> Vec<String> {
    vec![if value { "1" } else { "0" }.to_owned()]
}

fn maybe(value: Option<&str>) -> Vec<String> {
    value.map(str::to_owned).into_iter().collect()
}

fn written(value: Bound) -> Vec<String> {
    vec![match value {
        Bound::Max => "max".to_owned(),
        Bound::At(number) => number.to_string(),
    }]
}

const ACCESS: &[(&str, AccessModel)] = &[
    ("authorize", AccessModel::Authorize),
    ("open", AccessModel::Open),
    ("presence", AccessModel::Presence),
    ("roster", AccessModel::Roster),
    ("whitelist", AccessModel::Whitelist),
];
const PUBLISH: &[(&str, PublishModel)] = &[
    ("publishers", PublishModel::Publishers),
    ("subscribers", PublishModel::Subscribers),
    ("open", PublishModel::Open),
];
const LAST: &[(&str, SendLast)] =
    &[("never", SendLast::Never), ("on_sub", SendLast::OnSub), ("on_sub_and_presence", SendLast::OnSubAndPresence)];
const TYPE: &[(&str, NotificationType)] =
    &[("normal", NotificationType::Normal), ("headline", NotificationType::Headline)];
const REPLY: &[(&str, ItemReply)] =
    &[("owner", ItemReply::Owner), ("publisher", ItemReply::Publisher), ("none", ItemReply::None)];
const FULL: &[(&str, NodeFull)] = &[
    ("retract-oldest", NodeFull::RetractOldest),
    ("discard-oldest", NodeFull::DiscardOldest),
    ("reject", NodeFull::Reject),
];

macro_rules! boolean_field {
    ($var:literal, $label:literal, $name:ident) => {
        Field {
            var: $var,
            label: $label,
            kind: Kind::Boolean,
            is_metadata: false,
            get: |config| bit(config.$name),
            set: |config, values| boolean(values).map(|value| config.$name = value),
        }
    };
}

macro_rules! text_field {
    ($var:expr, $label:literal, $name:ident) => {
        Field {
            var: $var,
            label: $label,
            kind: Kind::Text,
            is_metadata: true,
            get: |config| maybe(config.$name.as_deref()),
            set: |config, values| text(values).map(|value| config.$name = value),
        }
    };
}

macro_rules! bound_field {
    ($var:literal, $label:literal, $name:ident, $is_metadata:literal) => {
        Field {
            var: $var,
            label: $label,
            kind: Kind::Text,
            is_metadata: $is_metadata,
            get: |config| written(config.$name),
            set: |config, values| bound(values).map(|value| config.$name = value),
        }
    };
}

macro_rules! choice_field {
    ($var:literal, $label:literal, $name:ident, $choices:ident, $words:expr, $is_metadata:literal) => {
        Field {
            var: $var,
            label: $label,
            kind: Kind::One($words),
            is_metadata: $is_metadata,
            get: |config| word(&config.$name, $choices),
            set: |config, values| choice(values, $choices).map(|value| config.$name = value),
        }
    };
}

/// Every field of the configuration form, in the order it is shown.
pub static FIELDS: &[Field] = &[
    text_field!("pubsub#title", "A friendly name for the node", title),
    text_field!("pubsub#description", "A description of the node", description),
    text_field!("pubsub#type", "The semantic type of the payloads", payload_type),
    text_field!("pubsub#language", "The default language of the node", language),
    Field {
        var: "pubsub#contact",
        label: "The JIDs of those to contact with questions",
        kind: Kind::Jids,
        is_metadata: true,
        get: |config| config.contacts.iter().map(ToString::to_string).collect(),
        set: |config, values| {
            let contacts: Result<Vec<Jid>, _> = values.iter().map(|value| Jid::new(value)).collect();
            config.contacts = contacts.map_err(|_| BadValue("a JID is expected".into()))?;
            Ok(())
        },
    },
    choice_field!(
        "pubsub#access_model",
        "Who may subscribe and retrieve items",
        access_model,
        ACCESS,
        &["authorize", "open", "presence", "roster", "whitelist"],
        true
    ),
    Field {
        var: "pubsub#roster_groups_allowed",
        label: "The roster groups allowed to subscribe and retrieve items",
        kind: Kind::Texts,
        is_metadata: false,
        get: |config| config.roster_groups_allowed.iter().map(ToString::to_string).collect(),
        set: |config, values| {
            config.roster_groups_allowed = values.iter().map(|value| (*value).into()).collect();
            Ok(())
        },
    },
    choice_field!(
        "pubsub#publish_model",
        "Who may publish",
        publish_model,
        PUBLISH,
        &["publishers", "subscribers", "open"],
        true
    ),
    bound_field!("pubsub#max_items", "How many items to keep, or `max`", max_items, true),
    choice_field!(
        "pubsub#publish_node_full",
        "What to do when that many are kept",
        node_full,
        FULL,
        &["retract-oldest", "discard-oldest", "reject"],
        false
    ),
    bound_field!("pubsub#item_expire", "Seconds after which items are removed, or `max`", item_expire, false),
    boolean_field!("pubsub#persist_items", "Whether to keep items", persist_items),
    Field {
        var: "pubsub#max_payload_size",
        label: "The maximum payload size in bytes",
        kind: Kind::Text,
        is_metadata: true,
        get: |config| vec![config.payload_bytes_max.to_string()],
        set: |config, values| number(values).map(|value| config.payload_bytes_max = value),
    },
    boolean_field!("pubsub#deliver_notifications", "Whether to deliver event notifications", deliver_notifications),
    boolean_field!("pubsub#deliver_payloads", "Whether to deliver payloads with notifications", deliver_payloads),
    boolean_field!("pubsub#include_body", "Whether to put a readable text beside the payload", include_body),
    boolean_field!("pubsub#notify_config", "Whether to tell subscribers of a new configuration", notify_config),
    boolean_field!("pubsub#notify_delete", "Whether to tell subscribers that the node is deleted", notify_delete),
    boolean_field!("pubsub#notify_retract", "Whether to tell subscribers that an item is removed", notify_retract),
    boolean_field!("pubsub#notify_sub", "Whether to tell owners of new and lost subscribers", notify_sub),
    choice_field!(
        "pubsub#send_last_published_item",
        "When to send the newest item unasked",
        send_last_published_item,
        LAST,
        &["never", "on_sub", "on_sub_and_presence"],
        false
    ),
    boolean_field!("pubsub#presence_based_delivery", "Whether to notify available users only", presence_based_delivery),
    choice_field!(
        "pubsub#notification_type",
        "The type of notification messages",
        notification_type,
        TYPE,
        &["normal", "headline"],
        false
    ),
    Field {
        var: "pubsub#purge_offline",
        label: "Whether to remove all items when the publisher leaves",
        kind: Kind::Boolean,
        is_metadata: false,
        get: |_| bit(false),
        // Nothing here would do it, so nobody is promised it.
        set: |_, values| match boolean(values)? {
            false => Ok(()),
            true => Err(BadValue("items are not removed when their publisher leaves".into())),
        },
    },
    choice_field!(
        "pubsub#itemreply",
        "Whose address an item shows",
        itemreply,
        REPLY,
        &["owner", "publisher", "none"],
        false
    ),
    boolean_field!("pubsub#subscribe", "Whether subscriptions are allowed", subscribe),
    boolean_field!("{urn:chirrup:pubsub:0}full_text", "Whether readers may search the items for words", full_text),
    boolean_field!("{urn:chirrup:pubsub:0}compare_values", "Whether items come with values to compare", compare_values),
    text_field!(PARENT, "The node it is below of", parent),
    text_field!(LINK, "The node it belongs to", link),
];

/// Names that are in the specification's form, or an older one, and mean nothing here: collections (XEP-0248),
/// transformations, temporary subscriptions. They are accepted and ignored in a configuration form.
pub const IGNORED: &[&str] = &[
    "pubsub#body_xslt",
    "pubsub#children",
    "pubsub#children_association_policy",
    "pubsub#children_association_whitelist",
    "pubsub#children_max",
    "pubsub#collection",
    "pubsub#dataform_xslt",
    "pubsub#tempsub",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::{Bound, FIELDS, IGNORED, Kind, NodeConfig, field};

    #[test]
    fn every_field_writes_what_it_reads() {
        let mut config = NodeConfig::service(1000);
        for field in FIELDS {
            let samples: &[&str] = match field.kind {
                Kind::Boolean if field.var == "pubsub#purge_offline" => &["0"],
                Kind::Boolean => &["1", "0"],
                Kind::Text if field.var.contains("max") || field.var.contains("expire") => &["7", "0"],
                Kind::Text | Kind::Texts => &["seven"],
                Kind::One(words) => words,
                Kind::Jids => &["juliet@capulet.lit"],
            };
            for sample in samples {
                (field.set)(&mut config, &[sample]).unwrap_or_else(|bad| panic!("{}: {}", field.var, bad.0));
                assert_eq!((field.get)(&config), [*sample], "{}", field.var);
            }
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = FIELDS.iter().map(|field| field.var).chain(IGNORED.iter().copied()).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn nonsense_is_refused_and_changes_nothing() {
        let bad: &[(&str, &[&str])] = &[
            ("pubsub#access_model", &["everyone"]),
            ("pubsub#max_items", &["-1"]),
            ("pubsub#max_items", &["99999999999999999999999"]),
            ("pubsub#max_items", &["1", "2"]),
            ("pubsub#persist_items", &["yes"]),
            ("pubsub#persist_items", &[]),
            ("pubsub#max_payload_size", &["max"]),
            ("pubsub#contact", &["@"]),
            ("pubsub#title", &["one", "two"]),
        ];
        for (var, values) in bad {
            let before = NodeConfig::account(1000);
            let mut after = before.clone();
            assert!((field(var).unwrap().set)(&mut after, values).is_err(), "{var} {values:?}");
            assert_eq!(before, after);
        }
    }

    #[test]
    fn max_is_a_value() {
        let mut config = NodeConfig::account(1000);
        (field("pubsub#max_items").unwrap().set)(&mut config, &["max"]).unwrap();
        assert_eq!(config.max_items, Bound::Max);
    }
}
