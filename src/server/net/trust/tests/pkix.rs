//! Chains and names: every refusal of RFC 6120 section 13.7.2 and 5280 that can be met, with its reason.

use super::*;

const XMPP_ADDR: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 8, 5];
const DNS_SRV: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 8, 7];

fn other_name(kind: &[u64], value: &str) -> SanType {
    SanType::OtherName((kind.to_vec(), OtherNameValue::Utf8String(value.to_owned())))
}

/// A subjectAltName with one SRVName as RFC 4985 encodes it, as IA5String.
fn srv_name(name: &str) -> CustomExtension {
    let wrap = |tag: u8, content: &[u8]| {
        let mut der = vec![tag, u8::try_from(content.len()).unwrap()];
        der.extend_from_slice(content);
        der
    };
    let kind = wrap(6, &[0x2b, 6, 1, 5, 5, 7, 8, 7]);
    let value = wrap(0xa0, &wrap(22, name.as_bytes()));
    let other = wrap(0xa0, &[kind, value].concat());
    CustomExtension::from_oid_content(&[2, 5, 29, 17], wrap(0x30, &other))
}

#[tokio::test]
async fn what_a_certificate_is_worth() {
    let foundry = Foundry::new();
    let (trusted, between) = (foundry.trusted.der(), foundry.between.der());
    let court = Court::new(&foundry, ScriptedResolver::new());
    let by = |change: fn(&mut CertificateParams)| Foundry::make(&foundry.trusted, &["capulet.example"], change);
    let below = Foundry::make(&foundry.between, &["capulet.example"], |_| {});
    let unknown = Foundry::make(&foundry.unknown, &["capulet.example"], |_| {});
    let plain = by(|_| {});
    let pretender = CertifiedIssuer::self_signed(
        params(&[], |params| {
            params.distinguished_name = named("Trusted Root");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }),
        KeyPair::generate().unwrap(),
    )
    .unwrap();
    let forged = Foundry::make(&pretender, &["capulet.example"], |_| {});
    let by_server = {
        let key = KeyPair::generate().unwrap();
        let not_ca = CertifiedIssuer::signed_by(
            params(&["verona.example"], |params| params.is_ca = IsCa::ExplicitNoCa),
            key,
            &foundry.trusted,
        )
        .unwrap();
        (Foundry::make(&not_ca, &["capulet.example"], |_| {}), not_ca.der().clone())
    };

    let table: Vec<(&str, Vec<CertificateDer<'static>>, &str)> = vec![
        ("right name", vec![plain.der.clone()], "PKIX"),
        ("nothing", vec![], "no certificate was shown"),
        ("nonsense", vec![CertificateDer::from(vec![1, 2, 3])], "not an X.509 certificate"),
        ("with its root", vec![plain.der.clone(), trusted.clone()], "PKIX"),
        ("with something else", vec![plain.der, unknown.der.clone()], "PKIX"),
        (
            "serverAuth only",
            vec![by(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]).der],
            "PKIX",
        ),
        (
            "clientAuth only",
            vec![by(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]).der],
            "PKIX",
        ),
        ("any usage", vec![by(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]).der], "PKIX"),
        (
            "for programs",
            vec![by(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]).der],
            "its extended key usage allows neither TLS servers nor TLS clients",
        ),
        ("expired", vec![by(|p| p.not_after = date_time_ymd(2026, 6, 14)).der], "expired at 2026-06-14T00:00:00Z"),
        (
            "not yet valid",
            vec![by(|p| p.not_before = date_time_ymd(2026, 6, 16)).der],
            "not valid before 2026-06-16T00:00:00Z",
        ),
        ("self-signed", vec![self_signed(&["capulet.example"], |_| {}).der], "self-signed"),
        (
            "self-signed as openssl makes them",
            vec![self_signed(&["capulet.example"], |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)).der],
            "self-signed",
        ),
        ("unknown root", vec![unknown.der.clone()], "signed by an authority that is not trusted here: Nobody's Root"),
        (
            "unknown root, shown",
            vec![unknown.der, foundry.unknown.der().clone()],
            "signed by an authority that is not trusted here: Nobody's Root",
        ),
        ("a pretender's", vec![forged.der, pretender.der().clone()], "a signature in the chain is wrong"),
        ("with its intermediate", vec![below.der.clone(), between.clone()], "PKIX"),
        ("missing intermediate", vec![below.der], "signed by an authority that is not trusted here: Between"),
        ("by a server", vec![by_server.0.der, by_server.1], "it is signed by one that may not sign others"),
        (
            "an authority's",
            vec![by(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)).der],
            "it is an authority's certificate, not a server's",
        ),
    ];
    for (name, chain, expected) in table {
        let chain: Vec<&CertificateDer<'static>> = chain.iter().collect();
        assert_eq!(court.accepted(&chain).await, expected, "{name}, accepted");
        assert_eq!(court.dialled(&chain, &place("x.example", false)).await, expected, "{name}, dialled");
    }
}

