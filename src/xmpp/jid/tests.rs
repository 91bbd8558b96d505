//! Addresses: the examples of RFC 7622, their neighbours, and what must hold for all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

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
        "\u{3c3}@example.com/foo",
        "\u{3c2}@example.com/foo",
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

#[test]
fn one_address_written_in_several_ways_is_one() {
    for (text, prepared) in [
        ("Juliet@EXAMPLE.com/Balcony", "juliet@example.com/Balcony"),
        ("juliet@example.com./a", "juliet@example.com/a"),
        ("\u{ff2a}uliet@example.com", "juliet@example.com"),
        ("e\u{301}@example.com", "\u{e9}@example.com"),
        ("\u{c9}@B\u{dc}cher.example", "\u{e9}@b\u{fc}cher.example"),
        ("a@bu\u{308}cher.example", "a@b\u{fc}cher.example"),
        ("a@xn--bcher-kva.example", "a@b\u{fc}cher.example"),
        ("a@XN--BCHER-KVA.example", "a@b\u{fc}cher.example"),
        ("a@example\u{3002}com", "a@example.com"),
        ("a@example.com/e\u{301}", "a@example.com/\u{e9}"),
        ("a@example.com/a\u{a0}b", "a@example.com/a b"),
        ("a@127.0.0.1", "a@127.0.0.1"),
        ("a@[::1]", "a@[::1]"),
        ("a@[2001:DB8:0:0:0:0:0:1]/b", "a@[2001:db8::1]/b"),
    ] {
        assert_eq!(Jid::new(text).map(|jid| jid.to_string()), Ok(prepared.to_owned()), "{text}");
    }
}

/// RFC 7622 section 3.5, table 2, and more of their kind. Example 18, a leading space in a resourcepart, is no
/// violation of OpaqueString, by which the same document prepares resourceparts.
#[test]
fn what_is_no_address_says_which_part_is_wrong() {
    use JidError::{Domain, Localpart, Resource, TooLong};
    for (text, error) in [
        ("\"juliet\"@example.com", Localpart),
        ("foo bar@example.com", Localpart),
        ("juliet@example.com/", Resource),
        ("@example.com/", Localpart),
        ("henry\u{2163}@example.com", Localpart),
        ("\u{265a}@example.com", Localpart),
        ("juliet@", Domain),
        ("/foobar", Domain),
        ("", Domain),
        ("@", Localpart),
        ("/", Domain),
        (".", Domain),
        ("a@.", Domain),
        ("a@b@c", Domain),
        ("a@b..c", Domain),
        ("a@.b", Domain),
        ("a@b..", Domain),
        ("a@-b", Domain),
        ("a@b-", Domain),
        ("a@b_c", Domain),
        ("a@b c", Domain),
        ("a@b:5222", Domain),
        ("a@ab--cd.example", Domain),
        ("a@xn--.example", Domain),
        ("a@xn--a.example", Domain),
        ("a@xn--bcher-kv.example", Domain),
        ("a@\u{2665}.example", Domain),
        ("a@xn--i-7iq.example", Domain),
        ("a@[::1", Domain),
        ("a@[::1]x", Domain),
        ("a@[127.0.0.1]", Domain),
        ("a@[fe80::1%eth0]", Domain),
        ("a@[]", Domain),
        ("a@b\u{0}", Domain),
        ("a\u{0}@b", Localpart),
        ("a\u{7f}@b", Localpart),
        ("a'@b", Localpart),
        ("a:b@c", Localpart),
        ("a<@b", Localpart),
        ("a&b@c", Localpart),
        // Fullwidth forms of characters that are not allowed.
        ("a\u{ff20}b@c.example", Localpart),
        ("a\u{ff0f}b@c.example", Localpart),
        ("a\u{200b}b@c.example", Localpart),
        ("a@b/\u{7}", Resource),
        ("a@b/c\nd", Resource),
        ("a@b/\u{e000}", Resource),
        ("a@b/\u{feff}", Resource),
    ] {
        assert_eq!(Jid::new(text), Err(error), "{text}");
    }
    let label = "a".repeat(63);
    let domain = format!("{label}.").repeat(16);
    let domain = &domain[..1023];
    for (good, bad, error) in [
        (format!("{}@b", "a".repeat(1023)), format!("{}@b", "a".repeat(1024)), TooLong),
        (format!("a@b/{}", "a".repeat(1023)), format!("a@b/{}", "a".repeat(1024)), TooLong),
        (format!("a@b/{}", "\u{e9}".repeat(511)), format!("a@b/{}", "\u{e9}".repeat(512)), TooLong),
        (label.clone(), format!("a{label}"), Domain),
        (domain.to_owned(), format!("{domain}.a"), TooLong),
        ("a".to_owned(), "a".repeat(100_000), TooLong),
    ] {
        assert!(Jid::new(&good).is_ok(), "{good}");
        assert_eq!(Jid::new(&bad), Err(error), "{bad}");
    }
}

