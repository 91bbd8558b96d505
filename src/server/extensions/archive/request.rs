//! What a client asks of an archive: the form, the page, and nothing else (XEP-0313 section 4).

use xmpp::form::{Form, FormType};
use xmpp::paging::{self, Start};
use xmpp::{Element, Jid, StanzaError, datetime, ns};

use crate::tables::archive::{self, Place, Span};

/// Longest `queryid`, in bytes: it comes back with every message of the page.
const QUERY_ID_BYTES_MAX: usize = 1024;

/// The fields that can be asked for. Field types other than those of the specification make clients stumble.
pub(super) const FORM: &str = "<query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='form'>\
    <field type='hidden' var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>\
    <field type='jid-single' var='with'/>\
    <field type='text-single' var='start'/>\
    <field type='text-single' var='end'/>\
    <field type='text-single' var='before-id'/>\
    <field type='text-single' var='after-id'/>\
    <field type='list-multi' var='ids'>\
    <validate xmlns='http://jabber.org/protocol/xdata-validate' datatype='xs:string'><open/></validate></field>\
    <field type='boolean' var='include-groupchat'/>\
    <field type='text-single' var='{urn:xmpp:fulltext:0}fulltext'/>\
    <field type='text-single' var='withtext'/>\
    </x></query>";
/// The fields of it that search (XEP-0431): as specified, and as clients say that knew it before it was.
pub(super) const SEARCH_FIELDS: &str = "<field type='text-single' var='{urn:xmpp:fulltext:0}fulltext'/>\
    <field type='text-single' var='withtext'/>";

/// One end of what is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    /// The first messages.
    First,
    /// The last ones.
    Last,
    /// Those behind a place.
    After(Place),
    /// Those before it.
    Before(Place),
}

/// A query.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Query {
    pub(super) query_id: Option<Box<str>>,
    pub(super) with: Option<Jid>,
    /// As the times and ids of the form have it.
    pub(super) span: Span,
    /// Places that must be in the archive, or the query fails.
    pub(super) anchors: Vec<Place>,
    /// Only these.
    pub(super) ids: Option<Vec<Place>>,
    /// Only what says this (XEP-0431).
    pub(super) text: Option<archive::Query>,
    pub(super) page: Page,
    pub(super) max: Option<u32>,
    pub(super) is_flipped: bool,
    /// Whether the form asks for less than everything.
    pub(super) is_filtered: bool,
}

impl Query {
    /// Reads `<query xmlns='urn:xmpp:mam:2'/>`; at most `ids_max` messages can be asked for by their ids, and by what
    /// they say only if `may_search`.
    pub(super) fn parse(query: &Element, ids_max: usize, may_search: bool) -> Result<Self, StanzaError> {
        let query_id = query.attr("queryid").map(Box::<str>::from);
        if query_id.as_ref().is_some_and(|id| id.len() > QUERY_ID_BYTES_MAX) {
            return Err(StanzaError::bad_request().with_text("the queryid is too long"));
        }
        if query.attr("node").is_some() {
            return Err(StanzaError::feature_not_implemented().with_text("there are no nodes in this archive"));
        }
        let set = paging::Query::parse(query)?.unwrap_or_default();
        let mut parsed = Self {
            query_id,
            with: None,
            span: Span::ALL,
            anchors: Vec::new(),
            ids: None,
            text: None,
            page: Page::First,
            max: set.max,
            is_flipped: query.get_child("flip-page", ns::ARCHIVE).is_some(),
            is_filtered: false,
        };
        if let Some(form) = Form::parse_in(query)? {
            parsed.read_form(&form, ids_max, may_search)?;
        }
        parsed.page = match set.start() {
            Start::First => Page::First,
            Start::Last => Page::Last,
            Start::After(id) => Page::After(parsed.anchor(id)?),
            Start::Before(id) => Page::Before(parsed.anchor(id)?),
            // XEP-0059 section 2.6: who does not count does not find by number.
            Start::Index(_) => return Err(StanzaError::feature_not_implemented()),
        };
        Ok(parsed)
    }

    fn read_form(&mut self, form: &Form, ids_max: usize, may_search: bool) -> Result<(), StanzaError> {
        if form.type_ != FormType::Submit || form.form_type() != Some(ns::ARCHIVE) {
            return Err(StanzaError::bad_request().with_text("the form is not an answer to this archive's"));
        }
        for field in &form.fields {
            let value = field.first().filter(|value| !value.is_empty());
            let moment = || value.map(|text| datetime::parse(text).ok_or_else(no_moment)).transpose();
            match field.var.as_deref().unwrap_or_default() {
                "FORM_TYPE" => continue,
                // There is none in here.
                "include-groupchat" => {
                    field.to_bool()?;
                    continue;
                }
                "with" => self.with = value.map(Jid::new).transpose().map_err(|_| StanzaError::jid_malformed())?,
                "start" => self.span = moment()?.map_or(self.span, |time| self.span.since(time)),
                "end" => self.span = moment()?.map_or(self.span, |time| self.span.until(time)),
                "after-id" => {
                    if let Some(id) = value {
                        self.span = self.span.after(self.anchor(id)?);
                    }
                }
                "before-id" => {
                    if let Some(id) = value {
                        self.span = self.span.before(self.anchor(id)?);
                    }
                }
                "ids" => {
                    if field.values.len() > ids_max {
                        let text = format!("at most {ids_max} ids can be asked for at once");
                        return Err(StanzaError::not_acceptable().with_text(text));
                    }
                    let mut ids = Vec::with_capacity(field.values.len());
                    for id in field.values.iter().filter(|id| !id.is_empty()) {
                        ids.push(Place::parse(id).ok_or_else(StanzaError::item_not_found)?);
                    }
                    ids.sort_unstable();
                    ids.dedup();
                    self.ids = Some(ids).filter(|ids| !ids.is_empty());
                }
                "{urn:xmpp:fulltext:0}fulltext" | "withtext" if may_search => {
                    if let Some(typed) = value {
                        self.text = Some(archive::Query::parse(typed).map_err(|_| too_long())?);
                    }
                }
                unknown => {
                    let text = format!("there is no field {unknown}");
                    return Err(StanzaError::feature_not_implemented().with_text(text));
                }
            }
            self.is_filtered |= value.is_some();
        }
        Ok(())
    }

