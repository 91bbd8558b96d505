//! What strangers try with archives of nodes, with orders, and with how nodes are related (XEP-0442, 0413, 0496, 0497,
//! 0499, 0395): more rows of the table of nodes, in the same setting.

use super::nodes::{BOTH, ROW, Row, SERVICE};

macro_rules! archive {
    ($node:literal, $content:literal) => {
        concat!("<iq type='set'><query xmlns='urn:xmpp:mam:2' node='", $node, "'>", $content, "</query></iq>")
    };
}
macro_rules! fields {
    ($($var:literal = $value:literal),*) => {
        concat!(
            "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>",
            $("<field var='", $var, "'><value>", $value, "</value></field>",)*
            "</x>"
        )
    };
}
macro_rules! asked {
    ($node:literal, $($content:expr),*) => {
        concat!("<iq type='set'><query xmlns='urn:xmpp:mam:2' node='", $node, "'>", $($content,)* "</query></iq>")
    };
}
macro_rules! items {
    ($content:literal) => {
        concat!("<iq type='get'><pubsub xmlns='http://jabber.org/protocol/pubsub'>", $content, "</pubsub></iq>")
    };
}
macro_rules! configure {
    ($node:literal, $which:literal, $to:literal) => {
        concat!(
            "<iq type='set'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><configure node='",
            $node,
            "'><x xmlns='jabber:x:data' type='submit'><field var='{urn:xmpp:pubsub-relationships:0}",
            $which,
            "'><value>",
            $to,
            "</value></field></x></configure></pubsub></iq>"
        )
    };
}
macro_rules! hers {
    ($node:literal, $which:literal, $to:literal) => {
        concat!(
            "Juliet: <iq type='set'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><configure node='",
            $node,
            "'><x xmlns='jabber:x:data' type='submit'><field var='{urn:xmpp:pubsub-relationships:0}",
            $which,
            "'><value>",
            $to,
            "</value></field></x></configure></pubsub></iq>"
        )
    };
}
macro_rules! reaching {
    ($node:literal, $which:literal = $to:literal) => {
        concat!(
            "<iq type='set'><pubsub xmlns='http://jabber.org/protocol/pubsub'><subscribe node='",
            $node,
            "' jid='tybalt@montague.lit'/><options><x xmlns='jabber:x:data' type='submit'>\
             <field var='{urn:xmpp:pubsub-ext-sub:0}",
            $which,
            "'><value>",
            $to,
            "</value></field></x></options></pubsub></iq>"
        )
    };
}
macro_rules! create {
    ($node:literal, $which:literal, $to:literal) => {
        concat!(
            "<iq type='set'><pubsub xmlns='http://jabber.org/protocol/pubsub'><create node='",
            $node,
            "'/><configure><x xmlns='jabber:x:data' type='submit'><field var='{urn:xmpp:pubsub-relationships:0}",
            $which,
            "'><value>",
            $to,
            "</value></field></x></configure></pubsub></iq>"
        )
    };
}
macro_rules! around {
    ($node:literal, $($var:literal = $value:literal),*) => {
        concat!(
            "<iq type='get'><query xmlns='http://jabber.org/protocol/disco#items' node='",
            $node,
            "'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:pubsub-ext-disco:0</value>\
             </field>",
            $("<field var='", $var, "'><value>", $value, "</value></field>",)*
            "</x></query></iq>"
        )
    };
}
macro_rules! compared {
    ($value:literal) => {
        concat!(
            "<iq type='set'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='wall'><item id='b'><t \
             xmlns='urn:example:t'>his</t></item></publish><publish-options><x xmlns='jabber:x:data' type='submit'><field \
             var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field><field \
             var='pubsub#prev_item_cap_value'><value>",
            $value,
            "</value></field></x></publish-options></pubsub></iq>"
        )
    };
}

