//! Sandbox: what the running gateway takes from itself before it listens, whoever started it and however. Files: it writes below the
//! data folder (and where the log is) alone, runs no program and reads no home folders (Landlock). System calls: none that a mail
//! gateway has no business with (seccomp). What this kernel lacks is said, and the gateway runs on without it.

mod calls;

use crate::host::Host;
use decide::settings::Settings;
use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Newer rights than these restrict nothing here.
const RIGHTS: ABI = ABI::V6;

/// Folders of the system, for all reading: certificates, names, libraries, time zones. Not /home, /root, /tmp, /boot, /mnt, /media.
const SYSTEM: [&str; 14] = [
    "/bin", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/nix", "/opt", "/proc", "/run", "/srv", "/sys", "/usr", "/var",
];

static SANDBOX: OnceLock<Sandbox> = OnceLock::new();

/// How far this process is confined.
#[derive(Debug)]
pub(crate) struct Sandbox {
    /// Why not, or not wholly; `None`: in force.
    files: Option<String>,
    calls: Option<String>,
    /// Folders below which it reads.
    readable: Vec<PathBuf>,
}

/// Confines this process for good. Called before there are threads: Landlock holds for the calling one and those that it starts.
pub(crate) fn enter(host: &Host) -> Result<(), String> {
    std::fs::create_dir_all(&host.data)
        .map_err(|error| format!("cannot create the data folder {}: {error}", host.data.display()))?;
    let readable = readable(host);
    let sandbox = match host.sandbox.enabled {
        false => {
            let off = || Some("gatepost.toml says so".to_owned());
            Sandbox { files: off(), calls: off(), readable }
        }
        true => Sandbox { files: restrict(host, &readable)?, calls: calls::restrict().err(), readable },
    };
    // It is entered once.
    let _ = SANDBOX.set(sandbox);
    Ok(())
}

/// For people. `None`: this process was never meant to be confined.
pub(crate) fn state() -> Option<String> {
    let sandbox = SANDBOX.get()?;
    Some(match (&sandbox.files, &sandbox.calls) {
        (None, None) => "in force: files, system calls".to_owned(),
        (Some(why), None) => format!("in force: system calls; not files: {why}"),
        (None, Some(why)) => format!("in force: files; not system calls: {why}"),
        (Some(one), Some(other)) if one == other => format!("off: {one}"),
        (Some(one), Some(other)) => format!("off: {one}; {other}"),
    })
}

/// To a complaint about a file that settings name: that it is the sandbox which keeps it from being read, if so.
pub(crate) fn hint(file: &Path) -> &'static str {
    let Some(sandbox) = SANDBOX.get().filter(|sandbox| sandbox.files.is_none()) else { return "" };
    // Names can be followed where nothing can be read.
    let Ok(real) = std::fs::canonicalize(file) else { return "" };
    match sandbox.readable.iter().any(|folder| real.starts_with(folder)) {
        true => "",
        false => {
            ". It lies outside what the running gateway reads: move it to where gatepost.toml lies, or name its folder in [sandbox] read of gatepost.toml and restart"
        }
    }
}

/// What the gateway reads: the system's folders, its own, and those of all files that gatepost.toml and the settings name now.
fn readable(host: &Host) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
    folders.extend([host.folder.clone(), host.data.clone()]);
    folders.extend(host.sandbox.read.iter().cloned());
    let trust = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let own = [&host.control.certificate, &host.control.key, &host.settings_file].into_iter().flatten().cloned();
    for file in trust.chain(own).chain(files_of_settings(host)) {
        // Their folders: a file that is replaced is another file to the kernel. Both ends of a link.
        let real = std::fs::canonicalize(&file).unwrap_or_default();
        folders.extend([&file, &real].into_iter().filter_map(|file| file.parent()).map(Path::to_owned));
        folders.extend(file.is_dir().then_some(file));
    }
    folders.extend(log_folders(host));
    let here = |folder: PathBuf| if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
    let mut folders: Vec<PathBuf> = folders
        .into_iter()
        .map(here)
        .flat_map(|folder| [std::fs::canonicalize(&folder).ok(), std::path::absolute(folder).ok()])
        .flatten()
        .collect();
    folders.sort_unstable();
    folders.dedup();
    folders
}

fn files_of_settings(host: &Host) -> Vec<PathBuf> {
    let text = match &host.settings_file {
        Some(file) => std::fs::read_to_string(file).ok(),
        None => store::settings_text(&host.data),
    };
    // Settings that are no good stop the start, with their complaints, a little later.
    text.and_then(|text| Settings::read(&text).ok()).map(|settings| settings.files()).unwrap_or_default()
}

/// Where the log is written, if not in the data folder.
fn log_folders(host: &Host) -> Vec<PathBuf> {
    let files = [&host.log.file, &host.log.json].into_iter().filter(|file| *file != "-");
    let real = |folder: &Path| std::fs::canonicalize(folder).ok();
    let data = real(&host.data).unwrap_or_default();
    files.filter_map(|file| real(host.data.join(file).parent()?)).filter(|folder| !folder.starts_with(&data)).collect()
}

/// `Ok(Some)`: why files are not, or not wholly, restricted.
fn restrict(host: &Host, readable: &[PathBuf]) -> Result<Option<String>, String> {
    let failed = |error: RulesetError| {
        format!(
            "the sandbox for files cannot be made: {error}; [sandbox] enabled = false in gatepost.toml goes without"
        )
    };
    let write = AccessFs::from_all(RIGHTS)
        & !(AccessFs::Execute | AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev);
    let rules = || -> Result<RulesetCreated, RulesetError> {
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(RIGHTS))?
            .scope(Scope::Signal)?
            .create()?;
        for folder in readable {
            rules = allow(rules, folder, AccessFs::ReadFile | AccessFs::ReadDir)?;
        }
        rules = allow(rules, &host.data, write)?;
        // Its name is made durable when the store is opened.
        if let Some(parent) = std::fs::canonicalize(&host.data).ok().as_deref().and_then(Path::parent) {
            rules = allow(rules, parent, AccessFs::ReadDir.into())?;
        }
        for folder in log_folders(host) {
            rules = allow(
                rules,
                &folder,
                AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::WriteFile | AccessFs::MakeReg,
            )?;
        }
        allow(rules, Path::new("/dev/null"), AccessFs::ReadFile | AccessFs::WriteFile)
    };
    let status = rules().and_then(RulesetCreated::restrict_self).map_err(failed)?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => None,
        RulesetStatus::PartiallyEnforced => Some("this kernel's Landlock knows only some of it".to_owned()),
        RulesetStatus::NotEnforced => Some("this kernel has no Landlock (Linux 5.13, `lsm=` at boot)".to_owned()),
    })
}

/// A folder that is not there gives nothing to allow.
fn allow(rules: RulesetCreated, folder: &Path, access: BitFlags<AccessFs>) -> Result<RulesetCreated, RulesetError> {
    match PathFd::new(folder) {
        Ok(folder) => rules.add_rule(PathBeneath::new(folder, access)),
        Err(_) => Ok(rules),
    }
}
