//! TLSA records of every usage, selector and matching type; what an unsigned answer is worth; who dialled whom.

use sha2::{Digest, Sha256, Sha512};

use super::*;
use crate::runtime::{Answer, Family, LookupError, Tlsa};
use std::time::Duration;

const HOST: &str = "x.hosting.example";
const TLSA: &str = "_5269._tcp.x.hosting.example";

fn tlsa(usage: u8, selector: u8, matching: u8, certificate: &CertificateDer<'_>) -> Tlsa {
    let selected = if selector == 0 { certificate.to_vec() } else { leaf::public_key(certificate).unwrap() };
    let data = match matching {
        0 => selected,
        1 => Sha256::digest(selected).to_vec(),
        _ => Sha512::digest(selected).to_vec(),
    };
    Tlsa { usage, selector, matching, data }
}

fn court(foundry: &Foundry, records: Vec<Tlsa>, is_secure: bool) -> Court {
    let resolver = ScriptedResolver::new()
        .with_srv("_xmpp-server._tcp.capulet.example", true, &[(0, 0, 5269, HOST)])
        .with_host(HOST, true, &["192.0.2.1"])
        .with_tlsa(TLSA, is_secure, records);
    Court::new(foundry, resolver)
}

const MISMATCH: &str = "it is not what the domain's TLSA records (DANE) say";

#[tokio::test]
async fn every_usage_selector_and_matching_type() {
    let foundry = Foundry::new();
    let place = place(HOST, true);
    let good = Foundry::make(&foundry.between, &["capulet.example"], |_| {});
    let between = foundry.between.der();
    let other = foundry.good();
    let own_authority = Foundry::make(&foundry.unknown, &[HOST], |_| {});
    let unknown = foundry.unknown.der();
    let homemade = self_signed(&["whatever.example"], |p| p.not_after = date_time_ymd(2026, 6, 2));
    for selector in [0, 1] {
        for matching in [0, 1, 2] {
            let record = |usage, certificate: &CertificateDer<'_>| tlsa(usage, selector, matching, certificate);
            let table: Vec<(&str, Tlsa, Vec<&CertificateDer<'static>>, &str)> = vec![
                ("3, self-made, expired, other name", record(3, &homemade.der), vec![&homemade.der], "DANE"),
                ("3, another's", record(3, &other.der), vec![&homemade.der], MISMATCH),
                ("3, another's, although PKIX is fine", record(3, &homemade.der), vec![&good.der, between], MISMATCH),
                ("3, of the authority", record(3, between), vec![&good.der, between], MISMATCH),
                ("1, by a trusted authority", record(1, &good.der), vec![&good.der, between], "DANE"),
                ("1, another's", record(1, &other.der), vec![&good.der, between], MISMATCH),
                (
                    "1, by nobody we trust",
                    record(1, &own_authority.der),
                    vec![&own_authority.der, unknown],
                    "signed by an authority that is not trusted here: Nobody's Root",
                ),
                ("0, of the intermediate", record(0, between), vec![&good.der, between], "DANE"),
                ("0, of the root", record(0, foundry.trusted.der()), vec![&good.der, between], "DANE"),
                ("0, of another authority", record(0, unknown), vec![&good.der, between], MISMATCH),
                ("0, of the server", record(0, &good.der), vec![&good.der, between], MISMATCH),
                (
                    "0, by nobody we trust",
                    record(0, unknown),
                    vec![&own_authority.der, unknown],
                    "signed by an authority that is not trusted here: Nobody's Root",
                ),
                (
                    "2, its own authority, the host's name",
                    record(2, unknown),
                    vec![&own_authority.der, unknown],
                    "DANE",
                ),
                ("2, another authority", record(2, between), vec![&own_authority.der, unknown], MISMATCH),
                ("2, of an intermediate", record(2, between), vec![&good.der, between], "DANE"),
            ];
            for (name, record, chain, expected) in table {
                let court = court(&foundry, vec![record], true);
                assert_eq!(court.dialled(&chain, &place).await, expected, "{name}, {selector} {matching}");
            }
        }
    }
}

#[tokio::test]
async fn an_authority_of_ones_own_still_signs_for_names_and_times() {
    let foundry = Foundry::new();
    let place = place(HOST, true);
    let unknown = foundry.unknown.der();
    let court = court(&foundry, vec![tlsa(2, 0, 1, unknown)], true);
    let elsewhere = Foundry::make(&foundry.unknown, &["verona.example"], |_| {});
    assert_eq!(court.dialled(&[&elsewhere.der, unknown], &place).await, "it is for verona.example");
    let old = Foundry::make(&foundry.unknown, &[HOST], |p| p.not_after = date_time_ymd(2026, 6, 2));
    assert_eq!(court.dialled(&[&old.der, unknown], &place).await, "expired at 2026-06-02T00:00:00Z");
    // A certificate beside the chain signs nothing by being there.
    let stranger = self_signed(&["capulet.example"], |_| {});
    assert_eq!(court.dialled(&[&stranger.der, unknown], &place).await, "self-signed");
    // In full, the authority need not be shown (RFC 7671 section 5.2.2); by its hash, it must.
    let made = Foundry::make(&foundry.unknown, &["capulet.example"], |_| {});
    assert_eq!(court.dialled(&[&made.der], &place).await, MISMATCH);
    let court = self::court(&foundry, vec![tlsa(2, 0, 0, unknown)], true);
    assert_eq!(court.dialled(&[&made.der], &place).await, "DANE");
}

