//! Probe: makes the experiments that rules ask for, within a budget. It never says DATA.

mod hello;
mod talk;

use crate::clock::now;
use crate::core::{Core, InForce};
use decide::diagnose::{Experiment, Look, Result as Seen};
use mail::End;
use mail::dns::{Answer, Trouble};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// All experiments of one case together: a finding that comes much later helps nobody.
const ALL_MAX: Duration = Duration::from_secs(15);
/// A result that is younger is used again: a thousand messages to one domain make one experiment.
const KEPT: Duration = Duration::from_secs(180);
/// An answer of DNS, which costs little and may have been put right meanwhile.
const ANSWER_KEPT: Duration = Duration::from_secs(20);
const KEPT_MAX: usize = 500;
/// A budget is counted over this time.
const HOUR: Duration = Duration::from_secs(3600);
/// Addresses whose connections are counted; beyond that none is made until some are an hour old.
const ADDRESSES_MAX: usize = 10_000;

/// What was looked at lately.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// When each address was connected to.
    made: HashMap<IpAddr, VecDeque<Instant>>,
    kept: HashMap<Experiment, (Instant, Look)>,
}

impl Probes {
    /// Takes one connection to an address out of the budget; why not, if it is spent.
    fn spend(&self, address: IpAddr, per_hour: u32, at: Instant) -> Result<(), String> {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |made: &Instant| at.saturating_duration_since(*made) < HOUR;
        if book.made.len() >= ADDRESSES_MAX {
            book.made.retain(|_, times| times.iter().any(recent));
        }
        if book.made.len() >= ADDRESSES_MAX && !book.made.contains_key(&address) {
            return Err("too many addresses were looked at within the hour".to_owned());
        }
        let times = book.made.entry(address).or_default();
        times.retain(recent);
        if times.len() >= per_hour as usize {
            return Err(format!(
                "{address} had its {per_hour} test connections of this hour (diagnosis.connections_per_hour)"
            ));
        }
        times.push_back(at);
        Ok(())
    }

    fn kept(&self, experiment: &Experiment, at: Instant) -> Option<Look> {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let (made, look) = book.kept.get(experiment)?;
        let lasting = if matches!(experiment, Experiment::Ask { .. }) { ANSWER_KEPT } else { KEPT };
        (at.saturating_duration_since(*made) < lasting).then(|| look.clone())
    }

    fn keep(&self, look: &Look, at: Instant) {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        if book.kept.len() >= KEPT_MAX {
            book.kept.retain(|_, (made, _)| at.saturating_duration_since(*made) < KEPT);
        }
        if book.kept.len() >= KEPT_MAX {
            book.kept.clear();
        }
        book.kept.insert(look.experiment.clone(), (at, look.clone()));
    }
}

/// Makes all of them at once. Each comes back, made or not, in the order given.
pub(crate) async fn look(core: &Arc<Core>, in_force: &InForce, experiments: &[Experiment]) -> Vec<Look> {
    crate::deliver::join_all(experiments.iter().map(|experiment| one(core, in_force, experiment))).await
}

async fn one(core: &Arc<Core>, in_force: &InForce, experiment: &Experiment) -> Look {
    let settings = &in_force.settings.diagnosis;
    let look = |result| Look { experiment: experiment.clone(), at: now(), result };
    if !settings.experiments {
        return look(Seen::NotMade("the settings forbid it (diagnosis.experiments)".to_owned()));
    }
    if let Some(look) = core.probes.kept(experiment, Instant::now()) {
        let at = look.at.rfc3339();
        crate::heard::tell("note", "", || {
            format!("{}: done at {at} already; that result is used", described(experiment))
        });
        return look;
    }
    if let Some(address) = experiment.address()
        && let Err(why) = core.probes.spend(address.ip(), settings.connections_per_hour, Instant::now())
    {
        crate::heard::tell("note", "", || format!("{}: not done: {why}", described(experiment)));
        return look(Seen::NotMade(why));
    }
    crate::heard::tell("experiment", "", || described(experiment));
    let look = look(made(core, in_force, experiment).await);
    if let Seen::Answer(answer) = &look.result {
        crate::heard::tell("DNS", "", || crate::door::dns_line(answer));
    }
    if !matches!(look.result, Seen::NotMade(_)) {
        core.probes.keep(&look, Instant::now());
    }
    look
}

