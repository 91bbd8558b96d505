//! The forms of XEP-0060 section 16.4: node configuration, publish and subscription options, metadata, authorization.

use xmpp::Element;
use xmpp::form::{Field as FormField, FieldType, Form, FormType};
use xmpp::jid::{BareJid, Jid};

use crate::config::{FIELDS, Field, Kind, LINK, NodeConfig, PARENT, field};
use crate::extended::{self, Reach};
use crate::model::{Home, Node, Shows, SubId, SubscriptionOptions, TIES_MAX};
use crate::options::DELIVER_PAYLOADS;
use crate::refusal::Refusal;
use crate::request::Values;

pub(super) const NODE_CONFIG: &str = "http://jabber.org/protocol/pubsub#node_config";
pub(super) const PUBLISH_OPTIONS: &str = "http://jabber.org/protocol/pubsub#publish-options";
pub(super) const SUBSCRIBE_OPTIONS: &str = "http://jabber.org/protocol/pubsub#subscribe_options";
pub(super) const AUTHORIZATION: &str = "http://jabber.org/protocol/pubsub#subscribe_authorization";
const META_DATA: &str = "http://jabber.org/protocol/pubsub#meta-data";

/// The values of the form in `parent`; `None` when there is no form or it was cancelled.
pub(super) fn values(parent: &Element, form_type: &str) -> Result<Option<Values>, Refusal> {
    const MALFORMED: Refusal = Refusal::Malformed("This is not a data form as XEP-0004 describes it.");
    let Some(form) = Form::parse_in(parent).map_err(|_| MALFORMED)? else { return Ok(None) };
    match form.type_ {
        FormType::Cancel => return Ok(None),
        FormType::Submit => {}
        // Some clients answer with the type of the question.
        FormType::Form | FormType::Result => return Err(MALFORMED),
    }
    // XEP-0068: who leaves the type out means the form of this place.
    if form.value(xmpp::form::FORM_TYPE).is_some_and(|given| given != form_type) {
        return Err(Refusal::Malformed("The FORM_TYPE is another than the one expected here."));
    }
    let fields = form.fields.into_iter().filter_map(|field| {
        let var = field.var.filter(|var| var != xmpp::form::FORM_TYPE)?;
        Some((var.into(), field.values.into_iter().map(Into::into).collect()))
    });
    Ok(Some(Values(fields.collect())))
}

fn field_type(kind: Kind) -> FieldType {
    match kind {
        Kind::Boolean => FieldType::Boolean,
        Kind::Text => FieldType::TextSingle,
        Kind::One(_) => FieldType::ListSingle,
        Kind::Texts => FieldType::TextMulti,
        Kind::Jids => FieldType::JidMulti,
    }
}

fn question(field: &Field, config: &NodeConfig, home: Home) -> FormField {
    let mut shown = FormField::new(field.var, field_type(field.kind)).label(field.label).values((field.get)(config));
    if let Kind::One(words) = field.kind {
        // A service has no roster (see `amend`), so it does not offer what needs one.
        let offers = |word: &&&str| {
            home == Home::Account || field.var != "pubsub#access_model" || !matches!(**word, "presence" | "roster")
        };
        for word in words.iter().filter(offers) {
            shown = shown.option(*word, None);
        }
    }
    shown
}

/// The configuration as a question to fill in, or as data.
#[must_use]
pub fn configuration_form(config: &NodeConfig, form_type: FormType, home: Home) -> Element {
    let mut form = Form::typed(form_type, NODE_CONFIG);
    for field in FIELDS {
        form = form.with(question(field, config, home));
    }
    form.to_element()
}

/// Which nodes a node is related to (XEP-0499), as a part of its metadata.
#[must_use]
pub fn relationships_form(config: &NodeConfig) -> Element {
    let mut form = Form::typed(FormType::Result, META_DATA);
    for var in [PARENT, LINK] {
        let values = field(var).map(|field| (field.get)(config)).filter(|values| !values.is_empty());
        if let Some(values) = values {
            form = form.with(FormField::new(var, FieldType::TextSingle).values(values));
        }
    }
    form.to_element()
}