#[tokio::test]
async fn which_names_prove_a_domain() {
    let foundry = Foundry::new();
    let court = Court::new(&foundry, ScriptedResolver::new());
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let is_for = |name: &str| format!("it is for {name}");
    let nothing = "it holds no name for XMPP (subjectAltName); the common name does not count".to_owned();
    let table: Vec<(Vec<SanType>, &str, String)> = vec![
        (vec![dns("capulet.example")], "capulet.example", "PKIX".into()),
        (vec![dns("CAPULET.example")], "Capulet.Example", "PKIX".into()),
        (vec![dns("montague.example"), dns("capulet.example")], "capulet.example", "PKIX".into()),
        (vec![dns("capulet.example")], "im.capulet.example", is_for("capulet.example")),
        (vec![dns("im.capulet.example")], "capulet.example", is_for("im.capulet.example")),
        (vec![dns("*.capulet.example")], "im.capulet.example", "PKIX".into()),
        (vec![dns("*.capulet.example")], "capulet.example", is_for("*.capulet.example")),
        (vec![dns("*.capulet.example")], "a.im.capulet.example", is_for("*.capulet.example")),
        (vec![dns("i*.capulet.example")], "im.capulet.example", is_for("i*.capulet.example")),
        (vec![dns("im.*.example")], "im.capulet.example", is_for("im.*.example")),
        (vec![dns("*.*.example")], "im.capulet.example", is_for("*.*.example")),
        (vec![dns("*")], "example", is_for("*")),
        (vec![dns("xn--grn-ioa.example")], "grün.example", "PKIX".into()),
        (vec![dns("*.xn--grn-ioa.example")], "im.grün.example", "PKIX".into()),
        (vec![other_name(&XMPP_ADDR, "capulet.example")], "capulet.example", "PKIX".into()),
        (vec![other_name(&XMPP_ADDR, "grün.example")], "xn--grn-ioa.example", "PKIX".into()),
        (
            vec![other_name(&XMPP_ADDR, "juliet@capulet.example")],
            "capulet.example",
            is_for("xmppAddr juliet@capulet.example"),
        ),
        (vec![other_name(&XMPP_ADDR, "*.capulet.example")], "im.capulet.example", is_for("xmppAddr *.capulet.example")),
        (vec![other_name(&DNS_SRV, "_xmpp-server.capulet.example")], "capulet.example", "PKIX".into()),
        (vec![other_name(&DNS_SRV, "_XMPPS-server.capulet.example")], "capulet.example", "PKIX".into()),
        (
            vec![other_name(&DNS_SRV, "_xmpp-client.capulet.example")],
            "capulet.example",
            is_for("SRVName _xmpp-client.capulet.example"),
        ),
        (vec![other_name(&[1, 2, 3], "capulet.example")], "capulet.example", nothing.clone()),
        (vec![SanType::Rfc822Name("capulet.example".try_into().unwrap())], "capulet.example", nothing.clone()),
        (vec![SanType::URI("xmpp:capulet.example".try_into().unwrap())], "capulet.example", nothing.clone()),
        (vec![SanType::IpAddress("192.0.2.1".parse().unwrap())], "192.0.2.1", nothing.clone()),
        (
            (1..=7).map(|n| dns(&format!("{n}.example"))).collect(),
            "capulet.example",
            is_for("1.example, 2.example, 3.example, 4.example, 5.example, 2 more"),
        ),
        (vec![dns("evil.example\r\nFAKE")], "capulet.example", is_for("evil.example\u{FFFD}\u{FFFD}FAKE")),
    ];
    for (names, domain, expected) in table {
        let made = Foundry::make(&foundry.trusted, &[], |params| params.subject_alt_names.clone_from(&names));
        let judged = court.judge(domain, &[&made.der], Met::Accepted).await;
        assert_eq!(verdict(&judged), expected, "{names:?} for {domain}");
    }
    // A common name is a name for people, however right it looks (RFC 9525 section 2).
    let made = Foundry::make(&foundry.trusted, &[], |params| params.distinguished_name = named("capulet.example"));
    assert_eq!(court.accepted(&[&made.der]).await, nothing);
    let made =
        Foundry::make(&foundry.trusted, &[], |p| p.custom_extensions = vec![srv_name("_xmpp-server.capulet.example")]);
    assert_eq!(court.accepted(&[&made.der]).await, "PKIX");
}

