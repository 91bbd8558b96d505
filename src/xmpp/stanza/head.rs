//! The head of a stanza: its kind and the attributes every stanza may carry (RFC 6120 section 8.1).

use crate::Jid;

/// Kind and type in one (RFC 6120 section 8.2, RFC 6121 sections 4.7.1 and 5.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `<message/>`
    Message(MessageType),
    /// `<presence/>`
    Presence(PresenceType),
    /// `<iq/>`
    Iq(IqType),
}

/// RFC 6121 section 5.2.2. An unknown type is read as `Normal`, as that section says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// One of a conversation.
    Chat,
    /// The answer to a stanza that failed.
    Error,
    /// From a room.
    Groupchat,
    /// Expects no reply.
    Headline,
    /// The default.
    Normal,
}

/// RFC 6121 section 4.7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PresenceType {
    /// No type attribute: available.
    Available,
    /// The answer to a stanza that failed.
    Error,
    /// Asks for current presence.
    Probe,
    /// Asks to see presence.
    Subscribe,
    /// Grants it.
    Subscribed,
    /// No longer here.
    Unavailable,
    /// Stops seeing presence.
    Unsubscribe,
    /// Refuses or withdraws it.
    Unsubscribed,
}

/// RFC 6120 section 8.2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IqType {
    /// Asks.
    Get,
    /// Changes.
    Set,
    /// Answers well.
    Result,
    /// Answers badly.
    Error,
}

/// Kind, type and common attributes of a stanza.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Kind and type.
    pub kind: Kind,
    /// Recipient; `None` means the sender's own account (messages, presence) or server (IQ).
    pub to: Option<Jid>,
    /// Sender; what a client wrote here is replaced by the truth before routing.
    pub from: Option<Jid>,
    /// The sender's identifier for answers.
    pub id: Option<Box<str>>,
    /// `xml:lang`.
    pub lang: Option<Box<str>>,
}
