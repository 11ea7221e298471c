//! A peer refuses our sender because its domain is an internal name.

use super::sender::{self, Absent};
use crate::diagnose::{Answer, Case, rule};

rule! {
    /// Sender uses an internal host name
    ///
    /// A program on one of your machines sends with the machine's own name behind the @ (`www-data@web1.internal`). Such a name
    /// does not exist in public DNS, so that strict mail servers refuse the sender, often with 450, which looks temporary but is
    /// not: the mail would wait until it expires. Tolerant servers accept it.
    ///
    /// Known from the peer's words and our own lookup of the sender's domain. Set the program's sender, or rewrite it with
    /// `[[masquerade]]`.
    "env.sender_internal_name", find
}

fn find(case: &Case<'_>) -> Answer {
    sender::find_in(case, "env.sender_internal_name", |domain| sender::is_internal(domain).then_some(Absent::Internal))
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::scene;

    const REFUSED: &str = "to a@dest.test
        from www-data@web1.internal
        try mx.dest.test 127.0.0.11
          mail 250 ok
          rcpt a@dest.test 450 4.1.8 <www-data@web1.internal>: Sender address rejected: Domain not found
          fail rcpt them 450 4.1.8 no";
    const NONE: &str =
        "\ndns web1.internal MX: NXDOMAIN\ndns web1.internal A: NXDOMAIN\ndns web1.internal AAAA: NXDOMAIN";

    #[test]
    fn an_internal_name_is_not_in_public_dns() {
        let mut scene = scene(&format!("{REFUSED}{NONE}"));
        scene.check(
            "env.sender_internal_name: mx.dest.test refuses the sender domain web1.internal, which does not exist in public DNS; \
             a local program used its host name as sender.",
        );
        scene.around.sent.push(crate::diagnose::Sent {
            at: scene.now,
            peer: "127.0.0.1".parse().unwrap(),
            incoming: true,
            message_id: String::new(),
            in_reply_to: String::new(),
            sender: "www-data@web1.internal".to_owned(),
            recipients: Vec::new(),
            auto_submitted: false,
            size: 1,
        });
        scene.check(
            "env.sender_internal_name: mx.dest.test refuses the sender domain web1.internal, which does not exist in public DNS; \
             the local program on 127.0.0.1 used its host name as sender.",
        );
    }

    #[test]
    fn an_internal_name_that_our_resolver_knows_is_still_internal() {
        let inside = NONE.replace("A: NXDOMAIN", "A: 10.0.0.5").replace("MX: NXDOMAIN", "MX: NODATA");
        scene(&format!("{REFUSED}{inside}")).nothing_more().check("env.sender_internal_name");
    }

    #[test]
    fn a_public_name_that_resolves_is_the_peers_affair() {
        let text = REFUSED.replace("web1.internal", "web1.corp.test");
        let scene = scene(&format!(
            "{text}\ndns web1.corp.test MX: 10 mx.corp.test\ndns web1.corp.test A: NODATA\ndns web1.corp.test AAAA: NODATA"
        ));
        assert!(!scene.nothing_more().diagnose().findings.iter().any(|finding| finding.cause.starts_with("env.")));
    }

    #[test]
    fn another_refusal_is_another_cause() {
        let text = REFUSED
            .replace("4.1.8 <www-data@web1.internal>: Sender address rejected: Domain not found", "4.2.0 Greylisted");
        let scene = scene(&format!("{text}{NONE}")).nothing_more();
        assert!(!scene.diagnose().findings.iter().any(|finding| finding.cause.starts_with("env.")));
    }
}
