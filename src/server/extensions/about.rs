//! What the operator says of the server, in forms of its disco#info (XEP-0128): whom to write to (XEP-0157), where to look
//! when it is out of order (XEP-0455), what becomes of data (XEP-0504). And that addresses may be escaped (XEP-0106).
//!
//! All of it is configured; what the software knows of itself is the default. Nothing here is checked to be true.

use std::sync::Arc;

use serde::Deserialize;
use xmpp::form::{Field, FieldType, Form, FormType};
use xmpp::{Element, ns};

use crate::config::{Config, ConfigError};
use crate::extension::{Extension, Mount, Spec, To, Xep};

/// Section `[contacts]`: addresses as URIs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Contacts {
    /// About abuse.
    pub abuse: Vec<String>,
    /// Administrators; if empty, those in `admins`.
    pub admin: Vec<String>,
    /// Opinions.
    pub feedback: Vec<String>,
    /// Wishes to buy.
    pub sales: Vec<String>,
    /// About holes.
    pub security: Vec<String>,
    /// Pages for people that say whether the server works.
    pub status: Vec<String>,
    /// Questions.
    pub support: Vec<String>,
    /// Files for programs that say whether the server works (XEP-0455).
    pub outage: Vec<String>,
}

/// Section `[data_policy]`, by the fields of XEP-0504.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataPolicy {
    /// Whether passwords reach the server in plain text.
    pub auth_data: String,
    /// Hours, `infinite`, `unknown`, or empty for nothing said.
    pub data_retention: String,
    /// Whether people can delete what they published.
    pub data_deletion: bool,
    /// Whether what is stored is encrypted.
    pub encryption_at_rest: bool,
    /// Where the terms of service are; empty for nowhere.
    pub tos: String,
    /// Whether people can take all of their data with them.
    pub data_export: bool,
    /// Who can see people's data; empty for nothing said.
    pub access_policy: Vec<String>,
    /// Whether an account can be removed with all of its data, wherever that lies. The software alone does not: what
    /// somebody said at others stays there.
    pub full_erasure: bool,
    /// Hours between backups, or empty for nothing said.
    pub backup_frequency: String,
    /// Hours that backups are kept, `infinite`, `unknown`, or empty for nothing said.
    pub backup_retention: String,
    /// Whatever else people should know.
    pub extra_info: String,
}

impl Default for DataPolicy {
    fn default() -> Self {
        Self {
            auth_data: "plain".to_owned(),
            data_retention: String::new(),
            data_deletion: true,
            encryption_at_rest: false,
            tos: String::new(),
            data_export: false,
            access_policy: Vec::new(),
            full_erasure: false,
            backup_frequency: String::new(),
            backup_retention: String::new(),
            extra_info: String::new(),
        }
    }
}

const EXAMPLE: &str = "[contacts]\n\
    # Whom to write to, as URIs: \"xmpp:\", \"mailto:\", \"https:\". Service discovery tells everybody. An empty list is not\n\
    # shown, but for `admin`, where it means the addresses in `admins`.\n\
    abuse = []\n\
    admin = []\n\
    feedback = []\n\
    sales = []\n\
    security = []\n\
    support = []\n\
    # Pages where people see whether the server works, and files where clients do (XEP-0455). They should be elsewhere.\n\
    status = []\n\
    outage = []\n\
    \n\
    [data_policy]\n\
    # What becomes of people's data, as far as you promise it (XEP-0504). Service discovery tells everybody.\n\
    # Passwords reach the server: \"plain\" (as it is where SASL PLAIN or registration is possible), \"hidden\", \"restricted\".\n\
    auth_data = \"plain\"\n\
    # How long messages and posts are kept at most: hours, \"infinite\", \"unknown\", or \"\" to say nothing.\n\
    data_retention = \"\"\n\
    # Whether people can delete what they published, and take everything with them.\n\
    data_deletion = true\n\
    data_export = false\n\
    # Whether all of it goes with their account. What is the account's own does; what it said at others stays: its comments\n\
    # and other items in their nodes, its name where they were told of those, messages in their archives and mailboxes,\n\
    # whatever other servers were sent, and backups. Promise it only if you see to those.\n\
    full_erasure = false\n\
    # Whether your disks are encrypted.\n\
    encryption_at_rest = false\n\
    # Who can see people's data: any of \"admins\", \"moderators\", \"organization_member\", \"government\", \"advertisers\",\n\
    # \"partners\", or \"none\" alone.\n\
    access_policy = []\n\
    # Hours between backups, hours that they are kept (or \"infinite\", \"unknown\"), or \"\" to say nothing.\n\
    backup_frequency = \"\"\n\
    backup_retention = \"\"\n\
    # Where the terms of service are, as a URI; and whatever else should be known.\n\
    tos = \"\"\n\
    extra_info = \"\"\n";

