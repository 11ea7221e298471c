//! The gateway under test: one process, started, watched and stopped.

use std::{
    fs::File,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep, timeout},
};

use super::{Program, Scenario};

/// How long a start may take until `/healthz` says 200.
const START_MAX: Duration = Duration::from_secs(20);
/// How long a stop may take after SIGTERM, before SIGKILL.
const STOP_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// A gateway that runs, or that was stopped.
#[derive(Debug)]
pub(super) struct Gateway {
    program: Program,
    config: PathBuf,
    control: Option<SocketAddr>,
    env: Vec<(String, String)>,
    /// `/healthz` need not say 200.
    unwell: bool,
    child: Option<Child>,
}

impl Gateway {
    pub(super) fn new(program: Program, config: PathBuf, control: Option<SocketAddr>) -> Self {
        Self { program, config, control, env: Vec::new(), unwell: false, child: None }
    }

    pub(super) fn with(mut self, scenario: &Scenario) -> Self {
        let folder = self.folder().display().to_string();
        self.env =
            scenario.env.iter().map(|(name, value)| (name.clone(), value.replace("{folder}", &folder))).collect();
        self.unwell = scenario.unwell;
        self
    }

    /// Starts it and waits until it is well.
    pub(super) async fn start(&mut self) -> Result<(), String> {
        if self.program.path().is_absolute() && !self.program.path().exists() {
            return Err(format!("{} can not be started: there is no such file", self.program.path().display()));
        }
        let told = |error: io::Error| format!("{} can not be started: {error}", self.program.path().display());
        if let Some(control) = self.control
            && TcpStream::connect(control).await.is_ok()
        {
            return Err(format!("another program listens at {control}: is a gateway running on this machine?"));
        }
        let output = File::options().create(true).append(true).open(self.output()).map_err(told)?;
        // With SIGXFSZ ignored, a write over the limit (`disk = "full"`) is an error and not the end (setrlimit(2)).
        let child = Command::new("sh")
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(self.program.path())
            .args(["run", "--config"])
            .arg(&self.config)
            .current_dir(self.folder())
            .envs(self.env.clone())
            .stdin(Stdio::null())
            .stdout(output.try_clone().map_err(told)?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .map_err(told)?;
        self.child = Some(child);
        self.wait_well().await
    }

    async fn wait_well(&mut self) -> Result<(), String> {
        let Some(control) = self.control else {
            return Err("gatepost.toml has no control listener to ask for /healthz".to_owned());
        };
        let deadline = Instant::now() + START_MAX;
        let mut last = String::new();
        while Instant::now() < deadline {
            self.alive()?;
            match health(control).await {
                Ok(status) if status.contains(" 200 ") || self.unwell => return Ok(()),
                Ok(status) => last = status,
                Err(error) => last = error.to_string(),
            }
            sleep(POLL).await;
        }
        Err(format!("http://{control}/healthz did not answer 200 within {START_MAX:?}; last: {last}"))
    }

    /// An error if the process has ended by itself.
    pub(super) fn alive(&mut self) -> Result<(), String> {
        let Some(child) = &mut self.child else { return Ok(()) };
        match child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                self.child = None;
                Err(format!("gatepost ended by itself: {status}"))
            }
            Err(error) => Err(format!("gatepost can not be watched: {error}")),
        }
    }

    /// SIGTERM, and SIGKILL if that does not end it: that is an error.
    pub(super) async fn stop(&mut self) -> Result<(), String> {
        self.alive()?;
        let Some(child) = &mut self.child else { return Ok(()) };
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).map_err(|error| format!("SIGTERM: {error}"))?;
        }
        match timeout(STOP_MAX, child.wait()).await {
            Ok(_) => {
                self.child = None;
                Ok(())
            }
            Err(_) => {
                self.kill().await?;
                Err(format!("gatepost did not stop within {STOP_MAX:?} after SIGTERM"))
            }
        }
    }

    /// Lets no file of the gateway grow any more, or takes that back.
    pub(super) fn disk(&self, full: bool) -> Result<(), String> {
        let pid = self.child.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or("the gateway does not run")?;
        let limit = Rlimit { current: full.then_some(0), maximum: None };
        prlimit(Some(pid), Resource::Fsize, limit).map(drop).map_err(|error| format!("RLIMIT_FSIZE: {error}"))
    }

    /// SIGKILL, as a power cut.
    pub(super) async fn kill(&mut self) -> Result<(), String> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill().await.map_err(|error| format!("SIGKILL: {error}"))
    }

    /// What it wrote to standard output and standard error.
    pub(super) fn output(&self) -> PathBuf {
        self.folder().join("gatepost.out")
    }

    fn folder(&self) -> &Path {
        self.config.parent().unwrap_or(Path::new("."))
    }
}

/// The status line of `GET /healthz`.
async fn health(control: SocketAddr) -> io::Result<String> {
    let ask = async {
        let mut stream = TcpStream::connect(control).await?;
        stream
            .write_all(format!("GET /healthz HTTP/1.1\r\nHost: {control}\r\nConnection: close\r\n\r\n").as_bytes())
            .await?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
    };
    timeout(Duration::from_secs(2), ask).await?
}
