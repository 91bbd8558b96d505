//! Has a play acted: one line after the other, and at the end nobody may have heard more than was written.

use std::time::Duration;

use xmpp::Element;

use super::actor::{Actor, Heard, LoginError, Sasl2, Security, Wire};
use super::frames::{Frame, elements};
use super::matching::{compare, pretty};
use super::script::{Action, Character, Kind, Line, Script};
use super::words::{Variables, bytes, compact, fill};

/// Where a play is staged.
#[allow(async_fn_in_trait, reason = "one thread, never shared")]
pub trait Theatre {
    /// The domain that plays call `localhost`.
    fn domain(&self) -> &str;
    /// Whether there are servers for other domains in the cast.
    fn has_servers(&self) -> bool;
    /// What the server is called in the plays' `differs` tags; empty for ours.
    fn name(&self) -> String;
    /// The localpart used here for one written in a play.
    fn localpart(&self, written: &str) -> String;
    /// How long something expected may take.
    fn patience(&self) -> Duration;
    /// How long it must be silent for nothing to have happened.
    fn quiet(&self) -> Duration;
    /// Creates an account.
    async fn admit(&self, localpart: &str, domain: &str, password: &str) -> Result<(), String>;
    /// Whether everyone overlooks, unless they expect it, a stanza that this server sends although nothing asks
    /// for it.
    fn is_noise(&self, _stanza: &Element) -> bool {
        false
    }
    /// Opens a transport to the server of a domain, and says what security it needs.
    async fn dial(&self, domain: &str) -> Result<(Box<dyn Wire>, Security), String>;
    /// Opens a transport to where components of the server of `host` connect.
    async fn gate(&self, host: &str) -> Result<Box<dyn Wire>, String> {
        Err(format!("no component can connect to {host} here"))
    }
    /// Opens a transport to the server of a domain on which TLS comes first.
    async fn dial_tls(&self, domain: &str) -> Result<(Box<dyn Wire>, Security), String> {
        match self.dial(domain).await? {
            (_, Security::Plain) => Err("there is no TLS here".to_owned()),
            dialled => Ok(dialled),
        }
    }
    /// Becomes the server of a domain for as long as the wire holds: what is written comes to the other servers as
    /// stanzas from there, and what they have for the domain is read.
    async fn serve(&self, domain: &str) -> Result<Box<dyn Wire>, String> {
        Err(format!("nobody can play the server of {domain} here"))
    }
}

/// What became of a play.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// As written.
    Played,
    /// The play says that this server differs, and why.
    Skipped(String),
}

struct Production<'a, T> {
    theatre: &'a T,
    cast: Vec<Character>,
    actors: Vec<Option<Actor>>,
    variables: Variables,
}

/// Acts a play; the error says where it went another way, and how.
pub async fn play<T: Theatre>(theatre: &T, text: &str) -> Result<Outcome, String> {
    let script = Script::parse(text).map_err(|error| error.to_string())?;
    for (word, value) in &script.tags {
        if let Some(reason) =
            value.strip_prefix(&theatre.name()).filter(|_| word == "differs" && !theatre.name().is_empty())
        {
            return Ok(Outcome::Skipped(reason.trim_start_matches([',', ' ']).to_owned()));
        }
    }
    let is_local = |character: &Character| character.domain().is_none_or(|domain| domain == "localhost");
    if !theatre.has_servers() && !script.cast.iter().all(is_local) {
        return Ok(Outcome::Skipped("the cast is of several domains, and this is one server".to_owned()));
    }
    let text = adapt(theatre, &script, text);
    let script = Script::parse(&text).map_err(|error| error.to_string())?;
    let actors = script.cast.iter().map(|_| None).collect();
    let mut production = Production { theatre, cast: script.cast, actors, variables: Variables::new() };
    production.admit_everyone().await?;
    for line in &script.lines {
        production.act(line).await.map_err(|reason| {
            let who = production.cast.get(line.who).map(|c| c.name.as_str()).unwrap_or_default();
            format!("line {}: {who}: {reason}", line.number)
        })?;
    }
    production.curtain().await?;
    Ok(Outcome::Played)
}

/// Rewrites addresses to those that are used in this theatre.
fn adapt<T: Theatre>(theatre: &T, script: &Script, text: &str) -> String {
    let mut text = text.to_owned();
    let mut bare: Vec<&str> = script.cast.iter().filter_map(|c| c.get("jid")).collect();
    bare.sort_unstable();
    bare.dedup();
    for jid in bare {
        if let Some((localpart, domain)) = jid.split_once('@') {
            text = text.replace(jid, &format!("{}@{domain}", theatre.localpart(localpart)));
        }
    }
    if theatre.domain() == "localhost" { text } else { text.replace("localhost", theatre.domain()) }
}

