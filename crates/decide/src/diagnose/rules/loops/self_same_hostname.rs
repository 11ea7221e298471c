//! A peer calls itself by our name, and is another machine.

use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, HostTry, Retry, Severity};

rule! {
    /// Two servers share one host name
    ///
    /// A peer greeted with this gateway's own MTA host name. Some mail servers call that a loop and return the mail. It is
    /// none: the greeting bears no token of this gateway, and the address is not its own. Two machines or containers were
    /// given the same name.
    ///
    /// Give each of them a name of its own that resolves to its address and back.
    "loop.self.same_hostname", find
}

fn find(case: &Case<'_>) -> Answer {
    let first_word = |reply: &Option<mail::Reply>| {
        let text = reply.as_ref().filter(|reply| reply.is_positive())?.text();
        text.split_whitespace().next().map(str::to_owned)
    };
    let named = |tried: &&HostTry| {
        !tried.own_token
            && !case.identity.is_address(tried.address)
            && !case.identity.is_learned(tried.address, tried.port)
            && [&tried.banner, &tried.greeted]
                .into_iter()
                .filter_map(first_word)
                .any(|name| case.identity.is_name(&name))
    };
    let Some(tried) = case.tries().iter().find(named) else { return Answer::No };
    let name = [&tried.banner, &tried.greeted]
        .into_iter()
        .filter_map(first_word)
        .find(|name| case.identity.is_name(name))
        .unwrap_or_default();
    let mut finding = Finding::new(
        "loop.self.same_hostname",
        Actor::OurSettings,
        format!(
            "{} greets with this gateway's own name {name} but is a different host: two servers share one host name (no loop).",
            tried.address
        ),
    )
    .severity(Severity::Warning)
    .confidence(Confidence::Proven)
    .retry(Retry::NotNeeded)
    .evidence(format!("{} is no address of this gateway, and its greeting bears no token of it", tried.address))
    .disproof(format!("a greeting at {} that bears this gateway's token", tried.address))
    .fix(format!("Give each of the two a name of its own with matching A and PTR records: this gateway by `hostname`, or the host at {}.", tried.address));
    for said in [&tried.banner, &tried.greeted].into_iter().flatten() {
        finding.evidence.push(format!("{}: {said}", tried.address));
    }
    if !tried.capabilities.is_empty() {
        finding.evidence.push(format!("it offers {}", tried.capabilities.join(", ")));
    }
    finding.into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};

    const CLASH: &str = "to a@corp.test
        try mail.corp.test 127.0.0.11
          banner 220 gw.corp.test ESMTP other
          ehlo 250 gw.corp.test
          final 250 2.0.0 ok";

    #[test]
    fn a_shared_name_is_no_loop() {
        check(
            CLASH,
            "loop.self.same_hostname: 127.0.0.11 greets with this gateway's own name gw.corp.test but is a different host: \
             two servers share one host name (no loop).",
        );
    }

    #[test]
    fn our_own_token_is_a_loop_and_no_clash() {
        let mut scene = scene(CLASH);
        scene.attempt.tries[0].own_token = true;
        scene.check("unknown");
    }

    #[test]
    fn another_name_that_contains_ours_is_another_name() {
        check(&CLASH.replace("gw.corp.test", "gw.corp.test.example"), "unknown");
    }
}
