//! Rosters, subscriptions and presence.

use std::sync::Arc;

use super::*;

#[tokio::test]
async fn a_roster_is_set_pushed_got_and_emptied() {
    let stage = Stage::new().await;
    let (orchard, home) = (stage.log_in(ROMEO).await, stage.connect("romeo@example.net/home").await);
    let set = "<iq type='set' id='s1'><query xmlns='jabber:iq:roster'><item jid='nurse@example.com' name='Nurse'>\
               <group>Servants</group></item></query></iq>";
    let answers = orchard.ask(set).await;
    assert_eq!(answers.len(), 2);
    assert!(answers[0].contains("to='romeo@example.net/orchard' id='roster-1'"), "{answers:?}");
    assert!(
        answers[0]
            .contains("<item jid='nurse@example.com' subscription='none' name='Nurse'><group>Servants</group></item>")
    );
    assert!(answers[1].contains("type='result'") && answers[1].contains("id='s1'"));
    assert!(home.read().is_empty(), "who never asked for the roster is not interested");

    let got = home.ask("<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>").await;
    assert!(got[0].contains("name='Nurse'") && got[0].contains("ver="), "{got:?}");

    let remove = "<iq type='set' id='s2'><query xmlns='jabber:iq:roster'><item jid='nurse@example.com' subscription='remove'/></query></iq>";
    orchard.send(remove).await;
    let pushed = home.read();
    assert!(pushed[0].contains("<item jid='nurse@example.com' subscription='remove'/>"), "{pushed:?}");
    assert!(orchard.ask(remove).await.last().unwrap().contains("item-not-found"));
    let own = "<iq type='set' id='s3'><query xmlns='jabber:iq:roster'><item jid='romeo@example.net'/></query></iq>";
    assert!(orchard.ask(own).await.last().unwrap().contains("not-allowed"));
    let other =
        "<iq type='set' id='s4' to='juliet@example.com'><query xmlns='jabber:iq:roster'><item jid='a@b'/></query></iq>";
    assert!(orchard.ask(other).await.last().unwrap().contains("forbidden"));
}

#[tokio::test]
async fn a_client_is_told_what_it_missed_and_nothing_else() {
    let stage = Stage::new().await;
    let version = |answer: &str| answer.split("ver='").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    let get = |ver: &str| format!("<iq type='get' id='g'><query xmlns='jabber:iq:roster' ver='{ver}'/></iq>");
    let set = |item: &str| format!("<iq type='set' id='s'><query xmlns='jabber:iq:roster'>{item}</query></iq>");
    let romeo = stage.log_in(ROMEO).await;
    for number in 0..5 {
        romeo.send(&set(&format!("<item jid='c{number}@example.org'/>"))).await;
    }
    let known = version(romeo.read().iter().rev().find(|stanza| stanza.contains("ver=")).unwrap());
    assert_eq!(romeo.ask(&get(&known)).await.len(), 1, "nothing was missed");

    romeo.send(&set("<item jid='c1@example.org' name='One'/>")).await;
    romeo.send(&set("<item jid='c2@example.org' subscription='remove'/>")).await;
    romeo.send(&set("<item jid='c1@example.org' name='Uno'/>")).await;
    romeo.read();
    // After a restart too.
    let stage = Stage::over(Arc::clone(&stage.store)).await;
    let romeo = stage.connect(ROMEO).await;
    let answers = romeo.ask(&get(&known)).await;
    assert_eq!(answers.len(), 3, "{answers:?}");
    assert!(answers[0].contains("type='result'") && !answers[0].contains("<query"), "an empty result comes first");
    assert!(answers[1].contains("jid='c2@example.org' subscription='remove'"));
    assert!(answers[2].contains("name='Uno'"));

    for strange in ["", "nonsense", "0-1", "ffff-ffff"] {
        let answers = romeo.ask(&get(strange)).await;
        assert!(answers.len() == 1 && answers[0].matches("<item").count() == 4, "{strange}: {answers:?}");
    }
}

#[tokio::test]
async fn a_full_roster_takes_no_more() {
    let stage = Stage::new().await;
    let romeo = stage.connect(ROMEO).await;
    for number in 0..50 {
        romeo
            .send(&format!(
                "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='c{number}@b'/></query></iq>"
            ))
            .await;
    }
    romeo.read();
    let one_more = "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='d@b'/></query></iq>";
    assert!(romeo.ask(one_more).await[0].contains("resource-constraint"));
    let answers = romeo.ask("<presence to='d@b' type='subscribe'/>").await;
    assert!(
        answers[0].contains("resource-constraint") && answers[0].contains("to='romeo@example.net/orchard'"),
        "{answers:?}"
    );
    let known = "<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='c7@b' name='Seven'/></query></iq>";
    assert!(romeo.ask(known).await[0].contains("type='result'"), "what is there can change");
}

