//! Likes: many at once, said in both ways, and what becomes of them when things go.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use tokio::task::JoinSet;
use xmpp::Stanza;
use xmpp::limits::Limits;

use super::super::tests::{Actor, Stage};

const ROMEO: &str = "romeo@example.net/orchard";
const JULIET: &str = "juliet@example.com/balcony";
const NURSE: &str = "nurse@example.com/kitchen";
const BLOG: &str = "urn:xmpp:microblog:0";
const SUMMARY: &str = "urn:xmpp:pubsub-attachments:summary:1/urn:xmpp:microblog:0";
const COMMENTS: &str = "urn:xmpp:microblog:0:comments/p";
const ATTACHED: &str = "urn:xmpp:pubsub-attachments:1/xmpp:juliet@example.com?;node=urn%3Axmpp%3Amicroblog%3A0;item=p";

fn attaching(person: &str, inside: &str) -> String {
    format!(
        "<publish node='{ATTACHED}'><item id='{person}'>\
         <attachments xmlns='urn:xmpp:pubsub-attachments:1'>{inside}</attachments></item></publish>"
    )
}

fn commenting(comments: &str, id: &str, title: &str) -> String {
    format!(
        "<publish node='{comments}'><item id='{id}'>\
         <entry xmlns='http://www.w3.org/2005/Atom'><title>{title}</title></entry></item></publish>"
    )
}

/// A post of Juliet's, whose comments are at `service`.
async fn post(juliet: &Actor<'_>, service: &str) {
    let made = juliet.set(service, &format!("<create node='{COMMENTS}'/>")).await;
    assert!(made.contains("type='result'"), "{made}");
    let link = format!(
        "<link rel='replies' title='comments' \
         href='xmpp:{service}?;node=urn%3Axmpp%3Amicroblog%3A0%3Acomments%2Fp'/>"
    );
    let entry = format!("<entry xmlns='http://www.w3.org/2005/Atom'><title>Post</title>{link}</entry>");
    let posted = juliet
        .set("juliet@example.com", &format!("<publish node='{BLOG}'><item id='p'>{entry}</item></publish>"))
        .await;
    assert!(posted.contains("type='result'"), "{posted}");
}

async fn sum(who: &Actor<'_>) -> String {
    who.read().await;
    who.get("juliet@example.com", &format!("<items node='{SUMMARY}'/>")).await
}

async fn hearts(who: &Actor<'_>, service: &str) -> usize {
    who.get(service, &format!("<items node='{COMMENTS}'/>")).await.matches("<title type='text'>♥<").count()
        + who.get(service, &format!("<items node='{COMMENTS}'/>")).await.matches("<title>♥<").count()
}

/// What somebody on another server sends.
async fn from_afar(stage: &Stage, stanza: String) {
    stage.router.from_remote(Stanza::parse(stanza.into(), &Limits::server()).unwrap()).await;
}

/// All of it at once.
async fn at_once(stage: &Stage, stanzas: impl Iterator<Item = String>) {
    let mut all = JoinSet::new();
    for stanza in stanzas {
        let router = Arc::clone(&stage.router);
        let stanza = Stanza::parse(stanza.into(), &Limits::server()).unwrap();
        all.spawn(async move { router.from_remote(stanza).await });
    }
    while let Some(done) = all.join_next().await {
        done.unwrap();
    }
}

