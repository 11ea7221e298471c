//! The log file for pages: looked through backwards from its end in pieces, so that its length does not matter.

use super::View;
use async_trait::async_trait;
use control::{LogAsked, LogLine, LogPage, Problem};
use jiff::civil::DateTime;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;

/// Read at once.
const PIECE: u64 = 256 << 10;
/// A longer line is cut: nothing that the gateway writes is.
const LINE_MAX: usize = 64 << 10;
/// How long one page looks; the next goes on from there.
const LOOK: Duration = Duration::from_millis(60);
/// How often a file that is followed is looked at.
const POLL: Duration = Duration::from_millis(300);

#[async_trait]
impl control::LogReader for View {
    async fn log(&self, asked: &LogAsked, before: Option<u64>, limit: usize) -> Result<LogPage, Problem> {
        let (path, filter) = (self.log_file()?, Filter::of(asked)?);
        spawn_blocking(move || backwards(&path, &filter, before, limit)).await.map_err(failed)?.map_err(failed)
    }

    async fn log_after(&self, asked: &LogAsked, from: u64, ms: u64) -> Result<LogPage, Problem> {
        let (path, filter) = (self.log_file()?, Filter::of(asked)?);
        let until = Instant::now() + Duration::from_millis(ms);
        let mut from = from;
        loop {
            let (path, filter) = (path.clone(), filter.clone());
            let page = spawn_blocking(move || forwards(&path, &filter, from)).await.map_err(failed)?.map_err(failed)?;
            if !page.lines.is_empty() || Instant::now() > until || self.0.is_stopping() {
                return Ok(page);
            }
            from = page.end;
            tokio::time::sleep(POLL).await;
        }
    }

    async fn log_octets(&self, from: u64) -> Result<Vec<u8>, Problem> {
        let path = self.log_file()?;
        let read = move || {
            let file = File::open(&path)?;
            let mut octets = vec![0; PIECE as usize];
            let length = file.read_at(&mut octets, from)?;
            octets.truncate(length);
            Ok(octets)
        };
        spawn_blocking(read).await.map_err(failed)?.map_err(|error: io::Error| failed(error))
    }
}

impl View {
    fn log_file(&self) -> Result<PathBuf, Problem> {
        self.0.log.file().map(Path::to_owned).ok_or_else(|| Problem::Unknown {
            what: "the log goes to standard error (log.file in gatepost.toml is \"-\"): look at it where that is kept, such as journalctl".to_owned(),
        })
    }
}

fn failed(error: impl std::fmt::Display) -> Problem {
    Problem::Failed { what: format!("the log cannot be read: {error}") }
}

/// What is asked, ready to be compared.
#[derive(Clone, Debug, Default)]
struct Filter {
    tag: String,
    level: String,
    id: String,
    text: String,
    from: Option<DateTime>,
    until: Option<DateTime>,
}

impl Filter {
    fn of(asked: &LogAsked) -> Result<Filter, Problem> {
        let time = |name: &str, text: &str| match text.trim() {
            "" => Ok(None),
            given => moment(given).map(Some).ok_or_else(|| Problem::Field {
                field: name.to_owned(),
                what: format!("{given:?} is not a time such as 2026-11-25 14:00"),
            }),
        };
        Ok(Filter {
            tag: asked.tag.trim().to_ascii_uppercase(),
            level: asked.level.trim().to_ascii_lowercase(),
            id: asked.id.trim().to_ascii_uppercase(),
            text: asked.text.trim().to_lowercase(),
            from: time("from", &asked.from)?,
            until: time("until", &asked.until)?,
        })
    }

    /// The line, if it matches. Cheap comparisons first: most lines do not.
    fn line(&self, raw: &str) -> Option<LogLine> {
        let plain = raw.contains(&self.id)
            && raw.contains(&self.tag)
            && (self.text.is_empty() || raw.to_lowercase().contains(&self.text));
        if !plain {
            return None;
        }
        let line = apart(raw);
        let in_time = (self.from.is_none() && self.until.is_none())
            || written(&line.time)
                .is_some_and(|at| self.from.is_none_or(|from| at >= from) && self.until.is_none_or(|until| at < until));
        let fits = line.tag.contains(&self.tag)
            && (self.level.is_empty() || line.level == self.level)
            && (self.id.is_empty() || line.audit_id == self.id)
            && in_time;
        fits.then_some(line)
    }

