//! Backup: settings and accounts of a running gateway as one file, and back again, checked before anything is replaced.
//!
//! The file is a tar archive (POSIX ustar) of whole databases, led by a list of what must be in it. Queued mail is not in it:
//! brought back, it would be delivered twice.

use crate::open::{OpenError, lock};
use crate::schema::io_error;
use crate::{Administrator, Token, Version, accounts, records, settings};
use rusqlite::{Connection, OpenFlags};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const FORMAT: u32 = 1;
const LIST: &str = "gatepost-backup.json";
const BLOCK: usize = 512;
/// A list names a handful of files.
const LIST_MAX: u64 = 64 << 10;

/// What is in a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    format: u32,
    /// Unix milliseconds.
    pub made_ms: i64,
    /// Of the gatepost that made it.
    pub version: String,
    pub files: Vec<Saved>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    pub name: String,
    pub size: u64,
    crc: u32,
}

/// Databases that may be in a backup, and the format that this program knows of each.
const KNOWN: [(&str, usize); 3] = [
    ("settings.db", settings::STEPS.len()),
    ("accounts.db", accounts::STEPS.len()),
    ("records.db", records::STEPS.len()),
];
/// The key by which this gateway knows its own mail.
const KEY: &str = "loop.key";

/// Writes a backup of the data folder to `file`, which must not exist. The gateway may run.
pub fn create(folder: &Path, file: &Path, with_records: bool, version: &str, now_ms: i64) -> io::Result<Backup> {
    let work = Work::new(folder, "backup")?;
    let mut files = Vec::new();
    for (name, _) in KNOWN.iter().filter(|(name, _)| with_records || *name != "records.db") {
        copy(&folder.join(name), &work.0.join(name)).map_err(|error| named(name, &error.to_string()))?;
        files.push(measure(&work.0, name)?);
    }
    if folder.join(KEY).exists() {
        fs::copy(folder.join(KEY), work.0.join(KEY))?;
        files.push(measure(&work.0, KEY)?);
    }
    let backup = Backup { format: FORMAT, made_ms: now_ms, version: version.to_owned(), files };
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    let list = serde_json::to_vec_pretty(&backup)?;
    entry(&mut out, LIST, list.len() as u64, &mut list.as_slice())?;
    for saved in &backup.files {
        entry(&mut out, &saved.name, saved.size, &mut File::open(work.0.join(&saved.name))?)?;
    }
    // Two empty blocks end the archive.
    out.write_all(&[0; 2 * BLOCK])?;
    out.sync_all()?;
    Ok(backup)
}

/// A copy of one moment, without browsers' sessions: those who were signed in then are not signed in again by it. Nor does anybody
/// wait for sign-ins that failed then, nor does it open other Scanners: their tokens are given anew.
fn copy(from: &Path, to: &Path) -> rusqlite::Result<()> {
    let db = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(std::time::Duration::from_secs(10))?;
    db.execute("VACUUM INTO ?", [to.to_string_lossy()])?;
    if from.ends_with("accounts.db") {
        // In memory: a temporary file would lie outside the data folder.
        Connection::open(to)?.execute_batch(
            "PRAGMA temp_store = MEMORY; DELETE FROM session; DELETE FROM failure; UPDATE scanner SET token = ''; VACUUM;",
        )?;
    }
    Ok(())
}

fn measure(folder: &Path, name: &str) -> io::Result<Saved> {
    let mut file = File::open(folder.join(name))?;
    let (size, crc) = pass(&mut file, &mut io::sink(), u64::MAX)?;
    Ok(Saved { name: name.to_owned(), size, crc })
}

/// Copies up to `limit` octets; gives how many, and their CRC-32.
fn pass(from: &mut impl Read, to: &mut impl Write, limit: u64) -> io::Result<(u64, u32)> {
    let (mut from, mut buffer) = (from.take(limit), vec![0; 64 << 10]);
    let (mut size, mut crc) = (0, crc32fast::Hasher::new());
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok((size, crc.finalize())),
            length => {
                crc.update(&buffer[..length]);
                to.write_all(&buffer[..length])?;
                size += length as u64;
            }
        }
    }
}

