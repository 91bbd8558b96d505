//! TLSA records: what the DNS says a server's certificate is (RFC 6698, 7671), for services found by SRV (RFC 7673).
//!
//! They count only when DNSSEC vouches for the SRV record, an address of its target, and themselves. Of those usable,
//! one must match: the domain asked for it. Usage 3 asks for nothing else, neither names nor time nor authorities;
//! usage 2 names an authority of the domain's own; usages 0 and 1 come on top of the ordinary checks.
//! Not supported: usage 2 with the bare key of an authority that is not in the chain (RFC 7671 section 5.2.3).

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256, Sha512};

use super::chain::{self, Roots};
use super::leaf::{Leaf, Wanted, public_key};
use super::reason::Reason;
use crate::net::seek::Candidate;
use crate::net::trace::Trace;
use crate::runtime::{Answer, Family, LookupError, Resolver, Timestamp, Tlsa};

/// What the DNS says about the certificates at one place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Published {
    /// Nothing that counts.
    Nothing,
    /// Usable records, at least one.
    Records(Vec<Tlsa>),
    /// Something may be there, and cannot be had.
    Unknown(LookupError),
}

/// Asks for the records of one place (RFC 7673 sections 3.2 and 3.3).
pub(super) async fn published(resolver: &dyn Resolver, candidate: &Candidate, trace: &Trace) -> Published {
    if !candidate.is_secure {
        return Published::Nothing;
    }
    let host = &candidate.host;
    let name = format!("_{}._tcp.{host}", candidate.port);
    let addresses = async { tokio::join!(resolver.addresses(host, Family::V6), resolver.addresses(host, Family::V4)) };
    // At once, although the addresses decide whether the records count (RFC 7673 section 7).
    let ((v6, v4), records) = tokio::join!(addresses, resolver.tlsa(&name));
    if ![&v6, &v4].into_iter().flatten().any(|answer| answer.is_secure) {
        // An address that cannot be had now, although we are connected to it, is not known to be unsigned.
        if let Some(why) = [v6.err(), v4.err()].into_iter().flatten().find(|why| !why.is_absence()) {
            trace.say(|| format!("TLSA {name}: the address cannot be had again: {why}"));
            return Published::Unknown(why);
        }
        trace.say(|| format!("TLSA {name}: does not count, as DNSSEC does not vouch for the address"));
        return Published::Nothing;
    }
    match records {
        Ok(Answer { records, is_secure: true }) => {
            let (usable, unusable): (Vec<Tlsa>, Vec<Tlsa>) = records.into_iter().partition(is_usable);
            for record in usable.iter().chain(&unusable) {
                let Tlsa { usage, selector, matching, .. } = record;
                let remark = if is_usable(record) { "" } else { ", not usable" };
                trace.say(|| format!("TLSA {name}: {usage} {selector} {matching}{remark}"));
            }
            if usable.is_empty() { Published::Nothing } else { Published::Records(usable) }
        }
        Ok(_) => {
            trace.say(|| format!("TLSA {name}: there, and DNSSEC does not vouch for it"));
            Published::Nothing
        }
        Err(why) => {
            trace.say(|| format!("TLSA {name}: {why}"));
            if why.is_absence() { Published::Nothing } else { Published::Unknown(why) }
        }
    }
}

/// Whether a record can be used at all (RFC 6698 section 4.1).
fn is_usable(record: &Tlsa) -> bool {
    let has_right_length = match record.matching {
        0 => !record.data.is_empty(),
        1 => record.data.len() == 32,
        2 => record.data.len() == 64,
        _ => false,
    };
    record.usage <= 3 && record.selector <= 1 && has_right_length
}

/// Whether a certificate is the one that a usable record means.
fn is_meant(record: &Tlsa, certificate: &CertificateDer<'_>) -> bool {
    let selected = match record.selector {
        0 => Some(certificate.to_vec()),
        1 => public_key(certificate),
        _ => None,
    };
    selected.is_some_and(|selected| match record.matching {
        0 => selected == record.data,
        1 => Sha256::digest(&selected).as_slice() == record.data,
        2 => Sha512::digest(&selected).as_slice() == record.data,
        _ => false,
    })
}

/// What is being judged.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub(super) roots: &'a Roots,
    pub(super) leaf: &'a Leaf,
    pub(super) chain: &'a [CertificateDer<'static>],
    pub(super) wanted: &'a Wanted,
    pub(super) now: Timestamp,
}

/// When the certificate proves the domain by one of `records`, until when; at least one reason when by none.
pub(super) fn judge(case: Case<'_>, records: &[Tlsa]) -> Result<Timestamp, Vec<Reason>> {
    let mut reasons = Vec::new();
    for record in records {
        match one(case, record) {
            Ok(until) => return Ok(until),
            Err(reason) => {
                if !reasons.contains(&reason) {
                    reasons.push(reason);
                }
            }
        }
    }
    // That one record does not match is said once, and only when no other comes nearer.
    if reasons.len() > 1 {
        reasons.retain(|reason| *reason != Reason::DaneMismatch);
    }
    Err(reasons)
}

fn one(case: Case<'_>, record: &Tlsa) -> Result<Timestamp, Reason> {
    let Case { roots, leaf, chain, wanted, now } = case;
    let Some((own, authorities)) = chain.split_first() else { return Err(Reason::NoCertificate) };
    let is_named = || {
        leaf.out_of_date(now).map_or(Ok(()), Err)?;
        if leaf.is_for(wanted) { Ok(()) } else { Err(Reason::OtherName(leaf.listed())) }
    };
    match record.usage {
        3 => is_meant(record, own).then_some(Timestamp::MAX).ok_or(Reason::DaneMismatch),
        1 => {
            if !is_meant(record, own) {
                return Err(Reason::DaneMismatch);
            }
            is_named()?;
            roots.verify(leaf, chain, now).map(|()| leaf.not_after)
        }
        0 => {
            is_named()?;
            roots.verify(leaf, chain, now)?;
            let is_wanted = |authority: &CertificateDer<'_>| is_meant(record, authority);
            roots
                .verify_through(leaf, chain, now, Some(&is_wanted))
                .map(|()| leaf.not_after)
                .map_err(|_| Reason::DaneMismatch)
        }
        2 => {
            // An authority in full may stand in the DNS alone (RFC 7671 section 5.2.2).
            let published =
                (record.selector == 0 && record.matching == 0).then(|| CertificateDer::from(record.data.as_slice()));
            let shown = authorities.iter().find(|authority| is_meant(record, authority));
            let authority = shown
                .map(|authority| CertificateDer::from(authority.as_ref()))
                .or(published)
                .ok_or(Reason::DaneMismatch)?;
            is_named()?;
            Leaf::read(&authority)
                .ok_or(Reason::Unreadable)?
                .out_of_date(now)
                .map_or(Ok(()), |_| Err(Reason::Chain("the authority in the TLSA record is out of date".to_owned())))?;
            let anchor = webpki::anchor_from_trusted_cert(&authority).map_err(|_| Reason::Unreadable)?;
            let verified = chain::verify(&[anchor], leaf, chain, now, None);
            verified.map(|()| leaf.not_after).map_err(|why| shown.map_or(Reason::DaneMismatch, |_| why))
        }
        _ => Err(Reason::DaneMismatch),
    }
}
