//! Archives, what is told of them, and how they agree with offline messages and copies.

use std::sync::Arc;

use xmpp::{Element, ns};

use super::*;

/// What a query came to.
pub(super) struct Answered {
    pub(super) ids: Vec<String>,
    pub(super) bodies: Vec<String>,
    pub(super) last: String,
}

impl Actor<'_> {
    pub(super) async fn archive(&self, inside: &str) -> Answered {
        let asked = format!("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2' queryid='f27'>{inside}</query></iq>");
        let mut answers = self.ask(&asked).await;
        let last = answers.pop().unwrap();
        let (mut ids, mut bodies) = (Vec::new(), Vec::new());
        for answer in &answers {
            let result = element(answer);
            let result = result.get_child("result", ns::ARCHIVE).unwrap();
            assert_eq!(result.attr("queryid"), Some("f27"));
            ids.push(result.attr("id").unwrap().to_owned());
            let forwarded = result.get_child("forwarded", ns::FORWARD).unwrap();
            assert!(forwarded.get_child("delay", ns::DELAY).unwrap().attr("stamp").unwrap().starts_with("2026-11-22T"));
            let message = forwarded.get_child("message", ns::CLIENT).unwrap();
            bodies.push(message.get_child("body", ns::CLIENT).map(Element::text).unwrap_or_default());
        }
        Answered { ids, bodies, last }
    }

    pub(super) async fn bodies(&self, inside: &str) -> Vec<String> {
        self.archive(inside).await.bodies
    }
}

impl Answered {
    pub(super) fn is_complete(&self) -> bool {
        self.last.contains("complete='true'") || self.last.contains("complete=\"true\"")
    }
}

pub(super) fn element(stanza: &str) -> Element {
    xmpp::xml::parse_element(stanza.as_bytes(), ns::CLIENT).unwrap()
}

pub(super) fn ids_by(stanza: &str, by: &str) -> Vec<String> {
    let stanza = element(stanza);
    let ids = stanza.children().filter(|child| child.is("stanza-id", ns::STANZA_IDS) && child.attr("by") == Some(by));
    ids.map(|id| id.attr("id").unwrap().to_owned()).collect()
}

pub(super) fn form(fields: &[(&str, &str)]) -> String {
    let fields: String =
        fields.iter().map(|(var, value)| format!("<field var='{var}'><value>{value}</value></field>")).collect();
    format!(
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>\
         <value>urn:xmpp:mam:2</value></field>{fields}</x>"
    )
}

pub(super) fn page(inside: &str) -> String {
    format!("<set xmlns='http://jabber.org/protocol/rsm'>{inside}</set>")
}

pub(super) fn chat(to: &str, body: &str) -> String {
    format!("<message to='{to}' type='chat'><body>{body}</body></message>")
}

pub(super) fn messages(stanzas: Vec<String>) -> Vec<String> {
    stanzas.into_iter().filter(|stanza| stanza.starts_with("<message")).collect()
}

#[tokio::test]
async fn both_sides_have_what_was_said() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    romeo.send(&chat("juliet@example.com", "one")).await;
    let heard = juliet.read();
    let ids = ids_by(&heard[0], "juliet@example.com");
    assert_eq!((heard.len(), ids.len()), (1, 1), "{heard:?}");
    assert!(ids_by(&heard[0], "romeo@example.net").is_empty(), "an id in another's archive is nobody's business");
    juliet.send(&chat(ROMEO, "two")).await;
    let hers = juliet.archive("").await;
    assert_eq!((&hers.bodies[..], hers.is_complete()), (&["one".to_owned(), "two".to_owned()][..], true));
    assert_eq!(hers.ids[0], ids[0], "the id that was told is the id in the archive");
    romeo.read();
    let his = romeo.archive("").await;
    assert_eq!(his.bodies, ["one", "two"]);
    assert_ne!(his.ids[0], hers.ids[0]);
    // After a restart as well.
    let stage = Stage::over(Arc::clone(&stage.store)).await;
    let juliet = stage.log_in(JULIET).await;
    assert_eq!(juliet.archive("").await.ids, hers.ids);
    juliet.ask(&chat("juliet@example.com", "to myself")).await;
    assert_eq!(juliet.bodies("").await, ["one", "two", "to myself"]);
    assert_eq!(juliet.bodies(&form(&[("with", "juliet@example.com")])).await, ["to myself"]);
    assert_eq!(juliet.bodies(&form(&[("with", "romeo@example.net")])).await, ["one", "two"]);
    assert_eq!(juliet.bodies(&form(&[("with", "romeo@example.net/street")])).await, [""; 0]);
}

