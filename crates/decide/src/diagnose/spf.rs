//! SPF as far as an explanation needs it: what a domain's record says of one address, and which others it lists.

use super::Case;
use super::face::Known;
use super::{Experiment, Result};
use crate::spf::{self, Mechanism, Query, Record, Step};
use ipnet::IpNet;
use mail::SpfResult;
use mail::dns::{Data, Kind, Question};
use std::net::IpAddr;

/// A domain's record, and what it says of one address.
pub(crate) struct Policy {
    pub(crate) record: String,
    /// A mechanism that passes matches the address.
    pub(crate) lists: bool,
    /// Addresses and networks that pass, as written or as found behind `a` and `mx`; those of included records as well.
    pub(crate) entries: Vec<String>,
    networks: Vec<IpNet>,
}

impl Policy {
    /// Whether an address is among those that pass.
    pub(crate) fn allows(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }
}

/// What the SPF record of a domain says of an address; `None`: there is no record. A record that cannot be read or evaluated
/// says nothing.
pub(crate) fn lists(case: &Case<'_>, domain: &str, address: IpAddr) -> Known<Option<Policy>> {
    let sender = case.attempt().map_or("", |attempt| attempt.sender.as_str());
    let local = match sender.rsplit_once('@') {
        Some((local, of)) if of.eq_ignore_ascii_case(domain) => local,
        _ => "",
    };
    let helo = match (case.last(), case.visit()) {
        (Some(tried), _) => tried.ehlo.as_str(),
        (None, Some(visit)) => visit.helo.as_str(),
        (None, None) => "",
    };
    let domain = domain.to_ascii_lowercase();
    let query = Query { client: address, domain: &domain, local, helo, receiver: "", now: case.now };
    let check = match spf::check(&query, &|question| case.dns(&question.name, question.kind)) {
        Step::Ask(questions) => return ask(case, questions),
        Step::Done(check) => check,
    };
    let Some(record) = check.record else {
        return if check.result == SpfResult::None { Known::Yes(None) } else { Known::Never };
    };
    if matches!(check.result, SpfResult::TempError | SpfResult::PermError) {
        return Known::Never;
    }
    let mut listing = Listing { case, entries: Vec::new(), networks: Vec::new() };
    listing.read(&domain, 0);
    let lists = check.result == SpfResult::Pass;
    Known::Yes(Some(Policy { record, lists, entries: listing.entries, networks: listing.networks }))
}

/// What must be asked, as experiments; never, if one of them will not be made.
fn ask<T>(case: &Case<'_>, questions: Vec<Question>) -> Known<T> {
    let experiments: Vec<Experiment> = questions.into_iter().map(Experiment::ask).collect();
    if experiments.iter().any(|experiment| matches!(case.look(experiment), Some(Result::NotMade(_)))) {
        return Known::Never;
    }
    Known::Ask(experiments)
}

/// Records include others, and those again.
const DEPTH_MAX: usize = 5;

/// Goes through what passes, as far as DNS has been asked.
struct Listing<'c, 'a> {
    case: &'c Case<'a>,
    entries: Vec<String>,
    networks: Vec<IpNet>,
}

