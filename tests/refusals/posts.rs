//! Guests who comment and like what, or more than, they should: floods, storms, forged likes and notifications;
//! `docs/refusals.md` is made of the same rows.
//!
//! Each is played against a whole house. Juliet has a blog with a post, `k1`, and comments on it, of which one is hers;
//! Romeo, who is nothing to her, does what the row says. Whoever comes from another server is treated alike.

use std::time::Duration;

use chirrup::config::Config;
use chirrup::house::{House, World};
use xmpp::limits::Limits;
use xmpp::{BareJid, Stanza};

use super::street::Guest;

const BLOG: &str = "urn:xmpp:microblog:0";
const COMMENTS: &str = "urn:xmpp:microblog:0:comments/k1";
const LIKES: &str = "urn:xmpp:pubsub-attachments:1/xmpp:juliet@localhost?;node=urn%3Axmpp%3Amicroblog%3A0;item=k1";
const SUMS: &str = "urn:xmpp:pubsub-attachments:summary:1/urn:xmpp:microblog:0";
const NOTICED: &str = "<attachments xmlns='urn:xmpp:pubsub-attachments:1'><noticed/></attachments>";

/// What Romeo does.
#[derive(Clone, Copy)]
pub enum Act {
    /// Publishes an item with that id and payload in a node of Juliet's.
    Publishes(&'static str, &'static str, &'static str),
    /// The same, with that many kilobytes of text in it.
    PublishesMuch(&'static str, usize),
    /// Asks Juliet's account for something of pubsub.
    Asks(&'static str, &'static str),
    /// The same, of a service.
    AsksAt(&'static str, &'static str, &'static str),
}

use Act::{Asks, AsksAt, Publishes, PublishesMuch};

/// A row.
pub struct Row {
    pub when: &'static str,
    /// What is configured.
    pub policy: &'static str,
    pub does: &'static [Act],
    /// The condition of the error that answers the last of it, and pubsub's; nothing for a result.
    pub told: &'static str,
    /// A node that Juliet reads afterwards, and what she finds in it.
    pub then: Option<(&'static str, &'static str)>,
    pub by: &'static str,
}

const ROW: Row = Row { when: "", policy: "", does: &[], told: "", then: None, by: "" };

macro_rules! entry {
    ($($inside:literal),*) => {
        concat!("<entry xmlns='http://www.w3.org/2005/Atom'>", $($inside,)* "</entry>")
    };
}

const HELLO: &str = entry!("<title>Hello</title>");
const GUESTS: &str = "[pubsub]\nitems_per_minute_max = 3";

pub const ROWS: &[Row] = &[
    Row {
        when: "comments come faster than guests may write them",
        policy: GUESTS,
        does: &[
            Publishes(COMMENTS, "1", HELLO),
            Publishes(COMMENTS, "2", HELLO),
            Publishes(COMMENTS, "3", HELLO),
            Publishes(COMMENTS, "4", HELLO),
        ],
        told: "resource-constraint",
        by: "XEP-0205 4",
        ..ROW
    },
    Row {
        when: "one comment is changed again and again",
        policy: GUESTS,
        does: &[Publishes(COMMENTS, "1", HELLO); 4],
        told: "resource-constraint",
        by: "XEP-0205 4",
        ..ROW
    },
    Row {
        when: "few comments come that are long",
        policy: GUESTS,
        does: &[PublishesMuch("1", 9), PublishesMuch("2", 1)],
        told: "resource-constraint",
        by: "XEP-0205 4",
        ..ROW
    },
    Row {
        when: "somebody likes a post again and again",
        policy: GUESTS,
        does: &[Publishes(LIKES, "romeo@localhost", NOTICED); 4],
        told: "resource-constraint",
        then: Some((SUMS, "<noticed count='1'/>")),
        by: "XEP-0205 4",
    },
    Row {
        when: "somebody says that they like it with many hearts",
        does: &[
            Publishes(COMMENTS, "1", entry!("<title>\u{2665}</title>")),
            Publishes(COMMENTS, "2", entry!("<title>\u{2665}</title>")),
            Publishes(COMMENTS, "3", entry!("<title>\u{2665}</title>")),
        ],
        then: Some((SUMS, "<noticed count='1'/>")),
        by: "XEP-0470 4",
        ..ROW
    },
    Row {
        when: "a like is in the name of somebody else",
        does: &[Publishes(LIKES, "nurse@localhost", NOTICED)],
        told: "bad-request",
        by: "XEP-0470 4.2.3",
        ..ROW
    },
    Row {
        when: "a like is of a post that is not there",
        does: &[Publishes(
            "urn:xmpp:pubsub-attachments:1/xmpp:juliet@localhost?;node=urn%3Axmpp%3Amicroblog%3A0;item=k2",
            "romeo@localhost",
            NOTICED,
        )],
        told: "item-not-found",
        by: "XEP-0470 4.1",
        ..ROW
    },
    Row {
        when: "a like is of something of another service",
        does: &[Publishes(
            "urn:xmpp:pubsub-attachments:1/xmpp:nurse@localhost?;node=urn%3Axmpp%3Amicroblog%3A0;item=k1",
            "romeo@localhost",
            NOTICED,
        )],
        told: "item-not-found",
        by: "XEP-0470 4.1",
        ..ROW
    },
    Row {
        when: "a reaction is a sentence",
        does: &[Publishes(
            LIKES,
            "romeo@localhost",
            "<attachments xmlns='urn:xmpp:pubsub-attachments:1'><reactions><reaction>Buy gold</reaction></reactions>\
             </attachments>",
        )],
        told: "bad-request invalid-payload",
        by: "XEP-0470 6",
        ..ROW
    },
    Row {
        when: "likes are counted by somebody else than the server",
        does: &[Publishes(
            SUMS,
            "k1",
            "<summary xmlns='urn:xmpp:pubsub-attachments:summary:1'><noticed count='1000'/></summary>",
        )],
        told: "item-not-found",
        by: "XEP-0470 4.2.4",
        ..ROW
    },
    Row {
        when: "a comment is no entry",
        does: &[Publishes(COMMENTS, "1", "<tune xmlns='http://jabber.org/protocol/tune'/>")],
        told: "bad-request invalid-payload",
        by: "XEP-0060 7.1.3.6",
        ..ROW
    },
    Row {
        when: "a comment is full of scripts: it is kept as it is, and told of in plain text",
        does: &[Publishes(
            COMMENTS,
            "1",
            entry!(
                "<title type='xhtml'><div xmlns='http://www.w3.org/1999/xhtml'>",
                "<script>steal()</script><b onclick='steal()'>Hello</b></div></title>"
            ),
        )],
        then: Some((
            "urn:chirrup:notifications:0",
            "<title type='text'>romeo@localhost replied to you: steal()Hello</title>",
        )),
        by: "XEP-0277 8",
        ..ROW
    },
    Row {
        when: "another's notifications are read",
        does: &[Asks("get", "<items node='urn:chirrup:notifications:0'/>")],
        told: "item-not-found",
        by: "notifications",
        ..ROW
    },
    Row {
        when: "another is told of what never happened",
        does: &[Publishes("urn:chirrup:notifications:0", "1", HELLO)],
        told: "item-not-found",
        by: "notifications",
        ..ROW
    },
    Row {
        when: "another's timeline is read",
        does: &[Asks("get", "<items node='urn:chirrup:timeline:0'/>")],
        told: "item-not-found",
        by: "timeline",
        ..ROW
    },
    Row {
        when: "a post is listed under a hashtag by somebody else than the server",
        does: &[AsksAt(
            "pubsub.localhost",
            "set",
            "<publish node='tag/verona'><item id='1'><entry xmlns='http://www.w3.org/2005/Atom'/></item></publish>",
        )],
        told: "not-allowed",
        by: "tags",
        ..ROW
    },
];

struct Stage {
    juliet: Guest,
    romeo: Guest,
}

impl Stage {
    async fn new(number: usize, policy: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("chirrup-posts-{}-{number}", std::process::id()));
        let text = format!("data_directory = {:?}\n{policy}\n", folder.display().to_string());
        let house = House::build(Config::parse(&text, None).unwrap(), World::alone()).await.unwrap();
        let _removed = std::fs::remove_dir_all(folder);
        for jid in ["juliet@localhost", "romeo@localhost"] {
            house.accounts.create(&BareJid::new(jid).unwrap(), "secret", 0).await.unwrap();
        }
        let juliet = Guest::new(&house, "juliet@localhost/balcony");
        let stage = Self { juliet, romeo: Guest::new(&house, "romeo@localhost/orchard") };
        let replies = "xmpp:juliet@localhost?;node=urn%3Axmpp%3Amicroblog%3A0%3Acomments%2Fk1";
        let post = format!("<link rel='replies' title='comments' href='{replies}'/>");
        for (node, id, link) in [(BLOG, "k1", &*post), (COMMENTS, "hers", "")] {
            let verb = format!(
                "<publish node='{node}'><item id='{id}'><entry xmlns='http://www.w3.org/2005/Atom'><title>Hello</title>\
                 {link}</entry></item></publish>"
            );
            let said = stage.ask(&stage.juliet, "juliet@localhost", "set", &verb).await;
            assert!(said.contains("type='result'"), "{said}");
        }
        stage
    }

    /// The answer to a request.
    async fn ask(&self, guest: &Guest, to: &str, kind: &str, verb: &str) -> String {
        let iq = format!(
            "<iq type='{kind}' id='ask' to='{to}'><pubsub xmlns='http://jabber.org/protocol/pubsub'>{verb}</pubsub></iq>"
        );
        let stanza = Stanza::parse(iq.into(), &Limits::server()).unwrap();
        guest.house.router.from_session(&guest.session, stanza).await;
        for _ in 0..100 {
            while let Some(stanza) = guest.take() {
                if stanza.head.id.as_deref() == Some("ask") {
                    return String::from_utf8_lossy(&stanza.render()).into_owned();
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{verb}: no answer");
    }

    async fn play(&self, row: &Row) -> Result<(), String> {
        let mut said = String::new();
        for act in row.does {
            let (to, kind, verb) = match *act {
                Publishes(node, id, payload) => {
                    let verb = format!("<publish node='{node}'><item id='{id}'>{payload}</item></publish>");
                    ("juliet@localhost", "set", verb)
                }
                PublishesMuch(id, kilobytes) => {
                    let text = "x".repeat(kilobytes * 1024);
                    let verb = format!(
                        "<publish node='{COMMENTS}'><item id='{id}'><entry xmlns='http://www.w3.org/2005/Atom'>\
                         <title>{text}</title></entry></item></publish>"
                    );
                    ("juliet@localhost", "set", verb)
                }
                Asks(kind, verb) => ("juliet@localhost", kind, verb.to_owned()),
                AsksAt(to, kind, verb) => (to, kind, verb.to_owned()),
            };
            said = self.ask(&self.romeo, to, kind, &verb).await;
        }
        let is_told = match row.told.split_whitespace().collect::<Vec<_>>().as_slice() {
            [] => said.contains("type='result'"),
            conditions => conditions.iter().all(|condition| said.contains(&format!("<{condition} xmlns="))),
        };
        if !is_told {
            return Err(format!("was told {said}"));
        }
        if let Some((node, part)) = row.then {
            let found = self.ask(&self.juliet, "juliet@localhost", "get", &format!("<items node='{node}'/>")).await;
            if !found.contains(part) {
                return Err(format!("{node} holds {found}"));
            }
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn posts() {
    let mut wrong = Vec::new();
    for (number, row) in ROWS.iter().enumerate() {
        if let Err(why) = Stage::new(number, row.policy).await.play(row).await {
            wrong.push(format!("{}: {why}", row.when));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), ROWS.len(), wrong.join("\n"));
}