#[tokio::test]
async fn what_is_told_is_durable() {
    let memory = store::Memory::new();
    let disk = memory.control();
    let stage = Stage::over(Arc::new(memory)).await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    disk.hold_flushes(true);
    let router = Arc::clone(&stage.router);
    let session = Arc::clone(&romeo.session);
    let stanza = Stanza::parse(chat("juliet@example.com", "one").into(), &Limits::server()).unwrap();
    let sending = crate::runtime::start(async move { router.from_session(&session, stanza).await });
    stage.settle().await;
    assert!(!sending.is_finished() && disk.unflushed() == 1, "one batch for both sides");
    assert!(juliet.read().is_empty());
    assert!(juliet.bodies("").await.is_empty());
    disk.flush();
    sending.await.unwrap();
    assert_eq!(ids_by(&juliet.read()[0], "juliet@example.com").len(), 1);
    disk.hold_flushes(false);
    disk.break_writes(Some(store::Fault::new("the disk is full")));
    let answer = romeo.ask(&chat("juliet@example.com", "two")).await;
    assert!(answer.len() == 1 && answer[0].contains("internal-server-error"), "{answer:?}");
    assert!(juliet.read().is_empty());
    assert_eq!(juliet.bodies("").await, ["one"]);
}

#[tokio::test]
async fn what_only_we_may_say_is_taken_out() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    let forged = "<stanza-id xmlns='urn:xmpp:sid:0' by='Juliet@Example.COM' id='forged'/>\
        <stanza-id xmlns='urn:xmpp:sid:0' by='romeo@example.net' id='forged'/>\
        <stanza-id xmlns='urn:xmpp:sid:0' by='room@rooms.example' id='another'/>\
        <origin-id xmlns='urn:xmpp:sid:0' id='original'/>\
        <delay xmlns='urn:xmpp:delay' from='example.com' stamp='1999-01-01T00:00:00Z'/>";
    let copy = "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>\
        <message xmlns='jabber:client' from='nurse@example.com/x' to='juliet@example.com'><body>lies</body></message>\
        </forwarded></received>";
    romeo.send(&format!("<message to='juliet@example.com' type='chat'><body>x</body>{forged}{copy}</message>")).await;
    romeo.send(&format!("<message to='juliet@example.com' type='chat'>{copy}</message>")).await;
    let heard = juliet.read();
    assert_eq!(heard.len(), 1, "what was nothing but a forgery does not arrive: {heard:?}");
    assert!(!heard[0].contains("forged") && !heard[0].contains("1999") && !heard[0].contains("lies"), "{heard:?}");
    assert!(heard[0].contains("another") && heard[0].contains("original"));
    assert_eq!(ids_by(&heard[0], "juliet@example.com").len(), 1);
}

#[tokio::test]
async fn who_reads_the_archive_gets_everything_once() {
    let stage = Stage::new().await;
    stage.account("juliet@example.com").await;
    let romeo = stage.log_in(ROMEO).await;
    for body in ["one", "two"] {
        romeo.send(&chat("juliet@example.com", body)).await;
    }
    romeo
        .send("<message to='juliet@example.com' type='chat'><body>off the record</body><no-permanent-store xmlns='urn:xmpp:hints'/></message>")
        .await;
    let stage = Stage::over(Arc::clone(&stage.store)).await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.connect(JULIET).await);
    let first = juliet.archive(&page("<max>1</max>")).await;
    assert_eq!((&first.bodies[..], first.is_complete()), (&["one".to_owned()][..], false));
    // It is still reading: what is behind the page will come by page.
    let came = messages(juliet.ask("<presence/>").await);
    assert!(came.len() == 1 && came[0].contains("off the record"), "only what is in no archive: {came:?}");
    let rest = juliet.archive(&page(&format!("<after>{}</after>", first.ids[0]))).await;
    assert_eq!((&rest.bodies[..], rest.is_complete()), (&["two".to_owned()][..], true));
    romeo.send(&chat("juliet@example.com", "three")).await;
    assert_eq!(messages(juliet.read()).len(), 1);
    juliet.vanish().await;
    // Nothing is left for the next one.
    let other = stage.connect("juliet@example.com/chamber").await;
    assert!(messages(other.ask("<presence/>").await).is_empty());
}

