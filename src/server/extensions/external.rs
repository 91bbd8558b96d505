//! XEP-0215: External Service Discovery.
//!
//! Tells our own users which STUN and TURN servers, or others, there are for them. Where a secret is shared with the
//! service, each user gets credentials that end soon, made as TURN servers with a REST interface check them: a name that
//! says until when, and the HMAC-SHA1 of it under the secret. Whoever was given such credentials and is still here when
//! they are about to end is pushed others. The services themselves change with the configuration alone, which is read once.

use std::collections::{BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sha1::Sha1;
use xmpp::stanza::{IqType, Kind};
use xmpp::xml::WithAttribute as _;
use xmpp::{BareJid, Element, Stanza, StanzaError, ns};

use crate::config::ConfigError;
use crate::extension::{Answer, Asked, Extension, Kit, Listener, Mount, Pending, Reply, Spec, To, Xep};
use crate::runtime::{Clock, Ids, Timestamp, rfc3339};
use crate::session::Session;

/// Services that may be configured.
const SERVICES_MAX: usize = 100;
/// Sessions of which it is remembered when their credentials end.
const TOLD_MAX: usize = 100_000;
/// Types of services of which one session has credentials.
const TOLD_PER_SESSION_MAX: usize = 8;
/// Sessions given others before others run.
const STRIDE: usize = 64;
/// Credentials are due so many seconds before they end, or after three quarters of their time where that is later. What is
/// due is looked at once a minute, so the last quarter of the shortest must be well longer.
const EARLY_SECONDS: u64 = 300;
/// How long credentials may be good for.
const LIFETIME_SECONDS: RangeInclusive<u64> = 600..=31_536_000;

/// One `[[external_services]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct External {
    /// What it is: `stun`, `turn`, `stuns`, `turns`, or any other type.
    #[serde(rename = "type")]
    pub type_: String,
    /// Its name in the DNS, or its address.
    pub host: String,
    /// Where it listens.
    pub port: Option<u16>,
    /// `udp` or `tcp`.
    pub transport: Option<String>,
    /// For people.
    pub name: Option<String>,
    /// What is shared with it, to make credentials from.
    pub secret: Option<String>,
    /// How long such credentials are good for.
    #[serde(default = "External::lifetime_seconds")]
    pub lifetime_seconds: u64,
    /// Fixed credentials.
    pub username: Option<String>,
    /// Fixed credentials.
    pub password: Option<String>,
}

impl External {
    fn lifetime_seconds() -> u64 {
        86_400
    }

    fn check(&self) -> Result<(), ConfigError> {
        let wrong = |what: &str| Err(ConfigError::new(format!("`external_services`: {what}")));
        if self.type_.is_empty() || self.host.is_empty() {
            return wrong("`type` and `host` must not be empty");
        }
        if self.transport.as_deref().is_some_and(|transport| !["udp", "tcp"].contains(&transport)) {
            return wrong("`transport` is \"udp\" or \"tcp\"");
        }
        if self.secret.is_some() && (self.username.is_some() || self.password.is_some()) {
            return wrong("credentials are made from `secret`, or they are `username` and `password`, not both");
        }
        if self.secret.as_deref() == Some("") || !LIFETIME_SECONDS.contains(&self.lifetime_seconds) {
            return wrong("`secret` must not be empty, and `lifetime_seconds` is between ten minutes and a year");
        }
        Ok(())
    }

    fn is_restricted(&self) -> bool {
        self.secret.is_some() || self.username.is_some() || self.password.is_some()
    }

    /// The element, with credentials for `account` and what has become of it. `now` is in microseconds since the Unix epoch.
    fn element(&self, account: &BareJid, now: u64, action: Option<&str>) -> Element {
        let mut element = Element::builder("service", ns::EXTERNAL_SERVICES)
            .attribute("action", action)
            .attribute("type", &*self.type_)
            .attribute("host", &*self.host)
            .attribute("port", self.port.map(|port| port.to_string()).as_deref())
            .attribute("transport", self.transport.as_deref())
            .attribute("name", self.name.as_deref())
            .attribute("restricted", Some("true").filter(|_| self.is_restricted()));
        if let Some(secret) = &self.secret {
            let expires = (now / 1_000_000).saturating_add(self.lifetime_seconds);
            let username = format!("{expires}:{account}");
            element = element
                .attribute("username", &*username)
                .attribute("password", &*password(secret, &username))
                .attribute("expires", &*rfc3339(expires.saturating_mul(1_000_000)));
        } else {
            element =
                element.attribute("username", self.username.as_deref()).attribute("password", self.password.as_deref());
        }
        element.build()
    }

