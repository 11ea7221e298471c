//! What became of a scenario.

use std::fmt;

use serde::Serialize;

use super::Mark;

/// The result of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    pub name: String,
    pub passed: bool,
    pub seconds: f64,
    /// How many steps were done.
    pub steps: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Expectations that were not met, if the run went on after them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missed: Vec<Failure>,
    /// One for each `expect_finding`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub marks: Vec<Mark>,
    /// What peers, DNS and the gateway have to say about a failure.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<String>,
}

/// The step that failed, and why.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// Counted from 1; 0 is what comes before the first step, and none is what comes after the last.
    pub step: Option<usize>,
    pub word: String,
    pub why: String,
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.passed { "pass" } else { "FAIL" };
        write!(out, "{word}  {}  ({:.1} s)", self.name, self.seconds)?;
        let Some(failure) = &self.failure else { return Ok(()) };
        match failure.step {
            Some(step) => write!(out, "\n      step {step} ({}): {}", failure.word, failure.why),
            None => write!(out, "\n      {}: {}", failure.word, failure.why),
        }
    }
}
