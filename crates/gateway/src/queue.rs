//! Queue: which delivery is next. The queue itself is a table on disk; here lies a window of what is due.
//!
//! Mail waits in **lanes**, one for each recipient domain, and lanes lead to **destinations** (the same next hops), whose
//! connections they share. A dead destination holds its own lanes up and no other; a lane keeps at most [`WINDOW`]
//! deliveries in memory and fetches more as they leave, so a million queued messages cost disk, not memory.

use crate::clock::now;
use crate::core::Core;
use crate::deliver;
use decide::retry;
use decide::settings::Mode;
use mail::{AuditId, HostTry, Time};
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::{Delivery, NewDelivery};
use tokio::sync::Notify;
use tokio::time::timeout;

/// Deliveries of one lane in memory.
const WINDOW: usize = 200;
/// Below this many, more are fetched from disk.
const WINDOW_LOW: usize = 50;
/// Deliveries of one lane that keep their content in memory while they wait; the others' is read again.
const WITH_CONTENT: usize = 20;
/// How long a courier keeps its connection while nothing is to be sent (Postfix: 2 s).
const COURIER_IDLE: Duration = Duration::from_secs(2);
/// How often due times are looked at; finer than any retry interval.
const TICK: Duration = Duration::from_millis(250);
/// Connections that a destination may have before it has taken any mail; each message taken allows one more (Postfix: 5).
const COURIERS_FIRST: u32 = 5;
/// A destination's first connection is allowed beyond `delivery.connections` up to so many times that limit: silent
/// destinations, however many, must not keep mail for others waiting.
const CONNECTIONS_BEYOND: u32 = 10;
/// A destination without work is forgotten so long after its last failure.
const FORGET: Duration = Duration::from_secs(3600);
/// Failures in a row after which a destination counts as down; one alone may be chance.
const DOWN_AFTER: u32 = 2;
/// How long a host that refused one connection more is given no more than worked; then its limit is tried anew.
const CROWDED: Duration = Duration::from_secs(300);
/// Deliveries that find every connection taken are looked at again after so long.
const FULL_WAIT: Duration = Duration::from_secs(1);
/// After a courier broke down, what it carried waits so long: the same may break the next one.
const ABANDONED_WAIT: Duration = Duration::from_secs(60);
/// Refused tries that are kept for a delivery's record.
const TURNED_AWAY_MAX: usize = 3;

pub(crate) type Key = (AuditId, u32);

#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    lanes: HashMap<String, Lane>,
    destinations: HashMap<String, Destination>,
    couriers: u32,
    addresses: HashMap<IpAddr, u32>,
    /// Addresses that refused one connection more: so many, until then.
    crowded: HashMap<IpAddr, (u32, Time)>,
    /// Tries that such an address refused, of deliveries that wait for a free connection: for the record of their attempt.
    turned_away: HashMap<Key, Vec<HostTry>>,
    /// Being attempted, in whatever lane: an order may have moved the row meanwhile.
    flying: HashSet<Key>,
    /// Goes up with each order and each change of settings: what was read before may be held, deleted or moved by now.
    generation: u64,
    /// In flight when a flush came: if they fail, they are tried again at once.
    again: HashSet<Key>,
}

#[derive(Debug, Default)]
struct Lane {
    destination: String,
    /// By the settings: its mail is kept.
    paused: bool,
    ready: VecDeque<Delivery>,
    /// It stands in its destination's turn, which counts so many of `ready`.
    in_turn: bool,
    counted: usize,
    /// In `ready` or in flight.
    busy: HashSet<Key>,
    /// When the earliest delivery that lies on disk only is due.
    on_disk: Option<Time>,
    loading: bool,
    /// Settled while a load was under way, whose snapshot may still show them.
    settled: HashSet<Key>,
}

#[derive(Debug, Default)]
struct Destination {
    /// Lanes with something ready, in turn.
    turn: VecDeque<String>,
    /// Deliveries ready in all of its lanes.
    ready: usize,
    couriers: u32,
    /// Couriers without work, connections open.
    waiting: u32,
    in_flight: u32,
    wake: Arc<Notify>,
    failures: u32,
    /// When the last of them was.
    failed: Time,
    /// Messages taken since the last failure.
    taken: u32,
    down: Option<Down>,
}

