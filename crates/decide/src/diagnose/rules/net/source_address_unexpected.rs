//! Mail leaves from another of our addresses than the one that its EHLO name stands for.

use super::source::{self, Left};
use crate::diagnose::face::{self, Known};
use crate::diagnose::{Answer, Case, rule};
use mail::dns::Question;
use mail::{Actor, Confidence, Finding, Retry, Severity};

rule! {
    /// Mail leaves from an unexpected address
    ///
    /// This host has several addresses. The EHLO name, and mostly SPF and reverse DNS, are made for one of them, but the
    /// connection left from another: the host's primary address or that of a NAT pool, because deliveries are not bound to an
    /// address. The peer refuses because name, reverse name or SPF do not fit the address that it sees. Checks of the mail
    /// address itself all look right, since they look at the other address.
    ///
    /// Known from the socket's own address (or the one that the peer quotes), and from DNS. Bind deliveries to the right address
    /// with `[[delivery.source]]`, or extend SPF, PTR and the EHLO name to the other one.
    "net.source_address_unexpected", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(Left { tried, stage, reply, source, plain }) = source::refused(case) else { return Answer::No };
    // The other rule knows more of IPv6.
    if source.is_ipv6() {
        return Answer::No;
    }
    let expected = match face::stands_for_another(case, tried, source) {
        Known::Yes(Some(expected)) => expected,
        Known::Ask(experiments) => return Answer::Ask(experiments),
        Known::Yes(None) | Known::Never => return Answer::No,
    };
    let mut wanted = Vec::new();
    let ptr = match face::answer(case, Question::reverse(source)) {
        Known::Yes(answer) => Some(answer),
        Known::Ask(experiments) => {
            wanted.extend(experiments);
            None
        }
        Known::Never => None,
    };
    let policy = match source::policy(case, source) {
        Known::Yes(policy) => policy,
        Known::Ask(experiments) => {
            wanted.extend(experiments);
            None
        }
        Known::Never => None,
    };
    if !wanted.is_empty() {
        return Answer::Ask(wanted);
    }
    let ptr_name = ptr.and_then(|answer| answer.names().first().copied());
    let ptr_text = match (ptr, ptr_name) {
        (_, Some(name)) => format!(" (PTR {name})"),
        (Some(_), None) => " (no PTR)".to_owned(),
        (None, None) => String::new(),
    };
    let right = expected.iter().find(|address| face::is_own(case, **address)).copied().unwrap_or(expected[0]);
    let by_spf = policy.as_ref().is_some_and(|policy| !policy.lists && policy.allows(right));
    let ehlo = &tried.ehlo;
    let stand = if by_spf { "and SPF stand" } else { "stands" };
    let sentence = format!("Mail leaves from {source}{ptr_text}, but EHLO {ehlo} {stand} for {right}.");
    let mut finding = Finding::new("net.source_address_unexpected", Actor::OurSettings, sentence)
        .confidence(if plain { Confidence::Proven } else { Confidence::Likely });
    if case.delivered() {
        finding = finding.severity(Severity::Warning).retry(Retry::NotNeeded);
    }
    finding.evidence.push(format!("{} [{}] at {stage}: {reply}", tried.host, tried.address));
    finding.evidence.extend(tried.source.map(|own| format!("address of our own end: {own}")));
    finding.evidence.extend(case.dns(ehlo, mail::dns::Kind::A).map(|answer| answer.summary()));
    finding.evidence.extend(ptr.map(|answer| answer.summary()));
    finding.evidence.extend(policy.map(|policy| format!("SPF of the sender's domain: {}", policy.record)));
    finding
        .disproof(format!("the same refusal of a delivery that leaves from {right}"))
        .fix(format!(
            "Bind deliveries to {right}: [[delivery.source]] address = \"{right}\"; see to it that this host (or container) has \
             that address."
        ))
        .fix(format!(
            "Or make {source} fit: `{}. PTR {ehlo}.`, `{ehlo}. A {source}`, and ip4:{source} in SPF.",
            Question::reverse(source).name
        ))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};

    const REFUSED: &str = "to a@big.test
        try mx.big.test 127.0.0.11 from 127.0.0.3
          mail 554 5.7.1 EHLO name gw.corp.test does not match client address 127.0.0.3
          fail mail them 554 5.7.1 no";
    const ZONE: &str =
        "\ndns gw.corp.test A: 127.0.0.2\ndns gw.corp.test AAAA: NODATA\ndns 3.0.0.127.in-addr.arpa PTR: web.corp.test
        dns web.corp.test A: NXDOMAIN\ndns corp.test TXT: \"v=spf1 a:gw.corp.test -all\"";

    #[test]
    fn ehlo_and_spf_stand_for_the_other_address() {
        check(
            &format!("{REFUSED}{ZONE}"),
            "net.source_address_unexpected: Mail leaves from 127.0.0.3 (PTR web.corp.test), but EHLO gw.corp.test and SPF stand \
             for 127.0.0.2.",
        );
    }

    #[test]
    fn a_refusal_for_the_reverse_name_is_explained_by_the_wrong_source() {
        let refused =
            REFUSED.replace("5.7.1 EHLO name gw.corp.test does not match client address 127.0.0.3", "5.7.25 no");
        check(&format!("{refused}{ZONE}"), "net.source_address_unexpected");
    }

    #[test]
    fn a_reply_that_holds_our_name_against_our_address() {
        let said = "5.7.1 EHLO name gw.corp.test does not match client address 127.0.0.3";
        let with = |words: &str| scene(&format!("{}{ZONE}", REFUSED.replace(said, words))).nothing_more();
        with("5.7.1 Client host rejected: gw.corp.test does not match [127.0.0.3]")
            .check("net.source_address_unexpected");
        let listed = with("5.7.1 gw.corp.test[127.0.0.3] blocked using zen.dnsbl.test");
        assert!(!listed.diagnose().findings.iter().any(|finding| finding.cause == "net.source_address_unexpected"));
    }

    #[test]
    fn the_expected_source_is_no_cause() {
        let scene = scene(&format!("{REFUSED}{ZONE}").replace("127.0.0.3", "127.0.0.2")).nothing_more();
        assert!(!scene.diagnose().findings.iter().any(|finding| finding.cause == "net.source_address_unexpected"));
    }

    #[test]
    fn a_name_with_both_addresses_fits() {
        let scene =
            scene(&format!("{REFUSED}{ZONE}").replace("A: 127.0.0.2", "A: 127.0.0.2, 127.0.0.3")).nothing_more();
        assert!(!scene.diagnose().findings.iter().any(|finding| finding.cause == "net.source_address_unexpected"));
    }

    #[test]
    fn another_reason_is_another_cause() {
        let refused = REFUSED.replace(
            "5.7.1 EHLO name gw.corp.test does not match client address 127.0.0.3",
            "5.7.1 message rejected as spam",
        );
        let scene = scene(&format!("{refused}{ZONE}")).nothing_more();
        assert!(!scene.diagnose().findings.iter().any(|finding| finding.cause == "net.source_address_unexpected"));
    }
}
