//! The machine of server streams, on both sides and at every stage of a negotiation: what must hold for any bytes
//! (RFC 6120, XEP-0220, XEP-0288, XEP-0198).

use std::sync::Arc;
use std::time::Duration;

use xmpp::stream::server::{Event, Permitted, Purpose, Secret, Settings, Stream, Verdict};
use xmpp::stream::{Seed, Tls, TlsFacts};

const HEADER: &str = "<stream:stream from='capulet.example' to='montague.example' version='1.0' id='id1' \
    xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback'>";
const AUTH: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";
const BIDI: &str = "<bidi xmlns='urn:xmpp:bidi'/>";
const OFFER: &str = "<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL\
    </mechanism></mechanisms><dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>\
    <bidi xmlns='urn:xmpp:features:bidi'/><sm xmlns='urn:xmpp:sm:3'/></stream:features>";
const SUCCESS: &str = "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";

/// The first byte chooses the side, whether there is TLS, how far the negotiation is and what the caller answers;
/// the rest is what the peer sends. However it is cut, the same is said and the same happens; the stream ends once;
/// no stanza comes before something was proven.
pub fn server(data: &[u8]) {
    let Some((stage, data)) = data.split_first() else { return };
    let prelude = match (stage & 3, stage & 0x40 != 0) {
        (0, _) => String::new(),
        (1, _) => HEADER.to_owned(),
        (2, false) => [HEADER, BIDI].concat(),
        (_, false) => [HEADER, BIDI, AUTH, HEADER].concat(),
        (2, true) => [HEADER, OFFER].concat(),
        (_, true) => [HEADER, OFFER, SUCCESS, HEADER, OFFER].concat(),
    };
    let whole = converse(*stage, &prelude, std::iter::once(data));
    for cut in [converse(*stage, &prelude, data.chunks(1)), converse(*stage, &prelude, data.chunks(7))] {
        // What follows STARTTLS in the clear is refused where it comes with it, and is not read where it comes later.
        let is_secured = |(_, events): &(String, Vec<Event>)| events.contains(&Event::StartTls);
        if !is_secured(&whole) && !is_secured(&cut) {
            assert_eq!(whole, cut, "cut into pieces");
        }
    }
}

fn converse<'a>(stage: u8, prelude: &'a str, pieces: impl Iterator<Item = &'a [u8]>) -> (String, Vec<Event>) {
    let bit = |at: u8| stage & (1 << at) != 0;
    let facts = || TlsFacts { exporter: None, server_end_point: None, version: "1.3" };
    let (has_tls, is_initiator) = (bit(7), bit(6));
    let tls = if bit(5) { Tls::Optional } else { Tls::Required };
    let settings = Settings { tls, ..Settings::new(["montague.example"], Secret::new(b"secret")) };
    let bound = settings.limits.stanza_bytes_max + settings.unauthenticated_bytes_max;
    let permitted = Permitted { external: !bit(4), dialback: true };
    let mut stream = if is_initiator {
        let purpose = if bit(3) { Purpose::Verification } else { Purpose::Stanzas };
        let tls = has_tls.then(facts);
        Stream::open(Arc::new(settings), "montague.example", "capulet.example", purpose, permitted, tls)
    } else {
        let seed = Seed { stream_id: "a".into(), nonce: "b".into() };
        Stream::accept(Arc::new(settings), seed, has_tls.then(facts))
    };
    let mut said = Vec::new();
    let mut events = Vec::new();
    for piece in std::iter::once(prelude.as_bytes()).chain(pieces) {
        stream.handle_bytes(piece);
        while let Some(event) = stream.poll_event() {
            match &event {
                Event::StartTls => stream.handle_secured(facts()),
                Event::Opened { .. } => stream.handle_opened(permitted),
                Event::Authenticate { domain } => stream.handle_external(domain.starts_with('r')),
                Event::Dialback { pair, key, .. } => {
                    let verdict = if key.starts_with('x') { Verdict::Invalid } else { Verdict::Valid };
                    stream.handle_dialback(pair, verdict);
                }
                Event::Enable { resume, .. } => {
                    let resumption = resume.then_some(("id", Duration::from_secs(60)));
                    stream.handle_enabled(Ok(resumption));
                }
                Event::Resume { .. } => stream.handle_resumed(Err(None)),
                Event::Ready(_) => stream.enable_acks(true),
                Event::Stanza(stanza) => {
                    stream.handled(1);
                    let (from, to) = (stanza.head.from.as_ref(), stanza.head.to.as_ref());
                    let (Some(from), Some(to)) = (from, to) else { panic!("an address is missing") };
                    assert!(stream.may_hear(from.domain(), to.domain()), "{from} {to}");
                }
                _ => {}
            }
            events.push(event);
        }
        stream.poll_transmit(&mut said);
        assert!(said.len() <= 64 * bound, "we say too much");
    }
    let ends = events.iter().filter(|event| matches!(event, Event::Closed(_))).count();
    assert!(ends <= 1 && (ends == 0 || matches!(events.last(), Some(Event::Closed(_)))), "{events:?}");
    let is_proof = |event: &Event| matches!(event, Event::Heard { .. } | Event::Authenticated { .. });
    let is_stanza = |event: &Event| matches!(event, Event::Stanza(_) | Event::Malformed { .. });
    if let Some(first) = events.iter().position(is_stanza) {
        assert!(events.iter().take(first).any(is_proof), "{events:?}");
    }
    (String::from_utf8(said).expect("what is said is UTF-8"), events)
}
