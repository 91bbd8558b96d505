//! Ad-hoc commands as extensions see them (XEP-0050): what one is, what a step of it is given, and what comes of it.
//!
//! Stages, sessions, actions and errors are the engine's work (`extensions/commands`). A command keeps nothing between
//! its stages: each time it is given all forms that were submitted so far, and either asks for one more or is done.

use std::sync::Arc;

use xmpp::form::Form;
use xmpp::{BareJid, Element, StanzaError, ns};

use super::{BoxFuture, Caller, To, Wiring};

/// One command, mounted by [`Mount::command`](super::Mount::command).
pub trait Command: Send + Sync + 'static {
    /// Its node: what it is run by.
    fn node(&self) -> &'static str;

    /// For people.
    fn name(&self) -> &'static str;

    /// Whether `caller` may run it and see that it is there. The engine asks before every step.
    fn permits(&self, caller: &Caller) -> bool;

    /// Whether its one form says all there is to say, so that no session is needed to go with it. Who submits it under
    /// a `sessionid` of their own, as Movim does, is answered as if there were none.
    fn needs_no_session(&self) -> bool {
        false
    }

    /// Goes as far as the forms submitted so far permit. An error leaves the session where it was.
    fn run(self: Arc<Self>, step: Step) -> BoxFuture<Result<Outcome, StanzaError>>;
}

/// How far somebody has come with a command.
#[derive(Clone, Debug)]
pub struct Step {
    /// Who runs it.
    pub caller: Caller,
    /// The domain or service asked.
    pub at: BareJid,
    /// The forms submitted so far, first stage first. Their fields are what somebody sent: to be checked.
    pub forms: Vec<Form>,
}

impl Step {
    /// The form of the first stage, for a command that has only one.
    #[must_use]
    pub fn form(&self) -> Option<&Form> {
        self.forms.first()
    }
}

/// What came of a step.
pub enum Outcome {
    /// There is another stage.
    Ask {
        /// What to fill in.
        form: Form,
        /// Whether that is the last one.
        is_last: bool,
    },
    /// The command is done, for good or ill.
    Done {
        /// What it has to tell.
        form: Option<Element>,
        /// The same in words. One that did not do what was asked says so by an error.
        notes: Vec<Note>,
        /// What happens after its caller was told.
        then: Option<BoxFuture<()>>,
    },
}

impl Outcome {
    /// One stage, which is the last.
    #[must_use]
    pub const fn ask(form: Form) -> Self {
        Self::Ask { form, is_last: true }
    }

    /// Done, nothing to tell.
    #[must_use]
    pub const fn done() -> Self {
        Self::Done { form: None, notes: Vec::new(), then: None }
    }

    /// Done, with a note.
    #[must_use]
    pub fn noted(note: Note) -> Self {
        Self::Done { form: None, notes: vec![note], then: None }
    }

    /// Done, with a result.
    #[must_use]
    pub fn told(form: &Form) -> Self {
        Self::Done { form: Some(form.to_element()), notes: Vec::new(), then: None }
    }
}

/// A sentence for whoever runs the command (section 4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// `info`, `warn` or `error`.
    pub type_: &'static str,
    /// The sentence.
    pub text: String,
}

impl Note {
    /// What was done.
    #[must_use]
    pub fn info(text: impl Into<String>) -> Self {
        Self { type_: "info", text: text.into() }
    }

    /// What was done in part.
    #[must_use]
    pub fn warning(text: impl Into<String>) -> Self {
        Self { type_: "warn", text: text.into() }
    }

    /// Why it was not done.
    #[must_use]
    pub fn error(text: impl Into<String>) -> Self {
        Self { type_: "error", text: text.into() }
    }
}

impl Wiring {
    /// The command of this node at hosts or services.
    #[must_use]
    pub fn command(&self, at: To, node: &str) -> Option<&Arc<dyn Command>> {
        self.commands.iter().find(|(to, command)| to.contains(at) && command.node() == node).map(|(_, command)| command)
    }

    /// Children of disco#info for the list of commands, or for one of them (sections 2.2 and 2.3); `None` for another node.
    ///
    /// # Errors
    /// `forbidden` for a command that the caller may not run.
    pub fn command_information(
        &self,
        at: To,
        caller: &Caller,
        node: &str,
    ) -> Option<Result<Vec<Element>, StanzaError>> {
        use xmpp::xml::WithAttribute as _;
        let identity = |type_: &str, name: &str| {
            Element::builder("identity", ns::DISCO_INFO)
                .attribute("category", "automation")
                .attribute("type", type_)
                .attribute("name", name)
                .build()
        };
        let feature = |var: &str| Element::builder("feature", ns::DISCO_INFO).attribute("var", var).build();
        if node == ns::COMMANDS {
            return Some(Ok(vec![identity("command-list", "Commands"), feature(ns::COMMANDS)]));
        }
        let command = self.command(at, node)?;
        if !command.permits(caller) {
            return Some(Err(StanzaError::forbidden()));
        }
        let identity = identity("command-node", command.name());
        Some(Ok(vec![identity, feature(ns::COMMANDS), feature(ns::DATA_FORMS)]))
    }

    /// Children of disco#items for the list of commands: those the caller may run.
    #[must_use]
    pub fn command_items(&self, at: To, entity: &BareJid, caller: &Caller) -> Vec<Element> {
        use xmpp::xml::WithAttribute as _;
        let permitted = self.commands.iter().filter(|(to, command)| to.contains(at) && command.permits(caller));
        let item = |command: &Arc<dyn Command>| {
            Element::builder("item", ns::DISCO_ITEMS)
                .attribute("jid", entity.as_str())
                .attribute("node", command.node())
                .attribute("name", command.name())
                .build()
        };
        permitted.map(|(_, command)| item(command)).collect()
    }
}
