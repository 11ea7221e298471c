//! Kept certificates: those that came by the Control Center, with their keys, in the data folder. The settings name them like
//! any other file, so that they are put in force, taken back and rolled back as every setting is.
//!
//! Each lies in a folder of its own that is never changed: a chain and a key always fit.

use super::{note, notes};
use crate::certificate;
use crate::clock::now;
use crate::core::Core;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use control::{Examined, Kept, Note, Problem, Sent};
use mail::{Certificate, Distrust};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use x509_parser::prelude::{FromDer, X509Certificate};

const FOLDER: &str = "certificates";
const CHAIN: &str = "chain.pem";
const KEY: &str = "key.pem";
const REQUEST: &str = "request.pem";
/// Nobody has so many; a script may make them.
const KEPT_MAX: usize = 100;
/// Certificates in a chain; more than three are rare.
const CHAIN_MAX: usize = 20;
/// What a signature with fewer bits is worth is nothing (CA/Browser Forum Baseline Requirements 6.1.5).
const RSA_MIN: u32 = 2048;

/// A chain in order, its key, and what is to be said of it.
struct Good {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    facts: Certificate,
    notes: Vec<Note>,
}

/// What it is, or why it cannot be used.
pub(super) fn examine(core: &Core, sent: &Sent) -> Examined {
    match look(core, sent) {
        Ok(good) => {
            Examined { usable: true, chain: good.chain.len(), certificate: Some(good.facts), notes: good.notes }
        }
        Err(faults) => {
            let (certificate, notes) = *faults;
            Examined { usable: false, chain: 0, certificate, notes }
        }
    }
}

type Faults = Box<(Option<Certificate>, Vec<Note>)>;

fn fault(text: impl Into<String>) -> Faults {
    Box::new((None, vec![note("bad", text.into())]))
}

fn look(core: &Core, sent: &Sent) -> Result<Good, Faults> {
    let all = certificates(&sent.chain)?;
    let key = key(core, sent, &all)?;
    let (chain, mut said) = in_order(&all, &key)?;
    let in_force = core.in_force();
    let hostname = in_force.hostname.ascii();
    let name = ServerName::try_from(hostname.clone()).map_err(|_| fault(format!("{hostname} is no host name.")))?;
    let facts = core.trust.judge(in_force.settings.delivery.ca_file.as_ref(), &chain, &name, now());
    said.extend(weak(&facts).map(|why| note("bad", why)));
    let stops = said.iter().any(|note| note.kind == "bad")
        || facts
            .problems
            .iter()
            .any(|problem| matches!(problem, Distrust::Ended | Distrust::NotYet | Distrust::Weak(_)));
    said.extend(notes(&facts, false, "", true, in_force.hostname.as_str(), now()));
    said.sort_by_key(|note| note.kind != "bad");
    if stops { Err(Box::new((Some(facts), said))) } else { Ok(Good { chain, key, facts, notes: said }) }
}

fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, Faults> {
    if text.trim().is_empty() {
        return Err(fault("No certificate was sent: paste it, or choose its file."));
    }
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    let found = found.map_err(|error| fault(format!("The certificates cannot be read as PEM: {error:?}.")))?;
    if found.is_empty() {
        return Err(fault(
            "There is no certificate in it: a line -----BEGIN CERTIFICATE----- is missing. A file in binary form is turned into text by: openssl x509 -inform der -in FILE, or openssl pkcs12 -nodes -in FILE.",
        ));
    }
    if found.len() > CHAIN_MAX {
        return Err(fault(format!(
            "There are {} certificates in it: send the server's own and its chain only.",
            found.len()
        )));
    }
    if let Some(place) = found.iter().position(|der| certificate::facts(der).is_none()) {
        return Err(fault(format!("Certificate {} of {} is damaged.", place + 1, found.len())));
    }
    Ok(found)
}

/// The key that was sent, beside the certificate or in its file; without one, that of a request made here.
fn key(core: &Core, sent: &Sent, all: &[CertificateDer<'_>]) -> Result<PrivateKeyDer<'static>, Faults> {
    let text = if sent.key.trim().is_empty() { &sent.chain } else { &sent.key };
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(fault(
            "The key is locked with a password, which nobody could type at each start. Unlock it with: openssl pkey -in FILE -out UNLOCKED",
        ));
    }
    if !sent.key.trim().is_empty() || text.contains("PRIVATE KEY-----") {
        return PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|error| fault(format!("The key cannot be read as PEM: {error:?}. It begins with -----BEGIN PRIVATE KEY-----, or RSA or EC PRIVATE KEY.")));
    }
    let requested = entries(core).into_iter().filter_map(|entry| PrivateKeyDer::from_pem_file(entry.join(KEY)).ok());
    let fitting =
        requested.into_iter().find(|key| public(key).is_ok_and(|public| all.iter().any(|der| has_key(der, &public))));
    fitting.ok_or_else(|| fault("No key was sent, and no request made here has a key that fits: send the key as well."))
}

