//! How long archives keep what, by host, and that searching an archive keeps up with it.

use std::time::Duration;

use super::archive::form;
use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const BOUNDS: &str = "[archive]\ndays_max = 30\n[[archive.host]]\ndomain = 'example.com'\ndays_max = 7\n\
                      bytes_per_account_max = 20000\n";

impl Stage {
    async fn days_pass(&self, days: u32) {
        self.clock.advance(DAY * days);
        let now = self.clock.now();
        // Archives are looked at in turn; after the last one it begins anew.
        for _ in 0..2 {
            self.router.tell(|listener| listener.minute_passed(now)).await;
        }
    }

    async fn rows(&self, account: &str) -> usize {
        let archive = crate::tables::Table::Archive.key().str(account).range();
        self.store.scan(archive, store::Page::rows(10_000)).await.unwrap().len()
    }
}

fn message(text: &str) -> String {
    format!("<message to='juliet@example.com' type='chat'><body>{text}</body></message>")
}

#[tokio::test]
async fn each_host_keeps_messages_for_as_long_as_it_says() {
    let stage = Stage::furnished(Arc::new(store::Memory::new()), BOUNDS).await;
    stage.account(ROMEO.split('/').next().unwrap()).await;
    stage.account(JULIET.split('/').next().unwrap()).await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    for at in 0..40 {
        romeo.send(&message(&format!("number {at}"))).await;
    }
    juliet.read();
    assert_eq!((romeo.bodies("").await.len(), juliet.bodies("").await.len()), (40, 40));
    stage.days_pass(8).await;
    assert_eq!((romeo.bodies("").await.len(), juliet.bodies("").await.len()), (40, 0));
    assert_eq!((stage.rows("romeo@example.net").await, stage.rows("juliet@example.com").await), (40, 0));
    stage.days_pass(23).await;
    assert_eq!((romeo.bodies("").await.len(), stage.rows("romeo@example.net").await), (0, 0));
}

#[tokio::test]
async fn each_host_keeps_as_many_bytes_as_it_says() {
    let stage = Stage::furnished(Arc::new(store::Memory::new()), BOUNDS).await;
    stage.account(ROMEO.split('/').next().unwrap()).await;
    stage.account(JULIET.split('/').next().unwrap()).await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    for at in 0..300 {
        romeo.send(&message(&format!("number {at} {}", "x".repeat(200)))).await;
        juliet.read();
    }
    assert_eq!(stage.rows("romeo@example.net").await, 300);
    let kept = stage.rows("juliet@example.com").await;
    assert!((20..80).contains(&kept), "{kept} messages are kept");
    assert!(
        juliet
            .bodies("<set xmlns='http://jabber.org/protocol/rsm'><before/></set>")
            .await
            .last()
            .unwrap()
            .starts_with("number 299")
    );
}

#[tokio::test]
async fn bounds_that_make_no_sense_are_refused() {
    for wrong in ["domain = 'example.org'", "domain = 'example.com'\nbytes_per_account_max = 0"] {
        let text = format!("[[archive.host]]\n{wrong}\n");
        let mut config = Config::parse(&text, None).unwrap();
        let settings = config.sections.take::<crate::extensions::archive::Settings>("archive").unwrap();
        assert!(settings.check(&["example.com"]).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn what_is_too_old_or_taken_back_is_not_found_and_what_comes_is() {
    let stage = Stage::furnished(Arc::new(store::Memory::new()), BOUNDS).await;
    stage.account(ROMEO.split('/').next().unwrap()).await;
    stage.account(JULIET.split('/').next().unwrap()).await;
    let (romeo, juliet) = (stage.log_in(ROMEO).await, stage.log_in(JULIET).await);
    let love = form(&[("{urn:xmpp:fulltext:0}fulltext", "love")]);
    for at in 0..100 {
        romeo.send(&message(&format!("number {at} {}", if at % 10 == 0 { "Love" } else { "hate" }))).await;
    }
    juliet.read();
    assert_eq!(juliet.bodies(&love).await.len(), 10);
    romeo.send(&message("more love").replace("<message", "<message id='m'")).await;
    juliet.read();
    assert_eq!(juliet.bodies(&love).await.len(), 11);
    romeo
        .send(
            "<message to='juliet@example.com' type='chat' id='r'><retract xmlns='urn:xmpp:message-retract:1' id='m'/>\
             <store xmlns='urn:xmpp:hints'/></message>",
        )
        .await;
    juliet.read();
    assert_eq!(juliet.bodies(&love).await.len(), 10);
    stage.days_pass(8).await;
    assert_eq!((juliet.bodies(&love).await.len(), romeo.bodies(&love).await.len()), (0, 10));
}
