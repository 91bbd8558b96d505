//! `chirrup check dns`: what clients and other servers find when they look for this one (RFC 6120 section 3.2,
//! XEP-0368).
//!
//! Asks as the server itself asks, but with less patience: all questions about a host at once, and when nobody
//! answers those of one host, the others are not asked.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use super::Finding;
use crate::config::{Config, Dns};
use crate::runtime::{Answer, DnsResolver, Family, LookupError, Resolver, Srv};

/// Seconds to wait for an answer.
const PATIENCE_SECONDS: u64 = 3;

/// Looks every host up as clients and servers would.
pub async fn look(config: &Config) -> Vec<Finding> {
    let dns = Dns { timeout_seconds: config.dns.timeout_seconds.min(PATIENCE_SECONDS), ..config.dns.clone() };
    let resolver = match DnsResolver::new(&dns) {
        Ok(resolver) => resolver,
        Err(error) => return vec![Finding::bad(error)],
    };
    if let Some(why) = resolver.problem() {
        return vec![Finding::bad(format!("DNS cannot be asked: {why}; set `dns.servers`"))];
    }
    look_with(config, &resolver).await
}

/// One kind of record, and who is served by it.
struct Service<'a> {
    name: String,
    listen: &'a [SocketAddr],
    key: &'static str,
}

async fn look_with(config: &Config, resolver: &dyn Resolver) -> Vec<Finding> {
    let mut findings = Vec::new();
    let listen = &config.listen;
    for host in &config.hosts {
        let domain = host.domain.as_str();
        if domain == "localhost" || domain.parse::<IpAddr>().is_ok() {
            findings.push(Finding::good(format!("{domain}: needs no DNS")));
            continue;
        }
        let ascii = match crate::net::seek::to_ascii(domain) {
            Ok(ascii) => ascii,
            Err(error) => {
                findings.push(Finding::bad(error.to_string()));
                continue;
            }
        };
        let service = |kind: &str, listen, key| Service { name: format!("{kind}._tcp.{ascii}"), listen, key };
        let clients = [
            service("_xmpp-client", &listen.c2s, "listen.c2s"),
            service("_xmpps-client", &listen.c2s_tls, "listen.c2s_tls"),
        ];
        let servers = [
            service("_xmpp-server", &listen.s2s, "listen.s2s"),
            service("_xmpps-server", &listen.s2s_tls, "listen.s2s_tls"),
        ];
        let [(a, b), (c, d)] = [&clients, &servers].map(|[one, other]| (&one.name, &other.name));
        let found = tokio::join!(resolver.srv(a), resolver.srv(b), resolver.srv(c), resolver.srv(d));
        let (a, b, c, d) = &found;
        if let [Err(why), rest @ ..] = [a, b, c, d]
            && [Some(why)].into_iter().chain(rest.map(|answer| answer.as_ref().err())).all(is_silence)
        {
            findings.push(Finding::bad(format!(
                "{domain}: DNS does not answer: {why}; see `dns.servers`. Nothing more was asked"
            )));
            break;
        }
        let mut targets = BTreeSet::new();
        for (kind, (starttls, direct), port, [first, second]) in
            [("clients", (a, b), 5222, &clients), ("servers", (c, d), 5269, &servers)]
        {
            report(first, starttls, &mut targets, &mut findings);
            report(second, direct, &mut targets, &mut findings);
            let has_listener = !first.listen.is_empty() || !second.listen.is_empty();
            let has_records =
                [starttls, direct].iter().any(|answer| !answer.as_ref().is_err_and(LookupError::is_absence));
            if has_listener && !has_records {
                targets.insert(ascii.clone());
                if !ports(first.listen).contains(&port) {
                    findings.push(Finding::bad(format!(
                        "{domain}: without SRV records {kind} try port {port}, where this server does not listen"
                    )));
                }
            }
        }
        for target in targets {
            addresses(resolver, domain, &target, &mut findings).await;
        }
    }
    findings
}

fn is_silence(why: Option<&LookupError>) -> bool {
    matches!(why, Some(LookupError::TimedOut | LookupError::Failed(_)))
}

fn ports(addresses: &[SocketAddr]) -> BTreeSet<u16> {
    addresses.iter().map(SocketAddr::port).collect()
}

/// Says what the records of one service mean, and adds the hosts they name to `targets`.
fn report(
    service: &Service<'_>,
    answer: &Result<Answer<Srv>, LookupError>,
    targets: &mut BTreeSet<String>,
    findings: &mut Vec<Finding>,
) {
    let Service { name, listen, key } = service;
    let answer = match answer {
        Ok(answer) => answer,
        Err(why) if why.is_absence() => {
            findings.push(if listen.is_empty() {
                Finding::good(format!("{name}: no record, and no listener (`{key}`)"))
            } else {
                Finding::warning(format!("{name}: no record; add an SRV record with this server's name and port"))
            });
            return;
        }
        Err(why) => {
            findings.push(Finding::bad(format!("{name}: cannot be asked: {why}")));
            return;
        }
    };
    let ours = ports(listen);
    let secure = if answer.is_secure { ", DNSSEC-validated" } else { "" };
    for Srv { port, target, .. } in &answer.records {
        if target.is_empty() {
            let text = format!("{name}: says that the service is not offered{secure}");
            findings.push(if ours.is_empty() { Finding::good(text) } else { Finding::bad(text) });
            continue;
        }
        targets.insert(target.clone());
        findings.push(if ours.contains(port) {
            Finding::good(format!("{name}: {target} port {port}{secure}"))
        } else {
            Finding::warning(format!(
                "{name}: {target} port {port}{secure}: this server does not listen on that port; right if something \
                 forwards it"
            ))
        });
    }
}