/// Why the queue is read anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Rows have changed.
    Changed,
    /// Whatever failed may work now: a flush, new settings, a start.
    TryAgain,
}

/// What an attempt says of its destination.
#[derive(Debug)]
pub(crate) enum Contact {
    /// A host talked about this mail, whatever it said.
    Spoke,
    /// No host could be talked to.
    Unreachable(String),
    /// None was dialled.
    None,
}

/// How a destination stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) couriers: u32,
    pub(crate) in_flight: u32,
    /// In a row.
    pub(crate) failures: u32,
    pub(crate) down: Option<Down>,
}

/// A destination that failed repeatedly.
#[derive(Clone, Debug)]
pub(crate) struct Down {
    pub(crate) since: Time,
    pub(crate) until: Time,
    pub(crate) last_failure: String,
}

/// Keys in their lanes' books for a commit under way; dropped without [`Queue::enqueue`], they are taken out again.
#[derive(Debug)]
pub(crate) struct Reserved {
    core: Arc<Core>,
    keys: Vec<(String, Key)>,
    generation: u64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        for (lane, key) in self.keys.drain(..) {
            self.core.queue.settled(&lane, key, None);
        }
    }
}

/// One connection to an address, counted while it lives.
#[derive(Debug)]
pub(crate) struct AddressSeat {
    core: Arc<Core>,
    address: IpAddr,
    /// Connections to the address when it was taken, this one included.
    pub(crate) number: u32,
}

