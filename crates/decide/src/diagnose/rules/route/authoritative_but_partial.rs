//! Our list of recipients is only a part of the domain's.

use crate::diagnose::rules::own::mx;
use crate::diagnose::{Answer, Case, Experiment, Result, rule};
use mail::dns::{Kind, Question};
use mail::{Actor, Address, Confidence, Finding, Reply};
use std::net::{IpAddr, SocketAddr};

rule! {
    /// The domain is split, and the list here is only a part of it
    ///
    /// Some mailboxes of the domain lie behind this gateway, others at another system, to which the domain's MX records lead. This
    /// gateway takes its own list of recipients for the whole and refuses the others, though they exist.
    ///
    /// Known by asking the domain's public mail host: it accepts the recipient that was refused here, and refuses one that
    /// nobody can have.
    ///
    /// Add the missing recipients here, or let mail for them go to the other system.
    "route.authoritative_but_partial", find
}

/// A local part that nobody has.
const NOBODY: &str = "gatepost-probe-no-such-user-7f3a";

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    let refusal = visit.refused("no-such-recipient");
    let Some((refusal, recipient)) = refusal.and_then(|refusal| Some((refusal, refusal.recipient.as_ref()?))) else {
        return Answer::No;
    };
    let Ok(address) = recipient.parse::<Address>() else { return Answer::No };
    let domain = address.domain().ascii();
    let Some((hosts, _, summary)) = mx::hosts(case, &domain) else {
        let question = Experiment::ask(Question::new(&domain, Kind::Mx));
        return if case.look(&question).is_some() { Answer::No } else { Answer::Ask(vec![question]) };
    };
    let Some(host) = hosts.first() else { return Answer::No };
    if case.identity.is_name(host) {
        return Answer::No;
    }
    let Some(at) = case.addresses(host).first().copied() else {
        let questions = [Kind::A, Kind::Aaaa].map(|kind| Experiment::ask(Question::new(host, kind)));
        let wanted: Vec<_> = questions.into_iter().filter(|question| case.look(question).is_none()).collect();
        return if wanted.is_empty() { Answer::No } else { Answer::Ask(wanted) };
    };
    if case.identity.is_address(at) || at == visit.local.ip() {
        return Answer::No;
    }
    let greet = |recipient: String| greet(case, host, at, recipient);
    let (real, nobody) = (greet(recipient.clone()), greet(format!("{NOBODY}@{domain}")));
    let (Some(real_look), nobody_look) = (case.look(&real), case.look(&nobody)) else { return Answer::Ask(vec![real]) };
    let Some(accepted) = rcpt(real_look).filter(|reply| reply.is_positive()) else { return Answer::No };
    let Some(nobody_look) = nobody_look else { return Answer::Ask(vec![nobody]) };
    let other = rcpt(nobody_look);
    // Who takes everybody says nothing about anybody.
    if other.is_some_and(Reply::is_positive) {
        return Answer::No;
    }
    let sure = if other.is_some_and(Reply::is_permanent) { Confidence::Proven } else { Confidence::Likely };
    let mut finding = Finding::new(
        "route.authoritative_but_partial",
        Actor::OurSettings,
        format!(
            "{recipient} was refused by this gateway's own recipient list ({} {}), but {host} ({at}), the public MX of {domain}, \
             accepts it ({}): the domain is split and the list here is only a part.",
            refusal.reply.code,
            refusal.reply.status(),
            accepted.code
        ),
    )
    .confidence(sure)
    .evidence(summary)
    .evidence(format!("RCPT TO:<{recipient}> at {host} [{at}]: {accepted}"))
    .disproof(format!("{host} refuses {recipient} as well"));
    if let Some(other) = other {
        finding = finding.evidence(format!("RCPT TO:<{NOBODY}@{domain}> there: {other}"));
    }
    finding
        .fix(format!(
            "Add {recipient} to `recipients` of domain {domain}, or leave the list out if the server behind knows all."
        ))
        .fix(format!(
            "If its mailbox is at {host}: an `[[alias]]` to an address there, or a next hop that passes it on."
        ))
        .into()
}

fn greet(case: &Case<'_>, host: &str, at: IpAddr, recipient: String) -> Experiment {
    Experiment::Greet {
        address: SocketAddr::new(at, case.settings.delivery.port),
        host: host.to_owned(),
        source: None,
        ehlo: None,
        tls: false,
        sender: Some(String::new()),
        recipient: Some(recipient),
    }
}

/// The answer to RCPT, if it came so far.
fn rcpt(result: &Result) -> Option<&Reply> {
    match result {
        Result::Talk(tried) => tried.rcpt.first().map(|said| &said.reply),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{NOBODY, greet};
    use crate::diagnose::Result;
    use crate::diagnose::testing::{Scene, reply, scene};
    use mail::{HostTry, RcptSaid, Time};

    const VISIT: &str = "visit outbound 127.0.1.10
        refuse rcpt no-such-recipient bob@corp.test 550 5.1.1 user unknown
        dns corp.test MX: 10 mx.other.test
        dns mx.other.test A: 127.0.0.11
settings
[[domain]]
name = \"corp.test\"
next_hops = [\"127.0.0.20\"]
recipients = [\"ann@corp.test\"]";

    fn with(scene: Scene, recipient: &str, said: &str) -> Scene {
        let at = "127.0.0.11".parse().unwrap();
        let experiment = greet(&scene.case(), "mx.other.test", at, recipient.to_owned());
        let mut tried = HostTry::new("mx.other.test", at, 25, Time(0));
        tried.rcpt.push(RcptSaid { recipient: recipient.to_owned(), reply: reply(said) });
        scene.look(experiment, Result::Talk(Box::new(tried)))
    }

    #[test]
    fn a_recipient_that_the_public_mx_knows_shows_the_split() {
        let asked = with(scene(VISIT), "bob@corp.test", "250 2.1.5 ok");
        with(asked, &format!("{NOBODY}@corp.test"), "550 5.1.1 no such user").check(
            "route.authoritative_but_partial: bob@corp.test was refused by this gateway's own recipient list (550 5.1.1), but \
             mx.other.test (127.0.0.11), the public MX of corp.test, accepts it (250): the domain is split and the list here is \
             only a part.",
        );
    }

    #[test]
    fn a_recipient_unknown_there_too_is_unknown() {
        with(scene(VISIT), "bob@corp.test", "550 5.1.1 no such user").check("own.unknown_recipient");
    }

    #[test]
    fn a_host_that_takes_everybody_proves_nothing() {
        let asked = with(scene(VISIT), "bob@corp.test", "250 2.1.5 ok");
        with(asked, &format!("{NOBODY}@corp.test"), "250 2.1.5 ok").check("own.unknown_recipient");
        scene(VISIT).nothing_more().check("own.unknown_recipient");
    }
}
