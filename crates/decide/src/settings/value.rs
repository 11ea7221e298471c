//! The values that settings can have: how each is read from TOML and written again.

use super::book::{Book, Entry};
use super::form::Shape;
use super::{
    AddressFamily, AlertKind, Check, Host, InvalidRecipients, LoopAnswer, Mailboxes, Mode, NextHop, NextHops,
    PasswordHash, PrivateAddresses, Spf, Tls, WebAddress,
};
use ipnet::IpNet;
use mail::{Address, Domain};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// A type that a key can have.
pub(super) trait Setting: Sized {
    /// Completes "must be …".
    const WHAT: &'static str;
    /// Never shown to anybody.
    const SECRET: bool = false;

    /// How it is typed into a form.
    fn shape() -> Shape {
        Shape::Toml
    }

    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>>;
    /// As TOML; None: the key is left out.
    fn show(&self) -> Option<String>;
}

/// What is wrong with a value. An empty text stands for "must be" and the key's range.
pub(super) struct Problem {
    pub(super) span: Range<usize>,
    pub(super) value: String,
    pub(super) text: String,
    pub(super) suggestion: Option<String>,
}

impl Problem {
    pub(super) fn of(value: &Spanned<DeValue<'_>>, text: &str) -> Problem {
        Problem { span: value.span(), value: written(value.get_ref()), text: text.to_owned(), suggestion: None }
    }

    fn must_be<T: Setting>(value: &Spanned<DeValue<'_>>) -> Vec<Problem> {
        vec![Problem::of(value, &format!("must be {}", T::WHAT))]
    }

    fn suggesting(self, suggestion: String) -> Problem {
        Problem { suggestion: Some(suggestion), ..self }
    }
}

fn written(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => quoted(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(yes) => yes.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(_) => "[…]".to_owned(),
        DeValue::Table(_) => "{…}".to_owned(),
    }
}

pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn string<'v>(value: &'v Spanned<DeValue<'_>>) -> Option<&'v str> {
    value.get_ref().as_str()
}

/// Reads a text with a function, or says what it must be.
fn text<T: Setting>(value: &Spanned<DeValue<'_>>, parse: impl Fn(&str) -> Option<T>) -> Result<T, Vec<Problem>> {
    string(value).and_then(parse).ok_or_else(|| Problem::must_be::<T>(value))
}

fn whole(value: &Spanned<DeValue<'_>>) -> Option<i128> {
    let number = value.get_ref().as_integer()?;
    i128::from_str_radix(number.as_str(), number.radix()).ok()
}

fn number<T: TryFrom<i128>>(value: &Spanned<DeValue<'_>>) -> Result<T, Vec<Problem>> {
    whole(value).and_then(|number| T::try_from(number).ok()).ok_or_else(|| vec![Problem::of(value, "")])
}

