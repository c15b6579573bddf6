#!/bin/sh
# Installs the Farwatch agent on this machine, enrols it and lets it run.
#
# The back end serves this file and has filled in the three values below. Everything is inside functions and the last
# line calls them, so a download that breaks off does nothing. Run again, it upgrades; see --help.

set -eu

server=@SERVER@
package=@PACKAGE@
sha256=@SHA256@

unit=farwatch-agent.service
service_user=farwatch-agent

usage() {
    cat <<'END'
Installs the Farwatch agent on this machine, enrols it and lets it run. Run again, it upgrades and keeps the identity.

  curl -fsSL …/api/v1/agents/install.sh | FARWATCH_AGENT_TOKEN=fwe_… sh
  curl -fsSL …/api/v1/agents/install.sh | sh -s -- OPTIONS

  --token TOKEN       enrolment token; better given in FARWATCH_AGENT_TOKEN, where ps shows nothing
  --token-file FILE   file with the enrolment token
  --re-enrol          replace the identity this machine has, even though it is still good
  --prefix DIR        where the program goes (/opt/farwatch-agent as root, ~/.local/share/farwatch-agent otherwise)
  --no-service        do not make a service; say how to run the agent
  --uninstall         remove the program and its service; identity and unsent samples stay
  --purge             with --uninstall: remove those too

As root it makes a system service under a user of its own, otherwise a service of yours where systemd offers that.
FARWATCH_AGENT_LABELS=env=prod,role=web gives the host labels. pip's own settings (PIP_INDEX_URL, PIP_PROXY,
PIP_FIND_LINKS, PIP_CERT) are honoured; psutil is all it fetches, in one version and by its SHA-256. FARWATCH_PYTHON names the Python to use.
END
}

say() { printf 'farwatch: %s\n' "$1"; }

fail() { # what went wrong, and what to do about it
    printf 'farwatch: %s\n' "$1" >&2
    [ -z "${2-}" ] || printf 'farwatch: what to do: %s\n' "$2" >&2
    exit 1
}

