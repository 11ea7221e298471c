//! A gateway of its own for each test: free ports, a folder that goes with it, the real binary.

use sim::client::{Client, Reply};
use sim::peer::Peer;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

/// Longer than anything here takes on a busy machine; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Gateway {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) inbound: SocketAddr,
    pub(crate) inbound_v6: SocketAddr,
    pub(crate) outbound: SocketAddr,
    pub(crate) submission: SocketAddr,
    control: SocketAddr,
    child: Option<Child>,
}

/// An address that nobody listens on now. The port lies below those that the system gives to outgoing connections (32768
/// and up): of those, another test's connection could take one before the gateway listens there.
pub(crate) fn free(ip: &str) -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 10_000).unwrap() + 12_000;
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed) % 10_000;
        if let Ok(listener) = TcpListener::bind((ip, port)) {
            return listener.local_addr().unwrap();
        }
    }
}

/// A peer with this script at a free port.
pub(crate) async fn peer(script: &str) -> Peer {
    peer_at("127.0.0.1:0", script).await
}

/// A peer at an address of its own: connection limits count by address.
pub(crate) async fn peer_at(address: &str, script: &str) -> Peer {
    let script = script.parse().unwrap_or_else(|error| panic!("the script: {error:?}"));
    Peer::start(address.parse().unwrap(), script).await.unwrap()
}

/// The fields of the `visit` event under the Audit ID that a refusal names, once it is there.
pub(crate) async fn record_of(gateway: &Gateway, refusal: &str) -> serde_json::Value {
    let id = refusal.rsplit_once('(').unwrap().1.trim_end_matches(')').to_owned();
    let started = std::time::Instant::now();
    loop {
        let (code, text) = gateway.run(&["audit", "show", &id, "--json"]);
        let events: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap_or_default();
        if let Some(event) = events.iter().find(|event| code == 0 && event["event"] == "visit") {
            return event["fields"].clone();
        }
        assert!(started.elapsed() < PATIENCE, "{refusal}: {text}");
    }
}

impl Gateway {
    /// Settings of a gateway whose domain corp.test lies at the peer.
    pub(crate) fn settings(peer: &Peer) -> String {
        format!("hostname = \"gw.corp.test\"\n[[domain]]\nname = \"corp.test\"\nnext_hops = [\"{}\"]\n", peer.address())
    }

    pub(crate) async fn start(settings: &str) -> Gateway {
        let gateway = Gateway::start_unprobed(settings).await;
        let banner = gateway.client().await.banner;
        assert!(banner.is("220"), "{banner}");
        gateway
    }

    /// Of a gateway that will not greet the harness.
    pub(crate) async fn start_unprobed(settings: &str) -> Gateway {
        Gateway::start_knowing(|_| settings.to_owned()).await
    }

    /// With settings that speak of the gateway's own ports and folder; files may be laid into that beforehand.
    pub(crate) async fn start_knowing(settings: impl FnOnce(&Gateway) -> String) -> Gateway {
        let folder = tempfile::tempdir().unwrap();
        let (inbound, outbound, submission, control) =
            (free("127.0.0.1"), free("127.0.0.1"), free("127.0.0.1"), free("127.0.0.1"));
        let inbound_v6 = free("::1");
        let host = format!(
            "data = \"data\"\nsettings_file = \"settings.toml\"\n[listen]\ninbound = [\"{inbound}\", \"{inbound_v6}\"]\noutbound = [\"{outbound}\"]\nsubmission = [\"{submission}\"]\n[control]\nlisten = \"{control}\"\n"
        );
        std::fs::write(folder.path().join("gatepost.toml"), host).unwrap();
        let mut gateway = Gateway { folder, inbound, inbound_v6, outbound, control, submission, child: None };
        std::fs::write(gateway.path("settings.toml"), settings(&gateway)).unwrap();
        gateway.launch().await;
        gateway
    }