/// A thousand people, half of them elsewhere, like and react at once; a third of them take it back at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_likes_at_once_and_the_sum_is_exact() {
    let stage = Stage::new().await;
    let juliet = stage.log_in(JULIET, &[SUMMARY]).await;
    post(&juliet, "juliet@example.com").await;
    let request = |person: usize, inside: String| {
        format!(
            "<iq type='set' id='l' from='p{person}@elsewhere.example/x' to='juliet@example.com'>\
             <pubsub xmlns='http://jabber.org/protocol/pubsub'>{inside}</pubsub></iq>"
        )
    };
    let like = |person: usize| {
        let kinds = ["👷", "🔨", "🔧"];
        let reaction = format!("<noticed/><reactions><reaction>{}</reaction></reactions>", kinds[person % 3]);
        match person % 2 {
            0 => request(person, attaching(&format!("p{person}@elsewhere.example"), &reaction)),
            // The other way of saying it.
            _ => request(person, commenting(COMMENTS, &format!("c{person}"), "♥")),
        }
    };
    let unlike = |person: usize| {
        let id = format!("p{person}@elsewhere.example");
        // Half of them take it back the other way round.
        match person % 4 {
            0 => request(person, format!("<retract node='{ATTACHED}'><item id='{id}'/></retract>")),
            1 => request(person, format!("<retract node='{COMMENTS}'><item id='c{person}'/></retract>")),
            _ => request(person, attaching(&id, "")),
        }
    };
    at_once(&stage, (0..1000).map(like)).await;
    let all = sum(&juliet).await;
    assert!(all.contains("<noticed count='1000'/>"), "{all}");
    // Each third of the even ones reacted in its own way.
    for count in ["<reaction count='167'>👷", "<reaction count='167'>🔧", "<reaction count='166'>🔨"] {
        assert!(all.contains(count), "{all}");
    }
    at_once(&stage, (0..1000).step_by(3).map(unlike)).await;
    let left = sum(&juliet).await;
    assert!(left.contains("<noticed count='666'/>"), "{left}");
    assert!(!left.contains("👷") && left.contains("<reaction count='166'>🔨"), "{left}");
    // Said once at first, and not a thousand times.
    let comments = juliet.get("juliet@example.com", &format!("<items node='{COMMENTS}'/>")).await;
    assert!(comments.contains("<count>666</count>"), "{comments}");
}

#[tokio::test]
async fn a_like_is_one_whichever_way_it_is_said() {
    for service in ["juliet@example.com", "comments.example.com"] {
        let stage = Stage::new().await;
        let (juliet, romeo) = (stage.log_in(JULIET, &[]).await, stage.log_in(ROMEO, &[]).await);
        post(&juliet, service).await;
        // Attached: there is a heart among the comments.
        let done = romeo.set("juliet@example.com", &attaching("romeo@example.net", "<noticed/>")).await;
        assert!(done.contains("type='result'"), "{done}");
        assert!(sum(&romeo).await.contains("<noticed count='1'/>"));
        assert_eq!(hearts(&romeo, service).await, 1);
        // Commented as well: the comment takes the place of the other.
        romeo.set(service, &commenting(COMMENTS, "mine", "♥")).await;
        assert!(sum(&romeo).await.contains("<noticed count='1'/>"));
        assert_eq!(hearts(&romeo, service).await, 1);
        romeo.set(service, &commenting(COMMENTS, "again", "♥")).await;
        assert_eq!(hearts(&romeo, service).await, 1);
        // Words are words.
        romeo.set(service, &commenting(COMMENTS, "word", "I ♥ it")).await;
        assert!(sum(&romeo).await.contains("<noticed count='1'/>"));
        // Taken back in one way it is taken back in the other; and said again.
        romeo.set("juliet@example.com", &attaching("romeo@example.net", "")).await;
        assert!(!sum(&romeo).await.contains("noticed"));
        assert_eq!(hearts(&romeo, service).await, 0);
        romeo.set(service, &commenting(COMMENTS, "c", "♥")).await;
        assert!(sum(&romeo).await.contains("<noticed count='1'/>"));
        // Changed into words it is no like any more; and back.
        romeo.set(service, &commenting(COMMENTS, "c", "Well")).await;
        assert!(!sum(&romeo).await.contains("noticed"));
        romeo.set(service, &commenting(COMMENTS, "c", "♥")).await;
        assert!(sum(&romeo).await.contains("<noticed count='1'/>"));
        // The author removes the comment.
        let gone = juliet.set(service, &format!("<retract node='{COMMENTS}'><item id='c'/></retract>")).await;
        assert!(gone.contains("type='result'"), "{gone}");
        assert!(!sum(&romeo).await.contains("noticed"));
        // Reactions are not touched by any of it.
        let both = "<noticed/><reactions><reaction>🔨</reaction></reactions>";
        romeo.set("juliet@example.com", &attaching("romeo@example.net", both)).await;
        let comments = romeo.get(service, &format!("<items node='{COMMENTS}'/>")).await;
        let id = comments.split("<item id='").find(|item| item.contains('♥') && !item.contains("I ♥")).unwrap();
        let id = id.split('\'').next().unwrap();
        romeo.set(service, &format!("<retract node='{COMMENTS}'><item id='{id}'/></retract>")).await;
        let left = sum(&romeo).await;
        assert!(!left.contains("noticed") && left.contains("<reaction>🔨</reaction>"), "{left}");
    }
}