#[tokio::test]
async fn two_become_contacts_and_part_again() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);

    let asked =
        romeo.ask("<presence to='juliet@example.com/x' type='subscribe' id='p1'><status>Hi</status></presence>").await;
    assert!(asked.len() == 1 && asked[0].contains("subscription='none' ask='subscribe'"), "{asked:?}");
    let request = juliet.read();
    assert_eq!(request.len(), 1, "the request and no push: {request:?}");
    assert_eq!(
        request[0],
        "<presence to='juliet@example.com' from='romeo@example.net' type='subscribe' id='p1'><status>Hi</status></presence>"
    );

    let approved = juliet.ask("<presence to='romeo@example.net' type='subscribed'/>").await;
    assert!(approved.len() == 1 && approved[0].contains("jid='romeo@example.net' subscription='from'"), "{approved:?}");
    let told = romeo.read();
    assert!(told[0].contains("type='subscribed'"), "before the push: {told:?}");
    assert!(told[1].contains("subscription='to'") && !told[1].contains("ask="));
    assert!(told[2].contains("from='juliet@example.com/balcony'") && !told[2].contains("type="));

    juliet.send("<presence to='romeo@example.net' type='subscribe'/>").await;
    romeo.send("<presence to='juliet@example.com' type='subscribed'/>").await;
    assert!(romeo.read().iter().any(|stanza| stanza.contains("subscription='both'")));
    juliet.read();

    romeo.send("<presence><show>away</show></presence>").await;
    assert_eq!(
        juliet.read(),
        ["<presence to='juliet@example.com' from='romeo@example.net/orchard'><show>away</show></presence>"]
    );
    romeo.read();

    // Section 3.2: juliet withdraws what she granted.
    let withdrawn = juliet.ask("<presence to='romeo@example.net' type='unsubscribed'/>").await;
    assert!(withdrawn.iter().any(|stanza| stanza.contains("subscription='to'")), "{withdrawn:?}");
    let told = romeo.read();
    assert!(told[0].contains("from='juliet@example.com/balcony' type='unavailable'"), "{told:?}");
    assert!(told[1].contains("from='juliet@example.com' type='unsubscribed'"));
    assert!(told[2].contains("subscription='from'"));

    // Section 2.5.2: romeo removes her.
    romeo.send("<iq type='set' id='x'><query xmlns='jabber:iq:roster'><item jid='juliet@example.com' subscription='remove'/></query></iq>").await;
    let told = juliet.read();
    assert!(told[0].contains("type='unavailable'") && told[1].contains("type='unsubscribed'"), "{told:?}");
    assert!(told[2].contains("jid='romeo@example.net' subscription='none'"));
}

#[tokio::test]
async fn a_request_waits_for_who_is_away_and_comes_until_it_is_answered() {
    let stage = Stage::new().await;
    stage.account("juliet@example.com").await;
    let romeo = stage.log_in(ROMEO).await;
    romeo.send("<presence to='juliet@example.com' type='subscribe'><status>one</status></presence>").await;
    romeo.send("<presence to='juliet@example.com' type='subscribe'><status>two</status></presence>").await;
    romeo.send("<presence to='nobody@example.com' type='subscribe'/>").await;
    let stage = Stage::over(Arc::clone(&stage.store)).await;
    for _ in 0..2 {
        let juliet = stage.connect(JULIET).await;
        let got = juliet.ask("<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>").await;
        assert!(!got[0].contains("<item"), "a request is no roster item (section 3.1.3): {got:?}");
        let told = juliet.ask("<presence/>").await;
        assert_eq!(told.iter().filter(|stanza| stanza.contains("type='subscribe'")).count(), 1, "{told:?}");
        assert!(told.iter().any(|stanza| stanza.contains("<status>one</status>")), "the whole stanza was kept");
        juliet.vanish().await;
    }
    let juliet = stage.connect(JULIET).await;
    juliet.send("<presence/>").await;
    juliet.send("<presence to='romeo@example.net' type='unsubscribed'/>").await;
    juliet.vanish().await;
    let juliet = stage.connect(JULIET).await;
    assert!(!juliet.ask("<presence/>").await.iter().any(|stanza| stanza.contains("subscribe")), "it was answered");
}

#[tokio::test]
async fn a_pre_approved_contact_is_let_in_at_once() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    let noted = juliet.ask("<presence to='romeo@example.net' type='subscribed'/>").await;
    assert!(noted[0].contains("approved='true'"), "{noted:?}");
    assert!(romeo.read().is_empty());
    let told = romeo.ask("<presence to='juliet@example.com' type='subscribe'/>").await;
    assert!(told.iter().any(|stanza| stanza.contains("type='subscribed'")), "{told:?}");
    assert!(told.iter().any(|stanza| stanza.contains("from='juliet@example.com/balcony'")));
    assert!(!juliet.read().iter().any(|stanza| stanza.contains("type='subscribe'")), "she is not asked");
}