#[tokio::test]
async fn what_comes_between_catching_up_and_presence_is_told() {
    let stage = Stage::new().await;
    stage.account("juliet@example.com").await;
    let romeo = stage.log_in(ROMEO).await;
    romeo.send(&chat("juliet@example.com", "one")).await;
    for inside in [String::new(), page("<before/>"), page("<max>1</max><before/>")] {
        let juliet = stage.connect(JULIET).await;
        assert!(!juliet.bodies(&inside).await.is_empty());
        romeo.send(&chat("juliet@example.com", "late")).await;
        let came = messages(juliet.ask("<presence/>").await);
        assert!(came.len() == 1 && came[0].contains("late"), "{inside}: {came:?}");
        assert_eq!(ids_by(&came[0], "juliet@example.com").len(), 1);
        assert!(came[0].contains("<delay xmlns='urn:xmpp:delay' from='example.com' stamp='2026-11-22T12:00:00Z'>"));
        juliet.read();
        juliet.vanish().await;
    }
}

#[tokio::test]
async fn who_does_not_read_the_archive_gets_offline_messages_that_are_in_it() {
    let stage = Stage::new().await;
    stage.account("juliet@example.com").await;
    let romeo = stage.log_in(ROMEO).await;
    for number in 1..=4 {
        assert!(
            romeo.ask(&chat("juliet@example.com", &number.to_string())).await.is_empty(),
            "it is archived: no error"
        );
    }
    let juliet = stage.connect(JULIET).await;
    let came = messages(juliet.ask("<presence/>").await);
    assert_eq!(came.len(), 3, "the queue has room for three: {came:?}");
    let archived = juliet.archive("").await;
    assert_eq!(archived.bodies, ["1", "2", "3", "4"]);
    for (came, id) in came.iter().zip(&archived.ids) {
        assert_eq!(ids_by(came, "juliet@example.com"), std::slice::from_ref(id), "so that it is known to be the same");
    }
    juliet.vanish().await;
    let juliet = stage.connect(JULIET).await;
    assert!(messages(juliet.ask("<presence/>").await).len() <= 3, "what was lost comes again, from the archive");
}

#[tokio::test]
async fn queries_are_answered_to_the_letter() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    assert!(juliet.ask("<iq type='get' id='m'><metadata xmlns='urn:xmpp:mam:2'/></iq>").await[0].contains("<metadata"));
    for number in 0..10 {
        romeo.send(&chat("juliet@example.com", &number.to_string())).await;
        stage.clock.advance(std::time::Duration::from_secs(60));
    }
    juliet.read();
    let all = juliet.archive("").await;
    assert!(all.last.contains("<count>10</count>") && all.last.contains("index"), "{}", all.last);
    let id = |at: usize| all.ids[at].as_str();
    let ids = format!(
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>\
         <field var='ids'><value>{}</value><value>{}</value></field></x>",
        id(7),
        id(2)
    );
    let before = |max: u32, at: usize| page(&format!("<max>{max}</max><before>{}</before>", id(at)));
    for (inside, expected, is_complete) in [
        (page("<max>3</max>"), "012", false),
        (page("<max>3</max><before/>"), "789", false),
        (before(3, 3), "012", true),
        (before(2, 3), "12", false),
        (page(&format!("<after>{}</after>", id(9))), "", true),
        (page("<max>0</max>"), "", false),
        (page("<max>4000000000</max>"), "0123456789", true),
        (format!("{}<flip-page/>", page("<max>3</max><before/>")), "987", false),
        (form(&[("after-id", id(2)), ("before-id", id(6))]), "345", true),
        (form(&[("after-id", id(6)), ("before-id", id(2))]), "", true),
        (form(&[("start", "2026-11-22T12:05:00Z")]), "56789", true),
        (form(&[("end", "2026-11-22T12:05:00Z")]), "012345", true),
        (form(&[("start", "2026-11-22T12:05:00Z"), ("end", "2026-11-22T12:05:00Z")]), "5", true),
        (form(&[("start", "2027-11-22T12:05:00Z"), ("end", "1999-11-22T12:05:00Z")]), "", true),
        (
            format!("{}{}", form(&[("with", "romeo@example.net"), ("after-id", id(3))]), page("<max>2</max><before/>")),
            "89",
            false,
        ),
        (form(&[("with", "nobody@example.net")]), "", true),
        (form(&[("include-groupchat", "true")]), "0123456789", true),
        (ids, "27", true),
    ] {
        let answered = juliet.archive(&inside).await;
        assert_eq!((answered.bodies.concat().as_str(), answered.is_complete()), (expected, is_complete), "{inside}");
    }
    let metadata = &juliet.ask("<iq type='get' id='m'><metadata xmlns='urn:xmpp:mam:2'/></iq>").await[0];
    assert!(metadata.contains(id(0)) && metadata.contains(id(9)) && metadata.contains("2026-11-22T12:09:00Z"));
    let unknown = "aaaaaaaaaaaaaaaaaaaaaaaa";
    for (inside, condition) in [
        (page(&format!("<after>{unknown}</after>")), "item-not-found"),
        (page("<before>nonsense</before>"), "item-not-found"),
        (form(&[("before-id", unknown)]), "item-not-found"),
        (form(&[("ids", unknown)]), "item-not-found"),
        (form(&[("sender", "x")]), "feature-not-implemented"),
        (page("<index>3</index>"), "feature-not-implemented"),
    ] {
        let answered = juliet.archive(&inside).await;
        assert!(answered.last.contains(condition), "{inside}: {}", answered.last);
    }
    for asked in [
        "<iq type='set' id='q' to='juliet@example.com'><query xmlns='urn:xmpp:mam:2'/></iq>",
        "<iq type='get' id='q' to='juliet@example.com'><query xmlns='urn:xmpp:mam:2'/></iq>",
        "<iq type='get' id='q' to='juliet@example.com'><metadata xmlns='urn:xmpp:mam:2'/></iq>",
        "<iq type='get' id='q' to='juliet@example.com'><prefs xmlns='urn:xmpp:mam:2'/></iq>",
        "<iq type='set' id='q' to='juliet@example.com'><prefs xmlns='urn:xmpp:mam:2' default='never'/></iq>",
    ] {
        let answer = romeo.ask(asked).await;
        assert!(answer.len() == 1 && answer[0].contains("forbidden"), "{answer:?}");
    }
}