async fn addresses(resolver: &dyn Resolver, domain: &str, target: &str, findings: &mut Vec<Finding>) {
    let (v6, v4) = tokio::join!(resolver.addresses(target, Family::V6), resolver.addresses(target, Family::V4));
    let found: Vec<IpAddr> = [&v6, &v4].into_iter().flatten().flat_map(|answer| answer.records.clone()).collect();
    if found.is_empty() {
        let why = [v6.err(), v4.err()].into_iter().flatten().find(|why| !why.is_absence());
        let why = why.unwrap_or(LookupError::NoRecords { is_secure: false });
        findings.push(Finding::bad(format!("{target}: no address: {why}")));
        return;
    }
    let list = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    findings.push(Finding::good(format!("{target}: {list}")));
    match v6 {
        Ok(_) => {}
        Err(why) if why.is_absence() => {
            findings.push(Finding::warning(format!("{target}: no AAAA record; {domain} is not reached over IPv6")));
        }
        Err(why) => findings.push(Finding::bad(format!("{target}: AAAA records cannot be asked for: {why}"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

    use std::time::Duration;

    use super::*;
    use crate::config::Host;
    use crate::runtime::ScriptedResolver;

    fn config() -> Config {
        let host = |domain: &str| Host { domain: domain.to_owned(), certificate: None, key: None };
        let hosts = vec![host("localhost"), host("capulet.example"), host("grün.example")];
        let mut config = Config { hosts, ..Config::default() };
        config.listen.s2s = vec!["192.0.2.1:5269".parse().unwrap()];
        config.listen.s2s_tls.clear();
        config
    }

    #[tokio::test]
    async fn clients_and_servers_are_both_looked_up() {
        let resolver = ScriptedResolver::new()
            .with_srv("_xmpp-client._tcp.capulet.example", false, &[(0, 0, 5222, "x.capulet.example")])
            .with_srv("_xmpps-client._tcp.capulet.example", false, &[(0, 0, 443, "x.capulet.example")])
            .with_srv("_xmpp-server._tcp.capulet.example", true, &[(0, 0, 5269, "y.capulet.example")])
            .with_srv("_xmpps-server._tcp.capulet.example", false, &[(0, 0, 0, ".")])
            .with_host("x.capulet.example", false, &["192.0.2.1", "2001:db8::1"])
            .with_srv("_xmpp-server._tcp.xn--grn-ioa.example", false, &[(0, 0, 0, ".")])
            .with_host("xn--grn-ioa.example", false, &["192.0.2.1"]);
        let findings = look_with(&config(), &resolver).await;
        let said: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "ok    localhost: needs no DNS",
                "ok    _xmpp-client._tcp.capulet.example: x.capulet.example port 5222",
                "warn  _xmpps-client._tcp.capulet.example: x.capulet.example port 443: this server does not listen on \
                 that port; right if something forwards it",
                "ok    _xmpp-server._tcp.capulet.example: y.capulet.example port 5269, DNSSEC-validated",
                "ok    _xmpps-server._tcp.capulet.example: says that the service is not offered",
                "ok    x.capulet.example: 2001:db8::1, 192.0.2.1",
                "BAD   y.capulet.example: no address: no record",
                "warn  _xmpp-client._tcp.xn--grn-ioa.example: no record; add an SRV record with this server's name and \
                 port",
                "warn  _xmpps-client._tcp.xn--grn-ioa.example: no record; add an SRV record with this server's name and \
                 port",
                "BAD   _xmpp-server._tcp.xn--grn-ioa.example: says that the service is not offered",
                "ok    _xmpps-server._tcp.xn--grn-ioa.example: no record, and no listener (`listen.s2s_tls`)",
                "ok    xn--grn-ioa.example: 192.0.2.1",
                "warn  xn--grn-ioa.example: no AAAA record; grün.example is not reached over IPv6",
            ]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn dead_dns_is_told_once_and_soon() {
        let resolver = ScriptedResolver::new();
        for kind in ["_xmpp-client", "_xmpps-client", "_xmpp-server", "_xmpps-server"] {
            let name = format!("{kind}._tcp.capulet.example");
            resolver.set_srv(&name, Duration::from_secs(3), Err(LookupError::TimedOut));
        }
        let begun = tokio::time::Instant::now();
        let findings = look_with(&config(), &resolver).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(3), "of paused time");
        assert_eq!(findings.len(), 2);
        assert!(findings[1].text.contains("DNS does not answer: no DNS server answered in time"), "{findings:?}");
    }

    #[tokio::test]
    async fn without_records_the_usual_ports_are_needed() {
        let mut config = config();
        config.hosts.truncate(2);
        config.listen.s2s = vec!["192.0.2.1:15269".parse().unwrap()];
        let resolver = ScriptedResolver::new().with_host("capulet.example", false, &["192.0.2.1", "2001:db8::1"]);
        let findings = look_with(&config, &resolver).await;
        let bad: Vec<&str> = findings
            .iter()
            .filter(|finding| finding.weight == super::super::Weight::Bad)
            .map(|finding| finding.text.as_str())
            .collect();
        assert_eq!(
            bad,
            ["capulet.example: without SRV records servers try port 5269, where this server does not listen"]
        );
    }
}
