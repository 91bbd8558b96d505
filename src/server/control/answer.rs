//! What a house answers at its control socket; the same for a house with all its doors closed.

use xmpp::BareJid;

use super::{Request, Response};
use crate::house::House;
use crate::tables::accounts::{AccountError, LIST_ROWS_MAX};

/// Longest an invitation may be good for, in seconds.
const INVITATION_SECONDS_MAX: u64 = 3650 * 86_400;

/// Streams in one answer.
const LINKS_MAX: usize = 5_000;

/// Does what is asked.
pub async fn answer(house: &House, request: Request) -> Response {
    match try_answer(house, request).await {
        Ok(response) => response,
        Err(sentence) => Response::refused(sentence),
    }
}

async fn try_answer(house: &House, request: Request) -> Result<Response, String> {
    match request {
        Request::UserAdd { jid, password } => {
            let account = account(house, &jid)?;
            let now = house.clock.now();
            house.accounts.create(&account, &password, now).await.map_err(|error| said(&account, &error))?;
            Ok(Response::done(format!("{account}: opened")))
        }
        Request::UserPasswd { jid, password } => {
            let account = account(house, &jid)?;
            house.accounts.set_password(&account, &password).await.map_err(|error| said(&account, &error))?;
            Ok(Response::done(format!("{account}: password changed")))
        }
        Request::UserDelete { jid } => {
            let account = account(house, &jid)?;
            match house.remove_account(&account).await {
                Ok(true) => Ok(Response::done(format!("{account}: closed"))),
                Ok(false) => Err(said(&account, &AccountError::Unknown)),
                Err(fault) => Err(fault.to_string()),
            }
        }
        Request::UserList { domain, after } => {
            let domain = served(house, &domain)?;
            let after = after.map(|after| account(house, &after)).transpose()?;
            let listed = house.accounts.list(&domain, after.as_ref()).await.map_err(|fault| fault.to_string())?;
            let is_complete = listed.len() < LIST_ROWS_MAX;
            let accounts = listed.into_iter().map(|one| one.account.to_string()).collect();
            Ok(Response::Accounts { accounts, is_complete })
        }
        Request::UserInvite { domain, seconds } => {
            let domain = served(house, &domain)?;
            let expires = house.clock.now() + seconds.clamp(1, INVITATION_SECONDS_MAX) * 1_000_000;
            let token = house.accounts.invite(&domain, expires).await.map_err(|fault| fault.to_string())?;
            Ok(Response::done(token))
        }
        Request::S2s => {
            let mut links = house.federation.status();
            let is_complete = links.len() <= LINKS_MAX;
            links.truncate(LINKS_MAX);
            Ok(Response::Links { links, is_complete })
        }
        Request::Components => Ok(Response::Components { components: house.components.status() }),
        Request::Connectivity { domain, from } => {
            let local = match from {
                Some(from) => served(house, &from)?,
                None => served(house, house.config.hosts.first().map_or("", |host| &host.domain))?,
            };
            let remote = BareJid::new(&domain)
                .ok()
                .filter(BareJid::is_domain)
                .ok_or_else(|| format!("`{domain}` is not a domain"))?;
            if house.router.speaks_for(remote.domain()) {
                return Err(format!("`{domain}` is served here"));
            }
            Ok(Response::Probed(house.federation.probe(&local, remote.domain()).await))
        }
        Request::Status => Ok(Response::done(format!("{} sessions", house.router.sessions.count()))),
    }
}

/// The account that is meant, at a domain that is served.
fn account(house: &House, jid: &str) -> Result<BareJid, String> {
    let account = BareJid::new(jid).map_err(|error| format!("`{jid}` is not an address: {error}"))?;
    if account.localpart().is_none() {
        return Err(format!("`{jid}`: {}", AccountError::NotAnAccount));
    }
    served(house, account.domain())?;
    Ok(account)
}

fn served(house: &House, domain: &str) -> Result<String, String> {
    let asked = BareJid::new(domain).map_err(|error| format!("`{domain}` is not a domain: {error}"))?;
    let domains = || house.config.hosts.iter().filter_map(|host| BareJid::new(&host.domain).ok());
    if domains().any(|domain| domain == asked) {
        return Ok(asked.domain().to_owned());
    }
    let known = domains().map(|domain| domain.to_string()).collect::<Vec<_>>().join(", ");
    Err(format!("`{domain}` is not served here; served: {known}"))
}

fn said(account: &BareJid, error: &AccountError) -> String {
    format!("{account}: {error}")
}
