//! The command line: what can be asked, in words; answers are printed by show.rs, or as JSON.

use crate::door::{self, Deed, Only, Question, Which};
use crate::host::{self, Host};
use crate::systemd::Passed;
use crate::{explain, manual, run, sandbox, show, try_it};
use clap::{Args, CommandFactory, Parser, Subcommand};
use control::{Change, Role};
use decide::settings::Settings;
use mail::{Address, AuditId, Domain, ReversePath, Time};
use serde_json::Value;
use std::io::IsTerminal;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// It did not work; the reason is on standard error.
pub(crate) const FAILED: u8 = 1;
/// The question was fine and the answer is no: settings with complaints, a route that leads nowhere, nothing found.
const NO: u8 = 3;

/// Gatepost, a messaging gateway that explains itself.
#[derive(Debug, Parser)]
#[command(
    name = "gatepost",
    version,
    about = "Gatepost, a messaging gateway that explains itself",
    after_help = "First steps:\n  gatepost try                          see mail flow on this machine, nothing to set up\n  gatepost run                          start, with ./gatepost.toml\n  gatepost route user@example.test      where would this mail go, and why\n  gatepost send --to user@example.test  a test message through the real path\n  gatepost queue list                   what waits, and for what\n  gatepost incidents                    what is wrong now, why, and what to do\n  gatepost diagnose user@example.test   the cause, looked for now\n  gatepost identity                     how this gateway looks from outside\n\nExit codes: 0 done, 1 failed (reason on standard error), 2 wrong usage, 3 the answer is no."
)]
pub(crate) struct Cli {
    /// The host's file; if left out, gatepost.toml in this folder, else /etc/gatepost/gatepost.toml
    #[arg(long, global = true, env = "GATEPOST_CONFIG")]
    config: Option<PathBuf>,
    /// Answers as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Try it on this machine alone: a gateway between a small Internet of scripted peers, without privileges
    Try {
        /// First of three ports on 127.0.0.1: inbound, outbound, Control Center
        #[arg(long, default_value_t = 2525)]
        port: u16,
    },
    /// Start the gateway; stops on SIGTERM or Ctrl-C without cutting a message
    Run,
    /// Check gatepost.toml and the settings, and say everything that is wrong
    Check,
    /// Where mail for an address or a domain would go, decided by the production code
    Route {
        /// user@example.test or example.test
        destination: String,
    },
    /// What is in the queue, and what to do with it
    Queue {
        #[command(subcommand)]
        command: QueueCommand,
    },
    /// What became of mail: search and show the audit trail
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// The settings: versions, checks, changes
    Settings {
        #[command(subcommand)]
        command: SettingsCommand,
    },
    /// Send a test message through the real path
    Send {
        #[arg(long)]
        to: Address,
        /// Sender; the postmaster of the settings if left out, `<>` for the null sender
        #[arg(long, value_parser = reverse_path)]
        from: Option<ReversePath>,
        #[arg(long, default_value = "Gatepost test message")]
        subject: String,
        #[arg(long, default_value = "This is a test message sent by `gatepost send`.")]
        body: String,
    },
    /// The cause of a failure: looks at the facts again, and makes test connections that send no message
    Diagnose {
        /// user@example.test (is mail to it possible now?), or an Audit ID (what became of it, and why)
        what: Option<String>,
        /// The sender of the question; alone: why mail from this client address or sender was refused
        #[arg(long)]
        from: Option<String>,
        /// A bounce that somebody else's server wrote about mail to us: the file that holds it, or - for standard input
        #[arg(long, conflicts_with_all = ["what", "from"])]
        bounce: Option<PathBuf>,
    },
    /// The manual page of a finding or a status, or what an SMTP reply or log line means
    Explain {
        /// dns.mx_target_missing, no-banner, '450 4.7.1 …', or a line of a log
        #[arg(required_unless_present = "all", num_args = 1..)]
        text: Vec<String>,
        /// Every finding that there is
        #[arg(long)]
        all: bool,
    },
    /// What is wrong now: stuck mail and refusals grouped by cause, with extent, since when, what changed, what to do
    Incidents,
    /// Who may sign in to the Control Center
    Admin {
        #[command(subcommand)]
        command: AdminCommand,
    },
    /// Other gateways that this one's Control Center shows and sets
    Scanner {
        #[command(subcommand)]
        command: ScannerCommand,
    },
    /// How this gateway looks from outside: names, reverse names, SPF, block lists, port 25, MX, certificates; with what to change
    Identity {
        /// A host name to look at before it is saved
        #[arg(long)]
        hostname: Option<Domain>,
    },
    /// Settings and accounts as one file, and back
    Backup {
        #[command(subcommand)]
        command: BackupCommand,
    },
    /// State of the running gateway
    Status,
    /// All statuses that the gateway makes itself: meaning, causes, fix
    Statuses,
    /// Hash a submission user's password, read from standard input
    Password,
    /// Print the version
    Version,
    /// Completions for a shell, to standard output
    Completions { shell: clap_complete::Shell },
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Manual { folder: PathBuf },
}

