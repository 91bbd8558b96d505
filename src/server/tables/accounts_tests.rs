//! Opening, checking, changing and closing accounts, on the memory store.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use store::Memory;

use super::*;
use crate::runtime::SeededIds;

const NOW: Timestamp = 1_000_000;

async fn accounts() -> Accounts {
    Accounts::load(Arc::new(Memory::new()), Arc::new(SeededIds::new(1))).await.unwrap()
}

fn jid(text: &str) -> BareJid {
    BareJid::new(text).unwrap()
}

#[tokio::test]
async fn an_account_opens_once_and_its_password_opens_it() {
    let accounts = accounts().await;
    let juliet = jid("juliet@capulet.example");
    assert!(!accounts.exists(&juliet).await.unwrap());
    accounts.create(&juliet, "r0m30", NOW).await.unwrap();
    assert!(accounts.exists(&juliet).await.unwrap());
    assert_eq!(accounts.create(&juliet, "other", NOW).await, Err(AccountError::Exists));

    let table = [
        ("juliet", "capulet.example", "r0m30", true),
        ("JULIET", "capulet.example", "r0m30", true),
        ("juliet", "capulet.example", "other", false),
        ("juliet", "capulet.example", "", false),
        ("juliet", "montague.example", "r0m30", false),
        ("romeo", "capulet.example", "r0m30", false),
        ("not a localpart", "capulet.example", "r0m30", false),
    ];
    for (localpart, domain, password, is_right) in table {
        let found = accounts.check_password(localpart, domain, password).await.unwrap();
        assert_eq!(found, is_right, "{localpart}@{domain} {password}");
    }

    accounts.set_password(&juliet, "new").await.unwrap();
    assert!(accounts.check_password("juliet", "capulet.example", "new").await.unwrap());
    assert!(!accounts.check_password("juliet", "capulet.example", "r0m30").await.unwrap());

    assert!(accounts.remove(&juliet).await.unwrap());
    assert!(!accounts.remove(&juliet).await.unwrap());
    assert!(!accounts.check_password("juliet", "capulet.example", "new").await.unwrap());
    assert_eq!(accounts.set_password(&juliet, "new").await, Err(AccountError::Unknown));
}

#[tokio::test]
async fn keys_are_for_their_hash_and_each_has_its_salt() {
    let accounts = accounts().await;
    accounts.create(&jid("juliet@capulet.example"), "r0m30", NOW).await.unwrap();
    accounts.create(&jid("nurse@capulet.example"), "r0m30", NOW).await.unwrap();
    let mut salts = std::collections::BTreeSet::new();
    for localpart in ["juliet", "nurse"] {
        for hash in Hash::ALL {
            let keys = accounts.keys(localpart, "capulet.example", hash).await.unwrap();
            assert!(keys.verify(hash, "r0m30"));
            assert!(keys.iterations >= 10_000 && keys.salt.len() == SALT_BYTES && keys.stored_key.len() == hash.len());
            salts.insert(keys.salt);
        }
    }
    assert_eq!(salts.len(), 6);
}

#[tokio::test]
async fn who_does_not_exist_looks_like_who_does() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let accounts = Accounts::load(Arc::clone(&store), Arc::new(SeededIds::new(1))).await.unwrap();
    accounts.create(&jid("juliet@capulet.example"), "r0m30", NOW).await.unwrap();
    // The same after a restart, whatever chance gives then.
    let later = Accounts::load(store, Arc::new(SeededIds::new(2))).await.unwrap();
    for hash in Hash::ALL {
        let true_keys = accounts.keys("juliet", "capulet.example", hash).await.unwrap();
        let fake = accounts.keys("romeo", "capulet.example", hash).await.unwrap();
        assert_eq!(fake, later.keys("romeo", "capulet.example", hash).await.unwrap());
        assert_eq!(fake, later.keys("ROMEO", "capulet.example", hash).await.unwrap());
        assert_ne!(fake, accounts.keys("romeo", "montague.example", hash).await.unwrap());
        let shape = |keys: &Keys| (keys.iterations, keys.salt.len(), keys.stored_key.len(), keys.server_key.len());
        assert_eq!(shape(&fake), shape(&true_keys));
        assert_eq!(shape(&accounts.keys("a b", "capulet.example", hash).await.unwrap()), shape(&true_keys));
    }
}

#[tokio::test]
async fn bad_passwords_and_addresses_are_refused() {
    let accounts = accounts().await;
    for password in ["", "a\u{0}b", "bell\u{7}", &"x".repeat(PASSWORD_BYTES_MAX + 1)] {
        let refused = accounts.create(&jid("juliet@capulet.example"), password, NOW).await;
        assert_eq!(refused, Err(AccountError::BadPassword), "{password:?}");
    }
    let refused = accounts.create(&jid("capulet.example"), "r0m30", NOW).await;
    assert_eq!(refused, Err(AccountError::NotAnAccount));
}

#[tokio::test]
async fn a_list_is_of_one_domain_in_order_and_goes_on() {
    let accounts = accounts().await;
    for name in ["nurse@capulet.example", "juliet@capulet.example", "romeo@montague.example", "b@capulet.example.net"] {
        accounts.create(&jid(name), "r0m30", NOW).await.unwrap();
    }
    let names = |listed: Vec<Listed>| listed.into_iter().map(|one| one.account.to_string()).collect::<Vec<_>>();
    let all = accounts.list("capulet.example", None).await.unwrap();
    assert_eq!(all[0].created, NOW);
    assert_eq!(names(all), ["juliet@capulet.example", "nurse@capulet.example"]);
    let rest = accounts.list("capulet.example", Some(&jid("juliet@capulet.example"))).await.unwrap();
    assert_eq!(names(rest), ["nurse@capulet.example"]);
}

