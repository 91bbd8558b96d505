//! The grammar: from the text of a play to its cast and its lines.
//!
//! Follows scansion's script and `[Client]` pages; what is ours in addition is listed in
//! `tests/scenarios/README.md`. Nothing is interpreted here: XML blocks stay text, since variables in them are
//! only known while the play runs.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// A play.
#[derive(Debug, Default, PartialEq)]
pub struct Script {
    /// First comment line.
    pub title: String,
    /// Lines beginning with `##`: a word, or a word and a value.
    pub tags: Vec<(String, String)>,
    /// Who takes part, in order of appearance.
    pub cast: Vec<Character>,
    /// What happens.
    pub lines: Vec<Line>,
}

/// A character's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Logs in when it connects.
    Client,
    /// Only opens the transport when it connects, and writes the rest by hand.
    Stream,
    /// Is the server of its domain while it is connected, and has proven that already: it sends and gets stanzas.
    Server,
    /// Is an external component of a server while it is connected, and proves it when it connects.
    Component,
}

/// One of the cast.
#[derive(Clone, Debug, PartialEq)]
pub struct Character {
    /// As the lines call it.
    pub name: String,
    /// What connecting means for it.
    pub kind: Kind,
    /// `jid`, `password`, `resource`, …
    pub properties: BTreeMap<String, String>,
}

impl Character {
    /// A property, or nothing.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.properties.get(key).map(String::as_str)
    }

    /// The domain of its address: that of the server it connects to, or that it is. For a component, that of the server.
    pub fn domain(&self) -> Option<&str> {
        if self.kind == Kind::Component {
            return Some(self.get("host").unwrap_or("localhost"));
        }
        let jid = self.get("jid")?;
        Some(jid.split_once('@').map_or(jid, |(_, domain)| domain))
    }
}

/// One line of the play.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Where it stands in the file, from 1.
    pub number: usize,
    /// Index into the cast; for [`Action::TimePasses`] meaningless.
    pub who: usize,
    /// What is done.
    pub action: Action,
}

/// What a character can do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `connects`
    Connects,
    /// `fails to connect:` and the element that says why.
    FailsToConnect(String),
    /// `disconnects`: closes the stream politely.
    Disconnects,
    /// `vanishes`: the transport is dropped without a word.
    Vanishes,
    /// `sends:` and stanzas.
    Sends(String),
    /// `writes:` and bytes that need not be XML.
    Writes(String),
    /// `receives:` and stanzas, in this order.
    Receives(String),
    /// `receives in any order:` and stanzas.
    ReceivesInAnyOrder(String),
    /// `receives: nothing`
    ReceivesNothing,
    /// `is cut off`: the server ends stream and transport.
    IsCutOff,
    /// `Time passes: 5 seconds`
    TimePasses(Duration),
}

/// Why a text is not a play.
#[derive(Debug, PartialEq)]
pub struct ScriptError {
    /// Line of the file, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl Script {
    /// Reads a play.
    pub fn parse(text: &str) -> Result<Script, ScriptError> {
        let mut script = Script::default();
        let lines: Vec<&str> = text.lines().collect();
        let mut at = 0;
        while let Some(&raw) = lines.get(at) {
            let number = at + 1;
            let wrong = |reason: String| ScriptError { line: number, reason };
            let line = raw.trim_end();
            at += 1;
            if line.is_empty() || line.chars().all(|c| c == '-') {
                continue;
            }
            if line.starts_with([' ', '\t']) {
                return Err(wrong("an indented line that belongs to nothing".to_owned()));
            }
            if let Some(tag) = line.strip_prefix("##") {
                let (word, value) = tag.split_once(':').unwrap_or((tag, ""));
                script.tags.push((word.trim().to_owned(), value.trim().to_owned()));
                continue;
            }
            if let Some(comment) = line.strip_prefix('#') {
                if script.title.is_empty() {
                    script.title = comment.trim().to_owned();
                }
                continue;
            }
            let block = block(&lines, &mut at);
            if let Some(definition) = line.strip_prefix('[') {
                script.cast.push(character(definition, &block).map_err(wrong)?);
            } else if let Some(time) = line.strip_prefix("Time passes:") {
                let action = Action::TimePasses(duration(time).ok_or_else(|| wrong("no duration".to_owned()))?);
                script.lines.push(Line { number, who: 0, action });
            } else {
                let who = script
                    .cast
                    .iter()
                    .enumerate()
                    .filter(|(_, c)| line.strip_prefix(c.name.as_str()).is_some_and(|rest| rest.starts_with(' ')))
                    .max_by_key(|(_, c)| c.name.len());
                let (who, character) = who.ok_or_else(|| wrong(format!("nobody in the cast does this: {line}")))?;
                let rest = line.get(character.name.len()..).unwrap_or_default().trim();
                let action = action(rest, block).map_err(wrong)?;
                script.lines.push(Line { number, who, action });
            }
        }
        if script.title.is_empty() {
            return Err(ScriptError { line: 1, reason: "a play needs a title".to_owned() });
        }
        Ok(script)
    }

    /// The value of a tag, if the play has it.
    pub fn tag(&self, word: &str) -> Option<&str> {
        self.tags.iter().find(|(w, _)| w == word).map(|(_, value)| value.as_str())
    }
}