    /// Whether a request for credentials names this service.
    fn is_named(&self, service: &Element) -> bool {
        service.attr("host") == Some(&self.host)
            && service.attr("type") == Some(&self.type_)
            && service.attr("port").is_none_or(|port| self.port.is_some_and(|own| port == own.to_string()))
    }
}

/// The password that goes with a name.
fn password(secret: &str, username: &str) -> String {
    // A key may have any length.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(username.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// After how many seconds credentials are due to be replaced that are good for so many.
fn due_after(lifetime_seconds: u64) -> u64 {
    lifetime_seconds.saturating_sub(EARLY_SECONDS.min(lifetime_seconds / 4))
}

/// A session that has credentials that end.
#[derive(Debug)]
struct Told {
    session: Weak<Session>,
    /// Of services of which types, or of all, and when others are due, in microseconds since the Unix epoch.
    of: Vec<(Option<Box<str>>, Timestamp)>,
}

impl Told {
    fn next(&self) -> Option<Timestamp> {
        self.of.iter().map(|(_, due)| *due).min()
    }
}

/// Whoever has credentials that end.
#[derive(Debug, Default)]
struct Book {
    /// By the session's place in memory, which is nobody else's for as long as it is in here.
    told: HashMap<usize, Told>,
    /// The same by when others are due next.
    due: BTreeSet<(Timestamp, usize)>,
}

impl Book {
    /// Changes what is known of a session, and when it is due by that. One of which nothing is left is forgotten.
    fn change(&mut self, session: &Arc<Session>, change: impl FnOnce(&mut Vec<(Option<Box<str>>, Timestamp)>)) {
        let place = Arc::as_ptr(session).addr();
        let new = || Told { session: Arc::downgrade(session), of: Vec::new() };
        let mut told = self.told.remove(&place).unwrap_or_else(new);
        if let Some(before) = told.next() {
            self.due.remove(&(before, place));
        }
        change(&mut told.of);
        if let Some(next) = told.next()
            && self.told.len() < TOLD_MAX
        {
            self.due.insert((next, place));
            self.told.insert(place, told);
        }
    }

    /// A session was given credentials of services of this type, or of all.
    fn note(&mut self, session: &Arc<Session>, type_: Option<&str>, due: Timestamp) {
        self.change(session, |of| {
            // Whoever has those of all services is given those of all again, and no later than these.
            if type_.is_some() && of.iter().any(|(other, _)| other.is_none()) {
                return;
            }
            of.retain(|(other, _)| type_.is_some() && other.as_deref() != type_);
            if of.len() < TOLD_PER_SESSION_MAX {
                of.push((type_.map(Box::from), due));
            }
        });
    }

    /// Takes out a few of what is due, the most urgent first.
    fn take_due(&mut self, now: Timestamp) -> Vec<(Arc<Session>, Option<Box<str>>)> {
        let mut taken = Vec::new();
        while let Some(&(due, place)) = self.due.first()
            && due <= now
            && taken.len() < STRIDE
        {
            match self.told.get(&place).and_then(|told| told.session.upgrade()) {
                Some(session) => self.change(&session, |of| {
                    let its = of.extract_if(.., |(_, due)| *due <= now);
                    taken.extend(its.map(|(type_, _)| (Arc::clone(&session), type_)));
                }),
                None => {
                    self.due.pop_first();
                    self.told.remove(&place);
                }
            }
        }
        taken
    }
}

/// Tells of external services.
pub struct Externals {
    /// For what takes longer than a call.
    this: Weak<Self>,
    services: Vec<External>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    book: Mutex<Book>,
}

static SPEC: Spec = Spec {
    name: "external",
    xeps: &[Xep::complete(215, "1.0.0")],
    config: "# Services outside of XMPP that accounts of this server are told of (XEP-0215): STUN and TURN for calls. With a\n\
        # `secret` (`static-auth-secret` of coturn) every account gets credentials of its own that end after\n\
        # `lifetime_seconds`; `username` and `password` are the same for everybody.\n\
        # [[external_services]]\n\
        # type = \"turn\"\n\
        # host = \"turn.example.org\"\n\
        # port = 3478\n\
        # transport = \"udp\"\n\
        # name = \"Relay in Verona\"\n\
        # secret = \"\"\n\
        # lifetime_seconds = 86400  # 600 at least\n\
        # Or, instead of the secret:\n\
        # username = \"guest\"\n\
        # password = \"guest\"\n",
};

impl Externals {
    /// Tells of `services`.
    ///
    /// # Errors
    /// When one of them makes no sense.
    pub fn new(kit: &Kit, services: Vec<External>) -> Result<Arc<Self>, ConfigError> {
        services.iter().try_for_each(External::check)?;
        if services.len() > SERVICES_MAX {
            return Err(ConfigError::new(format!("`external_services`: there are more than {SERVICES_MAX}")));
        }
        let (clock, ids) = (Arc::clone(&kit.clock), Arc::clone(&kit.ids));
        Ok(Arc::new_cyclic(|this| Self { this: Weak::clone(this), services, clock, ids, book: Mutex::default() }))
    }

    fn of_type<'a>(&'a self, type_: Option<&'a str>) -> impl Iterator<Item = &'a External> {
        self.services.iter().filter(move |service| type_.is_none_or(|type_| service.type_ == type_))
    }

    /// Notes that a session was given credentials of services of this type.
    fn note(&self, session: &Arc<Session>, type_: Option<&str>) {
        let secret = self.of_type(type_).filter(|service| service.secret.is_some());
        let Some(lifetime) = secret.map(|service| service.lifetime_seconds).min() else { return };
        let due = self.clock.now().saturating_add(due_after(lifetime).saturating_mul(1_000_000));
        self.book().note(session, type_, due);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives others to those whose credentials are about to end (section 3.2).
    async fn renew(&self, now: Timestamp) {
        loop {
            let due = self.book().take_due(now);
            if due.is_empty() {
                return;
            }
            for (session, type_) in due.iter().filter(|(session, _)| !session.mailbox.is_closed()) {
                self.push(session, type_.as_deref(), now);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Gives a session others.
    fn push(&self, session: &Arc<Session>, type_: Option<&str>, now: Timestamp) {
        let Ok(domain) = BareJid::new(session.jid.domain()) else { return };
        let account = session.jid.bare();
        let changed = self.of_type(type_).filter(|service| service.secret.is_some());
        let changed = changed.map(|service| service.element(&account, now, Some("modify")));
        let services =
            Element::builder("services", ns::EXTERNAL_SERVICES).attribute("type", type_).append_all(changed).build();
        let push = Stanza::new(Kind::Iq(IqType::Set)).from(domain).to(session.jid.clone()).id(self.ids.id());
        session.deliver(push.with(&services).render());
        self.note(session, type_);
    }

    /// The caller's account, which must be one of this domain: credentials are for our own users.
    fn account(asked: &Asked) -> Result<BareJid, StanzaError> {
        let account = asked.caller.jid.to_bare();
        let is_own = asked.caller.session.is_some() && account.domain() == asked.to.domain();
        if is_own { Ok(account) } else { Err(StanzaError::forbidden()) }
    }

    async fn services(self: Arc<Self>, asked: Asked) -> Answer {
        let account = Self::account(&asked)?;
        let query = asked.open()?;
        let type_ = query.attr("type");
        let now = self.clock.now();
        let answer = Element::builder("services", ns::EXTERNAL_SERVICES)
            .attribute("type", type_)
            .append_all(self.of_type(type_).map(|service| service.element(&account, now, None)));
        if let Some(session) = &asked.caller.session {
            self.note(session, type_);
        }
        Ok(Reply::Element(answer.build()))
    }

    async fn credentials(self: Arc<Self>, asked: Asked) -> Answer {
        let account = Self::account(&asked)?;
        let query = asked.open()?;
        let service = query.get_child("service", ns::EXTERNAL_SERVICES).ok_or_else(StanzaError::bad_request)?;
        if service.attr("host").is_none() || service.attr("type").is_none() {
            return Err(StanzaError::bad_request());
        }
        let now = self.clock.now();
        let named: Vec<Element> = self
            .services
            .iter()
            .filter(|external| external.is_named(service))
            .map(|external| external.element(&account, now, None))
            .collect();
        if named.is_empty() {
            return Err(StanzaError::item_not_found());
        }
        if let Some(session) = &asked.caller.session {
            self.note(session, service.attr("type"));
        }
        Ok(Reply::Element(Element::builder("credentials", ns::EXTERNAL_SERVICES).append_all(named).build()))
    }
}

impl Listener for Externals {
    fn minute_passed(&self, now: Timestamp) -> Pending<()> {
        let Some(this) = self.this.upgrade() else { return Pending::now(()) };
        Pending::later(async move { this.renew(now).await })
    }

    fn session_ended(&self, session: &Arc<Session>) -> Pending<()> {
        self.book().change(session, Vec::clear);
        Pending::now(())
    }
}

impl Extension for Externals {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        at.iq_get(To::DOMAIN, ("services", ns::EXTERNAL_SERVICES), &self, Self::services);
        at.iq_get(To::DOMAIN, ("credentials", ns::EXTERNAL_SERVICES), &self, Self::credentials);
        at.listener(self);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use xmpp::{BareJid, FullJid};

    use super::{Book, External, password};
    use crate::config::{Config, ResourceConflict};
    use crate::session::{SessionLimits, Sessions};

    fn read(text: &str) -> Vec<External> {
        let text = format!("[[external_services]]\ntype = \"turn\"\nhost = \"turn.example.org\"\n{text}");
        Config::parse(&text, None).unwrap().sections.take("external_services").unwrap()
    }

    #[test]
    fn the_example_has_every_key() {
        let said = toml::from_str::<External>("no-such-key = 1").unwrap_err().to_string();
        let (_, expected) = said.rsplit_once("expected").unwrap();
        for key in expected.split('`').skip(1).step_by(2) {
            assert!(super::SPEC.config.contains(&format!("\n# {key} = ")), "`{key}`");
        }
    }

    /// As `openssl dgst -sha1 -hmac north` has it.
    #[test]
    fn credentials_end_and_belong_to_the_account() {
        assert_eq!(password("north", "1433065916:bob"), "QlYA1CkCrJNenSVf/DxFwGcJG8g=");
        let [service] = &read("secret = \"north\"\nlifetime_seconds = 3600\nport = 3478")[..] else { panic!() };
        let element = service.element(&BareJid::new("bob@example.org").unwrap(), 1_795_348_800_000_000, None);
        assert_eq!(element.attr("username"), Some("1795352400:bob@example.org"));
        assert_eq!(element.attr("password"), Some(&*password("north", "1795352400:bob@example.org")));
        assert_eq!(element.attr("expires"), Some("2026-11-22T13:00:00Z"));
        assert_eq!((element.attr("restricted"), element.attr("port")), (Some("true"), Some("3478")));
    }

    #[test]
    fn who_is_told_is_known_once_and_as_long_as_it_is_there() {
        let sessions = Sessions::new(SessionLimits { sessions_per_account_max: 20, mailbox_bytes_max: 1 });
        let bind = |resource: &str| {
            let jid = FullJid::new(&format!("romeo@montague.lit/{resource}")).unwrap();
            sessions.bind(jid, ResourceConflict::Replace, 1, String::new).unwrap()
        };
        let due = |book: &mut Book, now| -> Vec<String> {
            let due = book.take_due(now);
            due.iter().map(|(session, type_)| format!("{} {type_:?}", session.jid.resource())).collect()
        };
        let mut book = Book::default();
        let (one, two) = (bind("one"), bind("two"));
        book.note(&one, Some("turn"), 10);
        book.note(&one, Some("stun"), 20);
        book.note(&two, Some("turn"), 15);
        book.note(&one, Some("turn"), 30);
        assert_eq!(due(&mut book, 20), ["two Some(\"turn\")", "one Some(\"stun\")"]);
        assert_eq!(due(&mut book, 29), [""; 0]);
        book.note(&one, None, 40);
        assert_eq!(due(&mut book, 39), [""; 0], "all of them is all of them");
        assert_eq!(due(&mut book, 40), ["one None"]);
        book.note(&one, None, 40);
        book.note(&one, Some("turn"), 45);
        assert_eq!(due(&mut book, 45), ["one None"], "once, for those of turn are among them");
        for type_ in 0..20 {
            book.note(&two, Some(&type_.to_string()), 50);
        }
        assert_eq!((book.told.len(), due(&mut book, 50).len()), (1, 8));

        book.note(&one, None, 60);
        book.change(&one, Vec::clear);
        book.note(&two, None, 60);
        sessions.unbind(&two);
        drop(two);
        assert_eq!(due(&mut book, 60), [""; 0], "nobody is there");
        assert!(book.told.is_empty() && book.due.is_empty());

        let many: Vec<_> = (0..10).map(|number| bind(&number.to_string())).collect();
        for round in 0..20 {
            many.iter().for_each(|session| book.note(session, Some(&round.to_string()), 70));
        }
        assert!((64..80).contains(&due(&mut book, 70).len()), "not all at once");
        assert!(!due(&mut book, 70).is_empty());
        assert!(book.told.is_empty() && book.due.is_empty());
    }

    /// What is due is looked at once a minute.
    #[test]
    fn others_come_before_the_credentials_end() {
        for lifetime in [600, 601, 1_200, 1_201, 86_400, 31_536_000] {
            let after = super::due_after(lifetime);
            assert!(after + 2 * 60 < lifetime && after >= lifetime / 4 * 3, "{after} of {lifetime}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            "secret = \"\"",
            "secret = \"x\"\nusername = \"y\"",
            "transport = \"pigeon\"",
            "secret = \"x\"\nlifetime_seconds = 599",
        ] {
            assert!(read(wrong).iter().any(|service| service.check().is_err()), "{wrong}");
        }
        for right in [
            "",
            "secret = \"x\"",
            "secret = \"x\"\nlifetime_seconds = 600",
            "username = \"guest\"\npassword = \"guest\"\ntransport = \"tcp\"",
        ] {
            assert!(read(right).iter().all(|service| service.check().is_ok()), "{right}");
        }
    }
}
