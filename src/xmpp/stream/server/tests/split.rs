//! However the bytes are cut, the same happens and the same is said; whatever comes, the machine stands.

use proptest::prelude::*;

use super::*;

/// What can be told apart from outside.
type Outcome = (String, String, bool);

fn hear_in_pieces<'a>(mut house: House, pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    for piece in pieces {
        house.hear(piece);
        if house.events.last().is_some_and(|event| matches!(event, Event::Enable { .. })) {
            house.stream.handle_enabled(Ok(Some(("id", Duration::from_secs(60)))));
            house.work();
        }
    }
    (house.said(), format!("{:?}", house.events), house.stream.is_over())
}

fn responder() -> House {
    House::accept(settings(), Some(facts()))
}

fn initiator() -> House {
    House::open(settings(), BOTH)
}

fn conversations() -> Vec<(fn() -> House, String)> {
    let question = "<db:verify from='capulet.example' id='x' to='montague.example'>k</db:verify>";
    let malformed = "<iq from='juliet@capulet.example' to='@' id='1' type='get'/>";
    let failure = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>";
    let valid = "<db:result from='capulet.example' to='montague.example' type='valid'/>";
    let clear: fn() -> House = || House::accept(settings(), None);
    vec![
        (responder, [HEADER, BIDI, AUTH, HEADER, MESSAGE, "\n", MESSAGE, malformed, "</stream:stream>"].concat()),
        (responder, [HEADER, question, &request(PEER, OURS), question, MESSAGE, "<message/>"].concat()),
        (
            responder,
            [HEADER, AUTH, HEADER, "<r xmlns='urn:xmpp:sm:3'/>", MESSAGE, "<oops>", "</stream:stream>"].concat(),
        ),
        (responder, [HEADER, &request(PEER, "verona.example"), valid].concat()),
        (clear, [HEADER, &request(PEER, OURS), AUTH, question, MESSAGE].concat()),
        (initiator, [ANSWER, OFFER, SUCCESS, ANSWER, MORE, MESSAGE, &request("rooms.capulet.example", OURS)].concat()),
        (initiator, [ANSWER, OFFER, failure, valid, MESSAGE, valid, question, "</stream:stream>"].concat()),
        (initiator, [ANSWER, OFFER, OFFER].concat()),
        (
            initiator,
            [ANSWER, "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"].concat(),
        ),
    ]
}

#[test]
fn cut_once_anywhere() {
    for (house, conversation) in conversations() {
        let bytes = conversation.as_bytes();
        let whole = hear_in_pieces(house(), [bytes]);
        for at in 0..=bytes.len() {
            let (left, right) = bytes.split_at(at);
            assert_eq!(hear_in_pieces(house(), [left, right]), whole, "cut at {at} of {conversation}");
        }
    }
}

#[test]
fn byte_by_byte() {
    for (house, conversation) in conversations() {
        let bytes = conversation.as_bytes();
        assert_eq!(hear_in_pieces(house(), bytes.chunks(1)), hear_in_pieces(house(), [bytes]));
    }
}

const WORDS: &[&str] = &[
    HEADER,
    ANSWER,
    OFFER,
    MORE,
    AUTH,
    SUCCESS,
    BIDI,
    STARTTLS,
    PROCEED,
    MESSAGE,
    "<presence/>",
    "<enable xmlns='urn:xmpp:sm:3'/>",
    "<enabled xmlns='urn:xmpp:sm:3'/>",
    "<resume xmlns='urn:xmpp:sm:3' h='0' previd='x'/>",
    "<a xmlns='urn:xmpp:sm:3' h='1'/>",
    "<r xmlns='urn:xmpp:sm:3'/>",
    "<db:result from='capulet.example' to='montague.example'>k</db:result>",
    "<db:result from='capulet.example' to='montague.example' type='valid'/>",
    "<db:verify from='capulet.example' to='montague.example' id='x'>k</db:verify>",
    "<db:verify from='capulet.example' to='montague.example' id='x' type='valid'/>",
    "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
    "<failed xmlns='urn:xmpp:sm:3'/>",
    "<",
    "</stream:stream>",
    "<a b='",
];

proptest! {
    #![proptest_config(crate::cases(96))]

    #[test]
    fn cut_often(which in 0_usize..9, sizes in proptest::collection::vec(1_usize..60, 1..20)) {
        let conversations = conversations();
        let (house, conversation) = &conversations[which];
        let mut rest = conversation.as_bytes();
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle() {
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(hear_in_pieces(house(), pieces), hear_in_pieces(house(), [conversation.as_bytes()]));
    }

    /// Whatever comes, in whatever order: the machine answers, waits or ends, once, and what it says is text. What was
    /// not proven is not let through.
    #[test]
    fn nonsense(
        which in 0_usize..4,
        pieces in proptest::collection::vec(
            prop_oneof![
                1 => proptest::collection::vec(any::<u8>(), 0..40),
                6 => proptest::sample::select(WORDS).prop_map(|text| text.as_bytes().to_vec()),
            ],
            0..16,
        ),
        verdict in proptest::sample::select(&[Some(Verdict::Valid), Some(Verdict::Invalid), None][..]),
    ) {
        let mut house = match which {
            0 => responder(),
            1 => House::accept(settings(), None),
            2 => initiator(),
            _ => House::of(Stream::open(Arc::new(settings()), OURS, PEER, Purpose::Verification, BOTH, None)),
        };
        house.verdict = verdict;
        for piece in &pieces {
            house.hear(piece);
            let bound = house.stream.settings.limits.stanza_bytes_max;
            prop_assert!(house.stream.line.framer.buffered() <= bound && house.stream.pending.is_empty());
            match house.events.last() {
                Some(Event::StartTls) => house.stream.handle_secured(facts()),
                Some(Event::Enable { .. }) => house.stream.handle_enabled(Ok(None)),
                Some(Event::Resume { .. }) => house.stream.handle_resumed(Err(None)),
                _ => {}
            }
        }
        house.work();
        let is_heard = |event: &Event| matches!(event, Event::Heard { .. } | Event::Authenticated { .. });
        let first_stanza = house.events.iter().position(|event| matches!(event, Event::Stanza(_)));
        if let Some(at) = first_stanza {
            prop_assert!(house.events[..at].iter().any(is_heard), "{:?}", house.events);
        }
        let ends = house.events.iter().filter(|event| matches!(event, Event::Closed(_))).count();
        prop_assert!(ends <= 1 && (ends == 0 || matches!(house.events.last(), Some(Event::Closed(_)))));
        house.said();
    }
}