#[derive(Debug, Subcommand)]
enum QueueCommand {
    /// List deliveries, oldest first
    List {
        #[command(flatten)]
        which: WhichArgs,
        #[arg(long, default_value_t = 1000)]
        limit: usize,
    },
    /// One message: its deliveries, with the transcript of the last attempt
    Show { id: AuditId },
    /// Attempt now; changes neither the timetable nor the attempts left
    Retry(OrderArgs),
    /// Keep from being delivered until released
    Hold {
        #[command(flatten)]
        order: OrderArgs,
        /// The reason, shown in the queue
        #[arg(long, default_value = "held by an administrator")]
        why: String,
    },
    /// Let held mail go on
    Release(OrderArgs),
    /// Delete without a report to the sender
    Delete(OrderArgs),
    /// Deliver to another next hop
    Reroute {
        /// host[:port] or address[:port]
        #[arg(long)]
        to: String,
        #[command(flatten)]
        order: OrderArgs,
    },
}

#[derive(Debug, Args)]
struct OrderArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Everything in the queue
    #[arg(long)]
    all: bool,
    /// Only say what and how many
    #[arg(long)]
    dry_run: bool,
}

/// Which deliveries; all that is given must match.
#[derive(Debug, Args)]
struct WhichArgs {
    /// Audit IDs
    ids: Vec<AuditId>,
    #[arg(long)]
    sender: Option<String>,
    #[arg(long)]
    recipient: Option<String>,
    /// Recipient domain
    #[arg(long)]
    domain: Option<String>,
    /// Next hop: host, address or part of either
    #[arg(long)]
    next_hop: Option<String>,
    /// Part of the status text
    #[arg(long)]
    status: Option<String>,
    /// Id of the finding, as `gatepost incidents` names it
    #[arg(long)]
    cause: Option<String>,
    /// Held only
    #[arg(long, conflicts_with = "queued")]
    held: bool,
    /// Not held only
    #[arg(long)]
    queued: bool,
    /// Received longer ago than this, such as 90m, 4h or 2d
    #[arg(long, value_parser = duration_ms)]
    older_than: Option<u64>,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Find mail by anything: Audit ID, Message-ID, address, domain, IP, words
    #[command(after_help = SEARCHES)]
    Search {
        term: Option<String>,
        /// Newer than this, such as 2h or 3d
        #[arg(long, value_parser = duration_ms, conflicts_with = "from")]
        since: Option<u64>,
        /// From this time on (UTC): 2026-11-25, "2026-11-25 14:00", or how long ago. With --outcome or --cause it is the time of that
        #[arg(long)]
        from: Option<String>,
        /// Before this time; a day counts to its end
        #[arg(long)]
        until: Option<String>,
        #[command(flatten)]
        only: Box<Only>,
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Everything about one message or connection, in order
    Show { id: AuditId },
}

#[derive(Debug, Subcommand)]
enum ScannerCommand {
    /// All that are enrolled, as they were when they were asked last
    List,
    /// Run on the other gateway: a code by which a Control Center enrols it; it holds a new token and is printed once
    Invite {
        /// Name of the token
        #[arg(long, default_value = "control-center")]
        name: String,
        /// full, or read-only to see and never to change
        #[arg(long, default_value = "full")]
        role: Role,
    },
    /// Enrol the gateway whose code is read from standard input
    Enrol {
        /// As it calls itself, if left out
        #[arg(long, default_value = "")]
        name: String,
    },
    /// Ask one now, stage by stage: name, connection, certificate, token, version, clock
    Test { name: String },
    /// Remove; that gateway goes on as it is
    Remove { name: String },
}

const SEARCHES: &str = "Examples:
  gatepost audit search ann@corp.example --since 2d
  gatepost audit search --outcome refused --client 192.0.2.7 --since 1h
  gatepost audit search invoice --sender shop.example --outcome deferred --from \"2026-11-25 14:00\" --until \"2026-11-25 15:00\"
  gatepost audit search --sender '<>' --listener internal        the gateway's own reports
  gatepost audit search --cause peer.greylist --limit 20

All that is given must hold. Exit code 3: nothing was found.";

#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// The link by which the first administrator is made, in a browser
    FirstStart,
    /// All administrators
    List,
    /// Add one; the password is asked for, or read from standard input
    Add {
        name: String,
        /// full, operator, read-only or help-desk
        #[arg(long, default_value = "full")]
        role: Role,
    },
    /// Give a new password, asked for or read from standard input; ends the second step and all sessions
    ResetPassword { name: String },
    /// Keep from signing in; ends all sessions
    Disable { name: String },
    /// Let sign in again
    Enable { name: String },
    /// Forget failed sign-ins
    Unlock { name: String },
    /// Remove
    Remove { name: String },
    /// Make an API token; it is printed once
    Token {
        name: String,
        /// full, operator, read-only or help-desk
        #[arg(long, default_value = "read-only")]
        role: Role,
        /// Days until it expires
        #[arg(long)]
        days: Option<u32>,
    },
}

