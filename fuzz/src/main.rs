//! `fuzz quick`: every input of the corpus and a fixed number of mutations, the same in every run. `fuzz replay`: inputs
//! that failed, again.

use fuzz::{TARGETS, Target, mutate};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "usage: fuzz quick [TARGET…]       replay the corpus and some mutations of it
       fuzz replay TARGET FILE…   inputs that failed, again
       fuzz list                  the targets
       fuzz words TARGET          the words of its mutations, as libFuzzer's dictionaries are written";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["quick", named @ ..] => chosen(named).and_then(|targets| quick(&targets)),
        ["replay", name, files @ ..] => chosen(&[name]).and_then(|targets| replay(targets[0], files)),
        ["list"] => {
            TARGETS.iter().for_each(|target| println!("{}", target.name));
            Ok(())
        }
        ["words", name] => chosen(&[name]).map(|targets| dictionary(targets[0])),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("{what}");
            ExitCode::FAILURE
        }
    }
}

fn chosen(named: &[&str]) -> Result<Vec<&'static Target>, String> {
    if named.is_empty() {
        return Ok(TARGETS.iter().collect());
    }
    let find =
        |name: &&str| fuzz::target(name).ok_or_else(|| format!("there is no target {name:?}; `fuzz list` names them"));
    named.iter().map(find).collect()
}

/// Two at a time: targets share nothing.
fn quick(targets: &[&'static Target]) -> Result<(), String> {
    // A find is told once, by us.
    std::panic::set_hook(Box::new(|_| {}));
    let next = std::sync::atomic::AtomicUsize::new(0);
    let work = || {
        let mut bad = Vec::new();
        while let Some(target) = targets.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
            match one(target) {
                Ok(line) => println!("{line}"),
                Err(what) => bad.push(what),
            }
        }
        bad
    };
    let bad: Vec<String> = std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|_| vec!["a thread broke".to_owned()]))
            .collect()
    });
    if bad.is_empty() { Ok(()) } else { Err(bad.join("\n")) }
}

fn one(target: &Target) -> Result<String, String> {
    let started = Instant::now();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let corpus = corpus(&folder)?;
    for (path, input) in &corpus {
        run(target, input).map_err(|what| format!("{}: {} fails: {what}", target.name, path.display()))?;
    }
    let inputs: Vec<Vec<u8>> = corpus.into_iter().map(|(_, input)| input).collect();
    let mut random = mutate::Random::of(target.name.as_bytes());
    for number in 0..target.quick {
        let input = mutate::mutated(&mut random, &inputs, target.words);
        run(target, &input).map_err(|what| {
            let kept = keep(target, &input);
            format!(
                "{}: mutation {number} fails: {what}\n  the input: {kept}\n  again: fuzz replay {} FILE",
                target.name, target.name
            )
        })?;
    }
    let ms = started.elapsed().as_millis();
    Ok(format!("{:<12} {:>5} inputs {:>6} mutations {ms:>6} ms", target.name, inputs.len(), target.quick))
}

/// The inputs of a folder, in the order of their names.
fn corpus(folder: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, String> {
    let wrong = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .map_err(wrong)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .map_err(wrong)?;
    paths.sort_unstable();
    paths.into_iter().map(|path| Ok((path.clone(), std::fs::read(&path).map_err(wrong)?))).collect()
}

fn run(target: &Target, input: &[u8]) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| (target.check)(input))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "it panics".to_owned())
    })
}

/// Writes an input down that failed.
fn keep(target: &Target, input: &[u8]) -> String {
    let path = std::env::temp_dir().join(format!("fuzz-{}-{}", target.name, std::process::id()));
    match std::fs::write(&path, input) {
        Ok(()) => path.display().to_string(),
        Err(_) => format!("{:?}", input.escape_ascii().to_string()),
    }
}

/// The panic itself is shown, with its place.
fn replay(target: &Target, files: &[&str]) -> Result<(), String> {
    for file in files {
        let input = std::fs::read(file).map_err(|error| format!("{file}: {error}"))?;
        (target.check)(&input);
        println!("{file}: nothing wrong");
    }
    Ok(())
}

fn dictionary(target: &Target) {
    for word in target.words {
        let octets: String = word.bytes().map(|octet| format!("\\x{octet:02x}")).collect();
        println!("\"{octets}\"");
    }
}
