//! The resolver against a small DNS server on loopback, which signs its one zone, the root, as it answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::proto::dnssec::crypto::Ed25519SigningKey;
use hickory_resolver::proto::dnssec::rdata::{DNSKEY, DNSSECRData, NSEC, RRSIG};
use hickory_resolver::proto::dnssec::{DnssecSigner, SigningKey};
use hickory_resolver::proto::op::{Edns, Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{self, CNAME, NS, SOA};
use hickory_resolver::proto::rr::{DNSClass, RecordSet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::*;

const TTL: u32 = 3600;
/// Bytes of an answer over UDP; a longer one has to be fetched over TCP.
const UDP_BYTES_MAX: usize = 1232;

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).unwrap()
}

/// A zone and its key. Everything below `insecure` is delegated without a signature.
struct Zone {
    signer: DnssecSigner,
    records: HashMap<(Name, RecordType), Vec<RData>>,
    asked: AtomicUsize,
}

impl Zone {
    fn new() -> Self {
        let key = Ed25519SigningKey::from_pkcs8(&Ed25519SigningKey::generate_pkcs8().unwrap()).unwrap();
        let dnskey = DNSKEY::from_key(&key.to_public_key().unwrap());
        let thirty_years = Duration::from_secs(30 * 365 * 86_400);
        let signer = DnssecSigner::new(dnskey.clone(), Box::new(key), Name::root(), thirty_years);
        let zone = Self { signer, records: HashMap::new(), asked: AtomicUsize::new(0) };
        zone.with(".", RData::DNSSEC(DNSSECRData::DNSKEY(dnskey)))
            .with(".", RData::NS(NS(name("ns.example"))))
            .with("insecure", RData::NS(NS(name("ns.insecure"))))
    }

    fn with(mut self, owner: &str, data: RData) -> Self {
        self.records.entry((name(owner), data.record_type())).or_default().push(data);
        self
    }

    fn srv(self, owner: &str, priority: u16, target: &str) -> Self {
        self.with(owner, RData::SRV(rdata::SRV::new(priority, 0, 5269, name(target))))
    }

    fn a(self, owner: &str, last: u8) -> Self {
        self.with(owner, RData::A(rdata::A(Ipv4Addr::new(192, 0, 2, last))))
    }

    /// The set of records with its signature, if it has one.
    fn signed(&self, owner: &Name, kind: RecordType, data: &[RData]) -> Vec<Record> {
        let mut set = RecordSet::with_ttl(owner.clone(), kind, TTL);
        for one in data {
            set.add_rdata(one.clone());
        }
        let mut records: Vec<Record> = set.records_without_rrsigs().cloned().collect();
        let insecure = name("insecure");
        let is_delegation = *owner == insecure && kind == RecordType::NS;
        let is_unsigned = insecure.zone_of(owner) && kind != RecordType::NSEC;
        if !is_delegation && !is_unsigned {
            let since = rcgen::date_time_ymd(2020, 1, 1);
            let signature = RRSIG::from_rrset(&set, DNSClass::IN, since, &self.signer).unwrap();
            records.push(Record::from_rdata(owner.clone(), TTL, RData::DNSSEC(DNSSECRData::RRSIG(signature))));
        }
        records
    }

    fn start_of(&self, zone: &Name) -> Vec<Record> {
        let soa = RData::SOA(SOA::new(name("ns.example"), name("who.example"), 1, 60, 60, 60, 60));
        self.signed(zone, RecordType::SOA, &[soa])
    }

    /// No such record, with the proof made to order (as RFC 9824 describes).
    fn absent(&self, response: &mut Message, asked: &Name, kind: RecordType) {
        let insecure = name("insecure");
        if insecure.zone_of(asked) && !(kind == RecordType::DS && *asked == insecure) {
            response.add_authorities(self.start_of(&insecure));
            return;
        }
        response.add_authorities(self.start_of(&Name::root()));
        let next = asked.prepend_label(&b"\0"[..]).unwrap();
        let kinds = self.records.keys().filter(|(owner, _)| owner == asked).map(|(_, kind)| *kind);
        let nsec = RData::DNSSEC(DNSSECRData::NSEC(NSEC::new_cover_self(next, kinds)));
        response.add_authorities(self.signed(asked, RecordType::NSEC, &[nsec]));
    }