#[tokio::test]
async fn an_invitation_opens_one_account_at_its_domain_in_time() {
    let accounts = accounts().await;
    let token = accounts.invite("capulet.example", NOW + 10).await.unwrap();
    assert!(accounts.is_invitation(&token, "capulet.example", NOW).await.unwrap());
    assert!(!accounts.is_invitation(&token, "montague.example", NOW).await.unwrap());
    assert!(!accounts.is_invitation(&token, "capulet.example", NOW + 10).await.unwrap());
    let table = [
        ("romeo@montague.example", token.as_str(), NOW, Err(AccountError::BadInvitation)),
        ("juliet@capulet.example", "guess", NOW, Err(AccountError::BadInvitation)),
        ("juliet@capulet.example", &token, NOW + 10, Ok(())),
        ("nurse@capulet.example", &token, NOW, Err(AccountError::BadInvitation)),
    ];
    for (account, token, now, outcome) in table {
        assert_eq!(accounts.create_invited(&jid(account), "r0m30", token, now).await, outcome, "{account}");
    }
    // A name that is taken does not use the invitation up.
    let token = accounts.invite("capulet.example", NOW + 10).await.unwrap();
    let taken = accounts.create_invited(&jid("juliet@capulet.example"), "r0m30", &token, NOW).await;
    assert_eq!(taken, Err(AccountError::Exists));
    assert!(accounts.is_invitation(&token, "capulet.example", NOW).await.unwrap());
}

#[tokio::test]
async fn a_torn_record_is_a_fault_and_no_panic() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let accounts = Accounts::load(Arc::clone(&store), Arc::new(SeededIds::new(1))).await.unwrap();
    let juliet = jid("juliet@capulet.example");
    accounts.create(&juliet, "r0m30", NOW).await.unwrap();
    let row = store.get(&key(&juliet)).await.unwrap().unwrap();
    for length in 0..row.len() {
        let mut batch = Batch::new();
        batch.put(key(&juliet), row.slice(..length));
        store.commit_durably(batch).await.unwrap();
        accounts.keys("juliet", "capulet.example", Hash::Sha256).await.expect_err("torn");
    }
}

#[tokio::test]
async fn an_account_from_before_sha_512_gets_keys_of_it_once() {
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    let accounts = Accounts::load(Arc::clone(&store), Arc::new(SeededIds::new(1))).await.unwrap();
    let juliet = jid("juliet@capulet.example");
    accounts.create(&juliet, "r0m30", NOW).await.unwrap();
    assert!(!accounts.lacks_keys(&juliet, Hash::Sha512).await.unwrap());
    let record = Record::read(&store.get(&key(&juliet)).await.unwrap().unwrap()).unwrap();
    let mut batch = Batch::new();
    batch.put(key(&juliet), Record { sha512: None, ..record.clone() }.render());
    store.commit_durably(batch).await.unwrap();
    assert!(accounts.lacks_keys(&juliet, Hash::Sha512).await.unwrap());
    let fake = accounts.keys("juliet", "capulet.example", Hash::Sha512).await.unwrap();
    assert!(!fake.verify(Hash::Sha512, "r0m30"));
    let keys = record.sha512.clone().unwrap();
    accounts.add_keys(&juliet, keys.clone()).await.unwrap();
    assert_eq!(accounts.keys("juliet", "capulet.example", Hash::Sha512).await.unwrap(), keys);
    accounts.add_keys(&juliet, Keys { iterations: 1, ..keys.clone() }).await.unwrap();
    assert_eq!(accounts.keys("juliet", "capulet.example", Hash::Sha512).await.unwrap(), keys, "once");
    assert!(accounts.check_password("juliet", "capulet.example", "r0m30").await.unwrap());
}

#[tokio::test]
async fn an_escaped_space_is_not_at_an_end() {
    let accounts = accounts().await;
    for (account, is_fine) in [
        ("d\\27artagnan@musketeers.example", true),
        ("treville\\20captain@musketeers.example", true),
        ("\\20athos@musketeers.example", false),
        ("athos\\20@musketeers.example", false),
    ] {
        let opened = accounts.create(&jid(account), "one for all", NOW).await;
        assert_eq!(opened == Ok(()), is_fine, "{account}");
    }
}

#[tokio::test]
async fn a_name_is_free_when_all_of_who_had_it_is_deleted() {
    let accounts = accounts().await;
    let juliet = jid("juliet@capulet.example");
    accounts.create(&juliet, "r0m30", NOW).await.unwrap();
    assert!(accounts.closing().await.unwrap().is_empty());
    assert!(accounts.remove(&juliet).await.unwrap());
    assert!(!accounts.exists(&juliet).await.unwrap());
    assert_eq!(accounts.closing().await.unwrap(), std::slice::from_ref(&juliet));
    assert_eq!(accounts.create(&juliet, "t1b4lt", NOW).await, Err(AccountError::Exists));
    accounts.closed(&juliet).await.unwrap();
    accounts.create(&juliet, "t1b4lt", NOW).await.unwrap();
}
