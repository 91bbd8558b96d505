//! The preparation of each part of an address: RFC 7622 section 3 by way of RFC 8264, 8265 and 5891.
//!
//! ASCII that is already as it should be is returned borrowed, after one look at each byte.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use precis_core::profile::PrecisFastInvocation;
use precis_core::{IdentifierClass, StringClass};
use precis_profiles::{OpaqueString, UsernameCaseMapped};

use super::{JidError, PART_BYTES_MAX};

/// The longest label of a domain name, in bytes of its ASCII form (RFC 1035 section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// RFC 7622 section 3.3.1.
fn is_excluded(c: char) -> bool {
    matches!(c, '"' | '&' | '\'' | '/' | ':' | '<' | '>' | '@')
}

/// A bound on the input, before anything looks at it twice: preparation can make a text shorter (it
/// composes), though never by this much.
fn bounded(text: &str) -> Result<(), JidError> {
    if text.len() > 4 * PART_BYTES_MAX { Err(JidError::TooLong) } else { Ok(()) }
}

fn measured(text: Cow<'_, str>, empty: JidError) -> Result<Cow<'_, str>, JidError> {
    match text.len() {
        0 => Err(empty),
        1..=PART_BYTES_MAX => Ok(text),
        _ => Err(JidError::TooLong),
    }
}

/// The profiles need not be idempotent on the first application (RFC 8264 section 7), and an address that
/// changes when it is read again would be two addresses. What does not settle is refused.
fn settled(text: &str, enforce: impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut once = enforce(text)?;
    for _ in 0..3 {
        let again = enforce(&once)?;
        if again == once {
            return Some(once);
        }
        once = again;
    }
    None
}

pub(super) fn localpart(text: &str) -> Result<Cow<'_, str>, JidError> {
    bounded(text)?;
    let mut has_upper = false;
    let is_plain = text.bytes().all(|b| {
        has_upper |= b.is_ascii_uppercase();
        (0x21..=0x7e).contains(&b) && !is_excluded(char::from(b))
    });
    let prepared = if is_plain {
        if has_upper { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) }
    } else if text.is_ascii() {
        return Err(JidError::Localpart);
    } else {
        let settled = settled(text, |text| UsernameCaseMapped::enforce(text).ok().map(Cow::into_owned));
        Cow::Owned(settled.ok_or(JidError::Localpart)?)
    };
    // Width mapping turns a fullwidth commercial at into an ordinary one: look after, not before.
    if !is_plain && prepared.chars().any(is_excluded) {
        return Err(JidError::Localpart);
    }
    measured(prepared, JidError::Localpart)
}

pub(super) fn resource(text: &str) -> Result<Cow<'_, str>, JidError> {
    bounded(text)?;
    let prepared = if text.bytes().all(|b| (0x20..=0x7e).contains(&b)) {
        Cow::Borrowed(text)
    } else if text.is_ascii() {
        return Err(JidError::Resource);
    } else {
        let settled = settled(text, |text| OpaqueString::enforce(text).ok().map(Cow::into_owned));
        Cow::Owned(settled.ok_or(JidError::Resource)?)
    };
    measured(prepared, JidError::Resource)
}

pub(super) fn domain(text: &str) -> Result<Cow<'_, str>, JidError> {
    bounded(text)?;
    if let Some(literal) = text.strip_prefix('[') {
        let address = literal.strip_suffix(']').ok_or(JidError::Domain)?;
        let address: Ipv6Addr = address.parse().map_err(|_| JidError::Domain)?;
        let canonical = format!("[{address}]");
        return Ok(if canonical == text { Cow::Borrowed(text) } else { Cow::Owned(canonical) });
    }
    // RFC 7622 section 3.2: a final dot is stripped before anything else.
    let text = text.strip_suffix('.').unwrap_or(text);
    let prepared = if text.is_ascii() && !has_a_label(text) {
        plain_domain(text)?
    } else {
        Cow::Owned(international_domain(text)?)
    };
    measured(prepared, JidError::Domain)
}

/// Whether some label starts with `xn--` in any case.
fn has_a_label(text: &str) -> bool {
    text.split('.').any(|label| label.as_bytes().get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"xn--")))
}

/// Labels of letters, digits and inner hyphens (RFC 5890 section 2.3.1); an IPv4 literal is one of these.
fn plain_domain(text: &str) -> Result<Cow<'_, str>, JidError> {
    let mut has_upper = false;
    for label in text.split('.') {
        let bytes = label.as_bytes();
        let is_label = bytes.iter().all(|b| {
            has_upper |= b.is_ascii_uppercase();
            b.is_ascii_alphanumeric() || *b == b'-'
        });
        // Hyphens in third and fourth place are reserved for encodings such as `xn--`.
        let is_reserved = bytes.get(2..4) == Some(b"--");
        if !is_label
            || bytes.is_empty()
            || bytes.len() > LABEL_BYTES_MAX
            || bytes.first() == Some(&b'-')
            || bytes.last() == Some(&b'-')
            || is_reserved
        {
            return Err(JidError::Domain);
        }
    }
    Ok(if has_upper { Cow::Owned(text.to_ascii_lowercase()) } else { Cow::Borrowed(text) })
}

/// A name with letters beyond ASCII, or with A-labels, which are written as U-labels from here on.
fn international_domain(text: &str) -> Result<String, JidError> {
    let unicode = settled(text, |text| {
        let (unicode, outcome) = Uts46::new().to_unicode(text.as_bytes(), AsciiDenyList::STD3, Hyphens::Check);
        outcome.ok().map(|()| unicode.into_owned())
    })
    .ok_or(JidError::Domain)?;
    let unicode = unicode.strip_suffix('.').unwrap_or(&unicode);
    for label in unicode.split('.') {
        let ascii = Uts46::new()
            .to_ascii(label.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, DnsLength::Ignore)
            .map_err(|_| JidError::Domain)?;
        // UTS 46 lets symbols and emoji through that IDNA2008 does not know as letters or digits.
        let is_idna2008 = label.is_ascii() || IdentifierClass::default().allows(label).is_ok();
        if ascii.is_empty() || ascii.len() > LABEL_BYTES_MAX || !is_idna2008 {
            return Err(JidError::Domain);
        }
    }
    Ok(unicode.to_owned())
}
