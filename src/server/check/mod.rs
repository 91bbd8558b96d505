//! `chirrup check`: what would keep the server from starting, or clients from it, found before they do.
//!
//! Looks and changes nothing: what it makes to see whether it can be made it takes away again. A configuration that does not read ends it before it begins; everything else
//! becomes a [`Finding`].

pub mod dns;
mod rows;

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

pub use rows::verify;

use crate::config::{Config, StoreEngine, make_private_folder};
use crate::net::certificate::{Certificate, self_made_files};
use crate::net::listen::{bind, has_ipv6};
use crate::net::trust::{ClientRoots, Trust};
use crate::runtime::DnsResolver;
use crate::tables::store_directory;

/// How a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// As it should be.
    Good,
    /// Works, and somebody should know.
    Warning,
    /// Does not work.
    Bad,
}

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How it weighs.
    pub weight: Weight,
    /// What was found; for anything but good news, what to do.
    pub text: String,
}

impl Finding {
    pub(crate) fn good(text: impl Into<String>) -> Self {
        Self { weight: Weight::Good, text: text.into() }
    }

    pub(crate) fn warning(text: impl Into<String>) -> Self {
        Self { weight: Weight::Warning, text: text.into() }
    }

    pub(crate) fn bad(text: impl Into<String>) -> Self {
        Self { weight: Weight::Bad, text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.weight {
            Weight::Good => "ok  ",
            Weight::Warning => "warn",
            Weight::Bad => "BAD ",
        };
        write!(f, "{mark}  {}", self.text)
    }
}

/// Looks at everything but the store's rows and DNS. `is_running` says that a server answers on this data directory:
/// its ports are then taken by itself. `now` is Unix time. Blocks on the disk.
pub fn look(config: &Config, is_running: bool, now: i64) -> Vec<Finding> {
    let mut findings = vec![match &config.file {
        Some(file) => Finding::good(format!("{}: reads", file.display())),
        None => Finding::good("no configuration file: embedded defaults"),
    }];
    if !config.c2s.tls_required {
        findings.push(Finding::warning("`c2s.tls_required` is false: passwords and posts can travel unencrypted"));
    }
    if !config.s2s.tls_required {
        findings
            .push(Finding::warning("`s2s.tls_required` is false: what goes to other servers can be read and forged"));
    }
    if !config.s2s.require_valid_certificate {
        let text = "`s2s.require_valid_certificate` is false: whoever controls the network can be another server";
        findings.push(Finding::warning(text));
    }
    certificates(config, now, &mut findings);
    named_files(config, &mut findings);
    data_directory(config, is_running, &mut findings);
    if !config.component.is_empty() && config.components.listen.is_empty() {
        let text = "there is a [[component]], and `components.listen` is empty: none can connect";
        findings.push(Finding::warning(text));
    }
    if config.store.engine == StoreEngine::Memory {
        findings.push(Finding::warning("`store.engine` is \"memory\": everything is forgotten when the server stops"));
    }
    if is_running {
        findings.push(Finding::good("a server is running on this data directory"));
    } else {
        let is_spared = |address: &SocketAddr| config.file.is_none() && address.is_ipv6() && !has_ipv6();
        let listen = &config.listen;
        let components = &config.components.listen;
        // Held until all are looked at: two listeners at one address are one too many.
        let mut held = Vec::new();
        for address in [&listen.c2s, &listen.c2s_tls, &listen.s2s, &listen.s2s_tls, components].into_iter().flatten() {
            findings.push(if is_spared(address) {
                Finding::warning(format!("{address}: this machine has no IPv6"))
            } else {
                port(*address, &mut held)
            });
        }
    }
    findings
}

fn certificates(config: &Config, now: i64, findings: &mut Vec<Finding>) {
    let provider = rustls::crypto::ring::default_provider();
    for host in &config.hosts {
        let domain = &host.domain;
        let (made, _) = self_made_files(domain, &config.data_directory);
        if host.certificate.is_none() && !made.exists() {
            findings.push(Finding::warning(format!(
                "{domain}: no `certificate`; the server will make its own, and clients will ask their users about it"
            )));
            continue;
        }
        match Certificate::load(host, &config.data_directory, &provider) {
            Ok(certificate) => {
                let complaints = certificate.complaints(domain, now);
                if complaints.is_empty() {
                    findings.push(Finding::good(format!(
                        "{}: good for {domain}, {} days left",
                        certificate.file.display(),
                        (certificate.not_after - now) / 86_400
                    )));
                }
                let is_usable = certificate.not_after > now && certificate.not_before <= now;
                findings.extend(complaints.into_iter().map(|complaint| Finding {
                    weight: if is_usable { Weight::Warning } else { Weight::Bad },
                    text: complaint,
                }));
            }
            Err(error) => findings.push(Finding::bad(error.to_string())),
        }
    }
}

/// Files that the configuration names, as far as they are not certificates of hosts: read as the server reads them.
fn named_files(config: &Config, findings: &mut Vec<Finding>) {
    let read = [
        Trust::read_roots(config),
        ClientRoots::load(&config.c2s.client_certificate_roots).map(drop),
        DnsResolver::new(&config.dns).map(drop),
    ];
    findings.extend(read.into_iter().filter_map(Result::err).map(Finding::bad));
}

/// Whether a folder can be made in `folder`, or `folder` itself if it is not there.
fn can_be_made(folder: &Path) -> std::io::Result<()> {
    let mut trial = folder.join(format!(".chirrup-check-{}", std::process::id()));
    while let Some(parent) = trial.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.exists()) {
        trial = parent.to_owned();
    }
    make_private_folder(&trial)?;
    std::fs::remove_dir(&trial)
}

