//! What a domain's SPF record says of an address (RFC 7208), and by which of its terms.

use crate::dns::Question;
use serde::{Deserialize, Serialize};
use std::fmt;

/// RFC 7208 2.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpfResult {
    /// There is no record, or no domain that could have one.
    None,
    Neutral,
    Pass,
    Fail,
    SoftFail,
    /// DNS did not answer: nothing is known.
    TempError,
    /// The record cannot be understood, or asks too much.
    PermError,
}

impl SpfResult {
    /// As in Received-SPF and Authentication-Results.
    pub fn name(self) -> &'static str {
        match self {
            SpfResult::None => "none",
            SpfResult::Neutral => "neutral",
            SpfResult::Pass => "pass",
            SpfResult::Fail => "fail",
            SpfResult::SoftFail => "softfail",
            SpfResult::TempError => "temperror",
            SpfResult::PermError => "permerror",
        }
    }
}

impl fmt::Display for SpfResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A term of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpfLink {
    /// Whose record.
    pub domain: String,
    /// As written there.
    pub term: String,
}

/// One evaluation, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpfCheck {
    pub result: SpfResult,
    /// Whose record decided first.
    pub domain: String,
    /// The domain's own record, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<String>,
    /// The way to the term that decided: includes and redirects, and the term itself at the end. Of an error: to where it
    /// is. Empty: no term matched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<SpfLink>,
    /// Why there is no result, or none but the default; empty if a term matched.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The domain's own words about a failure (`exp=`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
    /// Questions whose answers counted, in the order in which they were needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Question>,
    /// Terms that needed DNS; RFC 7208 4.6.4 allows ten.
    #[serde(default)]
    pub lookups: u32,
}

impl SpfCheck {
    /// The term that decided.
    pub fn term(&self) -> Option<&SpfLink> {
        self.path.last()
    }
}

/// `fail by "-all" of corp.test`, `pass by "ip4:192.0.2.1" of spf.corp.test, included by corp.test`,
/// `permerror: corp.test has 2 SPF records`.
impl fmt::Display for SpfCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.result.name())?;
        if !self.why.is_empty() {
            return write!(f, ": {}", self.why);
        }
        let Some((last, before)) = self.path.split_last() else { return Ok(()) };
        write!(f, " by \"{}\" of {}", last.term, last.domain)?;
        for link in before.iter().rev() {
            let by_redirect = link.term.to_ascii_lowercase().starts_with("redirect");
            write!(f, ", {} by {}", if by_redirect { "redirected to" } else { "included" }, link.domain)?;
        }
        Ok(())
    }
}