#[tokio::test]
async fn presence_comes_and_goes_with_the_resource() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    befriend(&romeo, &juliet).await;

    let chamber = stage.connect("juliet@example.com/chamber").await;
    let told = chamber.ask("<presence><priority>-1</priority></presence>").await;
    let from = |jid: &str| told.iter().filter(|stanza| stanza.contains(&format!("from='{jid}'"))).count();
    assert_eq!(
        (from("juliet@example.com/chamber"), from("juliet@example.com/balcony"), from(ROMEO)),
        (1, 1, 1),
        "{told:?}"
    );
    assert_eq!(juliet.read().len(), 1, "the account's other resources hear of it");
    assert_eq!(romeo.read().len(), 1);

    chamber.vanish().await;
    for other in [&romeo, &juliet] {
        let told = other.read();
        assert!(
            told.len() == 1 && told[0].contains("from='juliet@example.com/chamber' type='unavailable'"),
            "{told:?}"
        );
    }
    romeo.send("<presence type='unavailable'><status>gone home</status></presence>").await;
    assert!(juliet.read()[0].contains("<status>gone home</status>"));
    assert!(romeo.read()[0].contains("type='unavailable'"), "also to the resource itself");
    juliet.send("<presence><show>dnd</show></presence>").await;
    assert!(romeo.read().is_empty(), "who is connected and not available gets no presence");
    let back = romeo.ask("<presence/>").await;
    assert!(back.iter().any(|stanza| stanza.contains("<show>dnd</show>")), "{back:?}");
    for wrong in ["128", "-129", "x", ""] {
        let answer = romeo.ask(&format!("<presence id='w'><priority>{wrong}</priority></presence>")).await;
        assert!(answer[0].contains("bad-request"), "{wrong}: {answer:?}");
    }
}

#[tokio::test]
async fn directed_presence_ends_with_the_session() {
    let stage = Stage::new().await;
    let (romeo, nurse) = (stage.log_in(ROMEO).await, stage.log_in("nurse@example.com/kitchen").await);
    romeo.send("<presence to='nurse@example.com'><show>dnd</show></presence>").await;
    assert!(nurse.read()[0].contains("<show>dnd</show>"));
    romeo.send("<presence><show>away</show></presence>").await;
    assert!(nurse.read().is_empty(), "she is no contact");
    // Section 4.6.6: only that he is there.
    let probe = format!("<presence to='{ROMEO}' type='probe' id='q'/>");
    assert_eq!(nurse.ask(&probe).await, [format!("<presence to='nurse@example.com/kitchen' from='{ROMEO}' id='q'/>")]);
    let ping = format!("<iq to='{ROMEO}' type='get' id='i'><ping xmlns='urn:xmpp:ping'/></iq>");
    nurse.send(&ping).await;
    assert!(romeo.read().iter().any(|stanza| stanza.contains("<ping")), "she knows that he is there");
    romeo.vanish().await;
    let told = nurse.read();
    assert!(told.len() == 1 && told[0].contains("type='unavailable'"), "{told:?}");
}

#[tokio::test]
async fn a_stranger_learns_nothing() {
    let stage = Stage::new().await;
    stage.account("juliet@example.com").await;
    let (romeo, _juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    for to in ["juliet@example.com", JULIET, "nobody@example.com"] {
        let answer = romeo.ask(&format!("<presence to='{to}' type='probe' id='q'/>")).await;
        assert!(answer.is_empty(), "an unsubscribed changes nothing and is not delivered: {answer:?}");
    }
    for to in [JULIET, "juliet@example.com/nowhere", "nobody@example.com/x"] {
        let answer = romeo.ask(&format!("<iq to='{to}' type='get' id='i'><ping xmlns='urn:xmpp:ping'/></iq>")).await;
        assert!(answer.len() == 1 && answer[0].contains("service-unavailable"), "{to}: {answer:?}");
    }
    let answer =
        romeo.ask("<iq to='juliet@example.com' type='get' id='i'><query xmlns='jabber:iq:roster'/></iq>").await;
    assert!(answer[0].contains("forbidden"));
}

#[tokio::test]
async fn a_removed_account_leaves_nothing_behind() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    befriend(&romeo, &juliet).await;
    let account = romeo.session.jid.bare();
    romeo.vanish().await;
    juliet.read();
    stage.router.close_account(&account).await;
    stage.settle().await;
    let told = juliet.read();
    assert!(told.iter().any(|stanza| stanza.contains("jid='romeo@example.net' subscription='none'")), "{told:?}");
    let romeo = stage.connect(ROMEO).await;
    let got = romeo.ask("<iq type='get' id='g'><query xmlns='jabber:iq:roster'/></iq>").await;
    assert!(!got[0].contains("<item"), "{got:?}");
}
