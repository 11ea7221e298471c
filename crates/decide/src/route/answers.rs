//! What DNS has said so far, as routing asks: MX records of a domain, addresses of a host.

use super::Why;
use crate::settings::{AddressFamily, Host};
use mail::dns::{Answer, Data, Kind, Outcome, Question};
use std::net::IpAddr;

pub(super) struct Answers<'k> {
    known: &'k [Answer],
    family: AddressFamily,
}

/// MX records: four answers, because the world has four.
pub(super) enum Found<'k> {
    NotAsked,
    /// Whether there are any is not known.
    Unknown(&'k str),
    NoName,
    Nothing,
    Records(Vec<(u16, &'k str)>),
}

/// A host's addresses, and what is to be said about it.
#[derive(Default)]
pub(super) struct HostAddresses<'k> {
    pub(super) addresses: Vec<IpAddr>,
    /// Why there are none, or not all.
    pub(super) why: Option<Why>,
    /// The name that a CNAME leads to.
    pub(super) alias: Option<&'k str>,
}

impl<'k> Answers<'k> {
    pub(super) fn new(known: &'k [Answer], family: AddressFamily) -> Answers<'k> {
        Answers { known, family }
    }

    pub(super) fn mx(&self, question: &Question) -> Found<'k> {
        let Some(answer) = self.find(question) else { return Found::NotAsked };
        let record = |data: &'k Data| {
            if let Data::Mx { preference, host } = data {
                Some((*preference, host.trim_end_matches('.')))
            } else {
                None
            }
        };
        match &answer.outcome {
            Outcome::Failed(why) => Found::Unknown(why),
            Outcome::NoName => Found::NoName,
            Outcome::NoData => Found::Nothing,
            Outcome::Found => match answer.data().filter_map(record).collect::<Vec<_>>() {
                records if records.is_empty() => Found::Nothing,
                records => Found::Records(records),
            },
        }
    }

    /// The questions about a host that have no answer yet.
    pub(super) fn wanted(&self, host: &Host) -> Vec<Question> {
        self.questions(host).into_iter().filter(|question| self.find(question).is_none()).collect()
    }

    pub(super) fn addresses(&self, host: &Host) -> HostAddresses<'k> {
        if let Host::Addr(address) = host {
            return HostAddresses { addresses: vec![*address], ..HostAddresses::default() };
        }
        let mut found = HostAddresses::default();
        let (mut failed, mut missing) = (Vec::new(), Vec::new());
        for question in self.questions(host) {
            match self.find(&question) {
                None => failed.push(format!("{question} was not asked")),
                Some(answer) => {
                    found.addresses.extend(answer.addresses());
                    found.alias = found.alias.or_else(|| alias(answer));
                    match &answer.outcome {
                        Outcome::Failed(why) => failed.push(format!("{question}: {why}")),
                        Outcome::NoName => missing.push(format!("{question}: NXDOMAIN")),
                        Outcome::NoData => missing.push(format!("{question}: NODATA")),
                        Outcome::Found => {}
                    }
                }
            }
        }
        found.why = if !failed.is_empty() {
            Some(Why::Unknown(failed.join(", ")))
        } else if found.addresses.is_empty() {
            Some(Why::NoAddress(missing.join(", ")))
        } else {
            None
        };
        found
    }

    fn questions(&self, host: &Host) -> Vec<Question> {
        let Host::Name(name) = host else { return Vec::new() };
        let kinds: &[Kind] = match self.family {
            AddressFamily::Ipv4 => &[Kind::A],
            AddressFamily::Ipv6 => &[Kind::Aaaa],
            AddressFamily::Any | AddressFamily::Ipv4First | AddressFamily::Ipv6First => &[Kind::A, Kind::Aaaa],
        };
        let name = name.ascii();
        kinds.iter().map(|kind| Question::new(&name, *kind)).collect()
    }

    fn find(&self, question: &Question) -> Option<&'k Answer> {
        self.known.iter().find(|answer| answer.question == *question)
    }
}

fn alias(answer: &Answer) -> Option<&str> {
    let link = |record: &'_ mail::dns::Record| record.kind == Kind::Cname;
    answer
        .records
        .iter()
        .rev()
        .find(|record| link(record))
        .and_then(|record| if let Data::Name(name) = &record.data { Some(name.as_str()) } else { None })
}