#[tokio::test]
async fn somebody_elses_post_does_not_take_the_likes() {
    let stage = Stage::new().await;
    let (juliet, nurse, romeo) =
        (stage.log_in(JULIET, &[]).await, stage.log_in(NURSE, &[]).await, stage.log_in(ROMEO, &[]).await);
    post(&juliet, "comments.example.com").await;
    let link = "<link rel='replies' title='comments' \
        href='xmpp:comments.example.com?;node=urn%3Axmpp%3Amicroblog%3A0%3Acomments%2Fp'/>";
    let entry = format!("<entry xmlns='http://www.w3.org/2005/Atom'><title>Mine</title>{link}</entry>");
    nurse.set("nurse@example.com", &format!("<publish node='{BLOG}'><item id='n'>{entry}</item></publish>")).await;
    romeo.set("comments.example.com", &commenting(COMMENTS, "c", "♥")).await;
    assert!(sum(&romeo).await.contains("<noticed count='1'/>"));
    let other = romeo.get("nurse@example.com", &format!("<items node='{SUMMARY}'/>")).await;
    assert!(other.contains("item-not-found"), "{other}");
}

#[tokio::test]
async fn what_is_attached_goes_with_the_item() {
    let stage = Stage::new().await;
    let (juliet, romeo) = (stage.log_in(JULIET, &[]).await, stage.log_in(ROMEO, &[]).await);
    post(&juliet, "juliet@example.com").await;
    juliet.post("q", "other").await;
    romeo.set("juliet@example.com", &attaching("romeo@example.net", "<noticed/>")).await;
    let other = attaching("romeo@example.net", "<noticed/>").replace("item=p", "item=q");
    romeo.set("juliet@example.com", &other).await;
    let both = sum(&romeo).await;
    assert!(both.contains("id='p'") && both.contains("id='q'"), "{both}");
    juliet.set("juliet@example.com", &format!("<retract node='{BLOG}'><item id='p'/></retract>")).await;
    let left = sum(&romeo).await;
    assert!(!left.contains("id='p'") && left.contains("id='q'"), "{left}");
    let attached = romeo.get("juliet@example.com", &format!("<items node='{ATTACHED}'/>")).await;
    assert!(attached.contains("item-not-found"), "{attached}");
    // An item of the same name begins anew.
    juliet.post("p", "again").await;
    romeo.set("juliet@example.com", &attaching("romeo@example.net", "<noticed/>")).await;
    assert!(sum(&romeo).await.contains("id='p'"));
    juliet.own("set", &format!("<purge node='{BLOG}'/>")).await;
    assert!(sum(&romeo).await.contains("item-not-found"));
    juliet.post("p", "third").await;
    let attached = romeo.get("juliet@example.com", &format!("<items node='{ATTACHED}'/>")).await;
    assert!(attached.contains("item-not-found"), "{attached}");
    romeo.set("juliet@example.com", &attaching("romeo@example.net", "<noticed/>")).await;
    assert!(sum(&romeo).await.contains("<noticed count='1'/>"));
    juliet.own("set", &format!("<delete node='{BLOG}'/>")).await;
    assert!(sum(&romeo).await.contains("item-not-found"));
    juliet.post("p", "fourth").await;
    assert!(sum(&romeo).await.contains("item-not-found"));
}

