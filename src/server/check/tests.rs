//! What is found, and how it weighs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use crate::config::Host;

fn weight_of(findings: &[Finding], part: &str) -> Weight {
    findings.iter().find(|finding| finding.text.contains(part)).unwrap_or_else(|| panic!("{part}: {findings:?}")).weight
}

#[test]
fn a_fresh_folder_is_good_and_is_left_as_it_was() {
    let folder = std::env::temp_dir().join(format!("chirrup-check-{}-fresh", std::process::id()));
    let mut config = Config { data_directory: folder.clone(), ..Config::default() };
    config.listen.c2s = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    config.listen.c2s_tls.clear();
    config.listen.s2s.clear();
    config.listen.s2s_tls.clear();
    let findings = look(&config, false, 1_800_000_000);
    assert_eq!(weight_of(&findings, "embedded defaults"), Weight::Good);
    assert_eq!(weight_of(&findings, "not there yet"), Weight::Good);
    assert_eq!(weight_of(&findings, "the server will make its own"), Weight::Warning);
    assert_eq!(weight_of(&findings, "127.0.0.1:0: free"), Weight::Good);
    assert!(!folder.exists());
}

#[test]
fn one_address_is_listened_on_once() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = Config { data_directory: std::env::temp_dir(), ..Config::default() };
    config.listen.c2s = vec![free];
    config.listen.c2s_tls = vec![SocketAddr::from(([0, 0, 0, 0], free.port()))];
    config.listen.s2s.clear();
    config.listen.s2s_tls.clear();
    let findings = look(&config, false, 1_800_000_000);
    assert_eq!(weight_of(&findings, &format!("{free}: free")), Weight::Good);
    assert_eq!(weight_of(&findings, "named twice"), Weight::Bad);
}

#[test]
fn what_is_wrong_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = Config { data_directory: "/dev/null".into(), ..Config::default() };
    config.listen.c2s = vec![taken.local_addr().unwrap()];
    config.listen.c2s_tls = vec!["192.0.2.1:5223".parse().unwrap()];
    config.c2s.tls_required = false;
    config.hosts = vec![Host {
        domain: "capulet.example".to_owned(),
        certificate: Some("/nonexistent.pem".into()),
        key: Some("/nonexistent.key".into()),
    }];
    config.store.engine = StoreEngine::Memory;
    let findings = look(&config, false, 1_800_000_000);
    assert_eq!(weight_of(&findings, "/dev/null: not a directory"), Weight::Bad);
    assert_eq!(weight_of(&findings, "in use by another program"), Weight::Bad);
    assert_eq!(weight_of(&findings, "no such address"), Weight::Bad);
    assert_eq!(weight_of(&findings, "/nonexistent.pem: cannot be read"), Weight::Bad);
    assert_eq!(weight_of(&findings, "tls_required"), Weight::Warning);
    assert_eq!(weight_of(&findings, "forgotten when the server stops"), Weight::Warning);
    let text = "[[component]]\nname = \"irc.example\"\nsecret = \"s\"";
    config.component = Config::parse(text, None).unwrap().component;
    let findings = look(&config, true, 1_800_000_000);
    assert_eq!(weight_of(&findings, "none can connect"), Weight::Warning);
    assert!(!findings.iter().any(|finding| finding.text.contains("in use by another")));
}
