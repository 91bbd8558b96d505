//! What there is now: of nodes whose items expire, and of archives.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use super::tests::Stage;

const ROMEO: &str = "romeo@example.net/orchard";
const JULIET: &str = "juliet@example.com/balcony";
const HOME: &str = "juliet@example.com";

fn short_lived(seconds: u32) -> String {
    let fields: String = [
        ("FORM_TYPE", "http://jabber.org/protocol/pubsub#node_config"),
        ("pubsub#access_model", "open"),
        ("pubsub#item_expire", &seconds.to_string()),
        ("pubsub#max_items", "max"),
        ("pubsub#send_last_published_item", "on_sub_and_presence"),
    ]
    .iter()
    .map(|(var, value)| format!("<field var='{var}'><value>{value}</value></field>"))
    .collect();
    format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>")
}

fn create() -> String {
    format!("<create node='short'/><configure>{}</configure>", short_lived(10))
}

fn item(id: u32) -> String {
    format!("<publish node='short'><item id='i{id}'><x xmlns='urn:example:x'/></item></publish>")
}

#[tokio::test]
async fn who_comes_online_is_not_sent_what_has_expired() {
    let stage = Stage::new().await;
    let juliet = stage.log_in(JULIET, &[]).await;
    assert!(juliet.set(HOME, &create()).await.contains("result"));
    assert!(juliet.set(HOME, &item(1)).await.contains("result"));
    for (seconds, is_there) in [(9, true), (1, false)] {
        stage.clock.advance(Duration::from_secs(seconds));
        let came = stage.log_in(&format!("juliet@example.com/{seconds}"), &["short"]).await.read().await;
        assert_eq!(came.iter().any(|stanza| stanza.contains("id='i1'")), is_there, "{came:?}");
    }
}

/// Whether memory holds all, what is left, or not even that.
#[tokio::test]
async fn what_has_expired_is_not_counted() {
    for (old, new) in [(3, 70), (70, 3), (70, 70), (70, 0), (500, 60)] {
        let stage = Stage::new().await;
        let (juliet, romeo) = (stage.log_in(JULIET, &[]).await, stage.log_in(ROMEO, &[]).await);
        juliet.set(HOME, &create()).await;
        for id in 0..old {
            juliet.set(HOME, &item(id)).await;
        }
        stage.clock.advance(Duration::from_secs(6));
        for id in old..old + new {
            juliet.set(HOME, &item(id)).await;
        }
        let page = |max: u32, which: &str| {
            format!("<items node='short'/><set xmlns='http://jabber.org/protocol/rsm'><max>{max}</max>{which}</set>")
        };
        let asks = [page(0, ""), page(2, ""), page(2, "<before/>")];
        for (seconds, count) in [(0, old + new), (4, new)] {
            stage.clock.advance(Duration::from_secs(seconds));
            for ask in &asks {
                let said = romeo.get(HOME, ask).await;
                assert!(said.contains(&format!("<count>{count}</count>")), "{old} {new}: {said}");
            }
        }
        if new > 0 {
            let said = romeo.get(HOME, &page(1, "")).await;
            assert!(said.contains(&format!("<first index='0'>i{old}</first>")), "{said}");
            let said = romeo.get(HOME, &page(1, "<before/>")).await;
            let last = format!("<first index='{}'>i{}</first>", new - 1, old + new - 1);
            assert!(said.contains(&last), "{said}");
        }
        // Who gives them more time before they are removed has them back.
        let more = format!("<configure node='short'>{}</configure>", short_lived(100));
        assert!(juliet.own("set", &more).await.contains("result"));
        let said = romeo.get(HOME, &page(1, "")).await;
        assert!(said.contains("<first index='0'>i0</first>"), "{said}");
        assert!(said.contains(&format!("<count>{}</count>", old + new)), "{said}");
    }
}

#[tokio::test]
async fn an_account_without_an_archive_announces_nothing_of_archives() {
    for (text, is_there) in [("", true), ("[archive]\nenabled = false", false)] {
        let stage = Stage::configured(Arc::new(store::Memory::new()), text).await;
        let juliet = stage.log_in(JULIET, &[]).await;
        // Nodes of services have archives in any case.
        for (whose, is_there) in [(HOME, is_there), ("pubsub.example.com", true)] {
            let disco = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
            let said = juliet.ask(&format!("<iq type='get' id='d' to='{whose}'>{disco}</iq>")).await;
            for feature in ["'urn:xmpp:mam:2'", "'urn:xmpp:mam:2#extended'"] {
                assert_eq!(said.contains(feature), is_there, "{feature}: {said}");
            }
        }
    }
}
