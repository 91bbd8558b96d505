//! What is kept in step stays in step, whichever way it is written, also by several devices at once.

use super::Stage;

/// Numbers that look like chance and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

const NEW: &str = "urn:xmpp:bookmarks:1";
const OLD: &str = "storage:bookmarks";

fn set(id: u64, inside: &str) -> String {
    format!("<iq type='set' id='s{id}'><pubsub xmlns='http://jabber.org/protocol/pubsub'>{inside}</pubsub></iq>")
}

fn get(node: &str) -> String {
    format!(
        "<iq type='get' id='g'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='{node}'/></pubsub></iq>"
    )
}

/// Rooms and their names, by address.
fn rooms(answer: &str, key: &str) -> Vec<String> {
    let attribute = |text: &str, name: &str| {
        let (_, rest) = text.split_once(&format!("{name}='"))?;
        rest.split_once('\'').map(|(value, _)| value.to_owned())
    };
    let mut found: Vec<String> = answer
        .split(if key == "id" { "<item " } else { "<conference " })
        .skip(1)
        .filter_map(|part| {
            let name = match key {
                "id" => attribute(part.split_once("<conference")?.1, "name"),
                _ => attribute(part.split_once('>')?.0, "name"),
            };
            Some(format!("{} {}", attribute(part, key)?, name.unwrap_or_default()))
        })
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn bookmarks_are_the_same_whichever_way_they_are_written() {
    for seed in 0..8 {
        let mut dice = Dice(seed);
        let stage = Stage::new().await;
        stage.account("romeo@example.net").await;
        let romeo = stage.connect("romeo@example.net/orchard").await;
        let phone = stage.connect("romeo@example.net/phone").await;
        for step in 0..60 {
            let device = if dice.below(2) == 0 { &romeo } else { &phone };
            let room = format!("r{}@muc.example", dice.below(5));
            let name = format!("n{}", dice.below(3));
            let storage = |dice: &mut Dice| {
                let mut inside = String::new();
                for number in 0..5 {
                    if dice.below(2) == 0 {
                        let name = dice.below(3);
                        inside.push_str(&format!("<conference jid='r{number}@muc.example' name='n{name}'/>"));
                    }
                }
                format!("<storage xmlns='{OLD}'>{inside}</storage>")
            };
            let stanza = match dice.below(4) {
                0 => set(
                    step,
                    &format!(
                        "<publish node='{NEW}'><item id='{room}'><conference xmlns='{NEW}' name='{name}'/></item></publish>"
                    ),
                ),
                1 => set(step, &format!("<retract node='{NEW}' notify='1'><item id='{room}'/></retract>")),
                2 => {
                    let storage = storage(&mut dice);
                    set(step, &format!("<publish node='{OLD}'><item id='current'>{storage}</item></publish>"))
                }
                _ => {
                    let storage = storage(&mut dice);
                    format!("<iq type='set' id='s{step}'><query xmlns='jabber:iq:private'>{storage}</query></iq>")
                }
            };
            device.send(&stanza).await;
            device.read();
            let ask = async |stanza: &str| {
                romeo.send(stanza).await;
                romeo.read().concat()
            };
            let new = rooms(&ask(&get(NEW)).await, "id");
            let private =
                format!("<iq type='get' id='g'><query xmlns='jabber:iq:private'><storage xmlns='{OLD}'/></query></iq>");
            assert_eq!(rooms(&ask(&private).await, "jid"), new, "seed {seed}, step {step}: {stanza}");
            assert_eq!(rooms(&ask(&get(OLD)).await, "jid"), new, "seed {seed}, step {step}: {stanza}");
        }
    }
}

#[tokio::test]
async fn devices_that_write_at_once_leave_nothing_out_of_step() {
    let stage = Stage::new().await;
    stage.account("romeo@example.net").await;
    let romeo = stage.connect("romeo@example.net/orchard").await;
    let phone = stage.connect("romeo@example.net/phone").await;
    let publish = |number: u64| {
        set(
            number,
            &format!(
                "<publish node='{NEW}'><item id='r{number}@muc.example'><conference xmlns='{NEW}'/></item></publish>"
            ),
        )
    };
    for number in 0..20 {
        let (first, second) = (publish(number * 2), publish(number * 2 + 1));
        tokio::join!(romeo.send(&first), phone.send(&second));
    }
    romeo.read();
    romeo.send(&get(OLD)).await;
    assert_eq!(rooms(&romeo.read().concat(), "jid").len(), 40);
}
