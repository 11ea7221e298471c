#!/usr/bin/env python3
"""Is every crate that is built into Gatepost under a licence that deny.toml allows? Offline, from `cargo tree` (after `cargo fetch`).
For machines without cargo-deny; deny.toml is the one list, for both."""
import re, subprocess, sys, tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def satisfied(expression, allowed):
    """SPDX: OR is satisfied by one side, AND by both; AND binds tighter; '/' is the old way to write OR."""
    tokens = re.findall(r"\(|\)|[^\s()]+", re.sub(r"\s+WITH\s+", "-WITH-", expression.replace("/", " OR ")))
    def either():
        value = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            value = both() or value
        return value
    def both():
        value = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            value = one() and value
        return value
    def one():
        token = tokens.pop(0)
        if token != "(":
            return token in allowed
        value = either()
        tokens.pop(0)  # the closing one
        return value
    return either() and not tokens


def main():
    rules = tomllib.loads((ROOT / "deny.toml").read_text())
    allowed = {name.replace(" WITH ", "-WITH-") for name in rules["licenses"]["allow"]}
    banned = {ban["crate"] for ban in rules["bans"]["deny"]}
    # Not `cargo metadata`: that also lists optional crates that no build here ever compiles.
    tree = subprocess.run(["cargo", "tree", "--workspace", "--locked", "--offline", "-e", "normal,build", "--target", "all", "--prefix", "none",
                           "--format", "{p}\t{l}"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if tree.returncode:
        sys.exit("licences.py: cargo tree failed; `cargo fetch --locked` brings what it lacks")
    built = sorted({line.removesuffix(" (*)") for line in tree.stdout.split("\n") if line})
    wrong = []
    for line in built:
        package, licence = line.split("\t")
        if not licence or not satisfied(licence, allowed):
            wrong.append(f"{package}: licence {licence or 'not stated'}")
        if package.split()[0] in banned:
            wrong.append(f"{package}: banned by deny.toml")
        if "(git" in package or "(http" in package or "(registry" in package:
            wrong.append(f"{package}: not from the public registry")
    print(*wrong, f"{len(built)} crates, {len(wrong)} objections", sep="\n")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
