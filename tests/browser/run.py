#!/usr/bin/env python3
"""The Control Center in a real browser: the real program, real pages, chromium.

  run.py [GATEPOST] [--until NAME] [--list] [--keep] [--book]

GATEPOST is the program to test (default: target/debug/gatepost). Needs tools/setup.sh. Every check prints one line, `ok NAME` or
`FAIL NAME reason`; the last line counts them. The checks build on each other in the order of --list; --until leaves out what
comes after NAME. Screenshots of every page lie in target/browser afterwards; --book writes those of the book (docs/book/images), small ones if pngquant is there. --keep leaves the
gateway's folder.
"""
import argparse, shutil, signal, sys, tempfile, time, traceback
from pathlib import Path

import book, people, looks
from webdriver import Failed
from world import CHECKS, World, check

ROOT = Path(__file__).resolve().parents[2]
LONGEST_S = 900  # the whole run, on a machine that has much else to do
BOOK = ROOT / "docs/book"


@check
def the_book_shows_the_pages(world):
    if world.writes_book:
        book.write(world, BOOK / "images")
    book.must_be_shown(BOOK)


check(people.signing_out_ends_it)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gatepost", nargs="?", default=str(ROOT / "target/debug/gatepost"))
    parser.add_argument("--until")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--book", action="store_true")
    parser.add_argument("--pictures", default=str(ROOT / "target/browser"))
    options = parser.parse_args()
    if options.list:
        print("\n".join(name for name, _ in CHECKS))
        return
    started, failed, done = time.monotonic(), 0, 0
    folder, pictures = Path(tempfile.mkdtemp(prefix="gatepost-pages-")), Path(options.pictures)
    shutil.rmtree(pictures, ignore_errors=True)
    world = World(str(Path(options.gatepost).resolve()), folder, pictures)
    world.writes_book = options.book

    def late(*_):
        raise Failed(f"the whole run took more than {LONGEST_S} s")
    signal.signal(signal.SIGALRM, late)
    signal.alarm(LONGEST_S)
    try:
        world.start()
        for name, function in CHECKS:
            begun = time.monotonic()
            try:
                function(world)
                print(f"ok {name} ({time.monotonic() - begun:.1f} s)", flush=True)
            except Exception as error:  # what a check meets is its failure, and the others still run
                failed += 1
                reason = error if isinstance(error, Failed) else traceback.format_exc(limit=3)
                print(f"FAIL {name} {reason}", flush=True)
                if "more than" in str(error):
                    break
                world.back()
            done += 1
            if options.until == name:
                break
    finally:
        signal.alarm(0)
        world.stop()
        if options.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    print(f"browser: {done - failed} of {done} checks passed in {time.monotonic() - started:.0f} s, {len(world.shots)} screenshots in {pictures}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