fn public(key: &PrivateKeyDer<'_>) -> Result<Vec<u8>, Faults> {
    let signing = any_supported_type(key).map_err(|error| {
        fault(format!("This kind of key cannot be used ({error}): make an RSA key of {RSA_MIN} bits or more, or one on the curve P-256."))
    })?;
    Ok(signing.public_key().map(|public| public.as_ref().to_vec()).unwrap_or_default())
}

fn has_key(der: &CertificateDer<'_>, public: &[u8]) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, parsed)| parsed.public_key().raw == public)
}

/// The certificate that the key belongs to, then whoever vouches for the one before.
fn in_order(
    all: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'_>,
) -> Result<(Vec<CertificateDer<'static>>, Vec<Note>), Faults> {
    let public = public(key)?;
    let own = all.iter().position(|der| has_key(der, &public)).ok_or_else(|| {
        let names = certificate::facts(&all[0]).unwrap_or_default().names.join(", ");
        fault(format!(
            "The key does not belong to the certificate for {names}: send the key that its request was made with, or ask for a certificate anew."
        ))
    })?;
    let parsed: Vec<X509Certificate<'_>> =
        all.iter().filter_map(|der| X509Certificate::from_der(der).ok().map(|(_, parsed)| parsed)).collect();
    let mut order = vec![own];
    while let Some(next) = (0..parsed.len()).find(|next| {
        let last = &parsed[order[order.len() - 1]];
        !order.contains(next) && last.issuer().as_raw() == parsed[*next].subject().as_raw()
    }) {
        order.push(next);
    }
    // Clients have the authority's own certificate or believe nobody; it would only make each handshake longer.
    if order.len() > 1
        && order.last().is_some_and(|last| parsed[*last].issuer().as_raw() == parsed[*last].subject().as_raw())
    {
        order.pop();
    }
    let mut said = Vec::new();
    if !order.is_sorted() {
        said.push(note(
            "info",
            "The certificates were not in order; they are kept in order: the server's own first.".to_owned(),
        ));
    }
    let left = all.len() - order.len();
    if left > 0 {
        said.push(note(
            "info",
            format!("{left} of {} certificates are left out: clients have them or do not need them.", all.len()),
        ));
    }
    Ok((order.into_iter().map(|place| all[place].clone()).collect(), said))
}

/// Why nobody should trust what is signed with it.
fn weak(facts: &Certificate) -> Option<String> {
    let bits = facts.key.strip_prefix("RSA ").and_then(|bits| bits.parse::<u32>().ok());
    if let Some(bits) = bits.filter(|bits| *bits < RSA_MIN) {
        return Some(format!("Its key has only {bits} bits and can be broken: make one of {RSA_MIN} bits or more."));
    }
    let signature = facts.signature.to_lowercase();
    let old = signature.contains("md5") || signature.contains("sha1") || signature.starts_with("dsa");
    old.then(|| format!("It is signed with {}, which can be forged: ask the authority for a new one.", facts.signature))
}

fn folder(core: &Core) -> PathBuf {
    let data = core.store.folder();
    fs::canonicalize(data).unwrap_or_else(|_| data.to_owned()).join(FOLDER)
}

/// The folder of each that is kept, by name.
fn entries(core: &Core) -> Vec<PathBuf> {
    let found = fs::read_dir(folder(core)).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let mut found: Vec<PathBuf> = found.filter(|path| path.join(KEY).exists()).collect();
    found.sort();
    found
}

pub(super) fn kept(core: &Core) -> Vec<Kept> {
    entries(core).iter().map(|path| one(core, path)).collect()
}

