//! PLAIN (RFC 4616): the password itself, in the clear. Permitted under TLS only; `stream` sees to that.

use std::fmt;

use super::Failure;

/// Longest part of a message, in bytes: what RFC 7622 permits a localpart to be.
pub const PART_BYTES_MAX: usize = 1023;

/// A password on its way to be checked. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// Wraps a password.
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }

    /// The password in the clear.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// The one message of the mechanism.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who to act as; `None` when it is the one who authenticates.
    pub authzid: Option<String>,
    /// Who authenticates: a localpart.
    pub authcid: String,
    /// Proof.
    pub password: Password,
}

impl Message {
    /// Reads `[authzid] NUL authcid NUL passwd`.
    ///
    /// # Errors
    /// [`Failure::MalformedRequest`] when there are not three parts, the last two are empty, a part is
    /// longer than [`PART_BYTES_MAX`], or it is not UTF-8.
    pub fn parse(message: &[u8]) -> Result<Self, Failure> {
        let text = std::str::from_utf8(message).map_err(|_| Failure::MalformedRequest)?;
        let mut parts = text.split('\0');
        let (Some(authzid), Some(authcid), Some(password), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Failure::MalformedRequest);
        };
        if authcid.is_empty()
            || password.is_empty()
            || [authzid, authcid, password].iter().any(|part| part.len() > PART_BYTES_MAX)
        {
            return Err(Failure::MalformedRequest);
        }
        Ok(Self {
            authzid: (!authzid.is_empty()).then(|| authzid.to_owned()),
            authcid: authcid.to_owned(),
            password: Password::new(password),
        })
    }

    /// Writes the message.
    pub fn render(&self) -> Vec<u8> {
        let authzid = self.authzid.as_deref().unwrap_or_default();
        [authzid, "\0", &self.authcid, "\0", self.password.expose()].concat().into_bytes()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn three_parts() {
        let message = Message::parse(b"\0tim\0tanstaaftanstaaf").unwrap();
        assert_eq!(message.authcid, "tim");
        assert_eq!(message.authzid, None);
        assert_eq!(message.password.expose(), "tanstaaftanstaaf");
        assert_eq!(message.render(), b"\0tim\0tanstaaftanstaaf");
        let message = Message::parse(b"Ursel\0Kurt\0xipj3plmq").unwrap();
        assert_eq!(message.authzid.as_deref(), Some("Ursel"));
        assert!(!format!("{message:?}").contains("xipj3plmq"));
    }

    #[test]
    fn everything_else_is_malformed() {
        let long = format!("\0{}\0x", "a".repeat(PART_BYTES_MAX + 1));
        for bad in [&b""[..], b"a", b"\0a", b"\0a\0", b"\0\0a", b"\0a\0b\0c", b"\0a\0\xff", long.as_bytes()] {
            assert_eq!(Message::parse(bad), Err(Failure::MalformedRequest), "{bad:?}");
        }
    }
}
