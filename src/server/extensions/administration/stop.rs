//! Stopping the server, for good or to begin anew (XEP-0133 sections 4.30 and 4.31).

use std::sync::Arc;
use std::time::Duration;

use xmpp::StanzaError;
use xmpp::form::{Field, FieldType};

use super::{Office, announce, question, submitted};
use crate::extension::{Outcome, Step};
use crate::runtime::{self, Stop};

/// Delays that are offered, in seconds.
const DELAYS: [(&str, &str); 8] = [
    ("0", "none"),
    ("30", "30 seconds"),
    ("60", "60 seconds"),
    ("90", "90 seconds"),
    ("120", "2 minutes"),
    ("180", "3 minutes"),
    ("240", "4 minutes"),
    ("300", "5 minutes"),
];
/// The longest delay, in seconds.
const DELAY_MAX: u64 = 86_400;

/// Section 4.30.
pub(super) async fn restart(office: Arc<Office>, step: Step) -> Result<Outcome, StanzaError> {
    stop(office, step, Stop::Restart, "Restarting the Service", "Fill out this form to restart the service.").await
}

/// Section 4.31.
pub(super) async fn shut_down(office: Arc<Office>, step: Step) -> Result<Outcome, StanzaError> {
    stop(office, step, Stop::ShutDown, "Shutting Down the Service", "Fill out this form to shut down the service.")
        .await
}

async fn stop(
    office: Arc<Office>,
    step: Step,
    stop: Stop,
    title: &str,
    instructions: &str,
) -> Result<Outcome, StanzaError> {
    let Some(form) = submitted(&step)? else {
        let mut delay = Field::new("delay", FieldType::ListSingle).label("Time delay before it stops");
        for (seconds, label) in DELAYS {
            delay = delay.option(seconds, Some(label));
        }
        let announcement = Field::new("announcement", FieldType::TextMulti).label("Announcement");
        return Ok(Outcome::ask(question(title, instructions).with(delay).with(announcement)));
    };
    let delay = match form.field("delay") {
        Some(field) => field.to_number(0..=DELAY_MAX)?.unwrap_or(0),
        None => 0,
    };
    let announcement = announce::text(form, "announcement")?;
    let router = office.router()?;
    tracing::warn!(admin = %step.caller.jid, ?stop, delay, "the server is to stop");
    let then = Box::pin(async move {
        if let Some(text) = announcement {
            announce::tell_all(&router, &step.at, &text).await;
        }
        let switch = Arc::clone(&office.switch);
        runtime::start(async move {
            runtime::pause(Duration::from_secs(delay)).await;
            switch.throw(stop);
        });
    });
    Ok(Outcome::Done { form: None, notes: Vec::new(), then: Some(then) })
}
