//! XEP-0441 section 2.2: how long messages are kept, as their owner wants it: the command `urn:xmpp:mam#configure`.
//!
//! Offered by the host to everybody who has an account there, for that account. Nobody keeps messages for longer than the
//! administrator does.

use std::sync::Arc;

use xmpp::StanzaError;
use xmpp::form::{Field, FieldType, Form, FormType};

use super::Archive;
use super::serve::broken;
use crate::extension::{BoxFuture, Caller, Command, Note, Outcome, Step, fault};
use crate::tables::archive::Preferences;

/// The command's node, and the type of its form.
const NODE: &str = "urn:xmpp:mam#configure";
const DAYS: &str = "days_max";
/// A hundred years.
const DAYS_MAX: u64 = 36_500;

/// The command.
pub(super) struct Configure(pub(super) Arc<Archive>);

impl Configure {
    async fn step(&self, step: Step) -> Result<Outcome, StanzaError> {
        let archive = &self.0;
        let account = step.caller.jid.to_bare();
        let ledger = archive.ledgers.open(&account).await.map_err(|error| broken(&error))?;
        let known = ledger.preferences();
        let Some(form) = step.form() else {
            let mut form = Form::typed(FormType::Form, NODE).with(
                Field::new(DAYS, FieldType::TextSingle)
                    .label("Days a message is kept (0: as long as this server keeps it)")
                    .value(known.days_max.to_string()),
            );
            form.title = Some("Archive".to_owned());
            return Ok(Outcome::ask(form));
        };
        let days = match form.field(DAYS) {
            Some(field) => field.to_number(0..=DAYS_MAX)?.unwrap_or(0),
            None => known.days_max,
        };
        let preferences = Preferences { days_max: days, ..Preferences::clone(&known) };
        let kept = archive.ledgers.prefer(&ledger, preferences).await;
        kept.map_err(|error| fault("archiving preferences", &error))?;
        Ok(Outcome::noted(Note::info(match archive.days(&ledger) {
            0 => "Messages are kept for as long as there is room.".to_owned(),
            1 => "Messages are kept for one day.".to_owned(),
            days => format!("Messages are kept for {days} days."),
        })))
    }
}

impl Command for Configure {
    fn node(&self) -> &'static str {
        NODE
    }

    fn name(&self) -> &'static str {
        "Configure your archive"
    }

    fn permits(&self, caller: &Caller) -> bool {
        caller.session.is_some()
    }

    fn run(self: Arc<Self>, step: Step) -> BoxFuture<Result<Outcome, StanzaError>> {
        Box::pin(async move { self.step(step).await })
    }
}
