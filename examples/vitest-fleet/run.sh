#!/usr/bin/env bash
# Runs the test on real VMs. GOLDEN=FILE uses an existing image; otherwise the tiny Linux is built. NETWORK is an active libvirt network.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../own-store.sh"
if [ -z "${GOLDEN:-}" ]; then
  "$here/../tiny-linux/build.sh" "$work/tiny.qcow2"
  export GOLDEN=$work/tiny.qcow2
fi
# In a checkout, the package resolves to itself; elsewhere: npm install --save-dev cowherd vitest, then npx vitest run
cd "$here"
node "$here/../../node_modules/vitest/vitest.mjs" run --root "$here"
