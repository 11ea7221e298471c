//! Denial: before mail is returned because DNS says that there is nothing, whether that word is fresh.
//!
//! Negative answers are kept, here and by resolvers (RFC 2308), sometimes for a day. A bounce is final: the zone's own name
//! servers are asked first. Their answer never leads the mail; it only has it wait.

use crate::core::{Core, InForce};
use crate::deliver::join_all;
use decide::diagnose::How;
use decide::route::{Plan, Route, Verdict, Way};
use mail::dns::{Answer, Kind, Outcome};
use mail::status;
use std::time::Duration;
use tokio::time::timeout;

/// The mail can wait for the next attempt as well.
const ASKING_MAX: Duration = Duration::from_secs(10);

/// Whether the route fails for good because of negative answers that were kept here: then all is worth asking anew.
pub(crate) fn is_from_cache(plan: &Plan, route: &Route, known: &[Answer]) -> bool {
    is_final(plan, route) && known.iter().any(|answer| is_negative(answer) && answer.cached)
}

/// Turns the route's final verdict into a temporary one if the zone's own servers have what the resolver denies.
pub(crate) async fn doubt(core: &Core, in_force: &InForce, plan: &Plan, route: &mut Route, known: &[Answer]) {
    if !is_final(plan, route) {
        return;
    }
    let stale = known.iter().filter(|answer| is_negative(answer) && is_aged(answer));
    let asks = stale.map(|answer| core.resolver.ask_as(&in_force.dns, answer.question.clone(), How::Authoritative));
    let Ok(answers) = timeout(ASKING_MAX, join_all(asks)).await else { return };
    if let Some(there) = answers.iter().find(|answer| answer.outcome == Outcome::Found) {
        let why =
            format!("{} at its own name server {}, but the resolver still denies it", there.summary(), there.server);
        route.notes.push(why.clone());
        route.verdict = Verdict::Failed(status::DNS_FAILED.with(why));
    }
}

fn is_final(plan: &Plan, route: &Route) -> bool {
    let denied = [status::NO_SUCH_DOMAIN.with("").enhanced, status::NO_MAIL_HOST.with("").enhanced];
    matches!(plan.way, Way::Mx { .. })
        && matches!(&route.verdict, Verdict::Failed(status) if status.is_permanent() && denied.contains(&status.enhanced))
}

fn is_negative(answer: &Answer) -> bool {
    matches!(answer.outcome, Outcome::NoData | Outcome::NoName) && matches!(answer.question.kind, Kind::Mx | Kind::A)
}

/// It was kept by the resolver for some time: less is left than the zone gives a fresh one.
fn is_aged(answer: &Answer) -> bool {
    answer.cached || answer.negative.as_ref().is_some_and(|negative| negative.left < negative.minimum)
}
