//! XEP-0133: Service Administration: what those named in `admins` can do from their clients, by ad-hoc commands.
//!
//! The commands are at every host and for its accounts. Only a session of this house may run them: what another server
//! or a component says in the name of an administrator is not enough.

mod accounts;
mod announce;
mod counts;
mod stop;

use std::sync::{Arc, Weak};

use xmpp::form::{Field, FieldType, Form, FormType};
use xmpp::{BareJid, Jid, StanzaError};

use self::announce::Crier;
use super::roster::Books;
use crate::config::Config;
use crate::extension::{
    BoxFuture, Caller, Command, Extension, Kit, Listener, Mount, Outcome, Pending, Spec, Step, To, Xep,
};
use crate::router::Router;
use crate::runtime::{Clock, Switch};
use crate::session::Session;
use crate::tables::accounts::Accounts;

/// The protocol of the forms, and the beginning of every command's node.
const ADMIN: &str = "http://jabber.org/protocol/admin";
/// Accounts that one command may name.
const ACCOUNTS_MAX: usize = 100;

/// Mounts the commands.
pub struct Administration {
    office: Arc<Office>,
}

static SPEC: Spec = Spec { name: "administration", xeps: &[Xep::partial(133, "1.3.1")], config: "" };

/// What the commands work with.
struct Office {
    // The router owns the wiring, the wiring owns this.
    router: Weak<Router>,
    accounts: Arc<Accounts>,
    books: Arc<Books>,
    clock: Arc<dyn Clock>,
    admins: Vec<BareJid>,
    switch: Arc<Switch>,
    crier: Crier,
}

impl Office {
    fn router(&self) -> Result<Arc<Router>, StanzaError> {
        self.router.upgrade().ok_or_else(StanzaError::internal_server_error)
    }

    fn has(&self, caller: &Caller) -> bool {
        caller.session.is_some() && self.admins.contains(&caller.jid.to_bare())
    }
}

type Run = fn(Arc<Office>, Step) -> BoxFuture<Result<Outcome, StanzaError>>;

/// One of the commands.
struct Task {
    node: &'static str,
    name: &'static str,
    run: Run,
    office: Arc<Office>,
}

impl Command for Task {
    fn node(&self) -> &'static str {
        self.node
    }

    fn name(&self) -> &'static str {
        self.name
    }

    fn permits(&self, caller: &Caller) -> bool {
        self.office.has(caller)
    }

    fn run(self: Arc<Self>, step: Step) -> BoxFuture<Result<Outcome, StanzaError>> {
        (self.run)(Arc::clone(&self.office), step)
    }
}

/// Node after the protocol's name, name for people, what it does.
const TASKS: &[(&str, &str, Run)] = &[
    ("http://jabber.org/protocol/admin#add-user", "Add User", |office, step| Box::pin(accounts::add(office, step))),
    ("http://jabber.org/protocol/admin#delete-user", "Delete User", |office, step| {
        Box::pin(accounts::delete(office, step))
    }),
    ("http://jabber.org/protocol/admin#disable-user", "Disable User", |office, step| {
        Box::pin(accounts::disable(office, step))
    }),
    ("http://jabber.org/protocol/admin#reenable-user", "Re-Enable User", |office, step| {
        Box::pin(accounts::enable(office, step))
    }),
    ("http://jabber.org/protocol/admin#end-user-session", "End User Session", |office, step| {
        Box::pin(accounts::end_sessions(office, step))
    }),
    ("http://jabber.org/protocol/admin#change-user-password", "Change User Password", |office, step| {
        Box::pin(accounts::change_password(office, step))
    }),
    ("http://jabber.org/protocol/admin#get-user-roster", "Get User Roster", |office, step| {
        Box::pin(accounts::roster(office, step))
    }),
    ("http://jabber.org/protocol/admin#user-stats", "Get User Statistics", |office, step| {
        Box::pin(accounts::statistics(office, step))
    }),
    ("http://jabber.org/protocol/admin#get-registered-users-num", "Get Number of Registered Users", |office, step| {
        Box::pin(counts::number(office, step, counts::Kind::Registered))
    }),
    ("http://jabber.org/protocol/admin#get-disabled-users-num", "Get Number of Disabled Users", |office, step| {
        Box::pin(counts::number(office, step, counts::Kind::Disabled))
    }),
    ("http://jabber.org/protocol/admin#get-online-users-num", "Get Number of Online Users", |office, step| {
        Box::pin(counts::number(office, step, counts::Kind::Online))
    }),
    ("http://jabber.org/protocol/admin#get-active-users-num", "Get Number of Active Users", |office, step| {
        Box::pin(counts::number(office, step, counts::Kind::Active))
    }),
    ("http://jabber.org/protocol/admin#get-idle-users-num", "Get Number of Idle Users", |office, step| {
        Box::pin(counts::number(office, step, counts::Kind::Idle))
    }),
    ("http://jabber.org/protocol/admin#get-registered-users-list", "Get List of Registered Users", |office, step| {
        Box::pin(counts::list(office, step, counts::Kind::Registered))
    }),
    ("http://jabber.org/protocol/admin#get-disabled-users-list", "Get List of Disabled Users", |office, step| {
        Box::pin(counts::list(office, step, counts::Kind::Disabled))
    }),
    ("http://jabber.org/protocol/admin#get-online-users-list", "Get List of Online Users", |office, step| {
        Box::pin(counts::list(office, step, counts::Kind::Online))
    }),
    ("http://jabber.org/protocol/admin#get-active-users", "Get List of Active Users", |office, step| {
        Box::pin(counts::list(office, step, counts::Kind::Active))
    }),
    ("http://jabber.org/protocol/admin#get-idle-users", "Get List of Idle Users", |office, step| {
        Box::pin(counts::list(office, step, counts::Kind::Idle))
    }),
    ("http://jabber.org/protocol/admin#announce", "Send Announcement to Online Users", |office, step| {
        Box::pin(announce::announce(office, step))
    }),
    ("http://jabber.org/protocol/admin#set-motd", "Set Message of the Day", |office, step| {
        Box::pin(announce::set(office, step))
    }),
    ("http://jabber.org/protocol/admin#edit-motd", "Edit Message of the Day", |office, step| {
        Box::pin(announce::edit(office, step))
    }),
    ("http://jabber.org/protocol/admin#delete-motd", "Delete Message of the Day", |office, step| {
        Box::pin(announce::delete(office, step))
    }),
    ("http://jabber.org/protocol/admin#restart", "Restart Service", |office, step| {
        Box::pin(stop::restart(office, step))
    }),
    ("http://jabber.org/protocol/admin#shutdown", "Shut Down Service", |office, step| {
        Box::pin(stop::shut_down(office, step))
    }),
];

