//! `gatepost.toml`: what a host needs to start. Everything else is settings.

use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The host's file. Relative paths in it count from its own folder, `log` ones from the data folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Host {
    /// The folder of the file itself.
    #[serde(skip)]
    pub(crate) folder: PathBuf,
    /// Spool, records, settings and the command socket live here.
    pub(crate) data: PathBuf,
    /// Hands the settings to a file (in version control, say); else they live in the data folder.
    pub(crate) settings_file: Option<PathBuf>,
    /// 0 to 255: tells the Scanners of one installation apart in their Audit IDs.
    #[serde(default)]
    pub(crate) scanner: u8,
    #[serde(default)]
    pub(crate) listen: Listen,
    #[serde(default)]
    pub(crate) control: Control,
    #[serde(default)]
    pub(crate) log: LogFiles,
    #[serde(default)]
    pub(crate) sandbox: Sandbox,
}

/// What the running gateway may do on this host.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Sandbox {
    pub(crate) enabled: bool,
    /// Folders that it reads besides those of the system, its own, and those of files that are named at the start.
    pub(crate) read: Vec<PathBuf>,
}

impl Default for Sandbox {
    fn default() -> Sandbox {
        Sandbox { enabled: true, read: Vec::new() }
    }
}

/// Where SMTP is spoken, by role.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Listen {
    pub(crate) inbound: Vec<SocketAddr>,
    pub(crate) outbound: Vec<SocketAddr>,
    pub(crate) submission: Vec<SocketAddr>,
}

/// Where the Control Center listens if nothing says otherwise.
const CONTROL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8025);

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Control {
    /// Pages, API, health, metrics.
    pub(crate) listen: Option<SocketAddr>,
    /// PEM files; without them the gateway makes a certificate and keeps it in the data folder. Count from this file's folder.
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    /// Off loopback: without TLS all the same. Passwords then cross the network in the clear.
    pub(crate) plain_http: bool,
}

impl Control {
    pub(crate) fn address(&self) -> SocketAddr {
        self.listen.unwrap_or(CONTROL)
    }

    /// Off loopback always, unless the file says otherwise; on it when there is a certificate.
    pub(crate) fn wants_tls(&self, address: SocketAddr) -> bool {
        !self.plain_http && (self.certificate.is_some() || !address.ip().to_canonical().is_loopback())
    }
}

/// Where the log goes; `-` is standard error.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogFiles {
    pub(crate) file: String,
    pub(crate) json: String,
}

impl Default for LogFiles {
    fn default() -> LogFiles {
        LogFiles { file: "maillog".to_owned(), json: "events.json".to_owned() }
    }
}

/// The file of commands that name none: this folder's, else the installed one.
pub(crate) fn usual() -> &'static Path {
    let (here, installed) = (Path::new("gatepost.toml"), Path::new("/etc/gatepost/gatepost.toml"));
    if !here.exists() && installed.exists() { installed } else { here }
}

impl Host {
    /// Reads the file; the error names it, the line, and what to do.
    pub(crate) fn read(path: &Path) -> Result<Host, String> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            format!(
                "cannot read {}: {error}. Name the file with --config, or copy examples/gatepost.toml.",
                path.display()
            )
        })?;
        let mut host: Host = toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        host.folder = folder.to_owned();
        host.data = folder.join(&host.data);
        for read in &mut host.sandbox.read {
            *read = folder.join(&*read);
        }
        host.settings_file = host.settings_file.map(|file| folder.join(file));
        host.control.certificate = host.control.certificate.map(|file| folder.join(file));
        host.control.key = host.control.key.map(|file| folder.join(file));
        if host.control.certificate.is_some() != host.control.key.is_some() {
            return Err(format!("{}: control.certificate and control.key go together", path.display()));
        }
        Ok(host)
    }

    /// The Unix socket by which commands reach the running gateway.
    pub(crate) fn socket(&self) -> PathBuf {
        self.data.join("gatepost.sock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_count_from_the_files_own_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gatepost.toml");
        std::fs::write(&file, "data = \"spool\"\n[listen]\ninbound = [\"127.0.0.1:2525\"]\n").unwrap();
        let host = Host::read(&file).unwrap();
        assert_eq!(host.data, folder.path().join("spool"));
        assert_eq!(host.listen.inbound.len(), 1);
    }

    #[test]
    fn off_loopback_the_control_center_speaks_tls_unless_the_file_says_otherwise() {
        let wants = |text: &str, address: &str| {
            let control: Control = toml::from_str(text).unwrap();
            control.wants_tls(address.parse().unwrap())
        };
        assert!(!wants("", "127.0.0.1:1") && !wants("", "[::1]:1") && !wants("", "[::ffff:127.0.0.1]:1"));
        assert!(wants("", "0.0.0.0:1") && wants("", "[::]:1") && wants("", "192.0.2.1:1"));
        assert!(!wants("plain_http = true", "0.0.0.0:1"));
        assert!(wants("certificate = \"c\"\nkey = \"k\"", "127.0.0.1:1"));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("gatepost.toml");
        std::fs::write(&file, "data = \"spool\"\nlistn = 3\n").unwrap();
        let error = Host::read(&file).unwrap_err();
        assert!(error.contains("listn") && error.contains("line 2"), "{error}");
    }
}
