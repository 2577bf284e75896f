# Source it with "here" set to the directory of the example. Uses a separate store next to the default one, so that your fleets are not
# touched. When the script ends for any reason, its fleets and the store are removed. Sets work, a directory for files.
own() { node "$here/../../bin/run.js" "$@"; }
usual=$(cd "$here/../.." && node --input-type=module -e '
  import { openHost } from "./dist/index.js";
  const host = await openHost();
  console.log(`${host.fleets.root}\n${host.hypervisor.uri}`);
  await host.close();
')
LIBVIRT_DEFAULT_URI=$(tail -n 1 <<<"$usual")
usual=$(head -n 1 <<<"$usual")
work=$(mktemp -d)
# If the parent directory belongs to root, use a directory in the store.
COWHERD_STORE=$(mktemp -d "$usual-example-XXXXXX" 2>/dev/null || { mkdir -p "$usual" && mktemp -d "$usual/example-XXXXXX"; })
export COWHERD_STORE LIBVIRT_DEFAULT_URI
clean_up() {
  cd /
  for name in $(ls "$COWHERD_STORE/fleets" 2>/dev/null); do own teardown "$name" --yes >&2 || return; done
  rm -rf "$work" "$COWHERD_STORE"
}
trap clean_up EXIT
chmod 755 "$COWHERD_STORE"
# Reuse the result of the accelerator probe.
cp "$usual/accelerator.json" "$COWHERD_STORE/" 2>/dev/null || true
