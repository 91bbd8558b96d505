//! SASL2, the initiator's side (XEP-0388): by password or by token (XEP-0484), with a resource (XEP-0386) or an earlier
//! stream (XEP-0198 section 9) in the same request, and keys left for mechanisms to come (XEP-0480).

use super::authentication::{Inline, Offer, Proof, refused};
use super::login::KeptToken;
use super::{Client, Ending, Event, Step, management};
use crate::sasl::client::{Distrust, ITERATIONS_MAX};
use crate::sasl::scram::SALT_BYTES;
use crate::sasl::token::{self, TokenMechanism};
use crate::sasl::{Hash, decode_message, encode_message, prepare_password};
use crate::xml::{escape_text, write_attr};
use crate::{Element, FullJid, ns};

/// The hash of an upgrade task.
pub(super) fn hash_of(task: &str) -> Option<Hash> {
    match task {
        "UPGR-SCRAM-SHA-256" => Some(Hash::Sha256),
        "UPGR-SCRAM-SHA-512" => Some(Hash::Sha512),
        // Nobody should want new keys of SHA-1.
        _ => None,
    }
}

fn task_name(hash: Hash) -> &'static str {
    match hash {
        Hash::Sha1 => "UPGR-SCRAM-SHA-1",
        Hash::Sha256 => "UPGR-SCRAM-SHA-256",
        Hash::Sha512 => "UPGR-SCRAM-SHA-512",
    }
}

impl Client {
    /// Whether a mechanism for tokens can be used: it is offered, and the channel has what it is bound to.
    fn can_show(&self, inline: &Inline, mechanism: TokenMechanism) -> bool {
        let has = |kind| self.tls.as_ref().is_some_and(|facts| facts.binding(kind).is_some());
        inline.tokens.contains(&mechanism) && mechanism.binding().is_none_or(has)
    }

    /// Says all at once.
    pub(super) fn authenticate_sasl2(&mut self, offer: &Offer, inline: &Inline) -> Result<(), Ending> {
        let shown = self.login.token.clone().filter(|token| self.can_show(inline, token.mechanism));
        let (name, message) = match &shown {
            Some(kept) => (kept.mechanism.name(), self.show(kept)),
            None => {
                let (mechanism, message) = self.prove(offer)?;
                // XEP-0480 section 5: not where somebody between could read the keys.
                self.upgrades = inline.upgrades.iter().copied().filter(|_| mechanism.is_bound()).collect();
                (mechanism.name(), message)
            }
        };
        let mut out = std::mem::take(&mut self.out);
        out.extend_from_slice(["<authenticate xmlns='", ns::SASL2, "'"].concat().as_bytes());
        write_attr(&mut out, "mechanism", name);
        out.extend_from_slice(
            [">", "<initial-response>", &encode_message(&message), "</initial-response>"].concat().as_bytes(),
        );
        self.login.agent.render_into(&mut out);
        if inline.bind {
            self.write_bind(inline, &mut out);
        }
        if let Some(earlier) = self.login.earlier.as_ref().filter(|_| inline.acks) {
            management::render_resume(&mut out, earlier);
        }
        let can_show = |mechanism: &TokenMechanism| self.can_show(inline, *mechanism);
        // A bound token is preferred (XEP-0484 section 7); with one that is good the server gives another in time.
        self.asked =
            TokenMechanism::ALL.into_iter().find(can_show).filter(|_| self.login.wants_token && shown.is_none());
        if let Some(mechanism) = self.asked {
            let text = ["<request-token xmlns='", ns::FAST, "' mechanism='", mechanism.name(), "'/>"];
            out.extend_from_slice(text.concat().as_bytes());
        }
        if let Some(kept) = shown {
            self.asked = Some(kept.mechanism);
            out.extend_from_slice(["<fast xmlns='", ns::FAST, "'/>"].concat().as_bytes());
        }
        for hash in &self.upgrades {
            let text = ["<upgrade xmlns='", ns::SASL_UPGRADE, "'>", task_name(*hash), "</upgrade>"];
            out.extend_from_slice(text.concat().as_bytes());
        }
        out.extend_from_slice(b"</authenticate>");
        self.out = out;
        Ok(())
    }

    fn show(&mut self, kept: &KeptToken) -> Vec<u8> {
        let facts = self.tls.as_ref();
        let channel = kept.mechanism.binding().and_then(|kind| facts?.binding(kind)).unwrap_or_default().to_vec();
        let username = self.login.account.localpart().unwrap_or_default();
        let message = token::show(username, &kept.secret, &channel);
        self.proof = Some(Proof::Token { secret: kept.secret.clone(), channel });
        message
    }