impl Setting for u16 {
    const WHAT: &'static str = "a whole number";
    fn shape() -> Shape {
        Shape::Number
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        number(value)
    }
    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Setting for u32 {
    const WHAT: &'static str = "a whole number";
    fn shape() -> Shape {
        Shape::Number
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        number(value)
    }
    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Setting for u64 {
    const WHAT: &'static str = "a whole number";
    fn shape() -> Shape {
        Shape::Number
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        number(value)
    }
    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Setting for bool {
    const WHAT: &'static str = "true or false";
    fn shape() -> Shape {
        Shape::YesNo
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        value.get_ref().as_bool().ok_or_else(|| Problem::must_be::<Self>(value))
    }
    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Setting for Check {
    const WHAT: &'static str = "true, false, or the text to refuse with";
    fn shape() -> Shape {
        Shape::Check
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        if let Some(on) = value.get_ref().as_bool() {
            return Ok(Check { on, text: None });
        }
        // What goes into a reply must be one line of ASCII (RFC 5321 4.2).
        let is_line =
            |text: &str| !text.is_empty() && text.len() <= 300 && text.bytes().all(|octet| (32..127).contains(&octet));
        text(value, |text| is_line(text).then(|| Check { on: true, text: Some(text.to_owned()) }))
    }
    fn show(&self) -> Option<String> {
        Some(self.text.as_ref().map_or_else(|| self.on.to_string(), |text| quoted(text)))
    }
}

impl Setting for String {
    const WHAT: &'static str = "a text";
    fn shape() -> Shape {
        Shape::Text
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        text(value, |text| (!text.is_empty()).then(|| text.to_owned()))
    }
    fn show(&self) -> Option<String> {
        Some(quoted(self))
    }
}

impl Setting for PathBuf {
    const WHAT: &'static str = "the path of a file";
    fn shape() -> Shape {
        Shape::Text
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        text(value, |text| (!text.is_empty()).then(|| text.into()))
    }
    fn show(&self) -> Option<String> {
        Some(quoted(&self.to_string_lossy()))
    }
}

/// A file whose default is not none: the empty text says none.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FileOrNone(pub(super) Option<PathBuf>);

impl Setting for FileOrNone {
    const WHAT: &'static str = "the path of a file, or \"\" for none";
    fn shape() -> Shape {
        Shape::Text
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        text(value, |text| Some(FileOrNone((!text.is_empty()).then(|| text.into()))))
    }
    fn show(&self) -> Option<String> {
        Some(self.0.as_ref().map_or_else(|| quoted(""), |path| quoted(&path.to_string_lossy())))
    }
}

/// Bytes. `10MB` is 10,485,760 bytes, as such gateways have always counted.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(super) struct Size(pub(super) u64);

const SIZE_UNITS: [(&str, u64); 5] = [("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10), ("B", 1)];

impl Setting for Size {
    const WHAT: &'static str = "a size such as 10485760 or \"10MB\"";
    fn shape() -> Shape {
        Shape::Size
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        if value.get_ref().as_integer().is_some() {
            return number(value).map(Size);
        }
        text(value, size)
    }
    fn show(&self) -> Option<String> {
        let even = SIZE_UNITS.iter().find(|(_, bytes)| self.0 > 0 && self.0.is_multiple_of(*bytes));
        Some(even.map_or(self.0.to_string(), |(unit, bytes)| {
            if *bytes == 1 { self.0.to_string() } else { format!("\"{}{unit}\"", self.0 / bytes) }
        }))
    }
}

fn size(text: &str) -> Option<Size> {
    let text = text.trim().to_ascii_uppercase();
    let (unit, bytes) = SIZE_UNITS.iter().find(|(unit, _)| text.ends_with(unit)).unwrap_or(&("", 1));
    let count: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
    count.checked_mul(*bytes).map(Size)
}

const TIME_UNITS: [(char, u64); 5] = [('w', 604_800), ('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

impl Setting for Duration {
    const WHAT: &'static str = "a time such as \"30s\", \"15m\", \"1h30m\" or \"5d\"";
    fn shape() -> Shape {
        Shape::Text
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        if let Some(seconds) = whole(value) {
            let problem = Problem::of(value, "needs a unit: s, m, h, d or w");
            return Err(vec![problem.suggesting(format!("\"{seconds}s\" for seconds"))]);
        }
        text(value, duration)
    }
    fn show(&self) -> Option<String> {
        Some(quoted(&time_words(*self)))
    }
}

/// `90m`, `1h30m`: a time as settings write it.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut seconds: u64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest[..end].parse().ok()?;
        let letter = rest[end..].chars().next()?;
        let unit = TIME_UNITS.iter().find(|(unit, _)| *unit == letter)?.1;
        seconds = seconds.checked_add(count.checked_mul(unit)?)?;
        rest = rest[end + letter.len_utf8()..].trim_start();
    }
    (!text.trim().is_empty()).then(|| Duration::from_secs(seconds))
}

/// `1h45m`: in the units that settings are written in, weeks as days.
pub(crate) fn time_words(time: Duration) -> String {
    let mut seconds = time.as_secs();
    let mut words = String::new();
    for (unit, length) in &TIME_UNITS[1..] {
        if seconds >= *length {
            words.push_str(&format!("{}{unit}", seconds / length));
            seconds %= length;
        }
    }
    if words.is_empty() { "0s".to_owned() } else { words }
}

impl Setting for IpAddr {
    const WHAT: &'static str = "an address such as \"192.0.2.1\" or \"2001:db8::1\"";
    fn shape() -> Shape {
        Shape::Text
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        text(value, |text| text.parse().ok())
    }
    fn show(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

impl Setting for IpNet {
    const WHAT: &'static str = "a network such as \"192.0.2.0/24\" or \"2001:db8::/32\"";
    fn shape() -> Shape {
        Shape::Text
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        let net: IpNet =
            text(value, |text| text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from)))?;
        if net.trunc() == net {
            return Ok(net);
        }
        let problem = Problem::of(value, &format!("has bits set beyond its first {}", net.prefix_len()));
        Err(vec![problem.suggesting(format!("\"{}\" or \"{}\"?", net.trunc(), net.addr()))])
    }
    fn show(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

/// Only DNS servers are written so: the port is 53 unless given.
impl Setting for SocketAddr {
    const WHAT: &'static str = "an address, with a port if it is not 53: \"127.0.0.53\", \"[::1]:5300\"";
    fn shape() -> Shape {
        Shape::Text
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        text(value, |text| {
            text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, 53)))
        })
    }
    fn show(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

impl Setting for Domain {
    const WHAT: &'static str = "a domain such as \"corp.test\"";
    fn shape() -> Shape {
        Shape::Text
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        let parsed = string(value).ok_or_else(|| Problem::must_be::<Self>(value))?.parse::<Domain>();
        let domain = parsed.map_err(|error| vec![Problem::of(value, &reason(&error.0, Self::WHAT))])?;
        if domain.literal().is_some() {
            return Err(Problem::must_be::<Self>(value));
        }
        Ok(domain)
    }
    fn show(&self) -> Option<String> {
        Some(quoted(self.as_str()))
    }
}

/// `"a..b" is not a domain: it has an empty label` → `must be a domain …: it has an empty label`.
fn reason(error: &str, what: &str) -> String {
    let why = error.rsplit_once(": ").map_or(String::new(), |(_, why)| format!(": {why}"));
    format!("must be {what}{why}")
}

impl Setting for Address {
    const WHAT: &'static str = "an address such as \"user@corp.test\"";
    fn shape() -> Shape {
        Shape::Text
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        let parsed = string(value).ok_or_else(|| Problem::must_be::<Self>(value))?.parse::<Address>();
        parsed.map_err(|error| vec![Problem::of(value, &reason(&error.0, Self::WHAT))])
    }
    fn show(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

impl Setting for Mailboxes {
    const WHAT: &'static str = "an address such as \"user@corp.test\" or a domain such as \"@corp.test\"";
    fn shape() -> Shape {
        Shape::Text
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        text(value, |text| match text.strip_prefix('@') {
            Some(domain) => domain.parse().ok().map(Mailboxes::Domain),
            None => text.parse().ok().map(Mailboxes::One),
        })
    }
    fn show(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

impl Setting for NextHop {
    const WHAT: &'static str = "a host or address, with a port if it has its own: \"mail.corp.test\", \"192.0.2.1:2525\", \"[::1]:25\", {host = \"…\", port = 25, preference = 10}";
    fn shape() -> Shape {
        Shape::Text
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        match value.get_ref().as_table() {
            Some(table) => hop_of_table(value, table),
            None => text(value, hop),
        }
    }
    fn show(&self) -> Option<String> {
        let (name, port) = (self.host.to_string(), self.port);
        if self.preference != 0 {
            let port = port.map_or(String::new(), |port| format!("port = {port}, "));
            return Some(format!("{{ host = {}, {port}preference = {} }}", quoted(&name), self.preference));
        }
        Some(quoted(&match (&self.host, port) {
            (Host::Addr(address), Some(port)) => SocketAddr::new(*address, port).to_string(),
            (_, Some(port)) => format!("{name}:{port}"),
            (_, None) => name,
        }))
    }
}

fn hop(text: &str) -> Option<NextHop> {
    let alone = |host| NextHop { host, port: None, preference: 0 };
    let with = |host, port: u16| (port != 0).then_some(NextHop { host, port: Some(port), preference: 0 });
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(alone(Host::Addr(address)));
    }
    if let Ok(socket) = text.parse::<SocketAddr>() {
        return with(Host::Addr(socket.ip()), socket.port());
    }
    if let Some(address) =
        text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).and_then(|text| text.parse::<Ipv6Addr>().ok())
    {
        return Some(alone(Host::Addr(address.into())));
    }
    match text.split_once(':') {
        Some((name, port)) => with(Host::Name(name_of_host(name)?), port.parse().ok()?),
        None => name_of_host(text).map(|name| alone(Host::Name(name))),
    }
}

/// "mx" is a way, not a host; four numbers that are no address are a slip.
fn name_of_host(text: &str) -> Option<Domain> {
    let numbers = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    text.parse::<Domain>().ok().filter(|name| name.as_str() != "mx" && !numbers && name.literal().is_none())
}

fn hop_of_table(value: &Spanned<DeValue<'_>>, table: &toml::de::DeTable<'_>) -> Result<NextHop, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut small = |key: &str| match table.get(key).map(number::<u16>) {
        None => None,
        Some(Ok(number)) => Some(number),
        Some(Err(_)) => {
            problems.push(Problem::of(value, &format!("its {key} must be 0 to 65535")));
            None
        }
    };
    let (port, preference) = (small("port"), small("preference"));
    let host = table.get("host").and_then(string).and_then(hop);
    if let Some((unknown, _)) =
        table.iter().find(|(key, _)| !["host", "port", "preference"].contains(&key.get_ref().as_ref()))
    {
        problems.push(
            Problem::of(value, &format!("`{}` is not a setting of a next hop", unknown.get_ref()))
                .suggesting("known here: host, port, preference".to_owned()),
        );
    }
    match host {
        Some(hop) if problems.is_empty() => Ok(NextHop {
            port: port.filter(|port| *port != 0).or(hop.port),
            preference: preference.unwrap_or(0),
            ..hop
        }),
        Some(_) => Err(problems),
        None => Err(Problem::must_be::<NextHop>(value)),
    }
}

impl Setting for PrivateAddresses {
    const WHAT: &'static str = "true, false, or a list of networks such as [\"10.1.0.0/16\"]";
    fn shape() -> Shape {
        Shape::YesNoOrLines
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        match value.get_ref() {
            DeValue::Boolean(true) => Ok(PrivateAddresses::All),
            DeValue::Boolean(false) => Ok(PrivateAddresses::None),
            DeValue::Array(_) => Vec::read(value).map(PrivateAddresses::Networks),
            _ => Err(Problem::must_be::<Self>(value)),
        }
    }
    fn show(&self) -> Option<String> {
        match self {
            PrivateAddresses::None => Some("false".to_owned()),
            PrivateAddresses::All => Some("true".to_owned()),
            PrivateAddresses::Networks(networks) => networks.show(),
        }
    }
}

impl Setting for NextHops {
    const WHAT: &'static str = "\"mx\" or a list of hosts such as [\"mail.corp.test\", \"192.0.2.1:2525\"]";
    fn shape() -> Shape {
        Shape::MxOrLines
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        match value.get_ref() {
            DeValue::String(text) if text.eq_ignore_ascii_case("mx") => Ok(NextHops::Mx),
            DeValue::Array(_) => Vec::read(value).map(NextHops::Hops),
            DeValue::String(_) | DeValue::Table(_) => NextHop::read(value).map(|hop| NextHops::Hops(vec![hop])),
            _ => Err(Problem::must_be::<Self>(value)),
        }
    }
    fn show(&self) -> Option<String> {
        match self {
            NextHops::Mx => Some("\"mx\"".to_owned()),
            NextHops::Hops(hops) => hops.show(),
        }
    }
}

impl Setting for LoopAnswer {
    const WHAT: &'static str = "refuse, hold or a next hop such as \"192.0.2.9:25\"";
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        match string(value) {
            Some("refuse") => Ok(LoopAnswer::Refuse),
            Some("hold") => Ok(LoopAnswer::Hold),
            // A single word is more likely a slip than a host.
            Some(text) if !text.contains(['.', ':']) => Err(Problem::must_be::<Self>(value)),
            _ => match NextHop::read(value) {
                Ok(hop) => Ok(LoopAnswer::Reroute(hop)),
                Err(_) => Err(Problem::must_be::<Self>(value)),
            },
        }
    }
    fn show(&self) -> Option<String> {
        match self {
            LoopAnswer::Refuse => Some(quoted("refuse")),
            LoopAnswer::Hold => Some(quoted("hold")),
            LoopAnswer::Reroute(hop) => hop.show(),
        }
    }
}

/// The parts of `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`.
const HASH_PARTS: usize = 6;

impl Setting for PasswordHash {
    const WHAT: &'static str = "an argon2id hash (\"$argon2id$v=19$m=…,t=…,p=…$salt$hash\"), never the password itself";
    const SECRET: bool = true;
    fn shape() -> Shape {
        Shape::Text
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        text(value, |text| {
            let parts: Vec<&str> = text.split('$').collect();
            let whole =
                parts.len() == HASH_PARTS && parts[1] == "argon2id" && parts[2..].iter().all(|part| !part.is_empty());
            whole.then(|| PasswordHash(text.to_owned()))
        })
    }
    fn show(&self) -> Option<String> {
        Some(quoted(&self.0))
    }
}

impl Setting for WebAddress {
    const WHAT: &'static str =
        "an address that begins with https:// or http:// and has a host, such as \"https://chat.corp.test/hook\"";
    /// Whoever knows it can send to it.
    const SECRET: bool = true;
    fn shape() -> Shape {
        Shape::Text
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        text(value, |text| {
            let rest = text.strip_prefix("https://").or(text.strip_prefix("http://"))?;
            let host = rest.split(['/', '?']).next().unwrap_or_default();
            let good = !host.is_empty() && !host.contains('@') && text.bytes().all(|byte| byte.is_ascii_graphic());
            good.then(|| WebAddress(text.to_owned()))
        })
    }
    fn show(&self) -> Option<String> {
        Some(quoted(&self.0))
    }
}

/// Absent, or an empty text: none.
impl<T: Setting> Setting for Option<T> {
    const WHAT: &'static str = T::WHAT;
    const SECRET: bool = T::SECRET;
    fn shape() -> Shape {
        T::shape()
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        if string(value) == Some("") {
            return Ok(None);
        }
        T::read(value).map(Some)
    }
    fn show(&self) -> Option<String> {
        self.as_ref().and_then(Setting::show)
    }
}

impl<T: Setting> Setting for Vec<T> {
    const WHAT: &'static str = T::WHAT;
    fn shape() -> Shape {
        Shape::Lines
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        let items = value
            .get_ref()
            .as_array()
            .ok_or_else(|| vec![Problem::of(value, &format!("must be a list; each must be {}", T::WHAT))])?;
        let (mut good, mut problems) = (Vec::new(), Vec::new());
        for item in items.iter() {
            match T::read(item) {
                Ok(item) => good.push(item),
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() { Ok(good) } else { Err(problems) }
    }
    fn show(&self) -> Option<String> {
        let items: Vec<String> = self.iter().filter_map(Setting::show).collect();
        Some(format!("[{}]", items.join(", ")))
    }
}

impl<T: Setting + Entry> Setting for Book<T> {
    const WHAT: &'static str = T::WHAT;
    fn shape() -> Shape {
        Shape::Lines
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        let mut book = Book::default();
        for item in Vec::<T>::read(value)? {
            if let Err(twice) = book.add(item) {
                return Err(vec![Problem::of(value, &format!("names {} twice", twice.key()))]);
            }
        }
        Ok(book)
    }
    fn show(&self) -> Option<String> {
        let items: Vec<String> = self.iter().filter_map(Setting::show).collect();
        Some(format!("[{}]", items.join(", ")))
    }
}

/// A choice between a few words.
pub(super) trait Choice: Copy + PartialEq + 'static {
    const WORDS: &'static [(&'static str, Self)];
    const WHAT: &'static str;
}

impl<T: Choice> Setting for T {
    const WHAT: &'static str = T::WHAT;
    fn shape() -> Shape {
        Shape::Choice(T::WORDS.iter().map(|(word, _)| *word).collect())
    }
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        text(value, |text| T::WORDS.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice))
    }
    fn show(&self) -> Option<String> {
        T::WORDS.iter().find(|(_, choice)| choice == self).map(|(word, _)| quoted(word))
    }
}

impl Choice for Spf {
    const WHAT: &'static str = "off, mark or enforce";
    const WORDS: &'static [(&'static str, Self)] = &[("off", Spf::Off), ("mark", Spf::Mark), ("enforce", Spf::Enforce)];
}

impl Choice for AlertKind {
    const WHAT: &'static str = "incidents, queue, disk, certificates, identity or scanners";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("incidents", AlertKind::Incidents),
        ("queue", AlertKind::Queue),
        ("disk", AlertKind::Disk),
        ("certificates", AlertKind::Certificates),
        ("identity", AlertKind::Identity),
        ("scanners", AlertKind::Scanners),
    ];
}

impl Choice for Mode {
    const WHAT: &'static str = "accept-and-deliver, pause-delivery or drain";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("accept-and-deliver", Mode::AcceptAndDeliver),
        ("pause-delivery", Mode::PauseDelivery),
        ("drain", Mode::Drain),
    ];
}