impl<T: Theatre> Production<'_, T> {
    async fn admit_everyone(&mut self) -> Result<(), String> {
        let mut admitted = Vec::new();
        self.variables.insert("stage".to_owned(), self.theatre.localpart("stage"));
        for character in &self.cast {
            let Some(jid) = character.get("jid") else { continue };
            self.variables.insert(format!("{}'s JID", character.name), jid.to_owned());
            let Some((localpart, domain)) = jid.split_once('@') else { continue };
            self.variables.insert(format!("{}'s username", character.name), localpart.to_owned());
            if character.get("account") != Some("none") && !admitted.contains(&jid) {
                self.theatre.admit(localpart, domain, character.get("password").unwrap_or_default()).await?;
                admitted.push(jid);
            }
        }
        Ok(())
    }

    fn actor(&mut self, who: usize) -> Result<&mut Actor, String> {
        self.actors.get_mut(who).and_then(Option::as_mut).ok_or_else(|| "is not connected".to_owned())
    }

    async fn act(&mut self, line: &Line) -> Result<(), String> {
        let who = line.who;
        match &line.action {
            Action::TimePasses(time) => {
                tokio::time::sleep(*time).await;
                Ok(())
            }
            Action::Connects => match self.connect(who).await {
                Err(LoginError::Refused(why)) => Err(format!("was refused:\n{}", pretty(&why))),
                Err(LoginError::Broken(why)) => Err(why),
                Ok(()) => Ok(()),
            },
            Action::FailsToConnect(expected) => match self.connect(who).await {
                Err(LoginError::Refused(why)) => self.check(&self.filled(expected)?, &why),
                Err(LoginError::Broken(why)) => Err(why),
                Ok(()) => Err("was let in".to_owned()),
            },
            Action::Sends(xml) => {
                let xml = fill(&compact(xml), &self.variables)?;
                elements(&xml)?;
                self.actor(who)?.write(xml.as_bytes()).await
            }
            Action::Writes(text) => {
                let text = fill(text, &self.variables)?;
                // The server may have heard enough before all is written; what it said is what counts.
                let _cut_short = self.actor(who)?.write(&bytes(&text)?).await;
                Ok(())
            }
            Action::Receives(xml) => {
                for expected in split(xml)? {
                    let expected = self.filled(&expected)?;
                    loop {
                        let received = self.next(who, &expected).await?;
                        match self.check(&expected, &received) {
                            Err(_) if self.theatre.is_noise(&received) => {}
                            result => break result?,
                        }
                    }
                }
                Ok(())
            }
            Action::ReceivesInAnyOrder(xml) => self.receive_in_any_order(who, split(xml)?).await,
            Action::ReceivesNothing => {
                let quiet = self.theatre.quiet();
                match self.hear(who, quiet).await? {
                    Heard::Silence => Ok(()),
                    other => Err(format!("should hear nothing, but heard:\n{}", told(&other))),
                }
            }
            Action::IsCutOff => {
                let patience = self.theatre.patience();
                let mut actor = self.actors.get_mut(who).and_then(Option::take).ok_or("is not connected")?;
                loop {
                    match actor.hear(patience).await? {
                        Heard::Frame(Frame::Close) => {}
                        Heard::End => return Ok(()),
                        other => return Err(format!("should be cut off, but heard:\n{}", told(&other))),
                    }
                }
            }
            Action::Disconnects => {
                let patience = self.theatre.patience();
                let mut actor = self.actors.get_mut(who).and_then(Option::take).ok_or("is not connected")?;
                actor.write(b"</stream:stream>").await?;
                loop {
                    match actor.hear(patience).await? {
                        Heard::Frame(Frame::Close) => {}
                        Heard::End => return Ok(()),
                        Heard::Frame(Frame::Element(element)) if self.theatre.is_noise(&element) => {}
                        other => return Err(format!("leaves, but heard before:\n{}", told(&other))),
                    }
                }
            }
            Action::Vanishes => match self.actors.get_mut(who).and_then(Option::take) {
                Some(_) => Ok(()),
                None => Err("is not connected".to_owned()),
            },
        }
    }

    /// What a character hears next, if it counts.
    async fn hear(&mut self, who: usize, patience: Duration) -> Result<Heard, String> {
        let theatre = self.theatre;
        loop {
            match self.actor(who)?.hear(patience).await? {
                Heard::Frame(Frame::Element(element)) if theatre.is_noise(&element) => {}
                heard => return Ok(heard),
            }
        }
    }

    async fn connect(&mut self, who: usize) -> Result<(), LoginError> {
        let character = self.cast.get(who).cloned().ok_or_else(|| "is nobody".to_owned())?;
        let domain = character.domain().unwrap_or(self.theatre.domain());
        let mut actor = if character.kind == Kind::Component {
            let mut actor = Actor::enter(self.theatre.gate(domain).await?, domain, Security::Plain).await?;
            let jid = character.get("jid").unwrap_or_default();
            actor.join(jid, character.get("secret").unwrap_or_default()).await?;
            actor
        } else if character.kind == Kind::Server {
            Actor::enter(self.theatre.serve(domain).await?, domain, Security::Plain).await?
        } else {
            let wants_tls = character.get("login") == Some("sasl2");
            let (wire, security) =
                if wants_tls { self.theatre.dial_tls(domain).await? } else { self.theatre.dial(domain).await? };
            let security = if character.get("tls") == Some("none") { Security::Plain } else { security };
            Actor::enter(wire, domain, security).await?
        };
        if character.kind == Kind::Client {
            let jid = character.get("jid").unwrap_or_default();
            let localpart = jid.split_once('@').map(|(localpart, _)| localpart).unwrap_or_default();
            let password = character.get("password").unwrap_or_default();
            if character.get("login") == Some("sasl2") {
                let fill = |key: &str| character.get(key).map(|value| fill(value, &self.variables)).transpose();
                let (token, bind, beside) = (fill("token")?, fill("bind2")?, fill("beside")?);
                let wishes = Sasl2 {
                    client: character.get("client"),
                    token: token.as_deref(),
                    bind: bind.as_deref(),
                    beside: beside.as_deref().unwrap_or_default(),
                    behind: "",
                };
                actor.log_in_with(localpart, password, &wishes).await?;
            } else {
                actor.authenticate(localpart, password, character.get("authzid")).await?;
                if character.get("bind") != Some("none") {
                    actor.bind(character.get("resource")).await?;
                }
            }
            let name = &character.name;
            let resource = actor.full_jid.split_once('/').map(|(_, resource)| resource).unwrap_or_default();
            self.variables.insert(format!("{name}'s resource"), resource.to_owned());
            self.variables.insert(format!("{name}'s full JID"), actor.full_jid.clone());
        }
        if let Some(place) = self.actors.get_mut(who) {
            *place = Some(actor);
        }
        Ok(())
    }

    fn filled(&self, xml: &str) -> Result<Element, String> {
        elements(&fill(xml, &self.variables)?)?.pop().ok_or_else(|| format!("no element: {xml}"))
    }

    fn check(&mut self, expected: &Element, received: &Element) -> Result<(), String> {
        compare(expected, received, &mut self.variables)
            .map_err(|reason| format!("{reason}\n  expected:\n{}  received:\n{}", pretty(expected), pretty(received)))
    }

    async fn next(&mut self, who: usize, expected: &Element) -> Result<Element, String> {
        let patience = self.theatre.patience();
        match self.actor(who)?.hear(patience).await? {
            Heard::Frame(Frame::Element(element) | Frame::Open(element)) => Ok(element),
            other => Err(format!("expected:\n{}  heard:\n{}", pretty(expected), told(&other))),
        }
    }

    async fn receive_in_any_order(&mut self, who: usize, mut expected: Vec<String>) -> Result<(), String> {
        while let Some(first) = expected.first().cloned() {
            let first = self.filled(&first)?;
            let received = self.next(who, &first).await?;
            let mut reasons = String::new();
            let mut found = None;
            for (at, xml) in expected.iter().enumerate() {
                let want = self.filled(xml)?;
                match compare(&want, &received, &mut self.variables) {
                    Ok(()) => {
                        found = Some(at);
                        break;
                    }
                    Err(reason) => reasons.push_str(&format!("  not this, {reason}:\n{}", pretty(&want))),
                }
            }
            match found {
                Some(at) => drop(expected.remove(at)),
                None if self.theatre.is_noise(&received) => {}
                None => return Err(format!("none of what is expected:\n{}\n{reasons}", pretty(&received))),
            }
        }
        Ok(())
    }

    /// Everyone still connected listens a last time.
    async fn curtain(&mut self) -> Result<(), String> {
        tokio::time::sleep(self.theatre.quiet()).await;
        for who in 0..self.cast.len() {
            if self.actor(who).is_err() {
                continue;
            }
            match self.hear(who, Duration::from_millis(1)).await? {
                Heard::Silence => {}
                other => {
                    let name = self.cast.get(who).map(|character| character.name.as_str()).unwrap_or_default();
                    return Err(format!("at the end {name} heard what nobody wrote:\n{}", told(&other)));
                }
            }
        }
        Ok(())
    }
}

/// The top-level elements of a block, each as text: variables in one may be learnt by the one before.
fn split(xml: &str) -> Result<Vec<String>, String> {
    let mut frames = super::frames::Pieces::new(&compact(xml));
    let mut found = Vec::new();
    while let Some(piece) = frames.next()? {
        found.push(piece);
    }
    Ok(found)
}

fn told(heard: &Heard) -> String {
    match heard {
        Heard::Frame(Frame::Element(element) | Frame::Open(element)) => pretty(element),
        Heard::Frame(Frame::Close) => "    </stream:stream>".to_owned(),
        Heard::End => "    the end of the connection".to_owned(),
        Heard::Silence => "    nothing".to_owned(),
    }
}
