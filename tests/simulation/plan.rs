//! What a seed stands for: the houses, who lives there, what they do, and what goes wrong when.

use std::fmt;
use std::time::Duration;

use super::chance::Chance;

/// What a house can do about streams that are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Acknowledge stanzas and resume streams (XEP-0198).
    Resumes,
    /// Acknowledge stanzas.
    Acknowledges,
    /// Neither.
    Plain,
}

/// How bad it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Everything passes before anybody gives up: what can be resumed must arrive, once and without an error.
    Gentle,
    /// Anything happens.
    Rough,
}

/// One house.
#[derive(Clone, Debug)]
pub struct HousePlan {
    pub kind: Kind,
    pub is_bidi: bool,
    pub idle_seconds: u64,
    pub queue_bytes_max: usize,
    pub queue_seconds_max: u64,
    pub unacknowledged_bytes_max: usize,
}

impl HousePlan {
    /// Its `[s2s]` section.
    pub fn section(&self) -> String {
        format!(
            "tls_required = false\nrequire_valid_certificate = false\nbidi = {}\nstream_management = {}\n\
             resume_seconds_max = {}\nidle_seconds = {}\nqueue_bytes_max = {}\nqueue_seconds_max = {}\n\
             unacknowledged_bytes_max = {}\n",
            self.is_bidi,
            self.kind != Kind::Plain,
            if self.kind == Kind::Resumes { 300 } else { 0 },
            self.idle_seconds,
            self.queue_bytes_max,
            self.queue_seconds_max,
            self.unacknowledged_bytes_max
        )
    }
}

/// What somebody does, or what goes wrong. People and houses are numbers.
#[derive(Clone, Debug)]
pub enum Act {
    /// Messages in a row, to the account or to the resource.
    Say {
        from: usize,
        to: usize,
        count: usize,
        is_full: bool,
    },
    /// IQs in a row.
    Ask {
        from: usize,
        to: usize,
        what: Question,
        count: usize,
    },
    /// Items published in a row.
    Post {
        by: usize,
        node: Node,
        count: usize,
    },
    /// An explicit subscription to somebody's feed, or its end.
    Follow {
        who: usize,
        whom: usize,
        is_on: bool,
    },
    /// Asks for somebody's presence, or no longer.
    Befriend {
        who: usize,
        whom: usize,
        is_on: bool,
    },
    /// Lets somebody see one's presence no longer.
    Cancel {
        who: usize,
        whom: usize,
    },
    /// Blocks somebody.
    Block {
        who: usize,
        whom: usize,
    },
    /// Logs out, or in again.
    Leave {
        who: usize,
    },
    Return {
        who: usize,
    },
    /// Every wire between two houses is cut; how late each end notices, in milliseconds.
    Cut {
        pair: [usize; 2],
        late: [u64; 2],
    },
    /// The wires between two houses deliver nothing in one direction for so many milliseconds.
    Stall {
        pair: [usize; 2],
        direction: usize,
        time: u64,
    },
    /// Two houses do not reach each other for so many milliseconds; whether they learn so at once.
    Wall {
        pair: [usize; 2],
        time: u64,
        is_loud: bool,
    },
    /// A house finds no names for so many milliseconds.
    Nameless {
        house: usize,
        time: u64,
    },
    /// What a house stores becomes durable so many milliseconds late, for so long.
    Slow {
        house: usize,
        by: u64,
        time: u64,
    },
    /// A house's memory fails once, after so many operations.
    Fault {
        house: usize,
        after: u64,
    },
    /// A house stops, and another opens on its memory so many milliseconds later.
    Restart {
        house: usize,
        down: u64,
    },
}

/// What is asked by IQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// XEP-0199, at the account's server.
    PingDomain,
    /// XEP-0199, at the resource.
    PingResource,
    /// XEP-0030, at the account.
    Info,
    /// A page of the account's feed (XEP-0060 with XEP-0059).
    Page,
}

/// What is published to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// Open to all; readers subscribe to it.
    Feed,
    /// For contacts, who ask for it with `+notify`.
    News,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub mood: Mood,
    pub houses: Vec<HousePlan>,
    pub people: usize,
    /// Those who follow somebody's feed from the beginning and stay.
    pub faithful: Vec<(usize, usize)>,
    /// Each with the milliseconds since the one before.
    pub acts: Vec<(u64, Act)>,
}

