//! `chirrup check dns`: what a client finds when it looks for this server (RFC 6120 section 3.2, XEP-0368).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::{Resolver, TokioResolver};

use super::Finding;
use crate::config::Config;

/// Looks every host up as a client would.
pub async fn look(config: &Config) -> Vec<Finding> {
    let resolver = match resolver(&config.dns.servers) {
        Ok(resolver) => resolver,
        Err(error) => {
            return vec![Finding::bad(format!("DNS cannot be asked: {error}; set `dns.servers`"))];
        }
    };
    let mut findings = Vec::new();
    for host in &config.hosts {
        let domain = host.domain.as_str();
        if domain == "localhost" || domain.parse::<IpAddr>().is_ok() {
            findings.push(Finding::good(format!("{domain}: needs no DNS")));
            continue;
        }
        let starttls = service(&resolver, domain, "_xmpp-client._tcp", &config.listen.c2s, &mut findings).await;
        let direct = service(&resolver, domain, "_xmpps-client._tcp", &config.listen.c2s_tls, &mut findings).await;
        if !starttls && !direct {
            addresses(&resolver, domain, domain, &mut findings).await;
            if !ports(&config.listen.c2s).contains(&5222) {
                findings.push(Finding::bad(format!(
                    "{domain}: without SRV records clients try port 5222, where this server does not listen"
                )));
            }
        }
    }
    findings
}

fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    if servers.is_empty() {
        return Resolver::builder_tokio()?.build();
    }
    let servers = servers.iter().map(|server| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = server.port();
            connection
        });
        NameServerConfig::new(server.ip(), true, connections.to_vec())
    });
    let config = ResolverConfig::from_name_servers(servers.collect());
    Resolver::builder_with_config(config, TokioRuntimeProvider::default()).build()
}

fn ports(addresses: &[SocketAddr]) -> BTreeSet<u16> {
    addresses.iter().map(SocketAddr::port).collect()
}

/// Answers whether there are records.
async fn service(
    resolver: &TokioResolver,
    domain: &str,
    service: &str,
    listen: &[SocketAddr],
    findings: &mut Vec<Finding>,
) -> bool {
    let name = format!("{service}.{domain}.");
    let lookup = match resolver.srv_lookup(name.as_str()).await {
        Ok(lookup) => lookup,
        Err(error) if error.is_no_records_found() || error.is_nx_domain() => {
            findings.push(if listen.is_empty() {
                Finding::good(format!("{name} no record, and no listener"))
            } else {
                Finding::warning(format!("{name} no record; add an SRV record with this server's name and port"))
            });
            return false;
        }
        Err(error) => {
            findings.push(Finding::bad(format!("{name} cannot be asked: {error}")));
            return false;
        }
    };
    let records: Vec<(u16, String)> = lookup
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(srv) => Some((srv.port, srv.target.to_utf8())),
            _ => None,
        })
        .collect();
    let ours = ports(listen);
    for (port, target) in &records {
        if target == "." {
            let text = format!("{name} says that the service is not offered");
            findings.push(if ours.is_empty() { Finding::good(text) } else { Finding::bad(text) });
            continue;
        }
        if ours.contains(port) {
            findings.push(Finding::good(format!("{name} {target} port {port}")));
        } else {
            findings.push(Finding::warning(format!(
                "{name} {target} port {port}: this server does not listen on that port; right if something forwards it"
            )));
        }
        addresses(resolver, domain, target, findings).await;
    }
    !records.is_empty()
}

async fn addresses(resolver: &TokioResolver, domain: &str, target: &str, findings: &mut Vec<Finding>) {
    let name = if target.ends_with('.') { target.to_owned() } else { format!("{target}.") };
    match resolver.lookup_ip(name.as_str()).await {
        Ok(found) => {
            let found: Vec<IpAddr> = found.iter().collect();
            let list = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            findings.push(Finding::good(format!("{name} {list}")));
            if !found.iter().any(IpAddr::is_ipv6) {
                findings
                    .push(Finding::warning(format!("{name} has no AAAA record; {domain} is not reached over IPv6")));
            }
        }
        Err(error) => findings.push(Finding::bad(format!("{name} has no address: {error}"))),
    }
}
