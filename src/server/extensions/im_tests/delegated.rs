//! Namespaces that an account's owner delegates (XEP-0355 section 5).

use std::sync::Arc;

use super::{Actor, JULIET, ROMEO, Stage};

const POLICY: &str = "[delegation]\nclient_namespaces = [\"http://jabber.org/protocol/pubsub\"]";
const BOT: &str = "bot@example.com/1";
const WISH: &str = "<iq type='get' id='w' to='example.com'><query xmlns='urn:xmpp:delegation:2' to='juliet@example.com'>\
    <delegate namespace='http://jabber.org/protocol/pubsub'/></query></iq>";
const QUESTION: &str =
    "<iq type='get' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='x'/></pubsub></iq>";

async fn stage() -> Stage {
    let stage = Stage::furnished(Arc::new(store::Memory::new()), POLICY).await;
    for account in ["juliet@example.com", "bot@example.com", "romeo@example.net"] {
        stage.account(account).await;
    }
    stage
}

/// What stands between two texts.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text.split_once(before).unwrap_or_else(|| panic!("{before} in {text}")).1;
    rest.split_once(after).unwrap().0
}

fn challenge(question: &str) -> String {
    assert!(question.contains("type='form'") || question.contains("type=\"form\""), "{question}");
    let field = question.split("<field ").find(|field| field.contains("challenge")).unwrap();
    between(field, "<value>", "</value>").to_owned()
}

fn answer(challenge: &str, value: &str) -> String {
    format!(
        "<message to='example.com' id='a'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value/></field>\
         <field var='challenge'><value>{challenge}</value></field>\
         <field var='http://jabber.org/protocol/pubsub'><value>{value}</value></field></x></message>"
    )
}

fn id_of(stanza: &str) -> &str {
    between(stanza, " id='", "'")
}

#[tokio::test]
async fn what_is_granted_by_who_was_never_available_ends_too() {
    let stage = stage().await;
    let (bot, juliet) = (stage.log_in(BOT).await, stage.log_in(JULIET).await);
    let quiet = stage.connect("juliet@example.com/quiet").await;
    bot.read();
    bot.ask(WISH).await;
    quiet.send(&answer(&challenge(&juliet.read().concat()), "1")).await;
    assert!(bot.read().concat().contains("<delegated "));
    assert_eq!(juliet.ask(QUESTION).await, [""; 0], "it is elsewhere");
    bot.read();
    quiet.vanish().await;
    stage.settle().await;
    let told = bot.read().concat();
    assert!(told.contains("<delegation ") && !told.contains("<delegated "), "{told}");
    assert!(juliet.ask(QUESTION).await.concat().contains("type='error'"), "handled here, and answered");
}

#[tokio::test]
async fn who_loses_several_namespaces_hears_of_it_once() {
    let policy = "[delegation]\nclient_namespaces = [\"urn:example:1\", \"urn:example:2\", \"urn:example:3\"]";
    let stage = Stage::furnished(Arc::new(store::Memory::new()), policy).await;
    for account in ["juliet@example.com", "bot@example.com", "other@example.com"] {
        stage.account(account).await;
    }
    let (bot, juliet) = (stage.log_in(BOT).await, stage.log_in(JULIET).await);
    let other = stage.log_in("other@example.com/1").await;
    for (manager, namespace) in [(&bot, "urn:example:1"), (&other, "urn:example:2"), (&bot, "urn:example:3")] {
        manager.ask(&WISH.replace("http://jabber.org/protocol/pubsub", namespace)).await;
        let challenge = challenge(&juliet.read().concat());
        juliet.send(&answer(&challenge, "1").replace("http://jabber.org/protocol/pubsub", namespace)).await;
        assert!(manager.read().concat().contains("<delegated "));
    }
    juliet.vanish().await;
    stage.settle().await;
    for manager in [&bot, &other] {
        let told = manager.read();
        assert_eq!(told.iter().filter(|told| told.contains("<delegation ")).count(), 1, "{told:?}");
    }
}

/// The bot has been granted what it asked for, and has said what it can.
async fn grant(bot: &Actor<'_>, juliet: &Actor<'_>) {
    assert!(bot.ask(WISH).await.concat().contains("result"));
    let asked = juliet.read().concat();
    assert!(asked.contains(BOT) && asked.contains("from='example.com'"), "{asked}");
    juliet.send(&answer(&challenge(&asked), "1")).await;
    let [told, inquiry] = &bot.read()[..] else { panic!("both are told") };
    assert!(told.contains("<delegated ") && told.contains("juliet@example.com"), "{told}");
    assert!(inquiry.contains("urn:xmpp:delegation:2:bare:http://jabber.org/protocol/pubsub"), "{inquiry}");
    let id = id_of(inquiry);
    bot.send(&format!(
        "<iq type='result' id='{id}' to='example.com'><query xmlns='http://jabber.org/protocol/disco#info'>\
         <feature var='http://jabber.org/protocol/pubsub#oracle'/></query></iq>"
    ))
    .await;
}

