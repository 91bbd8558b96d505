//! XEP-0050: Ad-Hoc Commands: the one engine that runs whatever other extensions mount.
//!
//! Every stage but the last opens or keeps a session, which belongs to one full address, one command and one place. How
//! many there are and for how long is bounded. Listing them is in `extension/command.rs`, where disco finds it.

mod sessions;

use std::sync::{Arc, Weak};

use xmpp::form::{Form, FormType};
use xmpp::xml::WithAttribute as _;
use xmpp::{Element, Stanza, StanzaError, ns};

use self::sessions::{Session, Sessions};
use crate::extension::{
    Answer, Asked, Command, Extension, Kit, Listener, Mount, Note, Outcome, Pending, Reply, Spec, Step, To, Xep,
};
use crate::router::Router;
use crate::runtime::{Clock, Ids, Timestamp};

/// Forms that one session may collect.
const STAGES_MAX: usize = 16;

/// Runs commands.
pub struct Commands {
    // The router owns the wiring, the wiring owns this.
    router: Weak<Router>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    sessions: Sessions,
}

static SPEC: Spec = Spec { name: "commands", xeps: &[Xep::complete(50, "1.3.0")], config: "" };

/// What a request says is to happen (section 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Execute,
    Next,
    Prev,
    Complete,
    Cancel,
}

impl Action {
    fn parse(text: Option<&str>) -> Result<Self, StanzaError> {
        Ok(match text {
            None | Some("execute") => Self::Execute,
            Some("next") => Self::Next,
            Some("prev") => Self::Prev,
            Some("complete") => Self::Complete,
            Some("cancel") => Self::Cancel,
            Some(_) => return Err(bad_request("malformed-action")),
        })
    }
}

impl Commands {
    /// Without any session.
    #[must_use]
    pub fn new(kit: &Kit) -> Arc<Self> {
        Arc::new(Self {
            router: Arc::downgrade(&kit.router),
            clock: Arc::clone(&kit.clock),
            ids: Arc::clone(&kit.ids),
            sessions: Sessions::default(),
        })
    }

    async fn command(self: Arc<Self>, asked: Asked) -> Answer {
        let router = self.router.upgrade().ok_or_else(StanzaError::internal_server_error)?;
        let request = asked.open()?;
        let node = request.attr("node").ok_or_else(StanzaError::bad_request)?;
        let at = match asked.to.localpart() {
            // An account's commands are its owner's; to others it is as if there were none, and no account.
            Some(_) if !asked.caller.owns(&asked.to) => return Err(StanzaError::service_unavailable()),
            Some(_) => To::ACCOUNT,
            None if router.is_service(asked.to.domain()) => To::SERVICE,
            None => To::DOMAIN,
        };
        let command = router.wiring().command(at, node).ok_or_else(|| unknown(node))?;
        if !command.permits(&asked.caller) {
            return Err(StanzaError::forbidden());
        }
        let action = Action::parse(request.attr("action"))?;
        let form = submitted(&request)?;
        let now = self.clock.now();
        let session = request.attr("sessionid");
        match session.filter(|id| !(command.needs_no_session() && form.is_some() && !self.sessions.has(id))) {
            None => {
                if matches!(action, Action::Prev | Action::Cancel) {
                    return Err(bad_request("bad-action"));
                }
                // Who knows the form need not ask for it first (as in XEP-0060 section 8.7).
                let fresh = Session {
                    caller: asked.caller.jid.clone(),
                    at: asked.to.clone(),
                    node: command.node(),
                    forms: Vec::new(),
                    is_last: false,
                    expires: now,
                };
                self.go_on(&router, &asked, command, None, fresh, form).await
            }
            Some(id) => {
                let session = self.sessions.take(id, now)?;
                let is_theirs =
                    session.caller == asked.caller.jid && session.at == asked.to && session.node == command.node();
                if !is_theirs {
                    self.sessions.put_back(id, session);
                    return Err(bad_request("bad-sessionid"));
                }
                self.act(&router, &asked, command, id, session, action, form).await
            }
        }
    }

