//! Copies to other devices, the order in which everything is heard, what is taken back, and what goes with time.

use std::sync::Arc;

use xmpp::ns;

use super::archive::{chat, element, form, messages, page};
use super::*;

#[tokio::test]
async fn messages_are_heard_in_the_order_of_the_archive() {
    for polls in [0, 1, 3, 7] {
        let memory = store::Memory::new();
        let disk = memory.control();
        let stage = Stage::over(Arc::new(memory)).await;
        let (juliet, phone) = (stage.log_in(JULIET).await, stage.log_in("juliet@example.com/phone").await);
        phone.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
        phone.read();
        let mut senders = Vec::new();
        for number in 0..6 {
            let sender = stage.log_in(&format!("s{number}@example.net/x")).await;
            let (router, session) = (Arc::clone(&stage.router), Arc::clone(&sender.session));
            let (own_router, own) = (Arc::clone(&stage.router), Arc::clone(&juliet.session));
            disk.answer_after_polls(polls);
            senders.push(crate::runtime::start(async move {
                for said in 0..10 {
                    let text = chat(JULIET, &format!("{number} {said}"));
                    router.from_session(&session, Stanza::parse(text.into(), &Limits::server()).unwrap()).await;
                    for _ in 0..number {
                        tokio::task::yield_now().await;
                    }
                    let text = chat(session.jid.as_str(), &format!("to {number} {said}"));
                    own_router.from_session(&own, Stanza::parse(text.into(), &Limits::server()).unwrap()).await;
                }
            }));
        }
        for sender in senders {
            sender.await.unwrap();
        }
        disk.answer_after_polls(0);
        let copied: Vec<String> = phone
            .read()
            .iter()
            .filter(|copy| copy.contains("urn:xmpp:carbons:2"))
            .map(|copy| {
                let copy = element(copy);
                let inner = ["received", "sent"].iter().find_map(|name| copy.get_child(*name, ns::CARBONS)).unwrap();
                let message =
                    inner.get_child("forwarded", ns::FORWARD).unwrap().get_child("message", ns::CLIENT).unwrap();
                message.get_child("stanza-id", ns::STANZA_IDS).unwrap().attr("id").unwrap().to_owned()
            })
            .collect();
        assert_eq!(messages(juliet.read()).len(), 60);
        let first = juliet.archive("").await;
        let rest = juliet.archive(&page(&format!("<after>{}</after>", first.ids.last().unwrap()))).await;
        assert_eq!(first.ids.len() + rest.ids.len(), 120);
        let ids: Vec<String> = first.ids.into_iter().chain(rest.ids).collect();
        assert_eq!(copied, ids, "with answers after {polls} polls");
    }
}

#[tokio::test]
async fn what_is_taken_back_leaves_a_tombstone() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    let nurse = stage.log_in("nurse@example.com/x").await;
    let say = |id: &str, body: &str| {
        format!("<message to='juliet@example.com' type='chat' id='{id}'><body>{body}</body></message>")
    };
    let take_back = |id: &str, own: &str| {
        format!(
            "<message to='juliet@example.com' type='chat' id='{own}'>\
             <retract xmlns='urn:xmpp:message-retract:1' id='{id}'/></message>"
        )
    };
    romeo.send(&say("m1", "wrong")).await;
    nurse.send(&say("m1", "right")).await;
    nurse.send(&take_back("m2", "r0")).await;
    for number in 0..100 {
        romeo.send(&say("other", &number.to_string())).await;
    }
    romeo.send(&take_back("m1", "r1")).await;
    // Taken back twice, and the retraction itself: nothing more happens.
    romeo.send(&take_back("m1", "r2")).await;
    romeo.send(&take_back("r1", "r3")).await;
    juliet.read();
    let with = |fields: &str| format!("{}{}", form(&[("with", fields)]), page("<max>1</max>"));
    for actor in [&juliet, &romeo] {
        actor.read();
        let other =
            if actor.session.jid.localpart() == Some("juliet") { "romeo@example.net" } else { "juliet@example.com" };
        let asked = format!("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'>{}</query></iq>", with(other));
        let first = &actor.ask(&asked).await[0];
        assert!(first.contains("<retracted") && first.contains("id='r1'") && first.contains("id='m1'"), "{first}");
        assert!(!first.contains("wrong"));
        let last = actor.archive(&format!("{}{}", form(&[("with", other)]), page("<before/><max>3</max>"))).await;
        assert_eq!(last.bodies, ["", "", ""], "the retractions are all there");
    }
    assert_eq!(juliet.bodies(&with("nurse@example.com")).await, ["right"], "nobody takes back what another said");
}

