//! Recipients that the server behind does not know: refused in the session, or bounced to whoever is named as sender.

use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Answer, Case, rule};
use crate::validate;
use mail::{Actor, Address, Attempt, Confidence, Finding, Known, RcptSaid, Retry, Visit};

rule! {
    /// Recipients are not checked before the mail is taken
    ///
    /// A gateway that takes mail for every recipient of a domain learns only from the server behind that one does not exist. Then it must
    /// return the mail, and the sender of spam is forged: a stranger gets the bounce (backscatter), and the gateway's address comes on
    /// block lists. The check belongs into the session: a list of recipients (`domain.recipients`), or a question to
    /// the server behind while the client waits (`domain.verify_recipients`).
    ///
    /// Known by the server's answer about the recipient: 550 5.1.1 and its like.
    ///
    /// Give the domain a list, or set `verify_recipients = true`.
    "own.no_recipient_check", find
}

fn find(case: &Case<'_>) -> Answer {
    match (case.visit(), case.attempt()) {
        (Some(visit), _) => checked(visit),
        (None, Some(attempt)) => bounced(case, attempt),
        (None, None) => None,
    }
    .into()
}

fn checked(visit: &Visit) -> Option<Finding> {
    let refusal = visit.refused("no-such-recipient")?;
    let recipient = refusal.recipient.as_ref()?;
    let verified = visit.verified.iter().rev().find(|it| it.recipient == *recipient && it.known == Known::No)?;
    let (reply, address) = (verified.reply.as_ref()?, verified.address?);
    let deal = visit.deals.iter().rev().find(|deal| deal.refused.iter().any(|said| said.recipient == *recipient));
    let sender = deal.map(|deal| deal.sender.as_str()).filter(|sender| !sender.is_empty());
    let instead = sender.map_or(String::new(), |sender| format!(" instead of bouncing to {sender}"));
    let finding = Finding::new(
        "own.no_recipient_check",
        Actor::TheSender,
        format!(
            "{recipient} is unknown at the backend {address} ({} {}, checked during the session); rejected{instead}.",
            reply.code,
            reply.status()
        ),
    )
    .confidence(Confidence::Proven)
    .retry(Retry::Useless)
    .evidence(format!("MAIL FROM:<> RCPT TO:<{recipient}> at {} [{address}]: {reply}", verified.host))
    .evidence(if verified.cached { "asked for an earlier message" } else { "asked for this message" })
    .disproof(format!("{address} accepts {recipient} for the null sender"))
    .fix("The sender corrects the address; a forged one gets no bounce.")
    .fix(format!("If it exists: create the mailbox at {address}."));
    Some(finding)
}

fn bounced(case: &Case<'_>, attempt: &Attempt) -> Option<Finding> {
    let sender: Address = attempt.sender.parse().ok()?;
    if !attempt.local || case.settings.local_domain(sender.domain()).is_some() {
        return None;
    }
    let tried = case.last()?;
    let is_unknown = |said: &&RcptSaid| {
        validate::says_unknown(&said.reply)
            && words::topics(&said.reply).first().is_none_or(|topic| *topic == Topic::NoSuchUser)
    };
    let said = tried.rcpt.iter().find(is_unknown)?;
    let domain = case.settings.local_domain(&attempt.domain.parse().ok()?)?;
    if domain.recipients.is_some() || domain.verify_recipients {
        return None;
    }
    let finding = Finding::new(
        "own.no_recipient_check",
        Actor::OurSettings,
        format!(
            "{} is unknown at the backend {} ({} {}), but this gateway accepts every recipient of {} unchecked, so the bounce goes to \
             {sender}, who may be forged.",
            said.recipient,
            tried.address,
            said.reply.code,
            said.reply.status(),
            domain.name
        ),
    )
    .confidence(Confidence::Likely)
    .retry(Retry::Useless)
    .evidence(format!("RCPT TO:<{}> at {} [{}]: {}", said.recipient, tried.host, tried.address, said.reply))
    .evidence(format!("domain {} has neither recipients nor verify_recipients", domain.name))
    .disproof(format!("{} takes {} at another time", tried.host, said.recipient))
    .fix(format!("Set `verify_recipients = true` for domain {}, or give it a list: `recipients = [ … ]`.", domain.name));
    Some(finding)
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, reply, scene};
    use mail::{Known, Verified};

    #[test]
    fn an_unknown_recipient_is_refused_in_the_session() {
        let mut scene = scene(
            "visit inbound 127.0.1.10
             deal forged@victim.test:
             refuse rcpt no-such-recipient nobody@corp.test 550 5.1.1 user unknown",
        );
        scene.visit.as_mut().unwrap().verified.push(Verified {
            recipient: "nobody@corp.test".to_owned(),
            host: "backend.corp.test".to_owned(),
            address: Some("127.0.0.20".parse().unwrap()),
            known: Known::No,
            reply: Some(reply("550 5.1.1 no such user")),
            cached: false,
        });
        scene.check(
            "own.no_recipient_check: nobody@corp.test is unknown at the backend 127.0.0.20 (550 5.1.1, checked during the session); \
             rejected instead of bouncing to forged@victim.test.",
        );
    }

    const BOUNCED: &str = "to nobody@corp.test
        from forged@victim.test
        local
        try backend.corp.test 127.0.0.20
          rcpt nobody@corp.test 550 5.1.1 no such user
          fail rcpt them 550 5.1.1 no such user
settings
[[domain]]
name = \"corp.test\"
next_hops = [\"127.0.0.20\"]";

    #[test]
    fn a_bounce_to_a_stranger_is_our_doing() {
        check(
            BOUNCED,
            "own.no_recipient_check: nobody@corp.test is unknown at the backend 127.0.0.20 (550 5.1.1), but this gateway accepts \
             every recipient of corp.test unchecked, so the bounce goes to forged@victim.test, who may be forged.",
        );
    }

    #[test]
    fn a_refusal_for_the_senders_sake_is_not() {
        let text = BOUNCED.replace("550 5.1.1 no such user", "550 5.7.1 Sender verify failed");
        let found = scene(&text).nothing_more().diagnose();
        assert!(found.findings.iter().all(|finding| finding.cause != "own.no_recipient_check"), "{found:?}");
    }
}
