//! Mistakes an administrator makes, and the sentence each is met with.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;

fn refusal(text: &str) -> String {
    Config::parse(text, Some(Path::new("/etc/chirrup.toml"))).expect_err("must be refused").to_string()
}

#[test]
fn without_a_file_localhost_is_served_on_loopback() {
    let config = Config::default();
    assert_eq!(config.hosts[0].domain, "localhost");
    let listen = &config.listen;
    let mut addresses = [&listen.c2s, &listen.c2s_tls, &listen.s2s, &listen.s2s_tls].into_iter().flatten();
    assert!(addresses.all(|address| address.ip().is_loopback()));
    assert_eq!(config.registration, Registration::Closed);
    assert_eq!(config.store.engine, StoreEngine::Sled);
    assert!(config.c2s.tls_required);
    config.check().unwrap();
}

#[test]
fn the_example_says_the_defaults_and_every_limit() {
    let example = format!("{}{}", Config::EXAMPLE, Limits::EXAMPLE);
    let read = Config::parse(&example, None).unwrap();
    let default = Config::default();
    assert_eq!(
        format!("{:?}", (&read.hosts, &read.listen, &read.c2s, &read.tls, &read.store, &read.dns)),
        format!("{:?}", (&default.hosts, &default.listen, &default.c2s, &default.tls, &default.store, &default.dns))
    );
    assert_eq!(read.limits, default.limits);
    assert_eq!(read.s2s, default.s2s);
    assert_eq!((read.data_directory, read.log), (default.data_directory, default.log));
    assert_eq!(read.registration, default.registration);
    for (name, value) in Limits::default().entries() {
        assert!(Limits::EXAMPLE.contains(&format!("\n{name} = {value}\n")), "{name} is missing from limits.toml");
    }
    for key in OWN_KEYS {
        assert!(example.contains(&format!("\n{key} = ")) || example.contains(&format!("[{key}]")), "{key} is missing");
    }
}

/// Every key of `T`: what is expected in place of one that is not known.
fn keys<T: serde::de::DeserializeOwned>() -> Vec<String> {
    let said = toml::from_str::<T>("no-such-key = 1").err().expect("unknown").to_string();
    let (_, expected) = said.rsplit_once("expected").expect("a list");
    let keys: Vec<String> = expected.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    assert!(!keys.is_empty(), "{said}");
    keys
}

#[test]
fn the_example_has_every_key() {
    use components::{Component, Components, Delegation, IqAccess, Privileges};
    for (name, keys) in [
        ("host", keys::<Host>()),
        ("listen", keys::<Listen>()),
        ("c2s", keys::<C2s>()),
        ("tls", keys::<Tls>()),
        ("store", keys::<StoreConfig>()),
        ("dns", keys::<Dns>()),
        ("s2s", keys::<S2s>()),
        ("s2s.domain", keys::<s2s::DomainRule>()),
        ("components", keys::<Components>()),
        ("component", keys::<Component>()),
        ("component.privileges", keys::<Privileges>()),
        ("component.privileges.iq", keys::<IqAccess>()),
        ("component.delegation", keys::<Delegation>()),
    ] {
        for key in keys {
            let is_there =
                ["\n", "\n# ", "{ ", ", "].iter().any(|before| Config::EXAMPLE.contains(&format!("{before}{key} = ")))
                    || Config::EXAMPLE.contains(&format!("[{name}.{key}]"));
            assert!(is_there, "`{name}.{key}`");
        }
    }
}

#[test]
fn unknown_words_are_met_with_a_suggestion() {
    let table = [
        ("a = 1\ndata_dir = \"x\"", "/etc/chirrup.toml:1: unknown key or section `a`"),
        (
            "\ndata_dir = \"x\"",
            "/etc/chirrup.toml:2: unknown key or section `data_dir`; did you mean `data_directory`?",
        ),
        ("[listen]\nc2s_tsl = []", "/etc/chirrup.toml:2: unknown key `c2s_tsl`; did you mean `c2s_tls`?"),
        (
            "[limits]\n\nstanza_byte_max = 1",
            "/etc/chirrup.toml:3: unknown key `stanza_byte_max`; did you mean `stanza_bytes_max`?",
        ),
        ("[store]\nengine = \"sledd\"", "/etc/chirrup.toml:2: unknown value `sledd`; did you mean `sled`?"),
        ("registration = \"yes\"", "/etc/chirrup.toml:1: unknown value `yes`; known here: closed, invite, open"),
    ];
    for (text, sentence) in table {
        let said = match Config::parse(text, Some(Path::new("/etc/chirrup.toml"))) {
            Err(error) => error,
            Ok(config) => config.sections.finish().expect_err("a section nobody owns"),
        };
        assert!(said.to_string().starts_with(sentence), "{said}");
    }
}

