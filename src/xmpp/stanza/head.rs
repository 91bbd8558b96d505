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

impl Kind {
    /// The name of the element.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Message(_) => "message",
            Self::Presence(_) => "presence",
            Self::Iq(_) => "iq",
        }
    }

    /// The type attribute; `None` where its absence says as much.
    #[must_use]
    pub const fn type_str(self) -> Option<&'static str> {
        match self {
            Self::Message(MessageType::Normal) | Self::Presence(PresenceType::Available) => None,
            Self::Message(MessageType::Chat) => Some("chat"),
            Self::Message(MessageType::Groupchat) => Some("groupchat"),
            Self::Message(MessageType::Headline) => Some("headline"),
            Self::Presence(PresenceType::Probe) => Some("probe"),
            Self::Presence(PresenceType::Subscribe) => Some("subscribe"),
            Self::Presence(PresenceType::Subscribed) => Some("subscribed"),
            Self::Presence(PresenceType::Unavailable) => Some("unavailable"),
            Self::Presence(PresenceType::Unsubscribe) => Some("unsubscribe"),
            Self::Presence(PresenceType::Unsubscribed) => Some("unsubscribed"),
            Self::Iq(IqType::Get) => Some("get"),
            Self::Iq(IqType::Set) => Some("set"),
            Self::Iq(IqType::Result) => Some("result"),
            Self::Message(MessageType::Error) | Self::Presence(PresenceType::Error) | Self::Iq(IqType::Error) => {
                Some("error")
            }
        }
    }

    /// Whether it is of type `error`, which is never answered.
    #[must_use]
    pub const fn is_error(self) -> bool {
        matches!(
            self,
            Self::Message(MessageType::Error) | Self::Presence(PresenceType::Error) | Self::Iq(IqType::Error)
        )
    }

    /// Whether it is an IQ that must be answered.
    #[must_use]
    pub const fn is_request(self) -> bool {
        matches!(self, Self::Iq(IqType::Get | IqType::Set))
    }
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

impl MessageType {
    pub(super) fn from_attribute(text: Option<&str>) -> Self {
        match text {
            Some("chat") => Self::Chat,
            Some("error") => Self::Error,
            Some("groupchat") => Self::Groupchat,
            Some("headline") => Self::Headline,
            _ => Self::Normal,
        }
    }
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

impl PresenceType {
    pub(super) fn from_attribute(text: Option<&str>) -> Option<Self> {
        Some(match text {
            None => Self::Available,
            Some("error") => Self::Error,
            Some("probe") => Self::Probe,
            Some("subscribe") => Self::Subscribe,
            Some("subscribed") => Self::Subscribed,
            Some("unavailable") => Self::Unavailable,
            Some("unsubscribe") => Self::Unsubscribe,
            Some("unsubscribed") => Self::Unsubscribed,
            Some(_) => return None,
        })
    }
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

impl IqType {
    pub(super) fn from_attribute(text: Option<&str>) -> Option<Self> {
        Some(match text {
            Some("get") => Self::Get,
            Some("set") => Self::Set,
            Some("result") => Self::Result,
            Some("error") => Self::Error,
            _ => return None,
        })
    }
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
    /// `xml:lang`, its own or the stream's.
    pub lang: Option<Box<str>>,
}

impl Head {
    /// A head that says nothing but what it is.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self { kind, to: None, from: None, id: None, lang: None }
    }

    /// Sets the recipient.
    #[must_use]
    pub fn to(mut self, to: impl Into<Jid>) -> Self {
        self.to = Some(to.into());
        self
    }

    /// Sets the sender.
    #[must_use]
    pub fn from(mut self, from: impl Into<Jid>) -> Self {
        self.from = Some(from.into());
        self
    }

    /// Sets the identifier.
    #[must_use]
    pub fn id(mut self, id: impl Into<Box<str>>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets the language.
    #[must_use]
    pub fn lang(mut self, lang: impl Into<Box<str>>) -> Self {
        self.lang = Some(lang.into());
        self
    }

    /// The head of an answer: the addresses change places, the identifier stays.
    #[must_use]
    pub fn answered_as(&self, kind: Kind) -> Self {
        Self { kind, to: self.from.clone(), from: self.to.clone(), id: self.id.clone(), lang: None }
    }
}
