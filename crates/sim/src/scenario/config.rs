//! The two files that the gateway is started with: what the scenario says, over what the lab needs.

use std::net::SocketAddr;

use toml::{Table, Value};

/// Under the scenario's `host`.
const HOST: &str = r#"
data = "data"
settings_file = "settings.toml"
[listen]
inbound = ["127.0.0.2:2525"]
outbound = ["127.0.0.2:2526"]
submission = []
[control]
listen = "127.0.0.2:8025"
"#;

/// Under the scenario's `settings`. One port stands for 25, and loopback addresses stand for public ones.
const SETTINGS: &str = r#"
hostname = "gw.corp.test"
postmaster = "postmaster@corp.test"
[delivery]
port = 2525
allow_private_addresses = ["127.0.0.0/8", "::1/128"]
source = [{ address = "127.0.0.2" }]
"#;

/// Is this text usable as `host`?
pub(super) fn check(host: &str) -> Result<(), String> {
    host.parse::<Table>().map(drop).map_err(|error| error.to_string())
}

/// `gatepost.toml`
pub(super) fn host(over: &str) -> Result<Table, String> {
    over_lab(HOST, over)
}

/// `settings.toml`. A text that is no TOML goes to the gateway as it is: that may be what the scenario is about.
pub(super) fn settings(over: &str, dns: SocketAddr) -> String {
    let Ok(mut settings) = over_lab(SETTINGS, over) else { return over.to_owned() };
    let servers = Value::Array(vec![Value::String(dns.to_string())]);
    let lab = Table::from_iter([("dns".to_owned(), Value::Table(Table::from_iter([("servers".to_owned(), servers)])))]);
    settings = merged(lab, settings);
    settings.to_string()
}

/// With a hosts file in place of the machine's own.
pub(super) fn with_hosts(settings: &str, file: &std::path::Path) -> String {
    let Ok(table) = settings.parse::<Table>() else { return settings.to_owned() };
    let file = Value::String(file.display().to_string());
    let dns = Table::from_iter([("hosts_file".to_owned(), file)]);
    merged(table, Table::from_iter([("dns".to_owned(), Value::Table(dns))])).to_string()
}

/// The first listener of this name in a `gatepost.toml`.
pub(super) fn listener(host: &Table, name: &str) -> Option<SocketAddr> {
    host.get("listen")?.get(name)?.get(0)?.as_str()?.parse().ok()
}

/// Where the Control Center of a `gatepost.toml` is.
pub(super) fn control(host: &Table) -> Option<SocketAddr> {
    host.get("control")?.get("listen")?.as_str()?.parse().ok()
}

fn over_lab(lab: &str, over: &str) -> Result<Table, String> {
    let lab: Table = lab.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let over: Table = over.parse().map_err(|error: toml::de::Error| error.to_string())?;
    Ok(merged(lab, over))
}

/// Tables are joined key by key; anything else in `over` stands in place of what was there.
fn merged(mut under: Table, over: Table) -> Table {
    for (key, value) in over {
        let value = match (under.remove(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => Value::Table(merged(under, over)),
            (_, value) => value,
        };
        under.insert(key, value);
    }
    under
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scenario_stands_over_the_lab() {
        let dns = "127.0.0.53:5300".parse().unwrap();
        let text = settings("hostname = \"x.test\"\n[delivery]\nport = 26\n[[domain]]\nname = \"corp.test\"", dns);
        let table: Table = text.parse().unwrap();
        assert_eq!(table["hostname"].as_str(), Some("x.test"));
        assert_eq!(table["delivery"]["port"].as_integer(), Some(26));
        assert_eq!(table["delivery"]["allow_private_addresses"][0].as_str(), Some("127.0.0.0/8"));
        assert_eq!(table["dns"]["servers"][0].as_str(), Some("127.0.0.53:5300"));
        let own = settings("[dns]\nservers = [\"127.0.0.1:53\"]", dns).parse::<Table>().unwrap();
        assert_eq!(own["dns"]["servers"][0].as_str(), Some("127.0.0.1:53"));
    }

    #[test]
    fn listeners_are_found() {
        let host = host("[control]\nlisten = \"127.0.0.3:1\"").unwrap();
        assert_eq!(listener(&host, "outbound"), "127.0.0.2:2526".parse().ok());
        assert_eq!(listener(&host, "submission"), None);
        assert_eq!(control(&host), "127.0.0.3:1".parse().ok());
    }
}