impl Drop for AddressSeat {
    fn drop(&mut self) {
        let mut state = self.core.queue.lock();
        if let Some(count) = state.addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                state.addresses.remove(&self.address);
            }
        }
        drop(state);
        self.core.metrics.couriers.dec();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up what lies on disk: at start, and after an order or new settings. What is in flight stays so. A flush tries
    /// destinations that are down as well; an order to hold says nothing about them.
    pub(crate) fn reload(&self, core: &Arc<Core>, reason: Reason) -> std::io::Result<()> {
        let on_disk = core.store.lanes()?;
        let mut state = self.lock();
        state.generation += 1;
        let State { lanes, destinations, .. } = &mut *state;
        for lane in lanes.values_mut() {
            lane.in_turn = false;
            lane.counted = 0;
            for delivery in lane.ready.drain(..) {
                lane.busy.remove(&delivery.key());
                lane.on_disk = earlier(lane.on_disk, delivery.next);
            }
        }
        for destination in destinations.values_mut() {
            destination.turn.clear();
            destination.ready = 0;
            if reason == Reason::TryAgain {
                destination.down = None;
                destination.failures = 0;
            }
        }
        for due in on_disk {
            let lane = lanes.entry(due.lane).or_default();
            lane.on_disk = earlier(lane.on_disk, due.due);
        }
        let in_force = core.in_force();
        for (name, lane) in lanes.iter_mut() {
            lane.destination = deliver::destination_of(&in_force, name);
            lane.paused = deliver::is_paused(&in_force, name);
        }
        state.tidy();
        drop(state);
        self.tick(core);
        Ok(())
    }

    /// Books deliveries that are about to be committed. A load that sees them on disk before [`Queue::enqueue`] is told of
    /// the commit would otherwise deliver them a second time.
    pub(crate) fn reserve(&self, core: &Arc<Core>, id: AuditId, deliveries: &[NewDelivery]) -> Reserved {
        let mut state = self.lock();
        let tried = deliveries.iter().zip(0..).filter(|(delivery, _)| delivery.held.is_none());
        let keys = tried.map(|(delivery, n)| (delivery.lane.clone(), (id, n)));
        let reserved: Vec<(String, Key)> = keys.collect();
        for (lane, key) in &reserved {
            state.lane(core, lane).busy.insert(*key);
        }
        let generation = state.generation;
        drop(state);
        Reserved { core: core.clone(), keys: reserved, generation }
    }

    /// New mail, straight from its commit.
    pub(crate) fn enqueue(&self, core: &Arc<Core>, mut reserved: Reserved, deliveries: Vec<Delivery>) {
        reserved.keys.clear();
        let mut state = self.lock();
        let outdated = state.generation != reserved.generation;
        for mut delivery in deliveries {
            let name = delivery.lane.clone();
            let lane = state.lane(core, &name);
            if outdated
                || lane.paused
                || lane.ready.len() >= WINDOW
                || lane.on_disk.is_some_and(|due| due <= delivery.next)
            {
                lane.busy.remove(&delivery.key());
                lane.on_disk = earlier(lane.on_disk, delivery.next);
                continue;
            }
            if lane.ready.len() >= WITH_CONTENT {
                delivery.content = None;
            }
            lane.busy.insert(delivery.key());
            lane.ready.push_back(delivery);
            let destination = lane.destination.clone();
            state.line_up(&name);
            state.dispatch(core, &destination);
        }
    }

    /// The next delivery for a courier of this destination. `None`: nothing came for a while; the courier leaves.
    pub(crate) async fn take(&self, core: &Arc<Core>, destination: &str) -> Option<Delivery> {
        loop {
            let (wake, patience) = {
                let mut state = self.lock();
                if let Some(delivery) = state.pop(core, destination) {
                    return Some(delivery);
                }
                // One beyond the usual number makes room: others wait for their first connection.
                let is_beyond = state.couriers > core.in_force().settings.delivery.connections;
                let patience = if is_beyond { Duration::ZERO } else { COURIER_IDLE };
                let here = state.destinations.get_mut(destination)?;
                here.waiting += 1;
                (here.wake.clone(), patience)
            };
            let woken = timeout(patience, wake.notified()).await.is_ok() && !core.is_stopping();
            let mut state = self.lock();
            let here = state.destinations.get_mut(destination)?;
            here.waiting -= 1;
            if !woken {
                let last = state.pop(core, destination);
                if last.is_none() {
                    state.courier_leaves(destination);
                }
                return last;
            }
        }
    }

    /// A courier ends although there may be work (its connection limit is reached): another may come at the next tick.
    pub(crate) fn give_back(&self, destination: &str, delivery: &Delivery) {
        let mut state = self.lock();
        state.let_go(destination, &delivery.lane, delivery.key(), delivery.next.max(now() + FULL_WAIT));
        state.courier_leaves(destination);
    }

    /// The attempt is over and its result is on its way to disk.
    pub(crate) fn attempted(&self, core: &Arc<Core>, destination: &str, contact: Contact) {
        let delivery_max = core.in_force().settings.delivery.connections_per_address;
        let mut state = self.lock();
        let Some(here) = state.destinations.get_mut(destination) else { return };
        here.in_flight = here.in_flight.saturating_sub(1);
        match contact {
            Contact::None => {}
            Contact::Spoke => {
                here.failures = 0;
                here.taken = here.taken.saturating_add(1);
                if here.down.take().is_some() || !here.turn.is_empty() && here.waiting == 0 && here.taken < delivery_max
                {
                    state.dispatch(core, destination);
                }
            }
            Contact::Unreachable(last_failure) => {
                here.failed = now();
                here.failures += 1;
                here.taken = 0;
                if here.failures >= DOWN_AFTER {
                    let since = here.down.as_ref().map_or_else(now, |down| down.since);
                    here.down = Some(Down { since, until: now() + retry::marked_down(here.failures), last_failure });
                }
            }
        }
    }

    /// The result is on disk: the delivery is gone, or due again at `next`.
    pub(crate) fn settled(&self, lane: &str, key: Key, next: Option<Time>) {
        let mut state = self.lock();
        state.flying.remove(&key);
        state.turned_away.remove(&key);
        state.again.remove(&key);
        if let Some(here) = state.lanes.get_mut(lane) {
            here.busy.remove(&key);
            if here.loading {
                here.settled.insert(key);
            }
            if let Some(next) = next {
                here.on_disk = earlier(here.on_disk, next);
            }
            if here.is_empty() {
                state.lanes.remove(lane);
            }
        }
    }

    /// A delivery lies on disk in this lane, due then: it came out of another one.
    pub(crate) fn awaits(&self, core: &Arc<Core>, lane: &str, due: Time) {
        let mut state = self.lock();
        let here = state.lane(core, lane);
        here.on_disk = earlier(here.on_disk, due);
    }

    /// Our connections to this address now.
    pub(crate) fn connections(&self, address: IpAddr) -> u32 {
        self.lock().addresses.get(&address).copied().unwrap_or(0)
    }

    /// How all destinations stand that have work, connections or failures.
    pub(crate) fn standings(&self) -> HashMap<String, Standing> {
        let state = self.lock();
        let standing = |here: &Destination| Standing {
            couriers: here.couriers,
            in_flight: here.in_flight,
            failures: here.failures,
            down: here.down.clone(),
        };
        state.destinations.iter().map(|(name, here)| (name.clone(), standing(here))).collect()
    }

    /// An address that refused one connection more is given no more than so many, until then.
    pub(crate) fn learned(&self, address: IpAddr) -> Option<(u32, Time)> {
        self.lock().crowded.get(&address).copied().filter(|(_, until)| *until > now())
    }

    /// A connection to the address, unless it has its limit already.
    pub(crate) fn enter(&self, core: &Arc<Core>, address: IpAddr, limit: u32) -> Option<AddressSeat> {
        let mut state = self.lock();
        let limit = match state.crowded.get(&address) {
            Some((fewer, until)) if *until > now() => limit.min(*fewer),
            _ => limit,
        };
        let count = state.addresses.entry(address).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        let number = *count;
        drop(state);
        core.metrics.couriers.inc();
        Some(AddressSeat { core: core.clone(), address, number })
    }

    /// The address refused its connection `number` because of the others: it gets fewer for a while. The try is kept for the
    /// record of the delivery, which waits for a free connection.
    pub(crate) fn crowded(&self, key: Key, number: u32, tried: &HostTry) {
        let mut state = self.lock();
        let worked = number.saturating_sub(1).max(1);
        let now = now();
        state.crowded.retain(|_, (_, until)| *until > now);
        let known = state.crowded.entry(tried.address).or_insert((worked, now));
        *known = (known.0.min(worked), now + CROWDED);
        let tries = state.turned_away.entry(key).or_default();
        if tries.len() < TURNED_AWAY_MAX {
            tries.push(tried.clone());
        }
    }

    /// Tries of this delivery that did not count as an attempt.
    pub(crate) fn turned_away(&self, key: Key) -> Vec<HostTry> {
        self.lock().turned_away.get(&key).cloned().unwrap_or_default()
    }

    /// A courier's end that it did not choose: what it carried must not stay booked for ever.
    pub(crate) fn abandoned(&self, destination: &str, lane: &str, key: Key) {
        let mut state = self.lock();
        state.let_go(destination, lane, key, now() + ABANDONED_WAIT);
        state.courier_leaves(destination);
    }

    /// Why a lane waits beyond its deliveries' own times, if its destination is down.
    pub(crate) fn down(&self, lane: &str) -> Option<Down> {
        let state = self.lock();
        let lane = state.lanes.get(lane)?;
        state.destinations.get(&lane.destination)?.down.clone()
    }

    /// Takes a delivery out of the queue's hands, unless it is being attempted or loaded just now.
    pub(crate) fn claim(&self, core: &Arc<Core>, lane: &str, key: Key) -> Option<Reserved> {
        let mut state = self.lock();
        if state.flying.contains(&key) {
            return None;
        }
        let here = state.lane(core, lane);
        if here.loading {
            return None;
        }
        if let Some(at) = here.ready.iter().position(|delivery| delivery.key() == key) {
            here.ready.remove(at);
            here.counted -= 1;
            let destination = here.destination.clone();
            if let Some(destination) = state.destinations.get_mut(&destination) {
                destination.ready -= 1;
            }
        } else if !here.busy.insert(key) {
            return None;
        }
        let generation = state.generation;
        drop(state);
        Some(Reserved { core: core.clone(), keys: vec![(lane.to_owned(), key)], generation })
    }

    /// A flush is about to be written to disk.
    pub(crate) fn flush(&self) {
        let mut state = self.lock();
        state.again = state.flying.clone();
    }

    /// A flush came while this delivery was under way.
    pub(crate) fn is_flushed(&self, key: Key) -> bool {
        self.lock().again.contains(&key)
    }

    /// Deliveries being attempted now.
    pub(crate) fn in_flight(&self) -> u32 {
        self.lock().destinations.values().map(|destination| destination.in_flight).sum()
    }

    /// Looks at all due times, for ever.
    pub(crate) async fn run(core: Arc<Core>) {
        let mut ticks = tokio::time::interval(TICK);
        loop {
            ticks.tick().await;
            if core.is_stopping() {
                return;
            }
            core.queue.tick(&core);
        }
    }

    fn tick(&self, core: &Arc<Core>) {
        let now = now();
        let mut state = self.lock();
        let due = state.lanes.iter().filter(|(_, lane)| lane.wants_load(now)).map(|(name, _)| name.clone());
        for lane in due.collect::<Vec<_>>() {
            state.load(core, &lane);
        }
        state.destinations.retain(|_, here| here.is_needed(now));
        let waiting = state.destinations.iter().filter(|(_, here)| !here.turn.is_empty()).map(|(name, _)| name.clone());
        for destination in waiting.collect::<Vec<_>>() {
            state.dispatch(core, &destination);
        }
    }

    fn loaded(&self, core: &Arc<Core>, name: &str, generation: u64, found: Vec<Delivery>, later: Option<Time>) {
        let mut state = self.lock();
        let State { lanes, flying, generation: current, .. } = &mut *state;
        let Some(lane) = lanes.get_mut(name) else { return };
        lane.loading = false;
        let settled = std::mem::take(&mut lane.settled);
        if generation != *current {
            lane.on_disk = Some(now());
            return;
        }
        lane.on_disk = later.map_or(lane.on_disk, |later| earlier(lane.on_disk, later));
        for delivery in found {
            let key = delivery.key();
            if flying.contains(&key) {
                lane.on_disk = earlier(lane.on_disk, now() + Duration::from_secs(1));
            } else if !settled.contains(&key) && lane.busy.insert(key) {
                lane.ready.push_back(delivery);
            }
        }
        if lane.is_empty() {
            state.lanes.remove(name);
            return;
        }
        let destination = lane.destination.clone();
        state.line_up(name);
        state.dispatch(core, &destination);
    }
}