/// One file of the archive: head, octets, and zeros to a whole block.
fn entry(out: &mut impl Write, name: &str, size: u64, content: &mut impl Read) -> io::Result<()> {
    let mut head = [0_u8; BLOCK];
    let mut put = |at: usize, text: &str| head[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000600\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    // Eight gigabytes and more do not fit; nobody's records are that long, and it fails instead of lying.
    let octal = format!("{size:011o}\0");
    if octal.len() > 12 {
        return Err(named(name, "is too large for a backup"));
    }
    put(124, &octal);
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = head.iter().map(|octet| u32::from(*octet)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out.write_all(&head)?;
    let (written, _) = pass(content, out, size)?;
    if written != size {
        return Err(named(name, "changed while it was read"));
    }
    let rest = (BLOCK - (size % BLOCK as u64) as usize) % BLOCK;
    out.write_all(&vec![0; rest])
}

/// Reads a backup whole and checks it; nothing is changed. The error says what is wrong with it.
pub fn check(file: &Path, folder: &Path) -> io::Result<Backup> {
    let work = Work::new(folder, "check")?;
    unpack(file, &work.0)
}

/// What a backup would bring back.
#[derive(Debug)]
pub struct Contents {
    pub backup: Backup,
    /// The version that was in force.
    pub settings: Option<Version>,
    pub administrators: Vec<Administrator>,
    pub tokens: Vec<Token>,
}

/// Checks a backup whole and reads what is in it; nothing is changed. The gateway may run.
pub fn contents(file: &Path, folder: &Path) -> io::Result<Contents> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let work = Work::new(folder, "contents")?;
    let backup = unpack(file, &work.0)?;
    for name in ["settings.db", "accounts.db"] {
        if !work.0.join(name).exists() {
            return Err(bad(&format!("{name} is not in it")));
        }
    }
    let settings = settings::Settings::open(&work.0.join("settings.db")).map_err(io_error)?.current()?;
    let accounts = accounts::Accounts::open(&work.0.join("accounts.db")).map_err(io_error)?;
    Ok(Contents { backup, settings, administrators: accounts.administrators()?, tokens: accounts.tokens()? })
}

/// Puts a backup's files in place of those of the data folder, which no gateway may be using. What was there stays beside
/// them as `NAME.before-restore`.
pub fn restore(file: &Path, folder: &Path) -> io::Result<Backup> {
    fs::create_dir_all(folder)?;
    let _lock = lock(folder).map_err(|error: OpenError| io::Error::other(error.to_string()))?;
    let work = Work::new(folder, "restore")?;
    let backup = unpack(file, &work.0)?;
    for saved in &backup.files {
        for end in ["", "-wal", "-shm"] {
            let old = folder.join(format!("{}{end}", saved.name));
            if old.exists() {
                fs::rename(&old, folder.join(format!("{}.before-restore{end}", saved.name)))?;
            }
        }
        fs::rename(work.0.join(&saved.name), folder.join(&saved.name))?;
    }
    File::open(folder)?.sync_all()?;
    Ok(backup)
}

fn unpack(file: &Path, into: &Path) -> io::Result<Backup> {
    let mut archive = File::open(file)?;
    let (name, size) = head(&mut archive)?.ok_or_else(|| bad("it is empty"))?;
    if name != LIST || size > LIST_MAX {
        return Err(bad("it does not begin as a backup of gatepost does"));
    }
    let mut list = Vec::new();
    pass(&mut archive, &mut list, size)?;
    skip(&mut archive, size)?;
    let backup: Backup =
        serde_json::from_slice(&list).map_err(|error| bad(&format!("its list cannot be read: {error}")))?;
    if backup.format > FORMAT {
        return Err(bad(&format!("gatepost {} made it, in a format that this one does not know", backup.version)));
    }
    for saved in &backup.files {
        let (name, size) = head(&mut archive)?.ok_or_else(|| bad("it is cut short"))?;
        let known = KNOWN.iter().any(|(known, _)| *known == name) || name == KEY;
        if name != saved.name || size != saved.size || !known {
            return Err(bad(&format!("where {} should be there is {name:?}", saved.name)));
        }
        let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(into.join(&name))?;
        let (read, crc) = pass(&mut archive, &mut out, size)?;
        if (read, crc) != (saved.size, saved.crc) {
            return Err(bad(&format!("{name} is damaged")));
        }
        out.sync_all()?;
        skip(&mut archive, size)?;
        database(&into.join(&name), &name)?;
    }
    match (head(&mut archive)?, head(&mut archive)?) {
        (None, None) => Ok(backup),
        _ => Err(bad("more is in it than its list says")),
    }
}

/// Name and size of the archive's next file. `None`: its end.
fn head(archive: &mut File) -> io::Result<Option<(String, u64)>> {
    let mut head = [0_u8; BLOCK];
    archive.read_exact(&mut head).map_err(|_| bad("it is cut short"))?;
    if head.iter().all(|octet| *octet == 0) {
        return Ok(None);
    }
    let sum: u32 =
        head.iter().enumerate().map(|(at, octet)| if (148..156).contains(&at) { 32 } else { u32::from(*octet) }).sum();
    let text = |from: usize, length: usize| {
        let part = &head[from..from + length];
        let end = part.iter().position(|octet| *octet == 0).unwrap_or(length);
        String::from_utf8_lossy(&part[..end]).trim().to_owned()
    };
    if u32::from_str_radix(&text(148, 8), 8) != Ok(sum) {
        return Err(bad("a file's head is damaged"));
    }
    let size = u64::from_str_radix(&text(124, 12), 8).map_err(|_| bad("it is no tar archive"))?;
    Ok(Some((text(0, 100), size)))
}

fn skip(archive: &mut File, size: u64) -> io::Result<()> {
    let rest = (BLOCK - (size % BLOCK as u64) as usize) % BLOCK;
    archive.read_exact(&mut vec![0; rest]).map_err(|_| bad("it is cut short"))
}

/// A database must be sound and of a format that is known here.
fn database(path: &Path, name: &str) -> io::Result<()> {
    let Some((_, steps)) = KNOWN.iter().find(|(known, _)| *known == name) else { return Ok(()) };
    let look = || -> rusqlite::Result<(String, u32)> {
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        let said: String = db.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        let version: u32 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        Ok((said, version))
    };
    let (said, version) = look().map_err(|error| bad(&format!("{name}: {error}")))?;
    match () {
        () if said != "ok" => Err(bad(&format!("{name} is damaged: {said}"))),
        () if version as usize > *steps => {
            Err(bad(&format!("{name} is of a newer gatepost: install that version first")))
        }
        () => Ok(()),
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("this backup is no good: {what}"))
}

fn named(name: &str, what: &str) -> io::Error {
    io::Error::other(format!("{name}: {what}"))
}

/// A folder for files under way, on the disk where they will lie; it goes with this.
struct Work(PathBuf);

impl Work {
    fn new(folder: &Path, what: &str) -> io::Result<Work> {
        let path = folder.join(format!("{what}.{}.tmp", std::process::id()));
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir(&path)?;
        Ok(Work(path))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Administrator, Limits, Session, Store};
    use mail::Time;

    fn filled(folder: &Path) {
        let store = Store::open(folder, Limits::default()).unwrap();
        store.settings_put("a = 1", "ann", "", Time(5)).unwrap();
        let ann = Administrator { name: "ann".to_owned(), ..Administrator::default() };
        store
            .accounts()
            .change(|all| -> io::Result<()> {
                all.push(ann);
                Ok(())
            })
            .unwrap();
        let session = Session { hash: "s".to_owned(), name: "ann".to_owned(), ..Session::default() };
        store.accounts().session_put(&session).unwrap();
    }

    #[test]
    fn a_backup_brings_back_settings_and_accounts_but_no_session() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        filled(from.path());
        let file = from.path().join("x.tar");
        let running = Store::open(from.path(), Limits::default()).unwrap();
        create(from.path(), &file, true, "1", 7).unwrap();
        drop(running);
        let store = Store::open(to.path(), Limits::default()).unwrap();
        store.settings_put("b = 2", "bob", "", Time(6)).unwrap();
        assert!(restore(&file, to.path()).is_err(), "a gateway is using the folder");
        drop(store);
        assert_eq!(restore(&file, to.path()).unwrap().files.len(), 3);
        let store = Store::open(to.path(), Limits::default()).unwrap();
        assert_eq!(store.settings_current().unwrap().unwrap().text, "a = 1");
        assert_eq!(store.accounts().administrators().unwrap()[0].name, "ann");
        assert!(store.accounts().sessions(None).unwrap().is_empty());
        assert!(to.path().join("settings.db.before-restore").exists());
        let left = fs::read_dir(to.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "tmp"));
        assert_eq!(left.count(), 0);
    }

    #[test]
    fn a_backup_is_read_while_the_gateway_runs() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path());
        let file = folder.path().join("x.tar");
        create(folder.path(), &file, false, "1", 7).unwrap();
        let running = Store::open(folder.path(), Limits::default()).unwrap();
        running.settings_put("b = 2", "bob", "", Time(6)).unwrap();
        let found = contents(&file, folder.path()).unwrap();
        assert_eq!((found.settings.unwrap().text.as_str(), found.administrators[0].name.as_str()), ("a = 1", "ann"));
        assert_eq!(running.settings_current().unwrap().unwrap().text, "b = 2");
        fs::write(&file, "no backup").unwrap();
        assert!(contents(&file, folder.path()).unwrap_err().to_string().contains("no good"));
    }

    #[test]
    fn a_damaged_backup_replaces_nothing() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path());
        let file = folder.path().join("x.tar");
        create(folder.path(), &file, false, "1", 7).unwrap();
        let whole = fs::read(&file).unwrap();
        let before = fs::read(folder.path().join("settings.db")).unwrap();
        let broken = folder.path().join("broken.tar");
        let step = whole.len() / 40;
        for at in (0..whole.len()).step_by(step) {
            fs::write(&broken, &whole[..at]).unwrap();
            assert!(restore(&broken, folder.path()).is_err(), "cut at {at}");
        }
        // Every octet of the databases counts.
        for at in (4096..whole.len() - 2048).step_by(step) {
            let mut bent = whole.clone();
            bent[at] ^= 0x55;
            fs::write(&broken, &bent).unwrap();
            assert!(check(&broken, folder.path()).is_err(), "bent at {at}");
        }
        assert_eq!(fs::read(folder.path().join("settings.db")).unwrap(), before);
        assert!(check(&file, folder.path()).is_ok());
    }

    #[test]
    fn tar_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        filled(folder.path());
        let file = folder.path().join("x.tar");
        create(folder.path(), &file, false, "1", 7).unwrap();
        let said = std::process::Command::new("tar").arg("-tf").arg(&file).output().unwrap();
        assert!(said.status.success(), "{said:?}");
        assert_eq!(String::from_utf8_lossy(&said.stdout), "gatepost-backup.json\nsettings.db\naccounts.db\n");
    }
}
