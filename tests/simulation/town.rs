//! The houses of a run, the names they have for each other, and the wires between them.
//!
//! Every house sees the others through a resolver and a dialer of its own, so that one may be cut off from another and
//! not from a third. A house may be told to stop and another opened on the same memory.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use chirrup::config::Config;
use chirrup::house::{House, World};
use chirrup::runtime::{
    Answer, Clock, Dialer, Family, LookupError, Pending, Resolver, SeededIds, Srv, Timestamp, Tlsa, Transport,
};
use chirrup::s2s::Door;
use chirrup::tables::Table;
use store::memory::Control;
use store::{Batch, Memory, Store as _};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use xmpp::jid::BareJid;

use super::chance::Chance;
use super::plan::{HousePlan, Mood, Plan};
use super::wire::{Fate, Line};

/// 2026-01-01T00:00:00Z.
const FIRST_MOMENT: Timestamp = 1_767_225_600_000_000;
/// Where server streams are taken.
const PORT: u16 = 5269;

/// The runtime's time as wall time, from a fixed moment on.
struct TownClock(Instant);

impl Clock for TownClock {
    fn now(&self) -> Timestamp {
        FIRST_MOMENT + u64::try_from(self.0.elapsed().as_micros()).unwrap()
    }
}

/// Everything a run happens in.
pub struct Town {
    began: Instant,
    mood: Mood,
    chance: Mutex<Chance>,
    folder: PathBuf,
    pub homes: Vec<Home>,
    lines: Mutex<Vec<Arc<Line>>>,
    /// Until when a house cannot reach another, by pair, and whether it hears that at once.
    walls: Mutex<Vec<([usize; 2], Instant, bool)>>,
    is_calm: AtomicBool,
    dialled: AtomicU64,
}

/// A house and what outlives it.
pub struct Home {
    pub domain: String,
    plan: HousePlan,
    memory: Control,
    open: Mutex<Option<(Arc<House>, JoinHandle<()>)>>,
    builds: AtomicU64,
    nameless_until: Mutex<Instant>,
}

/// A house whose doors are closed.
pub struct Shut {
    memory: Control,
    house: Arc<House>,
    keeping: JoinHandle<()>,
}

impl Shut {
    /// Stops it as a server is stopped: streams end politely, then the memory is closed. Its people have left. How
    /// many links there are still: those whose other ends did not listen.
    pub async fn stop(self) -> usize {
        self.keeping.abort();
        self.house.federation.stop().await;
        self.memory.hold_flushes(false);
        self.house.store.close().await.unwrap();
        self.house.federation.links()
    }
}

impl Town {
    /// Every house of the plan, open, with its accounts.
    pub async fn found(plan: &Plan) -> Arc<Self> {
        let mut homes = Vec::new();
        for (index, house) in plan.houses.iter().enumerate() {
            let memory = Memory::new();
            let home = Home {
                domain: Plan::domain(index),
                plan: house.clone(),
                memory: memory.control(),
                open: Mutex::default(),
                builds: AtomicU64::new(0),
                nameless_until: Mutex::new(Instant::now()),
            };
            let mut batch = Batch::new();
            for who in (0..plan.people).filter(|who| plan.home_of(*who) == index) {
                let jid = BareJid::new(&plan.jid(who)).unwrap();
                let key = Table::Accounts.key().str(jid.domain()).str(jid.localpart().unwrap()).build();
                batch.put(key, account());
            }
            memory.commit_durably(batch).await.unwrap();
            homes.push(home);
        }
        let folder = std::env::temp_dir().join(format!(
            "chirrup-simulation-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let town = Arc::new(Self {
            began: Instant::now(),
            mood: plan.mood,
            chance: Mutex::new(Chance::new(plan.seed, 2)),
            folder,
            homes,
            lines: Mutex::default(),
            walls: Mutex::default(),
            is_calm: AtomicBool::new(true),
            dialled: AtomicU64::new(0),
        });
        for index in 0..town.homes.len() {
            town.open(index).await;
        }
        town
    }

