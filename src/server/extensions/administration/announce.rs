//! Announcements to those who are here, and the message of the day for those who come (XEP-0133 sections 4.23 to 4.26).

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use xmpp::form::{Field, FieldType, Form};
use xmpp::stanza::{Kind, MessageType};
use xmpp::{BareJid, Element, Jid, Stanza, StanzaError, ns};

use super::{Office, question, submitted};
use crate::extension::{Caller, Kit, Note, Outcome, Pending, Step, fault};
use crate::router::Router;
use crate::session::Session;
use crate::tables::motd::{Motd, Motds};

/// Bytes of an announcement.
const TEXT_BYTES_MAX: usize = 10_000;

/// Knows the messages of the day, and gives each account the present one once.
pub(super) struct Crier {
    motds: Motds,
    /// By domain, as far as anybody has asked.
    at_hand: Arc<Mutex<HashMap<Box<str>, Option<Motd>>>>,
}

impl Crier {
    pub(super) fn new(kit: &Kit) -> Self {
        Self { motds: Motds::new(Arc::clone(&kit.store)), at_hand: Arc::default() }
    }

    /// A session became available.
    pub(super) fn arrives(&self, router: &Weak<Router>, session: &Arc<Session>) -> Pending<()> {
        if let Some(None) = lock(&self.at_hand).get(session.jid.domain()) {
            return Pending::now(());
        }
        let (motds, at_hand, router) = (self.motds.clone(), Arc::clone(&self.at_hand), Weak::clone(router));
        let account = session.jid.bare();
        Pending::later(async move {
            let Some(router) = router.upgrade() else { return };
            if let Err(error) = give(&motds, &at_hand, &router, &account).await {
                tracing::error!(%account, %error, "the message of the day was not given");
            }
        })
    }

    /// Forgets what an account was given.
    pub(super) fn forget(&self, account: &BareJid) -> Pending<()> {
        let (motds, account) = (self.motds.clone(), account.clone());
        Pending::later(async move {
            if let Err(error) = motds.forget(&account).await {
                tracing::error!(%account, %error, "what a removed account was told is left behind");
            }
        })
    }

    async fn set(&self, domain: &str, motd: Option<Motd>) -> Result<(), StanzaError> {
        self.motds.set(domain, motd.as_ref()).await.map_err(|error| fault("messages of the day", &error))?;
        lock(&self.at_hand).insert(domain.into(), motd);
        Ok(())
    }
}

fn lock(at_hand: &Mutex<HashMap<Box<str>, Option<Motd>>>) -> MutexGuard<'_, HashMap<Box<str>, Option<Motd>>> {
    at_hand.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn give(
    motds: &Motds,
    at_hand: &Mutex<HashMap<Box<str>, Option<Motd>>>,
    router: &Arc<Router>,
    account: &BareJid,
) -> Result<(), store::CommitError> {
    let known = lock(at_hand).get(account.domain()).cloned();
    let motd = match known {
        Some(motd) => motd,
        None => {
            let motd = motds.load(account.domain()).await?;
            lock(at_hand).entry(account.domain().into()).or_insert(motd).clone()
        }
    };
    if let Some(motd) = motd
        && motds.give(account, motd.version).await?
    {
        say(router, account, "Message of the day", &motd.text).await;
    }
    Ok(())
}

/// A message from the host to one of its accounts.
async fn say(router: &Arc<Router>, account: &BareJid, subject: &str, text: &str) {
    let Ok(host) = Jid::new(account.domain()) else { return };
    let line = |name: &str, text: &str| Element::builder(name, ns::CLIENT).append(text).build();
    let stanza = Stanza::new(Kind::Message(MessageType::Normal)).from(host.clone()).to(account.clone());
    let stanza = stanza.with(&line("subject", subject)).with(&line("body", text));
    router.route(Caller { jid: host, session: None }, stanza).await;
}

/// Tells all who are at `host` now.
pub(super) async fn tell_all(router: &Arc<Router>, host: &BareJid, text: &str) {
    let sessions = router.sessions.all();
    let here = sessions.iter().filter(|session| session.jid.domain() == host.domain());
    let accounts: BTreeSet<BareJid> = here.map(|session| session.jid.bare()).collect();
    for account in accounts {
        say(router, &account, "Announcement", text).await;
    }
}

