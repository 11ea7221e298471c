//! Loops: the gateway's key, where it met itself, and what it handed to whom, so that a return can be explained.

mod saved;

pub(crate) use saved::leading_back;

use crate::clock::now;
use crate::core::Core;
use crate::core::InForce;
use crate::outcome::Extra;
use decide::loops::{Again, Arrival, Deed, Key, Trace};
use decide::settings::Settings;
use mail::{Address, AuditId, Carried, Finding, Listener, Recipient, Reflected, Return, Status, Time, Via, status};
use serde_json::json;
use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use store::NewDelivery;

/// Where the key lies in the data folder. All Scanners of one gateway must have the same.
const FILE: &str = "loop.key";
/// How long an address counts as our own after a greeting of ours was met there.
const LEARNED_MS: i64 = 3600 * 1000;
const LEARNED_MAX: usize = 1000;
/// Messages remembered as handed on; a return is quick.
const CARRIED_MAX: usize = 10_000;
const RECIPIENTS_MAX: usize = 20;
/// One alert for each cycle within this time.
const TOLD_MS: i64 = 3600 * 1000;
const TOLD_MAX: usize = 1000;
/// Own greetings that were met and whose sessions at the other end are not over yet.
const REFLECTIONS_MAX: usize = 100;

#[derive(Debug)]
pub(crate) struct Guard {
    key: Key,
    /// By the greeting that was read: where it was met.
    reflections: Mutex<VecDeque<(String, Reflected)>>,
    learned: Mutex<HashMap<SocketAddr, Time>>,
    carried: Mutex<VecDeque<Carried>>,
    told: Mutex<HashMap<String, Time>>,
}

