//! Clients that log in with certificates: which are asked for one, whom one lets in, and what ends with it (XEP-0257,
//! XEP-0178 section 2). Whole logins over TLS on pipes, with certificates made here.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chirrup::config::Config;
use chirrup::house::{House, World};
use chirrup::net::c2s::Door;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, OtherNameValue, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use xmpp::BareJid;

use crate::stage::actor::{Actor, Heard, LoginError, Sasl2, Security};
use crate::stage::frames::Frame;
use crate::stage::peer;

const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
const CLIENT: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";
/// id-on-xmppAddr.
const XMPP_ADDR: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 8, 5];

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A certificate and its key.
struct Made {
    der: CertificateDer<'static>,
    key: KeyPair,
}

impl Made {
    /// For these addresses, signed by an authority or by itself.
    fn new(addresses: &[&str], by: Option<&Authority>, years: (i32, i32)) -> Self {
        let mut params = CertificateParams::default();
        let name = |address: &&str| {
            SanType::OtherName((XMPP_ADDR.to_vec(), OtherNameValue::Utf8String((*address).to_owned())))
        };
        params.subject_alt_names = addresses.iter().map(name).collect();
        (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
        let key = KeyPair::generate().unwrap();
        let made = match by {
            Some(authority) => params.signed_by(&key, authority).unwrap(),
            None => params.self_signed(&key).unwrap(),
        };
        Self { der: made.der().clone(), key }
    }

    fn own() -> Self {
        Self::new(&[], None, (2020, 2120))
    }

    fn append(&self, name: &str, beside: &str) -> String {
        let der = STANDARD.encode(&self.der);
        format!(
            "<iq type='set' id='append'><append xmlns='urn:xmpp:saslcert:1'><name>{name}</name>{beside}\
             <x509cert>{der}</x509cert></append></iq>"
        )
    }
}

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A house, and where its files are.
struct Stage {
    house: Arc<House>,
    folder: std::path::PathBuf,
}

impl Drop for Stage {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

const DISABLE: &str = "<iq type='set' id='d'><disable xmlns='urn:xmpp:saslcert:1'><name>Bot</name></disable></iq>";
const REVOKE: &str = "<iq type='set' id='r'><revoke xmlns='urn:xmpp:saslcert:1'><name>Bot</name></revoke></iq>";

impl Stage {
    async fn build(name: &str, trusted: Option<&Authority>) -> Self {
        let stage = Self::build_on(name, trusted, World::alone()).await;
        for account in ["juliet@localhost", "romeo@localhost"] {
            stage.house.accounts.create(&BareJid::new(account).unwrap(), "secret", 0).await.unwrap();
        }
        stage
    }

