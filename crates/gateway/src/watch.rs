//! Watch: the kernel tells when an address of an interface comes or goes (rtnetlink(7)), and the gateway looks at itself again.

use crate::core::Core;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR of linux/rtnetlink.h.
const ADDRESSES: u32 = 0x10 | 0x100;
/// Without the kernel's word, and for the hosts file and the machine's name.
const EVERY: Duration = Duration::from_secs(60);

/// Runs until the gateway stops.
pub(crate) async fn run(core: Arc<Core>) {
    let mut changes = match listen() {
        Ok(changes) => Some(changes),
        Err(error) => {
            let what = format!("interfaces cannot be watched ({error}); their addresses are read once a minute");
            core.record(core.ids.next(), "alert", serde_json::json!({ "what": what }));
            None
        }
    };
    let mut stopping = core.stopping.subscribe();
    loop {
        renew(&core);
        let changed = async {
            match &mut changes {
                Some(changes) => changes.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = changed => changes = changes.filter(|_| changed.is_ok()),
            () = tokio::time::sleep(EVERY) => {}
            _ = stopping.wait_for(|stop| *stop) => return,
        }
    }
}

/// Puts what is new in force, and tells of addresses that came or went.
fn renew(core: &Core) {
    let before = core.in_force();
    if !core.renew_identity() {
        return;
    }
    let after = core.in_force();
    let lacks = |one: &[std::net::IpAddr], other: &[std::net::IpAddr]| -> Vec<String> {
        one.iter().filter(|address| !other.contains(address)).map(ToString::to_string).collect()
    };
    let came = lacks(&after.identity.addresses, &before.identity.addresses);
    let went = lacks(&before.identity.addresses, &after.identity.addresses);
    if !came.is_empty() || !went.is_empty() || after.hostname != before.hostname {
        let fields = serde_json::json!({ "came": came, "went": went, "hostname": after.hostname });
        core.record(core.ids.next(), "identity", fields);
        core.desk.is_due();
    }
}

/// A thread that waits for the kernel's word: its socket is none that tokio has a type for.
fn listen() -> io::Result<watch::Receiver<u64>> {
    let socket = open()?;
    let (told, changes) = watch::channel(0);
    std::thread::Builder::new().name("addresses".to_owned()).spawn(move || {
        // The first octets do: whatever changed, all addresses are read anew.
        let mut octets = [0_u8; 64];
        while !told.is_closed() {
            match recv(&socket, &mut octets[..], RecvFlags::empty()) {
                // More came than the socket holds: addresses have changed, too.
                Ok(_) | Err(Errno::NOBUFS) => told.send_modify(|count| *count += 1),
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    })?;
    Ok(changes)
}

fn open() -> io::Result<OwnedFd> {
    // The netlink family's first protocol is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, ADDRESSES))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_kernel_lets_itself_be_listened_to() {
        super::open().unwrap();
    }
}