impl Lane {
    fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.busy.is_empty() && self.on_disk.is_none() && !self.loading
    }

    fn wants_load(&self, now: Time) -> bool {
        !self.paused && !self.loading && self.ready.len() < WINDOW_LOW && self.on_disk.is_some_and(|due| due <= now)
    }
}

impl State {
    fn lane(&mut self, core: &Arc<Core>, name: &str) -> &mut Lane {
        self.lanes.entry(name.to_owned()).or_insert_with(|| {
            let in_force = core.in_force();
            let destination = deliver::destination_of(&in_force, name);
            Lane { destination, paused: deliver::is_paused(&in_force, name), ..Lane::default() }
        })
    }

    /// Puts a lane with something ready into its destination's turn, once.
    fn line_up(&mut self, name: &str) {
        let Some(lane) = self.lanes.get_mut(name).filter(|lane| !lane.ready.is_empty()) else { return };
        let here = self.destinations.entry(lane.destination.clone()).or_default();
        here.ready = here.ready + lane.ready.len() - lane.counted;
        lane.counted = lane.ready.len();
        if !std::mem::replace(&mut lane.in_turn, true) {
            here.turn.push_back(name.to_owned());
        }
    }

    /// Wakes a courier, or sends a new one out, if there is work that may be done now.
    fn dispatch(&mut self, core: &Arc<Core>, name: &str) {
        let in_force = core.in_force();
        let delivery = &in_force.settings.delivery;
        let Some(here) = self.destinations.get_mut(name) else { return };
        if core.is_stopping()
            || in_force.settings.mode == Mode::PauseDelivery
            || !here.may_start(now())
            || here.turn.is_empty()
        {
            return;
        }
        let wanted = if here.down.is_some() { here.ready.min(1) } else { here.ready };
        for _ in 0..here.waiting.min(u32::try_from(wanted).unwrap_or(u32::MAX)) {
            here.wake.notify_one();
        }
        // A courier that is at work takes the next delivery when it is done; new ones come while the work exceeds them.
        let mut sent = 0;
        let couriers_max = COURIERS_FIRST.saturating_add(here.taken).min(delivery.connections_per_address);
        let beyond = delivery.connections.saturating_mul(CONNECTIONS_BEYOND);
        while (here.waiting as usize + sent) < wanted
            && here.couriers < couriers_max
            && self.couriers < if here.couriers == 0 { beyond } else { delivery.connections }
        {
            here.couriers += 1;
            self.couriers += 1;
            sent += 1;
            tokio::spawn(deliver::courier(core.clone(), name.to_owned()));
        }
    }