#[tokio::test]
async fn records_count_when_dnssec_vouches_for_all_of_it() {
    let foundry = Foundry::new();
    let good = foundry.good();
    let wrong = || vec![tlsa(3, 1, 1, &self_signed(&[], |_| {}).der)];
    // Not secure: ignored, whatever they say.
    assert_eq!(court(&foundry, wrong(), false).dialled(&[&good.der], &place(HOST, true)).await, "PKIX");
    assert_eq!(court(&foundry, wrong(), true).dialled(&[&good.der], &place(HOST, false)).await, "PKIX");
    let unsigned = court(&foundry, wrong(), true);
    let address = Answer { records: vec!["192.0.2.1".parse().unwrap()], is_secure: false };
    unsigned.resolver.set_addresses(HOST, Family::V4, Duration::ZERO, Ok(address));
    assert_eq!(unsigned.dialled(&[&good.der], &place(HOST, true)).await, "PKIX");
    // Nothing usable is as good as nothing (RFC 6698 section 4.1).
    let odd = |usage, selector, matching, data| Tlsa { usage, selector, matching, data };
    let unusable = vec![
        odd(4, 0, 1, vec![0; 32]),
        odd(255, 0, 1, vec![0; 32]),
        odd(3, 2, 1, vec![0; 32]),
        odd(3, 1, 3, vec![0; 32]),
        odd(3, 1, 1, vec![0; 31]),
        odd(3, 1, 2, vec![0; 32]),
        odd(3, 1, 0, vec![]),
    ];
    assert_eq!(court(&foundry, unusable.clone(), true).dialled(&[&good.der], &place(HOST, true)).await, "PKIX");
    let one_usable = unusable.into_iter().chain(wrong()).collect();
    assert_eq!(court(&foundry, one_usable, true).dialled(&[&good.der], &place(HOST, true)).await, MISMATCH);
    // One match among several is enough.
    let several = wrong().into_iter().chain([tlsa(3, 1, 1, &good.der)]).collect();
    assert_eq!(court(&foundry, several, true).dialled(&[&good.der], &place(HOST, true)).await, "DANE");
    // Who can keep the answer from us must not talk us out of it (RFC 7673 section 3.4).
    for (why, expected) in [
        (LookupError::Bogus, "TLSA records (DANE) cannot be had: the answer's DNSSEC signatures are wrong or missing"),
        (LookupError::TimedOut, "TLSA records (DANE) cannot be had: no DNS server answered in time"),
        (LookupError::NoRecords { is_secure: true }, "PKIX"),
        (LookupError::NoRecords { is_secure: false }, "PKIX"),
    ] {
        let unreachable = court(&foundry, wrong(), true);
        unreachable.resolver.set_addresses(HOST, Family::V4, Duration::ZERO, Err(why.clone()));
        assert_eq!(unreachable.dialled(&[&good.der], &place(HOST, true)).await, expected);
        let court = court(&foundry, wrong(), true);
        court.resolver.set_tlsa(TLSA, Duration::ZERO, Err(why));
        assert_eq!(court.dialled(&[&good.der], &place(HOST, true)).await, expected);
    }
}

#[tokio::test]
async fn a_server_that_dials_us_may_show_what_its_places_show() {
    let foundry = Foundry::new();
    let homemade = self_signed(&["whatever.example"], |_| {});
    let vouching = court(&foundry, vec![tlsa(3, 1, 1, &homemade.der)], true);
    assert_eq!(vouching.accepted(&[&homemade.der]).await, "DANE");
    assert!(vouching.said().contains("TLSA _5269._tcp.x.hosting.example: 3 1 1"), "{}", vouching.said());
    let unsigned = court(&foundry, vec![tlsa(3, 1, 1, &homemade.der)], false);
    assert_eq!(unsigned.accepted(&[&homemade.der]).await, "self-signed; it is for whatever.example");
    // Dialling from another machine with a certificate that is good by itself contradicts nothing.
    assert_eq!(vouching.accepted(&[&foundry.good().der]).await, "PKIX");
    let stranger = self_signed(&["capulet.example"], |_| {});
    assert_eq!(vouching.accepted(&[&stranger.der]).await, "self-signed");
    // Where DNSSEC is not checked, nobody is asked for what could not count.
    let unchecked = Court::new(&foundry, ScriptedResolver::new());
    unchecked.accepted(&[&homemade.der]).await;
    assert!(unchecked.resolver.asked().iter().all(|question| !question.starts_with("SRV")));
}