    async fn build_on(name: &str, trusted: Option<&Authority>, world: World) -> Self {
        let folder = std::env::temp_dir().join(format!("chirrup-certificates-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut roots = String::new();
        if let Some(trusted) = trusted {
            let file = folder.join("clients.pem");
            std::fs::write(&file, trusted.pem()).unwrap();
            roots = format!("client_certificate_roots = [{:?}]\n", file.display().to_string());
        }
        let text = format!(
            "data_directory = {:?}\n[[host]]\ndomain = \"localhost\"\n[c2s]\n{roots}[store]\nengine = \"memory\"\n",
            folder.display().to_string()
        );
        let config = Config::parse(&text, None).unwrap();
        let house = House::build(config, world).await.unwrap();
        Self { house, folder }
    }

    /// A client that has done TLS, if it got so far.
    async fn dial(&self, shown: Option<&Made>) -> Actor {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
        tokio::spawn(Arc::clone(&self.house).attach(Box::new(theirs), Door::DirectTls, peer));
        let identity = shown.map(|made| {
            let key = PrivateKeyDer::Pkcs8(made.key.serialize_der().into());
            (vec![made.der.clone()], key)
        });
        let wire = peer::secure_as(Box::new(ours), "localhost", identity).await.unwrap();
        Actor::enter(wire, "localhost", Security::Plain).await.unwrap()
    }

    /// One of juliet's clients that knows the password.
    async fn juliet(&self) -> Actor {
        let mut actor = self.dial(None).await;
        actor.authenticate("juliet", "secret", None).await.unwrap();
        actor.bind(Some("balcony")).await.unwrap();
        actor
    }
}

async fn next(actor: &mut Actor) -> String {
    match actor.hear(Duration::from_secs(5)).await.unwrap() {
        Heard::Frame(Frame::Element(element)) => String::from(&element),
        other => panic!("{other:?}"),
    }
}

async fn ask(actor: &mut Actor, iq: &str) -> String {
    actor.write(iq.as_bytes()).await.unwrap();
    next(actor).await
}

async fn ends(actor: &mut Actor) -> bool {
    loop {
        match actor.hear(Duration::from_secs(5)).await.unwrap() {
            Heard::End => return true,
            Heard::Frame(_) => {}
            Heard::Silence => return false,
        }
    }
}

const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>";

/// Whether EXTERNAL is offered.
async fn offers(actor: &mut Actor) -> bool {
    actor.write(HEADER.as_bytes()).await.unwrap();
    let features = actor.features().await.unwrap();
    let classic = features.get_child("mechanisms", SASL).unwrap();
    let sasl2 = features.get_child("authentication", "urn:xmpp:sasl:2").unwrap();
    let [classic, sasl2] = [classic, sasl2].map(|list| list.children().any(|one| one.text() == "EXTERNAL"));
    assert_eq!(classic, sasl2);
    classic
}

/// Logs in with EXTERNAL as RFC 6120 has it. What was said instead of success is given back.
async fn external(actor: &mut Actor, authzid: &str) -> Result<(), String> {
    if !offers(actor).await {
        return Err("not offered".to_owned());
    }
    let message = if authzid.is_empty() { "=".to_owned() } else { STANDARD.encode(authzid) };
    let answer = ask(actor, &format!("<auth xmlns='{SASL}' mechanism='EXTERNAL'>{message}</auth>")).await;
    if !answer.contains("<success") {
        return Err(answer);
    }
    actor.write(HEADER.as_bytes()).await.unwrap();
    actor.features().await.unwrap();
    Ok(())
}

#[tokio::test]
async fn a_registered_certificate_lets_in_until_it_is_disabled() {
    let stage = Stage::build("registered", None).await;
    let (phone, other) = (Made::own(), Made::own());
    let mut juliet = stage.juliet().await;
    assert!(!offers(&mut stage.dial(Some(&phone)).await).await, "nobody has registered any, so nobody is asked");
    assert!(ask(&mut juliet, &phone.append("Phone", "")).await.contains("result"));

    assert!(!offers(&mut stage.dial(None).await).await);
    assert!(!offers(&mut stage.dial(Some(&other)).await).await);
    stage.dial(None).await.authenticate("juliet", "secret", None).await.unwrap();
    stage.dial(Some(&other)).await.authenticate("juliet", "secret", None).await.unwrap();

    for authzid in ["", "juliet@localhost"] {
        let mut actor = stage.dial(Some(&phone)).await;
        external(&mut actor, authzid).await.unwrap();
        actor.bind(Some("phone")).await.unwrap();
        assert_eq!(actor.full_jid, "juliet@localhost/phone");
    }
    for authzid in ["romeo@localhost", "nobody@localhost", "juliet@elsewhere", "juliet@localhost/phone", "localhost"] {
        let refused = external(&mut stage.dial(Some(&phone)).await, authzid).await.unwrap_err();
        assert!(refused.contains("<invalid-authzid"), "{authzid}: {refused}");
    }

    let mut actor = stage.dial(Some(&phone)).await;
    external(&mut actor, "").await.unwrap();
    actor.bind(Some("phone")).await.unwrap();
    let list = ask(&mut juliet, "<iq type='get' id='l'><items xmlns='urn:xmpp:saslcert:1'/></iq>").await;
    assert!(list.contains("<resource>phone</resource>"), "{list}");
    let disable = "<iq type='set' id='d'><disable xmlns='urn:xmpp:saslcert:1'><name>Phone</name></disable></iq>";
    assert!(ask(&mut juliet, disable).await.contains("result"));
    let ping = "<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>";
    assert!(ask(&mut actor, ping).await.contains("result"), "whoever is here stays");
    assert_eq!(external(&mut stage.dial(Some(&phone)).await, "").await.unwrap_err(), "not offered");
}

#[tokio::test]
async fn whoever_came_with_a_revoked_certificate_goes_with_all_it_was_given() {
    let stage = Stage::build("revoked", None).await;
    let phone = Made::own();
    let mut juliet = stage.juliet().await;
    assert!(ask(&mut juliet, &phone.append("Phone", "")).await.contains("result"));
    // By SASL2, with a resource and a token.
    let mut actor = stage.dial(Some(&phone)).await;
    actor.write(HEADER.as_bytes()).await.unwrap();
    actor.features().await.unwrap();
    let answer = ask(
        &mut actor,
        &format!(
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='EXTERNAL'><initial-response>=</initial-response>\
             <user-agent id='{CLIENT}'/><bind xmlns='urn:xmpp:bind:0'><tag>Phone</tag></bind>\
             <request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/></authenticate>"
        ),
    )
    .await;
    let token = answer.split_once("token=").unwrap().1.split(['"', '\'']).nth(1).unwrap().to_owned();
    let by_token = Sasl2 {
        client: Some(CLIENT),
        token: Some(&token),
        bind: Some("<tag>Phone</tag>"),
        beside: "<fast xmlns='urn:xmpp:fast:0'/>",
        behind: "",
    };
    let mut again = stage.dial(None).await;
    again.log_in_with("juliet", "", &by_token).await.unwrap();
    assert!(next(&mut again).await.contains("<success"));
    assert!(ends(&mut actor).await, "its client has come back");
    let clients = ask(&mut juliet, "<iq type='get' id='c'><list xmlns='urn:xmpp:cam:0'/></iq>").await;
    assert!(clients.contains("EXTERNAL") && clients.contains("normal"), "{clients}");
    // It knows no password, so it cannot change it.
    let change = "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>juliet</username>\
                  <password>new</password></query></iq>";
    assert!(ask(&mut again, change).await.contains("<not-authorized"));

    let revoke = "<iq type='set' id='r'><revoke xmlns='urn:xmpp:saslcert:1'><name>Phone</name></revoke></iq>";
    assert!(ask(&mut juliet, revoke).await.contains("result"));
    assert!(ends(&mut again).await, "the token stood for the certificate");
    assert_eq!(external(&mut stage.dial(Some(&phone)).await, "").await.unwrap_err(), "not offered");
    match stage.dial(None).await.log_in_with("juliet", "", &by_token).await {
        Err(LoginError::Refused(answer)) => assert!(String::from(&*answer).contains("<not-authorized")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_bot_reads_the_list_and_changes_nothing() {
    let stage = Stage::build("bot", None).await;
    let (bot, other) = (Made::own(), Made::own());
    let mut juliet = stage.juliet().await;
    assert!(ask(&mut juliet, &bot.append("Bot", "<no-cert-management/>")).await.contains("result"));
    let mut actor = stage.dial(Some(&bot)).await;
    external(&mut actor, "").await.unwrap();
    actor.bind(Some("bot")).await.unwrap();
    let list = ask(&mut actor, "<iq type='get' id='l'><items xmlns='urn:xmpp:saslcert:1'/></iq>").await;
    assert!(list.contains("<no-cert-management") && list.contains("Bot"), "{list}");
    for iq in [
        other.append("Other", ""),
        DISABLE.to_owned(),
        REVOKE.to_owned(),
        "<iq type='set' id='r'><revoke xmlns='urn:xmpp:cam:0' id='x'/></iq>".to_owned(),
    ] {
        let answer = ask(&mut actor, &iq).await;
        assert!(answer.contains("<forbidden"), "{answer}");
    }
    // It gains nothing when its certificate is taken away while it is here.
    assert!(ask(&mut juliet, DISABLE).await.contains("result"));
    let answer = ask(&mut actor, &other.append("Other", "")).await;
    assert!(answer.contains("<forbidden"), "{answer}");
}

/// Logs in with EXTERNAL by SASL2, asking for a token and for what is said. What was answered is given back.
async fn external2(actor: &mut Actor, beside: &str) -> String {
    let answer = authenticate2(actor, beside).await;
    assert!(answer.contains("<success"), "{answer}");
    answer
}

async fn authenticate2(actor: &mut Actor, beside: &str) -> String {
    actor.write(HEADER.as_bytes()).await.unwrap();
    actor.features().await.unwrap();
    ask(
        actor,
        &format!(
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='EXTERNAL'><initial-response>=</initial-response>\
             <user-agent id='{CLIENT}'/>{beside}\
             <request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/></authenticate>"
        ),
    )
    .await
}

fn token_in(success: &str) -> String {
    success.split_once("token=").unwrap().1.split(['"', '\'']).nth(1).unwrap().to_owned()
}

fn by_token<'a>(token: &'a str, bind: Option<&'a str>) -> Sasl2<'a> {
    Sasl2 { client: Some(CLIENT), token: Some(token), bind, beside: "<fast xmlns='urn:xmpp:fast:0'/>", behind: "" }
}

#[tokio::test]
async fn whoever_is_on_the_way_in_with_a_revoked_certificate_goes_too() {
    let stage = Stage::build("underway", None).await;
    let bot = Made::own();
    let mut juliet = stage.juliet().await;
    assert!(ask(&mut juliet, &bot.append("Bot", "")).await.contains("result"));
    let (mut first, mut second) = (stage.dial(Some(&bot)).await, stage.dial(Some(&bot)).await);
    external(&mut first, "").await.unwrap();
    let token = token_in(&external2(&mut second, "").await);
    // It has the token, and has come back with it, but not yet bound anything.
    let mut third = stage.dial(None).await;
    third.log_in_with("juliet", "", &by_token(&token, None)).await.unwrap();
    assert!(next(&mut third).await.contains("<success"));
    assert!(next(&mut second).await.contains("features"));
    assert!(ask(&mut juliet, REVOKE).await.contains("result"));
    for actor in [&mut first, &mut second, &mut third] {
        let _whatever_it_is_told = actor.bind(Some("bot")).await;
        assert!(ends(actor).await);
    }
    assert!(stage.house.router.sessions.of("juliet@localhost").len() <= 1);
    assert!(stage.dial(None).await.log_in_with("juliet", "", &by_token(&token, None)).await.is_err());
}

#[tokio::test]
async fn a_certificate_counts_for_no_login_but_the_one_it_brings() {
    let (trusted, memory) = (authority(), store::Memory::new());
    let control = memory.control();
    let stage =
        Stage::build_on("refused-late", Some(&trusted), World { store: Arc::new(memory), ..World::alone() }).await;
    stage.house.accounts.create(&BareJid::new("juliet@localhost").unwrap(), "secret", 0).await.unwrap();
    stage.house.accounts.create(&BareJid::new("romeo@localhost").unwrap(), "secret", 0).await.unwrap();
    let made = Made::new(&["juliet@localhost/balcony"], Some(&trusted), (2020, 2120));
    let mut actor = stage.dial(Some(&made)).await;
    control.break_writes(Some(store::Fault::new("full")));
    let refused = authenticate2(&mut actor, "").await;
    assert!(refused.contains("<temporary-auth-failure"), "{refused}");
    control.break_writes(None);
    let message = STANDARD.encode("\0romeo\0secret");
    let answer = ask(&mut actor, &format!("<auth xmlns='{SASL}' mechanism='PLAIN'>{message}</auth>")).await;
    assert!(answer.contains("<success"), "{answer}");
    actor.write(HEADER.as_bytes()).await.unwrap();
    actor.features().await.unwrap();
    actor.bind(Some("orchard")).await.unwrap();
    assert_eq!(actor.full_jid, "romeo@localhost/orchard", "the certificate is for juliet, and for her balcony");
}

#[tokio::test]
async fn a_token_is_for_no_other_resource_than_the_certificate() {
    let trusted = authority();
    let stage = Stage::build("token", Some(&trusted)).await;
    let made = Made::new(&["juliet@localhost/balcony"], Some(&trusted), (2020, 2120));
    let token = token_in(&external2(&mut stage.dial(Some(&made)).await, "").await);
    let mut actor = stage.dial(None).await;
    actor.log_in_with("juliet", "", &by_token(&token, Some("<tag>Chamber</tag>"))).await.unwrap();
    let success = next(&mut actor).await;
    assert!(success.contains(">juliet@localhost/balcony<"), "{success}");
    let mut actor = stage.dial(None).await;
    actor.log_in_with("juliet", "", &by_token(&token, None)).await.unwrap();
    assert!(next(&mut actor).await.contains("<success"));
    match actor.bind(Some("chamber")).await {
        Err(LoginError::Refused(answer)) => assert!(String::from(&*answer).contains("<not-allowed"), "{answer:?}"),
        other => panic!("{other:?}"),
    }
    actor.bind(None).await.unwrap();
    assert_eq!(actor.full_jid, "juliet@localhost/balcony");
    // Nor for more than the certificate is good for.
    let change = "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>juliet</username>\
                  <password>new</password></query></iq>";
    assert!(ask(&mut actor, change).await.contains("<not-authorized"));
}

#[tokio::test]
async fn a_token_ends_with_the_trust_in_the_authority() {
    let store: Arc<dyn store::Store> = Arc::new(store::Memory::new());
    let world = || World { store: Arc::clone(&store), ..World::alone() };
    let trusted = authority();
    let stage = Stage::build_on("trusted", Some(&trusted), world()).await;
    stage.house.accounts.create(&BareJid::new("juliet@localhost").unwrap(), "secret", 0).await.unwrap();
    let made = Made::new(&["juliet@localhost"], Some(&trusted), (2020, 2120));
    let token = token_in(&external2(&mut stage.dial(Some(&made)).await, "").await);
    stage.dial(None).await.log_in_with("juliet", "", &by_token(&token, None)).await.unwrap();
    drop(stage);
    let stage = Stage::build_on("distrusted", None, world()).await;
    assert!(stage.dial(None).await.log_in_with("juliet", "", &by_token(&token, None)).await.is_err());
}

#[tokio::test]
async fn a_client_is_sent_away_with_its_certificate() {
    let trusted = authority();
    let stage = Stage::build("sent-away", Some(&trusted)).await;
    let mut juliet = stage.juliet().await;
    let registered = Made::own();
    assert!(ask(&mut juliet, &registered.append("Bot", "")).await.contains("result"));
    let vouched_for = Made::new(&["juliet@localhost"], Some(&trusted), (2020, 2120));
    for (made, said) in [(registered, "result"), (vouched_for, "<service-unavailable")] {
        let mut actor = stage.dial(Some(&made)).await;
        external2(&mut actor, "<bind xmlns='urn:xmpp:bind:0'><tag>Phone</tag></bind>").await;
        let clients = ask(&mut juliet, "<iq type='get' id='c'><list xmlns='urn:xmpp:cam:0'/></iq>").await;
        let its = clients.split("<client ").find(|client| client.contains("EXTERNAL")).unwrap();
        let id = its.split_once(" id=").or_else(|| its.split_once("id=")).unwrap().1.split(['"', '\'']).nth(1).unwrap();
        let answer =
            ask(&mut juliet, &format!("<iq type='set' id='r'><revoke xmlns='urn:xmpp:cam:0' id='{id}'/></iq>")).await;
        assert!(answer.contains(said), "{answer}");
        assert!(ends(&mut actor).await);
    }
}

#[tokio::test]
async fn a_name_comes_to_its_next_owner_without_the_certificates_of_the_one_before() {
    let store: Arc<dyn store::Store> = Arc::new(store::Memory::new());
    let world = || World { store: Arc::clone(&store), ..World::alone() };
    let account = BareJid::new("juliet@localhost").unwrap();
    let phone = Made::own();
    let stage = Stage::build_on("before", None, world()).await;
    stage.house.accounts.create(&account, "secret", 0).await.unwrap();
    assert!(ask(&mut stage.juliet().await, &phone.append("Phone", "")).await.contains("result"));
    // The house falls down in the middle of it.
    assert!(stage.house.accounts.remove(&account).await.unwrap());
    drop(stage);

    let stage = Stage::build_on("after", None, world()).await;
    assert!(stage.house.accounts.create(&account, "secret", 0).await.is_err(), "there are things in it still");
    stage.house.finish_removals().await.unwrap();
    stage.house.accounts.create(&account, "secret", 0).await.unwrap();
    assert_eq!(external(&mut stage.dial(Some(&phone)).await, "juliet@localhost").await.unwrap_err(), "not offered");
}

#[tokio::test]
async fn more_certificates_than_are_read_are_not_allowed() {
    for (count, is_fine) in [(100, true), (101, false)] {
        let text = format!("[[host]]\ndomain = \"localhost\"\n[c2s]\nclient_certificates_per_account_max = {count}\n");
        let config = Config::parse(&text, None).unwrap();
        assert_eq!(House::rehearse(&config).await.is_ok(), is_fine, "{count}");
    }
}

#[tokio::test]
async fn an_authority_vouches_for_the_addresses_it_has_signed() {
    let (trusted, unknown) = (authority(), authority());
    let stage = Stage::build("vouched", Some(&trusted)).await;
    let years = (2020, 2120);
    let made = |addresses: &[&str]| Made::new(addresses, Some(&trusted), years);

    let one = made(&["juliet@localhost"]);
    for (authzid, said) in [("", ""), ("juliet@localhost", ""), ("romeo@localhost", "<invalid-authzid")] {
        let outcome = external(&mut stage.dial(Some(&one)).await, authzid).await;
        assert!(outcome.as_ref().err().map_or("", |said| said).contains(said) && outcome.is_ok() == said.is_empty());
    }
    let two = made(&["juliet@localhost", "romeo@localhost"]);
    for (authzid, said) in [("", "<invalid-authzid"), ("juliet@localhost", ""), ("romeo@localhost", "")] {
        let outcome = external(&mut stage.dial(Some(&two)).await, authzid).await;
        assert!(outcome.as_ref().err().map_or("", |said| said).contains(said) && outcome.is_ok() == said.is_empty());
    }
    for worthless in [
        made(&["nobody@localhost"]),
        made(&["juliet@elsewhere"]),
        made(&[]),
        Made::new(&["juliet@localhost"], Some(&unknown), years),
        Made::new(&["juliet@localhost"], None, years),
        Made::new(&["juliet@localhost"], Some(&trusted), (2020, 2021)),
        Made::new(&["juliet@localhost"], Some(&trusted), (2119, 2120)),
    ] {
        assert_eq!(external(&mut stage.dial(Some(&worthless)).await, "").await.unwrap_err(), "not offered");
    }
}

#[tokio::test]
async fn a_certificate_for_one_resource_is_for_no_other() {
    let trusted = authority();
    let stage = Stage::build("resource", Some(&trusted)).await;
    let made = Made::new(&["juliet@localhost/balcony"], Some(&trusted), (2020, 2120));
    let mut juliet = stage.juliet().await;
    let mut actor = stage.dial(Some(&made)).await;
    external(&mut actor, "").await.unwrap();
    match actor.bind(Some("chamber")).await {
        Err(LoginError::Refused(answer)) => assert!(String::from(&*answer).contains("<not-allowed")),
        other => panic!("{other:?}"),
    }
    actor.bind(None).await.unwrap();
    assert_eq!(actor.full_jid, "juliet@localhost/balcony");
    assert!(ends(&mut juliet).await, "whoever had it goes");
    let refused = external(&mut stage.dial(Some(&made)).await, "juliet@localhost/chamber").await.unwrap_err();
    assert!(refused.contains("<invalid-authzid"), "{refused}");
}

#[tokio::test]
async fn what_is_no_certificate_of_this_account_is_not_taken() {
    let stage = Stage::build("refused", None).await;
    let mut juliet = stage.juliet().await;
    let taken = Made::own();
    assert!(ask(&mut juliet, &taken.append("Phone", "")).await.contains("result"));
    let expired = Made::new(&[], None, (2020, 2021));
    let romeos = Made::new(&["romeo@localhost"], None, (2020, 2120));
    for (iq, said) in [
        (taken.append("Tablet", ""), "<conflict"),
        (Made::own().append("Phone", ""), "<conflict"),
        (expired.append("Old", ""), "<not-acceptable"),
        (romeos.append("Romeo's", ""), "<not-acceptable"),
        (taken.append("", ""), "<bad-request"),
        (taken.append(&"x".repeat(257), ""), "<bad-request"),
    ] {
        let answer = ask(&mut juliet, &iq).await;
        assert!(answer.contains(said), "{said}: {answer}");
    }
    for (name, certificate, said) in [
        ("A", STANDARD.encode("not X.509"), "<bad-request"),
        ("B", "===".to_owned(), "<bad-request"),
        ("C", STANDARD.encode([0; 16 * 1024 + 1]), "<not-acceptable"),
        ("D", String::new(), "<bad-request"),
    ] {
        let iq = format!(
            "<iq type='set' id='a'><append xmlns='urn:xmpp:saslcert:1'><name>{name}</name>\
             <x509cert>{certificate}</x509cert></append></iq>"
        );
        let answer = ask(&mut juliet, &iq).await;
        assert!(answer.contains(said), "{name}: {answer}");
    }
    for number in 1..16 {
        assert!(ask(&mut juliet, &Made::own().append(&number.to_string(), "")).await.contains("result"));
    }
    assert!(ask(&mut juliet, &Made::own().append("one more", "")).await.contains("<resource-constraint"));
}