/// What is about to be done, for people.
fn described(experiment: &Experiment) -> String {
    match experiment {
        Experiment::Ask { question, .. } => format!("asks DNS: {question}"),
        Experiment::Connect { address } => format!("connects to {address}"),
        Experiment::Greet { address, host, source, ehlo, .. } => {
            let source = source.map(|source| format!(" from {source}")).unwrap_or_default();
            let ehlo = ehlo.as_ref().map(|name| format!(" as {name}")).unwrap_or_default();
            format!("talks to {host} at {address}{source}{ehlo}")
        }
        Experiment::TlsFirst { address, host } => format!("begins TLS at once with {host} at {address}"),
    }
}

/// Makes one, whatever the budget.
pub(crate) async fn made(core: &Arc<Core>, in_force: &InForce, experiment: &Experiment) -> Seen {
    match experiment {
        Experiment::Ask { question, how } => {
            let asked = timeout(ALL_MAX, core.resolver.ask_as(&in_force.dns, question.clone(), *how)).await;
            Seen::Answer(asked.unwrap_or_else(|_| {
                let why = format!("no answer within {} s", ALL_MAX.as_secs());
                Answer { trouble: Some(Trouble::TimedOut), ..Answer::failed(question.clone(), why) }
            }))
        }
        Experiment::Connect { address } => {
            let (tried, _) = talk::connect(in_force, *address, &address.ip().to_string(), None).await;
            Seen::Talk(Box::new(tried))
        }
        Experiment::Greet { address, host, source, ehlo, tls, sender, recipient } => {
            let plan = talk::Plan {
                address: *address,
                host,
                source: *source,
                ehlo: ehlo.as_deref(),
                tls: *tls,
                sender: sender.as_deref(),
                recipient: recipient.as_deref(),
            };
            Seen::Talk(Box::new(Box::pin(talk::greet(core, in_force, &plan)).await))
        }
        Experiment::TlsFirst { address, host } => tls_first(core, in_force, *address, host).await,
    }
}

