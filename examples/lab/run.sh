#!/usr/bin/env bash
# A lab with two roles on one base image, described in a fleet file that every command accepts.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../own-store.sh"
cowherd() { printf '\n$ cowherd %s\n' "$*"; node "$here/../../bin/run.js" "$@"; }

"$here/../golden.sh" "$work/golden.qcow2"
# FLEET sets another name than "lab": domain names are shared by all users of a host.
sed "s/name: lab/name: ${FLEET:-lab}/" "$here/lab.yaml" >"$work/lab.yaml"
cd "$work"
cowherd spawn --file lab.yaml --dry-run
cowherd spawn --file lab.yaml --wait console=^OK
cowherd reset --file lab.yaml
cowherd report --file lab.yaml
cowherd teardown --file lab.yaml --with-base --yes