#[tokio::test]
async fn what_an_owner_grants_is_handled_elsewhere_until_the_owner_goes() {
    let stage = stage().await;
    let (bot, juliet) = (stage.log_in(BOT).await, stage.log_in(JULIET).await);
    bot.read();
    let disco =
        "<iq type='get' id='d' to='juliet@example.com'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>";
    assert!(juliet.ask(disco).await.concat().contains("pubsub#publish"));
    grant(&bot, &juliet).await;
    let said = juliet.ask(disco).await.concat();
    assert!(said.contains("pubsub#oracle") && !said.contains("pubsub#publish"), "{said}");

    assert_eq!(juliet.ask(QUESTION).await, [""; 0], "it is elsewhere");
    let forwarded = bot.read().concat();
    assert!(
        forwarded.contains("<delegation ") && forwarded.contains("from='juliet@example.com/balcony'"),
        "{forwarded}"
    );
    let id = id_of(&forwarded);
    bot.send(&format!(
        "<iq type='result' id='{id}' to='example.com'><delegation xmlns='urn:xmpp:delegation:2'>\
         <forwarded xmlns='urn:xmpp:forward:0'><iq xmlns='jabber:client' type='result' id='p' from='juliet@example.com' \
         to='juliet@example.com/balcony'><pubsub xmlns='http://jabber.org/protocol/pubsub'/></iq></forwarded></delegation></iq>"
    ))
    .await;
    let answered = juliet.read().concat();
    assert!(answered.contains("type='result'") && answered.contains("id='p'"), "{answered}");

    // What the manager itself asks is handled here; so is what concerns others.
    let its_own = bot.ask(&QUESTION.replace("<iq ", "<iq to='juliet@example.com' ")).await.concat();
    assert!(its_own.contains("type='error'"), "{its_own}");
    let romeo = stage.log_in(ROMEO).await;
    assert!(romeo.ask(QUESTION).await.concat().contains("type='error'"));
    assert_eq!(bot.read(), [""; 0]);

    juliet.vanish().await;
    stage.settle().await;
    let told = bot.read().concat();
    assert!(told.contains("<delegation ") && !told.contains("<delegated "), "{told}");
    let juliet = stage.log_in(JULIET).await;
    assert!(juliet.ask(QUESTION).await.concat().contains("type='error'"), "handled here");
}

#[tokio::test]
async fn nothing_is_granted_that_was_not_asked_of_the_owner() {
    let stage = stage().await;
    let (bot, juliet, romeo) = (stage.log_in(BOT).await, stage.log_in(JULIET).await, stage.log_in(ROMEO).await);
    bot.read();
    for wrong in [
        WISH.replace("protocol/pubsub", "protocol/pubsub#owner"),
        WISH.replace("juliet@example.com", "juliet@example.net"),
        WISH.replace("juliet@example.com", "bot@example.com"),
        WISH.replace(" to='juliet@example.com'", " to='example.com'"),
        WISH.replace("http://jabber.org/protocol/pubsub", "urn:xmpp:delegation:2"),
    ] {
        assert!(bot.ask(&wrong).await.concat().contains("<forbidden "), "{wrong}");
    }
    // Nobody learns who exists.
    let nobody = WISH.replace("juliet@", "nobody@");
    assert_eq!(bot.ask(&nobody).await, bot.ask(&nobody.replace("nobody@", "root@")).await);

    bot.ask(WISH).await;
    let challenge = challenge(&juliet.read().concat());
    bot.ask(WISH).await;
    assert_eq!(juliet.read(), [""; 0], "asked once");
    for (who, value) in [(&romeo, &*challenge), (&bot, &*challenge), (&juliet, "1")] {
        let told = who.ask(&answer(value, "1")).await.concat();
        assert!(told.contains("<service-unavailable "), "{told}");
    }
    assert_eq!(juliet.ask(&answer(&challenge, "0")).await, [""; 0]);
    assert!(
        juliet.ask(&answer(&challenge, "1")).await.concat().contains("<service-unavailable "),
        "it has been answered"
    );
    assert_eq!(bot.read(), [""; 0]);
    assert!(juliet.ask(QUESTION).await.concat().contains("type='error'"), "handled here");

    let block = "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='bot@example.com'/></block></iq>";
    juliet.ask(block).await;
    bot.read();
    assert!(bot.ask(WISH).await.concat().contains("result"));
    assert_eq!(juliet.read(), [""; 0], "who is blocked bothers nobody");
}