#[derive(Debug, Subcommand)]
enum BackupCommand {
    /// Write a backup to a new file; the gateway may run
    Create {
        file: PathBuf,
        /// With the audit trail
        #[arg(long)]
        records: bool,
    },
    /// Check a backup; nothing is changed
    Check { file: PathBuf },
    /// Put a backup's settings and accounts in place of those here; the gateway must be stopped
    Restore { file: PathBuf },
}

#[derive(Debug, Subcommand)]
enum SettingsCommand {
    /// Print the document in force, or a version
    Export {
        #[arg(long)]
        version: Option<u64>,
    },
    /// Check a file; all complaints at once
    Check { file: PathBuf },
    /// What would change
    Diff { file: PathBuf },
    /// Put a file in force as a new version
    Apply {
        file: PathBuf,
        #[arg(long, default_value = "")]
        comment: String,
    },
    /// All versions with author and time
    History,
    /// Put an old version in force again
    Rollback { version: u64 },
    /// Every setting: default, range, meaning
    Reference,
}

fn reverse_path(text: &str) -> Result<ReversePath, String> {
    if text == "<>" || text.is_empty() {
        return Ok(ReversePath::Null);
    }
    text.parse().map(ReversePath::Address).map_err(|error: mail::AddressError| error.to_string())
}

/// `90m`, `4h`, `2d`, in milliseconds.
fn duration_ms(text: &str) -> Result<u64, String> {
    let time = decide::settings::duration(text).and_then(|time| u64::try_from(time.as_millis()).ok());
    time.ok_or_else(|| format!("{text:?} is not a time such as 90m, 4h or 2d"))
}