/// The lines of a field as one text.
pub(super) fn text(form: &Form, var: &str) -> Result<Option<String>, StanzaError> {
    let text = form.field(var).map(Field::to_lines).unwrap_or_default();
    if text.len() > TEXT_BYTES_MAX {
        return Err(StanzaError::not_acceptable().with_text(format!("more than {TEXT_BYTES_MAX} bytes")));
    }
    Ok(Some(text).filter(|text| !text.trim().is_empty()))
}

fn required(form: &Form, var: &str) -> Result<String, StanzaError> {
    text(form, var)?.ok_or_else(|| StanzaError::not_acceptable().with_text(format!("`{var}` is missing")))
}

/// Section 4.23.
pub(super) async fn announce(office: Arc<Office>, step: Step) -> Result<Outcome, StanzaError> {
    let Some(form) = submitted(&step)? else {
        let field = Field::new("announcement", FieldType::TextMulti).label("Announcement").required();
        let instructions = "Fill out this form to make an announcement to all online users of this service.";
        return Ok(Outcome::ask(question("Making an Announcement", instructions).with(field)));
    };
    let text = required(form, "announcement")?;
    let router = office.router()?;
    tracing::info!(admin = %step.caller.jid, host = %step.at, "announcement");
    let then = Box::pin(async move { tell_all(&router, &step.at, &text).await });
    Ok(Outcome::Done { form: None, notes: Vec::new(), then: Some(then) })
}

/// Section 4.24.
pub(super) async fn set(office: Arc<Office>, step: Step) -> Result<Outcome, StanzaError> {
    let Some(form) = submitted(&step)? else {
        let field = Field::new("motd", FieldType::TextMulti).label("Message of the Day").required();
        let instructions = "Fill out this form to set the message of the day.";
        return Ok(Outcome::ask(question("Setting the Message of the Day", instructions).with(field)));
    };
    put(&office, &step, required(form, "motd")?).await
}

/// Section 4.25.
pub(super) async fn edit(office: Arc<Office>, step: Step) -> Result<Outcome, StanzaError> {
    let Some(form) = submitted(&step)? else {
        let motd =
            office.crier.motds.load(step.at.domain()).await.map_err(|error| fault("messages of the day", &error))?;
        let Some(motd) = motd else {
            return Ok(Outcome::noted(Note::error("there is no message of the day")));
        };
        let field = Field::new("motd", FieldType::TextMulti).label("Message of the Day").required();
        let instructions = "Fill out this form to edit the message of the day.";
        let form = question("Editing the Message of the Day", instructions).with(field.values(motd.text.lines()));
        return Ok(Outcome::ask(form));
    };
    put(&office, &step, required(form, "motd")?).await
}

/// Sets it, and gives it to those who are here.
async fn put(office: &Arc<Office>, step: &Step, text: String) -> Result<Outcome, StanzaError> {
    let motd = Motd { version: office.clock.now(), text: text.into() };
    office.crier.set(step.at.domain(), Some(motd)).await?;
    tracing::info!(admin = %step.caller.jid, host = %step.at, "message of the day set");
    let (router, office, host) = (office.router()?, Arc::clone(office), step.at.clone());
    let then = Box::pin(async move {
        let sessions = router.sessions.all();
        let here = sessions.iter().filter(|session| session.jid.domain() == host.domain());
        let accounts: BTreeSet<BareJid> = here.map(|session| session.jid.bare()).collect();
        for account in accounts {
            if let Err(error) = give(&office.crier.motds, &office.crier.at_hand, &router, &account).await {
                tracing::error!(%account, %error, "the message of the day was not given");
            }
        }
    });
    Ok(Outcome::Done { form: None, notes: Vec::new(), then: Some(then) })
}

/// Section 4.26.
pub(super) async fn delete(office: Arc<Office>, step: Step) -> Result<Outcome, StanzaError> {
    office.crier.set(step.at.domain(), None).await?;
    tracing::info!(admin = %step.caller.jid, host = %step.at, "message of the day deleted");
    Ok(Outcome::done())
}