/// Who may see data, in the words of XEP-0504.
const VIEWERS: [&str; 7] =
    ["admins", "moderators", "organization_member", "government", "advertisers", "partners", "none"];

/// Says what the operator says.
#[derive(Debug)]
pub struct About {
    forms: Vec<Element>,
}

static SPEC: Spec = Spec {
    name: "about",
    xeps: &[
        Xep::complete(106, "1.1.1"),
        Xep::complete(157, "1.1.1"),
        Xep::complete(455, "0.4.0"),
        Xep::complete(504, "0.1.0"),
    ],
    config: EXAMPLE,
};

impl About {
    /// Reads both sections.
    ///
    /// # Errors
    /// When an address is no URI, or a field of the data policy has a value the specification does not know.
    pub fn new(config: &Config, contacts: &Contacts, policy: &DataPolicy) -> Result<Arc<Self>, ConfigError> {
        let admins: Vec<String> = config.admins.iter().map(|admin| format!("xmpp:{admin}")).collect();
        let admin = if contacts.admin.is_empty() { &admins } else { &contacts.admin };
        let mut info = Form::typed(FormType::Result, ns::SERVER_INFO);
        for (key, addresses) in [
            ("abuse", &contacts.abuse),
            ("admin", admin),
            ("feedback", &contacts.feedback),
            ("sales", &contacts.sales),
            ("security", &contacts.security),
            ("status", &contacts.status),
            ("support", &contacts.support),
        ] {
            uris(key, addresses)?;
            if !addresses.is_empty() {
                let field = Field::new(&format!("{key}-addresses"), FieldType::ListMulti);
                info = info.with(field.values(addresses.iter().cloned()));
            }
        }
        let mut forms = Vec::new();
        if info.fields.len() > 1 {
            forms.push(info.to_element());
        }
        uris("outage", &contacts.outage)?;
        if !contacts.outage.is_empty() {
            let field = Field::new("external-status-addresses", FieldType::ListMulti);
            let form = Form::typed(FormType::Result, ns::OUTAGE_STATUS);
            forms.push(form.with(field.values(contacts.outage.iter().cloned())).to_element());
        }
        forms.push(policy.form()?);
        Ok(Arc::new(Self { forms }))
    }
}

/// Refuses what is no URI: a scheme, a colon, something behind it, and no white space.
fn uris(key: &str, addresses: &[String]) -> Result<(), ConfigError> {
    match addresses.iter().find(|address| !is_uri(address)) {
        Some(wrong) => Err(ConfigError::new(format!("`contacts.{key}`: `{wrong}` is no URI")).with_hint(
            "write \"xmpp:someone@example.org\", \"mailto:someone@example.org\" or \"https://example.org/\"",
        )),
        None => Ok(()),
    }
}

fn is_uri(address: &str) -> bool {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|one| one.is_ascii_alphanumeric() || "+-.".contains(one))
    };
    let parts = address.split_once(':');
    parts.is_some_and(|(scheme, rest)| is_scheme(scheme) && !rest.is_empty())
        && !address.contains(|one: char| one.is_whitespace() || one.is_control())
}

impl DataPolicy {
    fn form(&self) -> Result<Element, ConfigError> {
        let wrong = |key: &str, value: &str, hint: &str| {
            Err(ConfigError::new(format!("`data_policy.{key}`: `{value}` is not known")).with_hint(hint))
        };
        if !["no_auth", "plain", "hidden", "restricted"].contains(&&*self.auth_data) {
            return wrong("auth_data", &self.auth_data, "choose \"plain\", \"hidden\" or \"restricted\"");
        }
        for viewer in &self.access_policy {
            if !VIEWERS.contains(&&**viewer) || viewer == "none" && self.access_policy.len() > 1 {
                return wrong(
                    "access_policy",
                    viewer,
                    &format!("choose from {}, or \"none\" alone", VIEWERS.join(", ")),
                );
            }
        }
        for (key, hours, words) in [
            ("data_retention", &self.data_retention, &["infinite", "unknown"][..]),
            ("backup_frequency", &self.backup_frequency, &[]),
            ("backup_retention", &self.backup_retention, &["infinite", "unknown"]),
        ] {
            if !hours.is_empty() && hours.parse::<u64>().is_err() && !words.contains(&&**hours) {
                return wrong(key, hours, "write a number of hours");
            }
        }
        if !self.tos.is_empty() && !is_uri(&self.tos) {
            return wrong("tos", &self.tos, "write a URI");
        }
        let bit = |value: bool| if value { "true" } else { "false" };
        let single = FieldType::TextSingle;
        let mut form = Form::typed(FormType::Result, ns::DATA_POLICY);
        for (var, type_, value) in [
            ("auth_data", FieldType::ListSingle, &*self.auth_data),
            ("data_retention", single, &self.data_retention),
            ("data_deletion", FieldType::Boolean, bit(self.data_deletion)),
            ("encryption_at_rest", FieldType::Boolean, bit(self.encryption_at_rest)),
            ("tos", single, &self.tos),
            ("data_export", FieldType::Boolean, bit(self.data_export)),
            ("full_erasure", FieldType::Boolean, bit(self.full_erasure)),
            ("backup_frequency", single, &self.backup_frequency),
            ("backup_retention", single, &self.backup_retention),
        ] {
            if !value.is_empty() {
                form = form.with(Field::new(var, type_).value(value));
            }
        }
        if !self.access_policy.is_empty() {
            let field = Field::new("access_policy", FieldType::ListMulti);
            form = form.with(field.values(self.access_policy.iter().cloned()));
        }
        if !self.extra_info.is_empty() {
            let lines = self.extra_info.lines().map(str::to_owned);
            form = form.with(Field::new("extra_info", FieldType::TextMulti).values(lines));
        }
        Ok(form.to_element())
    }
}

