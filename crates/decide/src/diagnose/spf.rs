//! SPF as far as an explanation needs it: which addresses a domain's record lists (RFC 7208), asked one step at a time.

use super::Case;
use super::face::{self, Known};
use ipnet::IpNet;
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

/// RFC 7208 4.6.4 allows ten lookups.
const LOOKUPS_MAX: usize = 10;

/// What the SPF record of a domain says of an address; `None`: there is no record. Macros, `exists` and `ptr` are not
/// evaluated: with them it is not known whether an address is listed, unless another mechanism lists it.
pub(crate) fn lists(case: &Case<'_>, domain: &str, address: IpAddr) -> Known<Option<Policy>> {
    let mut walk =
        Walk { case, wanted: Vec::new(), never: false, lookups: 0, entries: Vec::new(), networks: Vec::new() };
    let record = match walk.record(domain) {
        Known::Yes(Some(record)) => record,
        Known::Yes(None) => return Known::Yes(None),
        Known::Ask(experiments) => return Known::Ask(experiments),
        Known::Never => return Known::Never,
    };
    walk.read(domain, &record);
    let address = address.to_canonical();
    let lists = walk.networks.iter().any(|network| network.contains(&address));
    if !lists && !walk.wanted.is_empty() {
        return Known::Ask(walk.wanted);
    }
    if !lists && walk.never {
        return Known::Never;
    }
    Known::Yes(Some(Policy { record, lists, entries: walk.entries, networks: walk.networks }))
}

struct Walk<'c, 'a> {
    case: &'c Case<'a>,
    wanted: Vec<super::Experiment>,
    /// Something cannot be known.
    never: bool,
    lookups: usize,
    entries: Vec<String>,
    networks: Vec<IpNet>,
}

impl Walk<'_, '_> {
    /// The one record that begins with `v=spf1` (RFC 7208 4.5).
    fn record(&mut self, domain: &str) -> Known<Option<String>> {
        match face::answer(self.case, Question::new(domain, Kind::Txt)) {
            Known::Yes(answer) => {
                let is_spf = |text: &str| {
                    let text = text.to_ascii_lowercase();
                    text == "v=spf1" || text.starts_with("v=spf1 ")
                };
                let mut records = answer.data().filter_map(|data| match data {
                    Data::Text(text) if is_spf(text) => Some(text.clone()),
                    _ => None,
                });
                match (records.next(), records.next()) {
                    (Some(record), None) => Known::Yes(Some(record)),
                    (None, _) => Known::Yes(None),
                    (Some(_), Some(_)) => Known::Never,
                }
            }
            Known::Ask(experiments) => Known::Ask(experiments),
            Known::Never => Known::Never,
        }
    }

    fn read(&mut self, domain: &str, record: &str) {
        for term in record.split_ascii_whitespace().skip(1) {
            let term = term.to_ascii_lowercase();
            let term = match term.as_bytes().first() {
                Some(b'-' | b'~' | b'?') => {
                    // What does not pass lists nothing; only `all` stands there in practice.
                    self.never |= !term.ends_with("all");
                    continue;
                }
                _ => term.trim_start_matches('+'),
            };
            let (name, value) = term.split_at(term.find([':', '=', '/']).unwrap_or(term.len()));
            let value = value.trim_start_matches([':', '=']);
            match name {
                "ip4" | "ip6" => self.network(value),
                "a" | "mx" => self.hosts(name, domain, value),
                "include" | "redirect" => self.other(value),
                "all" => self.never = true,
                "exp" => {}
                _ => self.never = true,
            }
        }
    }

    fn network(&mut self, value: &str) {
        let network = value.parse::<IpNet>().ok().or_else(|| value.parse::<IpAddr>().ok().map(IpNet::from));
        match network {
            Some(network) => {
                self.entries.push(value.to_owned());
                self.networks.push(network);
            }
            None => self.never = true,
        }
    }

    /// `a`, `a:host`, `mx`, `mx:domain`, each with `/24//64` behind it.
    fn hosts(&mut self, kind: &str, domain: &str, value: &str) {
        let (name, prefixes) = value.split_at(value.find('/').unwrap_or(value.len()));
        let name = if name.is_empty() { domain } else { name };
        if name.contains('%') || !self.count() {
            self.never = true;
            return;
        }
        let mut lengths = prefixes.splitn(2, "//");
        let v4 = lengths.next().and_then(|text| text.trim_start_matches('/').parse::<u8>().ok()).unwrap_or(32);
        let v6 = lengths.next().and_then(|text| text.parse::<u8>().ok()).unwrap_or(128);
        let mut hosts = vec![name.to_owned()];
        if kind == "mx" {
            hosts = match self.ask(Question::new(name, Kind::Mx)) {
                Some(answer) => answer
                    .data()
                    .filter_map(|data| if let Data::Mx { host, .. } = data { Some(host.clone()) } else { None })
                    .filter(|host| !host.is_empty())
                    .take(LOOKUPS_MAX)
                    .collect(),
                None => return,
            };
        }
        for host in hosts {
            for kind in [Kind::A, Kind::Aaaa] {
                let Some(answer) = self.ask(Question::new(&host, kind)) else { continue };
                for address in answer.addresses() {
                    let length = if address.is_ipv4() { v4 } else { v6 };
                    self.entries.push(address.to_string());
                    self.networks.extend(IpNet::new(address, length).ok());
                }
            }
        }
    }

    fn other(&mut self, domain: &str) {
        if domain.contains('%') || !self.count() {
            self.never = true;
            return;
        }
        match self.record(domain) {
            Known::Yes(Some(record)) => self.read(domain, &record),
            Known::Yes(None) | Known::Never => self.never = true,
            Known::Ask(experiments) => self.wanted.extend(experiments),
        }
    }

    fn count(&mut self) -> bool {
        self.lookups += 1;
        self.lookups <= LOOKUPS_MAX
    }

    fn ask(&mut self, question: Question) -> Option<mail::dns::Answer> {
        match face::answer(self.case, question) {
            Known::Yes(answer) => Some(answer.clone()),
            Known::Ask(experiments) => {
                self.wanted.extend(experiments);
                None
            }
            Known::Never => {
                self.never = true;
                None
            }
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
        check("dns corp.test TXT: \"v=spf1 a:gw.corp.test -all\"", "asks 2");
        let gw = "\ndns gw.corp.test A: 127.0.0.2\ndns gw.corp.test AAAA: NODATA";
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
    }

    #[test]
    fn what_is_not_evaluated_is_not_known() {
        check("dns corp.test TXT: \"v=spf1 exists:%{i}.x.test -all\"", "never");
        check("dns corp.test TXT: \"v=spf1 include:corp.test -all\"", "never");
        check(
            "dns corp.test TXT: \"v=spf1 a:gw.corp.test -all\"\ndns gw.corp.test A: FAIL x\ndns gw.corp.test AAAA: NODATA",
            "never",
        );
    }
}
