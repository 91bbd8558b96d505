//! How many accounts there are, and which (XEP-0133 sections 4.13 to 4.22).

use std::collections::BTreeMap;
use std::sync::Arc;

use xmpp::form::{Field, FieldType};
use xmpp::{BareJid, StanzaError};

use super::{Office, question, result, submitted};
use crate::extension::{Note, Outcome, Step, fault};
use crate::runtime::Timestamp;

/// Accounts in one answer.
const LIST_MAX: usize = 1_000;
/// Who has said nothing for so long is idle, in microseconds.
const IDLE: Timestamp = 5 * 60 * 1_000_000;
/// What may be asked for, as the specification offers it.
const PAGES: [&str; 6] = ["25", "50", "75", "100", "150", "200"];

/// Which accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// All.
    Registered,
    /// Those that cannot be logged in to.
    Disabled,
    /// Those with a session.
    Online,
    /// Those of which something was heard lately.
    Active,
    /// Those with a session of which nothing was heard.
    Idle,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Disabled => "disabled",
            Self::Online => "online",
            Self::Active => "active",
            Self::Idle => "idle",
        }
    }
}

/// Their number.
pub(super) async fn number(office: Arc<Office>, step: Step, kind: Kind) -> Result<Outcome, StanzaError> {
    let count = match kind {
        Kind::Registered => {
            let (mut count, mut after) = (0, None);
            loop {
                let page = office.accounts.list(step.at.domain(), after.as_ref()).await;
                let page = page.map_err(|error| fault("accounts", &error))?;
                count += page.len();
                match page.into_iter().next_back() {
                    Some(last) => after = Some(last.account),
                    None => break count,
                }
            }
        }
        other => some(&office, &step, other, usize::MAX).await?.0.len(),
    };
    let (var, label) = (format!("{}usersnum", kind.word()), format!("The number of {} users", kind.word()));
    let field = Field::new(&var, FieldType::TextSingle).label(label).value(count.to_string());
    Ok(Outcome::told(&result().with(field)))
}

/// Their addresses.
pub(super) async fn list(office: Arc<Office>, step: Step, kind: Kind) -> Result<Outcome, StanzaError> {
    let word = kind.word();
    let Some(form) = submitted(&step)? else {
        let mut field = Field::new("max_items", FieldType::ListSingle).label("Maximum number of items to show");
        for page in PAGES {
            field = field.option(page, Some(page));
        }
        let field = field.option("none", Some("None"));
        let title = format!("Requesting List of {}{} Users", word[..1].to_uppercase(), &word[1..]);
        let form = question(&title, "Fill out this form to request these users of this service.").with(field);
        return Ok(Outcome::ask(form));
    };
    let max = match form.value("max_items") {
        None | Some("" | "none") => LIST_MAX,
        Some(number) => {
            let number = number.parse::<usize>().ok().filter(|number| *number > 0);
            number.ok_or_else(|| StanzaError::not_acceptable().with_text("`max_items` is no number"))?.min(LIST_MAX)
        }
    };
    let (accounts, is_complete) = some(&office, &step, kind, max).await?;
    let (var, label) = (format!("{word}userjids"), format!("The list of {word} users"));
    let field = Field::new(&var, FieldType::JidMulti).label(label);
    let form = result().with(field.values(accounts.iter().map(BareJid::as_str))).to_element();
    let notes = if is_complete { Vec::new() } else { vec![Note::info("there are more")] };
    Ok(Outcome::Done { form: Some(form), notes, then: None })
}

/// The first `max` of them, and whether there are no more.
async fn some(office: &Office, step: &Step, kind: Kind, max: usize) -> Result<(Vec<BareJid>, bool), StanzaError> {
    let domain = step.at.domain();
    let mut accounts = match kind {
        Kind::Registered => {
            let mut accounts = Vec::new();
            while accounts.len() <= max {
                let page = office.accounts.list(domain, accounts.last()).await;
                let page = page.map_err(|error| fault("accounts", &error))?;
                if page.is_empty() {
                    break;
                }
                accounts.extend(page.into_iter().map(|listed| listed.account));
            }
            accounts
        }
        Kind::Disabled => office.accounts.disabled(domain),
        Kind::Online | Kind::Active | Kind::Idle => {
            let active_since = office.clock.now().saturating_sub(IDLE);
            let mut is_active = BTreeMap::new();
            for session in office.router()?.sessions.all() {
                if session.jid.domain() == domain {
                    let active = is_active.entry(session.jid.bare()).or_default();
                    *active |= session.last_heard() >= active_since;
                }
            }
            let wanted = |active: bool| match kind {
                Kind::Active => active,
                Kind::Idle => !active,
                _ => true,
            };
            is_active.into_iter().filter(|(_, active)| wanted(*active)).map(|(account, _)| account).collect()
        }
    };
    let is_complete = accounts.len() <= max;
    accounts.truncate(max);
    Ok((accounts, is_complete))
}
