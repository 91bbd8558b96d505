//! Enabling and disabling (XEP-0357 sections 5 and 6), by clients and by services that refuse.

use std::sync::Arc;

use bytes::Bytes;
use xmpp::form::{Form, FormType};
use xmpp::{Element, Jid, StanzaError, ns};

use super::device::{Device, bit};
use super::{Account, Push, notification};
use crate::extension::{Answer, Asked, OccasionKind, Reply, fault};
use crate::router::classify::Destination;
use crate::tables::push::Registration;

const PUBLISH_OPTIONS: &str = "http://jabber.org/protocol/pubsub#publish-options";
/// The field of our own form.
const OCCASIONS_FIELD: &str = "occasions";
/// Longest name of a node, in bytes.
const NODE_BYTES_MAX: usize = 1024;
/// Enabled once more and nothing new: written again after this long, in microseconds.
const RENEWED: u64 = 24 * 60 * 60 * 1_000_000;
/// For what a device is woken whose client does not say.
const USUAL: [OccasionKind; 3] = [OccasionKind::Message, OccasionKind::Call, OccasionKind::Subscription];

impl Push {
    pub(super) async fn enable(self: Arc<Self>, asked: Asked) -> Answer {
        asked.require_owner()?;
        let Some(session) = &asked.caller.session else { return Err(StanzaError::forbidden()) };
        let enable = asked.open()?;
        let service = service_of(&enable)?;
        let router = self.router.upgrade().ok_or_else(StanzaError::internal_server_error)?;
        match router.classify(&service) {
            Destination::Remote(_) => {}
            // Nobody here is a push service: publications would come back to whoever is to be woken.
            _ => return Err(StanzaError::not_acceptable().with_text("there is no push service at this address")),
        }
        let (wanted, options) = forms(&enable, self.settings.form_bytes_max)?;
        let registration = Registration {
            service,
            node: enable.attr("node").unwrap_or_default().into(),
            resource: session.jid.resource().into(),
            wanted,
            renewed: self.clock.now(),
            options,
        };
        self.keep(&asked.to, registration).await?;
        Ok(Reply::Empty)
    }

    async fn keep(&self, jid: &xmpp::BareJid, registration: Registration) -> Result<(), StanzaError> {
        let _turn = self.turns.of(jid.as_str()).await;
        let account = self.open(jid).await.map_err(|error| fault("push services", &error))?;
        let mut dropped = Vec::new();
        let is_written = {
            let devices = account.devices();
            let known = devices.iter().find(|device| is_at(device, &registration.service, Some(&registration.node)));
            if known.is_none() {
                // The least recently renewed give way: their clients are most likely gone.
                let mut others: Vec<&Registration> = devices.iter().map(|device| &device.registration).collect();
                others.sort_by_key(|other| other.renewed);
                let surplus = (others.len() + 1).saturating_sub(self.settings.services_per_account_max);
                dropped.extend(others.into_iter().take(surplus).cloned());
            }
            known.is_some_and(|known| is_covered(&known.registration, &registration))
        };
        if !is_written {
            self.roll.put(jid.as_str());
            let changed = self.registrations.change(jid.as_str(), Some(&registration), &dropped).await;
            changed.map_err(|error| fault("push services", &error))?;
        }
        let mut devices = account.devices();
        devices.retain(|device| !dropped.contains(&device.registration));
        let at = devices.iter_mut().find(|device| is_at(device, &registration.service, Some(&registration.node)));
        match at {
            Some(device) if is_written => {
                device.renewed(Registration { renewed: device.registration.renewed, ..registration });
            }
            Some(device) => device.renewed(registration),
            None => devices.push(Device::new(registration, self.settings.interval())),
        }
        Ok(())
    }

    pub(super) async fn disable(self: Arc<Self>, asked: Asked) -> Answer {
        asked.require_owner()?;
        let disable = asked.open()?;
        let service = service_of(&disable)?;
        let account = self.open(&asked.to).await.map_err(|error| fault("push services", &error))?;
        self.forget(&account, &service, disable.attr("node")).await?;
        Ok(Reply::Empty)
    }

    /// Deletes one node of a service, or all.
    async fn forget(&self, account: &Account, service: &Jid, node: Option<&str>) -> Result<(), StanzaError> {
        let _turn = self.turns.of(account.jid.as_str()).await;
        let dropped: Vec<Registration> = {
            let devices = account.devices();
            let dropped = devices.iter().filter(|device| is_at(device, service, node));
            dropped.map(|device| device.registration.clone()).collect()
        };
        if dropped.is_empty() {
            return Ok(());
        }
        let changed = self.registrations.change(account.jid.as_str(), None, &dropped).await;
        changed.map_err(|error| fault("push services", &error))?;
        account.devices().retain(|device| !is_at(device, service, node));
        Ok(())
    }

    /// A service does not want to hear of `node` any more.
    pub(super) async fn drop_service(&self, account: &Account, service: &Jid, node: &str) {
        tracing::info!(account = %account.jid, %service, "a push service is disabled: it refuses");
        let _logged = self.forget(account, service, Some(node)).await;
    }
}

fn is_at(device: &Device, service: &Jid, node: Option<&str>) -> bool {
    device.registration.service == *service && node.is_none_or(|node| *device.registration.node == *node)
}

/// Whether `new` says nothing that `known`, which is written, does not.
fn is_covered(known: &Registration, new: &Registration) -> bool {
    let same = Registration { renewed: known.renewed, ..new.clone() };
    *known == same && new.renewed.saturating_sub(known.renewed) < RENEWED
}

fn service_of(element: &Element) -> Result<Jid, StanzaError> {
    let jid = element.attr("jid").filter(|jid| !jid.is_empty());
    let jid = jid.ok_or_else(|| StanzaError::bad_request().with_text("which service? its address is missing"))?;
    if element.attr("node").is_some_and(|node| node.len() > NODE_BYTES_MAX) {
        return Err(StanzaError::not_acceptable().with_text(format!("a node has at most {NODE_BYTES_MAX} bytes")));
    }
    Jid::new(jid).map_err(|_| StanzaError::jid_malformed())
}

/// What the forms in `<enable/>` say: for what the device is woken, and the publish options as they are.
fn forms(enable: &Element, bytes_max: usize) -> Result<(u64, Bytes), StanzaError> {
    let mut wanted = USUAL.into_iter().map(bit).sum();
    let mut options = Bytes::new();
    for x in enable.children().filter(|child| child.is("x", ns::DATA_FORMS)) {
        let form = Form::parse(x)?;
        match form.form_type() {
            Some(PUBLISH_OPTIONS) => {
                if form.type_ == FormType::Submit {
                    options = xmpp::xml::element_bytes(x);
                }
                if options.len() > bytes_max {
                    let text = format!("a form of publish options has at most {bytes_max} bytes");
                    return Err(StanzaError::not_acceptable().with_text(text));
                }
            }
            Some(notification::OCCASIONS) => {
                if let Some(field) = form.field(OCCASIONS_FIELD) {
                    wanted = 0;
                    for name in &field.values {
                        let kind = OccasionKind::parse(name).ok_or_else(|| {
                            StanzaError::not_acceptable().with_text(format!("there is no occasion \"{name}\""))
                        })?;
                        wanted |= bit(kind);
                    }
                }
            }
            _ => {}
        }
    }
    Ok((wanted, options))
}
