#!/usr/bin/env python3
"""How many instructions the hot paths take, counted by valgrind: `make bench-instructions`.

  instructions.py [--keep]         prints each path's instructions beside those kept in bench/instructions.json; --keep keeps the new ones

A path is run with a small and with a large count; the difference, divided, is what one more costs, without the start. Counts
change with the compiler, and by some per mille from run to run (hash seeds, threads); anything beyond that is a change of the code.
Instructions of the kernel are not counted.
"""
import argparse, json, os, re, subprocess, sys, tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
KEPT = ROOT / "bench/instructions.json"
# What is said of it, program, its words before the count, small and large count.
PATHS = [
    ("a connection with a message of 4 KiB, server's side", "smtp", "conversation", ["server"], 100, 1100),
    ("the same, client's side", "smtp", "conversation", ["client"], 100, 1100),
    ("admission, relaying, route of a message", "decide", "decision", ["accept"], 100, 1100),
    ("a header read, a trace made", "decide", "decision", ["header"], 100, 1100),
    ("a message into the store, out of it, and into the trail, alone", "store", "load", ["{folder}", "count"], 100, 600),
]


def instructions(program, words, count):
    with tempfile.TemporaryDirectory() as folder:
        words = [word.format(folder=folder) for word in words]
        ran = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, *words, str(count)],
                             capture_output=True, text=True)
        collected = re.search(r"Collected : (\d+)", ran.stderr)
        if ran.returncode or not collected:
            sys.exit(f"instructions.py: {program} {' '.join(words)} {count} failed:\n{ran.stdout}{ran.stderr}")
        return int(collected.group(1))


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--keep", action="store_true")
    given = options.parse_args()
    for crate, example in sorted({(crate, example) for _, crate, example, *_ in PATHS}):
        subprocess.run(["cargo", "build", "-q", "--locked", "--release", "-p", crate, "--example", example], cwd=ROOT, check=True)
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    found = {}
    print(f"{'instructions for each':<66}{'now':>10}{'kept':>10}{'change':>9}")
    for name, crate, example, words, small, large in PATHS:
        program = TARGET / "release/examples" / example
        each = (instructions(program, words, large) - instructions(program, words, small)) // (large - small)
        found[name] = each
        before = kept.get(name)
        change = f"{100 * (each / before - 1):+.1f} %" if before else "new"
        print(f"{name:<66}{each:>10,}{before or 0:>10,}{change:>9}", flush=True)
    if given.keep:
        KEPT.write_text(json.dumps(found, indent=2) + "\n")


main()
