//! `gatepost try`: a gateway and a small Internet around it, on one machine, without privileges.
//!
//! Everything in between is the real program: the listeners, the spool, DNS over UDP, the peers' conversations.

use crate::host::Host;
use crate::run;
use crate::systemd::Passed;
use sim::dns::{Server, Zone};
use sim::peer::{Peer, Script};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Peers share one port on addresses of their own, as the Internet's mail hosts share 25.
const PEERS_PORT_OFFSET: u16 = 10;

/// `(domain, address, script, what happens there)`.
const PEERS: [(&str, [u8; 4], &str, &str); 5] = [
    ("home.test", [127, 0, 0, 20], "", "your own mail server, behind the gateway"),
    ("friend.test", [127, 0, 0, 21], "", "takes all mail"),
    ("grey.test", [127, 0, 0, 22], "rcpt #1 450 4.2.0 Greylisted, come back later", "greylists the first attempt"),
    ("picky.test", [127, 0, 0, 23], "rcpt 550 5.1.1 no such user here", "knows nobody"),
    ("down.test", [127, 0, 0, 24], "refuse", "no server answers"),
];

/// Runs until Ctrl-C; the folder goes with it.
pub(crate) async fn run(port: u16) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| format!("cannot make a temporary folder: {error}"))?;
    let peers_port = port.checked_add(PEERS_PORT_OFFSET).ok_or("--port is too high")?;
    let zone: String = PEERS.iter().map(|(domain, address, ..)| records(domain, *address)).collect();
    let zone: Zone = zone.parse().map_err(|error| format!("the demonstration's zone: {error:?}"))?;
    let dns = Server::start(SocketAddr::from(([127, 0, 0, 1], 0)), zone)
        .await
        .map_err(|error| format!("cannot start DNS: {error}"))?;
    let mut peers = Vec::new();
    for (domain, address, script, _) in PEERS {
        let script: Script = script.parse().map_err(|error| format!("the script of {domain}: {error:?}"))?;
        let address = SocketAddr::from((address, peers_port));
        let peer = Peer::start(address, script.named(&format!("mx.{domain}"))).await;
        peers.push((
            domain,
            peer.map_err(|error| format!("cannot start the mail server of {domain} at {address}: {error}"))?,
        ));
    }
    let config = write(&folder, port, peers_port, dns.address())?;
    introduce(port, &config);
    tokio::spawn(watch(peers));
    run::run(Host::read(&config)?, Passed::default()).await
}

fn records(domain: &str, address: [u8; 4]) -> String {
    format!("{domain}. MX 10 mx.{domain}.\nmx.{domain}. A {}\n", Ipv4Addr::from(address))
}

/// Both files, as an administrator would write them.
fn write(
    folder: &tempfile::TempDir,
    port: u16,
    peers_port: u16,
    dns: SocketAddr,
) -> Result<std::path::PathBuf, String> {
    let home = SocketAddr::new(IpAddr::from(PEERS[0].1), peers_port);
    let host = format!(
        "data = \"data\"\nsettings_file = \"settings.toml\"\n\n[listen]\ninbound = [\"127.0.0.1:{port}\"]\noutbound = [\"127.0.0.1:{}\"]\n\n[control]\nlisten = \"127.0.0.1:{}\"\n\n[log]\nfile = \"-\"\n",
        port + 1,
        port + 2
    );
    let settings = format!(
        "hostname = \"gateway.home.test\"\n\n[[domain]]\nname = \"home.test\"\nnext_hops = [\"{home}\"]\n\n[delivery]\nport = {peers_port}\nallow_private_addresses = true # the small Internet lies on loopback\n\n[dns]\nservers = [\"{dns}\"]\n\n[retry]\nfirst = \"10s\"\n"
    );
    let config = folder.path().join("gatepost.toml");
    let written =
        std::fs::write(&config, host).and_then(|()| std::fs::write(folder.path().join("settings.toml"), settings));
    written.map_err(|error| format!("cannot write into {}: {error}", folder.path().display()))?;
    Ok(config)
}

fn introduce(port: u16, config: &std::path::Path) {
    println!("A small Internet on this machine:");
    for (domain, address, _, what) in PEERS {
        println!("  {domain:<12} {:<11} {what}", Ipv4Addr::from(address));
    }
    println!("\nIn another terminal:");
    println!("  export GATEPOST_CONFIG={}", config.display());
    println!("  gatepost send --from me@home.test --to you@friend.test     arrives");
    println!("  gatepost send --from me@home.test --to you@grey.test       waits; see it with: gatepost queue list");
    println!("  gatepost send --from me@home.test --to you@picky.test      comes back as a bounce to me@home.test");
    println!("  gatepost send --from me@home.test --to you@down.test       stays in the queue, with the reason");
    println!("  gatepost send --from me@home.test --to you@nowhere.test    the domain does not exist");
    println!("  swaks --server 127.0.0.1:{port} --from you@friend.test --to me@home.test");
    println!("Ctrl-C ends it and leaves nothing behind.\n");
}

/// Tells what arrives.
async fn watch(peers: Vec<(&'static str, Peer)>) {
    let mut seen = vec![0; peers.len()];
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        for (at, (domain, peer)) in peers.iter().enumerate() {
            let received = peer.received();
            for message in received.iter().skip(seen[at]) {
                let text = message.text();
                let subject = text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or_default();
                let sender = if message.sender.is_empty() { "<>" } else { &message.sender };
                println!("==> arrived at {domain}: {sender} → {}  {subject}", message.recipients.join(", "));
            }
            seen[at] = received.len();
        }
    }
}
