//! Scores: for each scenario, what of the gateway's explanation was right; a table of groups.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{Finding, Outcome, Scenario};

/// What one `expect_finding` saw.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Mark {
    /// The first finding has the right id.
    pub cause: bool,
    /// Its sentence names what it must.
    pub names: bool,
    /// There is a finding, and neither it nor the status gives the naive answer.
    pub naive_absent: bool,
    /// State and number of copies are right.
    pub fate: bool,
    /// The finding is wrong and says that it is proven: the worst that can happen.
    pub wrong_proven: bool,
    pub finding: Option<Finding>,
}

/// The score of one scenario: four things, each right or not; a scenario about false alarms counts double.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Score {
    pub id: String,
    pub group: String,
    pub wanted: String,
    pub got: Vec<String>,
    pub weight: u32,
    pub cause: bool,
    pub names: bool,
    pub naive_absent: bool,
    /// State, copies, and every other expectation of the file.
    pub fate: bool,
    pub wrong_proven: bool,
    pub seconds: f64,
    pub why: Vec<String>,
}

/// All scores.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Table {
    pub points: u32,
    pub points_max: u32,
    /// Scenarios in which all is right.
    pub right: usize,
    pub wrong_proven: usize,
    pub scores: Vec<Score>,
}

impl Score {
    pub fn new(scenario: &Scenario, outcome: &Outcome) -> Self {
        let marks = &outcome.marks;
        // A gateway that could not run to the end has shown nothing.
        let broken = outcome.failure.as_ref().filter(|_| outcome.missed.is_empty());
        let alarmed = outcome.missed.iter().any(|missed| missed.word == "expect_no_alarm");
        let wants = scenario.steps.iter().filter(|step| step.word() == "expect_finding").count();
        let all = |right: fn(&Mark) -> bool| broken.is_none() && marks.len() == wants && marks.iter().all(right);
        let other =
            outcome.missed.iter().any(|missed| !matches!(missed.word.as_str(), "expect_finding" | "expect_no_alarm"));
        Self {
            id: if scenario.id.is_empty() { scenario.name.clone() } else { scenario.id.clone() },
            group: scenario.group.clone(),
            wanted: if scenario.cause.is_empty() { "no alarm".to_owned() } else { scenario.cause.clone() },
            got: marks.iter().map(|mark| mark.finding.as_ref().map_or("-".to_owned(), |f| f.cause.clone())).collect(),
            weight: if scenario.false_alarm { 2 } else { 1 },
            cause: all(|mark| mark.cause) && !alarmed,
            names: all(|mark| mark.names) && !alarmed,
            naive_absent: all(|mark| mark.naive_absent) && !alarmed,
            fate: all(|mark| mark.fate) && !other,
            wrong_proven: marks.iter().any(|mark| mark.wrong_proven),
            seconds: outcome.seconds,
            why: if outcome.missed.is_empty() {
                broken.map(|failure| format!("{}: {}", failure.word, failure.why)).into_iter().collect()
            } else {
                outcome.missed.iter().map(|missed| format!("{}: {}", missed.word, missed.why)).collect()
            },
        }
    }

    fn points(&self) -> u32 {
        self.weight * [self.cause, self.names, self.naive_absent, self.fate].map(u32::from).iter().sum::<u32>()
    }

    /// Is everything right?
    pub fn is_right(&self) -> bool {
        self.points() == 4 * self.weight
    }
}

impl Table {
    pub fn new(scores: Vec<Score>) -> Self {
        Self {
            points: scores.iter().map(Score::points).sum(),
            points_max: scores.iter().map(|score| 4 * score.weight).sum(),
            right: scores.iter().filter(|score| score.is_right()).count(),
            wrong_proven: scores.iter().filter(|score| score.wrong_proven).count(),
            scores,
        }
    }
}

/// `cause names naive fate  peer.greylist  greylisting-first-contact`, and why not.
impl fmt::Display for Score {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tick = |right: bool, word: &'static str| if right { word } else { "-" };
        write!(
            out,
            "{:<4} {:<6}{:<6}{:<6}{:<5} {:<34} {}",
            if self.is_right() { "ok" } else { "FAIL" },
            tick(self.cause, "cause"),
            tick(self.names, "names"),
            tick(self.naive_absent, "naive"),
            tick(self.fate, "fate"),
            self.wanted,
            self.id,
        )?;
        if self.wrong_proven {
            write!(out, "  WRONG AND \"PROVEN\"")?;
        }
        self.why.iter().try_for_each(|why| write!(out, "\n       {}", why.chars().take(400).collect::<String>()))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut groups: BTreeMap<&str, Vec<&Score>> = BTreeMap::new();
        for score in &self.scores {
            groups.entry(&score.group).or_default().push(score);
        }
        writeln!(
            out,
            "{:<20} {:>4} {:>6} {:>6} {:>6} {:>6} {:>6} {:>11}",
            "group", "all", "right", "cause", "names", "naive", "fate", "points"
        )?;
        let mut line = |name: &str, scores: &[&Score]| {
            let count = |right: fn(&Score) -> bool| scores.iter().filter(|score| right(score)).count();
            let points: u32 = scores.iter().map(|score| score.points()).sum();
            let max: u32 = scores.iter().map(|score| 4 * score.weight).sum();
            writeln!(
                out,
                "{name:<20} {:>4} {:>6} {:>6} {:>6} {:>6} {:>6} {:>5}/{max:<5} {:>4} %",
                scores.len(),
                count(Score::is_right),
                count(|s| s.cause),
                count(|s| s.names),
                count(|s| s.naive_absent),
                count(|s| s.fate),
                points,
                points * 100 / max.max(1),
            )
        };
        let all: Vec<&Score> = self.scores.iter().collect();
        let rows: Vec<(&str, &[&Score])> =
            groups.iter().map(|(name, scores)| (*name, scores.as_slice())).chain([("total", all.as_slice())]).collect();
        rows.iter().try_for_each(|(name, scores)| line(name, scores))?;
        writeln!(out, "{} wrong findings said to be proven", self.wrong_proven)
    }
}
