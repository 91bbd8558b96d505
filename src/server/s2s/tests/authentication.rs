//! TLS and certificates between two houses, signed by an authority both trust, or not.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use xmpp::stanza::Condition;

use super::{Guest, Street, links};

/// Files of an authority and of a certificate it signed for `name`; the configuration that uses them.
fn certified(street: &Street, authority: &CertifiedIssuer<'_, KeyPair>, domain: &str, name: &str) -> String {
    let write = |file: &str, text: String| {
        let path = street.folder.join(file);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let ca = write("ca.pem", authority.pem());
    let chain = write(&format!("{domain}.crt"), certificate.pem());
    let key = write(&format!("{domain}.key"), key.serialize_pem());
    format!("trust_roots = [{ca:?}]\n[[host]]\ndomain = {domain:?}\ncertificate = {chain:?}\nkey = {key:?}\n")
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

async fn houses(street: &Street, s2s: [&str; 2], names: [&str; 2]) -> (Guest, Guest) {
    let authority = authority();
    let more = certified(street, &authority, "capulet.lit", names[0]);
    let capulet = street.house("capulet.lit", "192.0.2.1", s2s[0], &more).await;
    let more = certified(street, &authority, "montague.lit", names[1]);
    let montague = street.house("montague.lit", "192.0.2.2", s2s[1], &more).await;
    let juliet = Guest::new(&capulet, "juliet@capulet.lit/balcony").await;
    (juliet, Guest::new(&montague, "romeo@montague.lit/orchard").await)
}

async fn talk(juliet: &Guest, romeo: &Guest) {
    juliet.say("romeo@montague.lit/orchard", "1").await;
    assert_eq!(romeo.hear_ids(1).await, ["1"]);
    romeo.say("juliet@capulet.lit/balcony", "2").await;
    assert_eq!(juliet.hear_ids(1).await, ["2"]);
}

const OWN: [&str; 2] = ["capulet.lit", "montague.lit"];

#[tokio::test(start_paused = true)]
async fn good_certificates_are_enough() {
    let street = Street::new("external");
    let (juliet, romeo) = houses(&street, ["dialback = false\n"; 2], OWN).await;
    talk(&juliet, &romeo).await;
    let [(direction, remote, by, tls)] = &links(&juliet)[..] else { panic!("{:?}", links(&juliet)) };
    assert_eq!((direction.as_str(), remote.as_str()), ("Out", "montague.lit"));
    assert_eq!((by.as_deref(), tls.as_deref()), (Some("EXTERNAL"), Some("1.3")));
    assert_eq!(street.dialer.dialled().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn tls_may_begin_with_the_first_byte() {
    let street = Street::new("direct");
    let rule = |domain: &str, ip: &str| {
        format!("[[s2s.domain]]\nname = \"{domain}\"\naddress = \"{ip}:5270\"\ndirect_tls = true\n")
    };
    let (one, other) = (rule("montague.lit", "192.0.2.2"), rule("capulet.lit", "192.0.2.1"));
    let (juliet, romeo) = houses(&street, [&one, &other], OWN).await;
    talk(&juliet, &romeo).await;
    assert_eq!(street.dialer.dialled(), ["192.0.2.2:5270".parse().unwrap()]);
    assert_eq!(links(&romeo)[0].2.as_deref(), Some("EXTERNAL"));
}

#[tokio::test(start_paused = true)]
async fn a_certificate_for_another_name_gives_up_at_once_and_says_why() {
    let street = Street::new("other-name");
    let (juliet, romeo) = houses(&street, [""; 2], ["capulet.lit", "verona.lit"]).await;
    juliet.say("romeo@montague.lit/orchard", "1").await;
    let error = juliet.hear().await.error().unwrap();
    assert_eq!(error.condition, Condition::RemoteServerTimeout);
    assert!(error.text.as_deref().unwrap().contains("verona.lit"), "{error:?}");
    // The other way: its certificate proves nothing, and dialback leads to a server that cannot prove it, either.
    romeo.say("juliet@capulet.lit/balcony", "2").await;
    let error = romeo.hear().await.error().unwrap();
    assert_eq!(error.condition, Condition::RemoteServerTimeout);
}

#[tokio::test(start_paused = true)]
async fn dialback_over_tls_serves_those_whose_certificates_prove_nothing_where_policy_lets_it() {
    let street = Street::new("dialback-tls");
    let lenient = "require_valid_certificate = false\n";
    let (juliet, romeo) = houses(&street, [lenient; 2], ["verona.lit", "verona.lit"]).await;
    talk(&juliet, &romeo).await;
    let [(_, _, by, tls)] = &links(&romeo)[..] else { panic!("{:?}", links(&romeo)) };
    assert_eq!((by.as_deref(), tls.as_deref()), (Some("dialback"), Some("1.3")));
    assert!(Path::new(&street.folder).exists());
}
