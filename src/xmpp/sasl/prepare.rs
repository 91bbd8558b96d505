//! Preparation of passwords: SASLprep (RFC 4013), which SCRAM and PLAIN ask for, and behind it
//! OpaqueString (RFC 8265), its successor.
//!
//! SASLprep knows Unicode 3.2 only and refuses what came later, emoji for instance; our tables for
//! OpaqueString end at Unicode 6.3. Clients that take a newer password at all take it as it is, so that is
//! what is left when both profiles refuse, provided it has no control characters.

use std::borrow::Cow;

use precis_profiles::OpaqueString;
use precis_profiles::precis_core::profile::PrecisFastInvocation;

/// Longest password, in bytes before preparation.
pub const PASSWORD_BYTES_MAX: usize = 1023;

/// The password as it enters the hash; `None` when it is empty, longer than 1023 bytes, or has control
/// characters.
pub fn prepare_password(password: &str) -> Option<Cow<'_, str>> {
    if password.len() > PASSWORD_BYTES_MAX {
        return None;
    }
    // Printable ASCII is left alone by both profiles.
    let prepared = if password.bytes().all(|byte| matches!(byte, 0x20..=0x7e)) {
        Cow::Borrowed(password)
    } else {
        stringprep::saslprep(password)
            .ok()
            .or_else(|| OpaqueString::enforce(password).ok())
            .or_else(|| (!password.contains(char::is_control)).then_some(Cow::Borrowed(password)))?
    };
    (!prepared.is_empty()).then_some(prepared)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4013 section 3 and what follows from falling back.
    #[test]
    fn examples() {
        let table: &[(&str, Option<&str>)] = &[
            ("pencil", Some("pencil")),
            ("I\u{ad}X", Some("IX")),
            ("user", Some("user")),
            ("USER", Some("USER")),
            ("\u{aa}", Some("a")),
            ("\u{2168}", Some("IX")),
            ("\u{7}", None),
            ("", None),
            ("\u{ad}", None),
            ("a\u{a0}b", Some("a b")),
            ("p\u{e4}ss", Some("p\u{e4}ss")),
            ("pa\u{308}ss", Some("p\u{e4}ss")),
            ("\u{1f600}\u{a0}smile", Some("\u{1f600} smile")),
            ("\u{1f99c} parrot", Some("\u{1f99c} parrot")),
            ("\u{1f99c}\u{7}", None),
        ];
        for (given, expected) in table {
            assert_eq!(prepare_password(given).as_deref(), *expected, "{given:?}");
        }
        assert_eq!(prepare_password(&"x".repeat(PASSWORD_BYTES_MAX + 1)), None);
    }
}
