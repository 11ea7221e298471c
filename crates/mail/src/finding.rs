//! Finding: the one cause of a failure, with its evidence and its fix. Rules make them (decide::diagnose), everything else
//! shows them.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// How much a finding weighs, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Mail is stuck, refused or lost by it.
    Failure,
    /// Mail went through in spite of it; elsewhere or next time it may not.
    Warning,
    /// Worth knowing; nothing is wrong.
    Info,
}

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// The facts admit no other cause.
    Proven,
    /// The usual cause of these facts.
    Likely,
    /// One of several.
    Possible,
}

impl Confidence {
    pub fn name(self) -> &'static str {
        match self {
            Confidence::Proven => "proven",
            Confidence::Likely => "likely",
            Confidence::Possible => "possible",
        }
    }
}

/// Who must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Actor {
    OurSettings,
    OurNetwork,
    OurReputation,
    /// DNS records that we publish.
    OurDns,
    /// A mail server of ours behind the gateway.
    OurServer,
    TheirDns,
    TheirHost,
    TheirPolicy,
    TheSender,
    TheContent,
    /// Wait.
    Nobody,
}

impl Actor {
    /// The words for people.
    pub fn name(self) -> &'static str {
        match self {
            Actor::OurSettings => "us: settings",
            Actor::OurNetwork => "us: network",
            Actor::OurReputation => "us: reputation",
            Actor::OurDns => "us: DNS",
            Actor::OurServer => "us: the mail server behind",
            Actor::TheirDns => "them: DNS",
            Actor::TheirHost => "them: host",
            Actor::TheirPolicy => "them: policy",
            Actor::TheSender => "the sender",
            Actor::TheContent => "the content",
            Actor::Nobody => "nobody: wait",
        }
    }
}

/// Whether trying again will help.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retry {
    /// It will, by itself; no sooner than after so many seconds, if that is known.
    Helps { after_s: Option<u64> },
    /// Only after somebody has acted.
    AfterFix,
    /// Never for this message.
    Useless,
    /// The message went through.
    NotNeeded,
}

/// One cause, named and proven as far as the facts go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable id: `dns.mx_target_missing`. `gatepost explain ID` prints its manual page.
    pub cause: Cow<'static, str>,
    /// One sentence with the concrete names, addresses and codes.
    pub sentence: String,
    /// Facts, one each, as they were seen: DNS answers, replies, times, results of experiments.
    pub evidence: Vec<String>,
    pub severity: Severity,
    pub confidence: Confidence,
    pub actor: Actor,
    pub retry: Retry,
    /// What seen would show that the finding is wrong.
    pub disproof: String,
    /// What to do, step by step, with the exact setting or record.
    pub fix: Vec<String>,
}

impl Finding {
    /// A failure, likely, to be fixed before a retry helps; builders below say what is different.
    pub fn new(cause: &'static str, actor: Actor, sentence: impl Into<String>) -> Finding {
        Finding {
            cause: Cow::Borrowed(cause),
            sentence: sentence.into(),
            evidence: Vec::new(),
            severity: Severity::Failure,
            confidence: Confidence::Likely,
            actor,
            retry: Retry::AfterFix,
            disproof: String::new(),
            fix: Vec::new(),
        }
    }

    #[must_use]
    pub fn evidence(mut self, fact: impl Into<String>) -> Finding {
        self.evidence.push(fact.into());
        self
    }

    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Finding {
        self.severity = severity;
        self
    }

    #[must_use]
    pub fn confidence(mut self, confidence: Confidence) -> Finding {
        self.confidence = confidence;
        self
    }

    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Finding {
        self.retry = retry;
        self
    }

    #[must_use]
    pub fn disproof(mut self, text: impl Into<String>) -> Finding {
        self.disproof = text.into();
        self
    }

    #[must_use]
    pub fn fix(mut self, step: impl Into<String>) -> Finding {
        self.fix.push(step.into());
        self
    }
}

/// `dns.mx_target_missing: typo.test's only MX …`
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause, self.sentence)
    }
}
