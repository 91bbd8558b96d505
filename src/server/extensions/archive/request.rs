//! What a client asks of an archive, its own, a node's (XEP-0442) or its timeline: the form, the page, and nothing else
//! (XEP-0313 section 4). What the archive holds, and how its places are written, is the caller's affair.

use bytes::Bytes;
use pubsub::order::{By, Order};
use xmpp::form::{Form, FormType};
use xmpp::paging::{self, Start};
use xmpp::xml::escape_attr;
use xmpp::{Element, Jid, StanzaError, datetime, ns};

use crate::tables::archive::{self, Span};
use crate::tables::timeline;

/// Longest `queryid`, in bytes: it comes back with every message of the page.
const QUERY_ID_BYTES_MAX: usize = 1024;

/// A place in an archive, which clients know by an id.
pub(in crate::extensions) trait Anchor: Copy + Ord {
    /// The place that an id of ours names.
    fn parse(id: &str) -> Option<Self>;
}

impl Anchor for archive::Place {
    fn parse(id: &str) -> Option<Self> {
        Self::parse(id)
    }
}

impl Anchor for timeline::Place {
    fn parse(id: &str) -> Option<Self> {
        Self::parse(id)
    }
}

/// What can be asked of an archive besides times, ids and pages. Field types other than those of the specification make
/// clients stumble.
#[derive(Clone, Copy, Debug)]
pub(in crate::extensions) struct Fields {
    /// Whether results can be chosen by who they are with.
    pub(in crate::extensions) has_with: bool,
    /// Whether a field about groupchat is understood.
    pub(in crate::extensions) has_groupchat: bool,
    /// Whether one may search (XEP-0431).
    pub(in crate::extensions) has_text: bool,
    /// Ids in one query at most.
    pub(in crate::extensions) ids_max: usize,
}

impl Fields {
    /// The form that says so.
    pub(in crate::extensions) fn form(&self, node: Option<&str>) -> Bytes {
        let mut out = b"<query xmlns='urn:xmpp:mam:2'".to_vec();
        if let Some(node) = node {
            out.extend_from_slice(b" node='");
            escape_attr(&mut out, node);
            out.push(b'\'');
        }
        out.extend_from_slice(b"><x xmlns='jabber:x:data' type='form'>");
        out.extend_from_slice(b"<field type='hidden' var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>");
        let field = |out: &mut Vec<u8>, type_: &str, var: &str| {
            out.extend_from_slice(format!("<field type='{type_}' var='{var}'/>").as_bytes());
        };
        if self.has_with {
            field(&mut out, "jid-single", "with");
        }
        for var in ["start", "end", "before-id", "after-id"] {
            field(&mut out, "text-single", var);
        }
        out.extend_from_slice(
            b"<field type='list-multi' var='ids'>\
              <validate xmlns='http://jabber.org/protocol/xdata-validate' datatype='xs:string'><open/></validate></field>",
        );
        if self.has_groupchat {
            field(&mut out, "boolean", "include-groupchat");
        }
        if self.has_text {
            // As specified, and as clients say that knew it before it was.
            for var in ["{urn:xmpp:fulltext:0}fulltext", "withtext"] {
                field(&mut out, "text-single", var);
            }
        }
        out.extend_from_slice(b"</x></query>");
        out.into()
    }
}

/// One end of what is wanted, in the archive's own order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::extensions) enum Page<P> {
    /// The first messages.
    First,
    /// The last ones.
    Last,
    /// Those behind a place.
    After(P),
    /// Those before it.
    Before(P),
}

/// A query.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::extensions) struct Query<P> {
    pub(in crate::extensions) query_id: Option<Box<str>>,
    pub(in crate::extensions) with: Option<Jid>,
    /// Not before this time, in microseconds, and not after the other.
    pub(in crate::extensions) times: (u64, u64),
    /// Behind this place, and before the other, both excluded.
    pub(in crate::extensions) between: (Option<P>, Option<P>),
    /// Places that must be in the archive, or the query fails.
    pub(in crate::extensions) anchors: Vec<P>,
    /// Only these, in order.
    pub(in crate::extensions) ids: Option<Vec<P>>,
    /// Only what says this (XEP-0431).
    pub(in crate::extensions) text: Option<archive::Query>,
    pub(in crate::extensions) by: By,
    /// The last comes first. `page` and `is_flipped` say already what that makes of the page.
    pub(in crate::extensions) is_descending: bool,
    pub(in crate::extensions) page: Page<P>,
    pub(in crate::extensions) max: Option<u32>,
    pub(in crate::extensions) is_flipped: bool,
    /// Whether the form asks for less than everything.
    pub(in crate::extensions) is_filtered: bool,
}

