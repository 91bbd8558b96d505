//! The exchanges printed in RFC 5802 section 5 and RFC 7677 section 3, channel binding, and bad messages.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::super::client::{Binding, ClientExchange, Distrust};
use super::*;

struct Vector {
    hash: Hash,
    salt: &'static str,
    client_first: &'static str,
    server_nonce: &'static str,
    server_first: &'static str,
    client_final: &'static str,
    server_final: &'static str,
}

const VECTORS: [Vector; 2] = [
    Vector {
        hash: Hash::Sha1,
        salt: "QSXCR+Q6sek8bf92",
        client_first: "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        server_nonce: "3rfcNHYJY1ZVvWVs7j",
        server_first: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        client_final: "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        server_final: "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    },
    Vector {
        hash: Hash::Sha256,
        salt: "W22ZaJ0SNY7soEsUEjb6gQ==",
        client_first: "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        server_nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        server_first: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        client_final: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                       p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        server_final: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    },
];

fn keys(vector: &Vector) -> Keys {
    Keys::derive(vector.hash, "pencil", &STANDARD.decode(vector.salt).unwrap(), 4096).unwrap()
}

#[test]
fn the_server_speaks_as_printed() {
    for vector in &VECTORS {
        let first = ClientFirst::parse(vector.client_first.as_bytes()).unwrap();
        assert_eq!(first.username, "user");
        assert_eq!(first.binding(Mechanism::ScramSha1, true), Ok(None));
        let (exchange, challenge) = ServerExchange::begin(vector.hash, first, keys(vector), vector.server_nonce, None);
        assert_eq!(challenge, vector.server_first);
        let proven = exchange.finish(vector.client_final.as_bytes()).unwrap();
        assert_eq!(proven.message, vector.server_final);
        assert_eq!(proven.authzid, None);
    }
}

#[test]
fn the_client_speaks_as_printed() {
    for vector in &VECTORS {
        let nonce = vector.client_first.rsplit_once("r=").unwrap().1;
        let new =
            |salted| ClientExchange::new(vector.hash, Binding::Unsupported, None, "user", "pencil", nonce, salted);
        let mut exchange = new(None);
        assert_eq!(exchange.first(), vector.client_first);
        assert_eq!(exchange.respond(vector.server_first.as_bytes()).unwrap(), vector.client_final);
        let salted = exchange.finish(vector.server_final.as_bytes()).unwrap();
        let mut again = new(Some(salted));
        assert_eq!(again.respond(vector.server_first.as_bytes()).unwrap(), vector.client_final);
        assert_eq!(again.finish(b"v=AAAA"), Err(Distrust::Signature));
    }
}

#[test]
fn keys_verify_their_password_and_no_other() {
    for hash in Hash::ALL {
        let keys = Keys::derive(hash, "p\u{e4}ss", b"0123456789abcdef", 10).unwrap();
        assert!(keys.verify(hash, "pa\u{308}ss"));
        for wrong in ["pass", "", "p\u{e4}ss ", "\u{7}"] {
            assert!(!keys.verify(hash, wrong), "{wrong:?}");
        }
        // The other hash's keys are shorter or longer and match nothing.
        let other = if hash == Hash::Sha1 { Hash::Sha256 } else { Hash::Sha1 };
        assert!(!keys.verify(other, "p\u{e4}ss"));
    }
}

#[test]
fn an_unknown_account_answers_like_a_known_one() {
    for hash in Hash::ALL {
        let fake = |name| Keys::fake(hash, b"the server's secret", name, ITERATIONS_DEFAULT);
        assert_eq!(fake("romeo"), fake("romeo"));
        assert_ne!(fake("romeo").salt, fake("juliet").salt);
        assert_ne!(fake("romeo").salt, Keys::fake(hash, b"another", "romeo", ITERATIONS_DEFAULT).salt);
        let real = Keys::derive(hash, "x", &[7; SALT_BYTES], ITERATIONS_MIN).unwrap();
        assert_eq!(fake("romeo").salt.len(), real.salt.len());
        assert_eq!(fake("romeo").stored_key.len(), real.stored_key.len());
        assert_eq!(fake("romeo").server_key.len(), real.server_key.len());
    }
}

fn converse(binding: Binding, seen_by_server: Option<&[u8]>, mechanism: Mechanism) -> Result<Proven, Failure> {
    let hash = mechanism.hash().unwrap();
    let keys = Keys::derive(hash, "secret", &[1; SALT_BYTES], 16).unwrap();
    let mut client = ClientExchange::new(hash, binding, Some("a,b=c@d"), "a,b=c", "secret", "abc", None);
    let first = ClientFirst::parse(client.first().as_bytes())?;
    assert_eq!(first.username, "a,b=c");
    first.binding(mechanism, seen_by_server.is_some())?;
    let (server, challenge) = ServerExchange::begin(hash, first, keys, "def", seen_by_server);
    let last = client.respond(challenge.as_bytes()).unwrap();
    let proven = server.finish(last.as_bytes())?;
    client.finish(proven.message.as_bytes()).unwrap();
    Ok(proven)
}

#[test]
fn the_channel_is_bound() {
    let bound = |kind, data: &[u8]| Binding::Bound(kind, data.to_vec());
    for kind in ChannelBinding::ALL {
        for mechanism in [Mechanism::ScramSha1Plus, Mechanism::ScramSha256Plus] {
            let proven = converse(bound(kind, b"channel"), Some(b"channel"), mechanism).unwrap();
            assert_eq!(proven.authzid.as_deref(), Some("a,b=c@d"));
            // Somebody sits in between: the channel the client sees is not the one we see.
            let stolen = converse(bound(kind, b"theirs"), Some(b"channel"), mechanism);
            assert_eq!(stolen, Err(Failure::NotAuthorized));
        }
        let contradiction = converse(bound(kind, b"channel"), Some(b"channel"), Mechanism::ScramSha256);
        assert_eq!(contradiction, Err(Failure::MalformedRequest));
    }
    for unbound in [Binding::Unsupported, Binding::Unoffered] {
        let contradiction = converse(unbound, Some(b"channel"), Mechanism::ScramSha1Plus);
        assert_eq!(contradiction, Err(Failure::MalformedRequest));
    }
}

#[test]
fn a_downgrade_is_noticed() {
    let offered = converse(Binding::Unoffered, Some(b"channel"), Mechanism::ScramSha256);
    assert_eq!(offered, Err(Failure::NotAuthorized));
    assert!(converse(Binding::Unoffered, None, Mechanism::ScramSha256).is_ok());
}

#[test]
fn bad_first_messages() {
    for bad in [
        "",
        "n",
        "n,",
        "n,,",
        "n,,n=",
        "n,,n=a",
        "n,,n=a,r=",
        "n,,r=x,n=a",
        "x,,n=a,r=x",
        "p,,n=a,r=x",
        "n,a,n=a,r=x",
        "n,a=,n=a,r=x",
        "n,,m=x,n=a,r=x",
        "n,,n=a,m=x,r=x",
        "n,,n=a,r=x,m=y",
        "n,,n=a=,r=x",
        "n,,n=a=2,r=x",
        "n,,n=a=2c,r=x",
        "n,,n=a=é,r=x",
        "n,,n=a,r=x y",
        "n,,n=a,r=\u{e9}",
        "n,,n=a,r=x,z",
        "n,,n=a,r=x,z=",
        "n,,n=a\0,r=x",
        "N,,n=a,r=x",
    ] {
        assert_eq!(ClientFirst::parse(bad.as_bytes()), Err(Failure::MalformedRequest), "{bad:?}");
    }
    let long = format!("n,,n=a,r={}", "x".repeat(NONCE_BYTES_MAX + 1));
    assert!(ClientFirst::parse(long.as_bytes()).is_err());
    assert!(ClientFirst::parse(b"n,,n=\xff,r=x").is_err());
    assert!(ClientFirst::parse(b"n,,n=a,r=x,z=1,y=2").is_ok());
    let unknown = ClientFirst::parse(b"p=tls-unique,,n=a,r=x").unwrap();
    assert_eq!(unknown.binding(Mechanism::ScramSha1Plus, true), Err(Failure::MalformedRequest));
}

#[test]
fn bad_last_messages() {
    let vector = &VECTORS[0];
    let begin = || {
        let first = ClientFirst::parse(vector.client_first.as_bytes()).unwrap();
        ServerExchange::begin(vector.hash, first, keys(vector), vector.server_nonce, None).0
    };
    let nonce = "fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j";
    let proof = "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=";
    for bad in [
        String::new(),
        format!("c=biws,r={nonce}"),
        format!("c=biws,p={proof}"),
        format!("c=bi ws,r={nonce},p={proof}"),
        format!("c=biws,r={nonce},m=x,p={proof}"),
        format!("c=biws,r={nonce},p=%"),
        format!("r={nonce},c=biws,p={proof}"),
    ] {
        assert_eq!(begin().finish(bad.as_bytes()), Err(Failure::MalformedRequest), "{bad:?}");
    }
    for wrong in [
        format!("c=eSws,r={nonce},p={proof}"),
        format!("c=biws,r={nonce}x,p={proof}"),
        format!("c=biws,r={nonce},p=AAAA"),
        format!("c=biws,r={nonce},p="),
        format!("c=biws,r={nonce},x=y,p={proof}"),
        format!("c=biws,r={nonce},p=w0X8v3Bz2T0CJGbJQyF0X+HI4Ts="),
    ] {
        assert_eq!(begin().finish(wrong.as_bytes()), Err(Failure::NotAuthorized), "{wrong:?}");
    }
}

#[test]
fn a_lying_server_is_noticed() {
    let client = || ClientExchange::new(Hash::Sha1, Binding::Unsupported, None, "user", "pencil", "abc", None);
    for (bad, why) in [
        ("r=abd1,s=AAAA,i=1", Distrust::Nonce),
        ("r=abc,s=AAAA,i=1", Distrust::Nonce),
        ("r=abc1,s=AAAA,i=0", Distrust::Malformed),
        ("r=abc1,s=AAAA,i=99999999", Distrust::Malformed),
        ("r=abc1,s=,i=1", Distrust::Malformed),
        ("m=x,r=abc1,s=AAAA,i=1", Distrust::Malformed),
        ("", Distrust::Malformed),
    ] {
        assert_eq!(client().respond(bad.as_bytes()), Err(why), "{bad:?}");
    }
    assert_eq!(client().finish(b"e=other-error"), Err(Distrust::Refused));
    assert_eq!(client().finish(b"v="), Err(Distrust::Signature));
}
