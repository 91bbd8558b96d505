//! Who may open which account (XEP-0077).

use std::net::IpAddr;

use xmpp::Stanza;
use xmpp::limits::Limits;

use super::Stage;
use crate::extension::Application;

impl Stage {
    /// Whether somebody at `peer` may open the account `name`.
    async fn opens(&self, name: &str, peer: &str) -> bool {
        let text = format!(
            "<iq type='set' id='1'><query xmlns='jabber:iq:register'><username>{name}</username>\
             <password>secret</password></query></iq>"
        );
        let stanza = Stanza::parse(text.into(), &Limits::client()).unwrap();
        let peer: IpAddr = peer.parse().unwrap();
        let application = Application { domain: "example.net".into(), peer, invitation: None, stanza };
        self.router.wiring().registrar.as_ref().unwrap().apply(application).await.reply.error().is_none()
    }
}

#[tokio::test]
async fn nobody_becomes_an_administrator_by_being_quick() {
    let stage = Stage::new().await;
    assert!(stage.opens("juliet", "192.0.2.1").await);
    assert!(!stage.opens("root", "192.0.2.1").await, "the address in `admins`");
    assert!(!stage.opens("ROOT", "::ffff:192.0.2.1").await, "however it is written");
    assert!(stage.opens("root", "127.0.0.1").await, "from the machine itself");
}