fn data_directory(config: &Config, is_running: bool, findings: &mut Vec<Finding>) {
    use std::os::unix::fs::PermissionsExt;
    let folder = &config.data_directory;
    let name = folder.display();
    match std::fs::metadata(folder) {
        Ok(found) if !found.is_dir() => {
            findings.push(Finding::bad(format!("{name}: not a directory; change `data_directory`")));
        }
        Ok(found) => {
            if found.permissions().mode() & 0o077 == 0 {
                findings.push(Finding::good(format!("{name}: there, and closed to others")));
            } else {
                findings.push(Finding::warning(format!("{name}: others can look into it; chmod 700 {name}")));
            }
            let directory = store_directory(config);
            let folders = [folder, &directory].into_iter().filter(|folder| !is_running && folder.exists());
            for folder in folders {
                if let Err(error) = can_be_made(folder) {
                    let name = folder.display();
                    findings.push(Finding::bad(format!("{name}: {error}; who runs the server must be able to write")));
                }
            }
            if let Some(engine) = store::Engine::of(&directory) {
                let text = format!("{}: made by the engine \"{engine}\"", directory.display());
                findings.push(if engine.name() == config.store.engine.name() {
                    Finding::good(text)
                } else {
                    let asked = config.store.engine.name();
                    Finding::bad(format!("{text}, and `store.engine` is \"{asked}\"; see `chirrup store copy --help`"))
                });
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            findings.push(match can_be_made(folder) {
                Ok(()) => Finding::good(format!("{name}: not there yet; the server will make it")),
                Err(error) => Finding::bad(format!("{name}: cannot be made: {error}; change `data_directory`")),
            });
        }
        Err(error) => findings.push(Finding::bad(format!("{name}: {error}; who runs the server must own it"))),
    }
}

fn is_held(address: SocketAddr, held: &[TcpListener]) -> bool {
    held.iter()
        .filter_map(|listener| listener.local_addr().ok())
        .any(|other| other.port() == address.port() && other.is_ipv4() == address.is_ipv4())
}

fn port(address: SocketAddr, held: &mut Vec<TcpListener>) -> Finding {
    match bind(address) {
        Ok(listener) => {
            held.push(listener);
            Finding::good(format!("{address}: free"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && is_held(address, held) => {
            Finding::bad(format!("{address}: named twice in `listen`, or together with another of the same port"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Finding::bad(format!("{address}: in use by another program; stop it, or change `listen`"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AddrNotAvailable => {
            Finding::bad(format!("{address}: this machine has no such address; change `listen`"))
        }
        Err(error) => Finding::bad(format!("{address}: {error}")),
    }
}

#[cfg(test)]
mod tests;
