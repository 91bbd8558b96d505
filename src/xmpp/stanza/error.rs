//! What can be wrong with a stanza, as a table (RFC 6120 section 8.3).

use crate::ns;
use crate::xml::{Element, escape_attr, escape_text, write_element};

/// What the sender may do about it (RFC 6120 section 8.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// Give credentials and try again.
    Auth,
    /// Do not try again.
    Cancel,
    /// Go on; it was only a warning.
    Continue,
    /// Change what was sent and try again.
    Modify,
    /// Try again later.
    Wait,
}

impl ErrorType {
    /// The value of the attribute.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Cancel => "cancel",
            Self::Continue => "continue",
            Self::Modify => "modify",
            Self::Wait => "wait",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Auth, Self::Cancel, Self::Continue, Self::Modify, Self::Wait].into_iter().find(|t| t.as_str() == text)
    }
}

macro_rules! conditions {
    ($($(#[$doc:meta])+ $variant:ident $constructor:ident $name:literal $type:ident;)+) => {
        /// A defined condition (RFC 6120 section 8.3.3).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Condition {
            $($(#[$doc])+ $variant,)+
        }

        impl Condition {
            /// All of them, in the order of the RFC.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name of the element.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The type the RFC associates with it.
            #[must_use]
            pub const fn usual_type(self) -> ErrorType {
                match self { $(Self::$variant => ErrorType::$type,)+ }
            }

            /// The condition with this element name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }

        impl StanzaError {
            $($(#[$doc])+ #[must_use] pub const fn $constructor() -> Self { Self::new(Condition::$variant) })+
        }
    };
}

conditions! {
    /// The request cannot be understood.
    BadRequest bad_request "bad-request" Modify;
    /// Something of this name exists already.
    Conflict conflict "conflict" Cancel;
    /// Not here, not for anybody.
    FeatureNotImplemented feature_not_implemented "feature-not-implemented" Cancel;
    /// Not for this sender.
    Forbidden forbidden "forbidden" Auth;
    /// Moved for good; [`StanzaError::address`] may say where to.
    Gone gone "gone" Cancel;
    /// Our fault.
    InternalServerError internal_server_error "internal-server-error" Cancel;
    /// There is no such thing, or the sender may not know that there is.
    ItemNotFound item_not_found "item-not-found" Cancel;
    /// Something that should be an address is not.
    JidMalformed jid_malformed "jid-malformed" Modify;
    /// The request is understood and breaks a rule of ours.
    NotAcceptable not_acceptable "not-acceptable" Modify;
    /// Nobody may do this.
    NotAllowed not_allowed "not-allowed" Cancel;
    /// Credentials are missing or wrong.
    NotAuthorized not_authorized "not-authorized" Auth;
    /// A local policy forbids it.
    PolicyViolation policy_violation "policy-violation" Modify;
    /// The recipient is away.
    RecipientUnavailable recipient_unavailable "recipient-unavailable" Wait;
    /// Moved for now; [`StanzaError::address`] says where to.
    Redirect redirect "redirect" Modify;
    /// Register first.
    RegistrationRequired registration_required "registration-required" Auth;
    /// The recipient's server does not exist.
    RemoteServerNotFound remote_server_not_found "remote-server-not-found" Cancel;
    /// The recipient's server cannot be reached now.
    RemoteServerTimeout remote_server_timeout "remote-server-timeout" Wait;
    /// We are too busy, or the sender has had its share.
    ResourceConstraint resource_constraint "resource-constraint" Wait;
    /// This is not offered here.
    ServiceUnavailable service_unavailable "service-unavailable" Cancel;
    /// Subscribe first.
    SubscriptionRequired subscription_required "subscription-required" Auth;
    /// None of the others; the specific condition says more.
    UndefinedCondition undefined_condition "undefined-condition" Cancel;
    /// Understood, but not at this time.
    UnexpectedRequest unexpected_request "unexpected-request" Wait;
}

/// The answer to a stanza that failed (RFC 6120 section 8.3).
#[derive(Clone, Debug, PartialEq)]
pub struct StanzaError {
    /// What the sender may do about it.
    pub type_: ErrorType,
    /// What is wrong, in a word all software knows.
    pub condition: Condition,
    /// What is wrong, for a person.
    pub text: Option<String>,
    /// What is wrong, in a word of the protocol in question.
    pub specific: Option<Box<Element>>,
    /// The same in a word of a protocol built upon that one.
    pub beside: Option<Box<Element>>,
    /// With `gone` and `redirect`, where to: a URI (RFC 6120 sections 8.3.3.5 and 8.3.3.14).
    pub address: Option<Box<str>>,
}

impl StanzaError {
    /// A condition with the type that is usual for it.
    #[must_use]
    pub const fn new(condition: Condition) -> Self {
        Self { type_: condition.usual_type(), condition, text: None, specific: None, beside: None, address: None }
    }

    /// Says it to a person.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Says it in a word of the protocol in question.
    #[must_use]
    pub fn with_specific(mut self, specific: Element) -> Self {
        self.specific = Some(Box::new(specific));
        self
    }

    /// Says it in one more word beside the specific one.
    #[must_use]
    pub fn with_beside(mut self, beside: Element) -> Self {
        self.beside = Some(Box::new(beside));
        self
    }

    /// Gives it another type than the usual one.
    #[must_use]
    pub const fn with_type(mut self, type_: ErrorType) -> Self {
        self.type_ = type_;
        self
    }

    /// Says where to go instead: a URI.
    #[must_use]
    pub fn with_address(mut self, address: impl Into<Box<str>>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// Appends the `<error/>` element, in the content namespace.
    pub fn render_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"<error type='");
        out.extend_from_slice(self.type_.as_str().as_bytes());
        out.extend_from_slice(b"'><");
        out.extend_from_slice(self.condition.name().as_bytes());
        out.extend_from_slice(b" xmlns='");
        escape_attr(out, ns::STANZA_ERRORS);
        match &self.address {
            Some(address) => {
                out.extend_from_slice(b"'>");
                escape_text(out, address);
                out.extend_from_slice(b"</");
                out.extend_from_slice(self.condition.name().as_bytes());
                out.push(b'>');
            }
            None => out.extend_from_slice(b"'/>"),
        }
        if let Some(text) = &self.text {
            out.extend_from_slice(b"<text xmlns='");
            escape_attr(out, ns::STANZA_ERRORS);
            out.extend_from_slice(b"' xml:lang='en'>");
            escape_text(out, text);
            out.extend_from_slice(b"</text>");
        }
        for specific in self.specific.iter().chain(&self.beside) {
            write_element(out, specific, ns::CLIENT);
        }
        out.extend_from_slice(b"</error>");
    }

    /// The `<error/>` element.
    #[must_use]
    pub fn to_element(&self) -> Element {
        let mut condition = Element::builder(self.condition.name(), ns::STANZA_ERRORS);
        if let Some(address) = &self.address {
            condition = condition.append(address.to_string());
        }
        let mut error = Element::bare("error", ns::CLIENT);
        crate::xml::set_attr(&mut error, "type", self.type_.as_str());
        error.append_child(condition.build());
        if let Some(text) = &self.text {
            let mut element = Element::builder("text", ns::STANZA_ERRORS).append(text.as_str()).build();
            crate::xml::set_lang(&mut element, "en");
            error.append_child(element);
        }
        for specific in self.specific.iter().chain(&self.beside) {
            error.append_child((**specific).clone());
        }
        error
    }

    /// Reads an `<error/>` element. An unknown or missing condition is `undefined-condition` and a missing
    /// type the condition's usual one (RFC 6120 section 8.3.2 wants both; peers forget them).
    #[must_use]
    pub fn parse(element: &Element) -> Option<Self> {
        if element.name() != "error" {
            return None;
        }
        let mut error = Self::undefined_condition();
        for child in element.children() {
            if !child.has_ns(ns::STANZA_ERRORS) {
                let place = if error.specific.is_none() { &mut error.specific } else { &mut error.beside };
                place.get_or_insert_with(|| Box::new(child.clone()));
            } else if child.name() == "text" {
                error.text.get_or_insert_with(|| child.text());
            } else if let Some(condition) = Condition::from_name(child.name()) {
                error.condition = condition;
                let address = child.text();
                error.address = (!address.is_empty()).then(|| address.into_boxed_str());
            }
        }
        error.type_ = element.attr("type").and_then(ErrorType::parse).unwrap_or_else(|| error.condition.usual_type());
        Some(error)
    }
}

impl std::fmt::Display for StanzaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.condition.name())?;
        match &self.text {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StanzaError {}
