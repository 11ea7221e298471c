//! A block list answers with an error code.

use crate::diagnose::{Answer, Case, Experiment, Result, rule};
use mail::dns::{Kind, Question};
use mail::{Actor, Confidence, Finding, ListWord, Severity};
use std::net::{IpAddr, Ipv4Addr};

rule! {
    /// The block list answers with an error, not with a listing
    ///
    /// Block lists say "listed" with an address in 127.0.0.0/8. Codes in 127.255.255.0/24 mean that the question itself was
    /// wrong: asked through a public resolver, too many questions, a misspelt list. Software that takes any answer for a listing
    /// refuses everybody. The gateway does not: the client is accepted, and the list is left out for an hour.
    ///
    /// Known by the code; and by the list's test point 127.0.0.1, which no list may hold (RFC 5782 5).
    ///
    /// Ask through a resolver of your own (`dns.servers`) that is no forwarder to a public one, register with the list, or take
    /// it out of `listener.*.dnsbl`.
    "own.dnsbl_query_error", find
}

/// As Spamhaus and others that follow it document.
fn meaning(code: IpAddr) -> &'static str {
    match code {
        IpAddr::V4(v4) if v4.octets() == [127, 255, 255, 252] => "wrong name of the list",
        IpAddr::V4(v4) if v4.octets() == [127, 255, 255, 254] => "query via public resolver",
        IpAddr::V4(v4) if v4.octets() == [127, 255, 255, 255] => "too many queries",
        IpAddr::V4(v4) if v4.octets()[..3] == [127, 255, 255] => "an error of the query",
        _ => "no code of a block list",
    }
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    let Some(listing) = visit.lists.iter().find(|listing| listing.word == ListWord::Error) else { return Answer::No };
    let Some(code) = listing.codes.first().copied() else { return Answer::No };
    let point = crate::validate::list_question(&listing.zone, Ipv4Addr::LOCALHOST.into());
    let experiment = Experiment::ask(Question::new(&point.name, Kind::A));
    let everybody = match case.look(&experiment) {
        None => return Answer::Ask(vec![experiment]),
        Some(Result::Answer(answer)) => answer.addresses().contains(&code),
        Some(_) => false,
    };
    let zone = &listing.zone;
    let whom = if everybody { "every address".to_owned() } else { visit.client.to_string() };
    let mut finding = Finding::new(
        "own.dnsbl_query_error",
        Actor::OurSettings,
        format!(
            "{zone} answers {code} (\"{}\") for {whom}; this is an error code, not a listing, and the list is switched off for {} \
             min.",
            meaning(code),
            listing.skipped_s / 60
        ),
    )
    .severity(Severity::Failure)
    .confidence(Confidence::Proven)
    .evidence(format!("{zone} about {}: {code}", visit.client))
    .disproof(format!("an answer of {zone} that holds only codes of its documentation"));
    if everybody {
        finding = finding.evidence(format!("{} A: {code}, the test point that no list may hold", point.name));
    }
    finding
        .fix("Ask through a resolver of your own: `dns.servers` must not be, or forward to, a public resolver.")
        .fix(format!("Or take {zone} out of `listener.{}.dnsbl`.", visit.listener.name()))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{Scene, scene};
    use mail::{ListWord, Listing};

    fn with(word: ListWord, code: &str) -> Scene {
        let mut scene = scene("visit inbound 127.0.1.10");
        scene.visit.as_mut().unwrap().lists.push(Listing {
            zone: "zen.dnsbl.test".to_owned(),
            word,
            codes: vec![code.parse().unwrap()],
            skipped_s: 3600,
            ..Listing::default()
        });
        scene
    }

    #[test]
    fn an_error_code_is_no_listing() {
        with(ListWord::Error, "127.255.255.254").answer("1.0.0.127.zen.dnsbl.test A: 127.255.255.254").check(
            "own.dnsbl_query_error: zen.dnsbl.test answers 127.255.255.254 (\"query via public resolver\") for every address; this \
             is an error code, not a listing, and the list is switched off for 60 min.",
        );
        with(ListWord::Error, "192.0.2.1").nothing_more().check(
            "own.dnsbl_query_error: zen.dnsbl.test answers 192.0.2.1 (\"no code of a block list\") for 127.0.1.10; this is an error \
             code, not a listing, and the list is switched off for 60 min.",
        );
    }

    #[test]
    fn a_listing_is_a_listing() {
        with(ListWord::Listed, "127.0.0.2").check("unknown");
    }
}
