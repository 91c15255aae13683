#!/usr/bin/env bash
# Unpacks the mail programs that the lab asks beside Postfix, each into a folder of its own outside the repository:
# ${POSTLATCH_PEERS:-${XDG_CACHE_HOME:-~/.cache}/postlatch-peers}. Debian's packages of mail servers exclude one another, so
# they are unpacked and not installed: Exim runs from its folder, OpenSMTPD and Sendmail run in an overlay of / and their folder.
# benchmarks/install_peers.sh gets Haraka and aiosmtpd 1.4.6. Needs Debian's apt-get and dpkg, and Python's venv. Idempotent.
set -euo pipefail
folder="${POSTLATCH_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/postlatch-peers}"
aiosmtpd_old=1.4.4 # the last one that takes a line feed alone for the end of a line (CVE-2024-27305)
mkdir -p "$folder"

# unpack NAME PACKAGE...: these packages, and what they need of what is not installed
unpack() {
  local name="$1" target="$folder/$1"
  shift
  [ -e "$target/version" ] && return
  rm -rf "$target"
  mkdir -p "$target/debs" "$target/root"
  local needed
  needed="$(apt-get install --simulate --no-install-recommends "$@" | awk '$1 == "Inst" { print $2 }')"
  # shellcheck disable=SC2086 # one word a package
  (cd "$target/debs" && apt-get download -qq ${needed:-"$@"} 2>/dev/null)
  for deb in "$target"/debs/*.deb; do dpkg-deb --extract "$deb" "$target/root"; done
  dpkg-deb --field "$(ls "$target/debs/$1"_*.deb)" Version >"$target/version"
  rm -rf "$target/debs"
}

unpack exim exim4-daemon-light exim4-base
unpack opensmtpd opensmtpd
unpack sendmail sendmail-bin sendmail-cf

if [ "$(cat "$folder/aiosmtpd-$aiosmtpd_old/version" 2>/dev/null || true)" != "$aiosmtpd_old" ]; then
  "${PYTHON:-python3}" -m venv "$folder/aiosmtpd-$aiosmtpd_old"
  "$folder/aiosmtpd-$aiosmtpd_old/bin/python" -m pip --disable-pip-version-check install --quiet "aiosmtpd==$aiosmtpd_old"
  echo "$aiosmtpd_old" >"$folder/aiosmtpd-$aiosmtpd_old/version"
fi
echo "$folder"