    /// All lines before this one are too old.
    fn ends_at(&self, raw: &str) -> bool {
        self.from.is_some_and(|from| written(&apart(raw).time).is_some_and(|at| at < from))
    }
}

/// `2026-11-25 14:00`, with seconds or without, or a day alone.
fn moment(text: &str) -> Option<DateTime> {
    let text = text.replace('T', " ");
    ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M"].iter().find_map(|form| DateTime::strptime(form, &text).ok()).or_else(|| {
        jiff::civil::Date::strptime("%Y-%m-%d", &text).ok().map(|day| day.to_datetime(jiff::civil::Time::midnight()))
    })
}

/// `2026 Nov 25 14:00:00 UTC`, without its zone.
fn written(time: &str) -> Option<DateTime> {
    DateTime::strptime("%Y %b %d %H:%M:%S", time.get(..20)?).ok()
}

/// `TIME (LEVEL) gatepost: [PID] TAG: Audit ID X, name: value …` into its parts. Another line is all text.
fn apart(raw: &str) -> LogLine {
    let parts = || {
        let (time, rest) = raw.split_once(" (")?;
        let (level, rest) = rest.split_once(") gatepost: [")?;
        let (tag, rest) = rest.split_once("] ")?.1.split_once(": ")?;
        let (id, text) = match rest.strip_prefix("Audit ID ") {
            Some(rest) => rest.split_once(", ").unwrap_or((rest, "")),
            None => ("", rest),
        };
        Some(LogLine {
            time: time.to_owned(),
            level: level.to_owned(),
            tag: tag.to_owned(),
            audit_id: id.trim().to_owned(),
            text: text.to_owned(),
        })
    };
    parts().unwrap_or_else(|| LogLine { text: raw.to_owned(), ..LogLine::default() })
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(&octets[..octets.len().min(LINE_MAX)]).into_owned()
}

/// From the end, or from `before`, towards the beginning.
fn backwards(path: &Path, filter: &Filter, before: Option<u64>, limit: usize) -> io::Result<LogPage> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let end = before.unwrap_or(size).min(size);
    let until = Instant::now() + LOOK;
    let mut page = LogPage { end, file: name(path), size, ..LogPage::default() };
    let (mut at, mut rest) = (end, Vec::new());
    let mut is_first = true;
    loop {
        let from = at.saturating_sub(PIECE);
        let mut piece = vec![0; (at - from) as usize];
        file.read_exact_at(&mut piece, from)?;
        piece.append(&mut rest);
        if is_first && before.is_none() {
            // A line that is being written just now is not whole yet; what follows it is looked at later.
            let whole = piece.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
            page.end = from + whole as u64;
            piece.truncate(whole);
            is_first = false;
        }
        at = from;
        // The line at the piece's beginning goes on in the piece before.
        let first =
            if at == 0 { 0 } else { piece.iter().position(|octet| *octet == b'\n').map_or(piece.len(), |at| at + 1) };
        let mut stop = piece.len();
        for line in piece[first..].split(|octet| *octet == b'\n').rev() {
            let start = stop - line.len();
            if !line.is_empty() {
                let raw = text(line);
                page.lines.extend(filter.line(&raw));
                if page.lines.len() >= limit || filter.ends_at(&raw) {
                    page.before = Some(at + start as u64).filter(|_| page.lines.len() >= limit);
                    page.looked = end - at - start as u64;
                    page.lines.reverse();
                    return Ok(page);
                }
            }
            stop = start.saturating_sub(1);
        }
        rest = piece[..first].to_vec();
        if rest.len() > LINE_MAX * 16 {
            // No line is so long: this is no log.
            rest.clear();
        }
        page.looked = end - at;
        if at == 0 || Instant::now() > until {
            page.before = Some(at + rest.len() as u64).filter(|_| at > 0);
            page.lines.reverse();
            return Ok(page);
        }
    }
}

