//! SASL EXTERNAL for clients: who a client is by the certificate it has shown in TLS (XEP-0178 section 2, XEP-0257).
//!
//! A certificate is worth something when an account has registered it, or when it names accounts of ours and an authority
//! vouches for that which the administrator has named for clients. EXTERNAL is offered for no other, so that a client with a
//! certificate for other purposes logs in as any other does. It is looked at again when it is used.

use rustls_pki_types::CertificateDer;
use store::Fault;
use xmpp::sasl::Failure;
use xmpp::stream::Condition;
use xmpp::stream::entry::Proof;
use xmpp::{BareJid, Jid};

use super::negotiate::unavailable;
use super::trust::ClientCertificate;
use crate::house::House;
use crate::session::{Login, Session};
use crate::tables::certificates::Worth;
use crate::tables::clients::Certificate;

/// Accounts looked at that have registered one and the same certificate, where nothing says which is meant.
const OWNERS_MAX: usize = 8;

/// A certificate that is worth something.
#[derive(Debug)]
pub(super) struct Shown {
    certificate: ClientCertificate,
    is_vouched_for: bool,
}

/// Who a client is.
#[derive(Debug)]
pub(super) struct Certified {
    pub(super) account: BareJid,
    /// What has let it in.
    pub(super) certificate: Certificate,
}

/// Whether clients are to be asked for certificates.
pub(super) fn asks(house: &House) -> bool {
    house.config.c2s.client_certificates && (house.certificates.is_any() || !house.client_roots.is_empty())
}

/// Whether a token counts that was given for this certificate: not where clients cannot log in with such a one any more.
pub(super) fn takes(house: &House, certificate: &Certificate) -> bool {
    house.config.c2s.client_certificates && (!certificate.is_vouched_for || !house.client_roots.is_empty())
}

