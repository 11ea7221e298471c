//! Memory: what the allocator (mimalloc) is told, so that what large messages took is given back.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Left alone, it keeps what was freed for a second, and huge pages keep two megabytes for each small piece that stays: 20 clients
/// that sent up to 20 MB each brought a gateway to 350 MB (267 MB without huge pages). With these it was 140 MB, at the same CPU time
/// (medians of 9 pairs: 4 KiB -2 %, 64 KiB 0, 1 MiB -5 %). After 10 ms it would be 100 MB, for 2, 8 and 10 % more.
/// What the administrator sets goes first.
const OPTIONS: [(&str, &str); 2] = [("MIMALLOC_PURGE_DELAY", "100"), ("MIMALLOC_ALLOW_THP", "0")];

/// The allocator reads its options from the environment before `main`, and to set them later would need unsafe code. So the
/// program starts once more in its own place: same process, same descriptors. Comes back when that is done, or cannot be done.
pub(crate) fn begin() {
    if OPTIONS.iter().all(|(name, _)| env::var_os(name).is_some()) {
        return;
    }
    let Ok(program) = env::current_exe() else { return };
    let mut words = env::args_os();
    let mut again = Command::new(program);
    if let Some(name) = words.next() {
        again.arg0(name);
    }
    again.args(words);
    for (name, value) in OPTIONS {
        if env::var_os(name).is_none() {
            again.env(name, value);
        }
    }
    // It comes back only with an error, and a gateway that takes more memory is better than none.
    let _ = again.exec();
}
