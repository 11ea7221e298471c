//! The record exists at the zone's own servers, but "there is none" is still kept somewhere on the way.

use super::asked::{Asked, recorded, server, span, wanted};
use crate::diagnose::{Answer, Case, How, rule};
use mail::dns::{Answer as DnsAnswer, Kind, Outcome};
use mail::{Actor, Confidence, Finding, Retry};

rule! {
    /// An old "there is none" is still kept
    ///
    /// Resolvers keep the answer that a name or a record does not exist as long as the zone's SOA record says (its minimum, RFC
    /// 2308). A record that was added meanwhile is not seen before that time is over, though the zone's own name servers, and
    /// checkers on the web, show it.
    ///
    /// It is known by asking the zone's name servers themselves. Wait, or have the resolver forget the name (`unbound-control
    /// flush`, `rndc flushname`). The zone's owner should lower the SOA minimum; an hour is enough.
    "dns.negative_cache", find
}

fn find(case: &Case<'_>) -> Answer {
    let is_stuck = match case.attempt() {
        Some(attempt) => attempt.tries.is_empty(),
        None => true,
    };
    let Some(negative) = recorded(case).iter().find(|answer| is_stuck && is_negative(case, answer)) else {
        return Answer::No;
    };
    let there = Asked::of(case, &negative.question, How::Authoritative);
    let again = Asked::of(case, &negative.question, How::DnsOnly);
    let wanted = wanted([&there, &again]);
    if !wanted.is_empty() {
        return Answer::Ask(wanted);
    }
    match there.answer() {
        Some(there) if there.outcome == Outcome::Found => found(case, negative, there, again.answer()).into(),
        _ => Answer::No,
    }
}

/// A negative answer that the route depends on. Of a host's two address types one is enough.
fn is_negative(case: &Case<'_>, answer: &DnsAnswer) -> bool {
    let none = matches!(answer.outcome, Outcome::NoData | Outcome::NoName) && !answer.server.starts_with('/');
    none && match answer.question.kind {
        Kind::Mx | Kind::Txt | Kind::Ptr => true,
        Kind::A => case.addresses(&answer.question.name).is_empty(),
        _ => false,
    }
}

fn found(case: &Case<'_>, negative: &DnsAnswer, there: &DnsAnswer, again: Option<&DnsAnswer>) -> Finding {
    let question = &negative.question;
    let data: Vec<String> = there.data().map(|data| format!("{} {data}", question.kind.name())).collect();
    let old = if negative.outcome == Outcome::NoName { "does not exist" } else { "no such record" };
    // The resolver has the new record: only this gateway kept the old answer.
    let here = again.is_some_and(|again| again.outcome == Outcome::Found);
    let keeper = if here { "this gateway".to_owned() } else { format!("the resolver {}", server(&negative.server)) };
    let known = again.and_then(|again| again.negative.as_ref()).filter(|_| !here).or(negative.negative.as_ref());
    let time =
        known.map_or(String::new(), |known| format!(" for {} (SOA minimum {})", span(known.left), known.minimum));
    let article = if data.len() == 1 { "an " } else { "" };
    let sentence = format!(
        "{} now has {article}{} at its own name server {}, but {keeper} keeps the old \"{old}\" answer{time}.",
        question.name,
        data.join(", "),
        server(&there.server)
    );
    // An inside view may be older than no cache at all.
    let is_aged = known.is_some_and(|known| known.left < known.minimum) || negative.cached || here;
    let after_s = known.map(|known| u64::from(known.left));
    let mut finding = Finding::new("dns.negative_cache", Actor::Nobody, sentence)
        .confidence(if is_aged { Confidence::Proven } else { Confidence::Likely })
        .retry(Retry::Helps { after_s: if here { None } else { after_s } })
        .evidence(format!(
            "{} (from {}{})",
            negative.summary(),
            server(&negative.server),
            if negative.cached { ", kept here" } else { "" }
        ))
        .evidence(format!("{} (from {})", there.summary(), server(&there.server)))
        .disproof(format!("the same negative answer of the zone's own name server to {question}"));
    finding.evidence.extend(again.map(|again| format!("{} (asked again)", again.summary())));
    finding.evidence.extend(
        known.map(|known| format!("SOA of {}: minimum {} s, {} s left", known.zone, known.minimum, known.left)),
    );
    let flush = if here {
        "Forget kept answers (SIGHUP, or any change of the DNS settings), or wait.".to_owned()
    } else {
        format!("Flush {} in the cache of the resolver {}, or wait.", question.name, server(&negative.server))
    };
    let zone = known.map_or(question.name.as_str(), |known| known.zone.as_str());
    let owner = case.attempt().map_or(zone, |_| zone);
    finding.fix(flush).fix(format!("The owner of {owner} lowers the SOA minimum, to 3600 or less."))
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};

    const NONE: &str = "to u@fixed.test\ndns fixed.test MX: NXDOMAIN [negative fixed.test 86400 86280]\nno-route 550 5.1.2 no such domain\n";

    #[test]
    fn the_zones_own_server_knows_better() {
        check(
            &format!(
                "{NONE}ask authoritative fixed.test MX: 10 mx.fixed.test [server 127.0.0.54:53]\nask dns-only fixed.test MX: NXDOMAIN [negative fixed.test 86400 86280]"
            ),
            "dns.negative_cache: fixed.test now has an MX 10 mx.fixed.test at its own name server 127.0.0.54, but the resolver 127.0.0.53 \
             keeps the old \"does not exist\" answer for 23 h 58 min (SOA minimum 86400).",
        );
        check(
            &format!(
                "{NONE}ask authoritative fixed.test MX: 10 mx.fixed.test [server 127.0.0.54:53]\nask dns-only fixed.test MX: 10 mx.fixed.test"
            ),
            "dns.negative_cache: fixed.test now has an MX 10 mx.fixed.test at its own name server 127.0.0.54, but this gateway keeps the \
             old \"does not exist\" answer for 23 h 58 min (SOA minimum 86400).",
        );
    }

    #[test]
    fn what_the_zone_itself_denies_is_not_there() {
        let denied =
            scene(&format!("{NONE}ask authoritative fixed.test MX: NXDOMAIN\nask dns-only fixed.test MX: NXDOMAIN"));
        assert!(denied.diagnose().findings.iter().all(|finding| finding.cause != "dns.negative_cache"));
        let unknown = scene(NONE).nothing_more();
        assert!(unknown.diagnose().findings.iter().all(|finding| finding.cause != "dns.negative_cache"));
    }
}
