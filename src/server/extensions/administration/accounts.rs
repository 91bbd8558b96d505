//! Commands for single accounts (XEP-0133 sections 4.1 to 4.10).

use std::sync::Arc;

use xmpp::form::{Field, FieldType, Form};
use xmpp::stream::Condition;
use xmpp::{BareJid, StanzaError};

use super::{Office, account, addresses, ask_accounts, question, result, submitted};
use crate::extension::{Note, Outcome, Step, fault};
use crate::extensions::roster;
use crate::tables::accounts::AccountError;

/// Section 4.1.
pub(super) async fn add(office: Arc<Office>, step: Step) -> Result<Outcome, StanzaError> {
    let Some(form) = submitted(&step)? else {
        let form = question("Adding a User", "Fill out this form to add a user.")
            .with(jid_field("The Jabber ID for the account to be added"))
            .with(Field::new("password", FieldType::TextPrivate).label("The password for this account").required())
            .with(Field::new("password-verify", FieldType::TextPrivate).label("Retype password"));
        return Ok(Outcome::ask(form));
    };
    let account = account(&step, form)?;
    let password = password(form)?;
    office.accounts.create(&account, password, office.clock.now()).await.map_err(|error| refused(&error))?;
    log(&step, "account opened", &account);
    Ok(Outcome::done())
}

/// Section 4.2.
pub(super) async fn delete(office: Arc<Office>, step: Step) -> Result<Outcome, StanzaError> {
    let Some(form) = submitted(&step)? else {
        return Ok(ask_accounts("Deleting a User", "The Jabber ID(s) to delete"));
    };
    let accounts = existing(&office, &step, form).await?;
    let own = step.caller.jid.to_bare();
    if accounts.contains(&own) {
        return Err(StanzaError::not_allowed().with_text("an administrator does not delete the own account"));
    }
    let router = office.router()?;
    for account in &accounts {
        office.accounts.remove(account).await.map_err(|error| fault("accounts", &error))?;
        router.close_account(account).await;
        office.accounts.closed(account).await.map_err(|error| fault("accounts", &error))?;
        log(&step, "account closed", account);
    }
    Ok(Outcome::done())
}

/// Section 4.3.
pub(super) async fn disable(office: Arc<Office>, step: Step) -> Result<Outcome, StanzaError> {
    let Some(form) = submitted(&step)? else {
        return Ok(ask_accounts("Disabling a User", "The Jabber ID(s) to disable"));
    };
    let accounts = existing(&office, &step, form).await?;
    if accounts.contains(&step.caller.jid.to_bare()) {
        return Err(StanzaError::not_allowed().with_text("an administrator does not disable the own account"));
    }
    let router = office.router()?;
    for account in &accounts {
        office.accounts.disable(account, office.clock.now()).await.map_err(|error| refused(&error))?;
        let end = |session: &Arc<_>| close(session);
        router.sessions.for_each_of(account.as_str(), end);
        log(&step, "account disabled", account);
    }
    Ok(Outcome::done())
}

/// Section 4.4.
pub(super) async fn enable(office: Arc<Office>, step: Step) -> Result<Outcome, StanzaError> {
    let Some(form) = submitted(&step)? else {
        return Ok(ask_accounts("Re-Enabling a User", "The Jabber ID(s) to re-enable"));
    };
    let accounts = existing(&office, &step, form).await?;
    let mut notes = Vec::new();
    for account in &accounts {
        if office.accounts.enable(account).await.map_err(|error| fault("accounts", &error))? {
            log(&step, "account enabled", account);
        } else {
            notes.push(Note::warning(format!("{account} was not disabled")));
        }
    }
    Ok(Outcome::Done { form: None, notes, then: None })
}

/// Section 4.5. "If the JID is of the form user@host, the service MUST end all of the user's sessions."
pub(super) async fn end_sessions(office: Arc<Office>, step: Step) -> Result<Outcome, StanzaError> {
    let Some(form) = submitted(&step)? else {
        return Ok(ask_accounts("Ending a User Session", "The Jabber ID(s) for which to end sessions"));
    };
    let addresses = addresses(&step, form)?;
    let router = office.router()?;
    let (mut sessions, mut notes) = (Vec::new(), Vec::new());
    for jid in &addresses {
        let before = sessions.len();
        match jid.to_full() {
            Some(full) => sessions.extend(router.sessions.find(&full)),
            None => sessions.extend(router.sessions.of(jid.as_str())),
        }
        if sessions.len() == before {
            notes.push(Note::warning(format!("{jid} has no session")));
        }
    }
    // After the answer, since one of them may be the caller's own.
    let then = Box::pin(async move { sessions.iter().for_each(close) });
    Ok(Outcome::Done { form: None, notes, then: Some(then) })
}