pub const ROWS: &[Row] = &[
    // Archives.
    Row {
        when: "the archive of a node that he may not read is queried, in every way",
        asks: &[
            archive!("diary", ""),
            "<iq type='get'><query xmlns='urn:xmpp:mam:2' node='diary'/></iq>",
            "<iq type='get'><metadata xmlns='urn:xmpp:mam:2' node='diary'/></iq>",
            archive!("club", ""),
            archive!("attic", ""),
            archive!("{long}", ""),
        ],
        told: &[
            "not-allowed closed-node",
            "not-allowed closed-node",
            "not-allowed closed-node",
            "not-authorized not-subscribed",
            "item-not-found",
            "item-not-found",
        ],
        by: "XEP-0442 2",
        ..ROW
    },
    Row {
        when: "an archive is asked for what ends before it begins, in a page of any size: there is nothing in it",
        asks: &[
            asked!("wall", fields!("start" = "2030-01-01T00:00:00Z", "end" = "2020-01-01T00:00:00Z")),
            asked!(
                "wall",
                fields!("start" = "2030-01-01T00:00:00Z", "end" = "2020-01-01T00:00:00Z"),
                "<set xmlns='http://jabber.org/protocol/rsm'><max>4294967295</max></set>"
            ),
            archive!("wall", "<set xmlns='http://jabber.org/protocol/rsm'><max>0</max></set>"),
        ],
        told: &["", "", ""],
        by: "XEP-0313 4.1",
        ..ROW
    },
    Row {
        when: "a page of an archive is of more than any number, of less than none, or from somewhere by counting",
        asks: &[
            archive!("wall", "<set xmlns='http://jabber.org/protocol/rsm'><max>-1</max></set>"),
            archive!("wall", "<set xmlns='http://jabber.org/protocol/rsm'><max>many</max></set>"),
            archive!("wall", "<set xmlns='http://jabber.org/protocol/rsm'><index>1000000</index></set>"),
        ],
        told: &["bad-request", "bad-request", "feature-not-implemented"],
        by: "XEP-0059 2",
        ..ROW
    },
    Row {
        when: "an archive is asked for what is behind an id that is none, is another node's, or is long",
        asks: &[
            archive!("wall", "<set xmlns='http://jabber.org/protocol/rsm'><after>a</after></set>"),
            archive!("wall", "<set xmlns='http://jabber.org/protocol/rsm'><before>{long}</before></set>"),
            asked!("wall", fields!("after-id" = "00000000000000000000000000000000000000")),
            asked!("wall", fields!("ids" = "19f3b1c2d00a0c1a0c1a0c1a0c10000000001")),
        ],
        told: &["item-not-found", "item-not-found", "item-not-found", "item-not-found"],
        by: "XEP-0313 4.3",
        ..ROW
    },
    Row {
        when: "an archive is asked by a time that is none, an address that is none, and by words its owner has not opened it to",
        asks: &[
            asked!("wall", fields!("start" = "yesterday")),
            asked!("wall", fields!("with" = "@@")),
            asked!("wall", fields!("{urn:xmpp:fulltext:0}fulltext" = "hers")),
        ],
        told: &["bad-request", "jid-malformed", "feature-not-implemented"],
        by: "XEP-0313 4.1, XEP-0431 2",
        ..ROW
    },
    Row {
        when: "items are asked for in an order that there is not, or in nine",
        asks: &[
            items!("<items node='wall'/><order xmlns='urn:xmpp:order-by:1' by='weather'/>"),
            items!(
                "<items node='wall'/><order xmlns='urn:xmpp:order-by:1' by='creation'/><order \
                 xmlns='urn:xmpp:order-by:1' by='creation'/><order xmlns='urn:xmpp:order-by:1' by='creation'/><order \
                 xmlns='urn:xmpp:order-by:1' by='creation'/><order xmlns='urn:xmpp:order-by:1' by='creation'/><order \
                 xmlns='urn:xmpp:order-by:1' by='creation'/><order xmlns='urn:xmpp:order-by:1' by='creation'/><order \
                 xmlns='urn:xmpp:order-by:1' by='creation'/><order xmlns='urn:xmpp:order-by:1' by='creation'/>"
            ),
        ],
        told: &["bad-request", "bad-request"],
        by: "XEP-0413 4",
        ..ROW
    },
    // How nodes are related.
    Row {
        when: "he puts a node of his own below hers, or links it: there is no such node to him",
        homes: SERVICE,
        asks: &[
            create!("mine", "parent", "blog"),
            create!("mine", "link", "diary"),
            create!("mine", "parent", "attic"),
        ],
        told: &["not-allowed invalid-option", "not-allowed invalid-option", "not-allowed invalid-option"],
        by: "XEP-0496 4.2",
        ..ROW
    },
    Row {
        when: "he puts her node below another, or takes it away",
        asks: &[
            configure!("blog", "parent", "wall"),
            configure!("blog", "parent", ""),
            configure!("attic", "link", "wall"),
        ],
        told: &["forbidden", "forbidden", "item-not-found"],
        by: "XEP-0496 4.2",
        ..ROW
    },
    Row {
        when: "nodes are related in a circle, to themselves, and to what is not there",
        asks: &[
            hers!("wall", "parent", "blog"),
            hers!("blog", "parent", "wall"),
            hers!("blog", "link", "wall"),
            hers!("club", "link", "club"),
            hers!("club", "parent", "attic"),
            hers!("club", "parent", "{long}"),
        ],
        told: &[
            "",
            "not-allowed invalid-option",
            "not-allowed invalid-option",
            "not-allowed invalid-option",
            "not-allowed invalid-option",
            "not-allowed invalid-option",
        ],
        by: "XEP-0496 4.2",
        ..ROW
    },
    Row {
        when: "he comes to a node that is below one which he may not read",
        asks: &[
            hers!("wall", "parent", "diary"),
            items!("<items node='wall'/>"),
            archive!("wall", ""),
            around!("wall", "depth" = "1"),
            "<iq type='set'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='wall'><item id='b'><t \
             xmlns='urn:example:t'>his</t></item></publish></pubsub></iq>",
            "<iq type='set'><pubsub xmlns='http://jabber.org/protocol/pubsub'><subscribe node='wall' \
             jid='tybalt@montague.lit'/></pubsub></iq>",
        ],
        told: &[
            "",
            "not-allowed closed-node",
            "not-allowed closed-node",
            "not-allowed closed-node",
            "forbidden",
            "not-allowed closed-node",
        ],
        by: "XEP-0496 4.4",
        ..ROW
    },
    Row {
        when: "he subscribes to what is below a node which he may not read, or to what makes no sense",
        asks: &[
            reaching!("diary", "depth" = "-1"),
            reaching!("attic", "depth" = "-1"),
            reaching!("wall", "depth" = "all"),
            reaching!("wall", "depth" = "99999999999999999999999999"),
            reaching!("wall", "type" = "everything"),
            reaching!("wall", "type" = "{long}"),
        ],
        told: &[
            "not-allowed closed-node",
            "item-not-found",
            "bad-request invalid-options",
            "bad-request invalid-options",
            "bad-request invalid-options",
            "bad-request invalid-options",
        ],
        by: "XEP-0497 3",
        ..ROW
    },
    Row {
        when: "what is around a node is asked for by who may not read it, or in a way that makes no sense",
        asks: &[
            around!("diary", "type" = "nodes"),
            around!("attic", "type" = "nodes"),
            around!("wall", "type" = "people"),
            around!("wall", "depth" = "-1"),
            around!("wall", "depth" = "99999999999999999999999999"),
            around!("wall", "linked_nodes" = "{long}"),
        ],
        told: &[
            "not-allowed closed-node",
            "item-not-found",
            "bad-request",
            "bad-request",
            "bad-request",
            "bad-request",
        ],
        by: "XEP-0499 3",
        ..ROW
    },
    Row {
        when: "he publishes behind an item that is not the newest, or is none",
        asks: &[compared!("1"), compared!(""), compared!("{long}")],
        told: &["conflict precondition-not-met", "conflict precondition-not-met", "conflict precondition-not-met"],
        by: "XEP-0395 3.3",
        homes: BOTH,
        ..ROW
    },
];