    /// Does what is to happen in a session.
    #[expect(clippy::too_many_arguments, reason = "the parts of one request, taken apart by its only caller")]
    async fn act(
        &self,
        router: &Arc<Router>,
        asked: &Asked,
        command: &Arc<dyn Command>,
        id: &str,
        mut session: Session,
        action: Action,
        form: Option<Form>,
    ) -> Answer {
        let refused = match action {
            Action::Cancel => {
                return Ok(Reply::Element(stage(command.node(), id, "canceled").build()));
            }
            Action::Prev if session.forms.is_empty() => Some("bad-action"),
            Action::Prev => {
                session.forms.pop();
                return self.go_on(router, asked, command, Some(id), session, None).await;
            }
            Action::Next if session.is_last => Some("bad-action"),
            Action::Complete if !session.is_last => Some("bad-action"),
            Action::Execute | Action::Next | Action::Complete => form.is_none().then_some("bad-payload"),
        };
        if let Some(condition) = refused {
            self.sessions.put_back(id, session);
            return Err(bad_request(condition));
        }
        self.go_on(router, asked, command, Some(id), session, form).await
    }

    /// Runs the command with one form more.
    async fn go_on(
        &self,
        router: &Arc<Router>,
        asked: &Asked,
        command: &Arc<dyn Command>,
        id: Option<&str>,
        mut session: Session,
        form: Option<Form>,
    ) -> Answer {
        if session.forms.len() >= STAGES_MAX {
            return Err(StanzaError::not_allowed());
        }
        let before = session.clone();
        session.forms.extend(form);
        let step = Step { caller: asked.caller.clone(), at: asked.to.clone(), forms: session.forms.clone() };
        let outcome = match Arc::clone(command).run(step).await {
            Ok(outcome) => outcome,
            Err(error) => {
                if let Some(id) = id {
                    self.sessions.put_back(id, before);
                }
                return Err(error);
            }
        };
        match outcome {
            Outcome::Ask { form, is_last } => {
                session.is_last = is_last;
                let can_go_back = !session.forms.is_empty();
                let id = id.map_or_else(|| self.ids.id(), str::to_owned);
                self.sessions.keep(&id, session, self.clock.now())?;
                let forward = if is_last { "complete" } else { "next" };
                let mut actions = Element::builder("actions", ns::COMMANDS).attribute("execute", forward);
                if can_go_back {
                    actions = actions.append(Element::bare("prev", ns::COMMANDS));
                }
                let actions = actions.append(Element::bare(forward, ns::COMMANDS)).build();
                let answer = stage(command.node(), &id, "executing").append(actions).append(form.to_element());
                Ok(Reply::Element(answer.build()))
            }
            Outcome::Done { form, notes, then } => {
                let id = id.map_or_else(|| self.ids.id(), str::to_owned);
                let mut answer = stage(command.node(), &id, "completed");
                for Note { type_, text } in notes {
                    let note = Element::builder("note", ns::COMMANDS).attribute("type", type_).append(text.as_str());
                    answer = answer.append(note.build());
                }
                let answer = answer.append_all(form).build();
                let Some(then) = then else { return Ok(Reply::Element(answer)) };
                let result = Stanza::iq_result(&asked.stanza.head, Some(&answer));
                match &asked.caller.session {
                    Some(session) => drop(session.deliver(result.render())),
                    None => router.answer(result).await,
                }
                then.await;
                Ok(Reply::Sent)
            }
        }
    }
}

impl Listener for Commands {
    fn minute_passed(&self, now: Timestamp) -> Pending<()> {
        self.sessions.expire(now);
        Pending::now(())
    }
}

impl Extension for Commands {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.iq_set(To::DOMAIN | To::ACCOUNT | To::SERVICE, ("command", ns::COMMANDS), &self, Self::command);
        at.listener(self);
    }
}

/// The form in a request. "Responders SHOULD consider any `<x type='cancel'/>` to be `<x type='submit'/>`."
fn submitted(request: &Element) -> Result<Option<Form>, StanzaError> {
    match Form::parse_in(request) {
        Ok(Some(form)) if matches!(form.type_, FormType::Submit | FormType::Cancel) => Ok(Some(form)),
        Ok(None) => Ok(None),
        Ok(Some(_)) | Err(_) => Err(bad_request("bad-payload")),
    }
}

fn stage(node: &str, id: &str, status: &str) -> xmpp::xml::ElementBuilder {
    Element::builder("command", ns::COMMANDS)
        .attribute("node", node)
        .attribute("sessionid", id)
        .attribute("status", status)
}

/// There is no such command. XEP-0133 section 5 wants one of its own that is not served told apart.
fn unknown(node: &str) -> StanzaError {
    if node.starts_with("http://jabber.org/protocol/admin#") {
        return StanzaError::feature_not_implemented();
    }
    StanzaError::item_not_found()
}

/// Section 3.7: what is wrong with the request, in the command's own words.
fn bad_request(condition: &str) -> StanzaError {
    StanzaError::bad_request().with_specific(Element::bare(condition, ns::COMMANDS))
}
