//! The stream machine at every stage of a negotiation, SASL messages, forms and page queries: what must hold for
//! any bytes.

use std::sync::Arc;

use xmpp::form::{Declared, FieldType, Form, FormType, Template};
use xmpp::paging::{Page, Query};
use xmpp::sasl::client::{Binding, ClientExchange};
use xmpp::sasl::scram::{ClientFirst, ServerExchange};
use xmpp::sasl::{Hash, Keys, Mechanism, decode_message, encode_message, plain};
use xmpp::stream::client::{Client, Login};
use xmpp::stream::{Event, Seed, Settings, Stream, TlsFacts};
use xmpp::xml::parse_element;
use xmpp::{BareJid, Element, ns};

const HEADER: &str = "<stream:stream to='im.example.com' version='1.0' xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams'>";
/// `\0juliet\0r0m30myr0m30`
const PLAIN: &str =
    "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGp1bGlldAByMG0zMG15cjBtMzA=</auth>";
const BIND: &str = "<iq id='b' type='set'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";

/// The first byte chooses how far the negotiation is and whether there is TLS; the rest is what a stranger sends.
/// However it is cut, the same is said and the same happens; the stream ends once; what is said is XML.
pub fn machine(data: &[u8]) {
    let Some((stage, data)) = data.split_first() else { return };
    let has_tls = stage & 0x80 != 0;
    let prelude = match (stage & 3, has_tls) {
        (0, _) => String::new(),
        (1, _) | (_, false) => HEADER.to_owned(),
        (2, _) => [HEADER, PLAIN, HEADER].concat(),
        _ => [HEADER, PLAIN, HEADER, BIND].concat(),
    };
    let whole = converse(has_tls, &prelude, std::iter::once(data));
    assert_eq!(whole, converse(has_tls, &prelude, data.chunks(1)), "cut into bytes");
    assert_eq!(whole, converse(has_tls, &prelude, data.chunks(7)), "cut into sevens");
    let mut client = Client::open(Login::new(BareJid::new("juliet@im.example.com").unwrap(), "x", "x"), None);
    client.handle_bytes(data);
    while client.poll_event().is_some() {}
}

fn converse<'a>(has_tls: bool, prelude: &'a str, pieces: impl Iterator<Item = &'a [u8]>) -> (String, Vec<Event>) {
    let facts = TlsFacts { exporter: Some(vec![7; 32]), server_end_point: None, version: "1.3" };
    let settings = Settings { registration: true, ..Settings::new(["im.example.com"]) };
    let bound = settings.limits.stanza_bytes_max + settings.unauthenticated_bytes_max;
    let seed = Seed { stream_id: "a".into(), nonce: "b".into() };
    let mut stream = Stream::accept(Arc::new(settings), seed, has_tls.then_some(facts));
    let mut said = Vec::new();
    let mut events = Vec::new();
    for piece in std::iter::once(prelude.as_bytes()).chain(pieces) {
        stream.handle_bytes(piece);
        while let Some(event) = stream.poll_event() {
            match event {
                Event::NeedCredentials { localpart, mechanism, .. } => {
                    let hash = mechanism.hash().expect("only SCRAM needs keys");
                    stream.handle_credentials(Ok(Keys::fake(hash, b"secret", &localpart, 4096)));
                }
                Event::CheckPassword { password, .. } => {
                    stream.handle_password(Ok(password.expose() == "r0m30myr0m30"));
                }
                Event::Bind { resource } => {
                    let account = BareJid::new("juliet@im.example.com").unwrap();
                    let jid = account.with_resource(resource.as_deref().unwrap_or("r"));
                    stream.handle_bound(Ok(jid.expect("a resource is prepared before it is asked for")));
                }
                event => events.push(event),
            }
        }
        stream.poll_transmit(&mut said);
        assert!(said.len() <= 64 * bound, "we say too much");
    }
    let ends = events.iter().filter(|event| matches!(event, Event::Closed(_))).count();
    assert!(ends <= 1 && (ends == 0 || matches!(events.last(), Some(Event::Closed(_)))), "{events:?}");
    (String::from_utf8(said).expect("what is said is UTF-8"), events)
}

/// SASL messages of either side: what is read is written the same, and nothing is proven by chance.
pub fn sasl(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(message) = decode_message(text)
    {
        assert_eq!(decode_message(&encode_message(&message)).as_deref(), Ok(&*message));
    }
    if let Ok(message) = plain::Message::parse(data) {
        assert_eq!(plain::Message::parse(&message.render()), Ok(message));
    }
    let keys = || Keys::fake(Hash::Sha256, b"secret", "juliet", 4096);
    if let Ok(first) = ClientFirst::parse(data) {
        let _either = first.binding(Mechanism::ScramSha256Plus, true);
        let (exchange, challenge) = ServerExchange::begin(Hash::Sha256, first, keys(), "nonce", None);
        assert!(challenge.is_ascii() || std::str::from_utf8(data).is_ok());
        assert!(exchange.finish(data).is_err());
    }
    let first = ClientFirst::parse(b"n,,n=juliet,r=x").unwrap();
    let (exchange, _) = ServerExchange::begin(Hash::Sha256, first, keys(), "y", None);
    assert!(exchange.finish(data).is_err());
    // Few iterations only: stretching is slow by intention.
    if !data.windows(5).any(|digits| digits.iter().all(u8::is_ascii_digit)) {
        let mut client = ClientExchange::new(Hash::Sha1, Binding::Unsupported, None, "juliet", "x", "x", None);
        let _either = client.respond(data);
        assert!(client.finish(data).is_err());
    }
}

const TEMPLATE: Template = Template {
    form_type: "urn:example",
    title: "",
    fields: &[
        Declared::new("b", FieldType::Boolean, "").required(),
        Declared::new("j", FieldType::JidMulti, ""),
        Declared::list("l", FieldType::ListSingle, "", &[("a", "A"), ("b", "B")]),
    ],
};

/// One element as a form, a page query and a page: what is read is written the same.
pub fn form(data: &[u8]) {
    let Ok(element) = parse_element(data, ns::DATA_FORMS) else { return };
    if let Ok(form) = Form::parse(&element) {
        assert_eq!(Form::parse(&form.to_element()), Ok(form.clone()));
        if let Ok(read) = TEMPLATE.read(&form) {
            assert!(form.type_ == FormType::Submit && read.bool("b").is_some());
            assert!(read.text("l").is_none_or(|chosen| ["", "a", "b"].contains(&chosen)));
        }
    }
    let list = ["a", "b", "c"];
    let sets = std::iter::once(&element).chain(element.children()).filter(|element: &&Element| element.has_ns(ns::RSM));
    for set in sets {
        if let Ok(query) = Query::parse_set(set) {
            assert_eq!(Query::parse_set(&query.to_element()), Ok(query.clone()));
            if let Some((range, page)) = query.cut(&list, 2, |uid| uid) {
                assert!(range.len() <= 2 && list.get(range).is_some());
                assert_eq!(Page::parse_set(&page.to_element()), Ok(page));
            }
        }
    }
}
