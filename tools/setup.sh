#!/bin/bash
# Puts in place what the tests need beside Rust: real mail programs to talk to, and a browser. Idempotent; silent and instant
# when all is there. Root is needed only when something is missing.
#
# Debian lets only one mail server be installed at a time, so Postfix is installed and Exim and OpenSMTPD are
# unpacked into target/peers (their libraries are installed). Nothing is started and no running service is touched.
set -euo pipefail
cd "$(dirname "$0")/.."
PEERS=target/peers
RELEASE=3    # raise it when what this script does changes
MARK=$PEERS/.ready-$RELEASE
# Outside the repository: a rule book for pages that browsers run (axe-core, MPL-2.0), from npm; never shipped.
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/gatepost-tests
AXE=axe-core@4.14.1
# And a fuzzer of APIs (MIT), from PyPI.
FUZZ=schemathesis==4.32.5

missing() {
    local tool user
    for tool in postfix:/usr/sbin/postfix smtp-source:/usr/sbin/smtp-source swaks:/usr/bin/swaks \
                chromium:/usr/bin/chromium chromedriver:/usr/bin/chromedriver \
                gcc:/usr/bin/gcc python3:/usr/bin/python3 openssl:/usr/bin/openssl ip:/usr/sbin/ip strace:/usr/bin/strace \
                curl:/usr/bin/curl objdump:/usr/bin/objdump lintian:/usr/bin/lintian systemd-analyze:/usr/bin/systemd-analyze; do
        [ -x "${tool#*:}" ] || command -v "${tool%%:*}" >/dev/null || echo "${tool%%:*}"
    done
    perl -MNet::SSLeay -e1 2>/dev/null || echo libnet-ssleay-perl
    for user in postfix Debian-exim opensmtpd opensmtpq; do
        getent passwd $user >/dev/null || echo "user $user"
    done
    [ -d /usr/libexec/opensmtpd ] && [ -d /var/spool/smtpd ] || echo "mount points for opensmtpd"
    [ -x $PEERS/exim/usr/sbin/exim4 ] || echo exim4
    [ -x $PEERS/opensmtpd/usr/sbin/smtpd ] || echo opensmtpd
    [ -e "$CACHE/node_modules/axe-core/axe.min.js" ] || echo axe-core
    [ -x "$CACHE/fuzz/bin/schemathesis" ] || echo schemathesis
    [ -e $MARK ] || echo "libraries of exim4 and opensmtpd"
}

lacking=$(missing)
[ -n "$lacking" ] || exit 0
lacking=$(echo "$lacking" | paste -sd, | sed 's/,/, /g')
if [ "$(id -u)" != 0 ]; then
    echo "tools/setup.sh: missing: $lacking. Run it once as root (it installs Debian packages)." >&2
    exit 1
fi
if ! command -v apt-get >/dev/null; then
    echo "tools/setup.sh: missing: $lacking, and there is no apt-get here to install it with." >&2
    exit 1
fi
echo "setup: installing: $lacking"

log=$(mktemp)
policy=
trap 'status=$?; [ -z "$policy" ] || rm -f "$policy"; [ $status = 0 ] || tail -n 30 "$log" >&2; rm -f "$log"' EXIT
if [ ! -e /usr/sbin/policy-rc.d ]; then    # invoke-rc.d asks it; 101 = start nothing
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' > $policy
    chmod 755 $policy
fi
export DEBIAN_FRONTEND=noninteractive
apt() { apt-get -q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1; }
# No --allow-remove: where another mail server is installed, it stays, and this says so.
install() { apt install --no-remove --no-install-recommends "$@"; }

apt update
echo 'postfix postfix/main_mailer_type select No configuration' | debconf-set-selections
install postfix swaks libnet-ssleay-perl gcc libc6-dev python3 openssl iproute2 util-linux strace \
    curl binutils lintian systemd python3-venv chromium chromium-driver fonts-dejavu-core
command -v npm >/dev/null || install npm
mkdir -p "$CACHE"
(cd "$CACHE" && npm install --no-save --no-audit --no-fund --ignore-scripts $AXE >>"$log" 2>&1)
[ -x "$CACHE/fuzz/bin/schemathesis" ] ||
    { python3 -m venv "$CACHE/fuzz" && "$CACHE/fuzz/bin/pip" install -q "$FUZZ"; } >>"$log" 2>&1

mkdir -p $PEERS/deb
chmod 755 target $PEERS
unpack() { # package folder
    rm -rf "$PEERS/$2"
    dpkg -x $PEERS/deb/"$1"_*.deb "$PEERS/$2"
}
# Not as apt's own user, which may not be able to write here.
(cd $PEERS/deb && rm -f ./*.deb && apt -o APT::Sandbox::User=root download exim4-daemon-heavy opensmtpd)
unpack exim4-daemon-heavy exim
unpack opensmtpd opensmtpd
# The libraries they depend on: everything called lib… except what only another mail server would bring.
mapfile -t libraries < <(apt-cache depends --important exim4-daemon-heavy opensmtpd |
    sed -nE 's/^ *\|?(Pre)?Depends: (lib[a-z0-9.+-]+)$/\2/p' | sort -u)
install "${libraries[@]}"

for user in Debian-exim opensmtpd opensmtpq; do
    getent group $user >/dev/null || groupadd -r $user
    getent passwd $user >/dev/null || useradd -r -g $user -d /nonexistent -s /usr/sbin/nologin $user
done
# OpenSMTPD has these paths compiled in; a test mounts its own folders over them, in a namespace of its own.
mkdir -p /usr/libexec/opensmtpd /var/spool/smtpd /var/lib/opensmtpd/empty
for program in $PEERS/exim/usr/sbin/exim4 $PEERS/opensmtpd/usr/sbin/smtpd; do
    if ldd "$program" | grep -q 'not found'; then
        echo "tools/setup.sh: $program lacks libraries:" >&2
        ldd "$program" | grep 'not found' >&2
        exit 1
    fi
done
touch $MARK
lacking=$(missing)
if [ -n "$lacking" ]; then
    echo "tools/setup.sh: still missing: $lacking" >&2
    exit 1
fi