impl Guard {
    pub(crate) fn new(key: Key) -> Guard {
        Guard {
            key,
            reflections: Mutex::default(),
            learned: Mutex::default(),
            carried: Mutex::default(),
            told: Mutex::default(),
        }
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// The token for one greeting.
    pub(crate) fn token(&self) -> String {
        self.key.token(rand::random(), now())
    }

    pub(crate) fn is_own_greeting(&self, banner: &mail::Reply) -> bool {
        self.key.is_own_greeting(&banner.text(), now())
    }

    /// This greeting of ours was met at a host that we dialled.
    pub(crate) fn reflected(&self, greeting: &mail::Reply, at: Reflected) {
        let mut all = self.reflections.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REFLECTIONS_MAX {
            all.pop_front();
        }
        all.push_back((greeting.text(), at));
    }

    /// Whether the client that was greeted so was this gateway itself, and whom it had dialled. No two greetings are alike.
    pub(crate) fn reflection(&self, greeting: &str) -> Option<Reflected> {
        let mut all = self.reflections.lock().unwrap_or_else(PoisonError::into_inner);
        let at = all.iter().position(|(heard, _)| !heard.is_empty() && heard == greeting)?;
        all.remove(at).map(|(_, reflected)| reflected)
    }

    /// Behind this address we met ourselves.
    pub(crate) fn learn(&self, address: SocketAddr) {
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned.retain(|_, at| now().ms() - at.ms() < LEARNED_MS);
        if learned.len() < LEARNED_MAX {
            learned.insert(address, now());
        }
    }

    pub(crate) fn learned(&self) -> Vec<SocketAddr> {
        let learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        learned.iter().filter(|(_, at)| now().ms() - at.ms() < LEARNED_MS).map(|(address, _)| *address).collect()
    }

    /// A host is about to be given a message. Noted before, not after: it may hand it back before it answers.
    pub(crate) fn carry(&self, carried: Carried) {
        let mut all = self.carried.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= CARRIED_MAX {
            all.pop_front();
        }
        all.push_back(carried);
    }

    /// The recipients for whom this message was here before, with all that is known of it.
    pub(crate) fn returns(&self, arrival: &Arrival<'_>, client: IpAddr) -> Vec<Return> {
        let traces = self.key.traces(arrival.header);
        if traces.is_empty() {
            return Vec::new();
        }
        let mut carried = self.carried.lock().unwrap_or_else(PoisonError::into_inner);
        let sent_to_client = |trace: &Trace, _: &Address| {
            let straight = |one: &Carried| one.address == client && matches!(one.via, Via::NextHops | Via::Detour);
            carried.iter().any(|one| one.message == trace.id && straight(one))
        };
        let again = decide::loops::returned(&self.key, &traces, arrival, sent_to_client);
        for one in &again {
            carried.iter_mut().filter(|carried| carried.message == one.trace.id).for_each(|one| one.returned = true);
        }
        again.into_iter().map(|again| self.told_of(again, &traces, arrival, &carried)).collect()
    }

    /// The names of hosts at this address to which messages were handed lately.
    pub(crate) fn names_of(&self, address: IpAddr) -> Vec<String> {
        let carried = self.carried.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<String> =
            carried.iter().filter(|one| one.address == address).map(|one| one.host.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn told_of(&self, again: Again, traces: &[Trace], arrival: &Arrival<'_>, carried: &VecDeque<Carried>) -> Return {
        let of = |id: AuditId| carried.iter().filter(move |carried| carried.message == id).cloned();
        let mut sent: Vec<Carried> = of(again.trace.id).collect();
        // Of a message to several recipients, what went the way of this one; an alias has made others of it.
        let name = again.recipient.to_string();
        let is_for = |one: &Carried| one.recipients.iter().any(|to| to.eq_ignore_ascii_case(&name));
        if sent.iter().any(is_for) {
            sent.retain(is_for);
        }
        sent.truncate(RECIPIENTS_MAX);
        let domain = again.recipient.domain().ascii();
        let domain_of = |recipient: &str| recipient.rsplit('@').next().unwrap_or_default().to_ascii_lowercase();
        let stayed = || {
            let same_host = |one: &&Carried| sent.iter().any(|sent| sent.address == one.address);
            carried.iter().filter(same_host).filter(|one| !one.returned).flat_map(|one| one.recipients.iter())
        };
        let mut stayed_here: Vec<String> = stayed().filter(|other| domain_of(other) == domain).cloned().collect();
        let mut stayed_domains: Vec<String> =
            stayed().map(|other| domain_of(other)).filter(|other| *other != domain).collect();
        for list in [&mut stayed_here, &mut stayed_domains] {
            list.sort();
            list.dedup();
            list.truncate(RECIPIENTS_MAX);
        }
        let others = traces.iter().rev().filter(|trace| trace.id != again.trace.id);
        Return {
            recipient: again.recipient.to_string(),
            before: again.trace.id,
            taken: Time(again.trace.id.ms()),
            listener: again.trace.listener,
            pass: again.trace.pass,
            at: arrival.at,
            other_passes: others.flat_map(|trace| of(trace.id)).take(RECIPIENTS_MAX).collect(),
            delivered_to: decide::loops::delivered_to(arrival.header),
            between: decide::loops::between(&self.key, arrival.header),
            stayed: stayed_here,
            stayed_domains,
            sent,
        }
    }

    /// The pass that this arrival is, counted from 1.
    pub(crate) fn pass(&self, header: &[u8]) -> u8 {
        self.key.traces(header).iter().map(|trace| trace.pass).max().unwrap_or(0).saturating_add(1)
    }

    /// Tells the administrator of a loop: what leads round, by which setting, and what is done about it. Once an hour for
    /// each setting, however many messages it concerns. `what` begins with `mail loop: ` or its like.
    pub(crate) fn alert(
        &self,
        core: &Core,
        id: AuditId,
        what: &str,
        setting: &str,
        deed: &Deed,
        finding: Option<&Finding>,
    ) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now().ms() - at.ms() < TOLD_MS);
        if told.len() >= TOLD_MAX || told.contains_key(setting) {
            return;
        }
        told.insert(setting.to_owned(), now());
        drop(told);
        let fields = json!({ "what": what, "setting": setting, "answer": deed.name(), "finding": finding });
        core.record(id, "alert", fields);
    }
}

/// `a@x.test → mx.b.test [192.0.2.7] → this gateway → a@x.test`
pub(crate) fn cycle(back: &Return, client: IpAddr) -> String {
    let mut way = vec![back.recipient.clone()];
    for sent in &back.sent {
        let host = if sent.host == sent.address.to_string() {
            sent.host.clone()
        } else {
            format!("{} [{}]", sent.host, sent.address)
        };
        if !way.contains(&host) {
            way.push(host);
        }
    }
    if !back.sent.iter().any(|sent| sent.address == client) {
        way.push(format!("[{client}]"));
    }
    way.push("this gateway".to_owned());
    way.push(back.recipient.clone());
    way.join(" → ")
}

/// Recipients for whom a message goes round, and what is done about it.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) recipients: Vec<Recipient>,
    pub(crate) status: Status,
    /// The setting that leads the mail round.
    pub(crate) setting: String,
    /// It took another way before.
    left_its_way: bool,
}

