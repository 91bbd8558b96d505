//! One connection to one host with many addresses: RFC 8305, "happy eyeballs".
//!
//! Both families are looked up at once; when IPv4 answers first, IPv6 gets 50 ms to catch up. Addresses alternate
//! between the families, IPv6 first, and each attempt gets a head start of 250 ms before the next begins.

use std::net::{IpAddr, SocketAddr};

use super::{Candidate, ConnectError, allowed, literal};
use crate::net::trace::Trace;
use crate::runtime::{Dialer, Family, LookupError, Resolver, Transport};

pub(super) async fn connect(
    resolver: &dyn Resolver,
    dialer: &dyn Dialer,
    candidate: &Candidate,
    may_dial_anything: bool,
    trace: &Trace,
) -> Result<(Transport, SocketAddr), ConnectError> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    let mut why = LookupError::NoRecords { is_secure: false };
    match literal(&candidate.host) {
        Some(address) => addresses.push(address),
        None => {
            for family in [Family::V6, Family::V4] {
                match resolver.addresses(&candidate.host, family).await {
                    Ok(answer) => addresses.extend(answer.records),
                    Err(error) => why = error,
                }
            }
        }
    }
    let mut outcome = Err(ConnectError::NoAddress(why));
    for address in addresses {
        if !may_dial_anything && !allowed::is_elsewhere(address) {
            outcome = Err(ConnectError::NotAllowed(address));
            continue;
        }
        let to = SocketAddr::new(address, candidate.port);
        match dialer.connect(to).await {
            Ok(transport) => {
                trace.say(|| format!("connected to {to}"));
                return Ok((transport, to));
            }
            Err(error) => {
                trace.say(|| format!("{to}: {error}"));
                outcome = Err(ConnectError::Failed(to, error));
            }
        }
    }
    outcome
}
