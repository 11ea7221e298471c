//! `gatepost`: the program. Commands here; each thing it does has its own file.

mod accounts;
mod alarms;
mod around;
mod certificate;
mod cli;
mod clock;
mod core;
mod dane;
mod deliver;
mod denial;
mod diagnose;
mod door;
mod explain;
mod greylist;
mod heard;
mod host;
mod http;
mod identity;
mod listen;
mod lists;
mod log;
mod loops;
mod manual;
#[cfg(feature = "mimalloc")]
mod memory;
mod metrics;
mod outcome;
mod password;
mod probe;
mod proxy;
mod queue;
mod receive;
mod resolve;
mod run;
mod sandbox;
mod scan;
mod scanners;
mod sendqueue;
mod show;
mod spf;
mod stream;
mod sweep;
mod systemd;
mod tls;
mod totp;
mod try_it;
mod verify;
mod view;
mod visit;
mod watch;
mod web;

use clap::Parser;
use std::process::ExitCode;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Threads for work that waits for the disk. Each keeps memory of its own, so with tokio's 512 a burst of slow reads would cost
/// hundreds of megabytes; who finds none free waits for one.
const BLOCKING_MAX: usize = 24;

fn main() -> ExitCode {
    // Spool, settings and log hold other people's mail and password hashes.
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
    // `gatepost statuses | head` ends quietly, as other commands do.
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.to_string().contains("failed printing to stdout") {
            std::process::exit(i32::from(cli::FAILED));
        }
        // At the end a thread may still be at a task when another has stopped the clock (tokio): the task would have been dropped
        // the next moment, and nothing that counts is left to do by then.
        if panic.to_string().contains("A Tokio 1.x context was found, but it is being shutdown") {
            return;
        }
        usual(panic);
    }));
    let cli = cli::Cli::parse();
    // First: it starts the program once more, which the sandbox forbids.
    #[cfg(feature = "mimalloc")]
    if cli.is_run() {
        memory::begin();
    }
    // The sandbox and systemd's sockets, before there are threads.
    let passed = match cli.prepare() {
        Ok(passed) => passed,
        Err(error) => {
            eprintln!("gatepost: {error}");
            return ExitCode::from(cli::FAILED);
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().max_blocking_threads(BLOCKING_MAX).build();
    match runtime {
        Ok(runtime) => runtime.block_on(cli.execute(passed)),
        Err(error) => {
            eprintln!("gatepost: cannot start the runtime: {error}");
            ExitCode::from(cli::FAILED)
        }
    }
}