    fn answer(&self, request: &[u8]) -> Option<Message> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let request = Message::from_vec(request).ok()?;
        let query = request.queries.first()?.clone();
        let mut response = Message::response(request.id, OpCode::Query);
        response.metadata.recursion_available = true;
        response.add_query(query.clone());
        response.set_edns(Edns::new());
        let (asked, kind) = (query.name().clone(), query.query_type());
        let first = asked.iter().next().map(<[u8]>::to_vec).unwrap_or_default();
        match first.as_slice() {
            b"silent" => return None,
            b"failing" => response.metadata.response_code = ResponseCode::ServFail,
            b"refusing" => response.metadata.response_code = ResponseCode::Refused,
            b"forged-absence" => {
                response.add_authorities(self.start_of(&name("insecure")));
            }
            _ => {
                let alias = self.records.get(&(asked.clone(), RecordType::CNAME)).map(|data| (RecordType::CNAME, data));
                match self.records.get(&(asked.clone(), kind)).map(|data| (kind, data)).or(alias) {
                    None => {
                        response.metadata.response_code = ResponseCode::NoError;
                        self.absent(&mut response, &asked, kind);
                    }
                    Some((kind, data)) => {
                        let mut records = self.signed(&asked, kind, data);
                        match first.as_slice() {
                            b"tampered" => records[0].data = RData::A(rdata::A(Ipv4Addr::new(203, 0, 113, 66))),
                            b"stripped" => records.retain(|record| record.record_type() != RecordType::RRSIG),
                            b"crowded" => {
                                let other = name("other.example");
                                let more = &self.records[&(other.clone(), RecordType::A)];
                                records.extend(self.signed(&other, RecordType::A, more));
                            }
                            _ => {}
                        }
                        response.add_answers(records);
                    }
                }
            }
        }
        Some(response)
    }

    /// Serves on loopback, over UDP and TCP, until the test ends.
    async fn open(self) -> (Arc<Self>, SocketAddr) {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).await.unwrap();
        let zone = Arc::new(self);
        let (over_udp, over_tcp) = (Arc::clone(&zone), Arc::clone(&zone));
        crate::runtime::start(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
                let Some(answer) = over_udp.answer(&buffer[..length]) else { continue };
                let mut bytes = answer.to_vec().unwrap();
                if bytes.len() > UDP_BYTES_MAX {
                    bytes = answer.truncate().to_vec().unwrap();
                }
                udp.send_to(&bytes, from).await.unwrap();
            }
        });
        crate::runtime::start(async move {
            while let Ok((mut wire, _)) = tcp.accept().await {
                while let Ok(length) = wire.read_u16().await {
                    let mut request = vec![0; usize::from(length)];
                    wire.read_exact(&mut request).await.unwrap();
                    let Some(answer) = over_tcp.answer(&request) else { continue };
                    let bytes = answer.to_vec().unwrap();
                    wire.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
                    wire.write_all(&bytes).await.unwrap();
                }
            }
        });
        (zone, address)
    }
}

fn zone() -> Zone {
    let hash = vec![7; 32];
    Zone::new()
        .srv("_xmpp-server._tcp.capulet.example", 2, "x.example")
        .srv("_xmpp-server._tcp.capulet.example", 1, "Y.example")
        .srv("_xmpp-server._tcp.closed.example", 0, ".")
        .a("x.example", 1)
        .a("x.example", 2)
        .a("tampered.example", 3)
        .a("stripped.example", 4)
        .a("crowded.example", 5)
        .a("other.example", 66)
        .a("x.insecure", 7)
        .with("alias.example", RData::CNAME(CNAME(name("x.example"))))
        .with("leaving.example", RData::CNAME(CNAME(name("x.insecure"))))
        .with("coming.insecure", RData::CNAME(CNAME(name("x.example"))))
        .with("round.example", RData::CNAME(CNAME(name("round.example"))))
        .with("_5269._tcp.x.example", RData::TLSA(rdata::TLSA::new(3.into(), 1.into(), 1.into(), hash)))
}

