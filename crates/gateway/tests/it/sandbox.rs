//! What the running gateway cannot do. That it works under the same restrictions, every other test here shows: they are on by default.

use crate::gateway::{Gateway, peer};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

/// A question on the command socket, answered by the running gateway itself.
fn ask(gateway: &Gateway, question: &serde_json::Value) -> String {
    let mut socket = UnixStream::connect(gateway.path("data/gatepost.sock")).unwrap();
    socket.write_all(format!("{question}\n").as_bytes()).unwrap();
    BufReader::new(socket).lines().map(Result::unwrap).last().unwrap()
}

fn backup_to(file: &std::path::Path) -> serde_json::Value {
    serde_json::json!({ "ask": "backup", "file": file, "records": false, "by": "a test" })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_running_gateway_writes_nowhere_but_in_its_data_folder() {
    let gateway = Gateway::start("").await;
    let outside = tempfile::tempdir().unwrap();
    let file = outside.path().join("backup.tar");
    for forbidden in [file.clone(), gateway.path("backup.tar"), "/var/tmp/gatepost-backup.tar".into()] {
        let answer = ask(&gateway, &backup_to(&forbidden));
        assert!(answer.contains("error") && answer.contains("Permission denied"), "{answer}");
        assert!(!forbidden.exists(), "{forbidden:?}");
    }
    let inside = gateway.path("data/backup.tar");
    let answer = ask(&gateway, &backup_to(&inside));
    assert!(answer.contains("done") && inside.exists(), "{answer}");
    // The command takes it further, with the rights of whoever types it.
    let (code, text) = gateway.run(&["backup", "create", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(gateway.run(&["backup", "check", file.to_str().unwrap()]).0, 0);
    let (code, text) = gateway.run(&["backup", "create", file.to_str().unwrap()]);
    assert!(code == 1 && text.contains("File exists"), "{text}");
    let left = std::fs::read_dir(gateway.path("data")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).filter(|name| name != "backup.tar").collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("backup")), "{left:?}");
}

/// `Seccomp` and `NoNewPrivs` of every thread.
fn confined(gateway: &Gateway) -> Vec<(String, String)> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).unwrap();
    let status = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).unwrap());
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].trim().to_owned()
    };
    status.map(|text| (field(&text, "Seccomp:"), field(&text, "NoNewPrivs:"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_thread_has_the_filter_and_gains_no_privileges() {
    let gateway = Gateway::start("").await;
    let threads = confined(&gateway);
    assert!(threads.len() > 3, "{threads:?}");
    assert!(threads.iter().all(|thread| *thread == ("2".to_owned(), "1".to_owned())), "{threads:?}");
    let (_, status) = gateway.run(&["status"]);
    assert!(status.contains("in force: files, system calls"), "{status}");
    gateway.wait_log(|log| log.contains("SANDBOX") && log.contains("sandbox in force: files, system calls")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gatepost_toml_turns_it_off() {
    let mut gateway = Gateway::start("").await;
    gateway.kill();
    gateway.amend("[sandbox]\nenabled = false\n");
    gateway.launch().await;
    assert!(confined(&gateway).iter().all(|thread| *thread == ("0".to_owned(), "0".to_owned())));
    assert!(gateway.run(&["status"]).1.contains("off: gatepost.toml says so"));
    let outside = tempfile::tempdir().unwrap();
    let answer = ask(&gateway, &backup_to(&outside.path().join("backup.tar")));
    assert!(answer.contains("done"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_out_of_reach_is_refused_with_the_way_out_and_read_once_its_folder_is_named() {
    let next_hop = peer("").await;
    let settings = Gateway::settings(&next_hop);
    let mut gateway = Gateway::start(&settings).await;
    let outside = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["gw.corp.test".to_owned()]).unwrap();
    let (certificate, key) = (outside.path().join("cert.pem"), outside.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let with = format!("{settings}[listener.inbound]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    std::fs::write(gateway.path("with.toml"), with).unwrap();
    let (code, text) = gateway.run(&["settings", "apply", "with.toml"]);
    assert!(code == 1 && text.contains("[sandbox] read") && text.contains("cert.pem"), "{text}");
    gateway.kill();
    gateway.amend(&format!("[sandbox]\nread = [{:?}]\n", outside.path()));
    gateway.launch().await;
    let (code, text) = gateway.run(&["settings", "apply", "with.toml"]);
    assert_eq!(code, 0, "{text}");
}
