//! Tokens over their whole life, in a store of memory.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::runtime::SeededIds;
use crate::tables::certificates::Registered;
use xmpp::sasl::Mechanism;
use xmpp::sasl::token::{is_answered, show};

const CLIENT: &str = "d4565fa7-4d72-4749-b3d3-740edbf87770";
const OTHER: &str = "00000000-4d72-4749-b3d3-740edbf87770";
const PASSWORD: Proof = Proof::Mechanism(Mechanism::ScramSha256);

struct World {
    clients: Clients,
    accounts: Arc<Accounts>,
    certificates: Arc<Certificates>,
    juliet: BareJid,
}

async fn world(settings: Settings) -> World {
    let store: Arc<dyn Store> = Arc::new(store::Memory::new());
    let ids: Arc<dyn Ids> = Arc::new(SeededIds::new(1));
    let accounts = Arc::new(Accounts::load(Arc::clone(&store), Arc::clone(&ids)).await.unwrap());
    let juliet = BareJid::new("juliet@capulet.lit").unwrap();
    accounts.create(&juliet, "password", 0).await.unwrap();
    let certificates = Arc::new(Certificates::load(Arc::clone(&store)).await.unwrap());
    let registered = Arc::clone(&certificates);
    let clients = Clients::load(store, ids, Arc::clone(&accounts), registered, settings).await.unwrap();
    World { clients, accounts, certificates, juliet }
}

fn agent(id: &str) -> UserAgent {
    UserAgent { id: Some(id.into()), software: Some("Balcony".into()), device: None }
}

impl World {
    async fn enter(&self, id: &str, proof: Proof, wanted: Option<TokenMechanism>, now: u64) -> Option<String> {
        let entered =
            self.clients.entered(&self.juliet, &agent(id), (proof, None), wanted, now).await.unwrap().unwrap();
        entered.token.map(|token| token.secret)
    }

    async fn check(
        &self,
        id: &str,
        token: &str,
        count: Option<u32>,
        invalidate: bool,
        now: u64,
    ) -> Result<(), Failure> {
        self.check_as(TokenMechanism::Exporter, id, token, count, invalidate, now).await
    }

    async fn check_as(
        &self,
        mechanism: TokenMechanism,
        id: &str,
        token: &str,
        count: Option<u32>,
        invalidate: bool,
        now: u64,
    ) -> Result<(), Failure> {
        let shown = Shown::parse(mechanism, &show("juliet", token, b"channel"), b"channel").unwrap();
        let checked = self.clients.check(&self.juliet, id, &shown, count, invalidate, now).await.unwrap();
        checked.map(|checked| assert!(is_answered(&checked.answer, token, b"channel")))
    }
}

const EXPR: Option<TokenMechanism> = Some(TokenMechanism::Exporter);

fn token_proof(invalidate: bool) -> Proof {
    Proof::Token { mechanism: TokenMechanism::Exporter, invalidate }
}

#[tokio::test]
async fn a_token_is_of_one_client_and_one_mechanism() {
    let world = world(Settings::default()).await;
    let token = world.enter(CLIENT, PASSWORD, EXPR, 1).await.unwrap();
    assert_eq!(world.check(CLIENT, &token, None, false, 2).await, Ok(()));
    assert_eq!(world.check(CLIENT, &token, None, false, 2).await, Ok(()), "again and again");
    assert_eq!(world.check(OTHER, &token, None, false, 2).await, Err(Failure::NotAuthorized));
    let weaker = world.check_as(TokenMechanism::Unbound, CLIENT, &token, None, false, 2).await;
    assert_eq!(weaker, Err(Failure::NotAuthorized));
    let wrong = world.check(CLIENT, &format!("{token}x"), None, false, 2).await;
    assert_eq!(wrong, Err(Failure::NotAuthorized));
    assert_eq!(world.check(CLIENT, &token, None, false, 31 * DAY).await, Err(Failure::CredentialsExpired));
}

#[tokio::test]
async fn the_one_before_is_good_until_the_next_is_used() {
    let world = world(Settings::default()).await;
    let first = world.enter(CLIENT, PASSWORD, EXPR, 1).await.unwrap();
    assert_eq!(world.check(CLIENT, &first, None, false, 2).await, Ok(()));
    assert_eq!(world.enter(CLIENT, token_proof(false), None, 2).await, None, "it is young");
    let second = world.enter(CLIENT, token_proof(false), None, 2 * DAY).await.unwrap();
    assert_ne!(first, second);
    let third = world.enter(CLIENT, token_proof(false), None, 2 * DAY).await.unwrap();
    assert_eq!(world.check(CLIENT, &second, None, false, 2 * DAY).await, Err(Failure::NotAuthorized), "never used");
    assert_eq!(world.check(CLIENT, &first, None, false, 2 * DAY).await, Ok(()));
    assert_eq!(world.check(CLIENT, &third, None, false, 2 * DAY).await, Ok(()));
    assert_eq!(world.check(CLIENT, &first, None, false, 2 * DAY).await, Err(Failure::NotAuthorized));
}