#[tokio::test]
async fn errors_follow_the_copies() {
    let stage = Stage::new().await;
    let (romeo, street) = (stage.log_in(ROMEO).await, stage.log_in("romeo@example.net/street").await);
    street.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    romeo.read();
    street.read();
    romeo.send("<message to='nobody@elsewhere.example' type='chat' id='m1'><body>x</body></message>").await;
    let (told, copies) = (romeo.read(), street.read());
    assert!(told.len() == 1 && told[0].contains("remote-server-not-found"), "{told:?}");
    assert!(copies.len() == 2 && copies[0].contains("<sent") && copies[1].contains("<received"), "{copies:?}");
    assert!(copies[1].contains("remote-server-not-found"));
    let juliet = stage.log_in(JULIET).await;
    let error = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>";
    juliet.send(&format!("<message to='{ROMEO}' type='error' id='m1'>{error}</message>")).await;
    assert_eq!((romeo.read().len(), street.read().len()), (1, 0), "it is no answer to what was copied");
}

#[tokio::test]
async fn what_is_too_old_or_too_much_goes() {
    let store: Arc<dyn store::Store> = Arc::new(store::Memory::new());
    let stage = Stage::furnished(Arc::clone(&store), "[archive]\ndays_max = 1").await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    for number in 0..40 {
        romeo.send(&chat("juliet@example.com", &number.to_string())).await;
    }
    juliet.read();
    let oldest = juliet.archive(&page("<max>1</max>")).await.ids.remove(0);
    stage.clock.advance(std::time::Duration::from_secs(24 * 60 * 60 + 60));
    assert!(juliet.bodies("").await.is_empty(), "what is too old is not served");
    let rows = async || {
        let rows = store.scan(store::Range::between(&[0x30_u8][..], &[0x32_u8][..]), store::Page::rows(1000)).await;
        rows.unwrap().len()
    };
    assert!(rows().await > 80);
    for _ in 0..2 {
        stage.router.tell(|listener| listener.minute_passed(0)).await;
    }
    assert_eq!(rows().await, 0, "and soon gone, on both sides");
    let answer = juliet.archive(&page(&format!("<after>{oldest}</after>"))).await;
    assert!(answer.last.contains("item-not-found"));

    let stage = Stage::furnished(store, "[archive]\nbytes_per_account_max = 20000").await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    for number in 0..300 {
        romeo.send(&chat("juliet@example.com", &format!("{number:0>500}"))).await;
    }
    juliet.read();
    let kept = juliet.bodies(&page("<before/>")).await;
    assert!((10..=62).contains(&kept.len()), "{} of about 600 bytes each", kept.len());
    assert!(kept.last().is_some_and(|last| last.ends_with("0299")));
    assert_eq!(juliet.bodies(&format!("{}{}", form(&[("with", "romeo@example.net")]), page("<before/>"))).await, kept);
}

#[tokio::test]
async fn pages_are_no_heavier_than_a_mailbox_bears() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    for letter in 'a'..='h' {
        romeo.send(&chat("juliet@example.com", &letter.to_string().repeat(200_000))).await;
        juliet.read();
    }
    let mut read = String::new();
    let mut after = String::new();
    loop {
        let answered = juliet.archive(&page(&format!("<max>1000000</max>{after}"))).await;
        assert!(answered.bodies.len() <= 2, "an eighth of the mailbox");
        read.extend(answered.bodies.iter().filter_map(|body| body.chars().next()));
        after = format!("<after>{}</after>", answered.ids.last().unwrap());
        if answered.is_complete() {
            break;
        }
    }
    assert_eq!(read, "abcdefgh");
    // Who asks and does not read is told to.
    for _ in 0..20 {
        juliet.send("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>").await;
    }
    let all = juliet.read();
    assert!(all.iter().any(|answer| answer.contains("resource-constraint")) && !juliet.session.mailbox.is_closed());
}