    fn write_bind(&self, inline: &Inline, out: &mut Vec<u8>) {
        out.extend_from_slice(["<bind xmlns='", ns::BIND2, "'>"].concat().as_bytes());
        if let Some(tag) = &self.login.resource {
            out.extend_from_slice(b"<tag>");
            escape_text(out, tag);
            out.extend_from_slice(b"</tag>");
        }
        if self.login.wants_acks && inline.bind_acks {
            management::render_enable(out);
        }
        for feature in &self.login.bind_features {
            out.extend_from_slice(feature);
        }
        out.extend_from_slice(b"</bind>");
    }

    /// Takes an element while an exchange of SASL2 is under way.
    pub(super) fn take_sasl2(&mut self, element: &Element) -> Result<(), Ending> {
        match element.name() {
            "challenge" => {
                let answer = self.respond(&element.text())?;
                let text = ["<response xmlns='", ns::SASL2, "'>", &answer, "</response>"].concat();
                self.out.extend_from_slice(text.as_bytes());
                Ok(())
            }
            "continue" => self.take_continue(element),
            "task-data" => self.take_task(element),
            "success" => self.take_success(element),
            "failure" if matches!(self.proof, Some(Proof::Token { .. })) => self.drop_token(),
            _ => Err(refused(element)),
        }
    }

    /// The server has proven itself with the first `<continue/>`, or does so with `<success/>`.
    fn check_additional(&mut self, element: &Element) -> Result<(), Ending> {
        let said = element.get_child("additional-data", ns::SASL2).map(Element::text);
        match said {
            Some(said) => self.check(&said),
            None if self.is_proven => Ok(()),
            None => self.check("="),
        }?;
        self.is_proven = true;
        Ok(())
    }

    /// One of the tasks that were asked for (XEP-0480 section 3).
    fn take_continue(&mut self, element: &Element) -> Result<(), Ending> {
        self.check_additional(element)?;
        let tasks = element.get_child("tasks", ns::SASL2).into_iter().flat_map(Element::children);
        let task = tasks.map(Element::text).find_map(|task| hash_of(task.trim()));
        let hash = task.filter(|hash| self.upgrades.contains(hash)).ok_or(Ending::NoCommonFeature("task"))?;
        self.task = Some(hash);
        let text = ["<next xmlns='", ns::SASL2, "' task='", task_name(hash), "'/>"].concat();
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// Stretches the password for keys that were asked for, which is slow.
    fn take_task(&mut self, element: &Element) -> Result<(), Ending> {
        let malformed = || Ending::Distrusted(Distrust::Malformed);
        let hash = self.task.take().filter(|_| self.is_proven).ok_or_else(malformed)?;
        let salt = element.get_child("salt", ns::SCRAM_UPGRADE).ok_or_else(malformed)?;
        let iterations = salt.attr("iterations").and_then(|count| count.parse::<u32>().ok()).ok_or_else(malformed)?;
        let salt = decode_message(salt.text().trim()).map_err(|_| malformed())?;
        if iterations == 0 || iterations > ITERATIONS_MAX || salt.is_empty() || salt.len() > SALT_BYTES * 16 {
            return Err(malformed());
        }
        let prepared = prepare_password(self.login.password.expose()).ok_or_else(malformed)?;
        let salted = encode_message(&hash.stretch(prepared.as_bytes(), &salt, iterations));
        let text = [
            "<task-data xmlns='",
            ns::SASL2,
            "'><hash xmlns='",
            ns::SCRAM_UPGRADE,
            "'>",
            &salted,
            "</hash></task-data>",
        ];
        self.out.extend_from_slice(text.concat().as_bytes());
        Ok(())
    }

    /// All that was asked for has its answer here.
    fn take_success(&mut self, success: &Element) -> Result<(), Ending> {
        self.check_additional(success)?;
        self.is_authenticated = true;
        self.step = Step::Features;
        if let (Some(token), Some(mechanism)) = (success.get_child("token", ns::FAST), self.asked)
            && let (Some(secret), Some(expiry)) = (token.attr("token"), token.attr("expiry"))
        {
            let kept = KeptToken { mechanism, secret: secret.to_owned(), expiry: expiry.to_owned() };
            self.login.token = Some(kept.clone());
            self.events.push_back(Event::Token(kept));
        }
        if let Some(resumed) = success.get_child("resumed", ns::ACKS) {
            return self.take_resumed(resumed).map(drop);
        }
        if let Some(failed) = success.get_child("failed", ns::ACKS) {
            self.give_up_earlier(Some(failed));
        }
        let Some(bound) = success.get_child("bound", ns::BIND2) else { return Ok(()) };
        let jid = success.get_child("authorization-identifier", ns::SASL2).map(Element::text);
        let jid = jid.and_then(|jid| FullJid::new(jid.trim()).ok()).ok_or(Ending::NotBound)?;
        if let Some(enabled) = bound.get_child("enabled", ns::ACKS) {
            self.take_enabled(enabled);
        }
        self.arrive(jid);
        Ok(())
    }
}
