//! Addresses: the examples of RFC 7622 and what must hold for all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;

/// RFC 7622 section 3.5, table 1.
#[test]
fn the_examples_of_the_rfc_are_addresses() {
    for text in [
        "juliet@example.com",
        "juliet@example.com/foo",
        "juliet@example.com/foo bar",
        "juliet@example.com/foo@bar",
        "foo\\20bar@example.com",
        "fussball@example.com",
        "fu\u{df}ball@example.com",
        "\u{3c0}@example.com",
        "\u{3c0}@example.com/\u{3c3}",
        "\u{3c0}@example.com/\u{2653}",
        "king@example.com/\u{265a}",
        "example.com",
        "example.com/foobar",
        "a.example.com/b@example.net",
    ] {
        assert_eq!(Jid::new(text).map(|jid| jid.to_string()), Ok(text.to_owned()));
    }
    assert_eq!(Jid::new("\u{3a3}@example.com/foo").unwrap(), "\u{3c3}@example.com/foo");
}

/// RFC 7622 section 3.5, table 2.
#[test]
fn the_counterexamples_of_the_rfc_are_not() {
    for (text, error) in [
        ("\"juliet\"@example.com", JidError::Localpart),
        ("foo bar@example.com", JidError::Localpart),
        ("juliet@example.com/", JidError::Resource),
        ("@example.com/", JidError::Localpart),
        ("henry\u{2163}@example.com", JidError::Localpart),
        ("\u{265a}@example.com", JidError::Localpart),
        ("juliet@", JidError::Domain),
        ("/foobar", JidError::Domain),
    ] {
        assert_eq!(Jid::new(text), Err(error), "{text}");
    }
}
