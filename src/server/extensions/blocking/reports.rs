//! XEP-0377: reports that come with a block, and go to the administrators as messages of the domain.
//!
//! A report that is malformed, or one too many, is dropped and the block made all the same: "servers MUST block the JID or
//! return an error just as they would if no report were present". Messages that it names are enclosed, as far as they are
//! in the archive of who reports and from who is reported. Nothing is sent to other servers, whatever the report allows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use xmpp::limits::Limits;
use xmpp::stanza::{Kind, MessageType};
use xmpp::xml::{WithAttribute as _, set_lang};
use xmpp::{BareJid, Element, Jid, Stanza, ns};

use crate::config::Config;
use crate::extension::{Caller, Kit, fault};
use crate::extensions::archive::{Archive, Fetched, splice};
use crate::router::Router;
use crate::runtime::{Clock, Ids, Timestamp};
use crate::tables::archive::Place;

/// Reports of one account in an hour.
const PER_ACCOUNT_MAX: usize = 20;
/// Reports of all accounts in an hour.
const PER_HOUR_MAX: usize = 1_000;
/// An hour, in microseconds.
const HOUR: Timestamp = 3_600_000_000;
/// Bytes of all text in a report.
const TEXT_BYTES_MAX: usize = 4_096;
/// Messages that a report names.
const MESSAGES_MAX: usize = 20;
/// Bytes of all messages that are enclosed.
const ENCLOSED_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a reason, or of the id of a message.
const WORD_BYTES_MAX: usize = 256;

/// One report.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Report {
    /// Who is reported.
    pub(super) about: Jid,
    reason: String,
    texts: Vec<(Option<String>, String)>,
    messages: Vec<(String, String)>,
    allows: Vec<&'static str>,
}

impl Report {
    /// The report in an item of a block command, if there is one that makes sense.
    pub(super) fn read(item: &Element) -> Option<Self> {
        let about = Jid::new(item.attr("jid")?).ok()?;
        let report = item.get_child("report", ns::REPORTING)?;
        let reason = report.attr("reason").filter(|reason| !reason.is_empty() && reason.len() <= WORD_BYTES_MAX)?;
        let texts: Vec<(Option<String>, String)> = report
            .children()
            .filter(|child| child.is("text", ns::REPORTING))
            .map(|text| (text.attr_ns(ns::XML, "lang").map(str::to_owned), text.text().trim().to_owned()))
            .collect();
        let messages: Vec<(String, String)> = report
            .children()
            .filter(|child| child.is("stanza-id", ns::STANZA_IDS))
            .filter_map(|id| Some((id.attr("by")?.to_owned(), id.attr("id")?.to_owned())))
            .filter(|(by, id)| by.len() <= WORD_BYTES_MAX * 12 && id.len() <= WORD_BYTES_MAX)
            .take(MESSAGES_MAX)
            .collect();
        if texts.iter().map(|(_, text)| text.len()).sum::<usize>() > TEXT_BYTES_MAX {
            return None;
        }
        let allows = ["report-origin", "third-party"].into_iter().filter(|name| report.has_child(*name, ns::REPORTING));
        Some(Self { about, reason: reason.to_owned(), texts, messages, allows: allows.collect() })
    }

    /// In words.
    fn in_words(&self, reporter: &BareJid) -> String {
        let reason = self.reason.strip_prefix("urn:xmpp:reporting:").unwrap_or(&self.reason);
        let mut words = format!("{reporter} has blocked {} and reports: {reason}", self.about);
        for (_, text) in self.texts.iter().filter(|(_, text)| !text.is_empty()) {
            words.push('\n');
            words.push_str(text);
        }
        for (by, id) in &self.messages {
            words.push_str(&format!("\nMessage {id} in the archive of {by}"));
        }
        words
    }

