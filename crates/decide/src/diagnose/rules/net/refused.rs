//! A host refuses the connection.

use super::{evidence, how, owner, preference, tried_place};
use crate::diagnose::{Answer, Case, connected, rule};
use mail::{Confidence, Connect, Finding, HostTry, Retry, Severity};

rule! {
    /// Connection refused
    ///
    /// The host answers at once, and says that nobody listens on the port (RST): the mail server is stopped, listens elsewhere,
    /// the address record leads to another machine, or a firewall rejects this gateway's address. It is no time-out: the host, or
    /// a firewall that speaks for it, is there.
    ///
    /// The host's owner starts the server or corrects the record. Other mail hosts of the domain are tried at once.
    "net.refused", find
}

fn find(case: &Case<'_>) -> Answer {
    let tries = case.tries();
    let refused: Vec<&HostTry> = tries.iter().filter(|tried| tried.connect == Connect::Refused).collect();
    let Some(first) = refused.first() else { return Answer::No };
    let through = case.went_through();
    let place = |tried: &HostTry| {
        if tried.port == 25 { tried_place(tried) } else { format!("{} port {}", tried_place(tried), tried.port) }
    };
    let sentence = match through {
        Some(tried) => {
            let preference = preference(case, &tried.host).map_or(String::new(), |number| format!(" (pref {number})"));
            format!("{} is up but refuses SMTP connections; delivered by {}{preference}.", place(first), tried.host)
        }
        // Somebody was talked to: what happened there matters, not this.
        None if tries.iter().any(connected) => {
            format!("{} is up but refuses SMTP connections; another host was reached.", place(first))
        }
        None => {
            let others: Vec<String> = tries
                .iter()
                .filter(|tried| tried.address != first.address)
                .map(|tried| format!("{}: {}", tried_place(tried), how(&tried.connect)))
                .collect();
            let others = if others.is_empty() { String::new() } else { format!(" (and {})", others.join(", ")) };
            format!(
                "{} is up but refuses SMTP connections{others}: no mail server listens there, or it rejects us.",
                place(first)
            )
        }
    };
    let mut finding = Finding::new("net.refused", owner(case), sentence)
        .confidence(Confidence::Proven)
        .retry(Retry::Helps { after_s: None })
        .disproof(format!("a connection to {} port {} that succeeds", first.address, first.port))
        .fix(format!(
            "The owner of {} starts the mail server on port {}, lets {} through, or corrects the address record.",
            first.host,
            first.port,
            first.source.map_or("this gateway".to_owned(), |source| source.to_string())
        ));
    if through.is_some() || tries.iter().any(connected) {
        let retry = if through.is_some() { Retry::NotNeeded } else { Retry::Helps { after_s: None } };
        finding = finding.severity(Severity::Warning).retry(retry);
    }
    finding.evidence = evidence(tries);
    finding.into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    const REFUSED: &str = "to a@ref.test
         dns ref.test MX: 10 mx1.ref.test, 20 mx2.ref.test
         try mx1.ref.test 127.0.0.41
           refused
           fail connect path [internal] 421 4.4.1 connection refused";

    #[test]
    fn the_next_mx_takes_the_mail() {
        check(
            &format!("{REFUSED}\n try mx2.ref.test 127.0.0.11\n final 250 2.0.0 ok"),
            "net.refused: mx1.ref.test (127.0.0.41) is up but refuses SMTP connections; delivered by mx2.ref.test (pref 20).",
        );
    }

    #[test]
    fn alone_it_is_the_failure() {
        check(
            REFUSED,
            "net.refused: mx1.ref.test (127.0.0.41) is up but refuses SMTP connections: no mail server listens there, or it \
             rejects us.",
        );
    }

    #[test]
    fn silence_is_no_refusal() {
        check(&REFUSED.replace("refused\n", "timeout 30000\n"), "net.timeout");
    }
}
