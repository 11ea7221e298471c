//! The fallback of a broken next hop hands the mail back.

use super::{after, back, domain_of, place, sent, with_return};
use crate::diagnose::{Answer, Case, Experiment, Result, connected, delivered, rule};
use crate::settings::{Host, NextHops};
use mail::dns::{Data, Kind, Question};
use mail::{Actor, Carried, Confidence, Connect, Finding, HostTry, Retry, Return, Severity, Via};
use std::net::SocketAddr;

rule! {
    /// Two relays are each other's fallback
    ///
    /// The better next hop failed, so the mail went to a fallback; and the fallback, another relay for the same domain, sends
    /// the domain's mail here. While the better next hop works, nobody notices.
    ///
    /// Remove the fallback: mail can wait here as well as there. And repair the next hop that failed.
    "loop.peer.mutual_fallback", find
}

fn find(case: &Case<'_>) -> Answer {
    if case.attempt().is_some() { handed_over(case) } else { returned(case) }
}

/// Before it comes back: the fallback that took the mail is an MX of the domain that is worse than this gateway, so the
/// best that it can do is to bring it here (RFC 5321 5.1).
fn handed_over(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt().filter(|attempt| attempt.local && attempt.via == Via::NextHops) else {
        return Answer::No;
    };
    let Some(took) = attempt.tries.last().filter(|tried| delivered(tried)) else { return Answer::No };
    let Some(failed) = attempt.tries.iter().find(|tried| !connected(tried) && tried.failure.is_some()) else {
        return Answer::No;
    };
    let question = Question::new(&attempt.domain, Kind::Mx);
    let Some(mx) = case.dns(&question.name, Kind::Mx) else {
        let ask = Experiment::ask(question);
        return if case.look(&ask).is_none() { Answer::Ask(vec![ask]) } else { Answer::No };
    };
    let preference = |fits: &dyn Fn(&str) -> bool| {
        let record = |data| if let &Data::Mx { preference, ref host } = data { Some((preference, host)) } else { None };
        mx.data().filter_map(record).filter(|(_, host)| fits(host)).map(|(preference, _)| preference).min()
    };
    let own = preference(&|host| case.identity.is_name(host));
    let fallback = preference(&|host| host.eq_ignore_ascii_case(&took.host));
    let (Some(own), Some(worse)) = (own, fallback) else { return Answer::No };
    if own >= worse {
        return Answer::No;
    }
    let how = if failed.connect == Connect::Refused { "refuses connections" } else { "cannot be reached" };
    let (better, domain) = (format!("{} ({})", failed.host, failed.address), &attempt.domain);
    Finding::new(
        "loop.peer.mutual_fallback",
        Actor::OurSettings,
        format!(
            "The next hop {better} of {domain} {how}, and the fallback {} ({}), MX of preference {worse}, can only send the \
             mail back to this gateway, MX of preference {own}.",
            took.host, took.address
        ),
    )
    .severity(Severity::Warning)
    .retry(Retry::AfterFix)
    .evidence(format!("{better}: {}", failed.failure.as_ref().map(ToString::to_string).unwrap_or_default()))
    .evidence(format!("{} [{}] took the message", took.host, took.address))
    .evidence(mx.summary())
    .disproof(format!("{} keeping mail for {domain}, or having a way of its own to the mailboxes", took.host))
    .fix(format!("Remove {} from the next hops of {domain}: the mail then waits here until {better} is back.", took.host))
    .fix(format!("Repair {better}."))
    .into()
}

fn returned(case: &Case<'_>) -> Answer {
    let Some((visit, back)) = back(case) else { return Answer::No };
    let Some(sent) = sent(back).filter(|sent| sent.address == visit.client) else { return Answer::No };
    let (mut better, mut refused) = (Vec::new(), true);
    for failed in &sent.failed_before {
        better.extend(failed.split_once(": ").map(|(host, _)| host.to_owned()));
        refused &= failed.contains("refused");
    }
    // Next hops of one preference are taken in any order: the one that is down need not have been tried.
    if better.is_empty() {
        let (down, wanted) = siblings_down(case, back, sent);
        if !wanted.is_empty() {
            return Answer::Ask(wanted);
        }
        refused = down.iter().all(|tried| tried.connect == Connect::Refused);
        better = down.iter().map(|tried| format!("{} [{}]", tried.host, tried.address)).collect();
    }
    if better.is_empty() {
        return Answer::No;
    }
    let domain = domain_of(&back.recipient);
    let (fallback, better) = (place(sent), better.join(", "));
    let how = if refused { "refuses connections" } else { "cannot be reached" };
    let mut finding = Finding::new(
        "loop.peer.mutual_fallback",
        Actor::OurSettings,
        format!(
            "The next hop {better} of {domain} {how}, and the fallback {fallback} only sends the mail back to this gateway \
             ({}).",
            after(back)
        ),
    )
    .confidence(Confidence::Proven)
    .retry(Retry::AfterFix)
    .evidence(format!("{better} {how}; {fallback} took the message instead"))
    .disproof(format!("{fallback} keeping mail for {domain} while {better} is down"))
    .fix(format!(
        "Remove {} from the next hops of {domain}: the mail then waits here until {better} is back.",
        sent.host
    ))
    .fix(format!("Repair {better}."));
    finding.evidence.extend(sent.failed_before.iter().cloned());
    with_return(finding, visit, back).into()
}

