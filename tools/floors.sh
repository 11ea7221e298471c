#!/bin/bash
# The floors of ARCHITECTURE.md, proved: what a crate must not see is not in its dependency tree.
# "Not in the tree" is the one success; a misspelt package, a broken manifest or anything else is a failure.
set -uo pipefail
cd "$(dirname "$0")/.."
failures=0

# Cargo says "did not match any packages" both for what is nowhere and for what this tree lacks; so the crates of
# this workspace are checked by name first, that no typing mistake passes for a proof.
metadata=$(cargo metadata --no-deps --offline --format-version 1 2>/dev/null || cargo metadata --no-deps --format-version 1) || exit 1
for crate in mail smtp decide store control sim gateway; do
    if ! grep -q "\"name\":\"$crate\"" <<<"$metadata"; then
        echo "floors: there is no crate $crate in this workspace" >&2
        failures=$((failures + 1))
    fi
done

forbid() { # crate what…: also not through another crate; tests (dev-dependencies) are free
    local crate=$1 said status
    shift
    for what in "$@"; do
        said=$(cargo tree -q -p "$crate" -e normal,build -i "$what" 2>&1)
        status=$?
        case "$status $said" in
            "0 "*"$crate v"*)
                echo "floors: $crate must not see $what, but:" >&2
                echo "$said" | head -n 12 >&2
                failures=$((failures + 1)) ;;
            *"did not match any packages"* | "0 "*"nothing to print"*) ;; # not in the tree
            "0 ") ;; # in the lock file, for others only
            *)
                echo "floors: cargo tree -p $crate -i $what failed: $said" >&2
                failures=$((failures + 1)) ;;
        esac
    done
}

forbid_directly() { # crate what: through another crate it may
    local said
    if ! said=$(cargo tree -q -p "$1" -e normal,build --depth 1 --prefix none 2>&1); then
        echo "floors: cargo tree -p $1 failed: $said" >&2
        failures=$((failures + 1))
    elif grep -q "^$2 v" <<<"$said"; then
        echo "floors: $1 must not depend on $2 itself" >&2
        failures=$((failures + 1))
    fi
}

# No task, socket, clock or chance: time is an argument.
for pure in mail smtp decide; do
    forbid $pure tokio mio socket2 rand getrandom rustls rusqlite axum
done
forbid mail smtp decide store control sim gateway
forbid smtp decide store control sim gateway      # the conversations know no policy
forbid decide smtp store control sim gateway      # the policy knows no conversation
forbid store decide control sim gateway mio socket2 rustls  # the only disk: no sockets, no reasons
forbid control store smtp sim gateway rustls rusqlite   # the only HTML and JSON; has a Reader
forbid_directly gateway rusqlite                  # the only sockets; the disk is store's
forbid sim store decide control gateway           # stands beside the house: shares no judgement with what it tests

[ $failures = 0 ]