fn one(core: &Core, path: &Path) -> Kept {
    let settings = core.in_force().settings.clone();
    let chain = path.join(CHAIN);
    let shown = |file: &str| path.join(file).display().to_string();
    let uses = super::LISTENERS.into_iter().filter(|listener| {
        settings.door(*listener).is_some_and(|door| door.certificate.as_deref() == Some(chain.as_path()))
    });
    Kept {
        name: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        certificate: CertificateDer::from_pem_file(&chain).ok().and_then(|der| certificate::facts(&der)),
        chain_file: shown(CHAIN),
        key_file: shown(KEY),
        used_by: uses.map(|listener| format!("listener.{}", listener.name())).collect(),
        request: fs::read_to_string(path.join(REQUEST)).ok(),
    }
}

pub(super) fn keep(core: &Core, sent: &Sent) -> Result<Kept, Problem> {
    let good = look(core, sent).map_err(|faults| Problem::Field {
        field: "chain".to_owned(),
        what: faults.1.iter().map(|note| note.text.as_str()).collect::<Vec<_>>().join(" "),
    })?;
    let name = name(good.facts.names.first(), &good.facts.fingerprint);
    let chain: String = good.chain.iter().map(|der| pem("CERTIFICATE", der)).collect();
    let label = match &good.key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    let files = [(CHAIN, chain), (KEY, pem(label, good.key.secret_der()))];
    let path = put(core, &name, &files)?;
    forget_requests(core, &good.key);
    Ok(one(core, &path))
}

/// The request has been answered: its key lies beside the certificate now.
fn forget_requests(core: &Core, key: &PrivateKeyDer<'_>) {
    for path in entries(core).iter().filter(|path| path.join(REQUEST).exists()) {
        if PrivateKeyDer::from_pem_file(path.join(KEY)).is_ok_and(|other| other.secret_der() == key.secret_der()) {
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// A new key, kept here, and the request for a certificate of these names that an authority is sent.
pub(super) fn request(core: &Core, names: &[String]) -> Result<Kept, Problem> {
    let field = |what: String| Problem::Field { field: "names".to_owned(), what };
    let names: Vec<String> =
        names.iter().map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty()).collect();
    for name in &names {
        let plain = name.strip_prefix("*.").unwrap_or(name);
        plain.parse::<mail::Domain>().map_err(|error| field(format!("{name}: {error}")))?;
    }
    let first = names.first().ok_or_else(|| field("Name a host, such as mail.example.org.".to_owned()))?;
    let failed = |error: rcgen::Error| field(format!("no request can be made of that: {error}"));
    let key = rcgen::KeyPair::generate().map_err(failed)?;
    let mut wanted = rcgen::CertificateParams::new(names.clone()).map_err(failed)?;
    wanted.distinguished_name = rcgen::DistinguishedName::new();
    wanted.distinguished_name.push(rcgen::DnType::CommonName, first.as_str());
    let text = wanted.serialize_request(&key).and_then(|request| request.pem()).map_err(failed)?;
    let mark = certificate::fingerprint(text.as_bytes());
    let files = [(KEY, key.serialize_pem()), (REQUEST, text)];
    put(core, &name(Some(&format!("request-{first}")), &mark), &files).map(|path| one(core, &path))
}

/// What files and pages call it: a name that people know, and a mark that tells it from others for the same name.
fn name(first: Option<&String>, mark: &str) -> String {
    let first = first.map_or("certificate", String::as_str).replace('*', "wildcard");
    let fits = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-');
    let plain: String = first.chars().filter(fits).take(100).collect();
    format!("{}-{}", plain.trim_start_matches('.'), mark.chars().take(8).collect::<String>())
}

/// Makes the folder with its files whole or not at all; for the gateway's user alone.
fn put(core: &Core, name: &str, files: &[(&str, String)]) -> Result<PathBuf, Problem> {
    if entries(core).len() >= KEPT_MAX {
        let what = format!("there are {KEPT_MAX} certificates and requests already: remove those that are not used");
        return Err(Problem::Conflict { what });
    }
    let (above, path) = (folder(core), folder(core).join(name));
    if path.exists() {
        return Ok(path);
    }
    let work = above.join(format!(".{name}.tmp"));
    let write = || -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&above)?;
        let _ = fs::remove_dir_all(&work);
        DirBuilder::new().mode(0o700).create(&work)?;
        for (file, text) in files {
            let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(work.join(file))?;
            out.write_all(text.as_bytes())?;
            out.sync_all()?;
        }
        File::open(&work)?.sync_all()?;
        fs::rename(&work, &path)?;
        File::open(&above)?.sync_all()
    };
    write().map_err(|error| Problem::Failed { what: format!("{} cannot be written: {error}", path.display()) })?;
    Ok(path)
}