#[test]
fn wrong_values_name_their_key_or_line() {
    let table = [
        ("[[host]]\ndomain = \"a\"\n[[host]]\ndomain = \"A\"", "two [[host]] sections"),
        ("[[host]]\ndomain = \"a\"\nkey = \"k\"", "has a `key` and no `certificate`"),
        ("[[host]]\ndomain = \"a@b\"", "`a@b` is not a domain name"),
        ("[limits]\ndepth_max = 0", "`limits.depth_max` is 0"),
        ("[limits]\ndepth_max = -1", ":2: "),
        ("[limits]\nstanza_bytes_max = 5000", "at least 10000"),
        ("[limits]\npubsub_payload_bytes_max = 9999999", "does not fit in a stanza"),
        ("[listen]\nc2s = [\"localhost\"]", ":2: "),
        ("[listen]\nc2s = []\nc2s_tls = []", "no client could log in"),
        ("[s2s]\nidle_seconds = 0", "`s2s.idle_seconds` is 0"),
        ("[s2s]\nmode = \"closed\"", "unknown value `closed`"),
        ("[[s2s.domain]]\nname = \"a@b\"", "`a@b` is not a domain name"),
        ("[[s2s.domain]]\nname = \"a.b\"\n[[s2s.domain]]\nname = \"A.b\"", "two [[s2s.domain]] sections for `A.b`"),
        ("[dns]\nservers = [\"example.org\"]", "`example.org` is not an IP address"),
        ("[dns]\ntimeout_seconds = 0", "`dns.timeout_seconds` is 0; choose 1 to 60"),
        ("[dns]\ntrust_anchor = \"anchor.zone\"", "`dns.trust_anchor` is named and `dns.dnssec` is false"),
        ("admins = [\"alice\"]", "`alice` is not a bare JID"),
        (
            "[[component]]\nname = \"a.example\"\nsecret = \"s\"\ndelegation = [{ namespace = \"urn:xmpp:delegation:2\" }]",
            "`urn:xmpp:delegation:2` cannot be delegated to the component `a.example`",
        ),
        ("log = ", ":1: "),
    ];
    for (text, part) in table {
        let said = refusal(text);
        assert!(said.contains(part), "{text}: {said}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let said = Config::load(Path::new("/nonexistent/chirrup.toml")).expect_err("no such file").to_string();
    assert!(said.starts_with("/nonexistent/chirrup.toml: cannot read the configuration"), "{said}");
}

#[test]
fn paths_are_taken_from_the_file_and_dns_ports_default() {
    let text = "data_directory = \"kept\"\n[dns]\nservers = [\"9.9.9.9\", \"[2620:fe::fe]:5353\"]";
    let config = Config::parse(text, Some(Path::new("/etc/chirrup/c.toml"))).unwrap();
    assert_eq!(config.data_directory, PathBuf::from("/etc/chirrup/kept"));
    let servers: Vec<String> = config.dns.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["9.9.9.9:53", "[2620:fe::fe]:5353"]);
}

#[test]
fn a_section_goes_to_its_owner() {
    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Ping {
        seconds: u32,
    }
    let mut config = Config::parse("[ping]\nseconds = 7", None).unwrap();
    assert_eq!(config.sections.take::<Ping>("ping").unwrap().seconds, 7);
    config.sections.finish().unwrap();

    let mut config = Config::parse("log = \"info\"\n[ping]\nsecond = 7", Some(Path::new("c.toml"))).unwrap();
    let said = config.sections.take::<Ping>("ping").expect_err("unknown key").to_string();
    assert_eq!(said, "c.toml:3: in section [ping]: unknown key `second`; did you mean `seconds`?");

    let mut config = Config::parse("[pinf]\nseconds = 7", None).unwrap();
    config.sections.take::<Ping>("ping").unwrap();
    assert_eq!(
        config.sections.finish().expect_err("typo").to_string(),
        "unknown key or section `pinf`; did you mean `ping`?"
    );
}
