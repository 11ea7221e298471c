//! systemd: sockets that it opened for us (sd_listen_fds(3)), and what it is told: ready, stopping, alive (sd_notify(3)).

use mail::Listener;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Sockets that were open before the program began, with the name that their unit gives each.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    pub(crate) mail: Vec<(Listener, TcpListener)>,
    pub(crate) control: Option<TcpListener>,
}

impl Passed {
    /// Those of this process; none without systemd. Called before there are threads: it changes the environment.
    pub(crate) fn take() -> Result<Passed, String> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut sockets = listenfd::ListenFd::from_env();
        let mut names = names.split(':');
        let mut passed = Passed::default();
        for at in 0..sockets.len() {
            let name = names.next().unwrap_or_default();
            let socket = sockets
                .take_tcp_listener(at)
                .map_err(|error| {
                    format!(
                        "the socket {name:?} that systemd passed is no TCP socket ({error}): ListenStream=ADDRESS:PORT"
                    )
                })?
                .ok_or("a socket that systemd passed was taken twice")?;
            passed.add(name, socket)?;
        }
        Ok(passed)
    }

    fn add(&mut self, name: &str, socket: TcpListener) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("the socket {name:?} that systemd passed: {error}");
        if !socket2::SockRef::from(&socket).is_listener().map_err(failed)? {
            return Err(format!(
                "the socket {name:?} that systemd passed is a connection: its unit must say Accept=no"
            ));
        }
        socket.set_nonblocking(true).map_err(failed)?;
        let role = [Listener::Inbound, Listener::Outbound, Listener::Submission].into_iter();
        match role.into_iter().find(|role| role.name() == name) {
            Some(role) => self.mail.push((role, socket)),
            None if name == "control" && self.control.is_none() => self.control = Some(socket),
            None if name == "control" => {
                return Err("systemd passed two sockets named \"control\": the Control Center has one".to_owned());
            }
            None => {
                return Err(format!(
                    "systemd passed a socket named {name:?}: its unit must say FileDescriptorName=inbound, outbound, submission or control"
                ));
            }
        }
        Ok(())
    }
}

/// Says something to systemd, as `READY=1` or `STATUS=…`; nothing without it.
pub(crate) fn notify(what: &str) {
    let Some(place) = std::env::var_os("NOTIFY_SOCKET") else { return };
    // A name that begins with @ is in the abstract namespace.
    let address = match place.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&place),
    };
    let sent = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(what.as_bytes(), &address));
    if let Err(error) = sent {
        eprintln!("gatepost: systemd could not be told {what}: {error}");
    }
}

/// Tells systemd that tasks still get their turn, twice in each period of its watchdog, if it has one for this process.
pub(crate) async fn watchdog() {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    if number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id())) {
        return;
    }
    let Some(period) = number("WATCHDOG_USEC").filter(|period| *period > 0).map(Duration::from_micros) else { return };
    loop {
        notify("WATCHDOG=1");
        tokio::time::sleep(period / 2).await;
    }
}