#[tokio::test]
async fn several_reasons_are_all_told() {
    let foundry = Foundry::new();
    let court = Court::new(&foundry, ScriptedResolver::new());
    let made = Foundry::make(&foundry.trusted, &["verona.example"], |p| p.not_after = date_time_ymd(2026, 6, 14));
    let judged = court.judge("capulet.example", &[&made.der], Met::Accepted).await;
    let expired = Reason::Expired(NOW - DAY);
    assert_eq!(judged, Judgement::Invalid(vec![expired, Reason::OtherName(vec!["verona.example".to_owned()])]));
    assert!(court.said().contains("certificate: not valid for capulet.example: expired at 2026-06-14"));

    let good = foundry.good();
    let judged = court.judge("capulet.example", &[&good.der], Met::Accepted).await;
    let until = NOW + 76 * DAY;
    assert_eq!(judged, Judgement::Valid(Proof { by: By::Pkix, until, signed_by: "Trusted Root".to_owned() }));
    let said = court.said();
    let line = "certificate: valid for capulet.example by PKIX, signed by Trusted Root, until 2026-08-30T00:00:00Z";
    assert!(said.contains(line), "{said}");
    court.clock.advance(std::time::Duration::from_secs(77 * 86_400));
    assert_eq!(court.accepted(&[&good.der]).await, "expired at 2026-08-30T00:00:00Z");
}

#[tokio::test]
async fn delegation_counts_when_it_is_secure_or_the_administrators() {
    let foundry = Foundry::new();
    let court = Court::new(&foundry, ScriptedResolver::new());
    let hosting = Foundry::make(&foundry.trusted, &["hosting.example"], |_| {});
    let not_ours = "it is for hosting.example";
    assert_eq!(court.dialled(&[&hosting.der], &place("hosting.example", false)).await, not_ours);
    assert_eq!(court.dialled(&[&hosting.der], &place("hosting.example", true)).await, "PKIX");
    assert_eq!(court.dialled(&[&hosting.der], &place("other.example", true)).await, not_ours);
    let by_hand = Candidate { tls_name: Some("hosting.example".to_owned()), ..place("192.0.2.1", false) };
    assert_eq!(court.dialled(&[&hosting.der], &by_hand).await, "PKIX");
}

#[tokio::test]
async fn a_certificate_of_ones_own_may_be_trusted_by_name() {
    let made = self_signed(&["capulet.example"], |_| {});
    let court = Court::trusting(vec![made.der.clone()], ScriptedResolver::new());
    assert_eq!(court.accepted(&[&made.der]).await, "PKIX");
    let other = self_signed(&["capulet.example"], |_| {});
    assert_ne!(court.accepted(&[&other.der]).await, "PKIX");
    let elsewhere = court.judge("verona.example", &[&made.der], Met::Accepted).await;
    assert_eq!(verdict(&elsewhere), "it is for capulet.example");
    // Nobody is trusted, and nothing breaks.
    let alone = Court::trusting(Vec::new(), ScriptedResolver::new());
    assert_eq!(alone.accepted(&[&made.der]).await, "self-signed");
}

#[test]
fn files_of_trusted_certificates_are_read_or_named() {
    let foundry = Foundry::new();
    let folder = std::env::temp_dir().join(format!("chirrup-trust-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (good, empty, missing) = (folder.join("good.pem"), folder.join("empty.pem"), folder.join("missing.pem"));
    std::fs::write(&good, format!("{}{}", foundry.trusted.pem(), foundry.unknown.pem())).unwrap();
    std::fs::write(&empty, "nothing to see").unwrap();
    let roots = Roots::load(&[good]).unwrap();
    for made in [foundry.good(), Foundry::make(&foundry.unknown, &["capulet.example"], |_| {})] {
        roots.verify(&Leaf::read(&made.der).unwrap(), &[made.der], NOW).unwrap();
    }
    let said = Roots::load(&[empty]).map(drop).expect_err("no certificate");
    assert!(said.starts_with("`trust_roots`: ") && said.contains("empty.pem: holds no certificate"), "{said}");
    let said = Roots::load(&[missing]).map(drop).expect_err("no file");
    assert!(said.contains("missing.pem: No such file"), "{said}");
    std::fs::remove_dir_all(&folder).unwrap();
}