#[tokio::test]
async fn what_was_counted_does_not_come_again() {
    let world = world(Settings::default()).await;
    let token = world.enter(CLIENT, PASSWORD, EXPR, 1).await.unwrap();
    assert_eq!(world.check(CLIENT, &token, Some(1), false, 2).await, Ok(()));
    for replayed in [0, 1] {
        assert_eq!(world.check(CLIENT, &token, Some(replayed), false, 2).await, Err(Failure::NotAuthorized));
    }
    assert_eq!(world.check(CLIENT, &token, Some(7), false, 2).await, Ok(()));
    assert_eq!(world.check(CLIENT, &token, Some(6), false, 2).await, Err(Failure::NotAuthorized));
}

#[tokio::test]
async fn a_token_ends_when_its_client_or_the_account_wants_it() {
    let world = world(Settings::default()).await;
    let token = world.enter(CLIENT, PASSWORD, EXPR, 1).await.unwrap();
    assert_eq!(world.check(CLIENT, &token, None, true, 2).await, Ok(()));
    assert_eq!(world.check(CLIENT, &token, None, false, 2).await, Err(Failure::NotAuthorized));

    let token = world.enter(CLIENT, PASSWORD, EXPR, 3).await.unwrap();
    world.accounts.set_password(&world.juliet, "another").await.unwrap();
    assert_eq!(world.check(CLIENT, &token, None, false, 4).await, Err(Failure::NotAuthorized), "another password");
    let (_, client) = world.clients.list(&world.juliet, 4).await.unwrap().remove(0);
    assert!(client.password.is_none() && client.given.is_none(), "nothing of it is good: {client:?}");

    let token = world.enter(CLIENT, PASSWORD, EXPR, 5).await.unwrap();
    let name = world.clients.name(&world.juliet, CLIENT);
    assert!(world.clients.find(&world.juliet, &name).await.unwrap().unwrap().password.is_some());
    world.clients.forget(&world.juliet, &name).await.unwrap();
    assert_eq!(world.check(CLIENT, &token, None, false, 6).await, Err(Failure::NotAuthorized), "revoked");
    assert_eq!(world.clients.find(&world.juliet, &name).await.unwrap(), None);
    let on_its_way = (token_proof(false), None);
    let entered = world.clients.entered(&world.juliet, &agent(CLIENT), on_its_way, None, 6).await.unwrap();
    assert_eq!(entered.unwrap_err(), Failure::NotAuthorized, "who came by it and was forgotten meanwhile");
    assert!(!world.clients.is_known(&world.juliet, &name).await.unwrap());
}

#[tokio::test]
async fn who_comes_back_soon_is_not_written_down_again() {
    let world = world(Settings::default()).await;
    let token = world.enter(CLIENT, PASSWORD, EXPR, 1).await.unwrap();
    world.check(CLIENT, &token, None, false, 2).await.unwrap();
    for (now, last_seen) in [(2, 1), (SEEN_AGAIN, 1), (SEEN_AGAIN + 1, SEEN_AGAIN + 1)] {
        world.enter(CLIENT, token_proof(false), None, now).await;
        let (_, client) = world.clients.list(&world.juliet, now).await.unwrap().remove(0);
        assert_eq!((client.first_seen, client.last_seen), (1, last_seen), "at {now}");
    }
}

#[tokio::test]
async fn clients_are_bounded_and_forgotten() {
    let settings = Settings { clients_per_account_max: 3, days_max: 10, ..Settings::default() };
    let world = world(settings).await;
    let id = |number: u64| format!("{number:08}-4d72-4749-b3d3-740edbf87770");
    for number in 1..=5 {
        world.enter(&id(number), PASSWORD, None, number).await;
    }
    let seen = |clients: Vec<(Box<str>, Client)>| {
        let mut seen: Vec<u64> = clients.iter().map(|(_, client)| client.last_seen).collect();
        seen.sort_unstable();
        seen
    };
    assert_eq!(seen(world.clients.list(&world.juliet, 6).await.unwrap()), [3, 4, 5]);
    assert_eq!(seen(world.clients.list(&world.juliet, 11 * DAY).await.unwrap()), [0_u64; 0]);
    world.enter(&id(9), PASSWORD, None, 11 * DAY).await;
    assert_eq!(seen(world.clients.list(&world.juliet, 11 * DAY).await.unwrap()), [11 * DAY]);
    world.clients.forget_all(&world.juliet).await.unwrap();
    assert!(world.clients.list(&world.juliet, 11 * DAY).await.unwrap().is_empty());
}

#[tokio::test]
async fn names_and_resources_stay_and_tell_nothing() {
    let world = world(Settings::default()).await;
    let (clients, juliet) = (&world.clients, &world.juliet);
    assert_eq!(clients.name(juliet, CLIENT), clients.name(juliet, CLIENT));
    assert_ne!(clients.name(juliet, CLIENT), clients.name(juliet, OTHER));
    assert_ne!(clients.resource(juliet, CLIENT, "a"), clients.resource(juliet, CLIENT, "b"));
    assert!(!clients.resource(juliet, CLIENT, "a").contains("d4565fa7"));
    let other = BareJid::new("romeo@capulet.lit").unwrap();
    assert_ne!(clients.name(juliet, CLIENT), clients.name(&other, CLIENT), "accounts cannot be compared by it");
}

