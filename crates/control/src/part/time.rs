//! Times as people read them: how long ago or ahead, with the exact time one hover away.

use mail::Time;
use maud::{Markup, html};

/// "3 min ago", "in 2 h". The script keeps it true while the page stands open.
pub(crate) fn ago(at: Time, now: Time) -> Markup {
    let text = if at >= Time::NEVER { "never".to_owned() } else { relative(at.ms() - now.ms()) };
    html! { time datetime=(at.rfc3339()) title=(at.rfc3339()) data-ago="" { (text) } }
}

/// The exact time, to the second, in UTC.
pub(crate) fn exact(at: Time) -> Markup {
    let text = at.rfc3339();
    html! { time datetime=(text) { (text.get(..19).unwrap_or(&text).replace('T', " ")) } }
}

/// A length of time: "45 s", "3 min", "7 h", "5 days".
pub(crate) fn length(ms: i64) -> String {
    let (s, ms) = (ms / 1000, ms % 1000);
    match s {
        0 => format!("{ms} ms"),
        1..120 => format!("{s} s"),
        120..7_200 => format!("{} min", s / 60),
        7_200..172_800 => format!("{} h", s / 3600),
        _ => format!("{} days", s / 86_400),
    }
}

fn relative(ms: i64) -> String {
    match ms {
        -1000..1000 => "now".to_owned(),
        1000.. => format!("in {}", length(ms)),
        _ => format!("{} ago", length(-ms)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_the_largest_unit_that_says_enough() {
        let said = [-500, -90_000, 300_000, 4 * 3_600_000, -3 * 86_400_000].map(relative);
        assert_eq!(said, ["now", "90 s ago", "in 5 min", "in 4 h", "3 days ago"]);
    }
}
