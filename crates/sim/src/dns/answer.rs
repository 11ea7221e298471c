//! From a question and its number to the answer that the zone has for it.

use std::{collections::HashMap, time::Duration};

use hickory_proto::{
    op::ResponseCode,
    rr::{Name, RData, Record, RecordType, rdata::SOA},
};

use super::zone::{Rule, What, Word, Zone};

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
    pub(super) truncate: bool,
    pub(super) authentic: bool,
    pub(super) delay: Duration,
    pub(super) extended_error: Option<(u16, String)>,
}

impl Zone {
    /// The answer to a question, following CNAMEs as a recursive resolver does.
    pub(super) fn plan(&self, counts: &mut Counts, name: &Name, kind: RecordType) -> Plan {
        let mut plan = Plan {
            number: 0,
            rcode: ResponseCode::NoError,
            answers: Vec::new(),
            authorities: Vec::new(),
            silent: false,
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
            next = self.link(&mut plan, &owner, kind, *number);
        }
        let negative =
            plan.answers.iter().all(|record| record.record_type() == RecordType::CNAME) && kind != RecordType::CNAME;
        if negative && matches!(plan.rcode, ResponseCode::NoError | ResponseCode::NXDomain) {
            plan.authorities.extend(self.authority(name));
        }
        plan
    }

    /// One owner's part of the answer; gives the name to go on with if it is an alias.
    fn link(&self, plan: &mut Plan, owner: &Name, kind: RecordType, number: u32) -> Option<Name> {
        let rules = self.rules_of(owner);
        if rules.is_empty() {
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
            Word::NoData => {}
            Word::Timeout => self.silent = true,
            Word::Truncate => self.truncate = true,
            Word::Delay(delay) => self.delay = *delay,
            Word::Authentic => self.authentic = true,
            Word::ExtendedError(code, text) => self.extended_error = Some((*code, text.clone())),
        }
        matches!(word, Word::ServFail | Word::NxDomain | Word::Refused | Word::NoData | Word::Timeout)
    }
}

/// The data of one type for this question number. Numbered lines that fit stand in place of those without a number.
fn data(rules: &[&Rule], kind: RecordType, number: u32) -> Vec<(u32, RData)> {
    let fitting = |numbered: bool| -> Vec<(u32, RData)> {
        let fits = |rule: &&&Rule| {
            of_kind(rule, kind) && rule.when.fits(number) && (rule.when != crate::When::Always) == numbered
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
        let (name, kind) = question.split_once(' ').unwrap();
        let name = super::super::record::name(name).unwrap();
        let mut counts = Counts::new();
        let mut last = String::new();
        for _ in 0..times {
            let plan = zone.plan(&mut counts, &name, kind.parse().unwrap());
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
    fn any_misbehaves_for_every_type() {
        assert_eq!(ask("a.test ANY !TIMEOUT", "a.test MX", 1), "silent");
    }
}
