//! What happens on a day, the house it happens in, and what is asked at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use chirrup::config::Config;
use chirrup::house::{House, World};
use chirrup::net::c2s::Door;
use chirrup::runtime::{Clock, ScriptedDialer, ScriptedResolver, SeededIds, Timestamp};
use chirrup::tables::Table;
use store::memory::Control;
use store::{Batch, Memory, Store as _};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::super::chance::Chance;
use super::super::wire::{End, Fate, Line};
use super::device::{Device, Handle, Order};

pub const DOMAIN: &str = "house.example";
pub const PASSWORD: &str = "password";
/// 2026-01-01T00:00:00Z.
const FIRST_MOMENT: Timestamp = 1_767_225_600_000_000;

struct DayClock(Instant);

impl Clock for DayClock {
    fn now(&self) -> Timestamp {
        FIRST_MOMENT + u64::try_from(self.0.elapsed().as_micros()).unwrap()
    }
}

/// What came of a day, in numbers.
#[derive(Debug, Default)]
pub struct Tally {
    pub messages: u64,
    pub connections: u64,
    pub resumed: u64,
    pub refused: u64,
    pub restarts: u64,
    pub crashes: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.messages += other.messages;
        self.connections += other.connections;
        self.resumed += other.resumed;
        self.refused += other.refused;
        self.restarts += other.restarts;
        self.crashes += other.crashes;
    }
}

/// The house, as devices find it.
pub struct Place {
    began: Instant,
    folder: PathBuf,
    settings: String,
    memory: Control,
    open: Mutex<Option<(Arc<House>, JoinHandle<()>)>>,
    builds: AtomicU64,
    chance: Mutex<Chance>,
    is_calm: AtomicBool,
    lines: Mutex<Vec<(usize, Arc<Line>)>>,
    pub connections: AtomicU64,
    pub resumed: AtomicU64,
    pub refused: AtomicU64,
    pub objections: Mutex<Vec<String>>,
}

