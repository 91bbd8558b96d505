//! XEP-0055: Jabber Search, of people on this server who want to be found.
//!
//! Who wants that says so by a command (`listing`). A search looks at a bounded number of entries and finds a bounded
//! number; the rest is asked for by page (XEP-0059).

mod listing;

use std::sync::Arc;

use serde::Deserialize;
use xmpp::form::{Field, FieldType, Form, FormType};
use xmpp::xml::WithAttribute as _;
use xmpp::{BareJid, Element, StanzaError, ns, paging};

use self::listing::Listing;
use crate::extension::{
    Answer, Asked, Extension, Identity, Kit, Listener, Mount, Pending, Reply, Spec, To, Xep, fault,
};
use crate::tables::directory::{Directory, Entry};
use crate::tables::elements::Vcards;

/// What can be searched: the fields of the namespace, and what they are called.
const FIELDS: [(&str, &str); 4] =
    [("first", "Given name"), ("last", "Family name"), ("nick", "Nickname"), ("email", "Email")];
/// Found in one answer.
const FOUND_MAX: usize = 50;
/// Entries looked at for one answer.
const SEEN_MAX: usize = 5_000;
/// Entries read at once.
const ROWS: usize = 500;
/// Characters of what is searched for: fewer would list everybody, more would find nobody.
const TERM_CHARS: std::ops::RangeInclusive<usize> = 2..=64;

/// Section `[search]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether there is a directory.
    pub enabled: bool,
    /// Who may search it.
    pub open_to: OpenTo,
}

/// Who may search.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpenTo {
    /// Accounts of the same domain.
    #[default]
    Local,
    /// Anyone, from any server.
    Anyone,
}

impl Default for Settings {
    fn default() -> Self {
        Self { enabled: true, open_to: OpenTo::Local }
    }
}

/// Finds people.
#[expect(missing_debug_implementations, reason = "a store has nothing to show")]
pub struct Search {
    directory: Directory,
    vcards: Vcards,
    settings: Settings,
}

static SPEC: Spec = Spec {
    name: "search",
    xeps: &[Xep::complete(55, "1.3")],
    config: "[search]\n\
        # Whether people can search for those accounts of their server that want to be found (XEP-0055). Who wants to be\n\
        # found says so by an ad-hoc command.\n\
        enabled = true\n\
        # Who may search: \"local\" (accounts of the same domain) or \"anyone\", from any server.\n\
        open_to = \"local\"\n",
};

/// What is searched for, by the fields of the namespace; all of it must be there.
#[derive(Debug, Default, PartialEq)]
struct Terms([Option<String>; 4]);

impl Terms {
    /// Reads a search; `value` gives what is said for a field.
    fn read(value: impl Fn(&str) -> Option<String>) -> Result<Self, StanzaError> {
        let mut terms = Self::default();
        for ((var, _), term) in FIELDS.iter().zip(&mut terms.0) {
            let Some(said) = value(var) else { continue };
            // People write stars around what they look for; it is found anywhere all the same.
            let said = said.trim().trim_matches('*').trim().to_lowercase();
            if said.is_empty() {
                continue;
            }
            if !TERM_CHARS.contains(&said.chars().count()) {
                let why = format!("`{var}` has {} to {} characters", TERM_CHARS.start(), TERM_CHARS.end());
                return Err(StanzaError::not_acceptable().with_text(why));
            }
            *term = Some(said);
        }
        match terms.0.iter().any(Option::is_some) {
            true => Ok(terms),
            false => Err(StanzaError::not_acceptable().with_text("say whom you look for")),
        }
    }

    fn are_in(&self, entry: &Entry) -> bool {
        self.0
            .iter()
            .zip(&entry.texts)
            .all(|(term, text)| term.as_ref().is_none_or(|term| text.to_lowercase().contains(term.as_str())))
    }
}

/// What was found, and where to go on if there may be more.
struct Found {
    people: Vec<(BareJid, Entry)>,
    next: Option<BareJid>,
}

impl Search {
    /// Finds those who are in the directory of the kit's store.
    #[must_use]
    pub fn new(kit: &Kit, settings: Settings) -> Arc<Self> {
        let directory = Directory::new(Arc::clone(&kit.store));
        Arc::new(Self { directory, vcards: Vcards::new(Arc::clone(&kit.store)), settings })
    }

    fn require(&self, asked: &Asked) -> Result<(), StanzaError> {
        let is_local = asked.caller.session.is_some() && asked.caller.jid.domain() == asked.to.domain();
        if is_local || self.settings.open_to == OpenTo::Anyone { Ok(()) } else { Err(StanzaError::forbidden()) }
    }

