//! Does a text say what it must, and not what it must not? The failure quotes it.

use super::step::OneOrMany;

pub(super) fn contains(what: &str, text: &str, wanted: &OneOrMany) -> Result<(), String> {
    match wanted.all().iter().find(|wanted| !text.contains(wanted.as_str())) {
        Some(missing) => Err(format!("{what} lacks \"{missing}\": {}", shortened(text))),
        None => Ok(()),
    }
}

pub(super) fn lacks(what: &str, text: &str, unwanted: &OneOrMany) -> Result<(), String> {
    match unwanted.all().iter().find(|unwanted| text.contains(unwanted.as_str())) {
        Some(present) => Err(format!("{what} must not have \"{present}\": {}", shortened(text))),
        None => Ok(()),
    }
}

fn shortened(text: &str) -> String {
    let short: String = text.chars().take(2000).collect();
    if short.len() < text.len() { format!("{short} …") } else { short }
}
