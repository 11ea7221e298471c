//! From a question and its number to the answer that the zone has for it.

use std::{collections::HashMap, time::Duration};

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, Record, RecordType, rdata::SOA},
};

use super::zone::{Circumstances, Rule, What, Word, Zone};

/// RFC 1034 3.6.2 warns of CNAME loops: real resolvers stop after 8 to 16 links.
const LINKS_MAX: usize = 12;

/// How often each (name, type) was asked.
pub(super) type Counts = HashMap<(String, RecordType), u32>;

/// What the server will do with one question.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) number: u32,
    pub(super) rcode: ResponseCode,
    pub(super) answers: Vec<Record>,
    pub(super) authorities: Vec<Record>,
    pub(super) silent: bool,
    /// Close a TCP connection in place of an answer.
    pub(super) close: bool,
    pub(super) truncate: bool,
    pub(super) authentic: bool,
    pub(super) delay: Duration,
    pub(super) extended_error: Option<(u16, String)>,
}

impl Zone {
    /// The answer to a question, following CNAMEs as a recursive resolver does.
    pub(super) fn plan(&self, counts: &mut Counts, name: &Name, circumstances: &Circumstances) -> Plan {
        let kind = circumstances.asked;
        let mut plan = Plan {
            number: 0,
            rcode: ResponseCode::NoError,
            answers: Vec::new(),
            authorities: Vec::new(),
            silent: false,
            close: false,
            truncate: false,
            authentic: false,
            delay: Duration::ZERO,
            extended_error: None,
        };
        let mut next = Some(name.clone());
        for _ in 0..LINKS_MAX {
            let Some(owner) = next else { break };
            let number = counts.entry((text(&owner), kind)).or_default();
            *number += 1;
            if plan.number == 0 {
                plan.number = *number;
            }
            next = self.link(&mut plan, &owner, circumstances, *number);
        }
        let negative =
            plan.answers.iter().all(|record| record.record_type() == RecordType::CNAME) && kind != RecordType::CNAME;
        if negative && matches!(plan.rcode, ResponseCode::NoError | ResponseCode::NXDomain) {
            plan.authorities.extend(self.authority(name));
        }
        plan
    }

    /// One owner's part of the answer; gives the name to go on with if it is an alias.
    fn link(&self, plan: &mut Plan, owner: &Name, circumstances: &Circumstances, number: u32) -> Option<Name> {
        let kind = circumstances.asked;
        let mut rules = self.rules_of(owner);
        let listed = !rules.is_empty();
        rules.retain(|rule| rule.conditions.iter().all(|condition| condition.holds(circumstances)));
        if !listed {
            plan.rcode = ResponseCode::NXDomain;
            return None;
        }
        let words = rules.iter().filter(|rule| of_kind(rule, kind) && rule.when.fits(number));
        for rule in words {
            if let What::Word(word) = &rule.what
                && plan.obey(word)
            {
                return None;
            }
        }
        let found = data(&rules, kind, number);
        if found.is_empty() && kind != RecordType::CNAME {
            let alias = data(&rules, RecordType::CNAME, number).into_iter().next();
            if let Some((ttl_s, RData::CNAME(target))) = alias {
                plan.answers.push(Record::from_rdata(owner.clone(), ttl_s, RData::CNAME(target.clone())));
                return Some(target.0);
            }
        }
        plan.answers.extend(found.into_iter().map(|(ttl_s, data)| Record::from_rdata(owner.clone(), ttl_s, data)));
        None
    }

    /// The lines of this very owner, else those of the nearest wildcard above it (RFC 4592).
    fn rules_of(&self, owner: &Name) -> Vec<&Rule> {
        let name = text(owner);
        let mut candidate = name.clone();
        let mut rest = name.as_str();
        loop {
            let rules: Vec<&Rule> = self.rules.iter().filter(|rule| rule.owner == candidate).collect();
            if !rules.is_empty() {
                return rules;
            }
            let Some((_, parent)) = rest.split_once('.') else { return Vec::new() };
            candidate = format!("*.{parent}");
            rest = parent;
        }
    }

