//! Characters, names and references of XML 1.0 (fifth edition) and Namespaces in XML 1.0.

use std::borrow::Cow;

use super::XmlError;

/// The white space of XML, production 3.
pub(crate) fn is_whitespace(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Production 2: whether a character may occur in a document at all.
pub(super) fn is_char(c: char) -> bool {
    !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

/// Checks production 2 for a whole text, in one pass the compiler can make wide.
pub(super) fn are_chars(text: &str) -> bool {
    let bytes = text.as_bytes();
    let has_control =
        bytes.iter().fold(false, |found, &b| found | ((b < 0x20) & (b != b'\t') & (b != b'\n') & (b != b'\r')));
    if has_control {
        return false;
    }
    // U+FFFE and U+FFFF are EF BF BE and EF BF BF.
    memchr::memchr_iter(0xef, bytes).all(|at| !matches!(bytes.get(at + 1..at + 3), Some([0xbf, 0xbe | 0xbf])))
}

/// Production 4 without the colon, and without U+FDF0 to U+FFFD: rxml does not know them as letters, so that
/// our trees cannot hold such names and clients built on it would end their stream over them.
fn is_name_start(c: char) -> bool {
    matches!(c,
        'A'..='Z' | '_' | 'a'..='z' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
        | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}'
        | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}'
        | '\u{10000}'..='\u{effff}')
}

/// Production 4a without the colon.
fn is_name_char(c: char) -> bool {
    is_name_start(c)
        || matches!(c,
            '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

/// Namespaces in XML, production 4: a name without colons.
pub(super) fn is_ncname(name: &str) -> bool {
    let Some((&first, rest)) = name.as_bytes().split_first() else { return false };
    if (first.is_ascii_alphabetic() || first == b'_')
        && rest.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
    {
        return true;
    }
    let mut chars = name.chars();
    chars.next().is_some_and(is_name_start) && chars.all(is_name_char)
}

/// Splits a qualified name into prefix (empty if there is none) and local name, and checks both.
pub(super) fn split_name(name: &str) -> Result<(&str, &str), XmlError> {
    let (prefix, local) = match memchr::memchr(b':', name.as_bytes()) {
        Some(at) => {
            let (prefix, local) = (name.get(..at).unwrap_or(""), name.get(at + 1..).unwrap_or(""));
            if !is_ncname(prefix) {
                return Err(XmlError::NotWellFormed);
            }
            (prefix, local)
        }
        None => ("", name),
    };
    if is_ncname(local) { Ok((prefix, local)) } else { Err(XmlError::NotWellFormed) }
}

/// The character a reference stands for; `name` is what is between `&` and `;`.
///
/// # Errors
/// [`XmlError::Restricted`] for an entity that is not predefined, [`XmlError::NotWellFormed`] for a character
/// that may not occur or for something that is no reference.
pub(super) fn resolve(name: &str) -> Result<char, XmlError> {
    let number = match name {
        "lt" => return Ok('<'),
        "gt" => return Ok('>'),
        "amp" => return Ok('&'),
        "apos" => return Ok('\''),
        "quot" => return Ok('"'),
        _ => match name.strip_prefix('#') {
            Some(number) => number,
            None if is_ncname(name) => return Err(XmlError::Restricted),
            None => return Err(XmlError::NotWellFormed),
        },
    };
    let (digits, radix) = match number.strip_prefix('x') {
        Some(digits) => (digits, 16),
        None => (number, 10),
    };
    // `from_str_radix` would take a sign, and a long row of zeros is only there to be long.
    if digits.is_empty() || digits.len() > 16 || !digits.bytes().all(|b| char::from(b).is_digit(radix)) {
        return Err(XmlError::NotWellFormed);
    }
    u32::from_str_radix(digits, radix)
        .ok()
        .and_then(char::from_u32)
        .filter(|&c| is_char(c))
        .ok_or(XmlError::NotWellFormed)
}

/// The value of an attribute from what is between its quotes: references resolved, white space normalised
/// (XML 1.0 section 3.3.3).
pub(super) fn attribute_value(raw: &str) -> Result<Cow<'_, str>, XmlError> {
    let is_plain = !raw.bytes().any(|b| matches!(b, b'&' | b'<' | b'\t' | b'\n' | b'\r'));
    if is_plain {
        return Ok(Cow::Borrowed(raw));
    }
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.bytes().position(|b| matches!(b, b'&' | b'<' | b'\t' | b'\n' | b'\r')) {
        value.push_str(rest.get(..at).unwrap_or(""));
        let found = rest.as_bytes().get(at).copied().unwrap_or(b'<');
        rest = rest.get(at + 1..).unwrap_or("");
        match found {
            b'<' => return Err(XmlError::NotWellFormed),
            b'&' => {
                let end = memchr::memchr(b';', rest.as_bytes()).ok_or(XmlError::NotWellFormed)?;
                value.push(resolve(rest.get(..end).unwrap_or(""))?);
                rest = rest.get(end + 1..).unwrap_or("");
            }
            // The end of a line is one character, however it is written (XML 1.0 section 2.11).
            b'\r' if rest.starts_with('\n') => {}
            _ => value.push(' '),
        }
    }
    value.push_str(rest);
    Ok(Cow::Owned(value))
}

/// Text as an application sees it: ends of lines as `\n` (XML 1.0 section 2.11).
pub(super) fn line_ends(text: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\r', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
}
