//! The log for pages: looked through backwards from its end in pieces, file after file as rotation left them, so that its length does
//! not matter.

mod files;

use super::View;
use async_trait::async_trait;
use control::{LogAsked, LogLine, LogPage, Problem};
use files::{Files, Place};
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
    async fn log(&self, asked: &LogAsked, before: Option<&str>, limit: usize) -> Result<LogPage, Problem> {
        let (path, filter) = (self.log_file()?, Filter::of(asked)?);
        let before = before.map(str::parse::<Place>).transpose().map_err(|what| field_before(what.to_owned()))?;
        let read = move || {
            let files = Files::of(&path)?;
            let Some(from) = files.place(before) else { return Ok(None) };
            backwards(&files, &filter, from, limit).map(Some)
        };
        let page = spawn_blocking(read).await.map_err(failed)?.map_err(|error: io::Error| failed(error))?;
        page.ok_or_else(|| {
            field_before("that part of the log was taken away meanwhile: begin at the newest".to_owned())
        })
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

    async fn log_octets(&self, file: &str, from: u64) -> Result<Vec<u8>, Problem> {
        let (path, wanted) = (self.log_file()?, file.to_owned());
        let unknown = format!("the log has no file {wanted:?}");
        let read = move || {
            // Of a name from outside only what the log's own files are called.
            let Some(file) = Files::of(&path)?.named(&wanted) else { return Ok(None) };
            let file = File::open(file)?;
            let mut octets = vec![0; PIECE as usize];
            let length = file.read_at(&mut octets, from)?;
            octets.truncate(length);
            Ok(Some(octets))
        };
        let octets = spawn_blocking(read).await.map_err(failed)?.map_err(|error: io::Error| failed(error))?;
        octets.ok_or(Problem::Unknown { what: unknown })
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

fn field_before(what: String) -> Problem {
    Problem::Field { field: "before".to_owned(), what }
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

/// From a place towards the beginning of the oldest file, until the page is full or its time is up.
fn backwards(files: &Files, filter: &Filter, from: Place, limit: usize) -> io::Result<LogPage> {
    let until = Instant::now() + LOOK;
    let mut page = LogPage { files: files.told(), compressed: files.compressed, ..LogPage::default() };
    for (at, file) in files.all.iter().enumerate().skip_while(|(_, file)| file.inode != from.inode) {
        let open = File::open(&file.path)?;
        let is_start = file.inode == from.inode;
        let mut end = if is_start { from.octet.min(file.size) } else { file.size };
        if at == 0 {
            end = whole_lines(&open, end)?;
            page.end = end;
        }
        if let Some(latest) = filter.until {
            end = end.min(files::written_by(&open, end, latest)?);
        }
        let before = in_file(&open, end, filter, limit, until, &mut page)?;
        let more = match before {
            Before::Octet(octet) => Some(Place { octet, inode: file.inode }),
            Before::Beginning => files.all.get(at + 1).map(|next| Place { octet: next.size, inode: next.inode }),
            Before::Nothing => None,
        };
        page.before = more.map(|place| place.to_string());
        if !matches!(before, Before::Beginning) || page.lines.len() >= limit || Instant::now() > until {
            break;
        }
    }
    page.lines.reverse();
    Ok(page)
}

/// The end of the last whole line: what is being written just now is looked at later.
fn whole_lines(file: &File, end: u64) -> io::Result<u64> {
    let mut at = end;
    while at > 0 {
        let from = at.saturating_sub(4096);
        let mut piece = vec![0; (at - from) as usize];
        file.read_exact_at(&mut piece, from)?;
        if let Some(last) = piece.iter().rposition(|octet| *octet == b'\n') {
            return Ok(from + last as u64 + 1);
        }
        at = from;
    }
    Ok(0)
}

/// Where the look through one file ended.
enum Before {
    /// There is more of it before this.
    Octet(u64),
    Beginning,
    /// What comes before is too old to match, here and in older files.
    Nothing,
}

/// One file from `end` backwards; lines are added the newest first.
fn in_file(
    file: &File,
    end: u64,
    filter: &Filter,
    limit: usize,
    until: Instant,
    page: &mut LogPage,
) -> io::Result<Before> {
    let (mut at, mut rest) = (end, Vec::new());
    while at > 0 {
        let from = at.saturating_sub(PIECE);
        let mut piece = vec![0; (at - from) as usize];
        file.read_exact_at(&mut piece, from)?;
        page.looked += at - from;
        piece.append(&mut rest);
        at = from;
        // The line at the piece's beginning goes on in the piece before.
        let first =
            if at == 0 { 0 } else { piece.iter().position(|octet| *octet == b'\n').map_or(piece.len(), |at| at + 1) };
        let mut stop = piece.len();
        for line in piece[first..].split(|octet| *octet == b'\n').rev() {
            let start = stop - line.len();
            if !line.is_empty() {
                let raw = text(line);
                if filter.ends_at(&raw) {
                    return Ok(Before::Nothing);
                }
                page.lines.extend(filter.line(&raw));
                if page.lines.len() >= limit {
                    let octet = at + start as u64;
                    return Ok(if octet == 0 { Before::Beginning } else { Before::Octet(octet) });
                }
            }
            stop = start.saturating_sub(1);
        }
        rest = piece[..first].to_vec();
        if rest.len() > LINE_MAX * 16 {
            // No line is so long: this is no log.
            rest.clear();
        }
        if at > 0 && Instant::now() > until {
            return Ok(Before::Octet(at + rest.len() as u64));
        }
    }
    Ok(Before::Beginning)
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
    Ok(LogPage { lines, end: from + whole as u64, looked: whole as u64, ..LogPage::default() })
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

    /// A page before a place, and the place of the next.
    fn page(path: &Path, filter: &Filter, before: Option<&str>, limit: usize) -> LogPage {
        let files = Files::of(path).unwrap();
        let place = files.place(before.map(|before| before.parse().unwrap())).unwrap();
        backwards(&files, filter, place, limit).unwrap()
    }

    /// All lines, by pages of seven; `between` is called after each.
    fn all(path: &Path, filter: &Filter, mut between: impl FnMut(usize)) -> Vec<String> {
        let (mut before, mut found, mut pages) = (None, Vec::new(), 0);
        loop {
            let page = page(path, filter, before.as_deref(), 7);
            assert!(page.lines.len() <= 7);
            let mut lines: Vec<String> = page.lines.into_iter().map(|line| line.text).collect();
            lines.append(&mut found);
            found = lines;
            before = page.before;
            pages += 1;
            between(pages);
            if before.is_none() {
                return found;
            }
        }
    }

    fn lines(from: usize, until: usize) -> String {
        (from..until).map(|number| format!("{number}\n")).collect()
    }

    #[test]
    fn pages_go_on_in_the_files_that_rotation_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("maillog");
        let old = std::time::SystemTime::now() - Duration::from_secs(3600);
        for (name, text, age) in [
            ("maillog.2", lines(0, 10), 2),
            ("maillog-20261124", lines(10, 20), 1),
            ("maillog.1", lines(20, 25), 0),
            ("maillog", lines(25, 40), 0),
            ("maillog.3.gz", "packed".to_owned(), 3),
            ("maillog.old", "something else".to_owned(), 0),
            ("events.json.1", "something else".to_owned(), 0),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
            let file = File::options().append(true).open(folder.path().join(name)).unwrap();
            file.set_modified(old - Duration::from_secs(age * 60)).unwrap();
        }
        let expected: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        assert_eq!(all(&path, &Filter::default(), |_| {}), expected);
        let page = page(&path, &Filter::default(), None, 3);
        let names: Vec<&str> = page.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["maillog", "maillog.1", "maillog-20261124", "maillog.2"]);
        assert_eq!(page.compressed, 1);
        assert!(Files::of(&path).unwrap().named("maillog.old").is_none());
    }

    #[test]
    fn a_rotation_between_two_pages_loses_no_line_and_repeats_none() {
        for renames in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let (path, first, second) =
                ["maillog", "maillog.1", "maillog.2"].map(|name| folder.path().join(name)).into();
            std::fs::write(&first, lines(0, 20)).unwrap();
            std::fs::write(&path, lines(20, 60)).unwrap();
            let found = all(&path, &Filter::default(), |pages| {
                if pages != 2 {
                    return;
                }
                std::fs::rename(&first, &second).unwrap();
                if renames {
                    std::fs::rename(&path, &first).unwrap();
                    std::fs::write(&path, "new\n").unwrap();
                } else {
                    std::fs::copy(&path, &first).unwrap();
                    std::fs::write(&path, "new\n").unwrap();
                }
            });
            let expected: Vec<String> = (0..60).map(|number| number.to_string()).collect();
            assert_eq!(found, expected, "renames: {renames}");
        }
    }

    #[test]
    fn a_page_of_a_part_that_is_gone_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("maillog");
        std::fs::write(&path, lines(0, 3)).unwrap();
        let files = Files::of(&path).unwrap();
        assert_eq!(files.place(Some("2.1".parse().unwrap())), None);
        assert!("2".parse::<Place>().is_err() && "a.b".parse::<Place>().is_err());
    }

    #[test]
    fn an_end_in_time_is_found_without_reading_what_is_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("maillog");
        let mut file = std::io::BufWriter::new(File::create(&path).unwrap());
        // A line each second of a day: 12 MB.
        for second in 0..86_400 {
            let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
            let filling = "x".repeat(100);
            writeln!(file, "2026 Nov 25 {hour:02}:{minute:02}:{second:02} UTC (info) gatepost: [12] INFO: {filling}")
                .unwrap();
        }
        drop(file);
        let asked = LogAsked { until: "2026-11-25 02:00:00".to_owned(), ..LogAsked::default() };
        let filter = Filter::of(&asked).unwrap();
        let (mut before, mut looked) = (None, 0);
        // A page's time may be up before its first line.
        let lines = loop {
            let page = page(&path, &filter, before.as_deref(), 3);
            looked += page.looked;
            before = page.before;
            if !page.lines.is_empty() {
                break page.lines;
            }
        };
        assert_eq!(lines.last().unwrap().time, "2026 Nov 25 01:59:59 UTC");
        // Two hours' lines at the most, and what is read at once.
        assert!(looked < 2_000_000, "{looked} octets were looked at");
    }

    #[test]
    fn pages_backwards_give_every_line_once_whatever_its_place() {
        for width in [1, 77, 4099, 60_000] {
            let count = if width > 10_000 { 20 } else { 900 };
            let (_folder, path) = numbered(count, width);
            let found = all(&path, &Filter::default(), |_| {});
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
        let end = page(&path, &Filter::default(), None, 10).end;
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        write!(file, "half").unwrap();
        let page = forwards(&path, &Filter::default(), end).unwrap();
        assert!(page.lines.is_empty() && page.end == end);
        assert_eq!(self::page(&path, &Filter::default(), None, 10).end, end);
        writeln!(file, " and half").unwrap();
        let page = forwards(&path, &Filter::default(), end).unwrap();
        assert_eq!(page.lines[0].text, "half and half");
        std::fs::write(&path, "anew\n").unwrap();
        assert_eq!(forwards(&path, &Filter::default(), page.end).unwrap().lines[0].text, "anew");
    }
}