find_python() {
    for python in ${FARWATCH_PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            "$python" -c 'import venv, ensurepip, ssl' 2>/dev/null ||
                fail "$python cannot make virtual environments" \
                    "apt-get install python3-venv (Debian, Ubuntu), then run the same line again"
            return
        fi
    done
    fail "Python 3.11 or newer was not found" \
        "apt-get install python3 python3-venv (Debian, Ubuntu) or dnf install python3, or name one in FARWATCH_PYTHON"
}

fetch_package() { # into $work, and only if it is what this script was made for
    "$python" - "$server/api/v1/agents/package" "$work/$package" "$sha256" <<'END' || fail \
        "the agent could not be fetched (see above)" \
        "check that this machine reaches $server; after an upgrade of the back end, fetch this script anew"
import hashlib, sys, urllib.request

url, path, expected = sys.argv[1:]
try:
    with urllib.request.urlopen(url, timeout=60) as answer:
        body = answer.read(16 << 20)
except (OSError, ValueError) as error:
    sys.exit(f"{url}: {error}")
found = hashlib.sha256(body).hexdigest()
if found != expected:
    sys.exit(f"{url}: its SHA-256 is {found} and should be {expected}; nothing was installed")
with open(path, "wb") as file:
    file.write(body)
END
}

install_program() { # into a folder named after its content, so that a failure leaves the running version alone
    here=$prefix/versions/$(printf %.12s "$sha256")
    if [ -f "$here/complete" ] && "$here/bin/farwatch-agent" --version >/dev/null 2>&1; then
        say "this version is installed already"
        return
    fi
    fetch_package
    rm -rf "$here"
    mkdir -p "$prefix/versions" ||
        fail "$prefix cannot be made" "choose a folder you may write with --prefix, or run this as root"
    "$python" -m venv "$here" ||
        fail "no virtual environment could be made in $here" "look above for the reason; is the disk full?"
    pip="$here/bin/python -m pip install --quiet --disable-pip-version-check --no-input"
    # What the agent needs is locked in its package, with the hash of every file that will do.
    "$here/bin/python" - "$work/$package" >"$work/locked.txt" <<'END' ||
import sys, zipfile

with zipfile.ZipFile(sys.argv[1]) as wheel:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/locked.txt"))
    print(wheel.read(name).decode())
END
        fail "the package does not say what it needs" "look above for the reason, and report it"
    $pip --require-hashes --requirement "$work/locked.txt" ||
        fail "psutil could not be installed (see above); nothing that is not locked was" \
            "let pip reach a package index (PIP_INDEX_URL, PIP_PROXY), or give it the index's own file (PIP_NO_INDEX, PIP_FIND_LINKS)"
    $pip --no-deps --no-index "$work/$package" ||
        fail "the agent could not be installed" "look above for the reason, and report it"
    "$here/bin/python" -c 'import psutil, collector_agent.cli' ||
        fail "the agent does not run with $python" "look above for the reason, and report it"
    : >"$here/complete"
}

make_user() {
    id "$service_user" >/dev/null 2>&1 && return
    useradd --system --home-dir "$state" --no-create-home --shell /usr/sbin/nologin "$service_user" ||
        fail "the user $service_user could not be made" "make it by hand, then run the same line again"
}

enrol() {
    if [ -z "$token" ]; then
        [ -f "$state/credentials.json" ] ||
            fail "this machine is not enrolled and no token was given" \
                "make a token in the dashboard under Admin, Agents, and paste the line it shows"
        return
    fi
    if [ "$re_enrol" = yes ]; then how=--force; else how=--unless-accepted; fi
    FARWATCH_AGENT_TOKEN=$token FARWATCH_AGENT_STATE_DIR=$state \
        "$here/bin/farwatch-agent" enrol --server "$server" "$how" ||
        fail "this machine was not enrolled (see above); an agent that ran here goes on" \
            "make a new token in the dashboard under Admin, Agents, and paste the line it shows"
    token=
}

activate() {
    ln -sfn "versions/${here##*/}" "$prefix/current"
    if [ -n "$links" ]; then
        mkdir -p "$links"
        ln -sfn "$prefix/current/bin/farwatch-agent" "$links/farwatch-agent"
    fi
    for old in "$prefix"/versions/*; do
        [ "$old" = "$here" ] || rm -rf "$old"
    done
}

write_unit() { # $1: the file
    {
        cat <<END
[Unit]
Description=Farwatch agent
Documentation=$server/api/v1/agents/install.sh
Wants=network-online.target
After=network-online.target

[Service]
ExecStart=$prefix/current/bin/farwatch-agent run
Environment=FARWATCH_AGENT_STATE_DIR=$state
Restart=always
RestartSec=5
RestartPreventExitStatus=2
UMask=0077
Nice=5
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
SystemCallArchitectures=native
END
        [ "$as_root" = no ] || cat <<END
User=$service_user
Group=$service_user
Environment=FARWATCH_AGENT_CONFIG=$settings
StateDirectory=farwatch-agent
StateDirectoryMode=0700
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=yes
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
MemoryDenyWriteExecute=yes
MemoryMax=256M
TasksMax=64
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
END
        printf '\n[Install]\nWantedBy=%s\n' "$wanted_by"
    } >"$1"
}

start_service() {
    if [ "$as_root" = yes ]; then
        mkdir -p "${settings%/*}"
        [ -f "$settings" ] || printf '# Settings of this agent, one a line: interval_s = 5\n' >"$settings"
        chmod 644 "$settings"
        chown -R "$service_user:$service_user" "$state"
    fi
    write_unit "$work/unit"
    mkdir -p "$units"
    cmp -s "$work/unit" "$units/$unit" || cp "$work/unit" "$units/$unit"
    $systemctl daemon-reload
    $systemctl enable --quiet "$unit"
    $systemctl restart "$unit" ||
        fail "the service $unit did not start" "look at: journalctl $journal -u $unit"
    tries=0
    until "$prefix/current/bin/farwatch-agent" status >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 15 ] || fail "the agent runs, but is not well" "look at: journalctl $journal -u $unit"
        sleep 1
    done
    say "the agent runs as the service $unit; how it does: $prefix/current/bin/farwatch-agent status"
    [ "$as_root" = yes ] || say "so that it runs while you are not signed in: loginctl enable-linger"
}

uninstall() {
    if [ -n "$systemctl" ] && [ -f "$units/$unit" ]; then
        $systemctl disable --quiet --now "$unit" || say "the service could not be stopped"
        rm -f "$units/$unit"
        $systemctl daemon-reload
    fi
    [ -z "$links" ] || [ ! -L "$links/farwatch-agent" ] || rm -f "$links/farwatch-agent"
    if [ -d "$prefix/versions" ]; then
        rm -rf "$prefix/versions" "$prefix/current"
        rmdir "$prefix" 2>/dev/null || say "$prefix holds other files and was left"
        say "the agent is removed"
    else
        say "no agent is installed in $prefix"
    fi
    if [ "$purge" = yes ]; then
        for file in credentials.json status.json agent.lock spool.db spool.db-wal spool.db-shm; do
            rm -f "$state/$file"
        done
        # Damaged spools that were put aside hold samples too, and a file that a power cut left half-written may hold a credential.
        rm -f "$state"/damaged-*.db "$state"/damaged-*.db-wal "$state"/damaged-*.db-shm \
            "$state"/.credentials.json.* "$state"/.status.json.* "$state"/.probe.*
        rm -rf "$state/quarantine"
        rmdir "$state" 2>/dev/null || say "$state holds other files and was left"
        say "identity and unsent samples are removed; retire the host in the dashboard under Admin, Agents"
    else
        say "identity and unsent samples stay in $state (--purge removes them)"
    fi
}

main() {
    umask 022
    unset PIP_USER PYTHONHOME
    token=${FARWATCH_AGENT_TOKEN-}
    unset FARWATCH_AGENT_TOKEN # only the one program that needs it gets it again
    prefix='' re_enrol=no service=yes action=install purge=no
    while [ $# -gt 0 ]; do
        case $1 in
            --token | --token-file | --prefix)
                [ $# -ge 2 ] || fail "$1 needs a value" "look at --help"
                case $1 in
                    --token) token=$2 ;;
                    --token-file) token=$(cat "$2") || fail "$2 cannot be read" "check its name" ;;
                    --prefix) prefix=$2 ;;
                esac
                shift
                ;;
            --re-enrol) re_enrol=yes ;;
            --no-service) service=no ;;
            --uninstall) action=uninstall ;;
            --purge) purge=yes ;;
            -h | --help)
                usage
                return
                ;;
            *) fail "there is no option $1" "look at --help" ;;
        esac
        shift
    done
    case $token in
        '' | fwe_*) ;;
        *) fail "this is not an enrolment token: it should begin with fwe_" "copy the whole line again" ;;
    esac

    if [ "$(id -u)" = 0 ]; then as_root=yes; else as_root=no; fi
    links=''
    if [ "$as_root" = yes ]; then
        [ -n "$prefix" ] || { prefix=/opt/farwatch-agent && links=/usr/local/bin; }
        state=${FARWATCH_AGENT_STATE_DIR:-/var/lib/farwatch-agent}
        settings=/etc/farwatch/agent.toml units=/etc/systemd/system wanted_by=multi-user.target
        systemctl=systemctl journal=''
        { [ -d /run/systemd/system ] && command -v systemctl >/dev/null; } || systemctl=''
    else
        : "${HOME:?is not set: say where your home is}"
        [ -n "$prefix" ] ||
            { prefix=${XDG_DATA_HOME:-$HOME/.local/share}/farwatch-agent && links=$HOME/.local/bin; }
        state=${FARWATCH_AGENT_STATE_DIR:-${XDG_STATE_HOME:-$HOME/.local/state}/farwatch-agent}
        units=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user wanted_by=default.target
        systemctl='systemctl --user' journal=--user
        systemctl --user show-environment >/dev/null 2>&1 || systemctl=''
    fi
    case $prefix$state in
        *[!A-Za-z0-9/._@+-]*) fail "the folders $prefix and $state must have plain names" "use --prefix" ;;
    esac
    case $prefix in /*) ;; *) fail "--prefix must begin with /" "give the whole path" ;; esac
    [ "$service" = yes ] || systemctl=''

    if [ "$action" = uninstall ]; then
        uninstall
        return
    fi
    find_python
    work=$(mktemp -d) || fail "no temporary folder could be made" "is the disk full?"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    install_program
    [ -z "$systemctl" ] || [ "$as_root" = no ] || make_user
    enrol
    activate
    if [ -n "$systemctl" ]; then
        start_service
    else
        say "installed. No service was made; let this run, from cron (@reboot) or a supervisor of yours:"
        say "FARWATCH_AGENT_STATE_DIR=$state $prefix/current/bin/farwatch-agent run"
    fi
}

main "$@" </dev/null