impl WhichArgs {
    fn which(self) -> Which {
        Which {
            ids: self.ids,
            sender: self.sender,
            recipient: self.recipient,
            domain: self.domain,
            text: self.status,
            held: if self.held { Some(true) } else { self.queued.then_some(false) },
            older_than_ms: self.older_than,
            next_hop: self.next_hop,
            cause: self.cause,
            ..Which::default()
        }
    }
}

impl OrderArgs {
    /// An order without a condition must say `--all`: nobody empties a queue by forgetting a word.
    fn question(self, action: Deed) -> Result<Question, String> {
        let (all, dry_run) = (self.all, self.dry_run);
        let which = self.which.which();
        let open = which.ids.is_empty()
            && which.sender.is_none()
            && which.recipient.is_none()
            && which.domain.is_none()
            && which.text.is_none()
            && which.held.is_none()
            && which.older_than_ms.is_none()
            && which.next_hop.is_none()
            && which.cause.is_none();
        if open && !all {
            return Err("say which deliveries: an Audit ID, a condition such as --domain, or --all".to_owned());
        }
        Ok(Question::Order { action, which, dry_run, by: author() })
    }
}

/// Who gives an order: the user of this shell.
fn author() -> String {
    std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "administrator".to_owned())
}

impl Cli {
    /// What must happen before there are threads. Only the running gateway is confined and takes sockets: commands write where
    /// whoever types them may.
    pub(crate) fn prepare(&self) -> Result<Passed, String> {
        if !self.is_run() {
            return Ok(Passed::default());
        }
        sandbox::enter(&self.host()?)?;
        Passed::take()
    }

    fn host(&self) -> Result<Host, String> {
        Host::read(self.config.as_deref().unwrap_or_else(|| host::usual()))
    }

    /// Does it, and says how it went.
    pub(crate) async fn execute(self, passed: Passed) -> ExitCode {
        match self.answer(passed).await {
            Ok(code) => code,
            Err(error) => {
                eprintln!("gatepost: {error}");
                ExitCode::from(FAILED)
            }
        }
    }

    /// Whether this becomes the gateway itself.
    pub(crate) fn is_run(&self) -> bool {
        matches!(self.command, Command::Run)
    }

