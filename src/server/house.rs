//! The house as a whole: what is built from a configuration, opened, and closed again.
//!
//! Two of them can live in one process: nothing here or below is global.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use xmpp::stream::Condition;
use xmpp::{BareJid, Jid, Stanza, ns, stanza};

use crate::components::Components;
use crate::config::Config;
use crate::extension::{Kit, Mount};
use crate::extensions;
use crate::net::c2s::{self, Door};
use crate::net::connection::Transport;
use crate::net::listen::{self, Admission};
use crate::net::seek::Seeker;
use crate::net::streams::Streams;
use crate::net::tls::Tls;
use crate::net::trust::{ClientRoots, Trust};
use crate::net::{restore, resume};
use crate::router::Router;
use crate::runtime::{
    self, Clock, Dialer, DnsResolver, Ids, Resolver, ScriptedDialer, ScriptedResolver, Switch, SystemClock, SystemIds,
    TcpDialer,
};
use crate::s2s::policy::Policy;
use crate::s2s::{self, Federation};
use crate::session::interest::Interests;
use crate::session::{SessionLimits, Sessions};
use crate::tables::Credentials;
use crate::tables::accounts::Accounts;
use crate::tables::certificates::Certificates;
use crate::tables::clients::{self, Clients};

/// What every connection shares.
pub struct House {
    /// As read, and checked.
    pub config: Config,
    /// Where stanzas go.
    pub router: Arc<Router>,
    /// Who may log in.
    pub accounts: Arc<Accounts>,
    /// From which clients they do.
    pub clients: Arc<Clients>,
    /// Certificates with which they do.
    pub certificates: Arc<Certificates>,
    /// Who vouches for other certificates of clients.
    pub client_roots: ClientRoots,
    /// Certificates and keys.
    pub tls: Arc<Tls>,
    /// What streams offer.
    pub streams: Streams,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Identifiers and nonces.
    pub ids: Arc<dyn Ids>,
    /// The memory.
    pub store: Arc<dyn store::Store>,
    /// Where names are looked up.
    pub resolver: Arc<dyn Resolver>,
    /// Where connections to other machines are made.
    pub dialer: Arc<dyn Dialer>,
    /// What stops the house from within.
    pub switch: Arc<Switch>,
    /// Programs that serve domains of their own.
    pub components: Arc<Components>,
    /// Streams with other servers.
    pub federation: Arc<Federation>,
    is_closing: AtomicBool,
    admission: Arc<Admission>,
    admission_s2s: Arc<Admission>,
    admission_components: Arc<Admission>,
}

/// The parts of the outside world a house is given.
pub struct World {
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Identifiers and nonces.
    pub ids: Arc<dyn Ids>,
    /// The memory.
    pub store: Arc<dyn store::Store>,
    /// Where names are looked up.
    pub resolver: Arc<dyn Resolver>,
    /// Where connections to other machines are made.
    pub dialer: Arc<dyn Dialer>,
}

/// Kinds of clients whose capabilities are remembered.
const CAPS_HASHES_MAX: usize = 10_000;
/// Between two rounds of housekeeping.
const ROUND: Duration = Duration::from_secs(15);
/// Rounds in a minute.
const ROUNDS_A_MINUTE: u32 = 4;
/// How long streams may take to end politely.
const GOODBYE: Duration = Duration::from_secs(10);

impl World {
    /// The real world, with the store that `config` names.
    ///
    /// # Errors
    /// A sentence that names the directory and what to do.
    pub async fn real(config: &Config) -> Result<Self, String> {
        let resolver = DnsResolver::new(&config.dns)?;
        if let Some(why) = resolver.problem() {
            tracing::warn!(%why, "DNS cannot be asked, so other servers cannot be found; set `dns.servers`");
        }
        let store = crate::tables::open_store(config).await?;
        Ok(Self {
            clock: Arc::new(SystemClock),
            ids: Arc::new(SystemIds),
            store,
            resolver: Arc::new(resolver),
            dialer: Arc::new(TcpDialer),
        })
    }

    /// A world of its own: the machine's time and chance, and nothing else. An empty memory, no names, no machines.
    #[must_use]
    pub fn alone() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            ids: Arc::new(SystemIds),
            store: Arc::new(store::Memory::new()),
            resolver: Arc::new(ScriptedResolver::new()),
            dialer: Arc::new(ScriptedDialer::new()),
        }
    }
}

