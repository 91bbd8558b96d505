//! Where extensions register, and what comes of it: the frozen wiring of the house.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::sync::Arc;

use xmpp::stanza::IqType;
use xmpp::{BareJid, Element, Stanza};

use super::{
    Answer, Asked, Bind2, BoxFuture, Command, Delegate, Discoverable, Events, Extension, Forms, Guard, Listener,
    Messages, Multicast, Presences, Registrar, Spec, To,
};

/// Answers one kind of IQ.
pub type IqHandler = Arc<dyn Fn(Asked) -> BoxFuture<Answer> + Send + Sync>;

/// Takes messages to a host.
pub type DomainMessageHandler = Arc<dyn Fn(Stanza) -> BoxFuture<()> + Send + Sync>;

/// An identity in disco#info (XEP-0030 section 3.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// As registered for service discovery.
    pub category: &'static str,
    /// As registered for service discovery.
    pub type_: &'static str,
    /// For people.
    pub name: &'static str,
}

/// A service of a host, with a domain of its own and no accounts (XEP-0030 section 4: one of the host's items).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The host whose item it is.
    pub host: Box<str>,
    /// For people.
    pub name: &'static str,
    /// disco#info features of this one, beside those of all services.
    pub features: &'static [&'static str],
}

/// A payload's name and namespace.
pub(crate) type Name = (&'static str, &'static str);
/// Handlers by namespace, then by name: namespaces with more than one or two names are rare.
type Handlers = HashMap<&'static str, Vec<(&'static str, IqHandler)>>;
/// Answers with extension forms of disco#info (XEP-0128), made when asked.
pub type FormSource = Arc<dyn Fn() -> Element + Send + Sync>;

/// Collects what extensions register, and refuses what contradicts itself.
#[derive(Default)]
pub struct Mount {
    wiring: Wiring,
    mounting: &'static str,
    owners: HashMap<(To, bool, Name), &'static str>,
    faults: Vec<String>,
}

/// Everything mounted, frozen when the house opens.
#[derive(Default)]
pub struct Wiring {
    domain_gets: Handlers,
    domain_sets: Handlers,
    account_gets: Handlers,
    account_sets: Handlers,
    service_gets: Handlers,
    service_sets: Handlers,
    /// Services, by their domains.
    pub services: BTreeMap<Box<str>, Service>,
    /// disco#info features of the domain.
    pub domain_features: BTreeSet<&'static str>,
    /// disco#info features of every account.
    pub account_features: BTreeSet<&'static str>,
    /// disco#info identities of the domain.
    pub domain_identities: BTreeSet<Identity>,
    /// disco#info identities of every account.
    pub account_identities: BTreeSet<Identity>,
    /// disco#info features of every service.
    pub service_features: BTreeSet<&'static str>,
    /// disco#info identities of every service.
    pub service_identities: BTreeSet<Identity>,
    /// Extension forms of every service's disco#info.
    pub service_forms: Vec<FormSource>,
    /// Extension forms of the domain's disco#info.
    pub domain_forms: Vec<FormSource>,
    /// Nodes of accounts and services, for service discovery.
    pub account_nodes: Option<Arc<dyn Discoverable>>,
    /// The delivery rules.
    pub messages: Option<Arc<dyn Messages>>,
    /// Who takes forms sent to accounts.
    pub forms: Option<Arc<dyn Forms>>,
    /// Who takes what services elsewhere tell accounts.
    pub events: Option<Arc<dyn Events>>,
    /// Who passes on what is meant for many.
    pub multicast: Option<Arc<dyn Multicast>>,
    /// The presence rules.
    pub presences: Option<Arc<dyn Presences>>,
    /// Registration before authentication.
    pub registrar: Option<Arc<dyn Registrar>>,
    /// First phase, in order.
    pub guards: Vec<Arc<dyn Guard>>,
    /// Who hears of moments, in order.
    pub listeners: Vec<Arc<dyn Listener>>,
    /// Who takes messages to a host with such a child.
    pub domain_messages: Vec<(Name, DomainMessageHandler)>,
    /// Who has IQs handled elsewhere.
    pub delegate: Option<Arc<dyn Delegate>>,
    /// Ad-hoc commands of hosts and services, in the order in which they are listed.
    pub commands: Vec<(To, Arc<dyn Command>)>,
    /// What is enabled or told together with a new resource, and whether clients are told that they may ask for it.
    pub bind2: Vec<(&'static str, bool, Arc<dyn Bind2>)>,
    /// The claims of what is mounted.
    pub specs: Vec<&'static Spec>,
}

impl Mount {
    /// Mounts every extension in order.
    ///
    /// The error is a sentence for each contradiction: two handlers for one payload, two sets of delivery rules.
    pub fn assemble(extensions: &[Arc<dyn Extension>]) -> Result<Wiring, String> {
        let mut mount = Self::default();
        for extension in extensions {
            mount.mounting = extension.spec().name;
            mount.wiring.specs.push(extension.spec());
            Arc::clone(extension).mount(&mut mount);
        }
        if mount.faults.is_empty() { Ok(mount.wiring) } else { Err(mount.faults.join("; ")) }
    }

