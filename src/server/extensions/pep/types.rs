//! XEP-0462: which nodes are asked for, by the type their owners gave them.

use xmpp::form::{Form, FormType};
use xmpp::{Element, StanzaError, ns};

/// Types in one request.
const TYPES_MAX: usize = 100;

/// The types of nodes that are wanted. Who gave none has the empty one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Types {
    /// These.
    Only(Vec<Box<str>>),
    /// All but these.
    Without(Vec<Box<str>>),
}

impl Types {
    /// All.
    pub(super) const ALL: Self = Self::Without(Vec::new());

    /// What a request for the nodes of a home says.
    ///
    /// # Errors
    /// `bad-request` for what says both, for too much, and for a form that is none.
    pub(super) fn parse(query: &Element) -> Result<Self, StanzaError> {
        let Some(filter) = query.get_child("filter", ns::TYPE_FILTER) else { return Ok(Self::ALL) };
        let bad = |why: &str| StanzaError::bad_request().with_text(why);
        let form = Form::parse_in(filter).map_err(|_| bad("the filter is no form"))?;
        let form = form.filter(|form| form.type_ == FormType::Submit && form.form_type() == Some(ns::TYPE_FILTER));
        let form = form.ok_or_else(|| bad("the filter is no form of its own type"))?;
        let types = |var: &str| -> Option<Vec<Box<str>>> {
            form.field(var).map(|field| field.values.iter().map(|value| value.trim().into()).collect())
        };
        let wanted = match (types("included-types"), types("excluded-types")) {
            (None, None) => return Ok(Self::ALL),
            (Some(_), Some(_)) => return Err(bad("types are either included or excluded")),
            (Some(types), None) => Self::Only(types),
            (None, Some(types)) => Self::Without(types),
        };
        let (Self::Only(types) | Self::Without(types)) = &wanted;
        if types.len() > TYPES_MAX { Err(bad("too many types")) } else { Ok(wanted) }
    }

    /// Whether a node of that type is wanted.
    pub(super) fn has(&self, payload_type: Option<&str>) -> bool {
        let payload_type = payload_type.unwrap_or_default();
        let is_named = |types: &[Box<str>]| types.iter().any(|named| **named == *payload_type);
        match self {
            Self::Only(types) => is_named(types),
            Self::Without(types) => !is_named(types),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use super::Types;

    #[test]
    fn filters_choose_or_are_refused() {
        let parse = |inside: &str| {
            let text = format!(
                "<query xmlns='http://jabber.org/protocol/disco#items'><filter xmlns='urn:xmpp:pubsub-filter:0'>{inside}\
                 </filter></query>"
            );
            Types::parse(&xmpp::xml::parse_element(text.as_bytes(), "").unwrap())
        };
        let form = |fields: &str| {
            parse(&format!(
                "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:pubsub-filter:0</value>\
                 </field>{fields}</x>"
            ))
        };
        let field = |var: &str, values: &str| format!("<field var='{var}'>{values}</field>");
        let (included, excluded) = ("included-types", "excluded-types");
        let (some, none) = (Some("a"), None);
        for (fields, expected) in [
            (String::new(), [true, true]),
            (field(included, "<value>a</value>"), [true, false]),
            (field(included, "<value/>"), [false, true]),
            (field(included, "<value>a</value><value/>"), [true, true]),
            (field(included, ""), [false, false]),
            (field(excluded, "<value>a</value>"), [false, true]),
            (field(excluded, "<value/>"), [true, false]),
            (field(excluded, ""), [true, true]),
        ] {
            let types = form(&fields).unwrap();
            assert_eq!([types.has(some), types.has(none)], expected, "{fields}");
        }
        assert!(form(&(field(included, "<value>a</value>") + &field(excluded, "<value>b</value>"))).is_err());
        assert!(form(&field(included, &"<value>a</value>".repeat(101))).is_err());
        assert!(parse("").is_err() && parse("<x xmlns='jabber:x:data' type='submit'/>").is_err());
    }
}
