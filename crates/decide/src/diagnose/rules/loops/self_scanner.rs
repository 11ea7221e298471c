//! One of the hosts is another Scanner of this gateway.

use super::{met, with_route};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry, Why};

rule! {
    /// A host is another Scanner of this gateway
    ///
    /// The next hop, or the mail host that DNS names, is another Scanner of the same gateway: it is listed in
    /// `[[identity.scanner]]`, or its greeting bears a token that only the Scanners of this gateway can make, and it calls
    /// itself by another name than this one. Scanners have the same settings, so the other one would send the mail the same
    /// way again. The host and all that are not better than it are left out (RFC 5321 5.1).
    ///
    /// Name the server behind the Scanners as next hop. List the other Scanners with names and addresses, then they are
    /// known without being dialled.
    "loop.self.scanner", find
}

fn find(case: &Case<'_>) -> Answer {
    if case.delivered() {
        return Answer::No;
    }
    let Some(attempt) = case.attempt() else { return Answer::No };
    let is_own = attempt.no_route.as_ref().is_none_or(super::is_loop);
    let listed =
        attempt.dropped.iter().filter(|dropped| is_own && matches!(dropped.why, Why::Own(_))).find_map(|own| {
            let scanner = case.identity.scanner_at(own.address?)?;
            Some((own, scanner.name.to_string(), true))
        });
    let greeted = || met(case).and_then(|(own, name)| Some((own, name?, false)));
    let Some((own, name, is_listed)) = listed.or_else(greeted) else { return Answer::No };
    let domain = &attempt.domain;
    let waits = attempt.no_route.is_none() && attempt.tries.iter().any(|tried| !tried.own_token);
    let rest = match waits {
        true => "and the hosts before it do not take the mail now. The message waits for them",
        false => "which would send the mail the same way again",
    };
    let known = if is_listed { "as [[identity.scanner]] says" } else { "as its greeting shows" };
    let mut finding = Finding::new(
        "loop.self.scanner",
        Actor::OurSettings,
        format!("{} for {domain} is {name}, another Scanner of this gateway ({known}), {rest}.", own.place()),
    )
    .confidence(Confidence::Proven)
    .retry(if waits { Retry::Helps { after_s: None } } else { Retry::AfterFix })
    .disproof(format!("a mail server of another gateway at {}", own.place()));
    finding.evidence.extend(attempt.tries.iter().filter_map(|tried| {
        let banner = tried.banner.as_ref()?;
        Some(format!("{} [{}] greeted: {banner}", tried.host, tried.address))
    }));
    finding = finding.fix(format!("Give {domain} the server behind the Scanners as next hop."));
    if let (false, Some(address)) = (is_listed, own.address) {
        finding = finding.fix(format!(
            "List the other Scanner: [[identity.scanner]] name = \"{name}\", addresses = [\"{address}\"]."
        ));
    }
    with_route(finding, attempt).into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::scene;

    fn met(name: &str) -> crate::diagnose::testing::Scene {
        let mut scene = scene(&format!(
            "to u@corp.test
             local
             via next-hops
             dropped gw2.corp.test 127.0.0.88 0 own its greeting, which bears this gateway's own token
             try gw2.corp.test 127.0.0.88
               banner 220 {name} ESMTP Gatepost 0123
               fail banner us [internal] 554 5.4.6 mail loop"
        ));
        scene.attempt.tries[0].own_token = true;
        scene
    }

    #[test]
    fn a_scanner_greets_with_our_token_and_its_own_name() {
        met("gw2.corp.test").check(
            "loop.self.scanner: gw2.corp.test [127.0.0.88] for corp.test is gw2.corp.test, another Scanner of this gateway (as \
             its greeting shows), which would send the mail the same way again.",
        );
        met("gw.corp.test").check("loop.self.nat_address");
    }

    #[test]
    fn a_scanner_of_the_settings_is_known_before() {
        let mut scene = scene(
            "to u@corp.test
             local
             via mx
             dropped gw2.corp.test 127.0.0.88 10 own its address
             no-route 554 5.4.6 mail loop",
        );
        scene.identity.scanners.push(mail::Scanner {
            name: "gw2.corp.test".parse().unwrap(),
            addresses: vec!["127.0.0.88".parse().unwrap()],
        });
        scene.check(
            "loop.self.scanner: gw2.corp.test [127.0.0.88] for corp.test is gw2.corp.test, another Scanner of this gateway (as \
             [[identity.scanner]] says), which would send the mail the same way again.",
        );
    }
}
