//! What strangers try with the nodes of accounts and services, and what they get for it; `docs/refusals.md` is made of the
//! same rows.
//!
//! Each is played against a whole house, by a server that has proven to be montague.lit and by somebody on it. Juliet
//! has four nodes: `wall`, where anyone publishes, `blog`, which anyone reads, `club`, for whom she admits, and `diary`,
//! for nobody else. What stands on the wall in the end is part of each row.

use crate::stage::director::{Outcome, play};
use crate::stage::house::InProcess;

/// Whose nodes they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    Account,
    Service,
}

impl Home {
    /// The address.
    const fn address(self) -> &'static str {
        match self {
            Self::Account => "juliet@localhost",
            Self::Service => "pubsub.localhost",
        }
    }
}

/// A row: what somebody elsewhere asks, one thing after the other, and what he is told each time.
pub struct Row {
    pub when: &'static str,
    pub homes: &'static [Home],
    /// Stanzas of `tybalt@montague.lit/street`, without addresses: those are filled in. `{long}` is 2,000 letters,
    /// `{huge}` 300,000. What begins with `Juliet: ` is asked by Juliet.
    pub asks: &'static [&'static str],
    /// Conditions of the answers; nothing where he gets what he asks for.
    pub told: &'static [&'static str],
    /// Who says so.
    pub by: &'static str,
    /// Items on the wall afterwards, as Juliet reads them.
    pub wall: &'static str,
}

pub(super) const BOTH: &[Home] = &[Home::Account, Home::Service];
const ACCOUNT: &[Home] = &[Home::Account];
pub(super) const SERVICE: &[Home] = &[Home::Service];

macro_rules! set {
    ($content:literal) => {
        concat!("<iq type='set'><pubsub xmlns='http://jabber.org/protocol/pubsub'>", $content, "</pubsub></iq>")
    };
}
macro_rules! get {
    ($content:literal) => {
        concat!("<iq type='get'><pubsub xmlns='http://jabber.org/protocol/pubsub'>", $content, "</pubsub></iq>")
    };
}
macro_rules! own {
    ($kind:literal, $content:literal) => {
        concat!(
            "<iq type='",
            $kind,
            "'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'>",
            $content,
            "</pubsub></iq>"
        )
    };
}
macro_rules! publish {
    ($node:literal, $item:literal) => {
        concat!(
            "<iq type='set'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='",
            $node,
            "'>",
            $item,
            "</publish></pubsub></iq>"
        )
    };
}
macro_rules! rsm {
    ($content:literal) => {
        concat!(
            "<iq type='get'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='wall'/>\
             <set xmlns='http://jabber.org/protocol/rsm'>",
            $content,
            "</set></pubsub></iq>"
        )
    };
}
macro_rules! disco {
    ($kind:literal, $node:literal, $content:literal) => {
        concat!(
            "<iq type='get'><query xmlns='http://jabber.org/protocol/disco#",
            $kind,
            "' ",
            $node,
            ">",
            $content,
            "</query></iq>"
        )
    };
}

const HERS: &str = "<item id='a' publisher='juliet@localhost'><t xmlns='urn:example:t'>hers</t></item>";

pub(super) const ROW: Row = Row { when: "", homes: BOTH, asks: &[], told: &[], by: "", wall: HERS };

