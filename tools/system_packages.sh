#!/bin/sh
# Installs what the tests need from the system, or says clearly what to install.
#   tmux                 the end-to-end tests drive the real app in it
#   gnome-keyring, dbus  a real keyring for one test, which is skipped without them
#   libportaudio2, pulseaudio, libasound2-plugins   a virtual microphone and loudspeaker for the tests of the voice
#   bubblewrap           the sandbox of what agents run; its tests are skipped without it
#   openssh-client       real ssh-agents for the tests of key slots, which are skipped without it
#   prometheus, prometheus-alertmanager, prometheus-node-exporter   what our metrics are measured against; unpacked
#                        beside the tests and not installed, so that none of them starts as a service of this machine
# Three tests of the voice's bridge use sshd where there is one; a network service is nothing to install for tests.
set -eu
cd "$(dirname "$0")/.."

unpack_programs() {
    [ -d .venv ] && [ ! -e .venv/programs/done ] && command -v apt-get >/dev/null 2>&1 || return 0
    mkdir -p .venv/programs
    (
        cd .venv/programs
        wanted="prometheus prometheus-alertmanager prometheus-node-exporter"
        # shellcheck disable=SC2086 - a list of words
        apt-get download -qq $wanted 2>/dev/null ||
            { [ "$(id -u)" = 0 ] && apt-get update -qq >/dev/null && apt-get download -qq $wanted 2>/dev/null; } ||
            { echo "Prometheus could not be fetched; the tests against it are skipped." >&2; exit 0; }
        for package in ./*.deb; do dpkg -x "$package" . && rm "$package"; done
        touch done
    )
}

missing=""
command -v tmux >/dev/null 2>&1 || missing="$missing tmux"
command -v ssh-agent >/dev/null 2>&1 || missing="$missing openssh-client"
if [ "$(uname)" = Linux ]; then
    command -v bwrap >/dev/null 2>&1 || missing="$missing bubblewrap"
    command -v gnome-keyring-daemon >/dev/null 2>&1 || missing="$missing gnome-keyring"
    command -v dbus-run-session >/dev/null 2>&1 || missing="$missing dbus"
    /sbin/ldconfig -p 2>/dev/null | grep -q libportaudio.so.2 || missing="$missing libportaudio2"
    command -v pulseaudio >/dev/null 2>&1 || missing="$missing pulseaudio"
    command -v pactl >/dev/null 2>&1 || missing="$missing pulseaudio-utils"
    [ -e /usr/share/alsa/alsa.conf.d/pulse.conf ] || [ -e /etc/alsa/conf.d/99-pulse.conf ] || missing="$missing libasound2-plugins"
fi
unpack_programs
[ -z "$missing" ] && exit 0
if command -v apt-get >/dev/null 2>&1 && [ "$(id -u)" = 0 ]; then
    echo "installing$missing"
    apt-get update -qq >/dev/null || true
    # shellcheck disable=SC2086 - a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null && exit 0
    echo "That did not work; the tests that need them are skipped." >&2
    command -v tmux >/dev/null 2>&1 && exit 0
fi
echo "For all tests, install:$missing" >&2
case "$missing" in *tmux*) exit 1 ;; esac
