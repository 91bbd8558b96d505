//! Blocking, of all of it.

use super::*;

#[tokio::test]
async fn the_blocked_see_nobody_and_reach_nobody() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    befriend(&romeo, &juliet).await;
    let list = "<iq type='get' id='b'><blocklist xmlns='urn:xmpp:blocking'/></iq>";
    assert!(juliet.ask(list).await[0].contains("<blocklist xmlns='urn:xmpp:blocking'></blocklist>"));
    let command = |name: &str, jid: &str| {
        format!("<iq type='set' id='c'><{name} xmlns='urn:xmpp:blocking'><item jid='{jid}'/></{name}></iq>")
    };

    let answers = juliet.ask(&command("block", "romeo@example.net")).await;
    assert!(
        answers[0].contains("<block xmlns='urn:xmpp:blocking'><item jid='romeo@example.net'/></block>"),
        "{answers:?}"
    );
    assert!(answers[1].contains("type='result'"));
    assert!(romeo.read()[0].contains("from='juliet@example.com/balcony' type='unavailable'"));

    juliet.send("<presence><show>chat</show></presence>").await;
    assert!(romeo.read().is_empty());
    for (sent, condition) in [
        ("<message to='juliet@example.com' type='chat'><body>x</body></message>", Some("service-unavailable")),
        ("<message to='juliet@example.com/balcony'><body>x</body></message>", Some("service-unavailable")),
        (
            "<iq to='juliet@example.com/balcony' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
            Some("service-unavailable"),
        ),
        (
            "<iq to='juliet@example.com' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
            Some("service-unavailable"),
        ),
        ("<message to='juliet@example.com' type='headline'><body>x</body></message>", None),
        ("<presence to='juliet@example.com' type='probe'/>", None),
        ("<presence to='juliet@example.com' type='subscribe'/>", None),
        ("<presence to='juliet@example.com'/>", None),
        ("<iq to='juliet@example.com/balcony' type='result' id='1'/>", None),
    ] {
        juliet.read();
        let answer: Vec<String> =
            romeo.ask(sent).await.into_iter().filter(|stanza| !stanza.contains("jabber:iq:roster")).collect();
        assert_eq!(answer.len(), usize::from(condition.is_some()), "{sent}: {answer:?}");
        assert!(condition.is_none_or(|condition| answer[0].contains(condition)), "{sent}: {answer:?}");
        assert!(juliet.read().is_empty(), "{sent}");
    }
    for sent in
        ["<message to='romeo@example.net'><body>x</body></message>", "<presence to='romeo@example.net/orchard'/>"]
    {
        let answer = juliet.ask(sent).await;
        assert!(
            answer[0].contains("<not-acceptable") && answer[0].contains("<blocked xmlns='urn:xmpp:blocking:errors'/>"),
            "{answer:?}"
        );
    }
    assert!(romeo.read().is_empty());

    let answers = juliet.ask("<iq type='set' id='c'><unblock xmlns='urn:xmpp:blocking'/></iq>").await;
    assert!(answers[0].contains("<unblock xmlns='urn:xmpp:blocking'></unblock>"), "{answers:?}");
    assert!(romeo.read()[0].contains("<show>chat</show>"), "he sees her again");
    assert!(answers.iter().any(|stanza| stanza.contains(&format!("from='{ROMEO}'"))), "and she him: {answers:?}");
    romeo.send("<message to='juliet@example.com' type='chat'><body>x</body></message>").await;
    assert_eq!(juliet.read().len(), 1);

    assert!(
        juliet.ask("<iq type='set' id='c'><block xmlns='urn:xmpp:blocking'/></iq>").await[0].contains("bad-request")
    );
    assert!(juliet.ask(&command("block", "@")).await[0].contains("jid-malformed"));
    for number in 0..3 {
        juliet.send(&command("block", &format!("s{number}@b"))).await;
    }
    juliet.read();
    assert!(juliet.ask(&command("block", "s4@b")).await[0].contains("resource-constraint"));
}

#[tokio::test]
async fn a_domain_or_a_resource_can_be_blocked() {
    let stage = Stage::new().await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    let block =
        |jid: &str| format!("<iq type='set' id='c'><block xmlns='urn:xmpp:blocking'><item jid='{jid}'/></block></iq>");
    let chat = "<message to='juliet@example.com' type='chat'><body>x</body></message>";
    juliet.send(&block("romeo@example.net/home")).await;
    romeo.send(chat).await;
    assert_eq!(juliet.read().len(), 2, "another resource of his, and the answer");
    juliet.send(&block("example.net")).await;
    juliet.read();
    assert!(romeo.ask(chat).await[0].contains("service-unavailable"));
    // Her own domain: everybody on it but the server and herself.
    juliet.send(&block("example.com")).await;
    juliet.read();
    let ping = juliet.ask("<iq to='example.com' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>").await;
    assert!(ping[0].contains("type='result'"), "{ping:?}");
}