#[tokio::test]
async fn copies_go_to_the_others() {
    let stage = Stage::new().await;
    let (romeo, street) = (stage.log_in(ROMEO).await, stage.log_in("romeo@example.net/street").await);
    let (juliet, phone) = (stage.log_in(JULIET).await, stage.log_in("juliet@example.com/phone").await);
    for actor in [&street, &phone] {
        let answer = actor.ask("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
        assert!(answer.last().unwrap().contains("result"), "{answer:?}");
    }
    for actor in [&romeo, &juliet] {
        actor.read();
    }
    romeo.send(&chat(JULIET, "one")).await;
    assert_eq!(juliet.read().len(), 1);
    let (received, sent) = (phone.read(), street.read());
    for (copy, name, from) in [(&received, "received", "juliet@example.com"), (&sent, "sent", "romeo@example.net")] {
        assert_eq!(copy.len(), 1, "{copy:?}");
        let copy = element(&copy[0]);
        assert_eq!((copy.attr("from"), copy.attr("type")), (Some(from), Some("chat")));
        let forwarded = copy.get_child(name, ns::CARBONS).unwrap().get_child("forwarded", ns::FORWARD).unwrap().clone();
        let message = forwarded.get_child("message", ns::CLIENT).unwrap();
        assert_eq!((message.attr("from"), message.attr("to")), (Some(ROMEO), Some(JULIET)));
        assert_eq!(message.get_child("stanza-id", ns::STANZA_IDS).unwrap().attr("by"), Some(from));
    }
    for (message, copies) in [
        (
            chat(JULIET, "x<private xmlns='urn:xmpp:none'/>").replace(
                "<body>x<private xmlns='urn:xmpp:none'/></body>",
                "<body>x</body><private xmlns='urn:xmpp:carbons:2'/>",
            ),
            0,
        ),
        (format!("<message to='{JULIET}' type='chat'><body>x</body><no-copy xmlns='urn:xmpp:hints'/></message>"), 0),
        (
            format!(
                "<message to='{JULIET}' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>"
            ),
            1,
        ),
        (format!("<message to='{JULIET}'><received xmlns='urn:xmpp:receipts' id='1'/></message>"), 1),
        (format!("<message to='{JULIET}'><body>x</body></message>"), 1),
        (format!("<message to='{JULIET}'><data xmlns='urn:example:other'/></message>"), 0),
        (format!("<message to='{JULIET}' type='headline'><body>x</body></message>"), 0),
    ] {
        romeo.send(&message).await;
        assert_eq!(juliet.read().len(), 1, "{message}");
        assert_eq!((phone.read().len(), street.read().len()), (copies, copies), "{message}");
    }
    // To the bare address both are told the message itself.
    romeo.send(&chat("juliet@example.com", "two")).await;
    assert_eq!((juliet.read().len(), phone.read().len(), street.read().len()), (1, 1, 1));
    phone.ask("<iq type='set' id='c'><disable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    romeo.send(&chat(JULIET, "three")).await;
    assert_eq!((juliet.read().len(), phone.read().len()), (1, 0));
    let refused =
        romeo.ask("<iq type='set' id='c' to='juliet@example.com'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    assert!(refused[0].contains("not-allowed"), "{refused:?}");
    // What is said to oneself is heard by each once.
    street.read();
    romeo.send(&chat("romeo@example.net", "note")).await;
    assert_eq!((romeo.read().len(), street.read().len()), (1, 1));
}

#[tokio::test]
async fn archived_messages_of_a_lost_stream_come_again_and_once() {
    let stage = Stage::new().await;
    stage.account("juliet@example.com").await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    let phone = stage.log_in("juliet@example.com/phone").await;
    juliet.send("<presence><priority>5</priority></presence>").await;
    phone.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>").await;
    phone.read();
    romeo.send(&chat(JULIET, "one")).await;
    romeo.send(&format!("<message to='{JULIET}'><body>two</body></message>")).await;
    assert_eq!(phone.read().len(), 2, "copies");
    juliet.vanish().await;
    assert!(romeo.read().is_empty(), "what is archived has arrived");
    assert!(messages(phone.read()).is_empty(), "it was told already");
    phone.vanish().await;
    let again = stage.connect(JULIET).await;
    assert!(messages(again.ask("<presence/>").await).is_empty());
    assert_eq!(again.bodies("").await, ["one", "two"]);
}