/// Passes after which a message is refused whatever the settings say, should nothing else be known of them: it was
/// sent another way as often as that could help.
const PASSES_MAX: u8 = 4;

impl Round {
    /// A message that came back for these recipients.
    pub(crate) fn back(settings: &Settings, back: &Return, client: IpAddr, recipients: Vec<Recipient>) -> Round {
        let domain = back.recipient.rsplit('@').next().unwrap_or_default();
        let via = back.sent.last().map_or(Via::NextHops, |sent| sent.via);
        Round {
            recipients,
            status: status::LOOP.with(cycle(back, client)),
            setting: decide::loops::setting(settings, domain, via),
            left_its_way: back.pass >= PASSES_MAX
                || back.sent.iter().chain(&back.other_passes).any(|sent| sent.via == Via::Detour),
        }
    }

    /// A message with too many hops.
    pub(crate) fn hops(status: Status, pass: u8, recipients: Vec<Recipient>) -> Round {
        let setting = "loop.hop_limit, if the path is long and goes round nowhere".to_owned();
        Round { recipients, status, setting, left_its_way: pass >= PASSES_MAX }
    }

    /// What is done about it in this lane.
    pub(crate) fn deed(&self, settings: &Settings, lane: &str) -> Deed {
        decide::loops::deed(settings, lane, self.left_its_way)
    }

    /// The deliveries that do it, lane by lane: held, on another way, or to be reported on and not tried.
    pub(crate) fn deliveries(self, in_force: &InForce, finding: Option<Finding>) -> Vec<NewDelivery> {
        let deed = |new: NewDelivery| {
            let deed = self.deed(&in_force.settings, &new.lane);
            let came_back = (deed == Deed::Refuse).then(|| self.status.clone());
            let extra = Extra { finding: finding.clone(), came_back, ..Extra::default() };
            let new = NewDelivery { extra: extra.to_value(), cause: extra.cause(&new.lane), ..new };
            match deed {
                Deed::Refuse => new,
                Deed::Hold => NewDelivery { held: Some(status::HELD.with(&self.status.text).to_string()), ..new },
                Deed::Reroute(lane) => NewDelivery { lane, ..new },
            }
        };
        crate::receive::deliveries(in_force, self.recipients.clone()).into_iter().map(deed).collect()
    }
}

/// Whether a connection comes from ourselves. Programs on this machine may talk to it over loopback.
pub(crate) fn is_own_client(core: &Core, role: Listener, client: IpAddr) -> bool {
    let in_force = core.in_force();
    // Behind one NAT address there may be others; if it is we, our other end knows by the token.
    if !in_force.settings.loop_guard.refuse_own_address || in_force.settings.public_addresses.contains(&client) {
        return false;
    }
    let is_local = client == IpAddr::from([127, 0, 0, 1]) || client == IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1u16]);
    role == Listener::Inbound && !is_local && in_force.identity.is_address(client)
}

/// The key of this data folder, made if there is none yet.
pub(crate) fn key(data: &Path) -> Result<Key, String> {
    let file = data.join(FILE);
    let failed = |error: io::Error| format!("cannot use {}: {error}", file.display());
    match std::fs::File::open(&file) {
        Ok(mut open) => {
            let mut text = String::new();
            open.read_to_string(&mut text).map_err(failed)?;
            text.parse().map_err(|error| format!("{}: {error}", file.display()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = Key::new(rand::random());
            write(&file, &key.to_hex()).map_err(failed)?;
            Ok(key)
        }
        Err(error) => Err(failed(error)),
    }
}

/// For the owner's eyes only, and never half of it.
fn write(file: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let new = file.with_extension("new");
    let mut open = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    writeln!(open, "{text}")?;
    open.sync_all()?;
    std::fs::rename(new, file)
}
