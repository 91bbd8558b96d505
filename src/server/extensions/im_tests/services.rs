//! Services beside the server (XEP-0215): credentials that end while their owner is here.

use std::sync::Arc;
use std::time::Duration;

use super::{JULIET, NOW, ROMEO, Stage};
use crate::runtime::Clock as _;

const HOUR: u64 = 3_600_000_000;
const TURN: &str = "[[external_services]]\ntype = \"turn\"\nhost = \"turn.example\"\nsecret = \"north\"\n\
    lifetime_seconds = 7200\n[[external_services]]\ntype = \"stun\"\nhost = \"stun.example\"\n";

impl Stage {
    /// What an hour and its minutes bring.
    async fn hour(&self, number: u64) {
        let now = NOW + number * HOUR;
        self.clock.advance(Duration::from_micros(now - self.clock.now()));
        self.router.tell(|listener| listener.minute_passed(now)).await;
        self.settle().await;
    }
}

#[tokio::test]
async fn who_has_credentials_is_given_others_before_they_end() {
    let stage = Stage::furnished(Arc::new(store::Memory::new()), TURN).await;
    stage.account("romeo@example.net").await;
    stage.account("juliet@example.com").await;
    let romeo = stage.log_in(ROMEO).await;
    let juliet = stage.log_in(JULIET).await;
    let asks = "<iq type='get' id='1' to='example.net'><services xmlns='urn:xmpp:extdisco:2' type='turn'/></iq>";
    assert!(romeo.ask(asks).await.concat().contains("expires="));
    // No credentials, so nothing that ends.
    let asks = "<iq type='get' id='1' to='example.com'><services xmlns='urn:xmpp:extdisco:2' type='stun'/></iq>";
    assert!(!juliet.ask(asks).await.concat().contains("expires="));

    stage.hour(1).await;
    assert_eq!(romeo.read(), [""; 0]);
    for hours in [2, 4] {
        stage.hour(hours).await;
        let pushed = romeo.read().concat();
        for part in ["type='set'", "from='example.net'", "to='romeo@example.net/orchard'"] {
            assert!(pushed.starts_with("<iq ") && pushed.contains(part), "{pushed}");
        }
        for part in ["<services ", "type='turn'", "action='modify'", "host='turn.example'"] {
            assert!(pushed.contains(part), "{part}: {pushed}");
        }
        assert_eq!(pushed.matches("<service ").count(), 1, "{pushed}");
        stage.hour(hours).await;
        assert_eq!(romeo.read(), [""; 0], "once");
    }
    assert_eq!(juliet.read(), [""; 0]);
    romeo.vanish().await;
    stage.hour(8).await;
}
