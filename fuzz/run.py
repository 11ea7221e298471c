#!/usr/bin/env python3
"""New inputs for the targets, led by coverage: builds them with libFuzzer and the compiler's own instrumentation, on stable Rust.

  run.py [--target NAME…] [--seconds N] [--keep] [--report PAGE]

Inputs that reach something new gather in target/fuzz/corpus/NAME, what fails in target/fuzz/finds. --keep takes into
fuzz/corpus/NAME the smallest set of them that reaches all that they reach. --report writes the figures, summed over all runs since the
folder target/fuzz was made, between the marks of the page."""
import argparse, json, os, platform, re, shutil, subprocess, sys, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
WORK = BUILD / "fuzz"
TRIPLE = f"{platform.machine()}-unknown-linux-gnu"
# The passes of `cargo fuzz`, without the sanitizer that only nightly has: safe Rust has little need of it.
FLAGS = ["-Cpasses=sancov-module", *(f"-Cllvm-args=-sanitizer-coverage-{what}" for what in ("level=4", "inline-8bit-counters", "pc-table", "trace-compares"))]
# A kept input is a file in the repository.
KEPT_MAX = 4096
# Slower or larger is a find.
LIMITS = ["-timeout=60", "-rss_limit_mb=2048", "-max_len=16384"]


def build():
    """The program with libFuzzer in it. A --target keeps the flags away from build scripts."""
    place = BUILD / "libfuzzer"
    made = subprocess.run(["cargo", "build", "-q", "--release", "--target", TRIPLE, "--manifest-path", ROOT / "fuzz/libfuzzer/Cargo.toml"],
                          env={**os.environ, "RUSTFLAGS": " ".join(FLAGS), "CARGO_TARGET_DIR": str(place)})
    if made.returncode:
        sys.exit("run.py: the targets do not build")
    return place / TRIPLE / "release/fuzz-libfuzzer"


def said(*words):
    """What the list of targets says of itself."""
    return subprocess.run(["cargo", "run", "-q", "--locked", "-p", "fuzz", "--", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def start(program, target, *words):
    return subprocess.run([program, *words], env={**os.environ, "FUZZ_TARGET": target}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")


def run(program, target, seconds):
    """One target for so long. Its figures, and the inputs that failed."""
    found, kept, finds = WORK / "corpus" / target, ROOT / "fuzz/corpus" / target, WORK / "finds"
    for folder in (found, finds):
        folder.mkdir(parents=True, exist_ok=True)
    words = WORK / f"{target}.dict"
    words.write_text(said("words", target))
    before = set(finds.iterdir())
    done = start(program, target, *LIMITS, f"-max_total_time={seconds}", "-print_final_stats=1", "-use_value_profile=1", f"-dict={words}",
                 f"-artifact_prefix={finds}/{target}-", found, kept)
    number = lambda pattern: int((re.findall(pattern, done.stderr) or [0])[-1])
    new = sorted(set(finds.iterdir()) - before)
    if done.returncode and not new:
        sys.exit(f"run.py: {target} ended with {done.returncode}: {done.stderr[-2000:]}")
    return {"executions": number(r"number_of_executed_units: *(\d+)"), "edges": number(r"cov: (\d+)"), "of": number(r"\((\d+) inline 8-bit counters\)"),
            "seconds": seconds}, new


def keep(program, target):
    """Takes what adds coverage into the repository's corpus; what is there already stays."""
    kept = ROOT / "fuzz/corpus" / target
    chosen = WORK / "chosen" / target
    shutil.rmtree(chosen, ignore_errors=True)
    chosen.mkdir(parents=True)
    done = start(program, target, *LIMITS, "-set_cover_merge=1", chosen, kept, WORK / "corpus" / target)
    if done.returncode:
        sys.exit(f"run.py: {target} cannot be merged: {done.stderr[-2000:]}")
    known, new = {path.read_bytes() for path in kept.iterdir()}, 0
    for path in sorted(chosen.iterdir()):
        octets = path.read_bytes()
        if len(octets) <= KEPT_MAX and octets not in known:
            (kept / path.name[:12]).write_bytes(octets)
            new += 1
    print(f"{target:<12} {new} inputs kept, {len(list(kept.iterdir()))} in all")


def table(figures):
    lines = [f"Measured {time.strftime('%Y-%m-%d')} on {platform.system()} {platform.release().split('-')[0]}, two cores shared with other work.", "",
             "| target | seconds | executions | edges reached |", "|---|---|---|---|"]
    lines += [f"| {name} | {it['seconds']:,} | {it['executions']:,} | {it['edges']:,} |" for name, it in figures.items()]
    lines.append(f"| all | {sum(it['seconds'] for it in figures.values()):,} | {sum(it['executions'] for it in figures.values()):,} | |")
    return "\n".join(lines)


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--target", action="append", help="only this one (may be given again)")
    words.add_argument("--seconds", type=int, default=60, help="for each target")
    words.add_argument("--keep", action="store_true", help="take what was found into fuzz/corpus")
    words.add_argument("--report", type=Path, help="write the figures between the marks of this page")
    given = words.parse_args()
    everyone = said("list").split()
    unknown = set(given.target or []) - set(everyone)
    if unknown:
        sys.exit(f"run.py: there is no target {', '.join(sorted(unknown))}; there are {', '.join(everyone)}")
    program, bad = build(), []
    book = WORK / "figures.json"
    WORK.mkdir(parents=True, exist_ok=True)
    figures = json.loads(book.read_text()) if book.exists() else {}
    for target in given.target or everyone:
        if given.seconds:
            got, new = run(program, target, given.seconds)
            bad += new
            old = figures.get(target, {"executions": 0, "edges": 0, "seconds": 0})
            figures[target] = {"executions": old["executions"] + got["executions"], "edges": max(old["edges"], got["edges"]), "seconds": old["seconds"] + got["seconds"]}
            book.write_text(json.dumps(figures))
            print(f"{target:<12} {got['executions']:>12,} executions, {got['edges']:>6,} edges, {len(new)} finds", flush=True)
        if given.keep:
            keep(program, target)
    if given.report:
        page = given.report.read_text()
        page = re.sub(r"(<!-- make fuzz: begin -->\n).*?(<!-- make fuzz: end -->)", lambda found: found[1] + table({name: figures[name] for name in everyone if name in figures}) + "\n" + found[2], page, flags=re.S)
        given.report.write_text(page)
    for path in bad:
        print(f"found {path}\n  again: cargo run -p fuzz -- replay {path.name.rsplit('-', 2)[0]} {path}")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
