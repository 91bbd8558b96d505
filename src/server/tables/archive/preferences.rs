//! What an account wants archived (XEP-0441).

use bytes::Bytes;
use store::Fault;
use xmpp::Jid;

use super::super::row::{Reader, Writer};
use super::{FORMAT, WHAT};

/// Whether messages with somebody in neither list are archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Policy {
    /// They are.
    #[default]
    Always,
    /// They are if the contact is in the roster.
    Roster,
    /// They are not.
    Never,
}

impl Policy {
    const ALL: [Self; 3] = [Self::Always, Self::Roster, Self::Never];

    /// Its name in the protocol.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Roster => "roster",
            Self::Never => "never",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|default| default.name() == name)
    }
}

/// The preferences of one account.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Preferences {
    /// For everybody else.
    pub default: Policy,
    /// Whose messages are archived in any case.
    pub always: Vec<Jid>,
    /// Whose messages are not.
    pub never: Vec<Jid>,
    /// Days a message is kept at most; 0 as long as the administrator says.
    pub days_max: u64,
}

/// The format of a row that says for how long.
const WITH_DAYS: u8 = 2;

impl Preferences {
    /// Whether messages with `contact` are archived: yes, no, or only if it is in the roster.
    ///
    /// Who is in both lists is not archived: the cautious reading.
    #[must_use]
    pub fn decide(&self, contact: &Jid) -> Policy {
        let names = |listed: &Jid| match listed.is_full() {
            true => listed == contact,
            false => listed.as_str() == contact.as_bare_str(),
        };
        if self.never.iter().any(names) {
            Policy::Never
        } else if self.always.iter().any(names) {
            Policy::Always
        } else {
            self.default
        }
    }

    pub(super) fn to_row(&self) -> Bytes {
        let mut row = Writer::new(WITH_DAYS).text(self.default.name());
        for list in [&self.always, &self.never] {
            row = row.u64(list.len() as u64);
            for jid in list {
                row = row.text(jid.as_str());
            }
        }
        row.u64(self.days_max).finish()
    }

    pub(super) fn read(row: Bytes) -> Result<Self, Fault> {
        let broken = || Fault::new(format!("a row of {WHAT} has preferences that make no sense"));
        let format = if row.first() == Some(&WITH_DAYS) { WITH_DAYS } else { FORMAT };
        let mut row = Reader::new(row, format, WHAT)?;
        let default = Policy::parse(&row.text()?).ok_or_else(broken)?;
        let mut lists = [Vec::new(), Vec::new()];
        for list in &mut lists {
            for _ in 0..row.u64()? {
                list.push(Jid::new(&row.text()?).map_err(|_| broken())?);
            }
        }
        let days_max = if format == WITH_DAYS { row.u64()? } else { 0 };
        let [always, never] = lists;
        Ok(Self { default, always, never, days_max })
    }
}