impl Listing<'_, '_> {
    fn read(&mut self, domain: &str, depth: usize) {
        let Some(Ok(Some(text))) = self.case.dns(domain, Kind::Txt).map(spf::record_of) else { return };
        let Ok(record) = Record::read(text) else { return };
        if depth > DEPTH_MAX {
            return;
        }
        for term in record.terms.iter().filter(|term| term.result == SpfResult::Pass) {
            match &term.mechanism {
                Mechanism::Ip(network) => {
                    let written = term.text.split_once(':').map_or(term.text.as_str(), |(_, written)| written);
                    self.entries.push(written.to_owned());
                    self.networks.push(*network);
                }
                Mechanism::A(spec, prefixes) => {
                    let name = spec.as_ref().map_or(Some(domain), |spec| spec.literal());
                    self.hosts(name.into_iter(), *prefixes);
                }
                Mechanism::Mx(spec, prefixes) => {
                    let name = spec.as_ref().map_or(Some(domain), |spec| spec.literal());
                    let answer = name.and_then(|name| self.case.dns(name, Kind::Mx));
                    let hosts = answer.into_iter().flat_map(|answer| answer.data()).filter_map(|data| match data {
                        Data::Mx { host, .. } => Some(host.as_str()),
                        _ => None,
                    });
                    self.hosts(hosts, *prefixes);
                }
                Mechanism::Include(spec) => {
                    if let Some(name) = spec.literal() {
                        self.read(name, depth + 1);
                    }
                }
                Mechanism::All | Mechanism::Ptr(_) | Mechanism::Exists(_) => {}
            }
        }
        if let Some(name) = record.redirect.as_ref().and_then(|spec| spec.literal()) {
            self.read(name, depth + 1);
        }
    }

    fn hosts<'n>(&mut self, names: impl Iterator<Item = &'n str>, prefixes: spf::Prefixes) {
        for address in names.flat_map(|name| self.case.addresses(name)) {
            let length = if address.is_ipv4() { prefixes.v4 } else { prefixes.v6 };
            self.entries.push(address.to_string());
            self.networks.extend(IpNet::new(address, length).ok());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Known, lists};
    use crate::diagnose::testing::scene;

    #[track_caller]
    fn check(zone: &str, expected: &str) {
        let scene = scene(&format!("to a@x.test\n{zone}"));
        let found = match lists(&scene.case(), "corp.test", "127.0.0.3".parse().unwrap()) {
            Known::Yes(Some(policy)) => {
                format!("{} of {}", if policy.lists { "lists" } else { "none" }, policy.entries.join(" "))
            }
            Known::Yes(None) => "no record".to_owned(),
            Known::Ask(experiments) => format!("asks {}", experiments.len()),
            Known::Never => "never".to_owned(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn addresses_are_found_behind_names() {
        check("", "asks 1");
        check("dns corp.test TXT: NODATA", "no record");
        check("dns corp.test TXT: \"v=spf1 ip4:127.0.0.2 -all\"", "none of 127.0.0.2");
        check("dns corp.test TXT: \"v=spf1 ip4:127.0.0.0/24 ~all\"", "lists of 127.0.0.0/24");
        check("dns corp.test TXT: \"v=spf1 a:gw.corp.test -all\"", "asks 1");
        let gw = "\ndns gw.corp.test A: 127.0.0.2";
        check(&format!("dns corp.test TXT: \"v=spf1 a:gw.corp.test -all\"{gw}"), "none of 127.0.0.2");
        check(&format!("dns corp.test TXT: \"v=spf1 a:gw.corp.test/24 -all\"{gw}"), "lists of 127.0.0.2");
        check(
            &format!("dns corp.test TXT: \"v=spf1 mx -all\"\ndns corp.test MX: 10 gw.corp.test{gw}"),
            "none of 127.0.0.2",
        );
        check(
            "dns corp.test TXT: \"v=spf1 include:spf.corp.test -all\"\ndns spf.corp.test TXT: \"v=spf1 ip4:127.0.0.3 -all\"",
            "lists of 127.0.0.3",
        );
        check("dns corp.test TXT: \"v=spf1 exists:%{i}.x.test -all\"\ndns 127.0.0.3.x.test A: 127.0.0.2", "lists of ");
    }

    #[test]
    fn what_cannot_be_evaluated_is_not_known() {
        check("dns corp.test TXT: \"v=spf1 include:corp.test -all\"", "never");
        check("dns corp.test TXT: \"v=spf1 nonsense -all\"", "never");
        check("dns corp.test TXT: FAIL SERVFAIL", "never");
        check("dns corp.test TXT: \"v=spf1 a:gw.corp.test -all\"\ndns gw.corp.test A: FAIL x", "never");
    }
}