#[test]
fn the_parts_are_found_again() {
    let full = FullJid::new("a@b.example/c/d@e").unwrap();
    assert_eq!((full.localpart(), full.domain(), full.resource()), (Some("a"), "b.example", "c/d@e"));
    assert_eq!(full.as_bare_str(), "a@b.example");
    let bare = full.bare();
    assert_eq!((bare.as_str(), bare.localpart(), bare.domain()), ("a@b.example", Some("a"), "b.example"));
    assert_eq!(bare.to_domain(), BareJid::new("b.example").unwrap());
    assert!(bare.to_domain().is_domain() && !bare.is_domain());
    assert_eq!(bare.with_resource("c/d@e").unwrap(), full);
    assert_eq!(bare.to_domain().with_resource("x").unwrap().as_str(), "b.example/x");
    let jid = Jid::from(&full);
    assert!(jid.is_full() && !jid.is_bare() && !jid.is_domain());
    assert_eq!((jid.to_bare(), jid.to_full()), (bare.clone(), Some(full)));
    // A bare address that was taken from a full one has forgotten it.
    let jid = Jid::from(bare);
    assert!(jid.is_bare() && jid.resource().is_none() && jid.to_full().is_none());
    assert_eq!(jid.to_string(), "a@b.example");
    assert_eq!(FullJid::try_from(jid), Err(JidError::NotFull));
    assert_eq!(BareJid::new("a@b/c"), Err(JidError::NotBare));
    assert_eq!(FullJid::new("a@b"), Err(JidError::NotFull));
    assert!(Jid::new("b").unwrap().is_domain());
    // Parts that are given apart are not split again.
    assert_eq!(Jid::from_parts(None, "a@b", None), Err(JidError::Domain));
    assert_eq!(Jid::from_parts(Some(""), "b", None), Err(JidError::Localpart));
    assert_eq!(Jid::from_parts(None, "b", Some("")), Err(JidError::Resource));
    assert_eq!(Jid::from_parts(None, "b", Some("c")).unwrap(), "b/c");
}

#[test]
fn an_address_hashes_and_sorts_as_its_text() {
    let bare = FullJid::new("a@b.example/c").unwrap().bare();
    assert_eq!(HashMap::from([(bare.clone(), 1)]).get("a@b.example"), Some(&1));
    assert_eq!(BTreeMap::from([(bare, 1)]).get("a@b.example"), Some(&1));
}

proptest! {
    #![proptest_config(crate::cases(1000))]

    /// What is prepared is left as it is by preparing it again, and splits into the parts it was made of.
    #[test]
    fn preparing_twice_is_preparing_once(text in text()) {
        let Ok(jid) = Jid::new(&text) else { return Ok(()) };
        prop_assert_eq!(Jid::new(jid.as_str()), Ok(jid.clone()), "{:?}", text);
        let again = Jid::from_parts(jid.localpart(), jid.domain(), jid.resource());
        prop_assert_eq!(again, Ok(jid.clone()));
        for part in [jid.localpart(), Some(jid.domain()), jid.resource()].into_iter().flatten() {
            prop_assert!(!part.is_empty() && part.len() <= PART_BYTES_MAX);
        }
        prop_assert!(!jid.as_bare_str().contains(['"', '&', '\'', '/', '<', '>']));
        prop_assert_eq!(Jid::from(jid.to_bare()).to_string(), jid.as_bare_str());
    }

    /// The path for ASCII is a short cut, not another rule.
    #[test]
    fn the_short_cut_agrees_with_the_tables(local in "[ -~]{0,8}", resource in "[ -~]{0,8}") {
        use precis_core::profile::PrecisFastInvocation;
        let by_table = precis_profiles::UsernameCaseMapped::enforce(local.as_str())
            .ok()
            .filter(|text| !text.contains(['"', '&', '\'', '/', ':', '<', '>', '@']));
        prop_assert_eq!(prepare::localpart(&local).ok(), by_table);
        let by_table = precis_profiles::OpaqueString::enforce(resource.as_str()).ok();
        prop_assert_eq!(prepare::resource(&resource).ok(), by_table);
    }

    #[test]
    fn the_short_cut_for_domains_agrees_with_idna(domain in "[-A-Za-z0-9_ ]{1,4}([.][-a-z0-9]{0,4}){0,2}") {
        use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
        let trimmed = domain.strip_suffix('.').unwrap_or(&domain);
        let by_table = Uts46::new().to_ascii(trimmed.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, DnsLength::Verify);
        if !trimmed.to_ascii_lowercase().split('.').any(|label| label.starts_with("xn--")) {
            prop_assert_eq!(prepare::domain(&domain).ok(), by_table.ok());
        }
    }
}

/// Texts near addresses: any characters, and those in which preparation has something to do.
fn text() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(
        &[
            "\u{130}",
            "\u{131}",
            "\u{df}",
            "\u{1e9e}",
            "\u{3a3}",
            "\u{3c2}",
            "\u{345}",
            "\u{ff21}",
            "\u{ff20}",
            "\u{301}",
            "\u{200d}",
            "\u{200c}",
            "\u{b7}",
            "\u{30fb}",
            "\u{5d0}",
            "\u{660}",
            "\u{6f0}",
            "\u{a0}",
            "\u{3000}",
            "\u{1f88}",
            "\u{fb01}",
            "\u{1f600}",
            "\u{3002}",
            "xn--",
            "xn--bcher-kva",
            ".",
            "@",
            "/",
            "[",
            "]",
            "::1",
            "I",
            "a",
            "z",
            "0",
            "-",
        ][..],
    );
    let part = prop_oneof![
        prop::collection::vec(odd, 0..5).prop_map(|pieces| pieces.concat()),
        "\\PC{0,6}",
        "[a-zA-Z0-9.-]{1,6}",
    ];
    (part.clone(), part.clone(), part, 0..4_u8).prop_map(|(local, domain, resource, shape)| match shape {
        0 => domain,
        1 => format!("{local}@{domain}"),
        2 => format!("{domain}/{resource}"),
        _ => format!("{local}@{domain}/{resource}"),
    })
}
