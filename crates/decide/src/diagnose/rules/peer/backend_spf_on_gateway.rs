//! A server behind the gateway judges the gateway as if it were the sender.

use crate::diagnose::rules::said;
use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Answer, Case, Experiment, rule};
use mail::dns::{Data, Kind, Question};
use mail::{Actor, Confidence, Finding, Retry};
use std::net::IpAddr;

rule! {
    /// The server behind checks this gateway's address
    ///
    /// The mail server behind the gateway evaluates SPF, DMARC, a block list, reverse DNS, greylisting or rates for the address
    /// that connects: this gateway's. For mail from outside that is the wrong address, and SPF must fail. The sender's records
    /// may be in order.
    ///
    /// Known by such a refusal from a next hop of one of our own domains. The address of the real client stands in the newest
    /// Received field; where the sender's SPF record names it, that is shown.
    ///
    /// Tell the server behind that this gateway is a trusted forwarder: mynetworks or an exemption in Postfix, a receive
    /// connector or "enhanced filtering" in Exchange, trusted networks in rspamd and SpamAssassin.
    "peer.backend_spf_on_gateway", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt().filter(|_| said::is_backend(case)) else { return Answer::No };
    let wanted = [Topic::Spf, Topic::Dmarc, Topic::BlockList, Topic::ReverseDns, Topic::Greylist, Topic::Rate];
    let found = said::refusals(case).into_iter().find_map(|said| {
        let topic = words::topic(said.reply).filter(|topic| wanted.contains(topic))?;
        Some((said, topic))
    });
    let Some((said, topic)) = found else { return Answer::No };
    let Some(ours) = said.our_address() else { return Answer::No };
    let domain = attempt.sender.rsplit_once('@').map(|(_, domain)| domain.to_owned());
    let client = client(case);
    let is_spf = matches!(topic, Topic::Spf | Topic::Dmarc);
    if let Some(domain) = domain.as_ref().filter(|_| is_spf) {
        let ask = Experiment::ask(Question::new(domain, Kind::Txt));
        if case.look(&ask).is_none() && case.dns(domain, Kind::Txt).is_none() {
            return Answer::Ask(vec![ask]);
        }
    }
    let record = domain.as_ref().and_then(|domain| record(case, domain));
    let of = domain.clone().unwrap_or_else(|| "the empty sender".to_owned());
    let backend = if said.tried.host == said.tried.address.to_string() {
        format!("The backend {}", said.tried.address)
    } else {
        format!("The backend {}", said.place())
    };
    let checked = match topic {
        Topic::Spf => format!("checked SPF of {of} against this gateway's address {ours}"),
        Topic::Dmarc => format!("checked DMARC of {of} for mail from this gateway's address {ours}"),
        Topic::BlockList => format!("looked this gateway's own address {ours} up on a block list"),
        Topic::ReverseDns => format!("checked the reverse DNS of this gateway's own address {ours}"),
        Topic::Greylist => format!("greylists this gateway's own address {ours}"),
        _ => format!("limits the rate of this gateway's own address {ours}"),
    };
    let named = record.as_deref().zip(client).is_some_and(|(record, client)| names(record, client));
    let real = match client {
        Some(client) if is_spf && named => format!("; for the real client {client} SPF passes"),
        Some(client) => format!("; the real client was {client}"),
        None => String::new(),
    };
    let mut finding = Finding::new(
        "peer.backend_spf_on_gateway",
        Actor::OurServer,
        format!("{backend} {checked} ({}){real}.", said.code()),
    )
    .severity(said::severity(case, &said))
    .confidence(if named || words::quotes(said.reply, &ours.to_string()) {
        Confidence::Proven
    } else {
        Confidence::Likely
    })
    .retry(if topic == Topic::Greylist {
        Retry::Helps { after_s: Some(words::delay(said.reply).map_or(300, |delay| delay.as_secs())) }
    } else {
        Retry::AfterFix
    })
    .evidence(said.quote())
    .disproof(format!("{} refuses the same message from a client that it trusts", said.tried.host));
    if let Some(record) = record {
        finding = finding.evidence(format!("{of} TXT: \"{record}\""));
    }
    if let Some(client) = client {
        finding = finding.evidence(format!("newest Received field: from {client}"));
    }
    finding
        .fix(format!("On {}: exempt {ours} from SPF, DMARC, block lists, reverse DNS, greylisting and rate limits (trusted forwarder).", said.tried.host))
        .fix("Leave these checks to this gateway, which sees the real client.")
        .into()
}

/// The client that gave us the message, if it came from outside.
fn client(case: &Case<'_>) -> Option<IpAddr> {
    case.content?
        .received
        .iter()
        .find_map(|hop| hop.address)
        .filter(|address| !case.identity.addresses.contains(address))
}

/// The domain's SPF record.
fn record(case: &Case<'_>, domain: &str) -> Option<String> {
    case.dns(domain, Kind::Txt)?.data().find_map(|data| match data {
        Data::Text(text) if text.to_ascii_lowercase().starts_with("v=spf1") => Some(text.clone()),
        _ => None,
    })
}

/// Whether a record names the address by `ip4:` or `ip6:` itself. Other mechanisms would need more questions.
fn names(record: &str, client: IpAddr) -> bool {
    record.split_whitespace().filter_map(|term| term.strip_prefix('+').unwrap_or(term).split_once(':')).any(
        |(kind, value)| {
            if !kind.eq_ignore_ascii_case("ip4") && !kind.eq_ignore_ascii_case("ip6") {
                return false;
            }
            value.parse::<IpAddr>().is_ok_and(|address| address == client)
                || value.parse::<ipnet::IpNet>().is_ok_and(|net| net.contains(&client))
        },
    )
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};
    use crate::diagnose::{ContentFacts, Hop};

    const REFUSED: &str = "to u@corp.test
        from a@ext.test
        local
        dns ext.test TXT: \"v=spf1 ip4:127.0.1.10 -all\"
        try 127.0.0.20 127.0.0.20
          mail 250 ok
          rcpt u@corp.test 550 5.7.23 SPF fail ip=127.0.0.2
          fail rcpt them 550 5.7.23 SPF fail ip=127.0.0.2";

    #[test]
    fn the_backend_checks_our_address() {
        let mut scene = scene(REFUSED);
        let hop = Hop { address: Some("127.0.1.10".parse().unwrap()), ..Hop::default() };
        scene.content = Some(ContentFacts { received: vec![hop], ..ContentFacts::default() });
        scene.check(
            "peer.backend_spf_on_gateway: The backend 127.0.0.20 checked SPF of ext.test against this gateway's address \
             127.0.0.2 (550 5.7.23); for the real client 127.0.1.10 SPF passes.",
        );
    }

    #[test]
    fn a_greylist_of_the_backend_is_a_setting_there() {
        check(
            &REFUSED.replace("550 5.7.23 SPF fail ip=127.0.0.2", "450 4.2.0 Greylisted"),
            "peer.backend_spf_on_gateway",
        );
    }

    #[test]
    fn other_hosts_and_other_reasons_are_not_meant() {
        check(&REFUSED.replace("550 5.7.23 SPF fail ip=127.0.0.2", "550 5.1.1 unknown user"), "rcpt.unknown");
        check(
            &REFUSED.replace("        local\n", "").replace("550 5.7.23 SPF fail ip=127.0.0.2", "450 4.2.0 Greylisted"),
            "peer.greylist",
        );
    }
}
