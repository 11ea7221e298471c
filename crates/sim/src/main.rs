//! `sim`: runs scenarios against the gateway, or only the small Internet of one.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Parser, Subcommand};
use sim::scenario::{Lab, Outcome, Program, Scenario, Score, Table, run, run_through};
use tokio::signal::unix::{SignalKind, signal};

/// A small Internet on loopback for the gateway: scripted DNS, SMTP peers and clients.
///
/// The format of scenario files is described in docs/book/scenarios.md.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios one after another against the real gateway; exit 0 only if all pass.
    ///
    /// They share loopback addresses (127.0.0.53:5300, 127.0.0.2:2525, …): run one `sim` at a time on a machine.
    Run {
        /// Scenario files, or folders of them (*.toml).
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The gateway's program [default: `gatepost` beside this program, else in PATH].
        #[arg(long, env = "GATEPOST", value_name = "FILE")]
        gatepost: Option<PathBuf>,
        /// Print the results as a JSON array on standard output, and the lines on standard error.
        #[arg(long)]
        json: bool,
        /// Leave the folder of each scenario behind, and say where it is.
        #[arg(long)]
        keep: bool,
        /// Run only scenarios whose name contains this.
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
    },
    /// Score the gateway's explanations: runs all scenarios, goes on after what is wrong, prints a table of groups.
    ///
    /// Exit 0 only if everything is right.
    Score {
        /// Scenario files, or folders of them (*.toml).
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// The gateway's program [default: `gatepost` beside this program, else in PATH].
        #[arg(long, env = "GATEPOST", value_name = "FILE")]
        gatepost: Option<PathBuf>,
        /// Also write scores, findings and reasons here.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Run only scenarios whose name contains this.
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
        /// So many at a time, each in a network of its own (Linux; `unshare` of util-linux and `ip`).
        #[arg(long, default_value_t = 1)]
        jobs: usize,
    },
    /// Start only the DNS and the peers of a scenario, and tell what they see, until Ctrl-C.
    Serve {
        file: PathBuf,
        /// Also write gatepost.toml and settings.toml for this scenario into a folder.
        #[arg(long, value_name = "FOLDER")]
        write: Option<PathBuf>,
    },
    /// Check scenario files without running anything.
    Check {
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Run { files, gatepost, json, keep, only } => {
            let program = Program::find(gatepost);
            // Dropping the run ends its gateway, too; dying of the signal would leave it behind.
            tokio::select! {
                result = Box::pin(run_all(&files, &program, json, keep, only.as_deref())) => result,
                signal = stopped() => Err(signal),
            }
        }
        Command::Score { files, gatepost, json, only, jobs } => {
            let program = Program::find(gatepost);
            tokio::select! {
                result = Box::pin(score_all(&files, &program, json.as_deref(), only.as_deref(), jobs)) => result,
                signal = stopped() => Err(signal),
            }
        }
        Command::Serve { file, write } => serve(&file, write.as_deref()).await.map(|()| true),
        Command::Check { files } => check(&files).map(|()| true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("sim: {error}");
            ExitCode::from(2)
        }
    }
}

/// Waits for Ctrl-C or SIGTERM and names it.
async fn stopped() -> String {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => "stopped by Ctrl-C".to_owned(),
        _ = terminate.recv() => "stopped by SIGTERM".to_owned(),
    }
}

async fn run_all(
    files: &[PathBuf],
    program: &Program,
    json: bool,
    keep: bool,
    only: Option<&str>,
) -> Result<bool, String> {
    let scenarios = read_all(files)?;
    let mut outcomes: Vec<Outcome> = Vec::new();
    for scenario in scenarios.iter().filter(|scenario| only.is_none_or(|text| scenario.name.contains(text))) {
        let outcome = run(scenario, program, keep).await;
        let evidence = outcome.evidence.iter().map(|line| format!("\n      | {line}"));
        let line = format!("{outcome}{}", if json { String::new() } else { evidence.collect() });
        if json {
            eprintln!("{line}")
        } else {
            println!("{line}")
        }
        outcomes.push(outcome);
    }
    let passed = outcomes.iter().filter(|outcome| outcome.passed).count();
    let closing = format!("{passed} passed, {} failed", outcomes.len() - passed);
    if json {
        eprintln!("{closing}");
        println!("{}", serde_json::to_string_pretty(&outcomes).map_err(|error| error.to_string())?);
    } else {
        println!("{closing}");
    }
    if outcomes.is_empty() {
        return Err("no scenario was run".to_owned());
    }
    Ok(passed == outcomes.len())
}