pub const ROWS: &[Row] = &[
    // Ids.
    Row {
        when: "an item's id is longer than ids may be",
        asks: &[publish!("wall", "<item id='{long}'><t xmlns='urn:example:t'/></item>")],
        told: &["not-acceptable"],
        by: "XEP-0060 12.12",
        ..ROW
    },
    Row {
        when: "a node's name is longer than names may be",
        asks: &[set!("<create node='{long}'/>"), get!("<items node='{long}'/>")],
        told: &["not-acceptable", "not-acceptable"],
        by: "XEP-0060 12.12",
        ..ROW
    },
    Row {
        when: "an item's id looks like a path, like markup and like an id of ours: it is an id",
        asks: &[
            publish!("wall", "<item id='../&#x27;&lt;a&gt;&#x0a;%00'><t xmlns='urn:example:t'/></item>"),
            get!("<items node='wall'><item id='../&#x27;&lt;a&gt;&#x0a;%00'/></items>"),
        ],
        told: &["", ""],
        by: "XEP-0060 12.12",
        wall: "<item id='a' publisher='juliet@localhost'><t xmlns='urn:example:t'>hers</t></item>\
               <item id='../&#x27;&lt;a&gt;&#x0a;%00' publisher='tybalt@montague.lit'><t xmlns='urn:example:t'/></item>",
        ..ROW
    },
    Row {
        when: "an item has another's id",
        asks: &[publish!("wall", "<item id='a'><t xmlns='urn:example:t'>his</t></item>")],
        told: &["forbidden"],
        by: "XEP-0060 7.1.3.1",
        ..ROW
    },
    Row {
        when: "another's item is retracted",
        asks: &[set!("<retract node='wall' notify='true'><item id='a'/></retract>")],
        told: &["forbidden"],
        by: "XEP-0060 7.2.3.1",
        ..ROW
    },
    Row {
        when: "a node is created in another's account, whether there is one of that name or not",
        homes: ACCOUNT,
        asks: &[set!("<create node='wall'/>"), set!("<create node='none'/>")],
        told: &["forbidden", "forbidden"],
        by: "XEP-0060 8.1.3",
        ..ROW
    },
    Row {
        when: "a node is created that there is, and one that he may not create",
        homes: SERVICE,
        asks: &[set!("<create node='wall'/>"), set!("<create node='none'/>")],
        told: &["conflict", "forbidden"],
        by: "XEP-0060 8.1.3",
        ..ROW
    },
    Row {
        when: "its owner makes a node part of itself, and its own part: there are no collections here, and it means nothing",
        asks: &[
            concat!(
                "Juliet: ",
                own!(
                    "set",
                    "<configure node='wall'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
                     <value>http://jabber.org/protocol/pubsub#node_config</value></field>\
                     <field var='pubsub#collection'><value>wall</value></field>\
                     <field var='pubsub#children'><value>wall</value></field></x></configure>"
                )
            ),
            get!("<items node='wall'/>"),
        ],
        told: &["", ""],
        by: "XEP-0248 5",
        ..ROW
    },
    // Authors.
    Row {
        when: "an item says that somebody else published it: the publisher is who is proven to be",
        asks: &[publish!(
            "wall",
            "<item id='b' publisher='juliet@localhost'><t xmlns='urn:example:t'>forged</t></item>"
        )],
        told: &[""],
        by: "XEP-0060 12.16",
        wall: "<item id='a' publisher='juliet@localhost'><t xmlns='urn:example:t'>hers</t></item>\
               <item id='b' publisher='tybalt@montague.lit'><t xmlns='urn:example:t'>forged</t></item>",
        ..ROW
    },
    Row {
        when: "an entry names another as its author: it stays as it is, under the publisher's proven address",
        asks: &[publish!(
            "wall",
            "<item id='b'><entry xmlns='http://www.w3.org/2005/Atom'><author><name>Juliet</name>\
             <uri>xmpp:juliet@localhost</uri></author><title>forged</title></entry></item>"
        )],
        told: &[""],
        by: "XEP-0472 5.4",
        wall: "<item id='a' publisher='juliet@localhost'><t xmlns='urn:example:t'>hers</t></item>\
               <item id='b' publisher='tybalt@montague.lit'><entry xmlns='http://www.w3.org/2005/Atom'><author>\
               <name>Juliet</name><uri>xmpp:juliet@localhost</uri></author><title>forged</title></entry></item>",
        ..ROW
    },
    Row {
        when: "an entry says that it was written at the end of time, and holds scripts: it is carried as it was sent, and \
               stands where it was published",
        asks: &[publish!(
            "wall",
            "<item id='b'><entry xmlns='http://www.w3.org/2005/Atom'><title type='xhtml'><div \
             xmlns='http://www.w3.org/1999/xhtml'><script>alert(1)</script></div></title>\
             <published>9999-12-31T23:59:59Z</published><updated>0000-01-01T00:00:00Z</updated></entry></item>"
        )],
        told: &[""],
        by: "XEP-0060 12.1",
        wall: "<item id='a' publisher='juliet@localhost'><t xmlns='urn:example:t'>hers</t></item>\
               <item id='b' publisher='tybalt@montague.lit'><entry xmlns='http://www.w3.org/2005/Atom'><title \
               type='xhtml'><div xmlns='http://www.w3.org/1999/xhtml'><script>alert(1)</script></div></title>\
               <published>9999-12-31T23:59:59Z</published><updated>0000-01-01T00:00:00Z</updated></entry></item>",
        ..ROW
    },
    Row {
        when: "a post is published in another's blog",
        asks: &[publish!(
            "blog",
            "<item id='b'><entry xmlns='http://www.w3.org/2005/Atom'><title>forged</title></entry></item>"
        )],
        told: &["forbidden"],
        by: "XEP-0060 7.1.3.1",
        ..ROW
    },
    Row {
        when: "somebody else is subscribed, or a resource of somebody else",
        asks: &[
            set!("<subscribe node='blog' jid='juliet@localhost'/>"),
            set!("<subscribe node='blog' jid='mercutio@montague.lit/square'/>"),
            set!("<subscribe node='blog' jid='montague.lit'/>"),
        ],
        told: &["bad-request invalid-jid", "bad-request invalid-jid", "bad-request invalid-jid"],
        by: "XEP-0060 6.1.3.1",
        ..ROW
    },
    Row {
        when: "somebody else is unsubscribed, by his address or by a guessed identifier",
        asks: &[
            set!("<unsubscribe node='blog' jid='juliet@localhost'/>"),
            set!("<subscribe node='blog' jid='tybalt@montague.lit'/>"),
            set!("<unsubscribe node='blog' jid='tybalt@montague.lit' subid='guessed'/>"),
        ],
        told: &["forbidden", "", "not-acceptable invalid-subid"],
        by: "XEP-0060 6.2.3",
        ..ROW
    },
    Row {
        when: "somebody approves himself",
        asks: &[
            set!("<subscribe node='club' jid='tybalt@montague.lit'/>"),
            "<message><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
             <value>http://jabber.org/protocol/pubsub#subscribe_authorization</value></field>\
             <field var='pubsub#node'><value>club</value></field>\
             <field var='pubsub#subscriber_jid'><value>tybalt@montague.lit</value></field>\
             <field var='pubsub#allow'><value>true</value></field></x></message>",
            own!(
                "set",
                "<subscriptions node='club'><subscription jid='tybalt@montague.lit' subscription='subscribed'/>\
                 </subscriptions>"
            ),
            get!("<items node='club'/>"),
        ],
        told: &["", "forbidden", "forbidden", "not-authorized not-subscribed"],
        by: "XEP-0060 8.6",
        homes: SERVICE,
        ..ROW
    },
    // Pages.
    Row {
        when: "a page begins after an item that is not there, whatever its id looks like",
        asks: &[
            rsm!("<max>10</max><after>none</after>"),
            rsm!("<max>10</max><after>{long}</after>"),
            rsm!("<max>10</max><before>&#x27;&lt;!--%00/../</before>"),
            rsm!("<max>10</max><after>18446744073709551615</after>"),
        ],
        told: &["item-not-found", "item-not-found", "item-not-found", "item-not-found"],
        by: "XEP-0059 2.2",
        ..ROW
    },
    Row {
        when: "a page begins after an item of a node that is not for him",
        asks: &[rsm!("<max>10</max><after>secret</after>"), rsm!("<max>10</max><before>secret</before>")],
        told: &["item-not-found", "item-not-found"],
        by: "XEP-0059 2.2",
        ..ROW
    },
    Row {
        when: "a page is of more items than there are numbers, or of no number: it is as long as pages are here, or bad",
        asks: &[
            rsm!("<max>18446744073709551615</max>"),
            rsm!("<max>99999999999999999999999999</max>"),
            rsm!("<max>-1</max>"),
            rsm!("<max>many</max>"),
        ],
        told: &["", "", "bad-request", "bad-request"],
        by: "XEP-0059 2.1",
        ..ROW
    },
    Row {
        when: "more items are asked for than there are numbers",
        asks: &[
            get!("<items node='wall' max_items='4294967296000'/>"),
            get!("<items node='wall' max_items='-1'/>"),
            get!("<items node='wall' max_items='all'/>"),
        ],
        told: &["", "bad-request", "bad-request"],
        by: "XEP-0060 6.5.7",
        ..ROW
    },
    Row {
        when: "a list of a node's items is paged from what is not there; in one of nodes every name has its place",
        asks: &[
            disco!(
                "items",
                "node='wall'",
                "<set xmlns='http://jabber.org/protocol/rsm'><max>1</max><after>none</after></set>"
            ),
            disco!("items", "", "<set xmlns='http://jabber.org/protocol/rsm'><max>1</max><after>{long}</after></set>"),
        ],
        told: &["item-not-found", ""],
        by: "XEP-0059 2.2",
        ..ROW
    },
    // What is whose.
    Row {
        when: "another's node is configured, deleted, purged, or its people listed or changed",
        asks: &[
            own!("get", "<configure node='wall'/>"),
            own!("set", "<delete node='wall'/>"),
            own!("set", "<purge node='wall'/>"),
            own!("get", "<subscriptions node='wall'/>"),
            own!("get", "<affiliations node='wall'/>"),
            own!(
                "set",
                "<affiliations node='wall'><affiliation jid='tybalt@montague.lit' affiliation='owner'/></affiliations>"
            ),
        ],
        told: &["forbidden", "forbidden", "forbidden", "forbidden", "forbidden", "forbidden"],
        by: "XEP-0060 8",
        ..ROW
    },
    Row {
        when: "a node that is not for him is asked for in every way",
        asks: &[
            get!("<items node='diary'/>"),
            get!("<items node='diary'><item id='secret'/></items>"),
            set!("<subscribe node='diary' jid='tybalt@montague.lit'/>"),
            disco!("info", "node='diary'", ""),
            disco!("items", "node='diary'", ""),
            publish!("diary", "<item id='b'><t xmlns='urn:example:t'/></item>"),
            own!("get", "<configure node='diary'/>"),
        ],
        told: &[
            "not-allowed closed-node",
            "not-allowed closed-node",
            "not-allowed closed-node",
            "not-allowed closed-node",
            "not-allowed closed-node",
            "forbidden",
            "forbidden",
        ],
        by: "XEP-0060 4.5",
        ..ROW
    },
    Row {
        when: "the same, and there is no such node",
        asks: &[
            get!("<items node='none'/>"),
            get!("<items node='none'><item id='secret'/></items>"),
            set!("<subscribe node='none' jid='tybalt@montague.lit'/>"),
            disco!("info", "node='none'", ""),
            disco!("items", "node='none'", ""),
            publish!("none", "<item id='b'><t xmlns='urn:example:t'/></item>"),
            own!("get", "<configure node='none'/>"),
        ],
        told: &[
            "item-not-found",
            "item-not-found",
            "item-not-found",
            "item-not-found",
            "item-not-found",
            "item-not-found",
            "item-not-found",
        ],
        by: "XEP-0060 6.5.9",
        ..ROW
    },
    Row {
        when: "who waits for approval is asked for by the command",
        homes: SERVICE,
        asks: &["<iq type='set'><command xmlns='http://jabber.org/protocol/commands' action='execute' \
                 node='http://jabber.org/protocol/pubsub#get-pending'/></iq>"],
        told: &["forbidden"],
        by: "XEP-0060 8.7",
        ..ROW
    },
    // Too much, or nonsense.
    Row {
        when: "a payload is larger than payloads may be",
        asks: &[publish!("wall", "<item id='b'><t xmlns='urn:example:t'>{huge}</t></item>")],
        told: &["not-acceptable payload-too-big"],
        by: "XEP-0060 7.1.3.4",
        ..ROW
    },
    Row {
        when: "several items, several payloads, or none, are published at once",
        asks: &[
            publish!(
                "wall",
                "<item id='b'><t xmlns='urn:example:t'/></item><item id='c'><t xmlns='urn:example:t'/></item>"
            ),
            publish!("wall", "<item id='b'><t xmlns='urn:example:t'/><t xmlns='urn:example:t'/></item>"),
            publish!("wall", "<item id='b'/>"),
            publish!("wall", ""),
        ],
        told: &[
            "not-allowed max-items-exceeded",
            "bad-request invalid-payload",
            "bad-request payload-required",
            "bad-request item-required",
        ],
        by: "XEP-0060 7.1.3",
        ..ROW
    },
    Row {
        when: "subscription options are what cannot be",
        asks: &[
            set!(
                "<subscribe node='blog' jid='tybalt@montague.lit'/><options><x xmlns='jabber:x:data' type='submit'>\
                 <field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#subscribe_options</value></field>\
                 <field var='pubsub#expire'><value>9999-99-99T99:99:99Z</value></field></x></options>"
            ),
            set!(
                "<subscribe node='blog' jid='tybalt@montague.lit'/><options><x xmlns='jabber:x:data' type='submit'>\
                 <field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#subscribe_options</value></field>\
                 <field var='pubsub#show-values'><value>{long}</value></field></x></options>"
            ),
        ],
        told: &["bad-request invalid-options", "bad-request invalid-options"],
        by: "XEP-0060 6.3.5",
        ..ROW
    },
    Row {
        when: "the request is empty, or nothing that there is",
        asks: &[
            "<iq type='set'><pubsub xmlns='http://jabber.org/protocol/pubsub'/></iq>",
            "<iq type='get'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'/></iq>",
            set!("<items node='wall'/>"),
            get!("<publish node='wall'/>"),
            set!("<subscribe jid='tybalt@montague.lit'/>"),
            set!("<subscribe node='wall'/>"),
            set!("<subscribe node='wall' jid='@'/>"),
        ],
        told: &[
            "bad-request",
            "bad-request",
            "bad-request",
            "bad-request",
            "bad-request nodeid-required",
            "bad-request jid-required",
            "bad-request invalid-jid",
        ],
        by: "XEP-0060 6.1.3, RFC 6120 8.3.3.1",
        ..ROW
    },
];

