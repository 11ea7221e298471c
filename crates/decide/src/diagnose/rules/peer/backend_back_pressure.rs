//! A next hop is short of disk or memory.

use crate::diagnose::rules::said;
use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Answer, Case, delivered, rule};
use mail::{Actor, Confidence, Finding, Retry, Severity, Stage};

rule! {
    /// A server behind is short of disk or memory
    ///
    /// A host that the settings name refuses every message before it knows anything of it: its own disk or memory is below a
    /// watermark (Exchange calls it back pressure). No mailbox is full, the message is not too large, and the disk of this
    /// gateway is not meant.
    ///
    /// Known by 4xx with x.3.1, or words of that meaning, at MAIL or before. Whether another host of the same route works is
    /// said besides.
    ///
    /// Free disk or memory on that host. The other hosts of the route take the load meanwhile; if there is none, the mail
    /// waits here.
    "peer.backend_back_pressure", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt().filter(|_| said::is_configured(case)) else { return Answer::No };
    let short = said::refusals(case).into_iter().find(|said| {
        said.reply.is_transient()
            && said.is_about(Topic::Storage)
            // At RCPT or later it may be this recipient or this message: only plain words count there.
            && (said.stage <= Stage::Mail || said.reply.enhanced.is_some_and(|status| (status.subject, status.detail) == (3, 1)))
    });
    let Some(said) = short else { return held_off(case).into() };
    let node = if attempt.local { "Backend node" } else { "Next hop" };
    let other = case.tries().iter().find(|tried| tried.address != said.tried.address && delivered(tried));
    let around = || {
        case.around
            .seen
            .iter()
            .rev()
            .find(|seen| seen.domain == attempt.domain && seen.address != said.tried.address && seen.delivered)
    };
    let works = match (other, around()) {
        (Some(tried), _) => format!("; node {} works and takes the load", said::place(tried)),
        (None, Some(seen)) => format!("; node {} works and takes the load", seen.address),
        (None, None) => "; no other node took the message, which waits here".to_owned(),
    };
    let same = said::before(case, said.tried)
        .filter(|seen| seen.reply.as_ref().is_some_and(|reply| words::is_about(reply, Topic::Storage)))
        .count();
    let every = if said.stage <= Stage::Mail { "refuses every message at" } else { "refuses the message at" };
    let where_ = said.place();
    let mut finding = Finding::new(
        "peer.backend_back_pressure",
        if attempt.local { Actor::OurServer } else { Actor::TheirHost },
        format!(
            "{node} {where_} {every} {} with {} (its own disk or memory is short){works}.",
            said.stage,
            said.code()
        ),
    )
    .severity(if said::severity(case, &said) == Severity::Failure { Severity::Failure } else { Severity::Warning })
    .confidence(Confidence::Likely)
    .retry(Retry::Helps { after_s: words::delay(said.reply).map(|delay| delay.as_secs()) })
    .evidence(said.quote())
    .disproof(format!("{} takes another message at the same time, or has disk and memory to spare", said.tried.host));
    if same > 0 {
        finding = finding.evidence(format!("the same answer to {same} other messages within the last hour"));
    }
    if let Some(tried) = other {
        finding = finding.evidence(format!("{} took this message", said::place(tried)));
    }
    finding
        .fix(format!("Free disk or memory on {where_}: logs, queue, databases."))
        .fix("Give the domain a second next hop, if it has none: [[domain]] next_hops.")
        .into()
}

/// How long a node that refused is remembered for those that follow.
const REMEMBERED_S: u64 = 600;