    /// RFC 2308 3: a negative answer carries the SOA; one is made up if the zone has none.
    fn authority(&self, name: &Name) -> Option<Record> {
        let mut at = name.clone();
        while !at.is_root() {
            let owner = text(&at);
            let soa = self.rules.iter().find(|rule| rule.owner == owner && rule.kind == RecordType::SOA);
            if let Some(What::Data { ttl_s, data }) = soa.map(|rule| &rule.what) {
                return Some(Record::from_rdata(at, *ttl_s, data.clone()));
            }
            at = at.base_name();
        }
        let top = name.trim_to(1);
        Some(Record::from_rdata(top.clone(), 0, RData::SOA(SOA::new(top.clone(), top, 1, 3600, 600, 86400, 0))))
    }
}

impl Plan {
    /// Applies a word; true if it stands in place of the data.
    fn obey(&mut self, word: &Word) -> bool {
        match word {
            Word::ServFail => self.rcode = ResponseCode::ServFail,
            Word::NxDomain => self.rcode = ResponseCode::NXDomain,
            Word::Refused => self.rcode = ResponseCode::Refused,
            Word::NotImp => self.rcode = ResponseCode::NotImp,
            Word::FormErr => self.rcode = ResponseCode::FormErr,
            Word::NoData => {}
            Word::Timeout => self.silent = true,
            Word::Close => self.close = true,
            Word::Truncate => self.truncate = true,
            Word::Delay(delay) => self.delay = *delay,
            Word::Authentic => self.authentic = true,
            Word::ExtendedError(code, text) => self.extended_error = Some((*code, text.clone())),
        }
        match word {
            Word::Truncate | Word::Delay(_) | Word::Authentic | Word::ExtendedError(..) | Word::Close => false,
            Word::ServFail
            | Word::NxDomain
            | Word::Refused
            | Word::NotImp
            | Word::FormErr
            | Word::NoData
            | Word::Timeout => true,
        }
    }
}

/// The data of one type for this question number. Lines with a number or a condition, if they fit, stand in place of those
/// without.
fn data(rules: &[&Rule], kind: RecordType, number: u32) -> Vec<(u32, RData)> {
    let fitting = |numbered: bool| -> Vec<(u32, RData)> {
        let fits = |rule: &&&Rule| {
            let special = rule.when != crate::When::Always || !rule.conditions.is_empty();
            of_kind(rule, kind) && rule.when.fits(number) && special == numbered
        };
        let value = |rule: &&Rule| match &rule.what {
            What::Data { ttl_s, data } => Some((*ttl_s, data.clone())),
            What::Word(_) => None,
        };
        rules.iter().filter(fits).filter_map(value).collect()
    };
    let numbered = fitting(true);
    if numbered.is_empty() { fitting(false) } else { numbered }
}

fn of_kind(rule: &Rule, kind: RecordType) -> bool {
    rule.kind == kind || rule.kind == RecordType::ANY || kind == RecordType::ANY
}