/// Where a row is played, in words.
pub fn at(homes: &[Home]) -> String {
    let words = homes.iter().map(|home| match home {
        Home::Account => "an account",
        Home::Service => "a service",
    });
    words.collect::<Vec<_>>().join(", ")
}

/// These rows, and those about archives and relationships.
pub fn all() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().chain(super::archives::ROWS)
}

/// The nodes, and what is in them.
fn setting(home: Home) -> String {
    let mut text = String::new();
    let nodes = [
        ("wall", "open", "open"),
        ("blog", "open", "publishers"),
        ("club", "authorize", "publishers"),
        ("diary", "whitelist", "publishers"),
    ];
    for (node, access, publishing) in nodes {
        let field = |name: &str, value: &str| format!("<field var='pubsub#{name}'><value>{value}</value></field>");
        let fields = [
            field("send_last_published_item", "never"),
            field("access_model", access),
            field("publish_model", publishing),
            field("max_items", "max"),
        ];
        let (fields, item) = (fields.concat(), if node == "diary" { "secret" } else { "a" });
        text.push_str(&format!(
            "\nJuliet sends:\n\t<iq type='set' id='c-{node}' to='{home}'><pubsub \
             xmlns='http://jabber.org/protocol/pubsub'><create node='{node}'/><configure><x xmlns='jabber:x:data' \
             type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#node_config</value></field>\
             {fields}</x></configure></pubsub></iq>\n\t<iq type='set' id='p-{node}' to='{home}'><pubsub \
             xmlns='http://jabber.org/protocol/pubsub'><publish node='{node}'><item id='{item}'><t \
             xmlns='urn:example:t'>hers</t></item></publish></pubsub></iq>\n\nJuliet receives:\n\t<iq type='result' \
             id='c-{node}'/>\n\t<iq type='result' id='p-{node}'/>\n",
            home = home.address()
        ));
    }
    text
}