/// Section 16.4.3: the metadata that disco#info of a node shows.
#[must_use]
pub fn metadata_form(node: &Node, owners: &[BareJid], publishers: &[BareJid]) -> Element {
    let text = |var: &str, value: String| FormField::new(var, FieldType::TextSingle).value(value);
    let mut form = Form::typed(FormType::Result, META_DATA);
    for field in FIELDS.iter().filter(|field| field.is_metadata) {
        let mut shown = question(field, &node.config, Home::Account);
        shown.options.clear();
        if !shown.values.is_empty() {
            form = form.with(shown);
        }
    }
    let jids = |var: &str, jids: &[BareJid]| {
        FormField::new(var, FieldType::JidMulti).values(jids.iter().map(ToString::to_string))
    };
    form.with(FormField::new("pubsub#creator", FieldType::JidSingle).value(node.creator.to_string()))
        .with(text("pubsub#creation_date", node.created.to_string()))
        .with(text("pubsub#num_subscribers", node.tally.subscribers.to_string()))
        .with(text(extended::MAX_DEPTH, TIES_MAX.to_string()))
        .with(jids("pubsub#owner", owners))
        .with(jids("pubsub#publisher", publishers))
        .to_element()
}

/// Section 16.4.2: the options of a subscription.
pub(super) fn options_form(options: SubscriptionOptions, form_type: FormType) -> Element {
    let boolean = |var: &str, label: &str, value: bool| {
        FormField::new(var, FieldType::Boolean).label(label).value(if value { "1" } else { "0" })
    };
    let form = Form::typed(form_type, SUBSCRIBE_OPTIONS);
    // Not asked for: most readers have no wish.
    let form = match options.has_payload {
        Some(wish) => form.with(boolean(DELIVER_PAYLOADS, "Whether to receive payloads", wish)),
        None => form,
    };
    form.with(boolean("pubsub#deliver", "Whether to receive notifications", options.deliver))
        .with(boolean("pubsub#include_body", "Whether to receive a readable text besides", options.include_body))
        .with(
            FormField::new("pubsub#expire", FieldType::TextSingle)
                .label("When the subscription ends by itself")
                .values(options.expire.map(|end| end.to_string())),
        )
        .with(
            Shows::WORDS.into_iter().fold(
                FormField::new("pubsub#show-values", FieldType::ListMulti)
                    .label("The presence in which to receive notifications; whatever it is if none is chosen")
                    .values(options.show.into_iter().flat_map(Shows::words).map(str::to_owned)),
                |field, word| if form_type == FormType::Form { field.option(word, None) } else { field },
            ),
        )
        .with(
            Reach::WORDS.into_iter().fold(
                FormField::new(extended::TYPE, FieldType::ListMulti)
                    .label("What to receive notifications of")
                    .values(options.reach.words().map(str::to_owned)),
                |field, word| if form_type == FormType::Form { field.option(word, None) } else { field },
            ),
        )
        .with(
            FormField::new(extended::DEPTH, FieldType::TextSingle)
                .label("How many levels of nodes below this one to receive notifications of; all if negative")
                .value(options.reach.depth().to_string()),
        )
        .to_element()
}

/// What of a node's metadata has changed (XEP-0497 section 4.2.2).
pub(super) fn updated_form(fields: &[(&'static str, Vec<String>)]) -> Element {
    let mut form = Form::typed(FormType::Result, META_DATA);
    for (var, values) in fields {
        let type_ = field(var).map_or(FieldType::TextSingle, |field| field_type(field.kind));
        form = form.with(FormField::new(var, type_).values(values.iter().cloned()));
    }
    form.to_element()
}

/// Section 8.6: the question an owner is asked about a new subscriber.
#[must_use]
pub fn authorization_request(node: &str, jid: &Jid, id: SubId) -> Element {
    let mut form = Form::typed(FormType::Form, AUTHORIZATION)
        .with(FormField::new("pubsub#subid", FieldType::Hidden).value(id.to_string()))
        .with(FormField::new("pubsub#node", FieldType::TextSingle).label("Node ID").value(node))
        .with(FormField::new("pubsub#subscriber_jid", FieldType::JidSingle).label("Subscriber").value(jid.to_string()))
        .with(FormField::new("pubsub#allow", FieldType::Boolean).label("Allow this JID to subscribe?").value("false"));
    form.title = Some("PubSub subscriber request".to_owned());
    form.instructions.push(format!("{jid} asks to subscribe to {node}."));
    form.to_element()
}
