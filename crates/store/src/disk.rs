//! Disk: the file operations that content needs; the real ones, or ones that fail when a test says so.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Where content goes.
#[derive(Clone, Debug, Default)]
pub enum Disk {
    #[default]
    Real,
    /// The real disk with failures on order, which also remembers what was synced.
    Faulty(Arc<Faults>),
}

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    Create,
    Write,
    Sync,
    SyncFolder,
    Remove,
    /// Before the spool's transaction begins.
    Begin,
    /// Before the spool's COMMIT.
    Commit,
}

/// Failures to come, and how far each content file has been synced.
#[derive(Debug, Default)]
pub struct Faults {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Operation → (calls that still succeed, calls that then fail, error).
    planned: HashMap<Operation, (u32, u32, io::ErrorKind)>,
    calls: HashMap<Operation, u32>,
    synced: HashMap<PathBuf, u64>,
    pages_max: Option<u32>,
}

impl Faults {
    /// Lets the next `good` calls of `operation` pass and fails the `bad` calls after them with `kind`.
    pub fn plan(&self, operation: Operation, good: u32, bad: u32, kind: io::ErrorKind) {
        self.state().planned.insert(operation, (good, bad, kind));
    }

    /// How often `operation` was called.
    pub fn calls(&self, operation: Operation) -> u32 {
        self.state().calls.get(&operation).copied().unwrap_or(0)
    }

    /// What of a content file would survive a power cut: its length at the last good sync.
    pub fn synced(&self, path: &Path) -> u64 {
        self.state().synced.get(path).copied().unwrap_or(0)
    }

    /// Makes the spool fail with a real "disk full" beyond so many pages (SQLite's max_page_count).
    pub fn pages_max(&self, pages: u32) {
        self.state().pages_max = Some(pages);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, operation: Operation) -> io::Result<()> {
        let mut state = self.state();
        *state.calls.entry(operation).or_default() += 1;
        match state.planned.get_mut(&operation) {
            Some((good, _, _)) if *good > 0 => *good -= 1,
            Some((_, bad, kind)) if *bad > 0 => {
                *bad -= 1;
                return Err(io::Error::new(*kind, format!("injected failure of {operation:?}")));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Disk {
    /// Fails if the test planned so.
    pub(crate) fn call(&self, operation: Operation) -> io::Result<()> {
        match self {
            Disk::Real => Ok(()),
            Disk::Faulty(faults) => faults.call(operation),
        }
    }

    pub(crate) fn take_pages_max(&self) -> Option<u32> {
        match self {
            Disk::Real => None,
            Disk::Faulty(faults) => faults.state().pages_max.take(),
        }
    }

    /// A new file, which must not exist.
    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        self.call(Operation::Create)?;
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    pub(crate) fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(error) = self.call(Operation::Write) {
            // A real short write leaves something behind.
            file.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(error);
        }
        file.write_all_at(bytes, offset)
    }

    /// The file's content and length on disk (fdatasync).
    pub(crate) fn sync(&self, file: &File, path: &Path) -> io::Result<()> {
        self.call(Operation::Sync)?;
        file.sync_data()?;
        if let Disk::Faulty(faults) = self {
            let length = file.metadata()?.len();
            faults.state().synced.insert(path.to_owned(), length);
        }
        Ok(())
    }

    /// The names in a folder on disk: a created file is only safe after this.
    pub(crate) fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.call(Operation::SyncFolder)?;
        File::open(folder)?.sync_all()
    }

    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        self.call(Operation::Remove)?;
        fs::remove_file(path)
    }
}