    async fn fields(self: Arc<Self>, asked: Asked) -> Answer {
        self.require(&asked)?;
        let instructions = "Fill in one or more fields to find people of this server who want to be found.";
        let mut form = Form::typed(FormType::Form, ns::SEARCH);
        form.title = Some("People".to_owned());
        form.instructions.push(instructions.to_owned());
        let fields = FIELDS.iter().map(|(var, label)| Field::new(var, FieldType::TextSingle).label(*label));
        let form = fields.fold(form, Form::with);
        let answer = Element::builder("query", ns::SEARCH)
            .append(Element::builder("instructions", ns::SEARCH).append(instructions).build())
            .append_all(FIELDS.iter().map(|(var, _)| Element::bare(*var, ns::SEARCH)))
            .append(form.to_element());
        Ok(Reply::Element(answer.build()))
    }

    async fn search(self: Arc<Self>, asked: Asked) -> Answer {
        self.require(&asked)?;
        let query = asked.open()?;
        let page = paging::Query::parse(&query).map_err(|_| StanzaError::bad_request())?;
        let form = Form::parse_in(&query).map_err(|_| StanzaError::bad_request())?;
        let terms = match &form {
            Some(form) if form.type_ != FormType::Submit => return Err(StanzaError::bad_request()),
            Some(form) => Terms::read(|var| form.value(var).map(str::to_owned))?,
            None => Terms::read(|var| query.get_child(var, ns::SEARCH).map(Element::text))?,
        };
        let asked_for = page.unwrap_or_default();
        if asked_for.before.is_some() || asked_for.index.is_some() {
            return Err(StanzaError::feature_not_implemented().with_text("pages are turned forwards only"));
        }
        let after = match &asked_for.after {
            Some(after) => Some(BareJid::new(after).map_err(|_| StanzaError::item_not_found())?),
            None => None,
        };
        let found = self.find(asked.to.domain(), &terms, after, asked_for.size(FOUND_MAX)).await;
        let found = found.map_err(|error| fault("the directory", &error))?;
        let mut answer = Element::builder("query", ns::SEARCH);
        answer = match form {
            Some(_) => answer.append(table(&found.people)),
            None => answer.append_all(found.people.iter().map(item)),
        };
        if let Some(next) = found.next {
            let uid = |name: &str, text: &str| Element::builder(name, ns::RSM).append(text).build();
            // Both or neither (XEP-0059 section 2.2), also when nothing was found so far.
            let first = uid("first", found.people.first().map_or(&next, |(jid, _)| jid).as_str());
            answer = answer
                .append(Element::builder("set", ns::RSM).append(first).append(uid("last", next.as_str())).build());
        }
        Ok(Reply::Element(answer.build()))
    }

    async fn find(
        &self,
        domain: &str,
        terms: &Terms,
        mut after: Option<BareJid>,
        found_max: usize,
    ) -> Result<Found, store::Fault> {
        let mut people = Vec::new();
        let mut seen = 0;
        loop {
            let (rows, is_complete) = self.directory.page(domain, after.as_ref(), ROWS).await?;
            seen += rows.len();
            for (account, entry) in rows {
                if terms.are_in(&entry) {
                    if people.len() >= found_max {
                        return Ok(Found { people, next: after });
                    }
                    people.push((account.clone(), entry));
                }
                after = Some(account);
            }
            if is_complete {
                return Ok(Found { people, next: None });
            }
            if seen >= SEEN_MAX {
                return Ok(Found { people, next: after });
            }
        }
    }
}

fn item((account, entry): &(BareJid, Entry)) -> Element {
    let texts = FIELDS.iter().zip(&entry.texts);
    Element::builder("item", ns::SEARCH)
        .attribute("jid", account.as_str())
        .append_all(texts.map(|((var, _), text)| Element::builder(*var, ns::SEARCH).append(text.as_str()).build()))
        .build()
}

/// The same as a data form (section 3).
fn table(people: &[(BareJid, Entry)]) -> Element {
    let mut form = Form::typed(FormType::Result, ns::SEARCH);
    form.reported.push(Field::new("jid", FieldType::JidSingle).label("Jabber ID"));
    form.reported.extend(FIELDS.iter().map(|(var, label)| Field::new(var, FieldType::TextSingle).label(*label)));
    form.items = people
        .iter()
        .map(|(account, entry)| {
            let texts = FIELDS.iter().zip(&entry.texts);
            let texts = texts.map(|((var, _), text)| Field::answer(var, text.clone()));
            std::iter::once(Field::answer("jid", account.as_str())).chain(texts).collect()
        })
        .collect();
    form.to_element()
}

