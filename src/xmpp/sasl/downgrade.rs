//! What a server says within SCRAM about what it offered, so that nobody between can have taken the better part away:
//! XEP-0474 (mechanisms and channel-binding types, `h`) and XEP-0515 (the version of TLS, `t`).
//!
//! Both are covered by the proofs of both sides. Who does not know them overlooks them (RFC 5802 section 5.1).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Hash;

/// The value of `h`: a hash of the names offered, in whatever order they were (XEP-0474 section "Server Sends Downgrade
/// Protection Hash"). `bindings` is `None` where no list of channel-binding types was sent.
#[must_use]
pub fn hash(hash: Hash, mechanisms: &[&str], bindings: Option<&[&str]>) -> String {
    let sorted = |names: &[&str]| {
        let mut names = names.to_vec();
        names.sort_unstable();
        names.join("\x1e")
    };
    let mut text = sorted(mechanisms);
    if let Some(bindings) = bindings {
        text.push('\x1f');
        text.push_str(&sorted(bindings));
    }
    STANDARD.encode(hash.digest(text.as_bytes()))
}

/// The value of `t` for a version of TLS written `1.2` or `1.3` (XEP-0515 section "Server Sends TLS Version As Hex").
#[must_use]
pub fn version(tls: &str) -> Option<&'static str> {
    match tls {
        "1.2" => Some("0303"),
        "1.3" => Some("0304"),
        _ => None,
    }
}

/// What comes behind the iteration count in `server-first-message`.
#[must_use]
pub fn extensions(hash: &str, tls: Option<&str>) -> String {
    let version = tls.and_then(version).map(|version| format!(",t={version}")).unwrap_or_default();
    format!(",h={hash}{version}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification() {
        let mechanisms = ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"];
        let bindings = ["tls-server-end-point", "tls-exporter"];
        let hashed = hash(Hash::Sha1, &mechanisms, Some(&bindings));
        assert_eq!(hashed, "G6k/rBLDqgOhRRaCuuatSDFkJ08=");
        // XEP-0515, example 1.
        assert_eq!(extensions(&hashed, Some("1.3")), ",h=G6k/rBLDqgOhRRaCuuatSDFkJ08=,t=0304");
        assert_ne!(hash(Hash::Sha1, &mechanisms, Some(&[])), hash(Hash::Sha1, &mechanisms, None));
    }
}