#[tokio::test]
async fn preferences_decide() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    let prefer = |default: &str, lists: &str| {
        format!("<iq type='set' id='p'><prefs xmlns='urn:xmpp:mam:2' default='{default}'>{lists}</prefs></iq>")
    };
    let answer = juliet.ask(&prefer("never", "<always><jid>nurse@example.com</jid></always>")).await;
    assert!(answer[0].contains("nurse@example.com") && answer[0].contains("<never"), "{answer:?}");
    romeo.send(&chat("juliet@example.com", "one")).await;
    let heard = juliet.read();
    assert!(ids_by(&heard[0], "juliet@example.com").is_empty(), "{heard:?}");
    assert!(juliet.bodies("").await.is_empty());
    assert_eq!(romeo.bodies("").await, ["one"], "his archive is his");

    juliet.ask(&prefer("roster", "")).await;
    romeo.send(&chat("juliet@example.com", "two")).await;
    juliet
        .send("<iq type='set' id='r'><query xmlns='jabber:iq:roster'><item jid='romeo@example.net'/></query></iq>")
        .await;
    romeo.send(&chat("juliet@example.com", "three")).await;
    juliet.read();
    assert_eq!(juliet.bodies("").await, ["three"]);
    juliet.ask(&prefer("always", "<never><jid>romeo@example.net/orchard</jid></never>")).await;
    romeo.send(&chat("juliet@example.com", "four")).await;
    juliet.send(&chat("romeo@example.net", "five")).await;
    juliet.read();
    assert_eq!(juliet.bodies("").await, ["three", "five"]);
    let many: String = (0..1001).map(|number| format!("<jid>a{number}@example.net</jid>")).collect();
    for (asked, condition) in [
        (prefer("sometimes", ""), "bad-request"),
        (prefer("always", "<never><jid>@@</jid></never>"), "jid-malformed"),
        (prefer("always", &format!("<never>{many}</never>")), "not-acceptable"),
    ] {
        let answer = juliet.ask(&asked).await;
        assert!(answer[0].contains(condition), "{answer:?}");
    }
}

#[tokio::test]
async fn a_removed_account_leaves_no_archive() {
    let stage = Stage::new().await;
    for account in ["romeo@example.net", "juliet@example.com"] {
        stage.account(account).await;
    }
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    romeo.send(&chat("juliet@example.com", "one")).await;
    juliet.ask("<iq type='set' id='p'><prefs xmlns='urn:xmpp:mam:2' default='roster'/></iq>").await;
    juliet.vanish().await;
    let account = BareJid::new("juliet@example.com").unwrap();
    stage.accounts.remove(&account).await.unwrap();
    stage.router.close_account(&account).await;
    stage.accounts.closed(&account).await.unwrap();
    let rows = stage.store.scan(store::Range::all(), store::Page::rows(1000)).await.unwrap();
    let needle = b"\x00\x01";
    let of_juliet = |key: &[u8]| {
        (0x30..=0x33).contains(&key[0])
            && key[1..].starts_with(b"juliet@example.com")
            && key.windows(2).any(|w| w == needle)
    };
    assert!(!rows.iter().any(|(key, _)| of_juliet(key)));
    assert!(rows.iter().any(|(key, _)| key[0] == 0x30), "the other side keeps its own");
}