    fn anchor(&mut self, id: &str) -> Result<Place, StanzaError> {
        let place = Place::parse(id).ok_or_else(StanzaError::item_not_found)?;
        self.anchors.push(place);
        Ok(place)
    }
}

fn too_long() -> StanzaError {
    StanzaError::not_acceptable().with_text("at most 16 words can be searched for at once")
}

fn no_moment() -> StanzaError {
    StanzaError::bad_request().with_text("start and end are written as in XEP-0082: 2026-11-22T12:34:56Z")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use xmpp::stanza::Condition;

    fn parse(inside: &str) -> Result<Query, StanzaError> {
        let query = format!("<query xmlns='urn:xmpp:mam:2'>{inside}</query>");
        Query::parse(&xmpp::xml::parse_element(query.as_bytes(), ns::CLIENT).unwrap(), 2, true)
    }

    fn form(fields: &str) -> String {
        format!(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>\
             {fields}</x>"
        )
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let id = Place::FIRST.id();
        let field = |var: &str, value: &str| form(&format!("<field var='{var}'><value>{value}</value></field>"));
        let set = |inside: &str| format!("<set xmlns='http://jabber.org/protocol/rsm'>{inside}</set>");
        for (inside, expected) in [
            (field("with", "@@"), Condition::JidMalformed),
            (field("start", "yesterday"), Condition::BadRequest),
            (field("end", "20020910T23:08:25"), Condition::BadRequest),
            (field("after-id", "nothing of ours"), Condition::ItemNotFound),
            (field("ids", "nothing of ours"), Condition::ItemNotFound),
            (field("sender", "x"), Condition::FeatureNotImplemented),
            (field("withtext", &"a ".repeat(17)), Condition::NotAcceptable),
            (field("include-groupchat", "perhaps"), Condition::NotAcceptable),
            (
                form(&format!("<field var='ids'>{}</field>", format!("<value>{id}</value>").repeat(3))),
                Condition::NotAcceptable,
            ),
            ("<x xmlns='jabber:x:data' type='submit'/>".to_owned(), Condition::BadRequest),
            (form("").replace("submit", "cancel"), Condition::BadRequest),
            (set("<index>5</index>"), Condition::FeatureNotImplemented),
            (set("<max>-1</max>"), Condition::BadRequest),
            (set("<after>nothing of ours</after>"), Condition::ItemNotFound),
            (set(&format!("<after>{id}</after><before>{id}</before>")), Condition::BadRequest),
        ] {
            assert_eq!(parse(&inside).unwrap_err().condition, expected, "{inside}");
        }
        for inside in [format!("queryid='{}'", "q".repeat(1025)), "node='n'".to_owned()] {
            let query = format!("<query xmlns='urn:xmpp:mam:2' {inside}/>");
            assert!(Query::parse(&xmpp::xml::parse_element(query.as_bytes(), ns::CLIENT).unwrap(), 2, true).is_err());
        }
    }

    #[test]
    fn empty_fields_say_nothing() {
        let query = parse(&form("<field var='with'><value/></field><field var='start'/><field var='ids'/>")).unwrap();
        assert!(!query.is_filtered && query.span == Span::ALL && query.with.is_none() && query.ids.is_none());
    }

    #[test]
    fn the_form_says_what_it_knows() {
        let form = xmpp::xml::parse_element(FORM.as_bytes(), ns::CLIENT).unwrap();
        let form = Form::parse_in(&form).unwrap().unwrap();
        for field in form.fields.iter().filter_map(|field| field.var.as_deref()).skip(1) {
            let value = match field {
                "with" => "a@b".to_owned(),
                "start" | "end" => "2026-11-22T12:34:56Z".to_owned(),
                "include-groupchat" => "1".to_owned(),
                "withtext" | "{urn:xmpp:fulltext:0}fulltext" => "some words".to_owned(),
                _ => Place::FIRST.id(),
            };
            let asked = self::form(&format!("<field var='{field}'><value>{value}</value></field>"));
            assert!(parse(&asked).is_ok(), "{field}");
        }
    }
}
