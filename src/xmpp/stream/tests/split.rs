//! However the bytes are cut, the same happens and the same is said.

use proptest::prelude::*;

use super::*;

/// What can be told apart from outside.
type Outcome = (String, String, bool);

fn outcome(house: &mut House) -> Outcome {
    (house.said(), format!("{:?}", house.events), house.stream.is_over())
}

fn hear_in_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut house = House::new(settings(), Some(facts()));
    for piece in pieces {
        house.hear(piece);
    }
    outcome(&mut house)
}

fn conversations() -> Vec<String> {
    let stanzas = "\n<presence/> <message to='romeo@example.net' xml:lang='cs'><body>a &lt; b \u{1f339}</body></message>\
                   <iq type='get' id='1' to='@'><x xmlns='y'/></iq><iq id='2' type='get'><![CDATA[</iq>]]><a xmlns='b'/></iq>";
    let wrong = PLAIN.replace("AGp1bGlldAByMG0zMG15cjBtMzA=", "AGp1bGlldAB4");
    vec![
        [&prelude(), stanzas, "</stream:stream>"].concat(),
        [&prelude(), stanzas, "<message><oops></message>"].concat(),
        [HEADER, &wrong.repeat(2), &prelude().replacen(HEADER, "", 1), "<!-- -->"].concat(),
        [HEADER, "<message/>"].concat(),
        HEADER.replace("im.example.com", "elsewhere.example"),
        [HEADER, "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></stream:stream>"].concat(),
    ]
}

#[test]
fn cut_once_anywhere() {
    for conversation in conversations() {
        let bytes = conversation.as_bytes();
        let whole = hear_in_pieces([bytes]);
        for at in 0..=bytes.len() {
            let (left, right) = bytes.split_at(at);
            assert_eq!(hear_in_pieces([left, right]), whole, "cut at {at} of {conversation}");
        }
    }
}

/// SCRAM needs an answer to a challenge. Chance is the same every time here, so the answer is known beforehand.
#[test]
fn scram_cut_anywhere() {
    use crate::sasl::client::{Binding, ClientExchange};
    use crate::sasl::{ChannelBinding, Hash, decode_message, encode_message};
    let sasl = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
    let binding = Binding::Bound(ChannelBinding::TlsExporter, facts().exporter.unwrap());
    let mut client = ClientExchange::new(Hash::Sha256, binding, None, "juliet", PASSWORD, "nonce", None);
    let first = encode_message(client.first().as_bytes());
    let first = format!("{HEADER}<auth {sasl} mechanism='SCRAM-SHA-256-PLUS'>{first}</auth>");
    let said = hear_in_pieces([first.as_bytes()]).0;
    let challenge = said.split_once("<challenge").unwrap().1.split_once('>').unwrap().1.split_once('<').unwrap().0;
    let last = client.respond(&decode_message(challenge).unwrap()).unwrap();
    let response = format!("<response {sasl}>{}</response>", encode_message(last.as_bytes()));
    let conversation = [&first, &response, HEADER, BIND, "<presence/></stream:stream>"].concat();
    let whole = hear_in_pieces([conversation.as_bytes()]);
    assert!(whole.0.contains("<jid>juliet@im.example.com/balcony</jid>") && whole.1.contains("Presence"));
    for at in 0..conversation.len() {
        let (left, right) = conversation.as_bytes().split_at(at);
        assert_eq!(hear_in_pieces([left, right]), whole, "cut at {at}");
    }
}

#[test]
fn byte_by_byte() {
    for conversation in conversations() {
        let bytes = conversation.as_bytes();
        assert_eq!(hear_in_pieces(bytes.chunks(1)), hear_in_pieces([bytes]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn cut_often(which in 0_usize..6, size in 1_usize..40) {
        let conversations = conversations();
        let bytes = conversations[which].as_bytes();
        prop_assert_eq!(hear_in_pieces(bytes.chunks(size)), hear_in_pieces([bytes]));
    }

    /// Whatever comes, the machine answers or waits; it does not fall over, and it grows no more than it may.
    #[test]
    fn nonsense(pieces in proptest::collection::vec(
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40),
            proptest::sample::select(&[HEADER, PLAIN, BIND, "<presence/>", "<", ">", "</stream:stream>", "<a b='"][..])
                .prop_map(|text| text.as_bytes().to_vec()),
        ], 0..12)
    ) {
        let mut house = House::new(settings(), Some(facts()));
        for piece in &pieces {
            house.hear(piece);
            prop_assert!(house.stream.line.framer.buffered() <= house.stream.settings.limits.stanza_bytes_max);
        }
        prop_assert!(house.events.iter().filter(|event| matches!(event, Event::Closed(_))).count() <= 1);
    }
}
