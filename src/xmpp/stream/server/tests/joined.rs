//! Two machines joined by two queues of bytes, in every combination of what they can do.

use super::*;
use crate::stream::Tls;

const INITIATOR: &str = PEER;

/// What is permitted and wanted on a stream from `capulet.example` to `montague.example`.
#[derive(Clone, Copy, Debug)]
struct Way {
    external: bool,
    dialback: bool,
    bidi: bool,
    acks: bool,
    resume: bool,
    starttls: bool,
}

fn ways() -> Vec<Way> {
    let bit = |number: u8, at: u8| number & (1 << at) != 0;
    (0..64)
        .map(|n| Way {
            external: bit(n, 0),
            dialback: bit(n, 1),
            bidi: bit(n, 2),
            acks: bit(n, 3),
            resume: bit(n, 4),
            starttls: bit(n, 5),
        })
        .collect()
}

struct Pipe {
    initiator: House,
    responder: House,
    size: usize,
    way: Way,
}

impl Pipe {
    fn new(way: Way, size: usize) -> Self {
        let tls = if way.starttls { Tls::Required } else { Tls::Unavailable };
        let ours = Settings { bidi: way.bidi, acks: way.acks, tls, ..settings() };
        let theirs = Settings { domains: vec![INITIATOR.into()], secret: Secret::new(b"theirs"), ..ours.clone() };
        let permitted = Permitted { external: way.external, dialback: way.dialback };
        let tls = (!way.starttls).then(facts);
        let stream = Stream::open(Arc::new(theirs), INITIATOR, OURS, Purpose::Stanzas, permitted, tls.clone());
        let mut responder = House::accept(ours, tls);
        responder.permitted = permitted;
        responder.verdict = None;
        Self { initiator: House::of(stream), responder, size, way }
    }

    /// Lets both talk until neither has anything to say. The key is verified as it is in life: by a question to
    /// the authority, which is the initiator's house.
    fn converse(&mut self) {
        loop {
            let (up, down) = (self.initiator.said(), self.responder.said());
            for piece in up.as_bytes().chunks(self.size) {
                self.responder.hear(piece);
            }
            for piece in down.as_bytes().chunks(self.size) {
                self.initiator.hear(piece);
            }
            for house in [&mut self.initiator, &mut self.responder] {
                let at = house.events.iter().position(|event| *event == Event::StartTls);
                if let Some(at) =
                    at.filter(|_| up.is_empty() && down.is_empty() && house.stream.poll_timeout().is_some())
                {
                    house.events.remove(at);
                    house.stream.handle_secured(facts());
                }
            }
            self.verify();
            self.manage();
            let is_quiet = |house: &mut House| {
                house.stream.poll_transmit(&mut house.out);
                house.out.is_empty() && !house.events.contains(&Event::StartTls)
            };
            if up.is_empty() && down.is_empty() && is_quiet(&mut self.initiator) && is_quiet(&mut self.responder) {
                return;
            }
        }
    }

    fn verify(&mut self) {
        let asked = self.responder.events.iter().position(|event| matches!(event, Event::Dialback { .. }));
        let Some(asked) = asked else { return };
        let Event::Dialback { pair, key, stream_id } = self.responder.events.remove(asked) else { return };
        let is_good = Secret::new(b"theirs").is_key(&key, &pair.to, &pair.from, &stream_id);
        self.responder.stream.handle_dialback(&pair, if is_good { Verdict::Valid } else { Verdict::Invalid });
        self.responder.work();
    }

    fn manage(&mut self) {
        if self.responder.events.iter().any(|event| matches!(event, Event::Enable { .. })) {
            self.responder.events.retain(|event| !matches!(event, Event::Enable { .. }));
            let resumption = self.way.resume.then_some(("before", Duration::from_secs(300)));
            self.responder.stream.handle_enabled(Ok(resumption));
        }
    }
}

fn stanza(from: &str, to: &str) -> String {
    format!("<message from='a@{from}' to='b@{to}'><body>O</body></message>")
}