impl<P: Anchor> Query<P> {
    /// Reads `<query xmlns='urn:xmpp:mam:2'/>`.
    pub(in crate::extensions) fn parse(query: &Element, fields: &Fields) -> Result<Self, StanzaError> {
        let query_id = query.attr("queryid").map(Box::<str>::from);
        if query_id.as_ref().is_some_and(|id| id.len() > QUERY_ID_BYTES_MAX) {
            return Err(StanzaError::bad_request().with_text("the queryid is too long"));
        }
        let set = paging::Query::parse(query)?.unwrap_or_default();
        let Order { by, is_descending } = pubsub::wire::order(query)?.unwrap_or_default();
        let is_flipped = query.get_child("flip-page", ns::ARCHIVE).is_some();
        let mut parsed = Self {
            query_id,
            with: None,
            times: (0, u64::MAX),
            between: (None, None),
            anchors: Vec::new(),
            ids: None,
            text: None,
            by,
            is_descending,
            page: Page::First,
            max: set.max,
            is_flipped: is_flipped != is_descending,
            is_filtered: false,
        };
        if let Some(form) = Form::parse_in(query)? {
            parsed.read_form(&form, fields)?;
        }
        parsed.page = match (set.start(), is_descending) {
            (Start::First, false) | (Start::Last, true) => Page::First,
            (Start::Last, false) | (Start::First, true) => Page::Last,
            (Start::After(id), false) | (Start::Before(id), true) => Page::After(parsed.anchor(id)?),
            (Start::Before(id), false) | (Start::After(id), true) => Page::Before(parsed.anchor(id)?),
            // XEP-0059 section 2.6: who does not count does not find by number.
            (Start::Index(_), _) => return Err(StanzaError::feature_not_implemented()),
        };
        Ok(parsed)
    }

    /// Whether the end of the archive is where the page begins.
    pub(in crate::extensions) fn is_from_end(&self) -> bool {
        matches!(self.page, Page::Last | Page::Before(_))
    }

    /// The first and the last of a page, as the order that was asked for has them.
    pub(in crate::extensions) fn ends<T>(&self, (first, last): (T, T)) -> (T, T) {
        if self.is_descending { (last, first) } else { (first, last) }
    }