impl Administration {
    /// For those whom `config` names; `switch` stops the house.
    #[must_use]
    pub fn new(
        kit: &Kit,
        accounts: &Arc<Accounts>,
        books: &Arc<Books>,
        switch: &Arc<Switch>,
        config: &Config,
    ) -> Arc<Self> {
        let office = Office {
            router: Arc::downgrade(&kit.router),
            accounts: Arc::clone(accounts),
            books: Arc::clone(books),
            clock: Arc::clone(&kit.clock),
            admins: config.admins.iter().filter_map(|admin| BareJid::new(admin).ok()).collect(),
            switch: Arc::clone(switch),
            crier: Crier::new(kit),
        };
        Arc::new(Self { office: Arc::new(office) })
    }
}

impl Listener for Administration {
    fn became_available(&self, session: &Arc<Session>) -> Pending<()> {
        self.office.crier.arrives(&self.office.router, session)
    }

    fn account_removed(&self, account: &BareJid) -> Pending<()> {
        self.office.crier.forget(account)
    }
}

impl Extension for Administration {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        for (node, name, run) in TASKS {
            at.command(To::DOMAIN, Arc::new(Task { node, name, run: *run, office: Arc::clone(&self.office) }));
        }
        at.listener(self);
    }
}

/// A form to fill in.
fn question(title: &str, instructions: &str) -> Form {
    let mut form = Form::typed(FormType::Form, ADMIN);
    form.title = Some(title.to_owned());
    form.instructions = vec![instructions.to_owned()];
    form
}

/// A result.
fn result() -> Form {
    Form::typed(FormType::Result, ADMIN)
}

/// The form that was submitted, of this protocol if it says which.
fn submitted(step: &Step) -> Result<Option<&Form>, StanzaError> {
    match step.form() {
        Some(form) if form.form_type().is_some_and(|type_| type_ != ADMIN) => {
            Err(StanzaError::bad_request().with_text("the form is of another protocol"))
        }
        form => Ok(form),
    }
}

/// The question for some accounts.
fn ask_accounts(title: &str, label: &str) -> Outcome {
    let field = Field::new("accountjids", FieldType::JidMulti).label(label).required();
    Outcome::ask(question(title, "Fill out this form.").with(field))
}

/// An account of the host asked, or a session of one.
fn address(step: &Step, text: &str) -> Result<Jid, StanzaError> {
    let jid =
        Jid::new(text.trim()).map_err(|error| StanzaError::jid_malformed().with_text(format!("{text}: {error}")))?;
    if jid.localpart().is_none() || jid.domain() != step.at.domain() {
        return Err(StanzaError::item_not_found().with_text(format!("{text} is no account of {}", step.at)));
    }
    Ok(jid)
}

/// The accounts, or sessions of accounts, in `accountjids`: at least one, each of the host asked.
fn addresses(step: &Step, form: &Form) -> Result<Vec<Jid>, StanzaError> {
    let values = form.field("accountjids").map(|field| field.values.as_slice()).unwrap_or_default();
    if values.is_empty() || values.len() > ACCOUNTS_MAX {
        return Err(StanzaError::not_acceptable().with_text(format!("name 1 to {ACCOUNTS_MAX} accounts")));
    }
    values.iter().map(|text| address(step, text)).collect()
}

/// The account in `accountjid`.
fn account(step: &Step, form: &Form) -> Result<BareJid, StanzaError> {
    let text =
        form.value("accountjid").ok_or_else(|| StanzaError::not_acceptable().with_text("`accountjid` is missing"))?;
    let jid = address(step, text)?;
    if jid.is_bare() {
        Ok(jid.into_bare())
    } else {
        Err(StanzaError::jid_malformed().with_text("an account has no resource"))
    }
}
