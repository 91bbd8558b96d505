//! Where other servers are found, from scripted names and machines.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use crate::runtime::{Family, ScriptedDialer, ScriptedResolver, SeededIds};

const DIRECT: &str = "_xmpps-server._tcp.capulet.example";
const STARTTLS: &str = "_xmpp-server._tcp.capulet.example";
const SOON: Duration = Duration::from_secs(30);

struct Scene {
    resolver: Arc<ScriptedResolver>,
    dialer: Arc<ScriptedDialer>,
    seeker: Seeker,
    trace: Trace,
    lines: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Scene {
    fn new(resolver: ScriptedResolver) -> Self {
        Self::with(resolver, 1, false)
    }

    fn with(resolver: ScriptedResolver, seed: u64, allow_loopback: bool) -> Self {
        let (resolver, dialer) = (Arc::new(resolver), Arc::new(ScriptedDialer::new()));
        let ids = Arc::new(SeededIds::new(seed));
        let seeker = Seeker::new(Arc::clone(&resolver) as _, Arc::clone(&dialer) as _, ids, allow_loopback);
        let (trace, lines) = Trace::kept();
        Self { resolver, dialer, seeker, trace, lines }
    }

    async fn seek(&self, domain: &str) -> Result<Vec<Candidate>, SeekError> {
        self.seeker.seek(domain, None, &self.trace).await
    }

    async fn connect(&self, host: &str) -> Result<SocketAddr, ConnectError> {
        let candidate = fall_back(host.to_owned());
        self.seeker.connect(&candidate, SOON, &self.trace).await.map(|(_, to)| to)
    }

    fn said(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }
}

fn places(candidates: &[Candidate]) -> Vec<String> {
    candidates.iter().map(ToString::to_string).collect()
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn both_kinds_of_records_are_one_list() {
    let resolver = ScriptedResolver::new()
        .with_srv(DIRECT, false, &[(10, 0, 5270, "b.example"), (30, 0, 5270, "d.example")])
        .with_srv(STARTTLS, false, &[(20, 0, 5269, "C.example."), (5, 0, 5269, "a.example")]);
    let scene = Scene::new(resolver);
    assert_eq!(
        places(&scene.seek("Capulet.Example.").await.unwrap()),
        [
            "a.example port 5269 (STARTTLS)",
            "b.example port 5270 (TLS from the first byte)",
            "c.example port 5269 (STARTTLS)",
            "d.example port 5270 (TLS from the first byte)",
        ]
    );
    assert!(
        scene.said().contains("SRV _xmpps-server._tcp.capulet.example: b.example port 5270, priority 10, weight 0")
    );
}

#[tokio::test]
async fn priorities_are_strict_and_weights_are_shares() {
    let mut first = std::collections::BTreeMap::<String, u32>::new();
    for seed in 0..2000 {
        let resolver = ScriptedResolver::new()
            .with_srv(DIRECT, false, &[(1, 30, 1, "thirty.example"), (2, 65535, 1, "later.example")])
            .with_srv(
                STARTTLS,
                false,
                &[(1, 60, 1, "sixty.example"), (1, 10, 1, "ten.example"), (1, 0, 1, "none.example")],
            );
        let found = Scene::with(resolver, seed, false).seek("capulet.example").await.unwrap();
        assert_eq!(found.len(), 5);
        assert_eq!(found[4].host, "later.example", "a higher number never comes first");
        *first.entry(found[0].host.clone()).or_default() += 1;
    }
    let share = |host: &str| f64::from(first.get(host).copied().unwrap_or(0)) / 2000.0;
    assert!((0.55..0.65).contains(&share("sixty.example")), "{first:?}");
    assert!((0.25..0.35).contains(&share("thirty.example")), "{first:?}");
    assert!((0.07..0.13).contains(&share("ten.example")), "{first:?}");
    assert!((0.001..0.03).contains(&share("none.example")), "a very small chance is one: {first:?}");
}

/// What the two lookups answer, and what follows.
#[tokio::test]
async fn what_records_say_and_do_not_say() {
    let none = || Err(LookupError::NoRecords { is_secure: false });
    let found = |target: &str, is_secure: bool| {
        let srv = Srv { priority: 0, weight: 0, port: 5269, target: target.to_owned() };
        Ok(Answer { records: vec![srv], is_secure })
    };
    let failed = || Err(LookupError::Failed("the DNS server answered Server Failure".to_owned()));
    let fall_back = "capulet.example port 5269 (STARTTLS)";
    let table = [
        ("nothing", none(), none(), Ok(fall_back)),
        ("one", none(), found("x.example", false), Ok("x.example port 5269 (STARTTLS)")),
        ("the other", found("x.example", false), none(), Ok("x.example port 5269 (TLS from the first byte)")),
        ("no service", none(), found("", false), Err(SeekError::NotOffered)),
        ("no direct TLS", found("", false), none(), Err(SeekError::NotOffered)),
        ("no direct TLS but", found(".", false), found("x.example", false), Ok("x.example port 5269 (STARTTLS)")),
        ("silence", Err(LookupError::TimedOut), Err(LookupError::TimedOut), Ok(fall_back)),
        ("failure", failed(), failed(), Ok(fall_back)),
        ("half a failure", failed(), found("x.example", false), Ok("x.example port 5269 (STARTTLS)")),
        ("forgery", none(), Err(LookupError::Bogus), Err(SeekError::Bogus)),
        ("half a forgery", Err(LookupError::Bogus), found("x.example", true), Err(SeekError::Bogus)),
        (
            "secure absence, then silence",
            Err(LookupError::NoRecords { is_secure: true }),
            Err(LookupError::TimedOut),
            Err(SeekError::Unanswered(LookupError::TimedOut)),
        ),
    ];
    for (name, direct, starttls, expected) in table {
        let scene = Scene::new(ScriptedResolver::new());
        scene.resolver.set_srv(DIRECT, Duration::ZERO, direct);
        scene.resolver.set_srv(STARTTLS, Duration::ZERO, starttls);
        let sought = scene.seek("capulet.example").await.map(|found| places(&found).join("; "));
        assert_eq!(sought, expected.map(str::to_owned), "{name}");
    }
}

#[tokio::test]
async fn a_thousand_records_are_a_handful_of_places() {
    let records: Vec<(u16, u16, u16, &str)> = (0..1000).map(|n| (n, 1, 5269, "x.example")).collect();
    let scene =
        Scene::new(ScriptedResolver::new().with_srv(DIRECT, false, &records).with_srv(STARTTLS, false, &records));
    assert_eq!(scene.seek("capulet.example").await.unwrap().len(), CANDIDATES_MAX);
    let hosts: Vec<String> = (1..=200).map(|n| format!("192.0.2.{n}")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let scene = Scene::new(ScriptedResolver::new().with_host("x.example", false, &hosts));
    scene.connect("x.example").await.expect_err("nobody listens");
    assert_eq!(scene.dialer.dialled().len(), 16);
}

#[tokio::test]
async fn the_administrator_knows_better() {
    let scene = Scene::new(ScriptedResolver::new().with_srv(DIRECT, false, &[(0, 0, 1, "elsewhere.example")]));
    let chosen = Override {
        host: Some("127.0.0.1".to_owned()),
        port: Some(15269),
        is_direct: true,
        tls_name: Some("Grün.example".to_owned()),
    };
    let found = scene.seeker.seek("capulet.example", Some(&chosen), &scene.trace).await.unwrap();
    assert_eq!(places(&found), ["127.0.0.1 port 15269 (TLS from the first byte)"]);
    assert_eq!(found[0].tls_name.as_deref(), Some("xn--grn-ioa.example"));
    assert_eq!(scene.resolver.asked(), Vec::<String>::new());
    let _listener = scene.dialer.listen(address("127.0.0.1:15269"), Duration::ZERO);
    assert!(scene.seeker.connect(&found[0], SOON, &scene.trace).await.is_ok(), "loopback is allowed by name");

    let only_name = Override { tls_name: Some("hosting.example".to_owned()), ..Override::default() };
    let found = scene.seeker.seek("capulet.example", Some(&only_name), &scene.trace).await.unwrap();
    assert_eq!((found[0].host.as_str(), found[0].tls_name.as_deref()), ("elsewhere.example", Some("hosting.example")));
}

#[tokio::test]
async fn names_are_asked_for_as_the_dns_spells_them() {
    let scene = Scene::new(ScriptedResolver::new());
    let found = scene.seek("Grün.example").await.unwrap();
    assert_eq!(found[0].host, "xn--grn-ioa.example");
    assert_eq!(scene.resolver.asked()[0], "SRV _xmpps-server._tcp.xn--grn-ioa.example");
    assert_eq!(scene.seek("[2001:db8::1]").await.unwrap()[0].host, "2001:db8::1");
    let long = "x".repeat(64);
    for wrong in ["", ".", "a..b", "a b.example", long.as_str(), "a/b", "a@b", "a_b:c"] {
        assert_eq!(scene.seek(wrong).await, Err(SeekError::NotADomain(wrong.to_owned())), "{wrong}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_family_costs_a_quarter_of_a_second() {
    let resolver = ScriptedResolver::new().with_host("x.example", false, &["2001:db8::1", "2001:db8::2", "192.0.2.1"]);
    let scene = Scene::new(resolver);
    for dead in ["[2001:db8::1]:5269", "[2001:db8::2]:5269"] {
        scene.dialer.silence(address(dead));
    }
    let _listener = scene.dialer.listen(address("192.0.2.1:5269"), Duration::from_millis(20));
    let begun = tokio::time::Instant::now();
    assert_eq!(scene.connect("x.example").await.unwrap(), address("192.0.2.1:5269"));
    // Of the paused clock, which only the attempts' own delays move.
    assert_eq!(begun.elapsed().as_millis() / 10, 27);
    assert_eq!(scene.dialer.dialled(), [address("[2001:db8::1]:5269"), address("192.0.2.1:5269")]);
    assert!(scene.said().contains("connected to 192.0.2.1:5269 in 2"), "{}", scene.said());
}

#[tokio::test(start_paused = true)]
async fn families_take_turns_and_a_failure_hurries_the_next() {
    let hosts = ["2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.2"];
    let scene = Scene::new(ScriptedResolver::new().with_host("x.example", false, &hosts));
    let begun = tokio::time::Instant::now();
    let error = scene.connect("x.example").await.map(drop).expect_err("all refuse");
    assert!(matches!(&error, ConnectError::Failed(to, _) if *to == address("192.0.2.2:5269")), "{error}");
    assert!(!error.is_permanent());
    assert_eq!(begun.elapsed().as_millis(), 0);
    let order = ["[2001:db8::1]:5269", "192.0.2.1:5269", "[2001:db8::2]:5269", "192.0.2.2:5269"].map(address);
    assert_eq!(scene.dialer.dialled(), order);
}

#[tokio::test(start_paused = true)]
async fn ipv6_may_answer_a_little_later() {
    let v6 = || Ok(Answer { records: vec!["2001:db8::1".parse().unwrap()], is_secure: false });
    for (late, expected) in [(40, "[2001:db8::1]:5269"), (400, "192.0.2.1:5269")] {
        let scene = Scene::new(ScriptedResolver::new().with_host("x.example", false, &["192.0.2.1"]));
        scene.resolver.set_addresses("x.example", Family::V6, Duration::from_millis(late), v6());
        let _v6 = scene.dialer.listen(address("[2001:db8::1]:5269"), Duration::from_millis(1));
        let _v4 = scene.dialer.listen(address("192.0.2.1:5269"), Duration::from_millis(1));
        assert_eq!(scene.connect("x.example").await.unwrap(), address(expected), "{late} ms");
    }
    // An answer that comes while IPv4 is being tried in vain joins the race.
    let scene = Scene::new(ScriptedResolver::new().with_host("x.example", false, &["192.0.2.1"]));
    scene.resolver.set_addresses("x.example", Family::V6, Duration::from_secs(3), v6());
    scene.dialer.silence(address("192.0.2.1:5269"));
    let _v6 = scene.dialer.listen(address("[2001:db8::1]:5269"), Duration::ZERO);
    assert_eq!(scene.connect("x.example").await.unwrap(), address("[2001:db8::1]:5269"));
}

#[tokio::test(start_paused = true)]
async fn waiting_ends() {
    let scene = Scene::new(ScriptedResolver::new().with_host("x.example", false, &["192.0.2.1"]));
    scene.dialer.silence(address("192.0.2.1:5269"));
    assert!(matches!(scene.connect("x.example").await, Err(ConnectError::TimedOut)));
    let slow = Scene::new(ScriptedResolver::new());
    for family in [Family::V6, Family::V4] {
        slow.resolver.set_addresses("x.example", family, Duration::from_secs(3600), Err(LookupError::TimedOut));
    }
    assert!(matches!(slow.connect("x.example").await, Err(ConnectError::TimedOut)));
}

#[tokio::test]
async fn what_is_wrong_with_an_address_is_said() {
    let scene = Scene::new(ScriptedResolver::new().with_host("x.example", false, &["127.0.0.1", "::1", "169.254.7.7"]));
    let error = scene.connect("x.example").await.map(drop).expect_err("that is us");
    assert!(matches!(error, ConnectError::NotAllowed(_)) && error.is_permanent(), "{error}");
    assert_eq!(scene.dialer.dialled(), []);
    let allowed = Scene::with(ScriptedResolver::new().with_host("x.example", false, &["127.0.0.1"]), 1, true);
    let _listener = allowed.dialer.listen(address("127.0.0.1:5269"), Duration::ZERO);
    assert!(allowed.connect("x.example").await.is_ok());

    let nobody = Scene::new(ScriptedResolver::new());
    let error = nobody.connect("x.example").await.map(drop).expect_err("no such host");
    assert!(matches!(&error, ConnectError::NoAddress(why) if why.is_absence()) && error.is_permanent(), "{error}");

    let table = [
        (LookupError::TimedOut, "no address: no DNS server answered in time"),
        (LookupError::Bogus, "no address: the answer's DNSSEC signatures are wrong or missing"),
    ];
    for (why, sentence) in table {
        let scene = Scene::new(ScriptedResolver::new());
        scene.resolver.set_addresses("x.example", Family::V4, Duration::ZERO, Err(why));
        let error = scene.connect("x.example").await.map(drop).expect_err("no address");
        assert_eq!((error.to_string().as_str(), error.is_permanent()), (sentence, false));
    }
    // A forged answer for one family makes the other suspicious.
    let scene = Scene::new(ScriptedResolver::new().with_host("x.example", true, &["192.0.2.1"]));
    scene.resolver.set_addresses("x.example", Family::V6, Duration::ZERO, Err(LookupError::Bogus));
    scene.connect("x.example").await.map(drop).expect_err("bogus");
    assert_eq!(scene.dialer.dialled(), []);
}
