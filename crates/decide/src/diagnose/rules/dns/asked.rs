//! What rules about the resolver share: answers as recorded, experiments as made, and how servers and times are written.

use crate::diagnose::{Case, Experiment, How, Result, What};
use mail::dns::{Answer, Question, Tried};

/// What an experiment came to, so far.
pub(super) enum Asked<'a> {
    /// It was not made yet.
    Wanted(Experiment),
    /// It will not be made.
    Never,
    Answer(&'a Answer),
}

impl<'a> Asked<'a> {
    pub(super) fn of(case: &Case<'a>, question: &Question, how: How) -> Asked<'a> {
        let experiment = Experiment::Ask { question: question.clone(), how };
        match case.look(&experiment) {
            None => Asked::Wanted(experiment),
            Some(Result::Answer(answer)) => Asked::Answer(answer),
            Some(_) => Asked::Never,
        }
    }

    pub(super) fn answer(&self) -> Option<&'a Answer> {
        if let Asked::Answer(answer) = self { Some(answer) } else { None }
    }
}

/// Those of several that are still to be made.
pub(super) fn wanted<'a>(all: impl IntoIterator<Item = &'a Asked<'a>>) -> Vec<Experiment> {
    let wanted =
        |asked: &Asked<'_>| if let Asked::Wanted(experiment) = asked { Some(experiment.clone()) } else { None };
    all.into_iter().filter_map(wanted).collect()
}

/// The answers that the attempt or the visit itself got.
pub(super) fn recorded<'a>(case: &Case<'a>) -> &'a [Answer] {
    match case.what {
        What::Attempt(attempt) => &attempt.dns,
        What::Visit(visit) => &visit.dns,
        What::Bounce(_) => &[],
    }
}

/// A question that every DNS server of the Internet knows an answer to: the root's name servers.
pub(super) fn root() -> Question {
    Question::new(".", mail::dns::Kind::Ns)
}

/// `127.0.0.53`, with its port if it is not 53.
pub(super) fn server(text: &str) -> &str {
    text.strip_suffix(":53").unwrap_or(text)
}

/// Whether its UDP answer was cut short and TCP gave nothing; each with what TCP came to.
pub(super) fn blocked_tcp(answer: &Answer) -> Vec<&Tried> {
    if answer.is_known() {
        return Vec::new();
    }
    let cut = |server: &str| {
        answer
            .tried
            .iter()
            .any(|tried| !tried.tcp && tried.trouble == mail::dns::Trouble::Truncated && tried.server == server)
    };
    let mut found: Vec<&Tried> = Vec::new();
    for tried in answer.tried.iter().filter(|tried| tried.tcp && tried.trouble.is_silence() && cut(&tried.server)) {
        if found.iter().all(|known| known.server != tried.server) {
            found.push(tried);
        }
    }
    found
}

/// `23 h 58 min`, `40 s`.
pub(super) fn span(seconds: u32) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}
