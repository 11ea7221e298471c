//! What everybody saw, for a scenario that failed.

use std::path::{Path, PathBuf};

use super::runner::Stage;

/// How many lines of each witness are shown.
const LINES: usize = 60;

impl Stage {
    /// What everybody saw, newest lines last.
    pub(super) fn evidence(&self) -> Vec<String> {
        let mut evidence = Vec::new();
        for (name, peer) in self.lab.peers() {
            evidence.extend(tail(&format!("peer {name}"), peer.transcript()));
        }
        evidence.extend(tail("DNS", self.lab.dns().asked().iter().map(ToString::to_string).collect()));
        evidence.extend(tail("gatepost", file_lines(&self.gateway.output())));
        evidence.extend(tail("log", file_lines(&self.log_file())));
        evidence
    }

    pub(super) fn log_file(&self) -> PathBuf {
        let text = |table: &str, key: &str| Some(self.host.get(table)?.get(key)?.as_str()?.to_owned());
        let data = self.host.get("data").and_then(|data| data.as_str()).unwrap_or("data").to_owned();
        self.folder.path().join(data).join(text("log", "file").unwrap_or_else(|| "maillog".to_owned()))
    }
}

fn file_lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn tail(who: &str, lines: Vec<String>) -> Vec<String> {
    let skipped = lines.len().saturating_sub(LINES);
    lines.into_iter().skip(skipped).map(|line| format!("{who}: {line}")).collect()
}
