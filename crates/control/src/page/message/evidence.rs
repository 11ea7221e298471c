//! Evidence: what the postmaster of the other side needs to look into it, as text for a mail: times, addresses, DNS answers and
//! every line said, without our settings, our other mail, or what stands in the message.

use super::way::{self, Line, Step};
use crate::reader::Message;

/// The text, or `None` if nothing was said to or asked about anybody else.
pub(crate) fn text(message: &Message, steps: &[Step]) -> Option<String> {
    let talks: Vec<&Step> = steps.iter().filter(|step| step.lines.iter().any(is_proof)).collect();
    let last = talks.last()?;
    let mut text = format!(
        "From the mail gateway {}\nReference: {} (our Audit ID; quote it when you answer)\nAll times are UTC.\n\n",
        message.gateway, message.row.id
    );
    let row = &message.row;
    text.push_str(&format!(
        "Sender: {}\nRecipients: {}\n",
        if row.sender.is_empty() { "<>" } else { &row.sender },
        recipients(&row.recipients)
    ));
    for (name, value) in [("Message-ID", &row.message_id), ("Result", &row.status)] {
        if !value.is_empty() {
            text.push_str(&format!("{name}: {value}\n"));
        }
    }
    for finding in &last.findings {
        text.push_str(&format!("\nWhat we conclude ({}): {}\n", finding.confidence.name(), finding.sentence));
        finding.evidence.iter().for_each(|fact| text.push_str(&format!("  seen: {fact}\n")));
        if !finding.disproof.is_empty() {
            text.push_str(&format!("  We would be wrong if: {}\n", finding.disproof));
        }
    }
    for step in talks {
        text.push_str(&format!("\n{}  {}\n", step.at.rfc3339(), step.words));
        // Facts of the record are ours: names of users, listeners, settings.
        step.lines.iter().filter(|line| is_proof(line)).for_each(|line| text.push_str(&redacted(line)));
    }
    text.push_str("\n→ is what the client said, ← what the server said. Passwords and content are left out.\n");
    Some(text)
}

fn is_proof(line: &Line) -> bool {
    matches!(line, Line::Dns(_) | Line::Host(_) | Line::Said(_))
}

/// Credentials never reach the record; the name of a user may.
fn redacted(line: &Line) -> String {
    match line {
        Line::Said(said) if said.text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("AUTH ")) => {
            let mechanism = said.text.split_whitespace().nth(1).unwrap_or_default();
            way::line_text(&Line::Said(mail::Said { text: format!("AUTH {mechanism} (left out)"), ..said.clone() }))
        }
        line => way::line_text(line),
    }
}

/// A list may be long, and is not theirs to read.
fn recipients(all: &[String]) -> String {
    match all {
        [] => "none".to_owned(),
        few if few.len() <= 5 => few.join(", "),
        many => format!("{}, and {} more", many[..5].join(", "), many.len() - 5),
    }
}
