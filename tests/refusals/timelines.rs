//! What strangers, other servers and clients try with home timelines and with what is followed; `docs/refusals.md` is
//! made of the same rows.
//!
//! Each is played against a whole house on paused time, with `montague.lit` written by hand: it answers as the row says,
//! and what it is asked and told is counted. Juliet has a blog; what is in her timeline in the end is part of each row.

/// What is done, one thing after the other.
#[derive(Clone, Copy)]
pub enum Act {
    /// Juliet asks, her own account unless it says whom.
    Juliet(&'static str),
    /// `tybalt@montague.lit/street` sends, to her account unless it says to whom.
    Tybalt(&'static str),
    /// He sends it that many times; `{n}` is the how-manieth it is.
    Again(usize, &'static str),
    /// He sends one message of that many items of his blog.
    Items(usize),
    /// From the beginning on Juliet's list of whom she follows (XEP-0330) has so many nodes, his blog among them.
    Lists(usize),
    /// Time passes.
    Hours(u64),
}

use Act::{Again, Hours, Items, Juliet, Lists, Tybalt};

/// How `montague.lit` answers who asks for items; everything else has a result without content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// There are none.
    Nothing,
    /// A full page of others each time, and there is always one more.
    ForEver,
    /// The same, each after 29 seconds.
    ForEverSlowly,
    /// Nobody answers.
    Never,
}

/// What is in her timeline in the end.
#[derive(Clone, Copy)]
pub enum Shows {
    /// These items, the oldest first.
    These(&'static [&'static str]),
    /// So many.
    Count(usize),
    /// Fewer than so many.
    Fewer(usize),
}

use Shows::{Count, Fewer, These};

/// A row.
pub struct Row {
    pub when: &'static str,
    /// What is configured.
    pub policy: &'static str,
    pub answers: Answers,
    pub does: &'static [Act],
    /// The conditions of the answers to those who ask; nothing for a result.
    pub told: &'static [&'static str],
    /// How many questions and how many messages `montague.lit` gets from us in the end, answers aside.
    pub gets: (usize, usize),
    pub shows: Shows,
    pub by: &'static str,
}

const ROW: Row = Row {
    when: "",
    policy: "",
    answers: Answers::Nothing,
    does: &[],
    told: &[],
    gets: (0, 0),
    shows: These(&[]),
    by: "timeline",
};

macro_rules! pubsub {
    ($kind:literal, $($content:literal),*) => {
        concat!("<iq type='", $kind, "'><pubsub xmlns='http://jabber.org/protocol/pubsub'>", $($content,)* "</pubsub></iq>")
    };
}
macro_rules! page {
    ($($content:literal),*) => {
        pubsub!(
            "get",
            "<items node='urn:chirrup:timeline:0'/><set xmlns='http://jabber.org/protocol/rsm'>",
            $($content,)*
            "</set>"
        )
    };
}
macro_rules! archive {
    ($($content:literal),*) => {
        concat!(
            "<iq type='set'><query xmlns='urn:xmpp:mam:2' node='urn:chirrup:timeline:0'>",
            $($content,)*
            "</query></iq>"
        )
    };
}
macro_rules! field {
    ($var:literal, $value:literal) => {
        concat!(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field><field var='",
            $var,
            "'><value>",
            $value,
            "</value></field></x>"
        )
    };
}
macro_rules! queried {
    ($var:literal, $value:literal) => {
        concat!(
            "<iq type='set'><query xmlns='urn:xmpp:mam:2' node='urn:chirrup:timeline:0'>",
            field!($var, $value),
            "</query></iq>"
        )
    };
}
macro_rules! pam {
    ($service:literal, $verb:literal, $node:literal) => {
        concat!(
            "<iq type='set'><pam xmlns='urn:xmpp:pam:0' jid='",
            $service,
            "'><",
            $verb,
            " xmlns='http://jabber.org/protocol/pubsub' node='",
            $node,
            "' jid='juliet@localhost'/></pam></iq>"
        )
    };
}
macro_rules! event {
    ($content:literal) => {
        concat!(
            "<message type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'>",
            $content,
            "</event></message>"
        )
    };
}
macro_rules! items {
    ($node:literal, $($content:literal),*) => {
        concat!(
            "<message type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'><items node='",
            $node,
            "'>",
            $($content,)*
            "</items></event></message>"
        )
    };
}

const FOLLOWS: Act = Juliet(pam!("tybalt@montague.lit", "subscribe", "blog"));
const POSTS: Act = Tybalt(items!("blog", "<item id='1'><t xmlns='urn:example:t'>1</t></item>"));
const FEW: &str = "[timeline]\nfollows_per_account_max = 2";

