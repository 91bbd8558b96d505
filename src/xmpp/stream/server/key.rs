//! Dialback keys (XEP-0185): made from a secret and the question, so that none has to be remembered.

use std::fmt;

use subtle::ConstantTimeEq;

use crate::sasl::Hash;

/// What the keys of a house are made from: the hash of random bytes or of a configured text. Never shown.
#[derive(Clone)]
pub struct Secret([u8; 64]);

impl Secret {
    /// The secret for these bytes, of 128 random bits or more.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut hex = [0; 64];
        write_hex(&mut hex, &Hash::Sha256.digest(bytes));
        Self(hex)
    }

    /// The key that the originating domain shows to the receiving domain on the stream with this identifier:
    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn key(&self, receiving: &str, originating: &str, stream_id: &str) -> String {
        let parts = [receiving, " ", originating, " ", stream_id].map(str::as_bytes);
        let mut hex = [0; 64];
        write_hex(&mut hex, &Hash::Sha256.hmac(&self.0, &parts));
        hex.iter().copied().map(char::from).collect()
    }

    /// Whether a key is the one above. Takes the same time for every key of the right length.
    #[must_use]
    pub fn is_key(&self, key: &str, receiving: &str, originating: &str, stream_id: &str) -> bool {
        self.key(receiving, originating, stream_id).as_bytes().ct_eq(key.trim().as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn write_hex(out: &mut [u8; 64], bytes: &[u8]) {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    for (place, digit) in out.iter_mut().zip(digits) {
        *place = if digit < 10 { b'0' + digit } else { b'a' + (digit - 10) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_xep_0185() {
        let secret = Secret::new(b"s3cr3tf0rd14lb4ck");
        let key = "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643";
        assert_eq!(secret.key("xmpp.example.com", "example.org", "D60000229F"), key);
        assert!(secret.is_key(&format!("\n  {key} "), "xmpp.example.com", "example.org", "D60000229F"));
        for (receiving, originating, id) in [
            ("xmpp.example.co", "example.org", "D60000229F"),
            ("xmpp.example.com", "example.net", "D60000229F"),
            ("xmpp.example.com", "example.org", "D60000229E"),
            ("xmpp.example.com example.org", "", "D60000229F"),
        ] {
            assert!(!secret.is_key(key, receiving, originating, id));
        }
        for wrong in ["", &key[1..], &key.to_uppercase()] {
            assert!(!secret.is_key(wrong, "xmpp.example.com", "example.org", "D60000229F"));
        }
    }
}
