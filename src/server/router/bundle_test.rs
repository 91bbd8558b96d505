//! What leaves for many on other servers: who is asked, what is put together, and that everybody gets it once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use proptest::prelude::*;
use xmpp::limits::Limits;
use xmpp::stanza::Kind;
use xmpp::{Jid, Stanza, StanzaError, ns};

use super::{Bundle, SPREAD_BYTES_MAX};
use crate::router::Router;
use crate::router::road::Road;
use crate::runtime::{Clock, SeededIds, SimulatedClock};
use crate::session::interest::Interests;
use crate::session::mailbox::Frame;
use crate::session::{SessionLimits, Sessions};

const TAIL: &str = " from='romeo@here.example' id='1' type='headline'><x xmlns='urn:x'>&lt;</x></message>";

/// A road that keeps what it is given, except for one domain; and where the bytes are that frames share.
#[derive(Default)]
struct Kept(Mutex<Vec<Stanza>>, Mutex<BTreeSet<usize>>);

impl Road for Kept {
    fn send(&self, _local: &str, remote: &str, frame: Frame) -> Result<(), StanzaError> {
        if remote == "closed.example" {
            return Err(StanzaError::remote_server_not_found());
        }
        if let Frame::Addressed { after, .. } = &frame {
            self.1.lock().unwrap().insert(after.as_ptr().addr());
        }
        let mut bytes = Vec::new();
        frame.write(&mut bytes);
        self.0
            .lock()
            .unwrap()
            .push(Stanza::parse(bytes.into(), &Limits { stanza_bytes_max: usize::MAX, ..Limits::server() }).unwrap());
        Ok(())
    }
}

fn stage() -> (Router, Arc<Kept>) {
    let sessions = Sessions::new(SessionLimits { sessions_per_account_max: 1, mailbox_bytes_max: 1 });
    let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new(1));
    let ids = Arc::new(SeededIds::new(1));
    let router = Router::new(["here.example".into()], sessions, Interests::new(1), clock, ids);
    let road = Arc::new(Kept::default());
    router.open_road(Arc::<Kept>::clone(&road));
    (router, road)
}