/// The message went through, to another node, because the first was short a moment ago.
fn held_off(case: &Case<'_>) -> Option<Finding> {
    let attempt = case.attempt()?;
    let tried = case.tries().iter().find(|tried| delivered(tried))?;
    let short = case.around.seen.iter().rev().find(|seen| {
        seen.domain == attempt.domain
            && seen.configured
            && seen.address != tried.address
            && attempt.started.since(seen.at).as_secs() <= REMEMBERED_S
            && seen.stage.is_some_and(|stage| stage <= Stage::Mail)
            && seen.reply.as_ref().is_some_and(|reply| reply.is_transient() && words::is_about(reply, Topic::Storage))
    })?;
    let recovered =
        case.around.seen.iter().any(|seen| seen.address == short.address && seen.delivered && seen.at >= short.at);
    if recovered {
        return None;
    }
    let reply = short.reply.as_ref()?;
    let code = reply.enhanced.map_or_else(|| reply.code.to_string(), |enhanced| format!("{} {enhanced}", reply.code));
    let node = if attempt.local { "Backend node" } else { "Next hop" };
    let stage = short.stage.unwrap_or(Stage::Mail);
    Some(
        Finding::new(
            "peer.backend_back_pressure",
            if attempt.local { Actor::OurServer } else { Actor::TheirHost },
            format!(
                "{node} {} refuses every message at {stage} with {code} (its own disk or memory is short); node {} works and \
                 takes the load.",
                short.address, tried.address
            ),
        )
        .severity(Severity::Warning)
        .confidence(Confidence::Likely)
        .retry(Retry::NotNeeded)
        .evidence(format!("{} answered {stage} with \"{reply}\" at {}", short.address, short.at.rfc5322()))
        .evidence(format!("{} took this message", said::place(tried)))
        .disproof(format!("{} takes a message", short.address))
        .fix(format!("Free disk or memory on {}: logs, queue, databases.", short.address)),
    )
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, reply, scene, seen_at};
    use mail::{Severity, Stage};

    const SHORT: &str = "to u@corp.test
        local
        try 127.0.0.20 127.0.0.20
          banner 220 x
          mail 452 4.3.1 Insufficient system resources
          fail mail them 452 4.3.1 Insufficient system resources";

    #[test]
    fn one_node_is_short_and_the_other_works() {
        check(
            &format!("{SHORT}\ntry 127.0.0.21 127.0.0.21\nmail 250 ok\nrcpt u@corp.test 250 ok\nfinal 250 ok"),
            "peer.backend_back_pressure: Backend node 127.0.0.20 refuses every message at MAIL FROM with 452 4.3.1 (its own disk \
             or memory is short); node 127.0.0.21 works and takes the load.",
        );
        check(SHORT, "peer.backend_back_pressure");
    }

    #[test]
    fn those_that_follow_are_told_too() {
        let text = "to u@corp.test
             local
             try 127.0.0.21 127.0.0.21
               rcpt u@corp.test 250 ok
               final 250 ok";
        let short = seen_at("127.0.0.20", "127.0.0.20", |seen| {
            seen.domain = "corp.test".to_owned();
            seen.configured = true;
            seen.stage = Some(Stage::Mail);
            seen.reply = Some(reply("452 4.3.1 Insufficient system resources"));
        });
        let mut scene = scene(text);
        scene.around.seen.push(short.clone());
        scene.check("peer.backend_back_pressure");
        assert_eq!(scene.diagnose().findings[0].severity, Severity::Warning);
        let recovered = seen_at("127.0.0.20", "127.0.0.20", |seen| seen.delivered = true);
        scene.around.seen.push(recovered);
        scene.check("diag.delivered_elsewhere");
    }

    #[test]
    fn a_full_mailbox_is_not_a_full_disk() {
        check(
            "to u@corp.test
             local
             try 127.0.0.20 127.0.0.20
               mail 250 ok
               rcpt u@corp.test 452 4.2.2 mailbox full
               fail rcpt them 452 4.2.2 mailbox full",
            "rcpt.over_quota",
        );
    }

    #[test]
    fn a_host_of_others_that_is_short_only_defers() {
        check(&SHORT.replace("local", ""), "peer.deferred");
    }
}
