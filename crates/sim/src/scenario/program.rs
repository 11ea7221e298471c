//! The gateway's program: where it is, and its command line.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{process::Command, time::timeout};

/// Where `gatepost` is.
#[derive(Debug, Clone)]
pub struct Program(PathBuf);

impl Program {
    /// The given path; else `gatepost` beside this executable; else the one in PATH.
    pub fn find(given: Option<PathBuf>) -> Self {
        let beside = || Some(std::env::current_exe().ok()?.with_file_name("gatepost")).filter(|path| path.is_file());
        // Commands run in the scenario's own folder: a path given from here must hold there.
        let given = given.map(|path| path.canonicalize().unwrap_or(path));
        Self(given.or_else(beside).unwrap_or_else(|| PathBuf::from("gatepost")))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Runs `gatepost --config CONFIG args…` to its end.
    pub(super) async fn run(&self, config: &Path, args: &[String], within: Duration) -> Result<Output, String> {
        let mut command = Command::new(&self.0);
        command.arg("--config").arg(config).args(args).stdin(Stdio::null()).kill_on_drop(true);
        command.current_dir(config.parent().unwrap_or(Path::new(".")));
        let told = || format!("{} {}", self.0.display(), args.join(" "));
        match timeout(within, command.output()).await {
            Ok(output) => output.map_err(|error| format!("{}: {error}", told())),
            Err(_) => Err(format!("{} took over {within:?}", told())),
        }
    }
}