/// Without a connection there is nothing to say of TLS: the record of the failure is what was seen.
async fn tls_first(core: &Core, in_force: &InForce, address: SocketAddr, host: &str) -> Seen {
    let (mut tried, socket) = talk::connect(in_force, address, host, None).await;
    let Some(socket) = socket else { return Seen::Talk(Box::new(tried)) };
    match hello::say(core.client_tls.clone(), host, socket).await {
        Ok(hello) => Seen::Tls(Box::new(hello)),
        Err(error) => {
            tried.end = End::Broken(error.to_string());
            Seen::Talk(Box::new(tried))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_connections_each_hour_and_no_more() {
        let probes = Probes::default();
        let start = Instant::now();
        let (a, b): (IpAddr, IpAddr) = ("127.0.0.11".parse().unwrap(), "127.0.0.12".parse().unwrap());
        for _ in 0..3 {
            assert_eq!(probes.spend(a, 3, start), Ok(()));
        }
        assert!(probes.spend(a, 3, start).unwrap_err().contains("127.0.0.11 had its 3"));
        assert_eq!(probes.spend(b, 3, start), Ok(()));
        assert_eq!(probes.spend(a, 3, start + HOUR), Ok(()));
        assert!(probes.spend(b, 0, start + HOUR).is_err(), "none is allowed");
    }

    fn core(folder: &std::path::Path, settings: &str) -> Arc<Core> {
        let settings = format!("hostname = \"gw.corp.test\"\n{settings}");
        let settings = decide::Settings::read(&settings).unwrap();
        let store = store::Store::open(folder, store::Limits::default()).unwrap();
        let log = crate::log::Log::open(folder, &crate::host::LogFiles::default()).unwrap();
        let loops = crate::loops::Guard::new(crate::loops::key(folder).unwrap());
        Core::new(store, log, loops, 0, Vec::new(), 0, settings, crate::tls::client().unwrap())
    }

    async fn peer(script: &str) -> sim::peer::Peer {
        sim::peer::Peer::start("127.0.0.11:0".parse().unwrap(), script.parse().unwrap()).await.unwrap()
    }

    fn greet(address: SocketAddr) -> Experiment {
        Experiment::Greet {
            address,
            host: "mx.dest.test".to_owned(),
            source: Some("127.0.0.3".parse().unwrap()),
            ehlo: Some("other.corp.test".to_owned()),
            tls: true,
            sender: Some(String::new()),
            recipient: Some("a@dest.test".to_owned()),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_greeting_goes_as_far_as_rcpt_and_never_to_data() {
        let folder = tempfile::tempdir().unwrap();
        let core = core(folder.path(), "");
        let peer = peer("starttls\nrcpt * 550 5.1.1 no such user").await;
        let looks = look(&core, &core.in_force(), &[greet(peer.address())]).await;
        let Seen::Talk(tried) = &looks[0].result else { panic!("{looks:?}") };
        assert_eq!(tried.source, Some("127.0.0.3".parse().unwrap()));
        assert_eq!(tried.banner.as_ref().map(|reply| reply.code), Some(220));
        assert!(tried.tls.is_some(), "{tried:?}");
        assert_eq!(tried.mail_reply.as_ref().map(|reply| reply.code), Some(250));
        assert_eq!(tried.rcpt[0].reply.to_string(), "550 5.1.1 no such user");
        assert_eq!(tried.end, End::Quit);
        let said: Vec<&str> = tried
            .transcript
            .iter()
            .filter(|said| said.speaker == mail::Speaker::Client)
            .map(|said| said.text.as_str())
            .collect();
        assert_eq!(said.first(), Some(&"EHLO other.corp.test"));
        assert!(said.contains(&"MAIL FROM:<>") && !said.contains(&"DATA"), "{said:?}");
        assert!(peer.received().is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_result_is_used_again_and_the_budget_holds() {
        let folder = tempfile::tempdir().unwrap();
        let core = core(folder.path(), "");
        let peer = peer("").await;
        let connect = Experiment::Connect { address: peer.address() };
        for _ in 0..5 {
            let looks = look(&core, &core.in_force(), std::slice::from_ref(&connect)).await;
            let Seen::Talk(tried) = &looks[0].result else { panic!("{looks:?}") };
            assert!(decide::diagnose::connected(tried), "{tried:?}");
        }
        let hello = Experiment::TlsFirst { address: peer.address(), host: "mx.dest.test".to_owned() };
        let looks = look(&core, &core.in_force(), &[hello, greet(peer.address())]).await;
        let Seen::Tls(hello) = &looks[0].result else { panic!("{looks:?}") };
        assert!(hello.not_tls.starts_with(b"220 "), "{hello:?}");
        let closed = Experiment::Connect { address: "127.0.0.11:1".parse().unwrap() };
        let looks = look(&core, &core.in_force(), &[closed]).await;
        assert!(matches!(&looks[0].result, Seen::NotMade(why) if why.contains("connections_per_hour")), "{looks:?}");
        assert_eq!(peer.connections(), 3);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn tls_as_the_first_octets_is_answered_by_tls() {
        let folder = tempfile::tempdir().unwrap();
        let core = core(folder.path(), "");
        let peer = peer("tls implicit").await;
        let hello = Experiment::TlsFirst { address: peer.address(), host: "mx.dest.test".to_owned() };
        let looks = look(&core, &core.in_force(), &[hello]).await;
        let Seen::Tls(hello) = &looks[0].result else { panic!("{looks:?}") };
        assert!(hello.version >= Some(0x0303), "{hello:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_settings_forbid_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let core = core(folder.path(), "[diagnosis]\nexperiments = false\n");
        let peer = peer("").await;
        let looks = look(&core, &core.in_force(), &[greet(peer.address())]).await;
        assert!(matches!(&looks[0].result, Seen::NotMade(why) if why.contains("diagnosis.experiments")), "{looks:?}");
        assert_eq!(peer.connections(), 0);
    }
}