impl Choice for Tls {
    const WHAT: &'static str = "off, offer, require or verify";
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Tls::Off), ("offer", Tls::Offer), ("require", Tls::Require), ("verify", Tls::Verify)];
}

impl Choice for InvalidRecipients {
    const WHAT: &'static str = "reject, accept-and-bounce or drop";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("reject", InvalidRecipients::Reject),
        ("accept-and-bounce", InvalidRecipients::AcceptAndBounce),
        ("drop", InvalidRecipients::Drop),
    ];
}

impl Choice for AddressFamily {
    const WHAT: &'static str = "any, ipv4, ipv6, ipv4-first or ipv6-first";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("any", AddressFamily::Any),
        ("ipv4", AddressFamily::Ipv4),
        ("ipv6", AddressFamily::Ipv6),
        ("ipv4-first", AddressFamily::Ipv4First),
        ("ipv6-first", AddressFamily::Ipv6First),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a value and writes it again, or gives the complaint.
    fn check<T: Setting>(text: &str, expected: &str) {
        let value = DeValue::parse(text).unwrap();
        let shown = match T::read(&value) {
            Ok(value) => value.show().unwrap_or_else(|| "absent".to_owned()),
            Err(problems) => problems
                .iter()
                .map(|problem| format!("{}: {}", problem.value, problem.text))
                .collect::<Vec<_>>()
                .join(" | "),
        };
        assert_eq!(shown, expected, "{text}");
    }