    /// Whether a message in the reporter's archive is by whom the report is about.
    fn is_about(&self, message: &[u8]) -> bool {
        let stanza = Stanza::parse(bytes::Bytes::copy_from_slice(message), &Limits::server()).ok();
        let from = stanza.and_then(|stanza| stanza.head.from);
        from.is_some_and(|from| match self.about.is_domain() {
            true => from.domain() == self.about.domain(),
            false => from.as_bare_str() == self.about.as_bare_str(),
        })
    }

    /// As it was sent, with whom it is about.
    fn element(&self) -> Element {
        let mut report = Element::builder("report", ns::REPORTING)
            .attribute("reason", &*self.reason)
            .append_all(self.messages.iter().map(|(by, id)| {
                Element::builder("stanza-id", ns::STANZA_IDS).attribute("by", &**by).attribute("id", &**id).build()
            }))
            .build();
        for (lang, text) in &self.texts {
            let mut text = Element::builder("text", ns::REPORTING).append(text.as_str()).build();
            if let Some(lang) = lang {
                set_lang(&mut text, lang);
            }
            report.append_child(text);
        }
        for name in &self.allows {
            report.append_child(Element::bare(*name, ns::REPORTING));
        }
        let item = Element::builder("item", ns::BLOCKING).attribute("jid", self.about.as_str()).append(report);
        Element::builder("block", ns::BLOCKING).append(item.build()).build()
    }
}

/// How many reports there were in the hour that began at `since`.
#[derive(Debug, Default)]
struct Counted {
    since: Timestamp,
    count: usize,
    by: HashMap<BareJid, usize>,
}

impl Counted {
    /// Whether one more of `reporter` may be passed on.
    fn admits(&mut self, reporter: &BareJid, now: Timestamp) -> bool {
        if now.saturating_sub(self.since) >= HOUR {
            *self = Self { since: now, ..Self::default() };
        }
        let own = self.by.get(reporter).copied().unwrap_or(0);
        if self.count >= PER_HOUR_MAX || own >= PER_ACCOUNT_MAX {
            return false;
        }
        self.count += 1;
        self.by.insert(reporter.clone(), own + 1);
        true
    }
}

/// Passes reports on.
pub(super) struct Reports {
    router: Weak<Router>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    archive: Arc<Archive>,
    admins: Vec<BareJid>,
    counted: Mutex<Counted>,
}

impl Reports {
    pub(super) fn new(kit: &Kit, archive: &Arc<Archive>, config: &Config) -> Self {
        Self {
            router: Arc::downgrade(&kit.router),
            clock: Arc::clone(&kit.clock),
            ids: Arc::clone(&kit.ids),
            archive: Arc::clone(archive),
            admins: config.admins.iter().filter_map(|admin| BareJid::new(admin).ok()).collect(),
            counted: Mutex::default(),
        }
    }

    /// Tells every administrator.
    pub(super) async fn pass_on(&self, reporter: &BareJid, reports: Vec<Report>) {
        let (Some(router), Ok(domain)) = (self.router.upgrade(), Jid::new(reporter.domain())) else { return };
        for report in reports {
            let admits = {
                let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
                counted.admits(reporter, self.clock.now())
            };
            if !admits {
                tracing::warn!(%reporter, "a report is dropped: there were too many in this hour");
                continue;
            }
            tracing::info!(%reporter, about = %report.about, reason = %report.reason, "a report");
            let words = report.in_words(reporter);
            let enclosed = self.enclosed(reporter, &report).await;
            for admin in &self.admins {
                let body = Element::builder("body", ns::CLIENT).append(words.as_str()).build();
                let mut message = Stanza::new(Kind::Message(MessageType::Normal))
                    .from(domain.clone())
                    .to(admin.clone())
                    .id(self.ids.id())
                    .with(&body)
                    .with(&report.element());
                for forwarded in &enclosed {
                    message = message.with_bytes("forwarded", ns::FORWARD, forwarded);
                }
                router.route(Caller { jid: domain.clone(), session: None }, message).await;
            }
        }
    }