impl House {
    /// Builds everything from `config`, opening no door yet.
    ///
    /// # Errors
    /// A sentence that names the file, key or directory and what to do.
    pub async fn build(config: Config, world: World) -> Result<Arc<Self>, String> {
        let switch = Arc::<Switch>::default();
        let (router, Credentials { accounts, clients, certificates }) = Self::furnish(&config, &world, &switch).await?;
        let components = Components::new(&config, &router, &world.clock, &world.ids)?;
        let tls = load_tls(&config).await?;
        let client_roots = load_client_roots(&config).await?;
        let streams = Streams::new(&config, &router);
        let admission = Admission::new(config.limits.connections_max, config.limits.connections_per_address_max);
        let s2s = &config.s2s;
        let admission_s2s = Admission::new(s2s.connections_max, s2s.connections_per_address_max);
        let section = &config.components;
        let admission_components = Admission::new(section.connections_max, section.connections_per_address_max);
        let federation = federate(&config, &world, &router, &tls).await?;
        let World { clock, ids, store, resolver, dialer } = world;
        let house = Arc::new(Self {
            config,
            router,
            accounts,
            clients,
            certificates,
            client_roots,
            tls,
            streams,
            clock,
            ids,
            store,
            resolver,
            dialer,
            switch,
            components,
            federation,
            is_closing: AtomicBool::new(false),
            admission,
            admission_s2s,
            admission_components,
        });
        restore::restore(&house).await?;
        Ok(house)
    }

    /// Builds all that `config` asks for over an empty memory, and throws it away: whether every section has an
    /// owner who can read it. Touches no disk.
    ///
    /// # Errors
    /// As [`House::build`], as far as it is the configuration's fault.
    pub async fn rehearse(config: &Config) -> Result<(), String> {
        let world = World::alone();
        let (router, ..) = Self::furnish(config, &world, &Arc::default()).await?;
        Components::new(config, &router, &world.clock, &world.ids).map(drop)
    }

    async fn furnish(
        config: &Config,
        world: &World,
        switch: &Arc<Switch>,
    ) -> Result<(Arc<Router>, Credentials), String> {
        let World { clock, ids, store, .. } = world;
        Policy::new(&config.s2s)?;
        let mut hosts = Vec::new();
        for host in &config.hosts {
            let domain = Jid::new(&host.domain)
                .ok()
                .filter(Jid::is_domain)
                .ok_or_else(|| format!("`host.domain`: `{}` is not a domain name", host.domain))?;
            hosts.push(Box::from(domain.domain()));
        }
        let sessions = Sessions::new(SessionLimits {
            sessions_per_account_max: config.limits.sessions_per_account_max,
            mailbox_bytes_max: config.limits.mailbox_bytes_max,
        });
        let router =
            Arc::new(Router::new(hosts, sessions, Interests::new(CAPS_HASHES_MAX), Arc::clone(clock), Arc::clone(ids)));
        let kit = Kit {
            store: Arc::clone(store),
            router: Arc::clone(&router),
            clock: Arc::clone(clock),
            ids: Arc::clone(ids),
        };
        let mut sections = config.sections.clone();
        let settings: clients::Settings = sections.take("clients").map_err(|error| error.to_string())?;
        settings.check().map_err(|error| error.to_string())?;
        let credentials = Credentials::load(store, ids, settings).await.map_err(|fault| fault.to_string())?;
        let extensions = extensions::furnish(&kit, &credentials, config, switch, &mut sections)
            .map_err(|error| error.to_string())?;
        sections.finish().map_err(|error| error.to_string())?;
        router.wire(Mount::assemble(&extensions)?);
        Ok((router, credentials))
    }

    /// Serves a client on any byte stream: what the listeners do, and what tests do without a socket.
    pub async fn attach(self: Arc<Self>, transport: Transport, door: Door, peer: IpAddr) {
        c2s::serve(self, transport, door, peer).await;
    }

    /// Serves another server on any byte stream: what the listeners do, and what tests do without a socket.
    pub async fn attach_server(self: Arc<Self>, transport: Transport, door: s2s::Door, peer: IpAddr) {
        self.federation.serve(transport, door, peer).await;
    }

    /// Serves a component on any byte stream: what the listeners do, and what tests do without a socket.
    pub async fn attach_component(self: Arc<Self>, transport: Transport, peer: IpAddr) {
        self.components.serve(transport, peer).await;
    }

    /// How long to wait before reading on, after `bytes` were read for `session`.
    pub fn pace(&self, session: &crate::session::Session, bytes: usize) -> Option<Duration> {
        session.pace(bytes, self.config.limits.read_bytes_per_second_max, self.clock.now())
    }

    /// Removes an account: its sessions end, its data goes. Whether there was one is returned.
    ///
    /// # Errors
    /// When the store fails; the account may then be removed in part, and removing it again goes on.
    pub async fn remove_account(&self, account: &BareJid) -> Result<bool, store::Fault> {
        let existed = self.accounts.remove(account).await?;
        self.router.close_account(account).await;
        self.accounts.closed(account).await?;
        Ok(existed)
    }