    #[test]
    fn times_are_written_with_their_units() {
        check::<Duration>("\"15m\"", "\"15m\"");
        check::<Duration>("\"90m\"", "\"1h30m\"");
        check::<Duration>("\"1h 30m\"", "\"1h30m\"");
        check::<Duration>("\"1w\"", "\"7d\"");
        check::<Duration>("30", "30: needs a unit: s, m, h, d or w");
        for wrong in ["", "m", "5", "5x", "-5m", "99999999999999999999d", "9999999999999999d"] {
            let text = format!("\"{wrong}\"");
            check::<Duration>(&text, &format!("{text}: must be {}", Duration::WHAT));
        }
    }

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        check::<Size>("10485760", "\"10MB\"");
        check::<Size>("\"10MB\"", "\"10MB\"");
        check::<Size>("\"1 kb\"", "\"1KB\"");
        check::<Size>("1000", "1000");
        check::<Size>("\"5 parsecs\"", &format!("\"5 parsecs\": must be {}", Size::WHAT));
        check::<Size>("\"99999999999TB\"", &format!("\"99999999999TB\": must be {}", Size::WHAT));
    }

    #[test]
    fn next_hops_are_hosts_addresses_or_tables() {
        check::<PrivateAddresses>("true", "true");
        check::<PrivateAddresses>("false", "false");
        check::<PrivateAddresses>("[\"10.0.0.0/8\", \"::1\"]", "[\"10.0.0.0/8\", \"::1/128\"]");
        check::<PrivateAddresses>("\"yes\"", &format!("\"yes\": must be {}", PrivateAddresses::WHAT));
        check::<LoopAnswer>("\"refuse\"", "\"refuse\"");
        check::<LoopAnswer>("\"hold\"", "\"hold\"");
        check::<LoopAnswer>("\"192.0.2.9:2525\"", "\"192.0.2.9:2525\"");
        check::<LoopAnswer>("\"hodl\"", "\"hodl\": must be refuse, hold or a next hop such as \"192.0.2.9:25\"");
        check::<NextHops>("\"mx\"", "\"mx\"");
        check::<NextHops>("\"relay.test\"", "[\"relay.test\"]");
        check::<NextHops>(
            "[\"relay.test:587\", \"192.0.2.1\", \"192.0.2.1:26\", \"[::1]:25\", \"::1\", \"[::1]\"]",
            "[\"relay.test:587\", \"192.0.2.1\", \"192.0.2.1:26\", \"[::1]:25\", \"::1\", \"::1\"]",
        );
        check::<NextHops>(
            "[{ host = \"a.test\", port = 26, preference = 10 }]",
            "[{ host = \"a.test\", port = 26, preference = 10 }]",
        );
        check::<NextHop>("\"mx\"", &format!("\"mx\": must be {}", NextHop::WHAT));
        check::<NextHop>("\"300.1.1.1\"", &format!("\"300.1.1.1\": must be {}", NextHop::WHAT));
        check::<NextHop>("\"a.test:99999\"", &format!("\"a.test:99999\": must be {}", NextHop::WHAT));
        check::<NextHop>(
            "{ host = \"a.test\", prot = 1, preference = -1 }",
            "{…}: its preference must be 0 to 65535 | {…}: `prot` is not a setting of a next hop",
        );
    }

    #[test]
    fn a_web_address_has_a_scheme_and_a_host() {
        check::<WebAddress>("\"https://a.test/x?y=1\"", "\"https://a.test/x?y=1\"");
        for wrong in ["ftp://a.test/", "https://", "https:///x", "https://u:p@a.test/", "https://a.test/ x", "a.test"] {
            let text = format!("\"{wrong}\"");
            check::<WebAddress>(&text, &format!("{text}: must be {}", WebAddress::WHAT));
        }
    }

    #[test]
    fn networks_end_where_they_say() {
        check::<IpNet>("\"192.0.2.0/24\"", "\"192.0.2.0/24\"");
        check::<IpNet>("\"192.0.2.1\"", "\"192.0.2.1/32\"");
        check::<IpNet>("\"10.1.2.3/8\"", "\"10.1.2.3/8\": has bits set beyond its first 8");
        check::<IpNet>("\"10.0.0.0/33\"", &format!("\"10.0.0.0/33\": must be {}", IpNet::WHAT));
    }

    #[test]
    fn names_say_why_they_are_none() {
        check::<Domain>("\"a..b\"", "\"a..b\": must be a domain such as \"corp.test\": it has an empty label");
        check::<Option<Domain>>("\"\"", "absent");
        check::<Mailboxes>("\"@Corp.Test\"", "\"@corp.test\"");
        check::<Vec<IpAddr>>("[\"::1\", \"x\", 5]", &format!("\"x\": must be {0} | 5: must be {0}", IpAddr::WHAT));
        check::<Tls>("\"maybe\"", "\"maybe\": must be off, offer, require or verify");
        check::<Book<Address>>("[\"a@x.test\", \"A@X.test\"]", "[…]: names a@x.test twice");
    }

    #[test]
    fn only_a_whole_hash_is_a_password() {
        check::<PasswordHash>(
            "\"$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA\"",
            "\"$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA\"",
        );
        check::<PasswordHash>("\"secret\"", &format!("\"secret\": must be {}", PasswordHash::WHAT));
    }
}