    /// Opens a house on the memory that is there.
    pub async fn open(self: &Arc<Self>, index: usize) {
        let home = &self.homes[index];
        let folder = self.folder.join(&home.domain);
        let text = format!(
            "data_directory = {:?}\n[[host]]\ndomain = {:?}\n[store]\nengine = \"memory\"\n[s2s]\n{}\n",
            folder.display().to_string(),
            home.domain,
            home.plan.section()
        );
        let config = Config::parse(&text, None).unwrap();
        // A house that cannot read its memory does not open, and says so: not what is looked at here.
        home.memory.fail_after(u64::MAX);
        let build = home.builds.fetch_add(1, Ordering::Relaxed);
        let phone = Arc::new(Phone { town: Arc::downgrade(self), house: index });
        let world = World {
            clock: Arc::new(TownClock(self.began)),
            ids: Arc::new(SeededIds::new((index as u64 + 1) * 1_000 + build)),
            store: Arc::new(home.memory.open()),
            resolver: Arc::clone(&phone) as Arc<dyn Resolver>,
            dialer: phone,
        };
        let house = House::build(config, world).await.unwrap();
        let keeping = tokio::spawn(Arc::clone(&house).keep());
        *home.open.lock().unwrap() = Some((house, keeping));
    }

    /// Closes the doors of a house that is open: nobody new comes in.
    pub fn shut(&self, index: usize) -> Option<Shut> {
        let (house, keeping) = self.homes[index].open.lock().unwrap().take()?;
        Some(Shut { memory: self.memory(index), house, keeping })
    }

    /// The house, if it is open.
    pub fn house(&self, index: usize) -> Option<Arc<House>> {
        self.homes[index].open.lock().unwrap().as_ref().map(|(house, _)| Arc::clone(house))
    }

    /// The memory of a house, to be slowed and broken.
    pub fn memory(&self, index: usize) -> Control {
        self.homes[index].memory.clone()
    }

    /// The wires between two houses that are whole.
    pub fn lines_between(&self, pair: [usize; 2]) -> Vec<Arc<Line>> {
        let mut lines = self.lines.lock().unwrap().clone();
        lines.retain(|line| !line.is_cut() && (line.ends == pair || line.ends == [pair[1], pair[0]]));
        lines
    }

    /// No house reaches the other for so long; `is_loud` says whether they learn of it at once.
    pub fn wall(&self, pair: [usize; 2], time: Duration, is_loud: bool) {
        let until = Instant::now() + time;
        self.walls.lock().unwrap().extend([(pair, until, is_loud), ([pair[1], pair[0]], until, is_loud)]);
        for line in self.lines_between(pair) {
            match is_loud {
                true => line.cut([Duration::ZERO; 2]),
                false => (0..2).for_each(|direction| line.stall(direction, time)),
            }
        }
    }

    /// A house finds no names for so long.
    pub fn forget_names(&self, index: usize, time: Duration) {
        *self.homes[index].nameless_until.lock().unwrap() = Instant::now() + time;
    }

    /// From now on wires have their fates; the good ones end.
    pub fn trouble(&self) {
        self.is_calm.store(false, Ordering::Relaxed);
        for line in self.lines.lock().unwrap().iter() {
            line.cut([Duration::ZERO; 2]);
        }
    }

    /// Ends all faults.
    pub fn calm(&self) {
        self.is_calm.store(true, Ordering::Relaxed);
        self.walls.lock().unwrap().clear();
        for home in &self.homes {
            *home.nameless_until.lock().unwrap() = Instant::now();
            home.memory.hold_flushes(false);
            home.memory.fail_after(u64::MAX);
        }
        for line in self.lines.lock().unwrap().iter() {
            line.mend();
        }
    }

    /// Everything wires from `from` to `to` took and did not deliver.
    pub fn lost(&self, from: usize, to: usize) -> Vec<Vec<u8>> {
        let mut lost = Vec::new();
        for line in self.lines.lock().unwrap().iter() {
            if line.ends == [from, to] {
                lost.push(line.lost(0));
            } else if line.ends == [to, from] {
                lost.push(line.lost(1));
            }
        }
        lost
    }

    /// How often anybody has connected to anybody.
    pub fn dialled(&self) -> u64 {
        self.dialled.load(Ordering::Relaxed)
    }

    fn draw_fate(&self) -> Fate {
        let mut chance = self.chance.lock().unwrap();
        if self.is_calm.load(Ordering::Relaxed) {
            return Fate::good();
        }
        let mut fate = Fate::good();
        // Enough for a stream to be opened and resumed, where what is resumed is to be expected to arrive.
        let least = if self.mood == Mood::Gentle { 3_000 } else { 20 };
        if chance.one_in(2) {
            fate.cut_after[chance.below(2)] = Some(chance.spread(least, 40_000));
        }
        if chance.one_in(3) {
            let most = if self.mood == Mood::Gentle { 20_000 } else { 100_000 };
            fate.late[chance.below(2)] = Duration::from_millis(chance.spread(1, most));
        }
        match chance.below(4) {
            0 => fate.latency = Duration::from_millis(chance.spread(1, 200)),
            1 => fate.chunk = usize::try_from(chance.spread(1, 300)).unwrap(),
            _ => {}
        }
        fate
    }

