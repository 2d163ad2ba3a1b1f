#!/bin/sh
# Sees to it that there is a browser, and ffmpeg for videos: `deploy/browser.sh <log file>`. Exit code 0: both are there.
# EXECUTOR__BROWSER_PATH may name one that is not on PATH.
log=${1:-/dev/null}

missing() {
    packages=
    for name in "${EXECUTOR__BROWSER_PATH:-chromium}" chromium-browser google-chrome; do
        command -v "$name" >/dev/null 2>&1 && break
    done || packages="chromium fonts-liberation"
    command -v ffmpeg >/dev/null 2>&1 || packages="$packages ffmpeg"
    echo $packages
}

wanted=$(missing)
[ -z "$wanted" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "No $wanted here, so browser tests are skipped; as root of Debian or Ubuntu: apt-get install $wanted" >&2
    exit 1
fi
echo "Installing $wanted with apt"
apt="apt-get -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3"
export DEBIAN_FRONTEND=noninteractive
{
    $apt install -y --no-install-recommends $wanted \
        || { $apt update && $apt install -y --no-install-recommends $wanted; }
} >"$log" 2>&1 </dev/null
wanted=$(missing)
[ -z "$wanted" ] && exit 0
echo "apt could not install $wanted (see $log), so browser tests are skipped: is the package mirror reachable?" >&2
exit 1