async fn score_all(
    files: &[PathBuf],
    program: &Program,
    json: Option<&Path>,
    only: Option<&str>,
    jobs: usize,
) -> Result<bool, String> {
    let paths = paths_of(files)?;
    let scenarios: Vec<(PathBuf, Scenario)> =
        paths.into_iter().map(|path| Ok((path.clone(), Scenario::read(&path)?))).collect::<Result<_, String>>()?;
    let chosen: Vec<&(PathBuf, Scenario)> =
        scenarios.iter().filter(|(_, scenario)| only.is_none_or(|text| scenario.name.contains(text))).collect();
    let mut scores = Vec::new();
    if jobs > 1 {
        scores = score_apart(chosen.iter().map(|(path, _)| path.clone()).collect(), program, jobs).await?;
    } else {
        for (_, scenario) in chosen {
            let score = Score::new(scenario, &run_through(scenario, program, false).await);
            println!("{score}");
            scores.push(score);
        }
    }
    if scores.is_empty() {
        return Err("no scenario was run".to_owned());
    }
    let table = Table::new(scores);
    println!("\n{table}");
    if let Some(file) = json {
        let text = serde_json::to_string_pretty(&table).map_err(|error| error.to_string())?;
        std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(table.points == table.points_max)
}

/// Each file by a `sim` of its own, in a network of its own, so that addresses do not clash.
async fn score_apart(paths: Vec<PathBuf>, program: &Program, jobs: usize) -> Result<Vec<Score>, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let me = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut running = tokio::task::JoinSet::new();
    let mut scores = Vec::new();
    for (number, path) in paths.into_iter().enumerate() {
        if running.len() >= jobs
            && let Some(done) = running.join_next().await
        {
            scores.extend(told(done)?);
        }
        let answer = folder.path().join(format!("{number}.json"));
        let mut command = tokio::process::Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", "sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""]);
        command.arg(&me).arg("score").arg("--gatepost").arg(program.path()).arg("--json").arg(&answer).arg(&path);
        command.stdin(std::process::Stdio::null()).kill_on_drop(true);
        running.spawn(async move {
            let output = command.output().await.map_err(|error| format!("unshare: {error}"))?;
            let text = std::fs::read(&answer)
                .map_err(|_| format!("{}: {}", path.display(), String::from_utf8_lossy(&output.stderr).trim()))?;
            serde_json::from_slice::<Table>(&text).map_err(|error| format!("{}: {error}", path.display()))
        });
    }
    while let Some(done) = running.join_next().await {
        scores.extend(told(done)?);
    }
    scores.sort_by(|a: &Score, b: &Score| (&a.group, &a.id).cmp(&(&b.group, &b.id)));
    Ok(scores)
}

fn told(done: Result<Result<Table, String>, tokio::task::JoinError>) -> Result<Vec<Score>, String> {
    let table = done.map_err(|error| error.to_string())??;
    table.scores.iter().for_each(|score| println!("{score}"));
    Ok(table.scores)
}

async fn serve(file: &Path, write: Option<&Path>) -> Result<(), String> {
    let scenario = Scenario::read(file)?;
    let lab = Lab::start(&scenario).await?;
    println!("DNS   {}", lab.dns().address());
    for (name, peer) in lab.peers() {
        println!("peer  {name}  {}", peer.address());
    }
    if let Some(folder) = write {
        lab.write_config(&scenario, folder)?;
        println!("wrote {0}/gatepost.toml and {0}/settings.toml", folder.display());
    }
    println!("Ctrl-C ends it.");
    let stop = tokio::signal::ctrl_c();
    tokio::select! {
        stopped = stop => stopped.map_err(|error| error.to_string()),
        () = tell(&lab) => Ok(()),
    }
}

/// Prints what is asked and said, as it happens.
async fn tell(lab: &Lab) {
    let mut asked = 0;
    let mut said = vec![0; lab.peers().count()];
    loop {
        let questions = lab.dns().asked();
        questions[asked..].iter().for_each(|question| println!("DNS: {question}"));
        asked = questions.len();
        for ((name, peer), said) in lab.peers().zip(&mut said) {
            let transcript = peer.transcript();
            transcript[*said..].iter().for_each(|line| println!("{name}: {line}"));
            *said = transcript.len();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn check(files: &[PathBuf]) -> Result<(), String> {
    let scenarios = read_all(files)?;
    println!("{} scenarios are well-formed", scenarios.len());
    Ok(())
}

/// Reads all before the first is run: a mistake in the last file shows at once.
fn read_all(files: &[PathBuf]) -> Result<Vec<Scenario>, String> {
    paths_of(files)?.iter().map(|path| Scenario::read(path)).collect()
}

/// Files, and those of folders.
fn paths_of(files: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut paths = Vec::new();
    for file in files {
        if file.is_dir() {
            let entries = std::fs::read_dir(file).map_err(|error| format!("{}: {error}", file.display()))?;
            let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
            found.retain(|path| path.extension().is_some_and(|ending| ending == "toml"));
            found.sort();
            paths.extend(found);
        } else {
            paths.push(file.clone());
        }
    }
    Ok(paths)
}