    /// Answers IQ gets whose payload is `payload` (name, namespace); the namespace becomes a feature.
    pub fn iq_get<T, F, Fut>(&mut self, to: To, payload: Name, on: &Arc<T>, handler: F)
    where
        T: Send + Sync + 'static,
        F: Fn(Arc<T>, Asked) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        self.iq(to, false, payload, on, handler);
    }

    /// Answers IQ sets whose payload is `payload` (name, namespace); the namespace becomes a feature.
    pub fn iq_set<T, F, Fut>(&mut self, to: To, payload: Name, on: &Arc<T>, handler: F)
    where
        T: Send + Sync + 'static,
        F: Fn(Arc<T>, Asked) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        self.iq(to, true, payload, on, handler);
    }

    fn iq<T, F, Fut>(&mut self, to: To, set: bool, payload: Name, on: &Arc<T>, handler: F)
    where
        T: Send + Sync + 'static,
        F: Fn(Arc<T>, Asked) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        let on = Arc::clone(on);
        let handler: IqHandler = Arc::new(move |asked| Box::pin(handler(Arc::clone(&on), asked)));
        for at in [To::DOMAIN, To::ACCOUNT, To::SERVICE] {
            if !to.contains(at) {
                continue;
            }
            match self.owners.entry((at, set, payload)) {
                Entry::Occupied(owner) => {
                    self.faults.push(format!(
                        "both {} and {} answer <{} xmlns='{}'/>",
                        owner.get(),
                        self.mounting,
                        payload.0,
                        payload.1
                    ));
                }
                Entry::Vacant(free) => {
                    free.insert(self.mounting);
                }
            }
            self.feature(at, payload.1);
            let (name, ns) = payload;
            self.wiring.table_mut(at, set).entry(ns).or_default().push((name, Arc::clone(&handler)));
        }
    }

    /// Adds a feature that no handler's namespace implies.
    pub fn feature(&mut self, to: To, feature: &'static str) {
        if to.contains(To::DOMAIN) {
            self.wiring.domain_features.insert(feature);
        }
        if to.contains(To::ACCOUNT) {
            self.wiring.account_features.insert(feature);
        }
        if to.contains(To::SERVICE) {
            self.wiring.service_features.insert(feature);
        }
    }

    /// Removes a feature that a mounted namespace implied but no registry knows (e.g. of a sub-protocol).
    pub fn unfeature(&mut self, to: To, feature: &'static str) {
        if to.contains(To::DOMAIN) {
            self.wiring.domain_features.remove(feature);
        }
        if to.contains(To::ACCOUNT) {
            self.wiring.account_features.remove(feature);
        }
        if to.contains(To::SERVICE) {
            self.wiring.service_features.remove(feature);
        }
    }

    /// Adds an identity.
    pub fn identity(&mut self, to: To, identity: Identity) {
        if to.contains(To::DOMAIN) {
            self.wiring.domain_identities.insert(identity.clone());
        }
        if to.contains(To::SERVICE) {
            self.wiring.service_identities.insert(identity.clone());
        }
        if to.contains(To::ACCOUNT) {
            self.wiring.account_identities.insert(identity);
        }
    }

    /// Adds a service at a domain of its own. Two at one domain are a contradiction; a host is never a service.
    pub fn service(&mut self, domain: &BareJid, service: Service) {
        if self.wiring.services.insert(domain.domain().into(), service).is_some() {
            self.faults.push(format!("{} is the second to serve {domain}", self.mounting));
        }
    }

    /// Adds a form to every service's disco#info (XEP-0128).
    pub fn service_form(&mut self, form: FormSource) {
        self.wiring.service_forms.push(form);
    }

    /// Adds a form to the domain's disco#info (XEP-0128).
    pub fn domain_form(&mut self, form: FormSource) {
        self.wiring.domain_forms.push(form);
    }

    /// Sets who knows the nodes of accounts and services.
    pub fn account_nodes(&mut self, nodes: Arc<dyn Discoverable>) {
        if self.wiring.account_nodes.replace(nodes).is_some() {
            self.faults.push(format!("{} is the second to know the nodes of accounts", self.mounting));
        }
    }

    /// Sets the delivery rules.
    pub fn messages(&mut self, rules: Arc<dyn Messages>) {
        if self.wiring.messages.replace(rules).is_some() {
            self.faults.push(format!("{} is the second to deliver messages", self.mounting));
        }
    }

    /// Sets who takes forms that come in messages to accounts.
    pub fn forms(&mut self, forms: Arc<dyn Forms>) {
        if self.wiring.forms.replace(forms).is_some() {
            self.faults.push(format!("{} is the second to take forms in messages", self.mounting));
        }
    }

    /// Sets who takes what services elsewhere tell accounts.
    pub fn events(&mut self, events: Arc<dyn Events>) {
        if self.wiring.events.replace(events).is_some() {
            self.faults.push(format!("{} is the second to take what services elsewhere tell", self.mounting));
        }
    }

    /// Sets who passes on what is meant for many.
    pub fn multicast(&mut self, multicast: Arc<dyn Multicast>) {
        if self.wiring.multicast.replace(multicast).is_some() {
            self.faults.push(format!("{} is the second to pass on what is meant for many", self.mounting));
        }
    }

    /// Sets the presence rules.
    pub fn presences(&mut self, rules: Arc<dyn Presences>) {
        if self.wiring.presences.replace(rules).is_some() {
            self.faults.push(format!("{} is the second to handle presence", self.mounting));
        }
    }

    /// Sets who registers accounts before authentication.
    pub fn registrar(&mut self, registrar: Arc<dyn Registrar>) {
        if self.wiring.registrar.replace(registrar).is_some() {
            self.faults.push(format!("{} is the second to register accounts", self.mounting));
        }
    }

    /// Takes messages to a host that have a child `payload` (name, namespace).
    pub fn domain_message<T, F, Fut>(&mut self, payload: Name, on: &Arc<T>, handler: F)
    where
        T: Send + Sync + 'static,
        F: Fn(Arc<T>, Stanza) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let on = Arc::clone(on);
        let handler: DomainMessageHandler = Arc::new(move |stanza| Box::pin(handler(Arc::clone(&on), stanza)));
        self.wiring.domain_messages.push((payload, handler));
    }

    /// Sets who has IQs handled elsewhere.
    pub fn delegate(&mut self, delegate: Arc<dyn Delegate>) {
        if self.wiring.delegate.replace(delegate).is_some() {
            self.faults.push(format!("{} is the second to delegate", self.mounting));
        }
    }

    /// Adds an ad-hoc command to hosts, services, or both.
    pub fn command(&mut self, to: To, command: Arc<dyn Command>) {
        let is_taken = |at| to.contains(at) && self.wiring.command(at, command.node()).is_some();
        if is_taken(To::DOMAIN) || is_taken(To::ACCOUNT) || is_taken(To::SERVICE) {
            self.faults.push(format!("{} is the second with a command {}", self.mounting, command.node()));
        }
        self.wiring.commands.push((to, command));
    }

    /// Takes part when a resource is bound by Bind 2 (XEP-0386). What a client asks for in the namespace `ns` is passed on;
    /// with `is_offered`, it is told that it may ask.
    pub fn bind2(&mut self, ns: &'static str, is_offered: bool, part: Arc<dyn Bind2>) {
        if self.wiring.bind2.iter().any(|(other, ..)| *other == ns) {
            self.faults.push(format!("{} is the second to take part in binding with {ns}", self.mounting));
        }
        self.wiring.bind2.push((ns, is_offered, part));
    }

    /// Adds a guard.
    pub fn guard(&mut self, guard: Arc<dyn Guard>) {
        self.wiring.guards.push(guard);
    }

    /// Adds a listener.
    pub fn listener(&mut self, listener: Arc<dyn Listener>) {
        self.wiring.listeners.push(listener);
    }
}