    fn connect(self: &Arc<Self>, from: usize, at: SocketAddr) -> Option<Result<Transport, bool>> {
        let to = (0..self.homes.len()).find(|index| at == SocketAddr::new(address(*index), PORT))?;
        let now = Instant::now();
        let wall =
            self.walls.lock().unwrap().iter().find(|(pair, until, _)| *pair == [from, to] && *until > now).copied();
        if let Some((_, _, is_loud)) = wall {
            return Some(Err(is_loud));
        }
        let house = self.house(to)?;
        self.dialled.fetch_add(1, Ordering::Relaxed);
        let (line, near, far) = Line::lay([from, to], self.draw_fate());
        self.lines.lock().unwrap().push(line);
        tokio::spawn(house.attach_server(Box::new(far), Door::StartTls, address(from)));
        Some(Ok(Box::new(near)))
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        // The self-made certificates; whether they go is the temporary folder's affair.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn address(index: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, u8::try_from(index + 1).unwrap()))
}

/// An account as it is stored. Stretching a password takes long, and nobody logs in here.
fn account() -> bytes::Bytes {
    static ROW: OnceLock<bytes::Bytes> = OnceLock::new();
    let made = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Arc::new(Memory::new());
            let ids = Arc::new(SeededIds::new(0));
            let accounts = chirrup::tables::accounts::Accounts::load(Arc::clone(&store) as Arc<dyn store::Store>, ids)
                .await
                .unwrap();
            let jid = BareJid::new("somebody@example.lit").unwrap();
            accounts.create(&jid, "password", FIRST_MOMENT).await.unwrap();
            let key = Table::Accounts.key().str("example.lit").str("somebody").build();
            store.get(&key).await.unwrap().unwrap()
        })
    };
    std::thread::scope(|scope| scope.spawn(|| ROW.get_or_init(made).clone()).join().unwrap())
}

/// How a house reaches the others.
struct Phone {
    town: Weak<Town>,
    house: usize,
}

impl Phone {
    async fn nameless(&self) -> Result<Arc<Town>, LookupError> {
        let town = self.town.upgrade().ok_or(LookupError::TimedOut)?;
        let until = *town.homes[self.house].nameless_until.lock().unwrap();
        if until > Instant::now() {
            sleep(Duration::from_secs(2)).await;
            return Err(LookupError::TimedOut);
        }
        Ok(town)
    }
}

impl Resolver for Phone {
    fn is_validating(&self) -> bool {
        false
    }

    fn srv<'a>(&'a self, _: &'a str) -> Pending<'a, Result<Answer<Srv>, LookupError>> {
        Box::pin(async move {
            self.nameless().await?;
            Err(LookupError::NoRecords { is_secure: false })
        })
    }

    fn addresses<'a>(&'a self, host: &'a str, family: Family) -> Pending<'a, Result<Answer<IpAddr>, LookupError>> {
        Box::pin(async move {
            let town = self.nameless().await?;
            let found = town.homes.iter().position(|home| home.domain == host.trim_end_matches('.'));
            match (found, family) {
                (Some(index), Family::V4) => Ok(Answer { records: vec![address(index)], is_secure: false }),
                _ => Err(LookupError::NoRecords { is_secure: false }),
            }
        })
    }

    fn tlsa<'a>(&'a self, _: &'a str) -> Pending<'a, Result<Answer<Tlsa>, LookupError>> {
        Box::pin(std::future::ready(Err(LookupError::NoRecords { is_secure: false })))
    }
}

impl Dialer for Phone {
    fn connect(&self, to: SocketAddr) -> Pending<'_, io::Result<Transport>> {
        Box::pin(async move {
            match self.town.upgrade().and_then(|town| town.connect(self.house, to)) {
                Some(Ok(transport)) => Ok(transport),
                Some(Err(false)) => std::future::pending().await,
                Some(Err(true)) | None => Err(io::ErrorKind::ConnectionRefused.into()),
            }
        })
    }
}