pub const ROWS: &[Row] = &[
    // Pages.
    Row {
        when: "a page begins behind an id that is none: short, long, like a path, of another node, in capitals",
        does: &[
            Juliet(page!("<max>10</max><after>none</after>")),
            Juliet(page!("<max>10</max><before>{long}</before>")),
            Juliet(page!("<max>10</max><before>&#x27;&lt;!--%00/../</before>")),
            Juliet(page!("<max>10</max><after>k1</after>")),
            Juliet(page!("<max>10</max><after>FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF</after>")),
            Juliet(page!("<max>10</max><after>ffffffffffffffffffffffffffffffffffffffffffffffff</after>")),
        ],
        told: &["item-not-found"; 6],
        by: "XEP-0059 2.2",
        ..ROW
    },
    Row {
        when: "a page begins behind or before all time: there is nothing",
        does: &[
            Juliet(page!("<max>10</max><after>fffffffffffffffffffffffffffffffffffff</after>")),
            Juliet(page!("<max>10</max><before>0000000000000000000000000000000000000</before>")),
            Juliet(page!("<max>10</max><after>fffffffffffffffffffffffffffffffffffffffffff</after>")),
        ],
        told: &["", "", ""],
        by: "XEP-0059 2.2",
        ..ROW
    },
    Row {
        when: "a page is of more than any number, of none, or from somewhere by counting",
        does: &[
            Juliet(page!("<max>18446744073709551615</max>")),
            Juliet(page!("<max>99999999999999999999999999</max>")),
            Juliet(page!("<max>-1</max>")),
            Juliet(page!("<max>many</max>")),
            Juliet(page!("<max>10</max><index>1000000</index>")),
        ],
        told: &["", "", "bad-request", "bad-request", "feature-not-implemented unsupported"],
        by: "XEP-0059 2",
        ..ROW
    },
    Row {
        when: "items are asked for by ids that are none: they are not there",
        does: &[Juliet(pubsub!(
            "get",
            "<items node='urn:chirrup:timeline:0'><item id='none'/><item id='{long}'/><item \
             id='fffffffffffffffffffffffffffffffffffff'/><item id='0000000000000000000000000000000000000'/></items>"
        ))],
        told: &[""],
        by: "XEP-0060 6.5.8",
        ..ROW
    },
    Row {
        when: "it is queried as an archive for what is behind an id that is none, for ids that are not there, or by counting",
        does: &[
            Juliet(archive!("<set xmlns='http://jabber.org/protocol/rsm'><after>none</after></set>")),
            Juliet(archive!("<set xmlns='http://jabber.org/protocol/rsm'><before>{long}</before></set>")),
            Juliet(archive!("<set xmlns='http://jabber.org/protocol/rsm'><index>1000000</index></set>")),
            Juliet(queried!("after-id", "k1")),
            Juliet(queried!("ids", "fffffffffffffffffffffffffffffffffffff")),
        ],
        told: &["item-not-found", "item-not-found", "feature-not-implemented", "item-not-found", "item-not-found"],
        by: "XEP-0313 4.1",
        ..ROW
    },
    Row {
        when: "it is queried as an archive for a time that is none, for what ends before it begins, or for words",
        does: &[
            Juliet(queried!("start", "yesterday")),
            Juliet(queried!("start", "9999-12-31T23:59:59Z")),
            Juliet(queried!("end", "0000-01-01T00:00:00Z")),
            Juliet(queried!("{urn:xmpp:fulltext:0}fulltext", "{long}")),
        ],
        told: &["bad-request", "", "", "feature-not-implemented"],
        by: "XEP-0313 4.1",
        ..ROW
    },
    // Whose it is.
    Row {
        when: "somebody else reads, queries, subscribes to, configures, or asks about a timeline: there is none",
        does: &[
            Tybalt(pubsub!("get", "<items node='urn:chirrup:timeline:0'/>")),
            Tybalt(archive!("")),
            Tybalt("<iq type='get'><metadata xmlns='urn:xmpp:mam:2' node='urn:chirrup:timeline:0'/></iq>"),
            Tybalt(pubsub!("set", "<subscribe node='urn:chirrup:timeline:0' jid='tybalt@montague.lit'/>")),
            Tybalt(
                "<iq type='get'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><configure \
                 node='urn:chirrup:timeline:0'/></pubsub></iq>",
            ),
            Tybalt(
                "<iq type='get'><query xmlns='http://jabber.org/protocol/disco#info' node='urn:chirrup:timeline:0'/></iq>",
            ),
            Tybalt(
                "<iq type='get'><query xmlns='http://jabber.org/protocol/disco#items' node='urn:chirrup:timeline:0'/></iq>",
            ),
        ],
        told: &["item-not-found"; 7],
        ..ROW
    },
    Row {
        when: "somebody else subscribes an account, or asks what it follows, by way of the account",
        does: &[
            Tybalt(pam!("tybalt@montague.lit", "subscribe", "blog")),
            Tybalt(pam!("tybalt@montague.lit", "unsubscribe", "blog")),
            Tybalt("<iq type='get'><subscriptions xmlns='urn:xmpp:pam:0'/></iq>"),
        ],
        told: &["forbidden"; 3],
        by: "XEP-0376 4.2",
        ..ROW
    },
    Row {
        when: "somebody subscribes to his own timeline, which would be in itself",
        does: &[
            Juliet(pubsub!("set", "<subscribe node='urn:chirrup:timeline:0' jid='juliet@localhost'/>")),
            Juliet(pubsub!("set", "<subscribe node='urn:chirrup:timeline:0' jid='juliet@localhost/balcony'/>")),
            Juliet(pam!("juliet@localhost", "subscribe", "urn:chirrup:timeline:0")),
        ],
        told: &["feature-not-implemented unsupported"; 3],
        ..ROW
    },
    Row {
        when: "somebody publishes in his own timeline, or empties or deletes it",
        does: &[
            Juliet(pubsub!(
                "set",
                "<publish node='urn:chirrup:timeline:0'><item id='1'><t xmlns='urn:example:t'/></item></publish>"
            )),
            Juliet(pubsub!("set", "<retract node='urn:chirrup:timeline:0'><item id='1'/></retract>")),
            Juliet(pubsub!("set", "<create node='urn:chirrup:timeline:0'/>")),
            Juliet(
                "<iq type='set'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><purge \
                 node='urn:chirrup:timeline:0'/></pubsub></iq>",
            ),
            Juliet(
                "<iq type='set'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><delete \
                 node='urn:chirrup:timeline:0'/></pubsub></iq>",
            ),
        ],
        told: &["forbidden"; 5],
        ..ROW
    },
    Row {
        when: "somebody follows himself, twice: what he writes is in his timeline once",
        does: &[
            Juliet(pam!("juliet@localhost", "subscribe", "blog")),
            Juliet(pubsub!("set", "<subscribe node='blog' jid='juliet@localhost'/>")),
            Juliet(pubsub!(
                "set",
                "<publish node='blog'><item id='k1'><t xmlns='urn:example:t'>hers</t></item></publish>"
            )),
        ],
        told: &["", "", ""],
        shows: These(&["k1"]),
        by: "XEP-0060 6.1",
        ..ROW
    },
    // What other servers say.
    Row {
        when: "a service sends what nobody asked for, and says that it was",
        does: &[
            POSTS,
            Tybalt(event!("<subscription node='blog' jid='juliet@localhost' subscription='subscribed'/>")),
            Again(10, items!("blog", "<item id='{n}'><t xmlns='urn:example:t'/></item>")),
            Tybalt(items!("urn:chirrup:timeline:0", "<item id='1'><t xmlns='urn:example:t'/></item>")),
        ],
        ..ROW
    },
    Row {
        when: "a node that is followed and its followers follow each other: what comes is told to nobody elsewhere",
        does: &[
            FOLLOWS,
            Tybalt(pubsub!("set", "<subscribe node='blog' jid='tybalt@montague.lit'/>")),
            POSTS,
            Again(20, items!("blog", "<item id='1'><t xmlns='urn:example:t'>1</t></item>")),
        ],
        told: &["", ""],
        gets: (1, 0),
        shows: These(&["1"]),
        by: "XEP-0060 12.1",
        ..ROW
    },
    Row {
        when: "notifications come to services, hosts, nobody, and as errors: what is answered is an error, which nobody answers",
        does: &[
            Tybalt(
                "<message to='pubsub.localhost' type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'><items \
                 node='blog'><item id='1'><t xmlns='urn:example:t'/></item></items></event></message>",
            ),
            Tybalt(
                "<message to='localhost' type='headline'><event xmlns='http://jabber.org/protocol/pubsub#event'><items \
                 node='blog'><item id='1'><t xmlns='urn:example:t'/></item></items></event></message>",
            ),
            Tybalt(
                "<message to='nobody@localhost' type='headline'><event \
                 xmlns='http://jabber.org/protocol/pubsub#event'><items node='blog'><item id='1'><t \
                 xmlns='urn:example:t'/></item></items></event></message>",
            ),
            Tybalt(
                "<message type='error'><event xmlns='http://jabber.org/protocol/pubsub#event'><items node='blog'><item \
                 id='1'><t xmlns='urn:example:t'/></item></items></event><error type='cancel'><item-not-found \
                 xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>",
            ),
        ],
        gets: (0, 2),
        by: "RFC 6120 8.3.1",
        ..ROW
    },
    Row {
        when: "a service says in turn that somebody is subscribed and is not: once that he is not is enough",
        does: &[
            FOLLOWS,
            POSTS,
            Tybalt(event!("<subscription node='blog' jid='juliet@localhost' subscription='none'/>")),
            Again(20, event!("<subscription node='blog' jid='juliet@localhost' subscription='subscribed'/>")),
            POSTS,
        ],
        told: &[""],
        gets: (1, 0),
        by: "XEP-0060 8.8.4",
        ..ROW
    },
    Row {
        when: "one sends what another is followed for",
        does: &[
            FOLLOWS,
            Tybalt(
                "<message from='mercutio@montague.lit' type='headline'><event \
                 xmlns='http://jabber.org/protocol/pubsub#event'><items node='blog'><item id='1'><t \
                 xmlns='urn:example:t'/></item></items></event></message>",
            ),
            Tybalt(items!("diary", "<item id='1'><t xmlns='urn:example:t'/></item>")),
        ],
        told: &[""],
        gets: (1, 0),
        by: "XEP-0060 7.1.2",
        ..ROW
    },
    Row {
        when: "an item is sent a thousand times, or stands in one message twice: it is there once",
        does: &[
            FOLLOWS,
            Again(1_000, items!("blog", "<item id='1'><t xmlns='urn:example:t'>1</t></item>")),
            Tybalt(items!(
                "blog",
                "<item id='1'><t xmlns='urn:example:t'>1</t></item><item id='1'><t xmlns='urn:example:t'>1</t></item>"
            )),
        ],
        told: &[""],
        gets: (1, 0),
        shows: These(&["1"]),
        by: "XEP-0060 12.7",
        ..ROW
    },
    Row {
        when: "an item is changed a thousand times: it is there once, as it is now",
        does: &[FOLLOWS, Again(1_000, items!("blog", "<item id='1'><t xmlns='urn:example:t'>{n}</t></item>"))],
        told: &[""],
        gets: (1, 0),
        shows: These(&["1"]),
        ..ROW
    },
    Row {
        when: "a message has more items than are taken from one",
        does: &[FOLLOWS, Items(1_000)],
        told: &[""],
        gets: (1, 0),
        shows: Count(100),
        ..ROW
    },
    Row {
        when: "an item's id, or a node's name, is longer than they may be",
        does: &[
            FOLLOWS,
            Tybalt(items!("blog", "<item id='{long}'><t xmlns='urn:example:t'/></item>")),
            Tybalt(items!("{long}", "<item id='1'><t xmlns='urn:example:t'/></item>")),
            Juliet(pam!("tybalt@montague.lit", "subscribe", "{long}")),
        ],
        told: &["", "not-acceptable"],
        gets: (1, 0),
        by: "XEP-0060 12.12",
        ..ROW
    },
    Row {
        when: "more comes than a timeline keeps: the oldest make room",
        policy: "[timeline]\nentries_per_account_max = 50",
        does: &[FOLLOWS, Again(2_000, items!("blog", "<item id='{n}'><t xmlns='urn:example:t'/></item>"))],
        told: &[""],
        gets: (1, 0),
        // Now and then they do: it is not counted each time.
        shows: Fewer(1_900),
        ..ROW
    },
    // What other servers answer.
    Row {
        when: "a node that is asked what it has sends page after page for ever: ten are read",
        answers: Answers::ForEver,
        does: &[FOLLOWS, Hours(3), Juliet(page!("<max>1</max><before/>"))],
        told: &["", ""],
        gets: (11, 0),
        shows: Count(500),
        ..ROW
    },
    Row {
        when: "it takes nearly as long as it may for each: after two minutes no more is asked for",
        answers: Answers::ForEverSlowly,
        does: &[FOLLOWS, Hours(3), Juliet(page!("<max>1</max><before/>"))],
        told: &["", ""],
        gets: (6, 0),
        shows: Count(250),
        ..ROW
    },
    Row {
        when: "a service never answers who wants to follow: he follows nothing",
        answers: Answers::Never,
        does: &[FOLLOWS, Juliet(pam!("tybalt@montague.lit", "unsubscribe", "blog")), POSTS],
        told: &["remote-server-timeout", "remote-server-timeout"],
        by: "XEP-0376 4.2",
        ..ROW
    },
    // How much is followed.
    Row {
        when: "an account follows more nodes than it may, here and elsewhere, by itself and by way of its account",
        policy: FEW,
        does: &[
            FOLLOWS,
            Juliet(pam!("juliet@localhost", "subscribe", "blog")),
            Juliet(pam!("mercutio@montague.lit", "subscribe", "blog")),
            Juliet(pubsub!("set", "<subscribe node='club' jid='juliet@localhost'/>")),
            Juliet(pam!("juliet@localhost", "subscribe", "club")),
            Juliet(
                "<iq type='set' to='mercutio@montague.lit'><pubsub xmlns='http://jabber.org/protocol/pubsub'><subscribe \
                 node='blog' jid='juliet@localhost'/></pubsub></iq>",
            ),
        ],
        told: &["", "", "resource-constraint", "resource-constraint", "resource-constraint", "resource-constraint"],
        gets: (1, 0),
        ..ROW
    },
    Row {
        when: "who follows as much as he may lets one go: he may follow another",
        policy: FEW,
        does: &[
            FOLLOWS,
            Juliet(pam!("juliet@localhost", "subscribe", "blog")),
            Juliet(pam!("tybalt@montague.lit", "unsubscribe", "blog")),
            Juliet(pam!("juliet@localhost", "subscribe", "club")),
        ],
        told: &["", "", "", ""],
        gets: (1, 0),
        ..ROW
    },
    Row {
        when: "an account's own list of whom it follows has 100,000 entries: what is sent by who is on it is taken, by who is \
               not is not",
        does: &[
            Lists(100_000),
            POSTS,
            Tybalt(
                "<message from='mercutio@montague.lit' type='headline'><event \
                 xmlns='http://jabber.org/protocol/pubsub#event'><items node='blog'><item id='2'><t \
                 xmlns='urn:example:t'/></item></items></event></message>",
            ),
        ],
        gets: (1, 0),
        shows: These(&["1"]),
        by: "XEP-0330 3",
        ..ROW
    },
    Row {
        when: "who follows as much as he may has more on his list, and is sent it: it is not taken",
        policy: FEW,
        does: &[
            Lists(10),
            Juliet(pam!("juliet@localhost", "subscribe", "blog")),
            Juliet(pam!("juliet@localhost", "subscribe", "club")),
            Again(100, items!("blog", "<item id='{n}'><t xmlns='urn:example:t'/></item>")),
        ],
        told: &["", ""],
        by: "XEP-0330 3",
        ..ROW
    },
    Row {
        when: "a contact tells of thousands whom it follows: that is the contact's, and makes nobody follow anything",
        policy: FEW,
        does: &[
            Again(
                1_000,
                items!(
                    "urn:xmpp:pubsub:subscription",
                    "<item id='{n}'><subscription xmlns='urn:xmpp:pubsub:subscription:0' server='tybalt@montague.lit' \
                     node='blog'/></item>"
                ),
            ),
            Again(
                1_000,
                items!(
                    "urn:xmpp:pps:subscriptions:0",
                    "<item id='{n}'><subscription xmlns='urn:xmpp:pps:0' jid='tybalt@montague.lit' node='blog'/></item>"
                ),
            ),
            POSTS,
        ],
        by: "XEP-0465 4",
        ..ROW
    },
    Row {
        when: "somebody writes on another's public lists, or on those that the server keeps of what he himself follows",
        does: &[
            Tybalt(pubsub!(
                "set",
                "<publish node='urn:xmpp:pps:subscribers:0/blog'><item id='tybalt@montague.lit'><subscriber \
                 xmlns='urn:xmpp:pps:0' jid='tybalt@montague.lit'/></item></publish>"
            )),
            Juliet(pubsub!(
                "set",
                "<publish node='urn:xmpp:pps:subscriptions:0'><item id='1'><subscription xmlns='urn:xmpp:pps:0' \
                 jid='tybalt@montague.lit' node='blog'/></item></publish>"
            )),
            Tybalt(pubsub!("get", "<items node='urn:xmpp:pps:subscriptions:0'/>")),
        ],
        told: &["forbidden", "forbidden", "item-not-found"],
        by: "XEP-0465 5",
        ..ROW
    },
];

#[tokio::test(start_paused = true)]
async fn timelines() {
    let mut wrong = Vec::new();
    for (number, row) in ROWS.iter().enumerate() {
        if let Err(why) = super::montague::Stage::new(number, row).await.play(row).await {
            wrong.push(format!("{}: {why}", row.when));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), ROWS.len(), wrong.join("\n"));
}