impl Plan {
    /// What `seed` stands for.
    pub fn draw(seed: u64) -> Self {
        let mut chance = Chance::new(seed, 1);
        let mood = if chance.one_in(2) { Mood::Gentle } else { Mood::Rough };
        let drawn = chance.pick(&[Kind::Resumes, Kind::Resumes, Kind::Acknowledges, Kind::Plain]);
        let is_mixed = chance.one_in(3);
        let count = chance.between(2, 5).min(4);
        let houses = (0..count).map(|_| {
            let other = chance.pick(&[Kind::Resumes, Kind::Acknowledges, Kind::Plain]);
            HousePlan {
                kind: if is_mixed { other } else { drawn },
                is_bidi: !chance.one_in(3),
                // What crosses the end of an idle stream is in doubt, which a gentle run is not about.
                idle_seconds: if mood == Mood::Rough { chance.pick(&[20, 60, 600]) } else { 1_000_000 },
                queue_bytes_max: if mood == Mood::Rough && chance.one_in(3) { 6_000 } else { 8 << 20 },
                queue_seconds_max: if mood == Mood::Rough { chance.pick(&[40, 100, 300]) } else { 300 },
                unacknowledged_bytes_max: chance.pick(&[1_000, 4 << 20, 4 << 20]),
            }
        });
        let houses: Vec<HousePlan> = houses.collect();
        let people = houses.len() * usize::try_from(chance.between(1, 4)).unwrap();
        let mut plan = Self { seed, mood, houses, people, faithful: Vec::new(), acts: Vec::new() };
        for _ in 0..chance.between(1, 4) {
            let pair = plan.draw_pair(&mut chance);
            if !plan.faithful.contains(&pair) {
                plan.faithful.push(pair);
            }
        }
        for _ in 0..chance.between(30, 140) {
            let act = if chance.one_in(4) { plan.draw_trouble(&mut chance) } else { plan.draw_doing(&mut chance) };
            let pause = match chance.below(6) {
                0 => 0,
                1 => chance.between(0, 5),
                2 | 3 => chance.between(0, 700),
                4 => chance.between(0, 8_000),
                _ => chance.spread(1, 60_000),
            };
            plan.acts.push((pause, act.clone()));
            // Much said before a cut, some of it acknowledged and some not.
            if let Act::Say { from, to, .. } = act
                && chance.one_in(4)
            {
                for _ in 0..chance.between(1, 6) {
                    plan.acts.push((chance.between(0, 400), Act::Say { from, to, count: 2, is_full: true }));
                }
                let pair = [plan.home_of(from), plan.home_of(to)];
                plan.acts.push((chance.between(0, 50), Act::Cut { pair, late: [0; 2] }));
            }
        }
        plan
    }

    /// Whether some memory fails.
    pub fn has_faults(&self) -> bool {
        self.acts.iter().any(|(_, act)| matches!(act, Act::Fault { .. }))
    }

    /// Where somebody lives.
    pub fn home_of(&self, who: usize) -> usize {
        who % self.houses.len()
    }

    /// The domain of a house.
    pub fn domain(house: usize) -> String {
        format!("house{house}.example")
    }

    /// Somebody's address.
    pub fn jid(&self, who: usize) -> String {
        format!("p{who}@{}", Self::domain(self.home_of(who)))
    }

    /// What two houses can do about lost streams between them.
    pub fn kind_between(&self, one: usize, other: usize) -> Kind {
        let kinds = [self.houses[one].kind, self.houses[other].kind];
        [Kind::Plain, Kind::Acknowledges].into_iter().find(|kind| kinds.contains(kind)).unwrap_or(Kind::Resumes)
    }

    /// Two people of different houses.
    fn draw_pair(&self, chance: &mut Chance) -> (usize, usize) {
        let who = chance.below(self.people);
        loop {
            let other = chance.below(self.people);
            if self.home_of(other) != self.home_of(who) {
                return (who, other);
            }
        }
    }

    fn draw_doing(&self, chance: &mut Chance) -> Act {
        let (who, whom) = self.draw_pair(chance);
        let many = |chance: &mut Chance| usize::try_from(chance.spread(1, 40)).unwrap();
        match chance.below(24) {
            0..=8 => Act::Say { from: who, to: whom, count: many(chance), is_full: chance.one_in(2) },
            9..=12 => {
                let all = [Question::PingDomain, Question::PingResource, Question::Info, Question::Page];
                Act::Ask { from: who, to: whom, what: chance.pick(&all), count: many(chance).min(8) }
            }
            13..=15 => {
                let by = match self.faithful.first() {
                    Some((_, whom)) if chance.one_in(2) => *whom,
                    _ => who,
                };
                Act::Post { by, node: chance.pick(&[Node::Feed, Node::News]), count: many(chance).min(8) }
            }
            16 => Act::Follow { who, whom, is_on: !chance.one_in(3) },
            17..=19 => Act::Befriend { who, whom, is_on: !chance.one_in(4) },
            20 => Act::Cancel { who, whom },
            21 if self.mood == Mood::Rough => Act::Block { who, whom },
            22 => Act::Leave { who },
            _ => Act::Return { who },
        }
    }

    fn draw_trouble(&self, chance: &mut Chance) -> Act {
        let house = chance.below(self.houses.len());
        let other = (house + 1 + chance.below(self.houses.len() - 1)) % self.houses.len();
        let pair = [house, other];
        let is_gentle = self.mood == Mood::Gentle;
        let time = chance.spread(1, if is_gentle { 5_000 } else { 400_000 });
        match chance.below(if is_gentle { 10 } else { 14 }) {
            0..=3 => {
                let mut late = [0; 2];
                if chance.one_in(2) {
                    late[chance.below(2)] = time;
                }
                if chance.one_in(4) {
                    late = [time, time];
                }
                Act::Cut { pair, late }
            }
            4 | 5 => Act::Stall { pair, direction: chance.below(2), time },
            6 => Act::Wall { pair, time, is_loud: true },
            7 if is_gentle => Act::Cut { pair, late: [0; 2] },
            7 => Act::Wall { pair, time, is_loud: chance.one_in(2) },
            8 => Act::Nameless { house, time },
            9 => Act::Slow { house, by: chance.spread(1, 2_000), time: chance.spread(1, 20_000) },
            10 => Act::Fault { house, after: chance.spread(1, 200) },
            _ => Act::Restart { house, down: chance.spread(1, 100_000) },
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {:?}, {} people", self.seed, self.mood, self.people)?;
        for (index, house) in self.houses.iter().enumerate() {
            writeln!(f, "  {}: {house:?}", Self::domain(index))?;
        }
        writeln!(f, "  faithful readers (who, whom): {:?}", self.faithful)?;
        let mut at = Duration::ZERO;
        for (pause, act) in &self.acts {
            at += Duration::from_millis(*pause);
            writeln!(f, "  {:>9.3}s {act:?}", at.as_secs_f64())?;
        }
        Ok(())
    }
}
