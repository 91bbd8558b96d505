//! SASL2 (XEP-0388) as one device speaks it: by password the first time, by token afterwards (XEP-0484), with
//! whatever it asks for inline (XEP-0386, XEP-0198 section 9), over TLS sessions that are resumed.

use crate::Res;
use crate::client::{Client, Mech, Target, Tls};
use crate::sasl::{Scram, decode, token, token_is_answered};
use crate::xml::{attr, find_tag, is, show, text_of};

/// The mechanism of the tokens: bound to the channel by `tls-exporter`.
const MECHANISM: &str = "HT-SHA-256-EXPR";

/// One device of an account.
pub(crate) struct Device {
    /// The server, and the sessions of TLS had with it.
    pub(crate) t: Target,
    /// The account.
    pub(crate) n: usize,
    /// What the device shows instead of the password.
    pub(crate) token: String,
}

impl Device {
    /// The device of account `n`, which has not logged in yet.
    pub(crate) fn new(t: &Target, n: usize) -> Res<Device> {
        let t = Target { connector: crate::tls::resuming()?, ..t.clone() };
        Ok(Device { t, n, token: String::new() })
    }

    fn authenticate(&self, mechanism: &str, first: &str, inside: &str) -> String {
        format!(
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='{mechanism}'><initial-response>{first}</initial-response>\
             <user-agent id='00000000-0000-4000-8000-{:012x}'><software>chirrup-load</software></user-agent>{inside}\
             </authenticate>",
            self.n
        )
    }

    /// What asks for a token.
    pub(crate) fn wish() -> String {
        format!("<request-token xmlns='urn:xmpp:fast:0' mechanism='{MECHANISM}'/>")
    }

    /// Log in by password and get a token; answers `<success/>`.
    pub(crate) async fn by_password(&mut self, inside: &str) -> Res<(Client, Vec<u8>)> {
        let (mut c, _) = Client::connect(&self.t, self.n).await?;
        let (mut scram, first) = Scram::begin(&self.t, self.n, self.t.mech == Mech::ScramSha256)?;
        c.send(&self.authenticate(scram.name(), &first, &(Device::wish() + inside))).await?;
        let reply = scram.respond(&self.t, self.n, &decode(c.next().await?, "challenge")?)?;
        c.send(&format!("<response xmlns='urn:xmpp:sasl:2'>{reply}</response>")).await?;
        let success = succeeded(&mut c).await?;
        scram.finish(&decode(&success, "additional-data")?)?;
        self.keep(&success);
        if self.token.is_empty() { Err(format!("no token in {}", show(&success))) } else { Ok((c, success)) }
    }

    /// Log in by token, waiting for the stream's features or not; answers `<success/>`.
    pub(crate) async fn by_token(&mut self, inside: &str, waits: bool) -> Res<(Client, Vec<u8>)> {
        // STARTTLS comes between two headers.
        let by_starttls = self.t.tls == Tls::Starttls;
        let mut c = if by_starttls {
            Client::connect(&self.t, self.n).await?.0
        } else {
            Client::reach(&self.t, self.n).await?
        };
        let channel = c.exporter()?;
        let first = token(&self.t, self.n, &self.token, &channel)?;
        let inside = format!("<fast xmlns='urn:xmpp:fast:0'/>{inside}");
        let authenticate = self.authenticate(MECHANISM, &first, &inside);
        let from = self.t.jid(self.n);
        if by_starttls {
            c.send(&authenticate).await?;
        } else if waits {
            c.open_as(Some(&from), &self.t.domain, "").await?;
            c.send(&authenticate).await?;
        } else {
            c.open_as(Some(&from), &self.t.domain, &authenticate).await?;
        }
        let success = succeeded(&mut c).await?;
        let answer = text_of(&success, "additional-data").ok_or("the server has not shown that it has the token")?;
        token_is_answered(answer, &self.token, &channel)?;
        self.keep(&success);
        Ok((c, success))
    }

    /// A new token replaces the old one.
    fn keep(&mut self, success: &[u8]) {
        if let Some(token) = find_tag(success, "token").and_then(|t| attr(t, "token")) {
            self.token = token.to_string();
        }
    }
}

async fn succeeded(c: &mut Client) -> Res<Vec<u8>> {
    let st = c.next().await?.to_vec();
    if !is(&st, "success") {
        return Err(show(&st));
    }
    let jid = text_of(&st, "authorization-identifier").ok_or("nobody is authorized")?;
    c.jid = jid.to_string();
    Ok(st)
}