impl Wiring {
    fn table_mut(&mut self, at: To, set: bool) -> &mut Handlers {
        match (at, set) {
            (To::DOMAIN, false) => &mut self.domain_gets,
            (To::DOMAIN, true) => &mut self.domain_sets,
            (To::SERVICE, false) => &mut self.service_gets,
            (To::SERVICE, true) => &mut self.service_sets,
            (_, false) => &mut self.account_gets,
            (_, true) => &mut self.account_sets,
        }
    }

    /// The handler for an IQ of type `type_` to `at` whose payload is `name` in `ns`.
    #[must_use]
    pub fn handler(&self, at: To, type_: IqType, name: &str, ns: &str) -> Option<&IqHandler> {
        let table = match (at, type_) {
            (_, IqType::Result | IqType::Error) => return None,
            (To::DOMAIN, IqType::Get) => &self.domain_gets,
            (To::DOMAIN, IqType::Set) => &self.domain_sets,
            (To::SERVICE, IqType::Get) => &self.service_gets,
            (To::SERVICE, IqType::Set) => &self.service_sets,
            (_, IqType::Get) => &self.account_gets,
            (_, IqType::Set) => &self.account_sets,
        };
        table.get(ns)?.iter().find(|(known, _)| *known == name).map(|(_, handler)| handler)
    }

    /// Whether anybody answers this payload with the other IQ type: then the answer is `bad-request`, not
    /// `service-unavailable`.
    #[must_use]
    pub fn answers_otherwise(&self, at: To, type_: IqType, name: &str, ns: &str) -> bool {
        let other = if type_ == IqType::Get { IqType::Set } else { IqType::Get };
        self.handler(at, other, name, ns).is_some()
    }
}
