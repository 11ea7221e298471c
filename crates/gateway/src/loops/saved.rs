//! When settings are saved: ways that lead back here by what DNS says now, found with the routing code that deliveries use.

use crate::core::{Core, InForce};
use crate::deliver;
use decide::loops::setting;
use decide::outcome::is_loop;
use decide::route::Verdict;
use decide::settings::{Complaint, Host, Mailboxes, NextHops, Settings};
use mail::{Domain, Status};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::timeout;

/// Whoever saves settings waits; what DNS has not answered by then is not known, and unknown is not no.
const PATIENCE: Duration = Duration::from_secs(5);
/// Domains looked at; mail for the others is looked at when there is some.
const DOMAINS_MAX: usize = 100;

/// A way to look at: the mail of this domain, and where the document names it.
struct Way {
    domain: Domain,
    path: String,
    line: Option<usize>,
    /// `mail for corp.test`, or the alias that leads there.
    begins: String,
}

/// Complaints about domains, aliases and relay hosts whose mail would come back here.
pub(crate) async fn leading_back(core: &Core, would_be: &InForce) -> Vec<Complaint> {
    let looks = ways(&would_be.settings).into_iter().take(DOMAINS_MAX).map(async |way| {
        let status = timeout(PATIENCE, verdict(core, would_be, &way.domain)).await.ok().flatten()?;
        let cycle = status.text.strip_prefix("mail loop: ").unwrap_or(&status.text);
        Some(Complaint {
            path: way.path,
            line: way.line,
            value: String::new(),
            problem: format!("leads back here: {}{cycle}", way.begins),
            suggestion: format!(
                "name the server behind the gateway, or mend DNS; it is due to {}",
                setting(&would_be.settings, &way.domain.ascii(), via(&would_be.settings, &way.domain))
            ),
        })
    });
    deliver::join_all(looks).await.into_iter().flatten().collect()
}

async fn verdict(core: &Core, would_be: &InForce, domain: &Domain) -> Option<Status> {
    let plan = deliver::plan_of(would_be, &decide::route::lane(domain));
    let (route, _) = deliver::find_route(core, would_be, &plan).await;
    match route.verdict {
        Verdict::Failed(status) if is_loop(&status) => Some(status),
        _ => None,
    }
}

fn via(settings: &Settings, domain: &Domain) -> mail::Via {
    let local = settings.local_domain(domain);
    match local.map_or(&settings.other.next_hops, |local| local.next_hops.as_ref().unwrap_or(&settings.local_next_hops))
    {
        NextHops::Mx => mail::Via::Mx,
        NextHops::Hops(_) if local.is_some() => mail::Via::NextHops,
        NextHops::Hops(_) => mail::Via::RelayHost,
    }
}

/// What DNS has a say in: domains by their MX or with next hops by name, the relay hosts by name, and where aliases lead.
fn ways(settings: &Settings) -> Vec<Way> {
    let mut ways: BTreeMap<String, Way> = BTreeMap::new();
    let by_dns = |hops: &NextHops| match hops {
        NextHops::Mx => true,
        NextHops::Hops(hops) => hops.iter().any(|hop| matches!(hop.host, Host::Name(_))),
    };
    for local in settings.domains.iter() {
        let (hops, path) = match &local.next_hops {
            Some(hops) => (hops, format!("domain[{}].next_hops", local.name)),
            None => (&settings.local_next_hops, "route.local.next_hops".to_owned()),
        };
        if by_dns(hops) {
            let domain = local.name.clone();
            ways.insert(domain.ascii(), Way { domain, path, line: local.line, begins: "mail for ".to_owned() });
        }
    }
    let relays = matches!(&settings.other.next_hops, NextHops::Hops(_));
    // Any domain that is not ours goes this way; this one is nobody's (RFC 2606 2).
    if let (true, true, Ok(domain)) = (relays, by_dns(&settings.other.next_hops), "elsewhere.invalid".parse::<Domain>())
    {
        let path = "route.other.next_hops".to_owned();
        ways.insert(domain.ascii(), Way { domain, path, line: None, begins: "all other mail, such as ".to_owned() });
    }
    for alias in settings.aliases.iter() {
        for to in &alias.to {
            let domain = match to {
                Mailboxes::One(address) => address.domain().clone(),
                Mailboxes::Domain(domain) => domain.clone(),
            };
            let is_alias = settings.aliases.iter().any(|other| match (&other.from, to) {
                (Mailboxes::Domain(from), _) => from.ascii() == domain.ascii(),
                (from, to) => from.key() == to.key(),
            });
            if !relays && !is_alias && settings.local_domain(&domain).is_none() {
                let path = format!("alias[{}].to", alias.from.key());
                let begins = format!("{} → {to} → ", alias.from);
                ways.entry(domain.ascii()).or_insert(Way { domain, path, line: None, begins });
            }
        }
    }
    ways.into_values().collect()
}