impl Listener for Search {
    fn account_removed(&self, account: &BareJid) -> Pending<()> {
        let (directory, account) = (self.directory.clone(), account.clone());
        Pending::later(async move {
            if let Err(error) = directory.delete(&account).await {
                let _told = fault("the directory", &error);
            }
        })
    }
}

impl Extension for Search {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        if self.settings.enabled {
            at.identity(To::DOMAIN, Identity { category: "directory", type_: "user", name: "" });
            at.iq_get(To::DOMAIN, ("query", ns::SEARCH), &self, Self::fields);
            at.iq_set(To::DOMAIN, ("query", ns::SEARCH), &self, Self::search);
            let (directory, vcards) = (self.directory.clone(), self.vcards.clone());
            at.command(To::DOMAIN, Arc::new(Listing { directory, vcards }));
        }
        at.listener(self);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use std::sync::Arc;

    use xmpp::BareJid;

    use super::{Directory, Entry, SEEN_MAX, SPEC, Search, Settings, Terms, Vcards};
    use crate::config::Config;

    fn terms(said: &[(&str, &str)]) -> Option<Terms> {
        Terms::read(|var| said.iter().find(|(name, _)| *name == var).map(|(_, text)| (*text).to_owned())).ok()
    }

    #[test]
    fn terms_are_found_anywhere_and_all_of_them() {
        let entry = Entry { texts: ["Juliet", "Capulet", "JuliC", ""].map(str::to_owned), has_feeds: false };
        for (said, is_found) in [
            (&[("last", "capulet")][..], true),
            (&[("last", "*PULE*")], true),
            (&[("last", "capulet"), ("first", "Jul")], true),
            (&[("last", "capulet"), ("first", "Romeo")], false),
            (&[("email", "juliet")], false),
            (&[("last", ".*")], false),
            (&[("last", "cap?let")], false),
            (&[("last", "%pulet")], false),
        ] {
            assert_eq!(terms(said).is_some_and(|terms| terms.are_in(&entry)), is_found, "{said:?}");
        }
    }

    #[test]
    fn what_would_list_everybody_is_refused() {
        let long = "x".repeat(65);
        for said in
            [&[][..], &[("last", "")], &[("last", "***")], &[("last", "c")], &[("last", &long)], &[("jid", "x")]]
        {
            assert!(terms(said).is_none(), "{said:?}");
        }
    }

    #[tokio::test]
    async fn a_search_looks_at_so_many_and_goes_on_from_there() {
        let store: Arc<dyn store::Store> = Arc::new(store::Memory::new());
        let directory = Directory::new(Arc::clone(&store));
        for number in 0..SEEN_MAX + 600 {
            let entry = Entry { texts: ["", "", "nobody", ""].map(str::to_owned), has_feeds: false };
            directory.put(&BareJid::new(&format!("u{number:05}@a.example")).unwrap(), &entry).await.unwrap();
        }
        let last = BareJid::new(&format!("u{:05}@a.example", SEEN_MAX + 599)).unwrap();
        directory
            .put(&last, &Entry { texts: ["", "", "Juliet", ""].map(str::to_owned), has_feeds: false })
            .await
            .unwrap();
        let search = Search { directory, vcards: Vcards::new(store), settings: Settings::default() };
        let juliet = terms(&[("nick", "juliet")]).unwrap();
        let found = search.find("a.example", &juliet, None, 50).await.unwrap();
        assert!(found.people.is_empty() && found.next.is_some());
        let found = search.find("a.example", &juliet, found.next, 50).await.unwrap();
        assert_eq!((found.people.len(), found.next), (1, None));

        let all = terms(&[("nick", "nobody")]).unwrap();
        let first = search.find("a.example", &all, None, 50).await.unwrap();
        let second = search.find("a.example", &all, first.next.clone(), 50).await.unwrap();
        assert_eq!(first.people.last().map(|(jid, _)| jid), first.next.as_ref());
        assert_eq!(second.people[0].0.as_str(), "u00050@a.example");
    }

    #[test]
    fn the_example_is_the_default() {
        let mut config = Config::parse(SPEC.config, None).unwrap();
        assert_eq!(config.sections.take::<Settings>("search").unwrap(), Settings::default());
    }
}