pub(super) fn forget(core: &Core, name: &str) -> Result<(), Problem> {
    // Found by its name among those that are there: no name leads elsewhere.
    let found = kept(core).into_iter().zip(entries(core)).find(|(kept, _)| kept.name == name);
    let (kept, path) =
        found.ok_or_else(|| Problem::Unknown { what: format!("there is no certificate {name} here") })?;
    if !kept.used_by.is_empty() {
        let what = format!("{} shows it: choose another certificate there first", kept.used_by.join(" and "));
        return Err(Problem::Conflict { what });
    }
    fs::remove_dir_all(&path).map_err(|error| Problem::Failed { what: format!("{}: {error}", path.display()) })
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned() + "\n");
    format!("-----BEGIN {label}-----\n{}-----END {label}-----\n", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

    fn authority(name: &str) -> CertificateParams {
        let mut wanted = CertificateParams::new(Vec::new()).unwrap();
        wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        wanted.distinguished_name.push(rcgen::DnType::CommonName, name);
        wanted
    }

    fn text(notes: &[Note]) -> String {
        notes.iter().map(|note| note.text.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_chain_is_put_in_order_and_its_root_left_out() {
        let root = CertifiedIssuer::self_signed(authority("root"), KeyPair::generate().unwrap()).unwrap();
        let middle = CertifiedIssuer::signed_by(authority("middle"), KeyPair::generate().unwrap(), &root).unwrap();
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["mx.test".to_owned()]).unwrap().signed_by(&key, &middle).unwrap();
        let other = rcgen::generate_simple_self_signed(["other.test".to_owned()]).unwrap();
        let sent = [root.pem(), other.cert.pem(), middle.pem(), own.pem()].join("some words\n");
        let all = certificates(&sent).unwrap();
        let private = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let (chain, said) = in_order(&all, &private).unwrap();
        assert_eq!(chain, [own.der().clone(), middle.der().clone()]);
        assert!(text(&said).contains("not in order") && text(&said).contains("2 of 4"), "{said:?}");
        let stranger = PrivateKeyDer::from_pem_slice(KeyPair::generate().unwrap().serialize_pem().as_bytes()).unwrap();
        let (_, said) = *in_order(&all, &stranger).unwrap_err();
        assert!(text(&said).contains("does not belong to the certificate"), "{said:?}");
        // What is written is read back as it was.
        let written: String = chain.iter().map(|der| pem("CERTIFICATE", der)).collect();
        assert_eq!(certificates(&written).unwrap(), chain);
        let written = pem("PRIVATE KEY", private.secret_der());
        assert_eq!(PrivateKeyDer::from_pem_slice(written.as_bytes()).unwrap(), private);
    }

    #[test]
    fn what_is_no_certificate_is_told_apart() {
        let damaged = pem("CERTIFICATE", b"no certificate");
        for (sent, part) in [
            ("", "No certificate was sent"),
            ("hello", "openssl x509 -inform der"),
            (damaged.as_str(), "1 of 1 is damaged"),
            ("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", "cannot be read as PEM"),
        ] {
            let (_, said) = *certificates(sent).unwrap_err();
            assert!(text(&said).contains(part), "{sent}: {said:?}");
        }
    }

    #[test]
    fn weak_keys_and_signatures_are_refused() {
        let of = |key: &str, signature: &str| {
            weak(&Certificate { key: key.to_owned(), signature: signature.to_owned(), ..Certificate::default() })
        };
        assert!(of("RSA 1024", "sha256WithRSAEncryption").unwrap().contains("1024 bits"));
        assert!(of("RSA 2048", "sha1WithRSAEncryption").unwrap().contains("forged"));
        assert!(of("EC P-256", "ecdsa-with-SHA1").is_some() && of("DSA", "dsa-with-sha1").is_some());
        assert_eq!(of("RSA 2048", "sha256WithRSAEncryption"), None);
        assert_eq!(of("EC P-256", "ecdsa-with-SHA256"), None);
    }

    #[test]
    fn a_folders_name_leads_nowhere_else() {
        assert_eq!(name(Some(&"*.corp.test".to_owned()), "ab12cd34ef"), "wildcard.corp.test-ab12cd34");
        assert_eq!(name(Some(&"../../etc".to_owned()), "ab"), "etc-ab");
        assert_eq!(name(None, "ab"), "certificate-ab");
    }
}
