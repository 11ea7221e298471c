//! Started as systemd does: with sockets, and a place where to say READY=1.

use crate::gateway::{Gateway, PATIENCE, free, peer};
use sim::client::Client;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

/// The folder of a gateway whose `gatepost.toml` is this and whose domain corp.test lies at `next_hop`.
fn folder(host: &str, settings: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let host = format!("data = \"data\"\nsettings_file = \"settings.toml\"\n{host}");
    std::fs::write(folder.path().join("gatepost.toml"), host).unwrap();
    std::fs::write(folder.path().join("settings.toml"), settings).unwrap();
    folder
}

/// A listening socket that a child inherits, at a number of two digits or more.
fn socket(address: SocketAddr) -> TcpListener {
    let socket = TcpListener::bind(address).unwrap();
    let high = rustix::io::fcntl_dupfd_cloexec(&socket, 20).unwrap();
    rustix::io::fcntl_setfd(&high, rustix::io::FdFlags::empty()).unwrap();
    high.into()
}

/// `gatepost run` with these sockets at the numbers from 3 on.
fn start(folder: &tempfile::TempDir, sockets: &[(&str, &TcpListener)]) -> Command {
    let places: Vec<String> =
        sockets.iter().enumerate().map(|(at, (_, socket))| format!("{}<&{}", at + 3, socket.as_raw_fd())).collect();
    let names: Vec<&str> = sockets.iter().map(|(name, _)| *name).collect();
    let script = format!(
        "exec {}; export LISTEN_PID=$$ LISTEN_FDS={} LISTEN_FDNAMES={}; exec \"$0\" run",
        places.join(" "),
        sockets.len(),
        names.join(":")
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_gatepost")]).current_dir(folder.path());
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// The next thing said to systemd that begins so.
fn hear(systemd: &UnixDatagram, wanted: &str) {
    let mut buffer = [0; 4096];
    loop {
        let length = systemd.recv(&mut buffer).unwrap_or_else(|error| panic!("{wanted}: {error}"));
        if buffer[..length].starts_with(wanted.as_bytes()) {
            return;
        }
    }
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_systemd_opened_take_mail_and_it_is_told_how_it_goes() {
    let next_hop = peer("").await;
    let folder = folder("", &Gateway::settings(&next_hop));
    let systemd = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let (v4, v6, control) = (socket(free("127.0.0.1")), socket(free("::1")), socket(free("127.0.0.1")));
    let mut child = start(&folder, &[("inbound", &v4), ("control", &control), ("inbound", &v6)])
        .env("NOTIFY_SOCKET", folder.path().join("notify"))
        .env("WATCHDOG_USEC", "100000")
        .spawn()
        .unwrap();
    hear(&systemd, "READY=1\nSTATUS=Listening on 2 addresses");
    for listener in [&v4, &v6] {
        let mut client = Client::connect(None, listener.local_addr().unwrap()).await.unwrap();
        let replies = client.send("out.test", "a@out.test", &["b@corp.test"], b"Subject: x\r\n\r\nx").await.unwrap();
        assert!(replies.last().unwrap().is("250"));
    }
    assert!(next_hop.wait_received(2, PATIENCE).await);
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut page = tokio::net::TcpStream::connect(control.local_addr().unwrap()).await.unwrap();
    page.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    page.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    hear(&systemd, "WATCHDOG=1");
    hear(&systemd, "WATCHDOG=1");
    signal(&child, "-TERM");
    hear(&systemd, "STOPPING=1");
    assert!(child.wait().unwrap().success());
}

/// How the start fails.
fn refused(host: &str, names: &[&str]) -> String {
    let folder = folder(host, "");
    let sockets: Vec<TcpListener> = names.iter().map(|_| socket(free("127.0.0.1"))).collect();
    let named: Vec<(&str, &TcpListener)> = names.iter().copied().zip(&sockets).collect();
    let output = start(&folder, &named).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn sockets_that_fit_nothing_are_refused_by_name() {
    let said = refused("", &["inbound", "inbuond"]);
    assert!(said.contains("\"inbuond\"") && said.contains("FileDescriptorName="), "{said}");
    let said = refused("[listen]\ninbound = [\"127.0.0.1:0\"]\n", &["inbound"]);
    assert!(said.contains("inbound is given twice"), "{said}");
    let said = refused("[control]\nlisten = \"127.0.0.1:0\"\n", &["inbound", "control"]);
    assert!(said.contains("control is given twice"), "{said}");
    let said = refused("", &["inbound", "control", "control"]);
    assert!(said.contains("two sockets named \"control\""), "{said}");
}
