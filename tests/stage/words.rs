//! What stands between braces in a play: variables, placeholders, and bytes that a text file cannot hold.
//!
//! `${Romeo's JID}`, `${Romeo's full JID}`, `${Romeo's username}` and `${captured}` are replaced before anything
//! is sent or compared. In `writes:` also `{repeat:COUNT:TEXT}`, `{hex:FF00}` and `{base64:TEXT}`.

use std::collections::BTreeMap;

use base64::Engine as _;
use sha1::Digest as _;

/// What the play has learnt so far: variable to value.
pub type Variables = BTreeMap<String, String>;

/// Replaces `${…}`; an unknown variable is an error naming it.
pub fn fill(text: &str, variables: &Variables) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').ok_or("a ${ without its }")?;
        let value = variables.get(name).ok_or_else(|| format!("${{{name}}} is not known yet"))?;
        out.push_str(before);
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    verification(&out)
}

/// Replaces `{ver:…}`, where `|` stands for `<`, by the verification string of XEP-0115 section 5.
fn verification(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{ver:") {
        let (input, after) = after.split_once('}').ok_or("a {ver: without its }")?;
        let digest = sha1::Sha1::digest(format!("{input}|").replace('|', "<"));
        out.push_str(before);
        out.push_str(&base64::engine::general_purpose::STANDARD.encode(digest));
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// Replaces `{repeat:…}`, `{hex:…}` and `{base64:…}` in what a character writes byte by byte.
pub fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(start) = ["{repeat:", "{hex:", "{base64:"].iter().filter_map(|word| rest.find(word)).min() {
        let (before, from) = rest.split_at(start);
        let (inner, after) = from.get(1..).and_then(|s| s.split_once('}')).ok_or("a { without its }")?;
        let (word, argument) = inner.split_once(':').ok_or("a word without argument")?;
        out.extend_from_slice(before.as_bytes());
        match word {
            "repeat" => {
                let (count, unit) = argument.split_once(':').ok_or("repeat needs COUNT:TEXT")?;
                let count = count.parse().map_err(|_| "repeat needs a number")?;
                out.extend_from_slice(unit.repeat(count).as_bytes());
            }
            "hex" => {
                let mut digits = argument;
                while let Some((pair, more)) = digits.split_at_checked(2) {
                    out.push(u8::from_str_radix(pair, 16).map_err(|_| "hex needs digits")?);
                    digits = more;
                }
            }
            _ => {
                let plain = argument.replace("\\0", "\0");
                out.extend_from_slice(base64::engine::general_purpose::STANDARD.encode(plain).as_bytes());
            }
        }
        rest = after;
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

/// Removes line breaks and indentation that only serve the reader: between two tags, and inside one.
pub fn compact(xml: &str) -> String {
    let mut out = String::with_capacity(xml.len());
    for line in xml.lines().map(str::trim) {
        let between_tags = out.ends_with('>') && line.starts_with('<');
        if !between_tags && !out.is_empty() {
            out.push(if out.ends_with('>') || line.starts_with('<') { '\n' } else { ' ' });
        }
        out.push_str(line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_and_unknown_ones_named() {
        let known = Variables::from([("Romeo's JID".to_owned(), "romeo@localhost".to_owned())]);
        assert_eq!(
            fill("<a to='${Romeo's JID}'>${Romeo's JID}</a>", &known).unwrap(),
            "<a to='romeo@localhost'>romeo@localhost</a>"
        );
        assert_eq!(fill("${ver}", &known).unwrap_err(), "${ver} is not known yet");
        assert!(fill("${ver", &known).is_err());
    }

    /// The simple example of XEP-0115 section 5.2.
    #[test]
    fn capabilities_are_hashed_as_the_xep_shows() {
        let features = ["caps", "disco#info", "disco#items", "muc"].map(|f| format!("http://jabber.org/protocol/{f}"));
        let text = format!("{{ver:client/pc//Exodus 0.9.1|{}}}", features.join("|"));
        assert_eq!(fill(&text, &Variables::new()).unwrap(), "QgayPKawpkPSDYmwT/WM94uAlu0=");
    }

    #[test]
    fn bytes_that_text_cannot_hold_are_made() {
        assert_eq!(bytes("a{repeat:3:<x>}b").unwrap(), b"a<x><x><x>b");
        assert_eq!(bytes("{hex:c328}").unwrap(), [0xc3, 0x28]);
        assert_eq!(bytes(r"{base64:\0me\0pw}").unwrap(), b"AG1lAHB3");
        assert_eq!(bytes("no {braces} here").unwrap(), b"no {braces} here");
        assert!(bytes("{repeat:x:y}").is_err());
    }

    #[test]
    fn only_the_readers_white_space_goes() {
        assert_eq!(compact("<a\n\tb='c'>\n\t<d/>\n</a>"), "<a b='c'><d/></a>");
        assert_eq!(compact("<a>two words\nand a line</a>"), "<a>two words and a line</a>");
    }
}