/// A resolver that asks `server`, and checks signatures from the zone's own key.
fn resolver(zone: &Zone, server: SocketAddr, dnssec: bool) -> DnsResolver {
    let file = anchor_file(zone);
    let trust_anchor = dnssec.then(|| file.clone());
    let resolver = DnsResolver::new(&Dns { servers: vec![server], timeout_seconds: 1, dnssec, trust_anchor }).unwrap();
    std::fs::remove_file(file).unwrap();
    resolver
}

fn anchor_file(zone: &Zone) -> PathBuf {
    use base64::Engine;
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::SeqCst);
    let file = std::env::temp_dir().join(format!("chirrup-anchor-{}-{count}", std::process::id()));
    let public = zone.signer.key().to_public_key().unwrap();
    let key = base64::engine::general_purpose::STANDARD
        .encode(hickory_resolver::proto::dnssec::PublicKey::public_bytes(&public));
    std::fs::write(&file, format!("; the root's\n. 3600 IN DNSKEY 257 3 15 {key}\n")).unwrap();
    file
}

async fn v4(resolver: &DnsResolver, host: &str) -> Result<(Vec<u8>, bool), LookupError> {
    let answer = resolver.addresses(host, Family::V4).await?;
    let mut last: Vec<u8> = answer
        .records
        .iter()
        .map(|address| match address {
            IpAddr::V4(v4) => v4.octets()[3],
            IpAddr::V6(_) => panic!("asked for IPv4"),
        })
        .collect();
    last.sort_unstable();
    Ok((last, answer.is_secure))
}

#[tokio::test]
async fn records_are_read_and_remembered() {
    let (zone, server) = zone().open().await;
    for dnssec in [false, true] {
        let resolver = resolver(&zone, server, dnssec);
        for _ in 0..3 {
            let answer = resolver.srv("_xmpp-server._tcp.Capulet.example.").await.unwrap();
            let targets: Vec<&str> = answer.records.iter().map(|srv| srv.target.as_str()).collect();
            assert_eq!((targets, answer.is_secure), (vec!["y.example", "x.example"], dnssec));
            assert_eq!(v4(&resolver, "x.example").await, Ok((vec![1, 2], dnssec)));
            assert_eq!(v4(&resolver, "alias.example").await, Ok((vec![1, 2], dnssec)));
            let tlsa = resolver.tlsa("_5269._tcp.x.example").await.unwrap();
            let expected = Tlsa { usage: 3, selector: 1, matching: 1, data: vec![7; 32] };
            assert_eq!(tlsa, Answer { records: vec![expected], is_secure: dnssec });
        }
        let closed = resolver.srv("_xmpp-server._tcp.closed.example").await.unwrap();
        assert_eq!(closed.records[0].target, "");
        assert_eq!(resolver.is_validating(), dnssec);
        let before = zone.asked.load(Ordering::SeqCst);
        v4(&resolver, "alias.example").await.unwrap();
        assert_eq!(zone.asked.load(Ordering::SeqCst), before, "remembered");
    }
}

#[tokio::test]
async fn absence_failure_and_silence_differ() {
    let (zone, server) = zone().open().await;
    for dnssec in [false, true] {
        let resolver = resolver(&zone, server, dnssec);
        let absent = Err(LookupError::NoRecords { is_secure: dnssec });
        assert_eq!(v4(&resolver, "nobody.example").await, absent);
        assert_eq!(v4(&resolver, "capulet.example").await, absent);
        let none = resolver.addresses("x.example", Family::V6).await.map(|answer| answer.is_secure);
        assert_eq!(none, Err(LookupError::NoRecords { is_secure: dnssec }));
        for host in ["failing.example", "refusing.example"] {
            let said = v4(&resolver, host).await.expect_err(host);
            assert!(matches!(said, LookupError::Failed(_)), "{host}: {said:?}");
        }
        assert_eq!(v4(&resolver, "silent.example").await, Err(LookupError::TimedOut));
        assert!(v4(&resolver, "round.example").await.is_err(), "an alias of itself leads nowhere");
        assert!(v4(&resolver, "not a name").await.is_err());
    }
    let resolver = resolver(&zone, server, false);
    let before = zone.asked.load(Ordering::SeqCst);
    v4(&resolver, "nobody.example").await.expect_err("absent");
    v4(&resolver, "nobody.example").await.expect_err("still absent");
    assert_eq!(zone.asked.load(Ordering::SeqCst), before + 1, "absence is remembered, too");
}