    fn read_form(&mut self, form: &Form, fields: &Fields) -> Result<(), StanzaError> {
        if form.type_ != FormType::Submit || form.form_type() != Some(ns::ARCHIVE) {
            return Err(StanzaError::bad_request().with_text("the form is not an answer to this archive's"));
        }
        for field in &form.fields {
            let value = field.first().filter(|value| !value.is_empty());
            let moment = || value.map(|text| datetime::parse(text).ok_or_else(no_moment)).transpose();
            match field.var.as_deref().unwrap_or_default() {
                "FORM_TYPE" => continue,
                // There is none in here.
                "include-groupchat" if fields.has_groupchat => {
                    field.to_bool()?;
                    continue;
                }
                "with" if fields.has_with => {
                    self.with = value.map(Jid::new).transpose().map_err(|_| StanzaError::jid_malformed())?
                }
                "start" => self.times.0 = moment()?.map_or(self.times.0, |time| self.times.0.max(time)),
                "end" => self.times.1 = moment()?.map_or(self.times.1, |time| self.times.1.min(time)),
                "after-id" => {
                    if let Some(id) = value {
                        let place = self.anchor(id)?;
                        self.between.0 = self.between.0.max(Some(place));
                    }
                }
                "before-id" => {
                    if let Some(id) = value {
                        let place = self.anchor(id)?;
                        self.between.1 = Some(self.between.1.map_or(place, |other| other.min(place)));
                    }
                }
                "ids" => {
                    if field.values.len() > fields.ids_max {
                        let text = format!("at most {} ids can be asked for at once", fields.ids_max);
                        return Err(StanzaError::not_acceptable().with_text(text));
                    }
                    let mut ids = Vec::with_capacity(field.values.len());
                    for id in field.values.iter().filter(|id| !id.is_empty()) {
                        ids.push(P::parse(id).ok_or_else(StanzaError::item_not_found)?);
                    }
                    ids.sort_unstable();
                    ids.dedup();
                    self.ids = Some(ids).filter(|ids| !ids.is_empty());
                }
                "{urn:xmpp:fulltext:0}fulltext" | "withtext" if fields.has_text => {
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

    fn anchor(&mut self, id: &str) -> Result<P, StanzaError> {
        let place = P::parse(id).ok_or_else(StanzaError::item_not_found)?;
        self.anchors.push(place);
        Ok(place)
    }
}

impl Query<archive::Place> {
    /// What the times and ids of the form leave.
    pub(super) fn span(&self) -> Span {
        let (since, until) = self.times;
        let span = Span::ALL.since(since);
        let span = if until < u64::MAX { span.until(until) } else { span };
        let span = self.between.0.map_or(span, |place| span.after(place));
        self.between.1.map_or(span, |place| span.before(place))
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
    use crate::tables::archive::Place;
    use xmpp::stanza::Condition;

    const ALL: Fields = Fields { has_with: true, has_groupchat: true, has_text: true, ids_max: 2 };

    fn parse(inside: &str) -> Result<Query<Place>, StanzaError> {
        let query = format!("<query xmlns='urn:xmpp:mam:2'>{inside}</query>");
        Query::parse(&xmpp::xml::parse_element(query.as_bytes(), ns::CLIENT).unwrap(), &ALL)
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
        let order = |by: &str| format!("<order xmlns='urn:xmpp:order-by:1' by='{by}'/>");
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
            (order("colour"), Condition::BadRequest),
            (order("creation").repeat(9), Condition::BadRequest),
            ("<order xmlns='urn:xmpp:order-by:1'/>".to_owned(), Condition::BadRequest),
            (set("<max>-1</max>"), Condition::BadRequest),
            (set("<after>nothing of ours</after>"), Condition::ItemNotFound),
            (set(&format!("<after>{id}</after><before>{id}</before>")), Condition::BadRequest),
        ] {
            assert_eq!(parse(&inside).unwrap_err().condition, expected, "{inside}");
        }
        let query = format!("<query xmlns='urn:xmpp:mam:2' queryid='{}'/>", "q".repeat(1025));
        let query = xmpp::xml::parse_element(query.as_bytes(), ns::CLIENT).unwrap();
        assert!(Query::<Place>::parse(&query, &ALL).is_err());
    }

    #[test]
    fn empty_fields_say_nothing() {
        let query = parse(&form("<field var='with'><value/></field><field var='start'/><field var='ids'/>")).unwrap();
        assert!(!query.is_filtered && query.span() == Span::ALL && query.with.is_none() && query.ids.is_none());
    }

    #[test]
    fn the_other_way_round_is_the_same_archive_from_its_other_end() {
        let order = "<order xmlns='urn:xmpp:order-by:1' by='creation' desc='true'/>";
        let set = |inside: &str| format!("{order}<set xmlns='http://jabber.org/protocol/rsm'>{inside}</set>");
        let id = Place::FIRST.id();
        for (inside, page) in [
            (order.to_owned(), Page::Last),
            (set("<before/>"), Page::First),
            (set(&format!("<after>{id}</after>")), Page::Before(Place::FIRST)),
            (set(&format!("<before>{id}</before>")), Page::After(Place::FIRST)),
        ] {
            let query = parse(&inside).unwrap();
            assert_eq!((query.page, query.is_flipped, query.ends((1, 2))), (page, true, (2, 1)), "{inside}");
        }
        assert!(!parse(&format!("{order}<flip-page/>")).unwrap().is_flipped);
    }

    #[test]
    fn the_form_says_what_it_knows() {
        let form = xmpp::xml::parse_element(&ALL.form(Some("a'b")), ns::CLIENT).unwrap();
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
