#!/usr/bin/env bash
# Installs the other mail programs that benchmarks/all.py compares with, each into a folder of its own outside the repository:
# ${POSTLATCH_PEERS:-${XDG_CACHE_HOME:-~/.cache}/postlatch-peers}. Needs npm with Node 20 or newer, and Python's venv. Idempotent.
# As root it also installs Debian's dovecot-sqlite, with which Dovecot checks passwords in several processes.
set -euo pipefail
haraka=3.3.4
aiosmtpd=1.4.6
folder="${POSTLATCH_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/postlatch-peers}"
mkdir -p "$folder"

if [ "$(cat "$folder/haraka/version" 2>/dev/null || true)" != "$haraka" ]; then
  if command -v npm >/dev/null; then
    mkdir -p "$folder/haraka"
    # Its plugins are optional packages, and without them it does not relay; their native parts are not needed.
    npm install --prefix "$folder/haraka" --no-audit --no-fund --ignore-scripts --loglevel=error "Haraka@$haraka"
    echo "$haraka" >"$folder/haraka/version"
  else
    echo "npm is missing: Haraka is left out." >&2
  fi
fi

if [ "$(cat "$folder/aiosmtpd/version" 2>/dev/null || true)" != "$aiosmtpd" ]; then
  "${PYTHON:-python3}" -m venv "$folder/aiosmtpd"
  "$folder/aiosmtpd/bin/python" -m pip --disable-pip-version-check install --quiet "aiosmtpd==$aiosmtpd"
  echo "$aiosmtpd" >"$folder/aiosmtpd/version"
fi

# It starts no service: Dovecot is there already, and this is a library for it.
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null && ! dpkg -s dovecot-sqlite >/dev/null 2>&1; then
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends dovecot-sqlite >/dev/null
fi
echo "$folder"