    /// Starts the program and waits until its socket answers.
    pub(crate) async fn launch(&mut self) {
        let child = self.command(&["run"]).stdout(Stdio::null()).spawn().unwrap();
        self.child = Some(child);
        let started = std::time::Instant::now();
        while started.elapsed() < PATIENCE {
            if self.run(&["status"]).0 == 0 {
                return;
            }
            let ended = self.child.as_mut().and_then(|child| child.try_wait().unwrap());
            assert!(ended.is_none(), "the gateway ended at once: {ended:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the gateway does not answer");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Adds to gatepost.toml; for the next start.
    pub(crate) fn amend(&self, more: &str) {
        let file = self.path("gatepost.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, text + more).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost"));
        command.current_dir(self.folder.path()).args(args);
        command
    }

    /// Runs a command; `(exit code, standard output and error)`.
    pub(crate) fn run(&self, args: &[&str]) -> (i32, String) {
        let output = self.command(args).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or(-1), text)
    }

    /// The same with something to read on standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: &str) -> (i32, String) {
        let piped =
            |command: &mut Command| command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = piped(&mut self.command(args)).unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), format!("{input}\n").as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or(-1), text)
    }

    /// `queue list --json`.
    pub(crate) fn queue(&self) -> Vec<serde_json::Value> {
        let (code, text) = self.run(&["queue", "list", "--json"]);
        assert_eq!(code, 0, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until the queue looks as wanted.
    pub(crate) async fn wait_queue(
        &self,
        what: &str,
        wanted: impl Fn(&[serde_json::Value]) -> bool,
    ) -> Vec<serde_json::Value> {
        let started = std::time::Instant::now();
        loop {
            let queue = self.queue();
            if wanted(&queue) {
                return queue;
            }
            assert!(started.elapsed() < PATIENCE, "{what}, but the queue is {queue:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// GET from the Control Center: head and body.
    pub(crate) async fn http(&self, path: &str) -> String {
        self.request(&format!("GET {path}"), "", "").await
    }

    /// A request to the Control Center: head and body of the answer. `headers` are whole lines.
    pub(crate) async fn request(&self, what: &str, headers: &str, body: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut socket = tokio::net::TcpStream::connect(self.control).await.unwrap();
        let (length, form) = (body.len(), "Content-Type: application/x-www-form-urlencoded\r\n");
        let kind = if headers.contains("Content-Type:") { "" } else { form };
        let request = format!(
            "{what} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{kind}Content-Length: {length}\r\n{headers}\r\n{body}"
        );
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// The log, once it looks as wanted.
    pub(crate) async fn wait_log(&self, wanted: impl Fn(&str) -> bool) -> String {
        let started = std::time::Instant::now();
        loop {
            let log = std::fs::read_to_string(self.path("data/maillog")).unwrap_or_default();
            if wanted(&log) {
                return log;
            }
            assert!(started.elapsed() < PATIENCE, "the log is {log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(None, self.inbound).await.unwrap()
    }

    /// One message by the inbound listener: the last reply.
    pub(crate) async fn send(&self, from: &str, to: &str, content: &str) -> Reply {
        let mut client = self.client().await;
        let replies = client.send("out.test", from, &[to], content.as_bytes()).await.unwrap();
        replies.last().unwrap().clone()
    }

    /// One message by the outbound listener: the last reply.
    pub(crate) async fn send_out(&self, from: &str, to: &[&str], content: &str) -> Reply {
        let mut client = Client::connect(None, self.outbound).await.unwrap();
        client.send("inside.test", from, to, content.as_bytes()).await.unwrap().last().unwrap().clone()
    }

    /// SIGKILL: nothing of the program gets a chance to tidy up.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM to the program, by its pid.
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// SIGSTOP or SIGCONT: the kernel goes on accepting and buffering meanwhile.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// What the kernel says of the program: `environ`, `status`.
    pub(crate) fn proc(&self, file: &str) -> String {
        let pid = self.child.as_ref().unwrap().id();
        String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/{file}")).unwrap()).into_owned()
    }

    /// Waits for the program's own end.
    pub(crate) async fn ended(&mut self) -> bool {
        let started = std::time::Instant::now();
        while started.elapsed() < PATIENCE {
            if self.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                self.child = None;
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}