    async fn answer(self, passed: Passed) -> Result<ExitCode, String> {
        let (json, host) = (self.json, self.host());
        let host = || host.clone();
        let question = match self.command {
            Command::Run => return run::run(host()?, passed).await.map(|()| ExitCode::SUCCESS),
            Command::Try { port } => return try_it::run(port).await.map(|()| ExitCode::SUCCESS),
            Command::Check => return check(&host()?, json),
            Command::Version => {
                match json {
                    true => println!("{}", serde_json::json!({ "version": env!("CARGO_PKG_VERSION") })),
                    false => println!("gatepost {}", env!("CARGO_PKG_VERSION")),
                }
                return Ok(ExitCode::SUCCESS);
            }
            Command::Completions { shell } => {
                // Not straight to standard output: it would panic when nobody reads on.
                let mut text = Vec::new();
                clap_complete::generate(shell, &mut Cli::command(), "gatepost", &mut text);
                print!("{}", String::from_utf8_lossy(&text));
                return Ok(ExitCode::SUCCESS);
            }
            Command::Manual { folder } => return manual::write(Cli::command(), &folder).map(|()| ExitCode::SUCCESS),
            Command::Statuses => return Ok(show::statuses(json)),
            Command::Password => return hash(),
            Command::Explain { all: true, .. } => return Ok(explain::print_all(json)),
            // What only DNS can tell must be looked at, if there are settings that say for which domains.
            Command::Explain { text, .. } if explain::wants_a_look(&text.join(" ")) && host().is_ok() => {
                Question::DiagnoseBounce { text: text.join(" ") }
            }
            Command::Explain { text, .. } => {
                let page = explain::explain(&text.join(" "))?;
                match json {
                    true => println!("{page}"),
                    false => explain::print_page(&page),
                }
                return Ok(ExitCode::SUCCESS);
            }
            Command::Diagnose { bounce: Some(file), .. } => {
                let read = if file.as_os_str() == "-" {
                    std::io::read_to_string(std::io::stdin())
                } else {
                    std::fs::read(&file).map(|octets| String::from_utf8_lossy(&octets).into_owned())
                };
                let text = read.map_err(|error| format!("cannot read {}: {error}", file.display()))?;
                Question::DiagnoseBounce { text }
            }
            Command::Diagnose { what, from, .. } => explain::question(what, from)?,
            Command::Incidents => Question::Incidents,
            Command::Settings { command: SettingsCommand::Reference } => return Ok(show::reference(json)),
            Command::Settings { command: SettingsCommand::Check { file } } => return check_file(&file, json),
            Command::Route { destination } => Question::Route { domain: domain_of(&destination)? },
            Command::Queue { command } => queue(command)?,
            Command::Audit { command: AuditCommand::Search { term, since, from, until, only, limit } } => {
                let now = crate::clock::now();
                let since = since.map(|ago| Time(now.ms() - i64::try_from(ago).unwrap_or(i64::MAX)));
                let time = |option: &str, text: Option<String>, at_end| {
                    let read = text.map(|text| control::read_time(&text, now, at_end));
                    read.transpose().map_err(|what| format!("{option}: {what}"))
                };
                let (from, until) = (time("--from", from, false)?.or(since), time("--until", until, true)?);
                if from.zip(until).is_some_and(|(from, until)| from >= until) {
                    return Err("--until is not after --from: nothing lies between them".to_owned());
                }
                Question::AuditSearch { term, from, until, limit, only: *only }
            }
            Command::Audit { command: AuditCommand::Show { id } } => Question::AuditShow { id },
            Command::Settings { command } => settings(command)?,
            Command::Send { to, from, subject, body } => Question::Send { from, to, subject, body, by: author() },
            Command::Admin { command } => admin(command)?,
            Command::Scanner { command } => scanner(command)?,
            Command::Backup { command: BackupCommand::Create { file, records } } => {
                return create_backup(&host()?, &file, records, json).await;
            }
            Command::Backup { command: BackupCommand::Check { file } } => {
                return backup(store::backup::check(&file, &host()?.data), "is a good backup", json);
            }
            Command::Backup { command: BackupCommand::Restore { file } } => {
                return backup(store::backup::restore(&file, &host()?.data), "is restored; start the gateway", json);
            }
            Command::Status => Question::Status,
            Command::Identity { hostname } => Question::Identity { hostname },
        };
        let answer = ask(&host()?, question.clone()).await?;
        if json {
            println!("{}", serde_json::to_string_pretty(&answer).unwrap_or_default());
        } else {
            show::answer(&question, &answer);
        }
        Ok(exit(&question, &answer))
    }
}