    /// The messages that a report names, each in `<forwarded/>`.
    async fn enclosed(&self, reporter: &BareJid, report: &Report) -> Vec<Vec<u8>> {
        let mut enclosed = Vec::new();
        let mut bytes_left = ENCLOSED_BYTES_MAX;
        let own = report.messages.iter().filter(|(by, _)| by == reporter.as_str());
        for place in own.filter_map(|(_, id)| Place::parse(id)) {
            let message = match self.archive.message(reporter, place).await {
                Ok(Fetched::Message(message)) => message,
                Ok(Fetched::NotYet | Fetched::Gone) => continue,
                Err(error) => {
                    // The report is passed on without it.
                    let _told = fault("archive", &error);
                    continue;
                }
            };
            if message.len() <= bytes_left && report.is_about(&message) {
                bytes_left -= message.len();
                let mut forwarded = Vec::with_capacity(message.len() + 128);
                splice::push_kept(&mut forwarded, place.time, &message);
                enclosed.push(forwarded);
            }
        }
        enclosed
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use xmpp::BareJid;
    use xmpp::xml::{element_bytes, parse_element};

    use super::{Counted, HOUR, PER_ACCOUNT_MAX, PER_HOUR_MAX, Report};

    fn read(report: &str) -> Option<Report> {
        let item = format!("<item xmlns='urn:xmpp:blocking' jid='romeo@example.net'>{report}</item>");
        Report::read(&parse_element(item.as_bytes(), "").unwrap())
    }

    #[test]
    fn a_report_says_what_and_why() {
        let text = "<report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'>\
            <stanza-id xmlns='urn:xmpp:sid:0' by='juliet@example.com' id='28482'/>\
            <text xml:lang='en'>Never came trouble to my house like this.</text><report-origin/></report>";
        let report = read(text).unwrap();
        let words = report.in_words(&BareJid::new("juliet@example.com").unwrap());
        assert_eq!(
            words,
            "juliet@example.com has blocked romeo@example.net and reports: spam\n\
             Never came trouble to my house like this.\nMessage 28482 in the archive of juliet@example.com"
        );
        let item = format!("<block xmlns='urn:xmpp:blocking'><item jid='romeo@example.net'>{text}</item></block>");
        assert_eq!(String::from_utf8(element_bytes(&report.element()).to_vec()).unwrap(), item);
    }

    #[test]
    fn what_makes_no_sense_is_no_report() {
        let long = "x".repeat(5_000);
        for wrong in [
            String::new(),
            "<report xmlns='urn:xmpp:reporting:1'/>".to_owned(),
            "<report xmlns='urn:xmpp:reporting:1' reason=''/>".to_owned(),
            "<report xmlns='urn:xmpp:reporting:0' reason='urn:xmpp:reporting:spam'/>".to_owned(),
            format!("<report xmlns='urn:xmpp:reporting:1' reason='{long}'/>"),
            format!(
                "<report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'><text>{long}</text></report>"
            ),
        ] {
            assert!(read(&wrong).is_none(), "{wrong}");
        }
        let ids = "<stanza-id xmlns='urn:xmpp:sid:0' by='a@b' id='c'/>".repeat(500);
        let many = read(&format!("<report xmlns='urn:xmpp:reporting:1' reason='x'>{ids}</report>")).unwrap();
        assert_eq!(many.messages.len(), 20);
    }

    #[test]
    fn a_flood_is_dropped() {
        let mut counted = Counted::default();
        let who = |number: usize| BareJid::new(&format!("u{number}@example.com")).unwrap();
        for _ in 0..PER_ACCOUNT_MAX {
            assert!(counted.admits(&who(0), HOUR));
        }
        assert!(!counted.admits(&who(0), HOUR) && counted.admits(&who(1), HOUR));
        let others = (2..3_000).filter(|number| counted.admits(&who(*number), HOUR)).count();
        assert_eq!(others, PER_HOUR_MAX - PER_ACCOUNT_MAX - 1);
        assert!(counted.admits(&who(0), HOUR * 2), "another hour");
    }
}