#[tokio::test]
async fn who_may_not_read_may_not_like_nor_see_likes() {
    let stage = Stage::new().await;
    let (juliet, romeo) = (stage.log_in(JULIET, &[]).await, stage.log_in(ROMEO, &[]).await);
    post(&juliet, "juliet@example.com").await;
    romeo.set("juliet@example.com", &attaching("romeo@example.net", "<noticed/>")).await;
    let shut = |affiliation: &str| {
        format!(
            "<affiliations node='{BLOG}'><affiliation jid='romeo@example.net' affiliation='{affiliation}'/></affiliations>"
        )
    };
    juliet.own("set", &shut("outcast")).await;
    assert!(sum(&romeo).await.contains("forbidden"));
    romeo.read().await;
    let refused = romeo.set("juliet@example.com", &attaching("romeo@example.net", "")).await;
    assert!(refused.contains("forbidden"), "{refused}");
    let refused =
        romeo.set("juliet@example.com", &attaching("romeo@example.net", "").replace("item=p", "item=none")).await;
    assert!(refused.contains("forbidden"), "whether there is such an item is not said: {refused}");
    // What is one's own may be taken back.
    let withdrawn = format!("<retract node='{ATTACHED}'><item id='romeo@example.net'/></retract>");
    let withdrawn = romeo.set("juliet@example.com", &withdrawn).await;
    assert!(withdrawn.contains("forbidden") || withdrawn.contains("type='result'"), "{withdrawn}");
    juliet.own("set", &shut("none")).await;
    assert!(sum(&romeo).await.contains("<summary"));
    let form = |model: &str| {
        format!(
            "<configure node='{BLOG}'><x xmlns='jabber:x:data' type='submit'>\
             <field var='pubsub#access_model'><value>{model}</value></field></x></configure>"
        )
    };
    for (model, condition) in
        [("whitelist", "closed-node"), ("presence", "presence-subscription-required"), ("authorize", "not-subscribed")]
    {
        juliet.own("set", &form(model)).await;
        assert!(sum(&romeo).await.contains(condition), "{model}");
        let refused = romeo.set("juliet@example.com", &attaching("romeo@example.net", "<noticed/>")).await;
        assert!(refused.contains(condition), "{model}: {refused}");
        let refused =
            romeo.set("juliet@example.com", &format!("<subscribe node='{SUMMARY}' jid='romeo@example.net'/>")).await;
        assert!(refused.contains(condition), "{model}: {refused}");
    }
    juliet.own("set", &form("open")).await;
    let done = romeo.set("juliet@example.com", &attaching("romeo@example.net", "<noticed/>")).await;
    assert!(done.contains("type='result'"), "{done}");
}

#[tokio::test(start_paused = true)]
async fn watchers_are_told_at_once_and_then_once_in_a_while() {
    let stage = Stage::new().await;
    let (juliet, romeo) = (stage.log_in(JULIET, &[SUMMARY]).await, stage.log_in(ROMEO, &[]).await);
    post(&juliet, "juliet@example.com").await;
    let followed = format!("<subscribe node='{SUMMARY}' jid='romeo@example.net'/>");
    romeo.set("juliet@example.com", &attaching("romeo@example.net", "<noticed/>")).await;
    romeo.set("juliet@example.com", &followed).await;
    let told = |stanzas: Vec<String>| stanzas.into_iter().filter(|one| one.contains("<summary")).collect::<Vec<_>>();
    assert_eq!(told(juliet.read().await).len(), 1);
    for person in 0..50 {
        let inside = attaching(&format!("p{person}@elsewhere.example"), "<noticed/>");
        let stanza = format!(
            "<iq type='set' id='l' from='p{person}@elsewhere.example/x' to='juliet@example.com'>\
             <pubsub xmlns='http://jabber.org/protocol/pubsub'>{inside}</pubsub></iq>"
        );
        from_afar(&stage, stanza).await;
    }
    assert!(told(romeo.read().await).len() <= 1);
    tokio::time::advance(std::time::Duration::from_secs(3)).await;
    for reader in [&juliet, &romeo] {
        let last = told(reader.read().await);
        assert_eq!(last.len(), 1, "{last:?}");
        assert!(last[0].contains("<noticed count='51'/>"), "{}", last[0]);
    }
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    assert!(told(juliet.read().await).is_empty(), "nothing new");
}

#[tokio::test]
async fn nodes_of_likes_are_not_listed_and_do_not_count() {
    let stage = Stage::new().await;
    let (juliet, romeo) = (stage.log_in(JULIET, &[]).await, stage.log_in(ROMEO, &[]).await);
    for id in ["a", "b", "p"] {
        juliet.post(id, "x").await;
        let inside = attaching("romeo@example.net", "<noticed/>").replace("item=p", &format!("item={id}"));
        romeo.set("juliet@example.com", &inside).await;
    }
    let items = "<iq type='get' id='d' to='juliet@example.com'>\
        <query xmlns='http://jabber.org/protocol/disco#items'/></iq>";
    let listed = romeo.ask(items).await;
    assert!(listed.contains(&format!("node='{BLOG}'")) && listed.contains(SUMMARY), "{listed}");
    assert!(!listed.contains("pubsub-attachments:1/"), "{listed}");
}
