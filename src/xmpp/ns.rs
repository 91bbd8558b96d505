//! Every namespace we read or write, each under the title of its specification.

/// RFC 6120, client streams.
pub const CLIENT: &str = "jabber:client";
/// RFC 6120, server streams.
pub const SERVER: &str = "jabber:server";
/// RFC 6120, the stream element.
pub const STREAM: &str = "http://etherx.jabber.org/streams";
/// RFC 6120, stream errors.
pub const STREAM_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-streams";
/// RFC 6120, stanza errors.
pub const STANZA_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
/// RFC 6120, STARTTLS.
pub const TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";
/// RFC 6120, SASL.
pub const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
/// RFC 6120, resource binding.
pub const BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";
/// RFC 3921, session establishment: a no-op that old clients still ask for.
pub const SESSION: &str = "urn:ietf:params:xml:ns:xmpp-session";
/// RFC 6121, roster.
pub const ROSTER: &str = "jabber:iq:roster";
/// RFC 6121, roster versioning stream feature.
pub const ROSTER_VERSIONING: &str = "urn:xmpp:features:rosterver";
/// RFC 6121, subscription pre-approval stream feature.
pub const PRE_APPROVAL: &str = "urn:xmpp:features:pre-approval";
/// XEP-0004: Data Forms.
pub const DATA_FORMS: &str = "jabber:x:data";
/// XEP-0030: Service Discovery, information.
pub const DISCO_INFO: &str = "http://jabber.org/protocol/disco#info";
/// XEP-0030: Service Discovery, items.
pub const DISCO_ITEMS: &str = "http://jabber.org/protocol/disco#items";
/// XEP-0033: Extended Stanza Addressing.
pub const ADDRESS: &str = "http://jabber.org/protocol/address";
/// XEP-0012: Last Activity.
pub const LAST: &str = "jabber:iq:last";
/// XEP-0048: Bookmark Storage, also the name of its node.
pub const BOOKMARK_STORAGE: &str = "storage:bookmarks";
/// XEP-0049: Private XML Storage.
pub const PRIVATE: &str = "jabber:iq:private";
/// XEP-0050: Ad-Hoc Commands.
pub const COMMANDS: &str = "http://jabber.org/protocol/commands";
/// XEP-0054: vcard-temp.
pub const VCARD: &str = "vcard-temp";
/// XEP-0055: Jabber Search.
pub const SEARCH: &str = "jabber:iq:search";
/// XEP-0059: Result Set Management.
pub const RSM: &str = "http://jabber.org/protocol/rsm";
/// XEP-0060: Publish-Subscribe.
pub const PUBSUB: &str = "http://jabber.org/protocol/pubsub";
/// XEP-0060: Publish-Subscribe, errors.
pub const PUBSUB_ERRORS: &str = "http://jabber.org/protocol/pubsub#errors";
/// XEP-0060: Publish-Subscribe, events.
pub const PUBSUB_EVENT: &str = "http://jabber.org/protocol/pubsub#event";
/// XEP-0060: Publish-Subscribe, owner use cases.
pub const PUBSUB_OWNER: &str = "http://jabber.org/protocol/pubsub#owner";
/// XEP-0077: In-Band Registration.
pub const REGISTER: &str = "jabber:iq:register";
/// XEP-0077: In-Band Registration, stream feature.
pub const REGISTER_FEATURE: &str = "http://jabber.org/features/iq-register";
/// XEP-0084: User Avatar, the image and the name of its node.
pub const AVATAR_DATA: &str = "urn:xmpp:avatar:data";
/// XEP-0084: User Avatar, what images there are, and the name of their node.
pub const AVATAR_METADATA: &str = "urn:xmpp:avatar:metadata";
/// XEP-0092: Software Version.
pub const VERSION: &str = "jabber:iq:version";
/// XEP-0114: Jabber Component Protocol.
pub const COMPONENT_ACCEPT: &str = "jabber:component:accept";
/// XEP-0355: Namespace Delegation.
pub const DELEGATION: &str = "urn:xmpp:delegation:2";
/// XEP-0356: Privileged Entity.
pub const PRIVILEGE: &str = "urn:xmpp:privilege:2";
/// XEP-0115: Entity Capabilities.
pub const CAPS: &str = "http://jabber.org/protocol/caps";
/// XEP-0131: Stanza Headers and Internet Metadata, as XEP-0060 uses it for subids.
pub const SHIM: &str = "http://jabber.org/protocol/shim";
/// XEP-0153: vCard-Based Avatars, the hash in presence.
pub const VCARD_UPDATE: &str = "vcard-temp:x:update";
/// XEP-0157: Contact Addresses for XMPP Services.
pub const SERVER_INFO: &str = "http://jabber.org/network/serverinfo";
/// XEP-0160: Best Practices for Handling Offline Messages (a disco feature).
pub const OFFLINE: &str = "msgoffline";
/// XEP-0172: User Nickname, also the name of its node.
pub const NICK: &str = "http://jabber.org/protocol/nick";
/// XEP-0191: Blocking Command.
pub const BLOCKING: &str = "urn:xmpp:blocking";
/// XEP-0191: Blocking Command, errors.
pub const BLOCKING_ERRORS: &str = "urn:xmpp:blocking:errors";
/// XEP-0199: XMPP Ping.
pub const PING: &str = "urn:xmpp:ping";
/// XEP-0198: Stream Management.
pub const ACKS: &str = "urn:xmpp:sm:3";
/// XEP-0202: Entity Time.
pub const TIME: &str = "urn:xmpp:time";
/// XEP-0203: Delayed Delivery.
pub const DELAY: &str = "urn:xmpp:delay";
/// XEP-0215: External Service Discovery.
pub const EXTERNAL_SERVICES: &str = "urn:xmpp:extdisco:2";
/// XEP-0280: Message Carbons.
pub const CARBONS: &str = "urn:xmpp:carbons:2";
/// XEP-0280: Message Carbons, the rules of its section 6.1.
pub const CARBONS_RULES: &str = "urn:xmpp:carbons:rules:0";
/// XEP-0283: Moved, also the name of its node.
pub const MOVED: &str = "urn:xmpp:moved:1";
/// XEP-0292: vCard4 Over XMPP, the card (RFC 6351).
pub const VCARD4: &str = "urn:ietf:params:xml:ns:vcard-4.0";
/// XEP-0292: vCard4 Over XMPP, the node.
pub const VCARD4_NODE: &str = "urn:xmpp:vcard4";
/// XEP-0297: Stanza Forwarding.
pub const FORWARD: &str = "urn:xmpp:forward:0";
/// XEP-0313: Message Archive Management.
pub const ARCHIVE: &str = "urn:xmpp:mam:2";
/// XEP-0313: Message Archive Management, what came with version 0.7.
pub const ARCHIVE_EXTENDED: &str = "urn:xmpp:mam:2#extended";
/// XEP-0334: Message Processing Hints.
pub const HINTS: &str = "urn:xmpp:hints";
/// XEP-0352: Client State Indication.
pub const CLIENT_STATES: &str = "urn:xmpp:csi:0";
/// XEP-0357: Push Notifications.
pub const PUSH: &str = "urn:xmpp:push:0";
/// XEP-0357: Push Notifications, the form that sums up.
pub const PUSH_SUMMARY: &str = "urn:xmpp:push:summary";
/// XEP-0359: Unique and Stable Stanza IDs.
pub const STANZA_IDS: &str = "urn:xmpp:sid:0";
/// XEP-0377: Blocking Command Reports.
pub const REPORTING: &str = "urn:xmpp:reporting:1";
/// XEP-0398: User Avatar to vCard-Based Avatars Conversion.
pub const AVATAR_CONVERSION: &str = "urn:xmpp:pep-vcard-conversion:0";
/// XEP-0402: PEP Native Bookmarks, also the name of its node.
pub const BOOKMARKS: &str = "urn:xmpp:bookmarks:1";
/// XEP-0402: PEP Native Bookmarks, in step with private XML storage.
pub const BOOKMARKS_COMPAT: &str = "urn:xmpp:bookmarks:1#compat";
/// XEP-0402: PEP Native Bookmarks, in step with the node of XEP-0048.
pub const BOOKMARKS_COMPAT_PEP: &str = "urn:xmpp:bookmarks:1#compat-pep";
/// XEP-0411: Bookmarks Conversion.
pub const BOOKMARKS_CONVERSION: &str = "urn:xmpp:bookmarks-conversion:0";
/// XEP-0424: Message Retraction.
pub const RETRACT: &str = "urn:xmpp:message-retract:1";
/// XEP-0424: Message Retraction, of messages in an archive.
pub const RETRACT_TOMBSTONE: &str = "urn:xmpp:message-retract:1#tombstone";
/// XEP-0413: Order-By.
pub const ORDER_BY: &str = "urn:xmpp:order-by:1";
/// XEP-0395: Atomically Compare-And-Publish PubSub Items.
pub const COMPARE_AND_PUBLISH: &str = "urn:xmpp:pubsub:cap:0";
/// XEP-0496: Pubsub Node Relationships.
pub const RELATIONSHIPS: &str = "urn:xmpp:pubsub-relationships:0";
/// XEP-0497: Pubsub Extended Subscriptions.
pub const EXTENDED_SUBSCRIPTIONS: &str = "urn:xmpp:pubsub-ext-sub:0";
/// XEP-0499: Pubsub Extended Discovery.
pub const EXTENDED_DISCO: &str = "urn:xmpp:pubsub-ext-disco:0";
/// XEP-0462: PubSub Type Filtering.
pub const TYPE_FILTER: &str = "urn:xmpp:pubsub-filter:0";
/// XEP-0503: Server-side spaces, the type of their nodes.
pub const SPACES: &str = "urn:xmpp:spaces:0";
/// XEP-0431: Full Text Search in MAM.
pub const FULL_TEXT: &str = "urn:xmpp:fulltext:0";
/// XEP-0085: Chat State Notifications.
pub const CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";
/// XEP-0184: Message Delivery Receipts.
pub const RECEIPTS: &str = "urn:xmpp:receipts";
/// XEP-0333: Displayed Markers.
pub const MARKERS: &str = "urn:xmpp:chat-markers:0";
/// XEP-0490: Message Displayed Synchronization, also the name of the node.
pub const DISPLAYED: &str = "urn:xmpp:mds:displayed:0";
/// XEP-0045: Multi-User Chat, what a room says to users.
pub const MUC_USER: &str = "http://jabber.org/protocol/muc#user";
/// XEP-0249: Direct MUC Invitations.
pub const DIRECT_INVITATION: &str = "jabber:x:conference";
/// XEP-0220: Server Dialback.
pub const DIALBACK: &str = "jabber:server:dialback";
/// XEP-0220: Server Dialback, stream feature.
pub const DIALBACK_FEATURE: &str = "urn:xmpp:features:dialback";
/// XEP-0277: Microblogging over XMPP.
pub const MICROBLOG: &str = "urn:xmpp:microblog:0";
/// XEP-0288: Bidirectional Server-to-Server Connections.
pub const BIDI: &str = "urn:xmpp:bidi";
/// XEP-0288: Bidirectional Server-to-Server Connections, stream feature.
pub const BIDI_FEATURE: &str = "urn:xmpp:features:bidi";
/// XEP-0330: Pubsub Subscription.
pub const PUBSUB_SUBSCRIPTION: &str = "urn:xmpp:pubsub:subscription";
/// XEP-0440: SASL Channel-Binding Type Capability.
pub const SASL_CB: &str = "urn:xmpp:sasl-cb:0";
/// XEP-0445: Pre-Authenticated In-Band Registration, the token (defined by XEP-0379).
pub const PRE_AUTHENTICATED: &str = "urn:xmpp:pars:0";
/// XEP-0445: Pre-Authenticated In-Band Registration, stream feature.
pub const PRE_AUTHENTICATED_FEATURE: &str = "urn:xmpp:ibr-token:0";
/// XEP-0472: Pubsub Social Feed.
pub const SOCIAL_FEED: &str = "urn:xmpp:pubsub-social-feed:1";
/// XEP-0470: Pubsub Attachments
pub const ATTACHMENTS: &str = "urn:xmpp:pubsub-attachments:1";
/// XEP-0470: Pubsub Attachments, the sum of them
pub const ATTACHMENTS_SUMMARY: &str = "urn:xmpp:pubsub-attachments:summary:1";
/// XEP-0478: Stream Limits Advertisement.
pub const STREAM_LIMITS: &str = "urn:xmpp:stream-limits:0";
/// XEP-0455: Service Outage Status.
pub const OUTAGE_STATUS: &str = "urn:xmpp:sos:0";
/// XEP-0504: Data Policy.
pub const DATA_POLICY: &str = "urn:xmpp:data-policy:0";
/// RFC 4287: Atom.
pub const ATOM: &str = "http://www.w3.org/2005/Atom";
/// XML itself (`xml:lang`).
pub const XML: &str = "http://www.w3.org/XML/1998/namespace";
/// `xeps/chirrup-timeline.md`: the node of home timelines, and its feature.
pub const TIMELINE: &str = "urn:chirrup:timeline:0";
/// `xeps/chirrup-notifications.md`: the node of what others did that concerns the account, and its feature.
pub const NOTIFICATIONS: &str = "urn:chirrup:notifications:0";
/// The same: the node of how far that was read.
pub const NOTIFICATIONS_READ: &str = "urn:chirrup:notifications:0:read";
/// `xeps/chirrup-directory.md`: the command by which people say that they want to be found, and the list of their feeds.
pub const DIRECTORY: &str = "urn:chirrup:directory:0";
/// `xeps/chirrup-tags.md`: the feature of a service that lists posts under their hashtags.
pub const TAGS: &str = "urn:chirrup:tags:0";
/// XEP-0376: Pubsub Account Management.
pub const ACCOUNT_MANAGEMENT: &str = "urn:xmpp:pam:0";
/// XEP-0465: Pubsub Public Subscriptions.
pub const PUBLIC_SUBSCRIPTIONS: &str = "urn:xmpp:pps:0";
/// XEP-0330: Pubsub Subscription, of its payload.
pub const SUBSCRIPTION_ITEM: &str = "urn:xmpp:pubsub:subscription:0";
/// XEP-0257: Client Certificate Management for SASL EXTERNAL.
pub const CERTIFICATES: &str = "urn:xmpp:saslcert:1";
/// XEP-0386: Bind 2.
pub const BIND2: &str = "urn:xmpp:bind:0";
/// XEP-0388: Extensible SASL Profile.
pub const SASL2: &str = "urn:xmpp:sasl:2";
/// XEP-0480: SASL Upgrade Tasks.
pub const SASL_UPGRADE: &str = "urn:xmpp:sasl:upgrade:0";
/// XEP-0480: SASL Upgrade Tasks, those of SCRAM.
pub const SCRAM_UPGRADE: &str = "urn:xmpp:scram-upgrade:0";
/// XEP-0484: Fast Authentication Streamlining Tokens.
pub const FAST: &str = "urn:xmpp:fast:0";
/// XEP-0494: Client Access Management.
pub const CLIENT_ACCESS: &str = "urn:xmpp:cam:0";
/// XEP-0509: Initial Authentication Pipelining.
pub const PIPELINING: &str = "urn:xmpp:iap:0";
