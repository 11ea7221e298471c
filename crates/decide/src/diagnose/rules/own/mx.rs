//! Whether a domain's MX leads to this gateway, as far as DNS was asked.

use crate::diagnose::{Case, Experiment};
use mail::dns::{Data, Kind, Outcome, Question};
use std::net::IpAddr;

/// What DNS says.
pub(in crate::diagnose::rules) enum Leads {
    Here(How),
    /// To know it, this must be asked.
    Ask(Vec<Experiment>),
    /// Or it cannot be known.
    Elsewhere,
}

pub(in crate::diagnose::rules) struct How {
    /// The MX host, or the domain itself where there is no MX.
    pub(in crate::diagnose::rules) host: String,
    pub(in crate::diagnose::rules) address: Option<IpAddr>,
    /// The domain has no MX record; its own address counts (RFC 5321 5.1).
    pub(in crate::diagnose::rules) implicit: bool,
    pub(in crate::diagnose::rules) evidence: Vec<String>,
}

/// MX hosts looked at.
const HOSTS_MAX: usize = 4;

/// The best MX host that is this gateway: by its name, or by an address that `is_own` knows.
pub(in crate::diagnose::rules) fn leads_to(case: &Case<'_>, domain: &str, is_own: impl Fn(IpAddr) -> bool) -> Leads {
    let Some((hosts, implicit, summary)) = hosts(case, domain) else {
        let question = Experiment::ask(Question::new(domain, Kind::Mx));
        return if case.look(&question).is_some() { Leads::Elsewhere } else { Leads::Ask(vec![question]) };
    };
    let mut wanted = Vec::new();
    for host in hosts {
        let found = case.addresses(&host).into_iter().find(|address| is_own(*address));
        if found.is_some() || (!implicit && case.identity.is_name(&host)) {
            let mut evidence = vec![summary];
            evidence.extend(case.dns(&host, Kind::A).map(mail::dns::Answer::summary));
            return Leads::Here(How { host, address: found, implicit, evidence });
        }
        for kind in [Kind::A, Kind::Aaaa] {
            let question = Experiment::ask(Question::new(&host, kind));
            if case.dns(&host, kind).is_none() && case.look(&question).is_none() {
                wanted.push(question);
            }
        }
    }
    if wanted.is_empty() { Leads::Elsewhere } else { Leads::Ask(wanted) }
}

/// MX hosts, best first; the domain itself if it has none. `None`: not asked, or not known.
pub(in crate::diagnose::rules) fn hosts(case: &Case<'_>, domain: &str) -> Option<(Vec<String>, bool, String)> {
    let answer = case.dns(domain, Kind::Mx)?;
    let mut records: Vec<(u16, String)> = answer
        .data()
        .filter_map(
            |data| if let Data::Mx { preference, host } = data { Some((*preference, host.clone())) } else { None },
        )
        .collect();
    records.sort();
    match answer.outcome {
        Outcome::Found => {
            let hosts = records.into_iter().map(|(_, host)| host).filter(|host| !host.is_empty()).take(HOSTS_MAX);
            Some((hosts.collect(), false, answer.summary()))
        }
        Outcome::NoData => Some((vec![domain.to_owned()], true, answer.summary())),
        Outcome::NoName | Outcome::Failed(_) => None,
    }
}