/// Takes the indented lines that follow, without their indentation.
fn block<'a>(lines: &[&'a str], at: &mut usize) -> Vec<&'a str> {
    let mut block = Vec::new();
    while let Some(line) = lines.get(*at) {
        if line.starts_with([' ', '\t']) && !line.trim().is_empty() {
            block.push(line.trim());
        } else if !line.trim().is_empty() {
            break;
        }
        *at += 1;
    }
    block
}

fn character(definition: &str, block: &[&str]) -> Result<Character, String> {
    let (kind, name) = definition.split_once(']').ok_or("no ] after the kind of character")?;
    let kind = match kind {
        "Client" => Kind::Client,
        "Stream" => Kind::Stream,
        "Server" => Kind::Server,
        "Component" => Kind::Component,
        other => return Err(format!("no character is a [{other}]")),
    };
    let mut properties = BTreeMap::new();
    for line in block {
        let (key, value) = line.split_once(':').ok_or_else(|| format!("no property: {line}"))?;
        properties.insert(key.trim().to_owned(), value.trim().to_owned());
    }
    Ok(Character { name: name.trim().to_owned(), kind, properties })
}

fn action(rest: &str, block: Vec<&str>) -> Result<Action, String> {
    let given = !block.is_empty();
    let xml = || block.join("\n");
    let action = match rest {
        "connects" => Action::Connects,
        "disconnects" => Action::Disconnects,
        "vanishes" => Action::Vanishes,
        "is cut off" => Action::IsCutOff,
        "receives: nothing" => Action::ReceivesNothing,
        "fails to connect:" if given => Action::FailsToConnect(xml()),
        "sends:" if given => Action::Sends(xml()),
        "writes:" if given => Action::Writes(block.concat()),
        "receives:" if given => Action::Receives(xml()),
        "receives in any order:" if given => Action::ReceivesInAnyOrder(xml()),
        other => return Err(format!("no such action, or nothing under it: {other}")),
    };
    let takes_block = !matches!(
        action,
        Action::Connects | Action::Disconnects | Action::Vanishes | Action::IsCutOff | Action::ReceivesNothing
    );
    if given && !takes_block { Err(format!("nothing belongs under: {rest}")) } else { Ok(action) }
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = text.trim().split_once(' ')?;
    let unit = match unit.trim_end_matches('s') {
        "second" => 1,
        "minute" => 60,
        "hour" => 3_600,
        "day" => 86_400,
        _ => return None,
    };
    Some(Duration::from_secs(number.parse::<u64>().ok()?.checked_mul(unit)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAY: &str = "# A title\n# and more\n## slow\n## differs: prosody, a reason\n\n[Client] Juliet\n\tjid: juliet@localhost\n\tpassword: p: w\n\n[Client] Juliet's phone\n\tjid: juliet@localhost\n\n[Stream] Mallory\n\n---------\n\nJuliet connects\n\n# a remark\nJuliet's phone sends:\n\t<presence>\n\t\t<status>x</status>\n\n\t</presence>\n\nJuliet receives: nothing\nTime passes: 2 days\nMallory writes:\n\t<a\n\t>\nJuliet receives in any order:\n    <a/>\n    <b/>\n";

    #[test]
    fn a_play_is_read_with_title_tags_cast_and_lines() {
        let play = Script::parse(PLAY).unwrap();
        assert_eq!(play.title, "A title");
        assert_eq!(play.tag("differs"), Some("prosody, a reason"));
        assert_eq!(play.tag("slow"), Some(""));
        assert_eq!(play.cast.len(), 3);
        assert_eq!(play.cast[0].get("password"), Some("p: w"));
        assert_eq!(play.cast[2].kind, Kind::Stream);
        let said: Vec<_> = play.lines.iter().map(|l| (l.number, l.who, l.action.clone())).collect();
        assert_eq!(said[0], (17, 0, Action::Connects));
        assert_eq!(said[1], (20, 1, Action::Sends("<presence>\n<status>x</status>\n</presence>".into())));
        assert_eq!(said[2], (26, 0, Action::ReceivesNothing));
        assert_eq!(said[3].2, Action::TimePasses(Duration::from_secs(172_800)));
        assert_eq!(said[4].2, Action::Writes("<a>".into()));
        assert_eq!(said[5].2, Action::ReceivesInAnyOrder("<a/>\n<b/>".into()));
    }

    #[test]
    fn what_is_not_a_play_is_refused_with_its_line() {
        for (text, line) in [
            ("", 1),
            ("# t\n\tx\n", 2),
            ("# t\n[Robot] R\n", 2),
            ("# t\n[Client R\n", 2),
            ("# t\n[Client] R\n\tjid\n", 2),
            ("# t\n[Client] R\nS connects\n", 3),
            ("# t\n[Client] R\nR dances\n", 3),
            ("# t\n[Client] R\nR sends:\n", 3),
            ("# t\n[Client] R\nR connects\n\t<x/>\n", 3),
            ("# t\nTime passes: soon\n", 2),
        ] {
            assert_eq!(Script::parse(text).map_err(|e| e.line), Err(line), "{text:?}");
        }
    }
}