/// The running gateway if there is one, else the store itself.
async fn ask(host: &Host, question: Question) -> Result<Value, String> {
    let progress = |done: u64| {
        if std::io::stderr().is_terminal() {
            eprint!("\r{done} …");
        }
    };
    // A gateway that is just starting holds the store before it opens its socket.
    let mut patience = 10;
    let core = loop {
        if let Some(answer) = door::ask(&host.socket(), &question, progress).await {
            return answer;
        }
        if matches!(question, Question::Status | Question::FirstStart | Question::ScannerInvite { .. }) {
            return Err(format!("no gateway is running on {}", host.data.display()));
        }
        match run::open(host, Vec::new()) {
            Ok(core) => break core,
            Err(error) if patience == 0 => return Err(error),
            Err(_) => patience -= 1,
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    };
    core.stopping.send_replace(true);
    let (sender, _steps) = tokio::sync::mpsc::unbounded_channel();
    door::answer(&core, question, door::COMMAND, sender).await
}

fn exit(question: &Question, answer: &Value) -> ExitCode {
    let no = match question {
        Question::Route { .. } => answer["verdict"] != "deliver",
        Question::Identity { .. } => answer["state"] == "problem",
        Question::AuditSearch { .. } => answer.as_array().is_some_and(Vec::is_empty),
        _ => false,
    };
    if no { ExitCode::from(NO) } else { ExitCode::SUCCESS }
}

fn domain_of(text: &str) -> Result<Domain, String> {
    match text.rsplit_once('@') {
        Some(_) => text.parse::<Address>().map(|address| address.domain().clone()).map_err(|error| error.to_string()),
        None => text.parse().map_err(|error: mail::DomainError| error.to_string()),
    }
}

fn queue(command: QueueCommand) -> Result<Question, String> {
    Ok(match command {
        QueueCommand::List { which, limit } => Question::QueueList { which: which.which(), limit },
        QueueCommand::Show { id } => Question::QueueShow { id },
        QueueCommand::Retry(order) => order.question(Deed::Retry)?,
        QueueCommand::Hold { order, why } => order.question(Deed::Hold { why })?,
        QueueCommand::Release(order) => order.question(Deed::Release)?,
        QueueCommand::Delete(order) => order.question(Deed::Delete)?,
        QueueCommand::Reroute { to, order } => order.question(Deed::Reroute { hop: to })?,
    })
}

fn settings(command: SettingsCommand) -> Result<Question, String> {
    let read = |file: &PathBuf| {
        std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))
    };
    Ok(match command {
        SettingsCommand::Export { version } => Question::SettingsExport { version },
        SettingsCommand::Diff { file } => Question::SettingsDiff { text: read(&file)? },
        SettingsCommand::Apply { file, comment } => {
            Question::SettingsApply { text: read(&file)?, author: author(), comment, base: None }
        }
        SettingsCommand::History => Question::SettingsHistory,
        SettingsCommand::Rollback { version } => Question::SettingsRollback { version, author: author(), base: None },
        SettingsCommand::Check { .. } | SettingsCommand::Reference => {
            return Err("answered without a gateway".to_owned());
        }
    })
}

fn admin(command: AdminCommand) -> Result<Question, String> {
    let change = match command {
        AdminCommand::FirstStart => return Ok(Question::FirstStart),
        AdminCommand::List => return Ok(Question::Administrators),
        AdminCommand::Add { name, role } => Change::Add { password: secret(&name)?, name, role },
        AdminCommand::ResetPassword { name } => Change::Reset { password: secret(&name)?, name, factor: true },
        AdminCommand::Disable { name } => Change::Disable { name },
        AdminCommand::Enable { name } => Change::Enable { name },
        AdminCommand::Unlock { name } => Change::Unlock { name },
        AdminCommand::Remove { name } => Change::Remove { name },
        AdminCommand::Token { name, role, days } => Change::AddToken { name, role, days },
    };
    Ok(Question::Account { by: author(), change })
}

fn scanner(command: ScannerCommand) -> Result<Question, String> {
    Ok(match command {
        ScannerCommand::List => Question::Scanners,
        ScannerCommand::Invite { name, role } => Question::ScannerInvite { name, role, by: author() },
        ScannerCommand::Enrol { name } => Question::ScannerEnrol { name, code: hidden("Code: ")?, by: author() },
        ScannerCommand::Test { name } => Question::ScannerTest { name },
        ScannerCommand::Remove { name } => Question::ScannerRemove { name, by: author() },
    })
}

fn secret(name: &str) -> Result<String, String> {
    hidden(&format!("Password for {name}: "))
}