    /// Goes on with accounts of which a house before this one has not deleted all.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn finish_removals(&self) -> Result<(), store::Fault> {
        loop {
            let some = self.accounts.closing().await?;
            if some.is_empty() {
                return Ok(());
            }
            for account in some {
                self.router.close_account(&account).await;
                self.accounts.closed(&account).await?;
                tracing::info!(%account, "the rest of an account that was removed is deleted");
            }
        }
    }

    /// Housekeeping, as long as the house stands: what the doors need not be open for.
    pub async fn keep(self: Arc<Self>) {
        match runtime::survive(self.finish_removals()).await {
            Some(Ok(())) => {}
            Some(Err(error)) => tracing::error!(%error, "accounts that were removed are not deleted"),
            None => tracing::error!("deleting accounts that were removed panicked"),
        }
        for round in 1_u32.. {
            runtime::pause(ROUND).await;
            if round == 1 {
                restore::look_around(&self).await;
            }
            self.tidy();
            if round % ROUNDS_A_MINUTE == 0 {
                let now = self.clock.now();
                let telling = self.router.tell(|listener| listener.minute_passed(now));
                if runtime::survive(telling).await.is_none() {
                    tracing::error!("a minute's housekeeping panicked");
                }
            }
        }
    }

    /// Whether the house is about to close: sessions that come now do not stay.
    pub fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// Ends the streams of all sessions (RFC 6120 section 4.9.3.19). Those that can be resumed are written down, for the
    /// house that is built next on the same memory. Nobody may come in any more.
    pub async fn close_sessions(self: &Arc<Self>) {
        self.is_closing.store(true, Ordering::Relaxed);
        restore::close(self).await;
    }

    /// One round: give up on questions, ask silent clients for a sign of life.
    fn tidy(self: &Arc<Self>) {
        self.router.expire_questions();
        self.federation.tidy();
        let now = self.clock.now();
        let silence = self.config.limits.idle_seconds_max * 1_000_000;
        let mut expired = Vec::new();
        for session in self.router.sessions.all() {
            session.settled(now);
            if session.has_expired(now) {
                expired.push(session);
                continue;
            }
            if session.is_detached() {
                continue;
            }
            let silent = now.saturating_sub(session.last_heard());
            let is_lost = session.is_unresponsive(self.config.c2s.acknowledge_seconds_max, now);
            if is_lost || silent > silence + 60_000_000 {
                // Nobody waits for it to let go.
                drop(session.mailbox.cut(Condition::ConnectionTimeout));
            } else if silent > silence {
                // XEP-0199 section 4.2: whatever it answers, it is alive.
                let ping = xmpp::Element::builder("ping", ns::PING).build();
                let mut iq = Stanza::new(stanza::Kind::Iq(stanza::IqType::Get));
                iq.head.from = Jid::new(session.jid.domain()).ok();
                iq.head.to = Some(session.jid.clone().into());
                iq.head.id = Some(self.ids.id().into());
                iq.content.push(&ping);
                session.deliver(iq.render());
            }
        }
        if !expired.is_empty() {
            runtime::start(resume::expire(Arc::clone(self), expired));
        }
    }
}

/// The streams with other servers, none of them open yet.
async fn federate(
    config: &Config,
    world: &World,
    router: &Arc<Router>,
    tls: &Arc<Tls>,
) -> Result<Arc<Federation>, String> {
    let World { clock, ids, store, resolver, dialer } = world;
    let secret = s2s::load_secret(store, ids.as_ref()).await.map_err(|fault| fault.to_string())?;
    let seeker = Seeker::new(Arc::clone(resolver), Arc::clone(dialer), Arc::clone(ids), config.s2s.allow_loopback);
    let (reading, judging, now) = (config.clone(), seeker.clone(), Arc::clone(clock));
    let trust = tokio::task::spawn_blocking(move || Trust::load(&reading, judging, now))
        .await
        .map_err(|error| format!("cannot read the trusted certificates: {error}"))??;
    let parts = s2s::Parts {
        router: Arc::clone(router),
        tls: Arc::clone(tls),
        trust,
        seeker,
        clock: Arc::clone(clock),
        ids: Arc::clone(ids),
        secret,
    };
    Federation::new(config, parts)
}

