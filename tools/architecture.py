#!/usr/bin/env python3
"""Does ARCHITECTURE.md name every crate and every top-level folder, and only files that are there?"""
import re, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOT_OURS = {".git", "target", "data"}


def main():
    if not (ROOT / "ARCHITECTURE.md").exists():
        sys.exit("there is no ARCHITECTURE.md")
    text = (ROOT / "ARCHITECTURE.md").read_text()
    words = set(re.findall(r"[\w.\-]+", text))
    wrong = [f"does not name the crate {crate.name}" for crate in sorted((ROOT / "crates").iterdir())
             if (crate / "Cargo.toml").exists() and crate.name not in words]
    wrong += [f"does not name the folder {folder.name}/" for folder in sorted(ROOT.iterdir())
              if folder.is_dir() and folder.name not in NOT_OURS and not re.search(rf"(?<![\w.]){re.escape(folder.name)}\b", text)]
    # Paths in backticks that begin with one of our folders must exist; one with * or < stands for many.
    folders = {folder.name for folder in ROOT.iterdir() if folder.is_dir()} - NOT_OURS
    for path in sorted(set(re.findall(r"`([\w.\-]+/[\w./\-]*)`", text))):
        if path.split("/")[0] in folders and not (ROOT / path).exists():
            wrong.append(f"names {path}, which is not there")
    for line in wrong:
        print("ARCHITECTURE.md", line)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