#[test]
fn every_way_leads_to_stanzas_or_to_a_reason() {
    for (way, size) in ways().into_iter().flat_map(|way| [1, 7, 100_000].map(|size| (way, size))) {
        let mut pipe = Pipe::new(way, size);
        pipe.converse();
        let events = &pipe.initiator.events;
        if !way.external && !way.dialback {
            assert_eq!(events.last(), Some(&Event::Closed(Ending::NoCommonFeature("authentication"))), "{way:?}");
            assert_eq!(pipe.responder.events.last(), Some(&Event::Closed(Ending::Closed)), "{way:?}");
            continue;
        }
        let by = if way.external { Proof::External } else { Proof::Dialback };
        let authenticated = Event::Authenticated { pair: Pair::new(INITIATOR, OURS), by };
        assert!(events.contains(&authenticated), "{way:?} {events:?}");
        assert!(matches!(events.last(), Some(Event::Ready(_))), "{way:?} {events:?}");
        assert!(pipe.initiator.stream.may_send(INITIATOR, OURS) && pipe.responder.stream.may_hear(INITIATOR, OURS));
        assert_eq!(pipe.responder.stream.may_send(OURS, INITIATOR), way.bidi, "{way:?}");
        assert_eq!(pipe.initiator.stream.may_hear(OURS, INITIATOR), way.bidi, "{way:?}");
        assert_eq!(pipe.initiator.stream.id(), pipe.responder.stream.id());
        pipe.initiator.events.clear();
        pipe.responder.events.clear();
        acknowledge(&mut pipe);
    }
}

/// Two stanzas each way where there is a way, acknowledged where that is agreed on; then the stream breaks, and is
/// resumed where that is.
fn acknowledge(pipe: &mut Pipe) {
    let way = pipe.way;
    pipe.initiator.stream.enable_acks(way.resume);
    pipe.converse();
    assert_eq!(pipe.initiator.stream.has_acks(), way.acks, "{way:?}");
    assert_eq!(pipe.responder.stream.has_acks(), way.acks, "{way:?}");
    let resumption = way.resume.then(|| "before".into());
    let max = way.resume.then_some(Duration::from_secs(300));
    let expected: Vec<Event> = way.acks.then_some(Event::Enabled { resumption, max }).into_iter().collect();
    assert_eq!(pipe.initiator.happened(), expected);
    speak(pipe);
    let received = |house: &House| house.events.iter().filter(|event| matches!(event, Event::Stanza(_))).count();
    assert_eq!((received(&pipe.responder), received(&pipe.initiator)), (2, if way.bidi { 2 } else { 0 }), "{way:?}");
    pipe.responder.stream.handled(1);
    pipe.initiator.stream.request_ack();
    pipe.converse();
    let acked = |house: &House| house.events.iter().filter(|event| **event == Event::Acked(1)).count();
    assert_eq!(acked(&pipe.initiator), usize::from(way.acks), "{way:?}");
    pipe.responder.stream.handled(1);
    pipe.converse();
    assert_eq!(acked(&pipe.initiator), 2 * usize::from(way.acks), "{way:?}");
    if way.acks && way.resume {
        resume(pipe);
    }
    pipe.initiator.stream.close(None);
    pipe.converse();
    assert!(pipe.initiator.stream.is_over() && pipe.responder.stream.is_over());
}

fn speak(pipe: &mut Pipe) {
    let (up, down) = (stanza(INITIATOR, OURS), stanza(OURS, INITIATOR));
    pipe.responder.hear(up.repeat(2));
    pipe.initiator.stream.sent(2);
    if pipe.way.bidi {
        pipe.initiator.hear(down.repeat(2));
        pipe.responder.stream.sent(2);
    }
}

/// The connection breaks while three more are on their way, of which one arrives.
fn resume(pipe: &mut Pipe) {
    let mut again = Pipe::new(pipe.way, pipe.size);
    again.converse();
    again.initiator.events.clear();
    again.responder.events.clear();
    pipe.responder.hear(stanza(INITIATOR, OURS));
    pipe.responder.stream.handled(1);
    pipe.initiator.stream.sent(3);
    again.initiator.stream.resume("before", pipe.initiator.stream.acks().clone());
    again.converse();
    assert_eq!(again.responder.happened(), [Event::Resume { previous: "before".into() }]);
    again.responder.stream.handle_resumed(Ok(pipe.responder.stream.acks().clone()));
    again.converse();
    assert_eq!(again.initiator.happened(), [Event::Resumed { acked: 1 }]);
    // In the other direction nothing was acknowledged: with bidi two were handled by nobody.
    assert_eq!(again.responder.happened(), [Event::Resumed { acked: 0 }]);
    assert_eq!(again.initiator.stream.acks().unacked(), 0);
    again.responder.hear(stanza(INITIATOR, OURS).repeat(2));
    again.initiator.stream.sent(2);
    again.responder.stream.handled(2);
    again.initiator.stream.request_ack();
    again.converse();
    assert!(again.initiator.events.contains(&Event::Acked(2)), "{:?}", again.initiator.events);
    assert_eq!(again.responder.stream.acks().h(), 5);
}