impl Kept {
    fn take(&self) -> Vec<Stanza> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn jid(text: &str) -> Jid {
    Jid::new(text).unwrap()
}

async fn send(router: &Router, tail: &'static str, is_kept: bool, to: &[Jid]) -> Vec<Jid> {
    let tail = Bytes::from_static(tail.as_bytes());
    let mut bundle = Bundle::message(router, jid("romeo@here.example"), tail, is_kept);
    for to in to {
        bundle.add(to.clone()).await;
    }
    bundle.finish()
}

/// Has the domain answer the question it was asked, with these children of the query.
async fn answer(router: &Router, asked: &Stanza, inside: &str) {
    let (from, to) = (asked.head.to.clone().unwrap(), asked.head.from.clone().unwrap());
    let id = asked.head.id.clone().unwrap();
    let answer = format!(
        "<iq type='result' id='{id}' from='{from}' to='{to}'>\
         <query xmlns='http://jabber.org/protocol/disco#info'>{inside}</query></iq>"
    );
    router.from_remote(Stanza::parse(answer.into(), &Limits::server()).unwrap()).await;
}

const FEATURE: &str = "<feature var='http://jabber.org/protocol/address'/>";
const THREE: &str = "<x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE' type='hidden'>\
    <value>urn:chirrup:multicast:0</value></field><field var='addresses_max'><value>3</value></field></x>";

fn recipients(stanza: &Stanza) -> Vec<Jid> {
    match stanza.content.child("addresses", ns::ADDRESS) {
        None => vec![stanza.head.to.clone().unwrap()],
        Some(list) => {
            let list = list.open().unwrap();
            assert!(list.children().all(|one| one.attr("type") == Some("bcc")), "nobody learns of the others");
            list.children().map(|one| jid(one.attr("jid").unwrap())).collect()
        }
    }
}

#[tokio::test]
async fn a_domain_is_asked_once_and_then_gets_one_stanza_for_many() {
    let (router, road) = stage();
    let to = ["a@there.example", "b@there.example", "c@there.example", "d@there.example/o'", "e@lone.example"].map(jid);
    send(&router, TAIL, false, &to).await;
    let sent = road.take();
    let (asked, told): (Vec<_>, Vec<_>) = sent.into_iter().partition(|one| matches!(one.head.kind, Kind::Iq(_)));
    assert_eq!(told.len(), 5, "nobody waits for the answer");
    let [asked] = asked.as_slice() else { panic!("one domain has several recipients") };
    assert_eq!(asked.head.from, Some(jid("here.example")));
    assert_eq!(asked.head.to, Some(jid("there.example")));

    send(&router, TAIL, false, &to).await;
    assert_eq!(road.take().len(), 5, "asked is asked");

    answer(&router, asked, &format!("{FEATURE}{THREE}")).await;
    send(&router, TAIL, false, &to).await;
    let sent = road.take();
    assert_eq!(sent.len(), 3, "three in one, the fourth alone, and the other domain");
    assert_eq!(sent[0].head.to, Some(jid("there.example")));
    assert_eq!(recipients(&sent[0]), to[..3]);
    assert!(sent[0].content.has("x", "urn:x"));
    assert_eq!(sent[0].head.from, Some(jid("romeo@here.example")));

    let refusal = "<message type='error' from='there.example' to='romeo@here.example'/>";
    router.from_remote(Stanza::parse(refusal.into(), &Limits::server()).unwrap()).await;
    send(&router, TAIL, false, &to).await;
    assert!(road.take().iter().all(|one| one.content.child("addresses", ns::ADDRESS).is_none()), "it refused");
}

#[tokio::test]
async fn a_domain_without_the_feature_gets_one_for_each() {
    let (router, road) = stage();
    let to = ["a@there.example", "b@there.example"].map(jid);
    send(&router, TAIL, false, &to).await;
    let asked = road.take().into_iter().find(|one| matches!(one.head.kind, Kind::Iq(_))).unwrap();
    answer(&router, &asked, "<feature var='urn:other'/>").await;
    send(&router, TAIL, false, &to).await;
    assert_eq!(road.take().iter().flat_map(recipients).collect::<Vec<_>>(), to);
}

#[tokio::test]
async fn what_may_be_stored_is_not_put_together_beyond_what_may_be_stored() {
    let (router, road) = stage();
    let to: Vec<Jid> = (0..20).map(|at| jid(&format!("u{at}@there.example"))).collect();
    send(&router, TAIL, false, &to).await;
    let asked = road.take().into_iter().find(|one| matches!(one.head.kind, Kind::Iq(_))).unwrap();
    answer(&router, &asked, FEATURE).await;
    let body = "x".repeat(SPREAD_BYTES_MAX / 4);
    let tail: &'static str = format!(" from='romeo@here.example'><body>{body}</body></message>").leak();
    send(&router, tail, true, &to).await;
    let sent = road.0.lock().unwrap().iter().map(recipients).collect::<Vec<_>>();
    assert_eq!(sent.concat(), to);
    assert!(sent.iter().all(|one| one.len() <= 4), "{sent:?}");
}

#[tokio::test]
async fn all_frames_share_the_bytes_of_one_rendering() {
    let (router, road) = stage();
    let to: Vec<Jid> = (0..50).map(|at| jid(&format!("u{at}@d{}.example", at % 10))).collect();
    send(&router, TAIL, false, &to).await;
    let told = road.take().into_iter().filter(|one| matches!(one.head.kind, Kind::Message(_)));
    assert_eq!(told.count(), 50);
    assert_eq!(road.1.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn who_cannot_be_reached_is_named() {
    let (router, _road) = stage();
    let to = ["a@closed.example", "b@open.example"].map(jid);
    assert_eq!(send(&router, TAIL, false, &to).await, [jid("a@closed.example")]);
}

proptest! {
    /// Whoever is added gets it exactly once, whatever the servers can do, and no stanza has more than its server takes.
    #[test]
    fn everybody_gets_it_once(users in proptest::collection::btree_set((0..4_usize, 0..40_usize), 0..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (router, road) = stage();
            for domain in ["d0.example", "d1.example"] {
                send(&router, TAIL, false, &[jid(&format!("x@{domain}")), jid(&format!("y@{domain}"))]).await;
                let asked = road.take().into_iter().find(|one| matches!(one.head.kind, Kind::Iq(_))).unwrap();
                answer(&router, &asked, &format!("{FEATURE}{}", if domain == "d0.example" { THREE } else { "" })).await;
            }
            let to: Vec<Jid> = users.iter().map(|(domain, user)| jid(&format!("u{user}@d{domain}.example"))).collect();
            send(&router, TAIL, false, &to).await;
            let mut got = Vec::new();
            for stanza in road.take().iter().filter(|one| matches!(one.head.kind, Kind::Message(_))) {
                let here = recipients(stanza);
                let domain = stanza.head.to.as_ref().unwrap().domain();
                assert!(here.iter().all(|to| to.domain() == domain));
                assert!(here.len() <= if domain == "d0.example" { 3 } else { 20 });
                got.extend(here);
            }
            let (mut got, mut to) = (got.iter().map(Jid::to_string).collect::<Vec<_>>(), to.iter().map(Jid::to_string).collect::<Vec<_>>());
            got.sort_unstable();
            to.sort_unstable();
            assert_eq!(got, to);
        });
    }
}