    fn pop(&mut self, core: &Arc<Core>, name: &str) -> Option<Delivery> {
        let paused = core.is_stopping() || core.in_force().settings.mode == Mode::PauseDelivery;
        let here = self.destinations.get_mut(name)?;
        if paused || !here.may_start(now()) {
            return None;
        }
        while let Some(lane_name) = here.turn.pop_front() {
            let Some(lane) = self.lanes.get_mut(&lane_name) else { continue };
            lane.in_turn = false;
            let Some(delivery) = lane.ready.pop_front() else { continue };
            lane.counted -= 1;
            here.ready -= 1;
            if !lane.ready.is_empty() {
                lane.in_turn = true;
                here.turn.push_back(lane_name.clone());
            }
            here.in_flight += 1;
            self.flying.insert(delivery.key());
            if lane.wants_load(now()) {
                self.load(core, &lane_name);
            }
            return Some(delivery);
        }
        None
    }

    /// A delivery that was not attempted lies on disk only again, where an order may have changed it, until `next`.
    fn let_go(&mut self, destination: &str, lane: &str, key: Key, next: Time) {
        if let Some(here) = self.destinations.get_mut(destination) {
            here.in_flight = here.in_flight.saturating_sub(1);
        }
        self.flying.remove(&key);
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.busy.remove(&key);
            if lane.loading {
                lane.settled.insert(key);
            }
            lane.on_disk = earlier(lane.on_disk, next);
        }
    }

    fn courier_leaves(&mut self, name: &str) {
        self.couriers = self.couriers.saturating_sub(1);
        if let Some(here) = self.destinations.get_mut(name) {
            here.couriers = here.couriers.saturating_sub(1);
        }
        self.tidy_destination(name);
    }

    fn tidy_destination(&mut self, name: &str) {
        let idle = self.destinations.get(name).is_some_and(|here| {
            here.couriers == 0 && here.turn.is_empty() && here.down.is_none() && here.failures == 0
        });
        if idle {
            self.destinations.remove(name);
        }
    }

    fn tidy(&mut self) {
        self.lanes.retain(|_, lane| !lane.is_empty());
        let now = now();
        self.destinations.retain(|_, here| here.is_needed(now));
    }

    /// Fetches a window of due deliveries from disk, beside the event loop.
    fn load(&mut self, core: &Arc<Core>, name: &str) {
        let Some(lane) = self.lanes.get_mut(name) else { return };
        lane.loading = true;
        lane.on_disk = None;
        lane.settled.clear();
        let (core, name, mut except) = (core.clone(), name.to_owned(), lane.busy.clone());
        let generation = self.generation;
        tokio::task::spawn_blocking(move || {
            let found = core.store.due(&name, now(), WINDOW, &except);
            let found = found.and_then(|found| {
                except.extend(found.iter().map(Delivery::key));
                let later = core.store.due(&name, Time(Time::NEVER.ms() - 1), 1, &except)?;
                Ok((found, later.first().map(|delivery| delivery.next)))
            });
            match found {
                Ok((found, later)) => core.queue.loaded(&core, &name, generation, found, later),
                Err(error) => {
                    let fields =
                        serde_json::json!({ "what": format!("the queue of {name} could not be read: {error}") });
                    core.record(core.ids.next(), "alert", fields);
                    core.queue.loaded(&core, &name, generation, Vec::new(), Some(now() + Duration::from_secs(10)));
                }
            }
        });
    }
}

impl Destination {
    /// It has work, or its failures are worth remembering.
    fn is_needed(&self, now: Time) -> bool {
        self.couriers > 0 || self.in_flight > 0 || !self.turn.is_empty() || self.failed + FORGET > now
    }

    /// While it is down nothing starts; when its time has come one delivery tries for all.
    fn may_start(&self, now: Time) -> bool {
        match &self.down {
            None => true,
            Some(down) => down.until <= now && self.in_flight == 0,
        }
    }
}

fn earlier(known: Option<Time>, other: Time) -> Option<Time> {
    Some(known.map_or(other, |known| known.min(other)))
}