fn certificate(seed: u8, is_vouched_for: bool) -> Certificate {
    let resource = is_vouched_for.then(|| "balcony".into());
    Certificate { fingerprint: [seed; 32], until: 2 * DAY, is_vouched_for, resource }
}

impl World {
    async fn register(&self, seed: u8) {
        let name = seed.to_string().into();
        let der = bytes::Bytes::from_static(b"der");
        let one = Registered { name, fingerprint: [seed; 32], until: 2 * DAY, may_manage: true, der };
        self.certificates.add(&self.juliet, &one, 8, 0).await.unwrap();
    }

    async fn enter_with(&self, proof: Proof, certificate: &Certificate, now: u64) -> String {
        let shown = (proof, Some(certificate.clone()));
        let entered = self.clients.entered(&self.juliet, &agent(CLIENT), shown, EXPR, now).await.unwrap().unwrap();
        entered.token.unwrap().secret
    }

    /// What the token was given for.
    async fn stands_for(&self, token: &str) -> Result<Option<Certificate>, Failure> {
        let shown = Shown::parse(TokenMechanism::Exporter, &show("juliet", token, b"channel"), b"channel").unwrap();
        let checked = self.clients.check(&self.juliet, CLIENT, &shown, None, false, 1).await.unwrap();
        checked.map(|checked| checked.certificate)
    }
}

const EXTERNAL: Proof = Proof::Mechanism(Mechanism::External);

#[tokio::test]
async fn a_token_got_with_a_certificate_ends_with_it() {
    let world = world(Settings::default()).await;
    let phone = certificate(7, false);
    world.register(7).await;
    let token = world.enter_with(EXTERNAL, &phone, 0).await;
    assert_eq!(world.stands_for(&token).await, Ok(Some(phone.clone())));
    let another = world.enter_with(token_proof(false), &phone, DAY).await;
    assert_eq!(world.check(CLIENT, &another, None, false, 2 * DAY).await, Err(Failure::CredentialsExpired));
    assert_eq!(world.stands_for(&another).await, Ok(Some(phone.clone())), "and so does what it got by that");

    // One commit ends all that was given for it.
    let listed = async || world.clients.list(&world.juliet, 1).await.unwrap().remove(0).1;
    assert!(listed().await.used.is_some() && listed().await.certificate.is_some());
    world.certificates.remove(&world.juliet, "7").await.unwrap().unwrap();
    assert_eq!(world.stands_for(&another).await, Err(Failure::NotAuthorized));
    let client = listed().await;
    assert!(client.used.is_none() && client.given.is_none() && client.certificate.is_none(), "{client:?}");
    let late = world.enter_with(EXTERNAL, &phone, 0).await;
    assert_eq!(world.stands_for(&late).await, Err(Failure::NotAuthorized), "who was on the way in gets no other");
}

#[tokio::test]
async fn a_token_stands_for_that_for_which_it_was_given() {
    let world = world(Settings::default()).await;
    world.register(7).await;
    let by_certificate = world.enter_with(EXTERNAL, &certificate(7, false), 0).await;
    assert!(world.stands_for(&by_certificate).await.unwrap().is_some());
    let by_password = world.enter(CLIENT, PASSWORD, EXPR, 1).await.unwrap();
    world.certificates.remove(&world.juliet, "7").await.unwrap().unwrap();
    assert_eq!(world.stands_for(&by_password).await, Ok(None), "the client has another way in");
    assert_eq!(world.stands_for(&by_certificate).await, Err(Failure::NotAuthorized));

    // That the client knows the password makes no more of a certificate.
    let vouched = certificate(8, true);
    let token = world.enter_with(EXTERNAL, &vouched, 2).await;
    assert_eq!(world.stands_for(&token).await, Ok(Some(vouched)), "with the resource it is for");
}

#[test]
fn rows_written_before_are_read() {
    let issued = Issued { expires: DAY, certificate: Some(certificate(7, true)), ..Issued::nothing() };
    let client = Client { certificate: Some(certificate(7, true)), used: Some(issued), ..Client::new(1) };
    assert_eq!(Client::read(client.render()).unwrap(), client);
    // first byte, two times, two empty texts, no password, a certificate, no tokens
    let mut row = [&[1][..], &[0; 16], &[0; 8], &[0; 9], &[1]].concat();
    row.extend_from_slice(&[0, 0, 0, 32]);
    row.extend_from_slice(&[[7; 32].as_slice(), &5_u64.to_be_bytes(), &[0, 0]].concat());
    let read = Client::read(row.into()).unwrap().certificate.unwrap();
    assert_eq!((read.fingerprint, read.until, read.is_vouched_for), ([7; 32], 5, false));
}
