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

/// What people type for a time: `2026-11-25`, `2026-11-25 14:00[:30]` in UTC (with `T` and `Z` as well), or how long ago:
/// `30min`, `2h`, `7d`, `2w`. `at_end`: a day alone means its end.
pub fn read(text: &str, now: Time, at_end: bool) -> Result<Time, String> {
    let text = text.trim();
    let wrong = || {
        format!(
            "{text:?} is no time. Write a day such as 2026-11-25, a time in UTC such as 2026-11-25 14:00, or how long ago: 30min, 2h, 7d."
        )
    };
    let short = text.strip_suffix("ago").unwrap_or(text).trim_end();
    let digits = short.chars().take_while(char::is_ascii_digit).count();
    let unit = match short[digits..].trim_start() {
        "s" => Some(1_000),
        "m" | "min" => Some(60_000),
        "h" => Some(3_600_000),
        "d" | "day" | "days" => Some(86_400_000),
        "w" => Some(7 * 86_400_000),
        _ => None,
    };
    if let (Some(unit), Ok(count)) = (unit, short[..digits].parse::<i64>()) {
        return count.checked_mul(unit).and_then(|ago| now.ms().checked_sub(ago)).map(Time).ok_or_else(wrong);
    }
    let (day, clock) = text.split_once(['T', ' ']).unwrap_or((text, ""));
    let day = days(day).ok_or_else(wrong)?;
    let clock = clock.trim().trim_end_matches(['Z', 'z']);
    match clock {
        "" => Ok(Time((day + i64::from(at_end)) * 86_400_000)),
        clock => of_day(clock).map(|ms| Time(day * 86_400_000 + ms)).ok_or_else(wrong),
    }
}

/// Days since 1970 of `2026-11-25`, by the days-from-civil arithmetic of the proleptic Gregorian calendar.
fn days(text: &str) -> Option<i64> {
    let mut parts = text.split('-').map(|part| part.parse::<i64>().ok().filter(|_| part.len() <= 4));
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || !(1970..=9999).contains(&year) || !(1..=12).contains(&month) {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let year_of_era = shifted.rem_euclid(400);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = shifted.div_euclid(400) * 146_097 + day_of_era - 719_468;
    // The 31st of a shorter month comes out as another date.
    (Time(days * 86_400_000).date() == (year, month as u32, day as u32)).then_some(days)
}

/// Milliseconds of `14:00`, `14:00:30` or `14:00:30.123`.
fn of_day(text: &str) -> Option<i64> {
    let (text, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = text.split(':').map(|part| part.parse::<i64>().ok().filter(|_| part.len() <= 2));
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    let ms: i64 = format!("{fraction:0<3}").get(..3)?.parse().ok()?;
    let fits = parts.next().is_none() && hour < 24 && minute < 60 && second < 61;
    (fits && hour >= 0 && minute >= 0 && second >= 0 && ms >= 0)
        .then_some(((hour * 60 + minute) * 60 + second) * 1000 + ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_the_largest_unit_that_says_enough() {
        let said = [-500, -90_000, 300_000, 4 * 3_600_000, -3 * 86_400_000].map(relative);
        assert_eq!(said, ["now", "90 s ago", "in 5 min", "in 4 h", "3 days ago"]);
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let now = Time(1_795_608_000_000);
        let said = |text: &str, at_end| read(text, now, at_end).map(Time::rfc3339);
        for (text, time) in [
            ("2026-11-25", "2026-11-25T00:00:00.000Z"),
            ("2024-02-29 23:59", "2024-02-29T23:59:00.000Z"),
            (" 2026-11-25T14:00:30.5Z", "2026-11-25T14:00:30.500Z"),
            ("2h", "2026-11-25T10:00:00.000Z"),
            ("30 min ago", "2026-11-25T11:30:00.000Z"),
            ("1w", "2026-11-18T12:00:00.000Z"),
        ] {
            assert_eq!(said(text, false).as_deref(), Ok(time), "{text}");
        }
        assert_eq!(said("2026-11-25", true).unwrap(), "2026-11-26T00:00:00.000Z");
        for wrong in [
            "",
            "yesterday",
            "2026-02-29",
            "2026-13-01",
            "25.11.2026",
            "2026-11-25 24:00",
            "99999999999999999d",
            "h",
            "-2h",
            "ü",
        ] {
            assert!(read(wrong, now, false).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_day_is_read_back() {
        for day in (0..200_000).step_by(7) {
            let text = Time(day * 86_400_000).rfc3339();
            assert_eq!(days(&text[..10]), Some(day), "{text}");
        }
    }
}
