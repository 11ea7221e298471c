//! The recipient does not exist.

use crate::diagnose::rules::said::{self, Said};
use crate::diagnose::words::Topic;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry, Stage};

rule! {
    /// Recipient does not exist
    ///
    /// The host that takes the domain's mail says that there is no such mailbox, or that it is closed. The address is mistyped,
    /// or its owner has left.
    ///
    /// Known by x.1.1, x.2.1 or words of that meaning, at RCPT or after the content. Refusals of the sender, of relaying or of
    /// our address come with 550 as well, and are not meant.
    ///
    /// The sender corrects the address. For a server behind the gateway: give the gateway the list of recipients, so that such
    /// mail is refused at the door.
    "rcpt.unknown", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt() else { return Answer::No };
    let unknown: Vec<Said<'_>> = said::refusals(case)
        .into_iter()
        .filter(|said| said.stage >= Stage::Rcpt && said.is_about(Topic::NoSuchUser))
        .collect();
    let Some(said) = unknown.first() else { return Answer::No };
    let recipients: Vec<&str> = match said.recipient {
        Some(_) => unknown.iter().filter(|other| other.at == said.at).filter_map(|said| said.recipient).collect(),
        None => attempt.recipients.iter().map(String::as_str).collect(),
    };
    let exists = if recipients.len() == 1 { "does" } else { "do" };
    let sentence = format!(
        "{} says that {} {exists} not exist there or takes no mail ({}).",
        said.place(),
        said::list(&recipients),
        said.code(),
    );
    let mut finding = Finding::new("rcpt.unknown", Actor::TheSender, sentence)
        .severity(said::severity(case, said))
        .confidence(Confidence::Likely)
        .retry(if said.reply.is_permanent() { Retry::Useless } else { Retry::Helps { after_s: None } })
        .disproof(format!("{} accepts the same recipient from another sender at the same time", said.tried.host));
    finding.evidence.extend(unknown.iter().take(3).map(Said::quote));
    finding = finding.fix(format!("The sender checks the spelling of {}.", said::list(&recipients)));
    if said::is_backend(case) {
        finding = finding.fix(format!(
            "If they should exist, add them on {}; give this gateway the list of recipients: [[domain]] {} recipients.",
            said.tried.host, attempt.domain
        ));
    }
    finding.into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    fn refused(words: &str) -> String {
        format!(
            "to a@dest.test\ntry mx.dest.test 127.0.0.11\nmail 250 ok\nrcpt a@dest.test {words}\nfail rcpt them {words}"
        )
    }

    #[test]
    fn there_is_no_such_user() {
        check(
            &refused("550 5.1.1 <a@dest.test>: Recipient address rejected: User unknown in virtual mailbox table"),
            "rcpt.unknown: mx.dest.test (127.0.0.11) says that a@dest.test does not exist there or takes no mail (550 5.1.1).",
        );
        check(&refused("550 No such user here"), "rcpt.unknown");
    }

    #[test]
    fn data_without_recipients_says_nothing_of_the_recipient() {
        check(
            "to a@dest.test\ntry mx.dest.test 127.0.0.11\nmail 250 ok\nrcpt a@dest.test 450 4.2.0 come back later\ndata 554 5.5.1 no valid recipients\nfail rcpt them 450 4.2.0 come back later",
            "peer.greylist",
        );
    }

    #[test]
    fn what_else_is_refused_at_rcpt_is_not_the_recipient() {
        check(&refused("550 Sender verify failed"), "peer.refused");
        check(
            &refused("504 5.5.2 <gw.corp.test>: Helo command rejected: need fully-qualified hostname"),
            "peer.refused",
        );
        check(&refused("550 5.7.1 refused"), "peer.refused");
        check(&refused("554 5.7.1 Relay access denied"), "peer.relay_denied");
    }
}