async fn load_tls(config: &Config) -> Result<Arc<Tls>, String> {
    let config = config.clone();
    let loaded = tokio::task::spawn_blocking(move || Tls::load(&config)).await;
    match loaded {
        Ok(Ok(tls)) => Ok(Arc::new(tls)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(error) => Err(format!("cannot read the certificates: {error}")),
    }
}

/// An open house: its listeners and its housekeeping.
pub struct Server {
    house: Arc<House>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Server {
    /// Opens the store, builds the house and opens its doors.
    ///
    /// # Errors
    /// A sentence that names the file, key, directory or port and what to do.
    pub async fn start(config: Config) -> Result<Self, String> {
        let world = World::real(&config).await?;
        Self::open(House::build(config, world).await?).await
    }

    /// Opens the doors of a house.
    ///
    /// # Errors
    /// A sentence that names the port and what to do.
    pub async fn open(house: Arc<House>) -> Result<Self, String> {
        let mut listeners = Vec::new();
        let listen = &house.config.listen;
        for (addresses, door) in [(&listen.c2s, Door::StartTls), (&listen.c2s_tls, Door::DirectTls)] {
            for address in addresses {
                // The embedded defaults name ::1, which not every container has; what is configured must be there.
                if house.config.file.is_none() && address.is_ipv6() && !listen::has_ipv6() {
                    tracing::warn!(%address, "this machine has no IPv6: not listening there");
                    continue;
                }
                listeners.push((listen::open(*address)?, door));
            }
        }
        if !house.config.c2s.tls_required {
            tracing::warn!("c2s.tls_required is false: clients may send passwords and posts unencrypted");
        }
        let mut server_listeners = Vec::new();
        for (addresses, door) in [(&listen.s2s, s2s::Door::StartTls), (&listen.s2s_tls, s2s::Door::DirectTls)] {
            for address in addresses {
                if house.config.file.is_none() && address.is_ipv6() && !listen::has_ipv6() {
                    tracing::warn!(%address, "this machine has no IPv6: not listening there");
                    continue;
                }
                server_listeners.push((listen::open(*address)?, door));
            }
        }
        if !house.config.s2s.tls_required {
            tracing::warn!("s2s.tls_required is false: what goes to other servers may be read and forged on the way");
        }
        let mut component_listeners = Vec::new();
        for address in &house.config.components.listen {
            if !address.ip().is_loopback() {
                tracing::warn!(%address, "components connect without TLS: keep others away from this address");
            }
            component_listeners.push(listen::open(*address)?);
        }
        let mut tasks = Vec::new();
        for listener in component_listeners {
            let (admission, components) = (Arc::clone(&house.admission_components), Arc::clone(&house.components));
            tasks.push(runtime::start(listen::accept(listener, admission, move |socket, peer, admitted| {
                let components = Arc::clone(&components);
                runtime::start(async move {
                    components.serve(Box::new(socket), peer.ip()).await;
                    drop(admitted);
                });
            })));
        }
        for (listener, door) in server_listeners {
            let (admission, federation) = (Arc::clone(&house.admission_s2s), Arc::clone(&house.federation));
            tasks.push(runtime::start(listen::accept(listener, admission, move |socket, peer, admitted| {
                let federation = Arc::clone(&federation);
                runtime::start(async move {
                    federation.serve(Box::new(socket), door, peer.ip()).await;
                    drop(admitted);
                });
            })));
        }
        for (listener, door) in listeners {
            let (admission, house) = (Arc::clone(&house.admission), Arc::clone(&house));
            tasks.push(runtime::start(listen::accept(listener, admission, move |socket, peer, admitted| {
                let house = Arc::clone(&house);
                runtime::start(async move {
                    c2s::serve(house, Box::new(socket), door, peer.ip()).await;
                    drop(admitted);
                });
            })));
        }
        tasks.push(runtime::start(Arc::clone(&house).keep()));
        Ok(Self { house, tasks })
    }

    /// What the connections share.
    #[must_use]
    pub fn house(&self) -> &Arc<House> {
        &self.house
    }

    /// Ends every stream with `system-shutdown` (RFC 6120 section 4.9.3.19), waits for them to take their last
    /// bytes, and closes the store.
    pub async fn stop(self) {
        for task in &self.tasks {
            task.abort();
        }
        self.house.close_sessions().await;
        let goodbye = async {
            while self.house.admission.count() > 0 {
                runtime::pause(Duration::from_millis(20)).await;
            }
        };
        let _some_did_not_listen = tokio::time::timeout(GOODBYE, goodbye).await;
        self.house.components.stop().await;
        self.house.federation.stop().await;
        if let Err(fault) = self.house.store.close().await {
            tracing::error!(%fault, "the store did not close well");
        }
    }
}

async fn load_client_roots(config: &Config) -> Result<ClientRoots, String> {
    let files = config.c2s.client_certificate_roots.clone();
    let loading = tokio::task::spawn_blocking(move || ClientRoots::load(&files));
    loading.await.map_err(|error| format!("cannot read the authorities for clients: {error}"))?
}
