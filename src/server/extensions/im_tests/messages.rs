//! Messages, for who is here and who is away.

use std::sync::Arc;

use super::*;

#[tokio::test]
async fn messages_follow_priorities() {
    let stage = Stage::new().await;
    let romeo = stage.log_in(ROMEO).await;
    let (balcony, chamber) = (stage.log_in(JULIET).await, stage.log_in("juliet@example.com/chamber").await);
    chamber.send("<presence><priority>5</priority></presence>").await;
    balcony.read();
    chamber.read();
    let counts = || (balcony.read().len(), chamber.read().len());

    romeo.send("<message to='juliet@example.com' type='chat'><body>most available</body></message>").await;
    assert_eq!(counts(), (0, 1));
    romeo.send("<message to='juliet@example.com' type='headline'><body>all</body></message>").await;
    assert_eq!(counts(), (1, 1));
    romeo.send(&format!("<message to='{JULIET}' type='chat'><body>one</body></message>")).await;
    assert_eq!(counts(), (1, 0));
    romeo.send("<message to='juliet@example.com/gone' type='chat'><body>elsewhere</body></message>").await;
    assert_eq!(counts(), (0, 1));
    chamber.send("<presence><priority>-5</priority></presence>").await;
    counts();
    romeo.send("<message to='juliet@example.com'><body>not to a negative one</body></message>").await;
    assert_eq!(counts(), (1, 0));
    for refused in [
        "<message to='juliet@example.com' type='groupchat'/>",
        "<message to='juliet@example.com/gone'/>",
        "<message to='nobody@example.com' type='chat'/>",
    ] {
        let answer = romeo.ask(refused).await;
        assert!(answer.len() == 1 && answer[0].contains("service-unavailable"), "{refused}: {answer:?}");
    }
    for dropped in
        ["<message to='juliet@example.com' type='error'/>", "<message to='nobody@example.com' type='headline'/>"]
    {
        assert!(romeo.ask(dropped).await.is_empty(), "{dropped}");
    }
    assert_eq!(counts(), (0, 0));
    let note = romeo.ask("<message type='chat'><body>to myself</body></message>").await;
    assert!(note[0].contains("to='romeo@example.net'"), "{note:?}");
}

#[tokio::test]
async fn messages_wait_for_who_is_away_in_their_order() {
    let stage = Stage::unarchived(Arc::new(store::Memory::new())).await;
    stage.account("juliet@example.com").await;
    let romeo = stage.log_in(ROMEO).await;
    for number in 1..=4 {
        let said =
            format!("<message to='juliet@example.com' type='chat' id='m{number}'><body>{number}</body></message>");
        let answer = romeo.ask(&said).await;
        assert_eq!(answer.len(), usize::from(number == 4), "the queue has room for three: {answer:?}");
        stage.clock.advance(std::time::Duration::from_secs(60));
    }
    let typing = "<message to='juliet@example.com' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>";
    assert!(romeo.ask(typing).await.is_empty());

    // A restart loses nothing; a negative priority does not fetch.
    let stage = Stage::unarchived(Arc::clone(&stage.store)).await;
    let juliet = stage.connect(JULIET).await;
    assert_eq!(juliet.ask("<presence><priority>-1</priority></presence>").await.len(), 1);
    let came: Vec<String> =
        juliet.ask("<presence/>").await.into_iter().filter(|stanza| stanza.starts_with("<message")).collect();
    assert_eq!(came.len(), 3);
    for (number, stanza) in came.iter().enumerate() {
        assert!(stanza.contains(&format!("<body>{}</body>", number + 1)), "{came:?}");
    }
    assert!(
        came[0].contains("<delay xmlns='urn:xmpp:delay' from='example.com' stamp='2026-11-22T12:00:00Z'>"),
        "{came:?}"
    );
    assert!(came[2].contains("stamp='2026-11-22T12:02:00Z'"));
    juliet.vanish().await;
    let juliet = stage.connect(JULIET).await;
    assert_eq!(juliet.ask("<presence/>").await.len(), 1, "they came once");
}

#[tokio::test]
async fn what_a_lost_stream_never_read_is_not_lost() {
    let stage = Stage::unarchived(Arc::new(store::Memory::new())).await;
    stage.account("juliet@example.com").await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    romeo.send("<message to='juliet@example.com' type='chat'><body>one</body></message>").await;
    romeo.send("<message to='juliet@example.com/balcony' type='chat'><body>two</body></message>").await;
    romeo.send("<message to='juliet@example.com/balcony' id='n'><body>only there</body></message>").await;
    juliet.vanish().await;
    let answer = romeo.read();
    assert!(
        answer.len() == 1 && answer[0].contains("service-unavailable") && answer[0].contains("id='n'"),
        "{answer:?}"
    );

    for _ in 0..2 {
        let juliet = stage.connect(JULIET).await;
        juliet.send("<presence/>").await;
        // Once more nobody reads.
        juliet.vanish().await;
    }
    let juliet = stage.connect("juliet@example.com/chamber").await;
    let came = juliet.ask("<presence/>").await;
    let came: Vec<&String> = came.iter().filter(|stanza| stanza.starts_with("<message")).collect();
    assert_eq!(came.len(), 2, "{came:?}");
    assert!(came[0].contains("<body>one</body>") && came[1].contains("<body>two</body>"));
    assert!(came.iter().all(|stanza| stanza.matches("<delay").count() == 1), "{came:?}");
}

#[tokio::test]
async fn nobody_else_says_when_we_held_a_message_up() {
    let stage = Stage::new().await;
    stage.account("juliet@example.com").await;
    let romeo = stage.log_in(ROMEO).await;
    let forged = "<delay xmlns='urn:xmpp:delay' from='example.com' stamp='1999-01-01T00:00:00Z'/>";
    romeo.send(&format!("<message to='juliet@example.com' type='chat'><body>x</body>{forged}</message>")).await;
    let juliet = stage.connect(JULIET).await;
    let came = juliet.ask("<presence/>").await;
    assert!(!came.iter().any(|stanza| stanza.contains("1999")), "{came:?}");
}