/// A secret from standard input; typed by somebody, it is not shown.
fn hidden(prompt: &str) -> Result<String, String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let input = std::io::stdin();
    let before = input.is_terminal().then(|| tcgetattr(&input)).and_then(Result::ok);
    if let Some(before) = &before {
        eprint!("{prompt}");
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&input, OptionalActions::Now, &quiet).map_err(|error| error.to_string())?;
    }
    let mut line = String::new();
    let read = input.read_line(&mut line);
    if let Some(before) = &before {
        eprintln!();
        tcsetattr(&input, OptionalActions::Now, before).map_err(|error| error.to_string())?;
    }
    read.map_err(|error| error.to_string())?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// The running gateway writes below its data folder only, so it makes the file there, and this command takes it where it is wanted, as
/// the user who gave it.
async fn create_backup(host: &Host, file: &Path, records: bool, json: bool) -> Result<ExitCode, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", file.display());
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
    let made = copy_backup(host, &mut out, records).await;
    if made.is_err() {
        // Begun by this command, a moment ago.
        let _ = std::fs::remove_file(file);
    }
    let backup = made.map_err(|error| format!("{}: {error}", file.display()))?;
    match json {
        true => println!("{}", serde_json::to_string_pretty(&backup).unwrap_or_default()),
        false => println!("{}: {}", file.display(), show::backup(&backup)),
    }
    Ok(ExitCode::SUCCESS)
}

async fn copy_backup(host: &Host, out: &mut std::fs::File, records: bool) -> Result<Value, String> {
    let plain = |error: std::io::Error| error.to_string();
    let folder = tempfile::Builder::new().prefix("backup-").tempdir_in(&host.data).map_err(plain)?;
    lend(folder.path(), &host.data).map_err(plain)?;
    let made = std::path::absolute(folder.path().join("backup.tar")).map_err(plain)?;
    let answer = ask(host, Question::Backup { file: made.clone(), records, by: author() }).await?;
    std::fs::File::open(made).and_then(|mut made| std::io::copy(&mut made, out)).map_err(plain)?;
    out.sync_all().map_err(plain)?;
    Ok(answer)
}

/// Root's folder in the gateway's data would be closed to the gateway.
fn lend(folder: &Path, data: &Path) -> std::io::Result<()> {
    let (mine, theirs) = (std::fs::metadata(folder)?, std::fs::metadata(data)?);
    match mine.uid() == theirs.uid() {
        true => Ok(()),
        false => std::os::unix::fs::chown(folder, Some(theirs.uid()), Some(theirs.gid())),
    }
}

fn backup(done: std::io::Result<store::backup::Backup>, what: &str, json: bool) -> Result<ExitCode, String> {
    let backup = done.map_err(|error| error.to_string())?;
    match json {
        true => println!("{}", serde_json::json!(backup)),
        false => println!("{} {what}", show::backup(&serde_json::json!(backup))),
    }
    Ok(ExitCode::SUCCESS)
}

/// Both files, without touching the store.
fn check(host: &Host, json: bool) -> Result<ExitCode, String> {
    match &host.settings_file {
        Some(file) => check_file(file, json),
        None => {
            match json {
                true => println!("{}", show::remarks(true, &[])),
                false => println!("gatepost.toml is good; the settings lie in {}", host.data.display()),
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn check_file(file: &PathBuf, json: bool) -> Result<ExitCode, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let (good, remarks) = match Settings::read(&text) {
        Ok(settings) => (true, settings.notes()),
        Err(complaints) => (false, complaints),
    };
    match (json, good) {
        (true, _) => println!("{}", show::remarks(good, &remarks)),
        (false, true) if remarks.is_empty() => println!("{} is good", file.display()),
        (false, true) => println!("{} is good. Worth knowing:\n{}", file.display(), door::complain(&remarks)),
        (false, false) => println!("{}", door::complain(&remarks)),
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(NO) })
}

/// Reads one line and prints its argon2id hash.
fn hash() -> Result<ExitCode, String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| error.to_string())?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err("type the password on standard input".to_owned());
    }
    println!("{}", crate::password::hash(password)?);
    Ok(ExitCode::SUCCESS)
}