/// A name as zones and logs write it here: lower case, no dot at the end.
pub(super) fn text(name: &Name) -> String {
    name.to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `question` is `NAME TYPE`, asked `times` times; gives the last answer as `RCODE record record`.
    fn ask(zone: &str, question: &str, times: u32) -> String {
        let zone: Zone = zone.parse().unwrap();
        let mut words = question.split(' ');
        let name = super::super::record::name(words.next().unwrap()).unwrap();
        let mut circumstances = Circumstances {
            cd: false,
            dnssec: false,
            edns: false,
            rd: true,
            tcp: false,
            buffer: 512,
            asked: words.next().unwrap().parse().unwrap(),
        };
        for word in words {
            match word {
                "cd" => circumstances.cd = true,
                "do" => (circumstances.dnssec, circumstances.edns) = (true, true),
                "tcp" => circumstances.tcp = true,
                size => (circumstances.buffer, circumstances.edns) = (size.parse().unwrap(), true),
            }
        }
        let mut counts = Counts::new();
        let mut last = String::new();
        for _ in 0..times {
            let plan = zone.plan(&mut counts, &name, &circumstances);
            last = if plan.silent { "silent".to_owned() } else { format!("{:?}", plan.rcode) };
            for record in plan.answers {
                last += &format!(" {}={}", text(&record.name), record.data);
            }
        }
        last
    }

    #[test]
    fn a_name_that_is_not_listed_does_not_exist() {
        assert_eq!(ask("a.test A 127.0.0.1", "b.test A", 1), "NXDomain");
    }

    #[test]
    fn a_listed_name_without_the_type_has_no_data() {
        assert_eq!(ask("a.test A 127.0.0.1", "a.test MX", 1), "NoError");
    }

    #[test]
    fn a_wildcard_serves_only_names_without_lines_of_their_own() {
        let zone = "*.a.test A 127.0.0.9\nb.a.test TXT x";
        assert_eq!(ask(zone, "x.y.a.test A", 1), "NoError x.y.a.test=127.0.0.9");
        assert_eq!(ask(zone, "b.a.test A", 1), "NoError");
        assert_eq!(ask(zone, "a.test A", 1), "NXDomain");
    }

    #[test]
    fn aliases_are_followed_and_loops_end() {
        assert_eq!(
            ask("a.test CNAME b.test\nb.test A 127.0.0.1", "a.test A", 1),
            "NoError a.test=b.test. b.test=127.0.0.1"
        );
        assert_eq!(ask("a.test CNAME b.test", "a.test A", 1), "NXDomain a.test=b.test.");
        assert!(ask("a.test CNAME b.test\nb.test CNAME a.test", "a.test A", 1).starts_with("NoError"));
    }

    #[test]
    fn a_number_applies_to_that_question_only() {
        let zone = "a.test A 127.0.0.1\na.test A #1 !SERVFAIL\na.test A #3+ 127.0.0.3";
        assert_eq!(ask(zone, "a.test A", 1), "ServFail");
        assert_eq!(ask(zone, "a.test A", 2), "NoError a.test=127.0.0.1");
        assert_eq!(ask(zone, "a.test A", 4), "NoError a.test=127.0.0.3");
    }

    #[test]
    fn conditions_choose_the_answer() {
        let bogus = "b.test ANY cd=no !SERVFAIL\nb.test MX 10 mx.b.test";
        assert_eq!(ask(bogus, "b.test MX", 1), "ServFail");
        assert_eq!(ask(bogus, "b.test MX cd", 1), "NoError b.test=10 mx.b.test.");
        let edns = "o.test A edns=yes !TIMEOUT\no.test A 127.0.0.1";
        assert_eq!(ask(edns, "o.test A 1232", 1), "silent");
        assert_eq!(ask(edns, "o.test A", 1), "NoError o.test=127.0.0.1");
        let large = "l.test ANY via=udp do=yes buffer>1472 !TIMEOUT\nl.test A 127.0.0.1";
        assert_eq!(ask(large, "l.test A do 4096", 1), "silent");
        assert!(ask(large, "l.test A do 1232", 1).starts_with("NoError"));
        assert!(ask(large, "l.test A 4096", 1).starts_with("NoError"));
        assert!(ask(large, "l.test A do 4096 tcp", 1).starts_with("NoError"));
    }

    #[test]
    fn a_question_for_any_can_be_refused_alone() {
        let zone = "a.test ANY asked=ANY !NOTIMP\na.test A 127.0.0.1";
        assert_eq!(ask(zone, "a.test ANY", 1), "NotImp");
        assert_eq!(ask(zone, "a.test A", 1), "NoError a.test=127.0.0.1");
    }

    #[test]
    fn a_line_whose_condition_fails_still_lists_the_name() {
        assert_eq!(ask("a.test A cd=yes 127.0.0.1", "a.test A", 1), "NoError");
    }

    #[test]
    fn any_misbehaves_for_every_type() {
        assert_eq!(ask("a.test ANY !TIMEOUT", "a.test MX", 1), "silent");
    }
}
