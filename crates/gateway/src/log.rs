//! Log: each event as a line that existing tools read, and as JSON; both written by one thread.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use store::{Event, PACKED, packed_text};

/// Lines are gathered for so long and written at once: a thread woken for each line costs more than the line.
const GATHER: std::time::Duration = std::time::Duration::from_millis(5);

/// Fields for the JSON log and the audit trail only.
const LONG: [&str; 4] = ["attempt", "findings", "visit", "changed"];

/// Events that may wait for the writing thread; beyond it, whoever logs waits too: no line is dropped.
const WAITING_MAX: usize = 8192;

#[derive(Clone, Debug)]
pub(crate) struct Log {
    sender: SyncSender<Event>,
    file: Option<PathBuf>,
}

struct Sink {
    lines: Output,
    json: Output,
    zone: TimeZone,
    /// The second last formatted, and its text: most events share it.
    second: (i64, String),
}

impl Log {
    /// Opens both files (`-` is standard error) and starts the thread.
    pub(crate) fn open(folder: &Path, files: &crate::host::LogFiles) -> Result<Log, String> {
        let sink = Sink {
            lines: Output::open(folder, &files.file)?,
            json: Output::open(folder, &files.json)?,
            zone: TimeZone::system(),
            second: (0, String::new()),
        };
        let (sender, receiver) = sync_channel(WAITING_MAX);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || sink.run(&receiver))
            .map_err(|error| format!("cannot start the log thread: {error}"))?;
        let file = (files.file != "-").then(|| folder.join(&files.file));
        Ok(Log { sender, file })
    }

    /// The file with the lines; `None`: standard error.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Writes an event soon.
    pub(crate) fn write(&self, event: &Event) {
        let _ = self.sender.send(event.clone());
    }
}

/// Where lines go.
enum Output {
    Stderr(std::io::Stderr),
    File { file: File, path: PathBuf, inode: u64 },
}

impl Output {
    fn open(folder: &Path, name: &str) -> Result<Output, String> {
        if name == "-" {
            return Ok(Output::Stderr(std::io::stderr()));
        }
        let path = folder.join(name);
        Output::file(&path).map_err(|error| format!("cannot open the log {}: {error}", path.display()))
    }

    fn file(path: &Path) -> io::Result<Output> {
        let file = File::options().create(true).append(true).open(path)?;
        let inode = file.metadata()?.ino();
        Ok(Output::File { file, path: path.to_owned(), inode })
    }

    /// Writes at the file's end. One that rotation gave another name is left, and a new one begun: no signal is needed, and none comes
    /// too late.
    fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        if let Output::File { path, inode, .. } = self
            && path.metadata().map_or(0, |there| there.ino()) != *inode
        {
            // Where none can be made, the old one is written on.
            if let Ok(new) = Output::file(&path.clone()) {
                *self = new;
            }
        }
        match self {
            Output::Stderr(stderr) => stderr.write_all(octets),
            Output::File { file, .. } => file.write_all(octets),
        }
    }
}

impl Sink {
    /// Until the last sender has gone. A log that cannot be written is told once on standard error; mail goes on.
    fn run(mut self, receiver: &Receiver<Event>) {
        let (mut lines, mut json) = (String::new(), String::new());
        let mut told = false;
        while let Ok(event) = receiver.recv() {
            std::thread::sleep(GATHER);
            let mut next = Some(event);
            while let Some(event) = next {
                self.format(&event, &mut lines, &mut json);
                next = if lines.len() < 65_536 { receiver.try_recv().ok() } else { None };
            }
            let written = self.lines.write(lines.as_bytes()).and_then(|()| self.json.write(json.as_bytes()));
            if let (Err(error), false) = (written, told) {
                eprintln!("gatepost: the log cannot be written: {error}");
                told = true;
            }
            lines.clear();
            json.clear();
        }
    }

    fn format(&mut self, event: &Event, lines: &mut String, json: &mut String) {
        let (tag, level) = tag(&event.kind);
        let second = event.at.ms().div_euclid(1000);
        if self.second.0 != second {
            let zoned = Timestamp::from_second(second).unwrap_or_default().to_zoned(self.zone.clone());
            self.second = (second, zoned.strftime("%Y %b %d %H:%M:%S %Z").to_string());
        }
        let _ = write!(
            lines,
            "{} ({level}) gatepost: [{}] {tag}: Audit ID {}",
            self.second.1,
            std::process::id(),
            event.id
        );
        if let Value::Object(fields) = &event.fields {
            let silent = |value: &Value| value.is_null() || value.as_str() == Some("");
            for (name, value) in fields.iter().filter(|(name, value)| !LONG.contains(&name.as_str()) && !silent(value))
            {
                let _ = write!(lines, ", {name}: ");
                // Of a finding, its id.
                plain(if name == "finding" { &value["cause"] } else { value }, lines);
            }
        }
        lines.push('\n');
        let _ = write!(
            json,
            "{{\"time\":\"{}\",\"audit_id\":\"{}\",\"event\":{}",
            event.at.rfc3339(),
            event.id,
            Value::from(event.kind.as_str())
        );
        // Of what went well the trail has it all.
        let is_smooth = event.kind == "delivered" && event.fields["finding"].is_null();
        for (name, value) in event.fields.as_object().into_iter().flatten() {
            if is_smooth && name == "attempt" {
                continue;
            }
            let _ = write!(json, ",{}:", Value::from(name.as_str()));
            let _ = match PACKED.contains(&name.as_str()).then(|| packed_text(value)).flatten() {
                Some(text) => write!(json, "{text}"),
                None => write!(json, "{value}"),
            };
        }
        json.push_str("}\n");
    }
}

/// The tag that tools know, and the level.
fn tag(kind: &str) -> (&'static str, &'static str) {
    match kind {
        "accepted" => ("ML-ACCEPT", "info"),
        "refused" => ("ML-REJECT", "info"),
        "delivered" => ("ML-DELIVERY", "info"),
        "deferred" => ("ML-TRANSFAIL", "info"),
        "bounced" => ("ML-PERMFAIL", "info"),
        "loop" => ("ML-LOOP", "warning"),
        "held" => ("ML-HOLD", "info"),
        "alert" => ("ALERT", "warning"),
        "order" => ("ORDER", "notice"),
        "identity" => ("IDENTITY", "notice"),
        "sandbox" => ("SANDBOX", "notice"),
        _ => ("INFO", "info"),
    }
}

/// A value for people, in one line whatever a peer put into it.
fn plain(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => out.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c })),
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                plain(item, out);
            }
        }
        // A finding.
        Value::Object(fields) if fields.contains_key("sentence") => {
            plain(&fields["cause"], out);
            out.push_str(": ");
            plain(&fields["sentence"], out);
        }
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_rotation_renamed_or_truncated_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("maillog");
        let mut output = Output::open(folder.path(), "maillog").unwrap();
        output.write(b"one\n").unwrap();
        std::fs::rename(&path, folder.path().join("maillog.1")).unwrap();
        output.write(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(std::fs::read_to_string(folder.path().join("maillog.1")).unwrap(), "one\n");
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        output.write(b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        std::fs::remove_file(&path).unwrap();
        output.write(b"four\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "four\n");
    }
}
