//! Case: everything that a rule may look at.

use super::{Around, Bounce, ContentFacts, Experiment, Look, Result, words};
use crate::Settings;
use mail::dns::{Answer as DnsAnswer, Kind, Outcome, Question};
use mail::{Attempt, Connect, Failure, HostTry, Identity, Reply, Stage, Time, Visit};
use std::net::IpAddr;

/// What is to be explained.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// An attempt to deliver, failed or not.
    Attempt(&'a Attempt),
    /// A client's connection, refused or not.
    Visit(&'a Visit),
    /// What another server wrote about mail that never came here.
    Bounce(&'a Bounce),
}

/// The facts.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    pub what: What<'a>,
    pub identity: &'a Identity,
    pub settings: &'a Settings,
    /// What the content looks like, if there was some and it was looked at.
    pub content: Option<&'a ContentFacts>,
    /// What else happened here lately.
    pub around: &'a Around,
    /// Experiments made so far for this case.
    pub looks: &'a [Look],
    pub now: Time,
}

impl<'a> Case<'a> {
    pub fn attempt(&self) -> Option<&'a Attempt> {
        if let What::Attempt(attempt) = self.what { Some(attempt) } else { None }
    }

    pub fn visit(&self) -> Option<&'a Visit> {
        if let What::Visit(visit) = self.what { Some(visit) } else { None }
    }

    pub fn bounce(&self) -> Option<&'a Bounce> {
        if let What::Bounce(bounce) = self.what { Some(bounce) } else { None }
    }

    /// Hosts tried in the attempt.
    pub fn tries(&self) -> &'a [HostTry] {
        self.attempt().map_or(&[], |attempt| &attempt.tries)
    }

    /// The last host tried.
    pub fn last(&self) -> Option<&'a HostTry> {
        self.tries().last()
    }

    /// The last host tried, if trying it failed, and how.
    pub fn failed(&self) -> Option<(&'a HostTry, &'a Failure)> {
        let tried = self.last()?;
        Some((tried, tried.failure.as_ref()?))
    }

    /// Whether a host took the message for at least one recipient.
    pub fn delivered(&self) -> bool {
        self.tries().iter().any(delivered)
    }

    /// The host that took the message for all recipients, nothing refused: only then is an oddity on the way no cause of
    /// a failure.
    pub fn went_through(&self) -> Option<&'a HostTry> {
        let last = self.last().filter(|last| delivered(last) && last.failure.is_none())?;
        last.rcpt.iter().all(|said| said.reply.is_positive()).then_some(last)
    }

    /// Refusals that a peer spoke, in the order spoken: `(host, stage, reply)`. 4xx and 5xx alike.
    pub fn refusals(&self) -> Vec<(&'a HostTry, Stage, &'a Reply)> {
        let mut all = Vec::new();
        for tried in self.tries() {
            let mut add = |stage, reply: Option<&'a Reply>| {
                all.extend(reply.filter(|reply| reply.code >= 400).map(|reply| (tried, stage, reply)));
            };
            add(Stage::Banner, tried.banner.as_ref());
            add(Stage::Ehlo, tried.greeted.as_ref().filter(|_| !tried.helo_only));
            add(Stage::Mail, tried.mail_reply.as_ref());
            for said in &tried.rcpt {
                add(Stage::Rcpt, Some(&said.reply));
            }
            add(Stage::Data, tried.data_refusal());
            add(Stage::FinalReply, tried.final_reply.as_ref());
        }
        all
    }

    /// The first refusal whose words are about this topic.
    pub fn refusal_about(&self, topic: words::Topic) -> Option<(&'a HostTry, Stage, &'a Reply)> {
        self.refusals().into_iter().find(|(_, _, reply)| words::topics(reply).contains(&topic))
    }

    /// The answer to a question, of the attempt, the visit, or an experiment that asked in the usual way.
    pub fn dns(&self, name: &str, kind: Kind) -> Option<&'a DnsAnswer> {
        let question = Question::new(name, kind);
        let recorded: &[DnsAnswer] = match self.what {
            What::Attempt(attempt) => &attempt.dns,
            What::Visit(visit) => &visit.dns,
            What::Bounce(_) => &[],
        };
        let looked = self.looks.iter().filter_map(|look| match &look.result {
            Result::Answer(answer) if look.experiment.is_usual() => Some(answer),
            _ => None,
        });
        recorded.iter().chain(looked).find(|answer| answer.question == question)
    }

    /// What an experiment showed; `None`: it has not been made. `Some(NotMade)`: it will not be.
    pub fn look(&self, experiment: &Experiment) -> Option<&'a Result> {
        self.looks.iter().find(|look| look.experiment == *experiment).map(|look| &look.result)
    }

    /// Addresses of a name, if both families were asked for or one is enough to know.
    pub fn addresses(&self, name: &str) -> Vec<IpAddr> {
        [Kind::A, Kind::Aaaa]
            .into_iter()
            .filter_map(|kind| self.dns(name, kind))
            .flat_map(DnsAnswer::addresses)
            .collect()
    }

    /// Both A and AAAA were answered, and there is none.
    pub fn has_no_address(&self, name: &str) -> bool {
        let none = |kind| {
            self.dns(name, kind).is_some_and(|answer| matches!(answer.outcome, Outcome::NoData | Outcome::NoName))
        };
        none(Kind::A) && none(Kind::Aaaa)
    }
}

/// Whether this host took the message.
pub fn delivered(tried: &HostTry) -> bool {
    tried.final_reply.as_ref().is_some_and(Reply::is_positive)
}

/// Whether TCP came about.
pub fn connected(tried: &HostTry) -> bool {
    matches!(tried.connect, Connect::Made { .. })
}
