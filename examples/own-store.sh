# To be sourced with "here" set to the directory of the example: a store of its own beside the usual one, so that nothing of yours is
# touched. However the script ends, its fleets are taken down and the store is removed. Sets work, a directory for files.
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
# Where the directory above belongs to root, within the store.
COWHERD_STORE=$(mktemp -d "$usual-example-XXXXXX" 2>/dev/null || { mkdir -p "$usual" && mktemp -d "$usual/example-XXXXXX"; })
export COWHERD_STORE LIBVIRT_DEFAULT_URI
clean_up() {
  cd /
  for name in $(ls "$COWHERD_STORE/fleets" 2>/dev/null); do own teardown "$name" --yes >&2 || return; done
  rm -rf "$work" "$COWHERD_STORE"
}
trap clean_up EXIT
chmod 755 "$COWHERD_STORE"
# Which accelerator works here is known already.
cp "$usual/accelerator.json" "$COWHERD_STORE/" 2>/dev/null || true
