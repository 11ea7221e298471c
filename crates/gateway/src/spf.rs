//! SPF of clients: asks DNS what `decide::spf` wants to know, beside the conversation.

use crate::clock::now;
use crate::core::{Core, InForce};
use decide::settings::{Settings, Spf};
use decide::spf::{Query, Step, check, fields};
use mail::{Listener, ReversePath, SpfCheck, SpfResult, dns};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// RFC 7208 4.6.4 asks for 20 seconds or more for the whole of it.
const EVALUATION_MAX: Duration = Duration::from_secs(20);

/// Who says that it sends as whom.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    client: IpAddr,
    helo: String,
    /// Empty: the null sender. Then the EHLO name is judged (RFC 7208 2.4).
    sender: String,
    local: String,
    domain: String,
    receiver: String,
}

impl Claim {
    pub(crate) fn new(client: IpAddr, helo: &str, sender: &ReversePath, in_force: &InForce) -> Claim {
        let (text, local, domain) = match sender.address() {
            Some(address) => (address.to_string(), address.local().to_owned(), address.domain().ascii().to_string()),
            None => (String::new(), String::new(), helo.to_owned()),
        };
        let receiver = in_force.hostname.as_str().to_owned();
        Claim { client, helo: helo.to_owned(), sender: text, local, domain, receiver }
    }

    fn query(&self) -> Query<'_> {
        Query {
            client: self.client,
            domain: &self.domain,
            local: &self.local,
            helo: &self.helo,
            receiver: &self.receiver,
            now: now(),
        }
    }
}

/// An evaluation that goes on while the client names its recipients; dropped, it ends.
#[derive(Debug)]
pub(crate) struct Evaluation {
    claim: Arc<Claim>,
    running: JoinSet<(SpfCheck, Vec<dns::Answer>)>,
    done: Option<SpfCheck>,
}

/// Whether anybody wants to know it of this client: the header, or greylisting.
pub(crate) fn is_wanted(settings: &Settings, listener: Listener, client: IpAddr, user: Option<&str>) -> bool {
    let asked = settings.door(listener).is_some_and(|door| door.spf != Spf::Off || !door.greylisting.delay.is_zero());
    asked && user.is_none() && !settings.is_internal(client)
}

impl Evaluation {
    pub(crate) fn start(core: &Arc<Core>, in_force: &Arc<InForce>, claim: Claim) -> Evaluation {
        let (claim, mut running) = (Arc::new(claim), JoinSet::new());
        running.spawn(evaluate(core.clone(), in_force.clone(), claim.clone()));
        Evaluation { claim, running, done: None }
    }

    /// What it came to; the first time with the answers that counted.
    pub(crate) async fn result(&mut self) -> (SpfCheck, Vec<dns::Answer>) {
        if let Some(done) = &self.done {
            return (done.clone(), Vec::new());
        }
        let (check, answers) = match self.running.join_next().await {
            Some(Ok(found)) => found,
            _ => (failed(&self.claim, "it was not evaluated"), Vec::new()),
        };
        self.done = Some(check.clone());
        (check, answers)
    }

    /// The header's fields about it.
    pub(crate) fn fields(&self, check: &SpfCheck) -> String {
        fields(&self.claim.query(), &self.claim.sender, check)
    }
}

async fn evaluate(core: Arc<Core>, in_force: Arc<InForce>, claim: Arc<Claim>) -> (SpfCheck, Vec<dns::Answer>) {
    let mut known: Vec<dns::Answer> = Vec::new();
    let rounds = async {
        loop {
            let step = check(&claim.query(), &|question| known.iter().find(|answer| answer.question == *question));
            match step {
                Step::Done(check) => return *check,
                Step::Ask(questions) => {
                    let asks = questions.into_iter().map(|question| core.resolver.ask(&in_force.dns, question));
                    known.extend(crate::deliver::join_all(asks).await);
                }
            }
        }
    };
    let found = timeout(EVALUATION_MAX, rounds).await;
    let check = found
        .unwrap_or_else(|_| failed(&claim, &format!("DNS took longer than {} s in all", EVALUATION_MAX.as_secs())));
    known.retain(|answer| check.asked.is_empty() || check.asked.contains(&answer.question));
    (check, known)
}

fn failed(claim: &Claim, why: &str) -> SpfCheck {
    SpfCheck {
        result: SpfResult::TempError,
        domain: claim.domain.clone(),
        record: None,
        path: Vec::new(),
        why: why.to_owned(),
        explanation: None,
        asked: Vec::new(),
        lookups: 0,
    }
}
