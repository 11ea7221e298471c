//! Mail servers come to a listener that wants a password.

use super::mx;
use crate::diagnose::rules::said;
use crate::diagnose::words::Topic;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Listener};

rule! {
    /// The port that MX records lead to asks for a password
    ///
    /// Mail servers of others come to port 25 of the hosts that the MX records name, and have no password here. If the submission
    /// listener answers there, every one of them is refused with 530, and no mail comes in.
    ///
    /// Known by a refusal of the submission listener on the port of mail exchange, and by the MX records of our domains that lead to
    /// its address.
    ///
    /// The same happens one hop on, when the server behind the gateway demands a login of the gateway: its connector does not allow
    /// anonymous mail from here. Known by such a reply to a delivery to a next hop of our own domain.
    ///
    /// Let the inbound listener have that address and port (`listen.inbound` in gatepost.toml) and the submission listener
    /// port 587.
    "own.auth_required_on_mx", find
}

/// Domains whose MX is asked for.
const DOMAINS_MAX: usize = 3;

fn find(case: &Case<'_>) -> Answer {
    if case.attempt().is_some() {
        return backend(case).into();
    }
    let Some(visit) = case.visit().filter(|visit| visit.listener == Listener::Submission) else { return Answer::No };
    let Some(refusal) = visit.refused("auth-required").filter(|_| visit.user.is_none()) else { return Answer::No };
    if visit.local.port() != case.settings.delivery.port {
        return Answer::No;
    }
    let mut wanted = Vec::new();
    let mut led = None;
    for domain in case.settings.domains.iter().take(DOMAINS_MAX) {
        match mx::leads_to(case, &domain.name.ascii(), |address| {
            address == visit.local.ip() || case.identity.is_address(address)
        }) {
            mx::Leads::Here(how) => led = led.or(Some((domain.name.clone(), how))),
            mx::Leads::Ask(more) => wanted.extend(more),
            mx::Leads::Elsewhere => {}
        }
    }
    if led.is_none() && !wanted.is_empty() {
        return Answer::Ask(wanted);
    }
    let status = format!("{} {}", refusal.reply.code, refusal.reply.status());
    let mut finding = Finding::new(
        "own.auth_required_on_mx",
        Actor::OurSettings,
        match &led {
            Some((domain, how)) => format!(
                "The submission listener answers on {}, where the MX of {domain} leads ({}): {} and every other mail server gets \
                 {status}.",
                visit.local, how.host, visit.client
            ),
            None => format!(
                "The submission listener answers on {}, the port of mail exchange: {} and every other mail server gets {status}.",
                visit.local, visit.client
            ),
        },
    )
    .confidence(if led.is_some() { Confidence::Proven } else { Confidence::Likely })
    .evidence(format!("{} from {}: {}", refusal.stage, visit.client, refusal.reply))
    .disproof("a client there that is a user's program with a wrong password, and an inbound listener on the MX's address");
    if let Some((_, how)) = led {
        finding.evidence.extend(how.evidence);
    }
    finding
        .fix(format!("In gatepost.toml: put {} under `listen.inbound`, and submission on port 587.", visit.local))
        .fix("Restart the gateway.")
        .into()
}

/// The server behind demands a login of this gateway.
fn backend(case: &Case<'_>) -> Option<Finding> {
    if !said::is_backend(case) {
        return None;
    }
    let said = said::about(case, Topic::AuthRequired)?;
    let ours = said.tried.source.map_or_else(|| "this gateway".to_owned(), |source| source.to_string());
    let place = said.place();
    let offered = said.tried.capabilities.join(", ");
    Some(
        Finding::new(
            "own.auth_required_on_mx",
            Actor::OurServer,
            format!(
                "The backend {place} demands authentication from this gateway ({}), its connector does not allow anonymous \
                 mail from {ours}.",
                said.code(),
            ),
        )
        .severity(said::severity(case, &said))
        .confidence(Confidence::Likely)
        .evidence(said.quote())
        .evidence(format!("extensions offered: {offered}"))
        .disproof(format!("{} accepts the same message from {ours} without a login", said.tried.host))
        .fix(format!(
            "On {}: a receive connector (Exchange), mynetworks (Postfix) or the like that takes mail from {ours} without login.",
            said.tried.host
        ))
        .fix("Or route the domain to another port there: [[domain]] next_hops. A submission port (587) is not for this."),
    )
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};

    const SETTINGS: &str = "\nsettings\n[[domain]]\nname = \"corp.test\"\nnext_hops = [\"127.0.0.20\"]";
    const REFUSED: &str = "refuse mail auth-required - 530 5.7.0 Authentication required";

    #[test]
    fn a_password_on_the_mx_port_is_our_mistake() {
        scene(&format!("visit submission 127.0.1.10\nlocal 127.0.0.2:25\n{REFUSED}{SETTINGS}"))
            .answer("corp.test MX: 10 gw.corp.test")
            .answer("gw.corp.test A: 127.0.0.2")
            .answer("gw.corp.test AAAA: NODATA")
            .check(
                "own.auth_required_on_mx: The submission listener answers on 127.0.0.2:25, where the MX of corp.test leads \
                 (gw.corp.test): 127.0.1.10 and every other mail server gets 530 5.7.0.",
            );
    }

    #[test]
    fn on_the_submission_port_it_is_right() {
        check(&format!("visit submission 127.0.1.10\nlocal 127.0.0.2:587\n{REFUSED}{SETTINGS}"), "own.refused");
    }

    #[test]
    fn the_backend_wants_a_login_of_us() {
        let scene = "to u@corp.test
             local
             try 127.0.0.20 127.0.0.20
               mail 530 5.7.1 Client was not authenticated
               fail mail them 530 5.7.1 Client was not authenticated";
        check(
            scene,
            "own.auth_required_on_mx: The backend 127.0.0.20 demands authentication from this gateway (530 5.7.1), its \
             connector does not allow anonymous mail from 127.0.0.2.",
        );
        check(&scene.replace("             local\n", ""), "peer.auth_required");
    }
}
