//! The relay host does not let this login use this sender.

use crate::diagnose::rules::said::{self, Said};
use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Stage, Via};

rule! {
    /// Sender not allowed for this login
    ///
    /// The host lets a login use only certain sender addresses. What has another sender is refused: bounces (the empty
    /// sender), forwarded mail, mail of a second domain. The refusal often comes to RCPT although it is about the sender.
    ///
    /// Known by the host's words, or because a relay host refuses at MAIL or RCPT and quotes the sender, or refuses one sender
    /// and takes another.
    ///
    /// Ask the provider to allow all your domains and the empty sender; or rewrite senders ([[masquerade]]); or use another
    /// relay host for bounces and forwarded mail.
    "peer.sender_not_authorised", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt() else { return Answer::No };
    let Some((said, confidence)) = refused(case) else { return Answer::No };
    let place = said.place();
    let user = case.settings.other.user.clone().filter(|_| attempt.via == Via::RelayHost);
    let login = words::sender_login(said.reply).filter(|login| *login != attempt.sender).or(user);
    let mut senders = vec![said::sender(&attempt.sender)];
    let mut taken = Vec::new();
    for seen in said::before(case, said.tried) {
        let is_same = seen.reply.as_ref().is_some_and(|reply| {
            reply.code / 100 == 5 && (words::is_about(reply, Topic::SenderNotAllowed) || reply == said.reply)
        });
        if is_same {
            said::push_new(&mut senders, said::sender(&seen.sender));
        } else if seen.delivered {
            said::push_new(&mut taken, said::sender(&seen.sender));
        }
    }
    let accepts = match (&login, taken.as_slice()) {
        (Some(login), _) => format!("accepts only senders of the login {login}"),
        (None, []) => "does not accept this sender".to_owned(),
        (None, taken) => format!("accepts only certain senders ({} passed)", said::list(taken)),
    };
    let was = if senders.len() == 1 { "was" } else { "were" };
    let sentence =
        format!("{place} {accepts}; refused {was} {} ({} at {}).", said::list(&senders), said.code(), said.stage);
    let is_ours = said::is_configured(case);
    let mut finding = Finding::new(
        "peer.sender_not_authorised",
        if is_ours { Actor::OurSettings } else { Actor::TheirPolicy },
        sentence,
    )
    .severity(said::severity(case, &said))
    .confidence(confidence)
    .evidence(said.quote())
    .evidence(format!("MAIL FROM:<{}>", attempt.sender))
    .disproof(format!(
        "mail from {} that {} accepts in a session of the same login",
        said::sender(&attempt.sender),
        said.tried.host
    ));
    if !taken.is_empty() {
        finding = finding.evidence(format!("senders that passed there lately: {}", said::list(&taken)));
    }
    if is_ours {
        finding
            .fix("Ask the relay host's provider to allow all your domains and the empty sender for this login.")
            .fix("Or rewrite the senders to one that is allowed: [[masquerade]]; or use another relay host for forwarded mail and bounces.")
    } else {
        finding.fix(format!("Ask the postmaster of {} why {} is not accepted.", said.tried.host, said::sender(&attempt.sender)))
    }
    .into()
}

fn refused<'a>(case: &Case<'a>) -> Option<(Said<'a>, Confidence)> {
    let attempt = case.attempt()?;
    if let Some(said) = said::about(case, Topic::SenderNotAllowed) {
        return Some((said, Confidence::Likely));
    }
    let said = said::decisive(case)?;
    let is_login = attempt.via == Via::RelayHost && case.settings.other.user.is_some();
    let is_early = matches!(said.stage, Stage::Mail | Stage::Rcpt) && said.reply.is_permanent();
    let topic = words::topic(said.reply);
    let is_open = topic.is_none() || (topic == Some(Topic::NullSender) && attempt.sender.is_empty());
    if !is_login || !is_early || !is_open {
        return None;
    }
    let quotes = !attempt.sender.is_empty() && words::quotes(said.reply, &attempt.sender);
    let others = said::before(case, said.tried).any(|seen| seen.delivered && seen.sender != attempt.sender);
    let bare_mail = said.stage == Stage::Mail;
    match (quotes, others) {
        (true, _) | (_, true) if bare_mail || quotes => Some((said, Confidence::Likely)),
        (_, true) => Some((said, Confidence::Possible)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    const USER: &str =
        "\nsettings\n[route.other]\nnext_hops = [\"smart.test\"]\nuser = \"relay@corp.test\"\npassword_file = \"/p\"";

    fn relayed(sender: &str, rcpt: &str) -> String {
        format!(
            "to a@dest.test
             from {sender}
             via relay-host
             try smart.test 127.0.0.11
               banner 220 smart.test
               caps AUTH PLAIN
               tls TLSv1.3
               mail 250 ok
               rcpt a@dest.test {rcpt}
               fail rcpt them {rcpt}{USER}"
        )
    }

    #[test]
    fn the_login_owns_other_senders() {
        check(
            &relayed(
                "u@corp.test",
                "553 5.7.1 <u@corp.test>: Sender address rejected: not owned by user relay@corp.test",
            ),
            "peer.sender_not_authorised: smart.test (127.0.0.11) accepts only senders of the login relay@corp.test; refused was \
             u@corp.test (553 5.7.1 at RCPT TO).",
        );
    }

    #[test]
    fn without_words_a_quoted_sender_tells() {
        check(&relayed("x@foreign.test", "553 5.7.1 <x@foreign.test> refused"), "peer.sender_not_authorised");
    }

    #[test]
    fn a_refused_recipient_is_not_a_refused_sender() {
        check(&relayed("u@corp.test", "550 5.1.1 <a@dest.test> unknown"), "rcpt.unknown");
        check(&relayed("u@corp.test", "554 5.7.1 <a@dest.test> refused"), "peer.refused");
    }
}