/// The domain's other next hops that cannot be reached now; and what must be looked at to know.
fn siblings_down<'a>(case: &Case<'a>, back: &Return, sent: &Carried) -> (Vec<&'a HostTry>, Vec<Experiment>) {
    let (mut down, mut wanted) = (Vec::new(), Vec::new());
    let local = domain_of(&back.recipient).parse().ok().and_then(|domain| case.settings.local_domain(&domain));
    let hops = local.map(|local| local.next_hops.as_ref().unwrap_or(&case.settings.local_next_hops));
    let Some(NextHops::Hops(hops)) = hops else { return (down, wanted) };
    for hop in hops {
        let port = hop.port.unwrap_or(case.settings.delivery.port);
        let address = match &hop.host {
            Host::Addr(address) => Some(*address),
            Host::Name(name) => {
                let question = Question::new(&name.ascii(), Kind::A);
                let ask = Experiment::ask(question.clone());
                if case.dns(&question.name, Kind::A).is_none() && case.look(&ask).is_none() {
                    wanted.push(ask);
                }
                case.addresses(&name.ascii()).first().copied()
            }
        };
        let Some(address) = address.filter(|address| (*address, port) != (sent.address, sent.port)) else { continue };
        let connect = Experiment::Connect { address: SocketAddr::new(address, port) };
        match case.look(&connect) {
            None => wanted.push(connect),
            Some(Result::Talk(tried)) if !connected(tried) && tried.connect != Connect::NotTried => down.push(&**tried),
            Some(_) => {}
        }
    }
    (down, wanted)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, returned};
    use crate::diagnose::testing::scene;
    use crate::diagnose::{Experiment, Result};

    #[test]
    fn the_other_relay_sends_it_back() {
        check(
            "back u@corp.test from 127.0.0.11
             sent gw2.corp.test 127.0.0.11 u@corp.test
             failed backend.corp.test [127.0.0.20]: 421 4.4.1 [internal] connection failed: connection refused",
            "loop.peer.mutual_fallback: The next hop backend.corp.test [127.0.0.20] of corp.test refuses connections, \
             and the fallback gw2.corp.test (127.0.0.11) only sends the mail back to this gateway (after 1 s).",
        );
    }

    #[test]
    fn a_next_hop_that_was_not_tried_is_looked_at() {
        let text = "back u@corp.test from 127.0.0.11
             sent 127.0.0.11 127.0.0.11 u@corp.test
settings
[[domain]]
name = \"corp.test\"
next_hops = [\"127.0.0.20\", \"127.0.0.11\"]";
        let address = "127.0.0.20:25".parse().unwrap();
        let look = |connect| {
            let mut tried = mail::HostTry::new("127.0.0.20", "127.0.0.20".parse().unwrap(), 25, mail::Time(0));
            tried.connect = connect;
            returned(text).look(Experiment::Connect { address }, Result::Talk(Box::new(tried)))
        };
        look(mail::Connect::Refused).check("loop.peer.mutual_fallback");
        look(mail::Connect::Made { ms: 1 }).check("loop.peer.backend_returns");
        returned(text).nothing_more().check("loop.peer.backend_returns");
    }

    #[test]
    fn a_return_from_elsewhere_is_not_the_fallbacks() {
        check(
            "back u@corp.test from 127.0.0.30
             sent gw2.corp.test 127.0.0.11 u@corp.test
             failed backend.corp.test [127.0.0.20]: 421 4.4.1 [internal] connection failed: connection refused
             hop a.test
             hop gw2.corp.test",
            "loop.peer.unknown_user_ping_pong",
        );
    }

    #[test]
    fn a_fallback_that_is_a_worse_mx_can_only_send_it_back() {
        let text = "to u@corp.test
             local
             dns corp.test MX: 10 gw.corp.test, 20 gw2.corp.test
             try backend.corp.test 127.0.0.20
               refused
               fail connect path [internal] 421 4.4.1 connection refused
             try gw2.corp.test 127.0.0.11
               final 250 2.0.0 ok";
        scene(text).check(
            "loop.peer.mutual_fallback: The next hop backend.corp.test (127.0.0.20) of corp.test refuses connections, and the \
             fallback gw2.corp.test (127.0.0.11), MX of preference 20, can only send the mail back to this gateway, MX of \
             preference 10.",
        );
        for other in ["20 gw.corp.test, 10 gw2.corp.test", "10 gw.corp.test, 20 gw3.corp.test"] {
            let scene = scene(&text.replace("10 gw.corp.test, 20 gw2.corp.test", other)).nothing_more();
            assert!(scene.diagnose().findings.iter().all(|found| found.cause != "loop.peer.mutual_fallback"));
        }
    }
}