/// What a client has shown, if it is worth something.
pub(super) async fn judge(house: &House, chain: &[CertificateDer<'_>]) -> Option<Shown> {
    let certificate = ClientCertificate::read(chain.first()?)?;
    let now = house.clock.now();
    if !certificate.is_in_time(now) {
        return None;
    }
    let is_ours = |jid: &Jid| house.router.hosts().any(|host| host == jid.domain());
    let is_vouched_for =
        certificate.addresses.iter().any(is_ours) && house.client_roots.vouch(&certificate, chain, now);
    let mut shown = Shown { certificate, is_vouched_for };
    match lets_in(house, &mut shown).await {
        Ok(lets_in) => lets_in.then_some(shown),
        Err(fault) => {
            tracing::error!(%fault, "cannot look up a certificate");
            None
        }
    }
}

/// Whether there is an account that is let in by what is shown. What an authority says of nobody here counts for nothing.
async fn lets_in(house: &House, shown: &mut Shown) -> Result<bool, Fault> {
    if shown.is_vouched_for {
        let hosts: Vec<&str> = house.router.hosts().collect();
        for jid in shown.certificate.addresses.iter().filter(|jid| hosts.contains(&jid.domain())) {
            if jid.localpart().is_some() && house.accounts.exists(&jid.to_bare()).await? {
                return Ok(true);
            }
        }
        shown.is_vouched_for = false;
    }
    Ok(!house.certificates.owners(&shown.certificate.fingerprint, 1).await?.is_empty())
}

/// Who a client is that wants to be `authzid`, on a stream to `domain` that says it is `from` somebody.
///
/// # Errors
/// When the certificate is none of those, or does not say which of several.
pub(super) async fn identify(
    house: &House,
    shown: &Shown,
    domain: &str,
    authzid: Option<&Jid>,
    from: Option<&BareJid>,
) -> Result<Certified, Failure> {
    let certificate = &shown.certificate;
    if !certificate.is_in_time(house.clock.now()) {
        return Err(Failure::CredentialsExpired);
    }
    let named = authzid.map(Jid::to_bare).or_else(|| from.cloned());
    let account = match named {
        Some(named)
            if named.localpart().is_some() && named.domain() == domain && is_of(house, shown, &named).await? =>
        {
            named
        }
        Some(_) => return Err(Failure::InvalidAuthzid),
        None => only(house, shown, domain).await?,
    };
    if !house.accounts.exists(&account).await.map_err(|fault| unavailable(&fault))? {
        return Err(Failure::NotAuthorized);
    }
    if house.accounts.is_disabled(&account) {
        return Err(Failure::AccountDisabled);
    }
    // XEP-0257 section "SASL EXTERNAL": a full address, named alone or asked for, is the only one.
    let full = |jid: &Jid| jid.to_full().filter(|full| full.bare() == account);
    let resource = match (authzid.and_then(full), certificate.addresses.as_slice()) {
        (Some(wanted), names) if names.iter().any(|name| full(name).is_some_and(|name| name == wanted)) => Some(wanted),
        (Some(_), _) => return Err(Failure::InvalidAuthzid),
        (None, [name]) => full(name),
        (None, _) => None,
    };
    let certificate = Certificate {
        fingerprint: certificate.fingerprint,
        until: certificate.until(),
        is_vouched_for: vouches(shown, &account),
        resource: resource.map(|full| full.resource().into()),
    };
    Ok(Certified { account, certificate })
}

/// Looks at that by which the client of `session` came, a certificate or a token, now that whoever takes it away finds the
/// session: it ends at once if that has happened since it was shown. Whether it goes on is returned.
pub(super) async fn look_again(house: &House, session: &Session) -> bool {
    let login = session.state().login.clone();
    let Some(login) = login else { return true };
    let worth = match worth(house, &session.jid.bare(), &login).await {
        Ok(worth) => worth,
        Err(fault) => {
            tracing::error!(%fault, "cannot look up how a client came in");
            session.mailbox.close(Some(Condition::InternalServerError));
            return false;
        }
    };
    if worth == Worth::Nothing {
        session.mailbox.close(Some(Condition::NotAuthorized));
        return false;
    }
    if let Some(login) = &mut session.state().login {
        login.may_manage = worth == Worth::Management;
    }
    true
}

/// What a client is let in for that has logged in so.
async fn worth(house: &House, account: &BareJid, login: &Login) -> Result<Worth, Fault> {
    if let (Proof::Token { .. }, Some(client)) = (login.proof, &login.client)
        && !house.clients.is_known(account, client).await?
    {
        return Ok(Worth::Nothing);
    }
    match &login.certificate {
        Some(certificate) => house.certificates.worth(account, certificate).await,
        None => Ok(Worth::Management),
    }
}

/// Whether an authority does for the certificate at `account`.
fn vouches(shown: &Shown, account: &BareJid) -> bool {
    shown.is_vouched_for && shown.certificate.addresses.iter().any(|jid| jid.to_bare() == *account)
}

/// Whether the certificate is one of `account`.
async fn is_of(house: &House, shown: &Shown, account: &BareJid) -> Result<bool, Failure> {
    if vouches(shown, account) {
        return Ok(true);
    }
    let found = house.certificates.find(account, &shown.certificate.fingerprint).await;
    found.map(|found| found.is_some()).map_err(|fault| unavailable(&fault))
}

/// The only account of `domain` that the certificate is one of; of several, the only one that it names.
async fn only(house: &House, shown: &Shown, domain: &str) -> Result<BareJid, Failure> {
    let certificate = &shown.certificate;
    let named: Vec<BareJid> = certificate.addresses.iter().map(Jid::to_bare).collect();
    let owners = house.certificates.owners(&certificate.fingerprint, OWNERS_MAX).await;
    let mut all = owners.map_err(|fault| unavailable(&fault))?;
    if shown.is_vouched_for {
        all.extend(named.iter().cloned());
    }
    all.retain(|account| account.domain() == domain && account.localpart().is_some());
    all.sort_unstable();
    all.dedup();
    if all.len() > 1 {
        let of_these: Vec<BareJid> = all.iter().filter(|account| named.contains(account)).cloned().collect();
        if let [only] = of_these.as_slice() {
            return Ok(only.clone());
        }
    }
    match all.as_slice() {
        [] => Err(Failure::NotAuthorized),
        [only] => Ok(only.clone()),
        _ => Err(Failure::InvalidAuthzid),
    }
}