impl Place {
    pub fn object(&self, what: String) {
        let mut objections = self.objections.lock().unwrap();
        if objections.len() < 100 {
            objections.push(format!("{:.3}s {what}", self.began.elapsed().as_secs_f64()));
        }
    }

    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    pub fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::Relaxed)
    }

    /// A transport for a device, if the house is open.
    pub fn connect(&self, device: usize) -> Option<End> {
        let house = Arc::clone(&self.open.lock().unwrap().as_ref()?.0);
        self.connections.fetch_add(1, Ordering::Relaxed);
        let (line, near, far) = Line::lay([device, 0], self.draw_fate());
        self.lines.lock().unwrap().push((device, line));
        let address = IpAddr::V4(Ipv4Addr::new(198, 51, 100, u8::try_from(device + 1).unwrap()));
        tokio::spawn(house.attach(Box::new(far), Door::StartTls, address));
        Some(near)
    }

    fn draw_fate(&self) -> Fate {
        let mut chance = self.chance.lock().unwrap();
        let mut fate = Fate::good();
        if self.is_calm() {
            return fate;
        }
        if chance.one_in(2) {
            fate.cut_after[chance.below(2)] = Some(chance.spread(300, 12_000));
        }
        if chance.one_in(2) {
            fate.late[chance.below(2)] = Duration::from_millis(chance.spread(1, 120_000));
        }
        match chance.below(4) {
            0 => fate.latency = Duration::from_millis(chance.spread(1, 300)),
            1 => fate.chunk = usize::try_from(chance.spread(1, 300)).unwrap(),
            _ => {}
        }
        fate
    }

    fn lines_of(&self, device: Option<usize>) -> Vec<Arc<Line>> {
        let mut lines = self.lines.lock().unwrap();
        lines.retain(|(_, line)| !line.is_cut());
        let of = lines.iter().filter(|(of, _)| device.is_none_or(|device| *of == device));
        of.map(|(_, line)| Arc::clone(line)).collect()
    }

    async fn open(&self) {
        let text = format!(
            "data_directory = {:?}\n[[host]]\ndomain = {DOMAIN:?}\n[store]\nengine = \"memory\"\n{}",
            self.folder.display().to_string(),
            self.settings
        );
        let build = self.builds.fetch_add(1, Ordering::Relaxed);
        let world = World {
            clock: Arc::new(DayClock(self.began)),
            ids: Arc::new(SeededIds::new(build + 1)),
            store: Arc::new(self.memory.open()),
            resolver: Arc::new(ScriptedResolver::new()),
            dialer: Arc::new(ScriptedDialer::new()),
        };
        let house = House::build(Config::parse(&text, None).unwrap(), world).await.unwrap();
        let keeping = tokio::spawn(Arc::clone(&house).keep());
        *self.open.lock().unwrap() = Some((house, keeping));
    }

    /// The house stops in good order.
    async fn stop(&self) {
        let Some((house, keeping)) = self.open.lock().unwrap().take() else { return };
        keeping.abort();
        house.close_sessions().await;
        sleep(Duration::from_millis(200)).await;
        // Whoever was logging in finds nobody.
        self.lines_of(None).iter().for_each(|line| line.cut([Duration::ZERO; 2]));
        sleep(Duration::from_millis(1)).await;
        house.store.close().await.unwrap();
    }

    /// The house loses its power: what is not flushed is gone, and nobody says a word more.
    async fn crash(&self) {
        let Some((_, keeping)) = self.open.lock().unwrap().take() else { return };
        keeping.abort();
        self.lines_of(None).iter().for_each(|line| line.cut([Duration::ZERO; 2]));
        // What it would say of the faults that follow, nobody hears.
        sleep(Duration::from_millis(1)).await;
        self.memory.crash();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The self-made certificates; whether they go is the temporary folder's affair.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// What is done, or goes wrong.
#[derive(Debug)]
enum Act {
    Tell(usize, Order),
    /// The link of a device is cut; how late each end notices, in milliseconds.
    Cut(usize, [u64; 2]),
    /// It delivers nothing in one direction for a while.
    Stall(usize, usize, u64),
    /// The house stops for so long.
    Restart(u64),
    /// It loses its power after so long without flushing, and is away for so long.
    Crash(u64, u64),
}

/// A day.
pub struct Day {
    seed: u64,
    /// Of each device: its account and whether it acknowledges and resumes.
    devices: Vec<(usize, bool)>,
    settings: String,
    acts: Vec<(u64, Act)>,
}

impl Day {
    /// What `seed` stands for.
    pub fn draw(seed: u64) -> Self {
        let mut chance = Chance::new(seed, 11);
        let accounts = chance.below(2) + 2;
        let mut devices: Vec<(usize, bool)> = (0..accounts).map(|account| (account, true)).collect();
        for account in 0..accounts {
            devices.extend((0..chance.below(3)).map(|_| (account, !chance.one_in(3))));
        }
        let settings = format!(
            "[c2s]\ntls_required = false\nresume_seconds_max = {}\nunacknowledged_stanzas_max = {}\n\
             unacknowledged_bytes_max = {}\nacknowledge_seconds_max = {}\n[limits]\nmailbox_bytes_max = {}\n\
             offline_messages_per_account_max = 100000\n",
            chance.pick(&[20, 300, 600]),
            chance.pick(&[1, 3, 50, 1_000, 1_000]),
            chance.pick(&[1_000, 1 << 20, 1 << 20]),
            chance.pick(&[10, 60]),
            chance.pick(&[8_000, 4 << 20, 4 << 20, 4 << 20])
        );
        let mut acts = Vec::new();
        for _ in 0..chance.between(20, 120) {
            let device = chance.below(devices.len());
            let late = |chance: &mut Chance| if chance.one_in(2) { 0 } else { chance.spread(1, 100_000) };
            let act = match chance.below(24) {
                0..9 => {
                    let to = chance.below(devices.len());
                    let order = Order::Say { to, is_full: chance.one_in(4), count: chance.spread(1, 12) };
                    Act::Tell(device, order)
                }
                9 | 10 => Act::Tell(device, Order::Noise { to: chance.below(devices.len()) }),
                11 | 12 => Act::Tell(device, Order::Look(chance.one_in(2))),
                13..19 => Act::Cut(device, [late(&mut chance), late(&mut chance)]),
                19 | 20 => Act::Stall(device, chance.below(2), chance.spread(10, 100_000)),
                21 => Act::Tell(device, Order::Leave),
                22 if chance.one_in(2) => Act::Restart(chance.spread(10, 60_000)),
                23 if chance.one_in(2) => Act::Crash(chance.spread(1, 1_000), chance.spread(10, 60_000)),
                _ => Act::Tell(device, Order::Return),
            };
            let pause = match chance.below(5) {
                0 => 0,
                1 => chance.between(0, 5),
                2 => chance.between(0, 500),
                3 => chance.between(0, 8_000),
                _ => chance.spread(1, 200_000),
            };
            acts.push((pause, act));
        }
        Self { seed, devices, settings, acts }
    }

    /// Lives through it.
    pub async fn live(self) -> (Vec<String>, Tally) {
        let memory = Memory::new();
        let folder = std::env::temp_dir().join(format!("chirrup-phone-{}-{}", std::process::id(), self.seed));
        let place = Arc::new(Place {
            began: Instant::now(),
            folder,
            settings: self.settings.clone(),
            memory: memory.control(),
            open: Mutex::default(),
            builds: AtomicU64::new(0),
            chance: Mutex::new(Chance::new(self.seed, 12)),
            is_calm: AtomicBool::new(false),
            lines: Mutex::default(),
            connections: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            objections: Mutex::default(),
        });
        let mut batch = Batch::new();
        for (account, _) in &self.devices {
            batch.put(Table::Accounts.key().str(DOMAIN).str(&format!("p{account}")).build(), account_row());
        }
        memory.commit_durably(batch).await.unwrap();
        place.open().await;
        let names: Vec<(usize, String)> =
            self.devices.iter().enumerate().map(|(index, (account, _))| (*account, format!("d{index}"))).collect();
        let names = Arc::new(names);
        let handles: Vec<Handle> = (0..self.devices.len())
            .map(|index| Device::start(&place, &names, index, self.devices[index].1, self.seed))
            .collect();
        let mut tally = Tally::default();
        let is_told = std::env::var_os("SEED").is_some();
        for (pause, act) in &self.acts {
            sleep(Duration::from_millis(*pause)).await;
            if is_told {
                println!("{:.3}s {act:?}", place.began.elapsed().as_secs_f64());
            }
            self.act(act, &place, &handles, &mut tally).await;
        }
        place.is_calm.store(true, Ordering::Relaxed);
        for line in place.lines_of(None) {
            line.mend();
            line.stall(0, Duration::ZERO);
            line.stall(1, Duration::ZERO);
        }
        for handle in &handles {
            handle.tell(Order::Return);
            handle.tell(Order::Look(true));
        }
        // Long enough for whatever is lost to be found lost, and to be said again.
        sleep(Duration::from_secs(900)).await;
        self.judge(&place, &handles, &mut tally).await;
        place.stop().await;
        tally.connections = place.connections.load(Ordering::Relaxed);
        tally.resumed = place.resumed.load(Ordering::Relaxed);
        tally.refused = place.refused.load(Ordering::Relaxed);
        let objections = std::mem::take(&mut *place.objections.lock().unwrap());
        (objections, tally)
    }

    async fn act(&self, act: &Act, place: &Arc<Place>, handles: &[Handle], tally: &mut Tally) {
        match act {
            Act::Tell(device, order) => handles[*device].tell(order.clone()),
            Act::Cut(device, late) => {
                for line in place.lines_of(Some(*device)) {
                    line.cut(late.map(Duration::from_millis));
                }
            }
            Act::Stall(device, direction, time) => {
                for line in place.lines_of(Some(*device)) {
                    line.stall(*direction, Duration::from_millis(*time));
                }
            }
            Act::Restart(down) => {
                tally.restarts += 1;
                place.stop().await;
                sleep(Duration::from_millis(*down)).await;
                place.open().await;
            }
            Act::Crash(held, down) => {
                tally.crashes += 1;
                place.memory.hold_flushes(true);
                sleep(Duration::from_millis(*held)).await;
                place.crash().await;
                sleep(Duration::from_millis(*down)).await;
                place.open().await;
            }
        }
    }

    /// Compares what everybody has with what was typed.
    async fn judge(&self, place: &Arc<Place>, handles: &[Handle], tally: &mut Tally) {
        for handle in handles {
            handle.tell(Order::Read);
        }
        sleep(Duration::from_secs(60)).await;
        let typed: Vec<Vec<usize>> = handles.iter().map(|handle| handle.notes().typed.clone()).collect();
        tally.messages = typed.iter().map(|typed| typed.len() as u64).sum();
        for (index, handle) in handles.iter().enumerate() {
            let notes = handle.notes();
            let account = self.devices[index].0;
            let Some(archive) = &notes.archive else {
                place.object(format!("d{index} could not read its archive: {}", notes.state));
                continue;
            };
            if notes.waiting > 0 {
                place.object(format!("d{index} has {} messages it could not send: {}", notes.waiting, notes.state));
            }
            let mut last: BTreeMap<usize, usize> = BTreeMap::new();
            let mut found = BTreeSet::new();
            for (id, (sender, number)) in archive {
                if !found.insert((*sender, *number)) {
                    place.object(format!("d{sender}-{number} is twice in the archive of p{account}"));
                }
                if last.insert(*sender, *number).is_some_and(|last| last > *number) {
                    place.object(format!("d{sender}-{number} is out of order in the archive of p{account}"));
                }
                if !notes.seen.contains_key(id) && *sender != index {
                    place.object(format!("d{sender}-{number} never came to d{index}"));
                }
            }
            let ids: BTreeSet<&String> = archive.iter().map(|(id, _)| id).collect();
            for (id, (sender, number)) in &notes.seen {
                if !ids.contains(id) {
                    place.object(format!("d{index} has got d{sender}-{number}, which is not in the archive"));
                }
            }
            for (sender, typed) in typed.iter().enumerate() {
                let is_own = self.devices[sender].0 == account;
                for (number, to) in typed.iter().enumerate() {
                    let is_for_it = is_own || self.devices[*to].0 == account;
                    if is_for_it != found.contains(&(sender, number)) {
                        place.object(format!(
                            "d{sender}-{number} is missing from the archive of p{account}, or wrong there"
                        ));
                    }
                }
            }
        }
    }
}

/// An account as it is stored: stretching a password takes long, and need be done only once.
fn account_row() -> bytes::Bytes {
    static ROW: OnceLock<bytes::Bytes> = OnceLock::new();
    let made = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Arc::new(Memory::new());
            let ids = Arc::new(SeededIds::new(0));
            let accounts = chirrup::tables::accounts::Accounts::load(Arc::clone(&store) as Arc<dyn store::Store>, ids)
                .await
                .unwrap();
            let jid = xmpp::jid::BareJid::new("somebody@example.lit").unwrap();
            accounts.create(&jid, PASSWORD, FIRST_MOMENT).await.unwrap();
            let key = Table::Accounts.key().str("example.lit").str("somebody").build();
            store.get(&key).await.unwrap().unwrap()
        })
    };
    std::thread::scope(|scope| scope.spawn(|| ROW.get_or_init(made).clone()).join().unwrap())
}