impl Extension for About {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn mount(self: Arc<Self>, at: &mut Mount) {
        for form in &self.forms {
            let form = form.clone();
            at.domain_form(Arc::new(move || form.clone()));
        }
        at.feature(To::DOMAIN | To::ACCOUNT, "jid\\20escaping");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use xmpp::xml::element_bytes;

    use super::{About, Contacts, DataPolicy, EXAMPLE, is_uri};
    use crate::config::Config;

    fn forms(text: &str) -> Result<String, String> {
        let mut config = Config::parse(text, None).unwrap();
        let contacts: Contacts = config.sections.take("contacts").map_err(|error| error.to_string())?;
        let policy: DataPolicy = config.sections.take("data_policy").map_err(|error| error.to_string())?;
        let about = About::new(&config, &contacts, &policy).map_err(|error| error.to_string())?;
        Ok(about.forms.iter().map(|form| String::from_utf8(element_bytes(form).to_vec()).unwrap()).collect())
    }

    #[test]
    fn the_example_is_the_default() {
        let mut config = Config::parse(EXAMPLE, None).unwrap();
        assert_eq!(config.sections.take::<Contacts>("contacts").unwrap(), Contacts::default());
        assert_eq!(config.sections.take::<DataPolicy>("data_policy").unwrap(), DataPolicy::default());
    }

    #[test]
    fn administrators_are_whom_to_write_to() {
        let said = forms("admins = [\"root@example.org\"]").unwrap();
        assert!(
            said.contains("<field type='list-multi' var='admin-addresses'><value>xmpp:root@example.org</value>"),
            "{said}"
        );
        let text = "admins = [\"root@example.org\"]\n[contacts]\nadmin = [\"mailto:xmpp@example.org\"]\nabuse = [\"https://a.example/\"]";
        let said = forms(text).unwrap();
        assert!(said.contains("mailto:xmpp@example.org") && said.contains("abuse-addresses"), "{said}");
        assert!(!said.contains("root@example.org") && !said.contains("urn:xmpp:sos:0"), "{said}");
        let said = forms("[contacts]\noutage = [\"https://status.example/x.json\"]").unwrap();
        assert!(said.contains("urn:xmpp:sos:0") && said.contains("external-status-addresses"), "{said}");
        assert!(!said.contains("serverinfo"), "{said}");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, part) in [
            ("[contacts]\nabuse = [\"abuse@example.org\"]", "`contacts.abuse`"),
            ("[contacts]\noutage = [\"https:\"]", "`contacts.outage`"),
            ("[contacts]\nwonder = []", "wonder"),
            ("[data_policy]\nauth_data = \"maybe\"", "`data_policy.auth_data`"),
            ("[data_policy]\naccess_policy = [\"admins\", \"none\"]", "`data_policy.access_policy`"),
            ("[data_policy]\ndata_retention = \"long\"", "`data_policy.data_retention`"),
            ("[data_policy]\nbackup_frequency = \"infinite\"", "`data_policy.backup_frequency`"),
            ("[data_policy]\ntos = \"none\"", "`data_policy.tos`"),
        ] {
            let said = forms(text).unwrap_err();
            assert!(said.contains(part), "{said}");
        }
        assert!(forms("[data_policy]\naccess_policy = [\"none\"]\ndata_retention = \"720\"").is_ok());
    }

    #[test]
    fn a_uri_has_a_scheme() {
        for (text, expected) in [
            ("xmpp:a@b", true),
            ("https://example.org/", true),
            ("a@b", false),
            (":x", false),
            ("1x:y", false),
            ("mailto:", false),
            ("xmpp:a b", false),
        ] {
            assert_eq!(is_uri(text), expected, "{text}");
        }
    }
}