#[tokio::test]
async fn forged_answers_are_bogus_to_who_checks() {
    let (zone, server) = zone().open().await;
    let credulous = resolver(&zone, server, false);
    assert_eq!(v4(&credulous, "tampered.example").await, Ok((vec![66], false)));
    let checking = resolver(&zone, server, true);
    for host in ["tampered.example", "stripped.example", "forged-absence.example"] {
        assert_eq!(v4(&checking, host).await, Err(LookupError::Bogus), "{host}");
    }
    // What else an answer holds is nobody's answer, however well signed.
    assert_eq!(v4(&checking, "crowded.example").await, Ok((vec![5], true)));
    // With other keys nothing can be believed.
    let stranger = resolver(&Zone::new(), server, true);
    assert_eq!(v4(&stranger, "x.example").await, Err(LookupError::Bogus));
}

#[tokio::test]
async fn a_chain_is_as_secure_as_its_weakest_name() {
    let (zone, server) = zone().open().await;
    let resolver = resolver(&zone, server, true);
    assert_eq!(v4(&resolver, "x.insecure").await, Ok((vec![7], false)));
    assert_eq!(v4(&resolver, "leaving.example").await, Ok((vec![7], false)));
    assert_eq!(v4(&resolver, "coming.insecure").await, Ok((vec![1, 2], false)));
    assert_eq!(v4(&resolver, "nobody.insecure").await, Err(LookupError::NoRecords { is_secure: false }));
    // A second time, from memory.
    assert_eq!(v4(&resolver, "leaving.example").await, Ok((vec![7], false)));
    assert_eq!(v4(&resolver, "coming.insecure").await, Ok((vec![1, 2], false)));
}

#[tokio::test]
async fn a_thousand_records_are_cut_to_the_best() {
    let mut zone = zone();
    for n in 0..1000 {
        zone = zone.srv("_xmpp-server._tcp.big.example", 1000 - n, "x.example");
        zone = zone.a("big.example", u8::try_from(n % 256).unwrap());
    }
    let (zone, server) = zone.open().await;
    let resolver = resolver(&zone, server, false);
    let answer = resolver.srv("_xmpp-server._tcp.big.example").await.unwrap();
    let priorities: Vec<u16> = answer.records.iter().map(|srv| srv.priority).collect();
    assert_eq!(priorities, (1..=32).collect::<Vec<u16>>());
    let addresses = resolver.addresses("big.example", Family::V4).await.unwrap();
    assert_eq!(addresses.records.len(), ADDRESSES_MAX);
}

#[test]
fn a_trust_anchor_file_that_cannot_be_used_is_named() {
    let folder = std::env::temp_dir().join(format!("chirrup-anchors-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    for (file, text, said) in [
        ("empty.zone", "; nothing\n", "holds no DNSKEY record"),
        ("ds.zone", ". IN DS 1 2 3 00 ; not a DNSKEY\n", "unsupported RecordType: DS"),
    ] {
        let file = folder.join(file);
        std::fs::write(&file, text).unwrap();
        let dns = Dns { dnssec: true, trust_anchor: Some(file.clone()), ..Dns::default() };
        let servers = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 53))];
        let error = DnsResolver::new(&Dns { servers, ..dns }).map(drop).expect_err("unusable");
        assert_eq!(error, format!("`dns.trust_anchor`: {}: {said}", file.display()));
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
