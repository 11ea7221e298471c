//! What is known of a status, a reply, a log line or a finding's id.

use crate::Problem;
use serde::Serialize;

pub trait ExplainReader: Send + Sync + 'static {
    /// Takes a text apart; what cannot be explained is [`Problem::Unknown`].
    fn explain(&self, text: &str) -> Result<Explained, Problem>;
}

/// What a text comes to; parts that it does not hold are absent.
#[derive(Clone, Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Explained {
    /// A finding's id in it, with its manual page in Markdown.
    pub finding: Option<FindingPage>,
    /// A status of the gateway's own making.
    pub status: Option<StatusPage>,
    /// An SMTP reply.
    pub reply: Option<ReplyPage>,
    /// An Audit ID in it.
    pub audit_id: Option<String>,
}

/// A finding's page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FindingPage {
    pub cause: String,
    pub title: String,
    /// Markdown, without the title.
    pub manual: String,
}

/// A status of the gateway's own making.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct StatusPage {
    pub id: String,
    pub status: String,
    pub stage: String,
    pub meaning: String,
    pub causes: String,
    pub fix: String,
}

/// What a reply's numbers and words say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ReplyPage {
    pub code: u16,
    /// `temporary: the message is tried again`.
    pub class: String,
    /// Given, or made from the code.
    pub enhanced: String,
    /// What its enhanced status stands for (RFC 3463).
    pub meaning: String,
    /// What its words are about.
    pub about: Vec<String>,
    pub text: String,
}