/// Section 4.7.
pub(super) async fn change_password(office: Arc<Office>, step: Step) -> Result<Outcome, StanzaError> {
    let Some(form) = submitted(&step)? else {
        let form = question("Changing a User Password", "Fill out this form to change a user's password.")
            .with(jid_field("The Jabber ID for this account"))
            .with(Field::new("password", FieldType::TextPrivate).label("The password for this account").required());
        return Ok(Outcome::ask(form));
    };
    let account = account(&step, form)?;
    office.accounts.set_password(&account, password(form)?).await.map_err(|error| refused(&error))?;
    log(&step, "password changed", &account);
    Ok(Outcome::done())
}

/// Section 4.8.
pub(super) async fn roster(office: Arc<Office>, step: Step) -> Result<Outcome, StanzaError> {
    let Some(form) = submitted(&step)? else {
        return Ok(ask_accounts("Getting a User's Roster", "The Jabber ID(s) for which to retrieve the roster"));
    };
    let accounts = existing(&office, &step, form).await?;
    let [account] = accounts.as_slice() else {
        return Err(StanzaError::not_acceptable().with_text("one roster at a time"));
    };
    let book = office.books.open(account).await.map_err(|error| fault("rosters", &error))?;
    let mut form = result().with(Field::new("accountjids", FieldType::JidMulti).value(account.as_str())).to_element();
    form.append_child(roster::whole(&book));
    Ok(Outcome::Done { form: Some(form), notes: Vec::new(), then: None })
}

/// Section 4.10.
pub(super) async fn statistics(office: Arc<Office>, step: Step) -> Result<Outcome, StanzaError> {
    let Some(form) = submitted(&step)? else {
        let form = question("Get User Statistics", "Fill out this form to gather user statistics.")
            .with(jid_field("The Jabber ID for statistics"));
        return Ok(Outcome::ask(form));
    };
    let account = account(&step, form)?;
    must_exist(&office, &account).await?;
    let book = office.books.open(&account).await.map_err(|error| fault("rosters", &error))?;
    let size = book.contacts(|contact| contact.is_listed).len();
    let sessions = office.router()?.sessions.of(account.as_str());
    let resources = sessions.iter().map(|session| session.jid.resource().to_owned());
    let form = result()
        .with(Field::new("rostersize", FieldType::TextSingle).label("Roster size").value(size.to_string()))
        .with(Field::new("onlineresources", FieldType::TextMulti).label("Online Resources").values(resources));
    Ok(Outcome::told(&form))
}

fn jid_field(label: &str) -> Field {
    Field::new("accountjid", FieldType::JidSingle).label(label).required()
}

fn password(form: &Form) -> Result<&str, StanzaError> {
    let password = form.value("password").unwrap_or_default();
    match form.value("password-verify").filter(|again| !again.is_empty()) {
        Some(again) if again != password => Err(StanzaError::not_acceptable().with_text("the two passwords differ")),
        _ => Ok(password),
    }
}

/// The accounts in the form, all of which must exist.
async fn existing(office: &Office, step: &Step, form: &Form) -> Result<Vec<BareJid>, StanzaError> {
    let accounts: Vec<BareJid> = addresses(step, form)?.into_iter().map(|jid| jid.into_bare()).collect();
    for account in &accounts {
        must_exist(office, account).await?;
    }
    Ok(accounts)
}

async fn must_exist(office: &Office, account: &BareJid) -> Result<(), StanzaError> {
    match office.accounts.exists(account).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(StanzaError::item_not_found().with_text(format!("there is no account {account}"))),
        Err(error) => Err(fault("accounts", &error)),
    }
}

/// Section 5: "a user already exists with that username".
fn refused(error: &AccountError) -> StanzaError {
    let answer = match error {
        AccountError::Exists => StanzaError::conflict(),
        AccountError::Unknown => StanzaError::item_not_found(),
        AccountError::NotAnAccount | AccountError::BadPassword | AccountError::BadInvitation => {
            StanzaError::not_acceptable()
        }
        AccountError::Fault(error) => return fault("accounts", error),
    };
    answer.with_text(error.to_string())
}

/// Ends a session so that its client does not come back at once by itself.
fn close(session: &Arc<crate::session::Session>) {
    session.mailbox.close(Some(Condition::PolicyViolation));
}

fn log(step: &Step, what: &str, account: &BareJid) {
    tracing::info!(admin = %step.caller.jid, %account, "{what}");
}