/// From an octet on, one piece. A file that became shorter was begun anew.
fn forwards(path: &Path, filter: &Filter, from: u64) -> io::Result<LogPage> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let from = match from {
        u64::MAX => size,
        from if from > size => 0,
        from => from,
    };
    let mut piece = vec![0; (size - from).min(PIECE) as usize];
    file.read_exact_at(&mut piece, from)?;
    let whole = piece.iter().rposition(|octet| *octet == b'\n').map_or(0, |at| at + 1);
    // A line longer than a piece would never end.
    let whole = if whole == 0 && piece.len() as u64 == PIECE { piece.len() } else { whole };
    let lines = piece[..whole].split(|octet| *octet == b'\n').filter(|line| !line.is_empty());
    let lines = lines.filter_map(|line| filter.line(&text(line))).collect();
    Ok(LogPage { lines, before: None, end: from + whole as u64, looked: whole as u64, file: name(path), size })
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const LINE: &str = "2026 Nov 25 14:00:07 UTC (info) gatepost: [12] ML-TRANSFAIL: Audit ID 38GJ3X6RR0000, status: 450 later, host: mx.test";

    #[test]
    fn a_line_is_taken_apart_and_matched_part_by_part() {
        let line = apart(LINE);
        assert_eq!(
            (line.level.as_str(), line.tag.as_str(), line.audit_id.as_str()),
            ("info", "ML-TRANSFAIL", "38GJ3X6RR0000")
        );
        assert_eq!(line.text, "status: 450 later, host: mx.test");
        let matches = |asked: LogAsked| Filter::of(&asked).unwrap().line(LINE).is_some();
        let asked = |name: &str, value: &str| {
            let mut asked = LogAsked::default();
            let field = match name {
                "tag" => &mut asked.tag,
                "level" => &mut asked.level,
                "id" => &mut asked.id,
                "text" => &mut asked.text,
                "from" => &mut asked.from,
                _ => &mut asked.until,
            };
            value.clone_into(field);
            asked
        };
        for (name, value) in [
            ("tag", "transfail"),
            ("level", "info"),
            ("id", "38gj3x6rr0000"),
            ("text", "MX.test"),
            ("from", "2026-11-25 14:00"),
            ("until", "2026-11-25 14:00:08"),
            ("until", "2026-11-26"),
        ] {
            assert!(matches(asked(name, value)), "{name} {value}");
        }
        for (name, value) in [
            ("tag", "ACCEPT"),
            ("level", "warning"),
            ("id", "38GJ3X6RR0001"),
            ("text", "mx.other"),
            ("from", "2026-11-25 14:01"),
            ("until", "2026-11-25"),
        ] {
            assert!(!matches(asked(name, value)), "{name} {value}");
        }
        assert!(Filter::of(&asked("from", "yesterday")).is_err());
    }

    fn numbered(count: usize, width: usize) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("maillog");
        let mut file = File::create(&path).unwrap();
        for number in 0..count {
            // A format's own width ends at 65,535.
            let number = number.to_string();
            writeln!(file, "{}{number}", "0".repeat(width.saturating_sub(number.len()))).unwrap();
        }
        (folder, path)
    }

    #[test]
    fn pages_backwards_give_every_line_once_whatever_its_place() {
        for width in [1, 77, 4099, 60_000] {
            let count = if width > 10_000 { 20 } else { 900 };
            let (_folder, path) = numbered(count, width);
            let (mut before, mut found) = (None, Vec::new());
            loop {
                let page = backwards(&path, &Filter::default(), before, 7).unwrap();
                assert!(page.lines.len() <= 7);
                let mut lines: Vec<String> = page.lines.into_iter().map(|line| line.text).collect();
                lines.append(&mut found);
                found = lines;
                before = page.before;
                if before.is_none() {
                    break;
                }
            }
            let expected: Vec<String> = (0..count)
                .map(|number| {
                    let number = number.to_string();
                    let line = "0".repeat(width.saturating_sub(number.len())) + &number;
                    line[..line.len().min(LINE_MAX)].to_owned()
                })
                .collect();
            assert!(found == expected, "width {width}: {} of {count} lines", found.len());
        }
    }

    #[test]
    fn what_is_written_later_is_followed_line_by_line() {
        let (_folder, path) = numbered(3, 5);
        let end = backwards(&path, &Filter::default(), None, 10).unwrap().end;
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        write!(file, "half").unwrap();
        let page = forwards(&path, &Filter::default(), end).unwrap();
        assert!(page.lines.is_empty() && page.end == end);
        assert_eq!(backwards(&path, &Filter::default(), None, 10).unwrap().end, end);
        writeln!(file, " and half").unwrap();
        let page = forwards(&path, &Filter::default(), end).unwrap();
        assert_eq!(page.lines[0].text, "half and half");
        std::fs::write(&path, "anew\n").unwrap();
        assert_eq!(forwards(&path, &Filter::default(), page.end).unwrap().lines[0].text, "anew");
    }
}