/// The answer that a row promises.
fn answer(id: &str, kind: &str, told: &str) -> String {
    if told.is_empty() {
        return format!("<iq type='result' id='{id}'/>");
    }
    let (condition, specific) = told.split_once(' ').unwrap_or((told, ""));
    let specific = match specific {
        "" => String::new(),
        name => format!("<{name} xmlns='http://jabber.org/protocol/pubsub#errors'/>"),
    };
    format!(
        "<{kind} type='error' id='{id}'><error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>{specific}\
         </error></{kind}>"
    )
}

/// The row as a play. Juliet does not say that she is there, so nobody tells her of anything.
fn script(row: &Row, home: Home) -> String {
    assert_eq!(row.asks.len(), row.told.len(), "{}", row.when);
    let mut text = format!(
        "# {}\n\n[Client] Juliet\n\tjid: juliet@localhost\n\tpassword: password\n\tresource: balcony\n\n[Server] Tybalt\n\
         \tjid: montague.lit\n\n-----\n\nTybalt connects\n\nJuliet connects\n{}",
        row.when,
        setting(home)
    );
    for (number, (asks, told)) in row.asks.iter().zip(row.told).enumerate() {
        let (who, from, asks) = match asks.strip_prefix("Juliet: ") {
            Some(asks) => ("Juliet", "", asks),
            None => ("Tybalt", " from='tybalt@montague.lit/street'", *asks),
        };
        let kind = if asks.starts_with("<iq") { "iq" } else { "message" };
        let stanza = asks
            .replacen(&format!("<{kind}"), &format!("<{kind}{from} to='{}' id='ask-{number}'", home.address()), 1)
            .replace("{long}", &"x".repeat(2_000))
            .replace("{huge}", &"x".repeat(300_000));
        let answer = answer(&format!("ask-{number}"), kind, told);
        text.push_str(&format!("\n{who} sends:\n\t{stanza}\n\n{who} receives:\n\t{answer}\n"));
    }
    text.push_str(&format!(
        "\nJuliet sends:\n\t<iq type='get' id='wall' to='{home}'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items \
         node='wall'/></pubsub></iq>\n\nJuliet receives:\n\t<iq type='result' id='wall'><pubsub \
         xmlns='http://jabber.org/protocol/pubsub'><items node='wall'>{wall}</items></pubsub></iq>\n",
        home = home.address(),
        wall = row.wall
    ));
    text
}

#[test]
fn nodes() {
    let mut wrong = Vec::new();
    let homes = all().flat_map(|row| row.homes.iter().map(move |home| (row, *home)));
    for (number, (row, home)) in homes.enumerate() {
        let text = script(row, home);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let outcome = runtime.block_on(async {
            let theatre = InProcess::build(&format!("refused-{number}"), &text).await?;
            play(&theatre, &text).await
        });
        if outcome != Ok(Outcome::Played) {
            wrong.push(format!("{home:?}, {}: {outcome:?}", row.when));
        }
        runtime.shutdown_background();
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all().count(), wrong.join("\n"));
}
