//! The command by which people say that they want to be found, and by what. Nobody is found who did not say so.

use std::sync::Arc;

use xmpp::form::{Field, FieldType, Form, FormType};
use xmpp::{BareJid, Element, StanzaError, ns};

use super::FIELDS;
use crate::extension::{BoxFuture, Caller, Command, Note, Outcome, Step, fault};
use crate::tables::directory::{Directory, Entry};
use crate::tables::elements::Vcards;

/// The command's node.
pub(super) const NODE: &str = ns::DIRECTORY;
/// Bytes of one text.
const TEXT_BYTES_MAX: usize = 256;

/// Lists and unlists.
pub(super) struct Listing {
    pub(super) directory: Directory,
    pub(super) vcards: Vcards,
}

impl Listing {
    /// What is to be filled in: what the account shows now, or what its vCard would have it show.
    async fn question(&self, account: &BareJid) -> Result<Form, StanzaError> {
        let shown = self.directory.get(account).await.map_err(|error| fault("the directory", &error))?;
        let is_listed = shown.as_ref().is_some_and(|entry| entry.texts.iter().any(|text| !text.is_empty()));
        let has_feeds = shown.as_ref().is_some_and(|entry| entry.has_feeds);
        let entry = match shown {
            Some(entry) => entry,
            None => {
                let vcard = self.vcards.get(account.as_str()).await.map_err(|error| fault("vCards", &error))?;
                vcard
                    .and_then(|bytes| xmpp::xml::parse_element(&bytes, "").ok())
                    .map_or_else(Entry::default, suggestion)
            }
        };
        let mut form = Form::typed(FormType::Form, NODE);
        form.title = Some("Being found".to_owned());
        form.instructions
            .push("Who searches for people on this server can find you by what you write here.".to_owned());
        let listed = Field::new("listed", FieldType::Boolean).label("I want to be found").value(bit(is_listed));
        let texts = FIELDS.iter().zip(entry.texts).map(|((var, label), text)| {
            let field = Field::new(var, FieldType::TextSingle).label(*label);
            if text.is_empty() { field } else { field.value(text) }
        });
        let feeds = Field::new("feeds", FieldType::Boolean);
        let feeds = feeds.label("List my feeds that everybody may read").value(bit(has_feeds));
        Ok(texts.fold(form.with(listed), Form::with).with(feeds))
    }

    async fn answer(&self, account: &BareJid, form: &Form) -> Result<Outcome, StanzaError> {
        let is_on = |var: &str| form.field(var).is_some_and(|field| field.to_bool() == Ok(true));
        let (is_listed, has_feeds) = (is_on("listed"), is_on("feeds"));
        if !is_listed && !has_feeds {
            self.directory.delete(account).await.map_err(|error| fault("the directory", &error))?;
            return Ok(Outcome::noted(Note::info("You cannot be found.")));
        }
        let mut entry = Entry { has_feeds, ..Entry::default() };
        for ((var, _), text) in FIELDS.iter().zip(&mut entry.texts).filter(|_| is_listed) {
            let said = form.value(var).unwrap_or_default().trim();
            if said.len() > TEXT_BYTES_MAX || said.chars().any(char::is_control) {
                let why = format!("`{var}` has at most {TEXT_BYTES_MAX} bytes and no control characters");
                return Err(StanzaError::not_acceptable().with_text(why));
            }
            said.clone_into(text);
        }
        if is_listed && entry.texts.iter().all(String::is_empty) {
            return Err(StanzaError::not_acceptable().with_text("say by what you want to be found"));
        }
        self.directory.put(account, &entry).await.map_err(|error| fault("the directory", &error))?;
        let said = match (is_listed, has_feeds) {
            (true, true) => "You can be found, and your feeds are listed.",
            (true, false) => "You can be found.",
            (false, _) => "Your feeds are listed.",
        };
        Ok(Outcome::noted(Note::info(said)))
    }
}

/// What a vCard says of the same; electronic mail is for its owner to say.
fn suggestion(vcard: Element) -> Entry {
    let text = |element: Option<&Element>, name: &str| {
        let text =
            element.and_then(|element| element.get_child(name, ns::VCARD)).map(Element::text).unwrap_or_default();
        if text.len() <= TEXT_BYTES_MAX { text.trim().to_owned() } else { String::new() }
    };
    let name = vcard.get_child("N", ns::VCARD);
    Entry {
        texts: [text(name, "GIVEN"), text(name, "FAMILY"), text(Some(&vcard), "NICKNAME"), String::new()],
        has_feeds: false,
    }
}

fn bit(value: bool) -> &'static str {
    if value { "1" } else { "0" }
}

impl Command for Listing {
    fn node(&self) -> &'static str {
        NODE
    }

    fn name(&self) -> &'static str {
        "Being found by others"
    }

    fn permits(&self, caller: &Caller) -> bool {
        caller.session.is_some()
    }

    fn run(self: Arc<Self>, step: Step) -> BoxFuture<Result<Outcome, StanzaError>> {
        Box::pin(async move {
            let account = step.caller.jid.to_bare();
            if account.domain() != step.at.domain() {
                return Err(StanzaError::forbidden());
            }
            match step.form() {
                Some(form) => self.answer(&account, form).await,
                None => Ok(Outcome::ask(self.question(&account).await?)),
            }
        })
    }
}
