#!/usr/bin/env bash
# golden.sh OUT.qcow2: builds a small golden image: 64 MiB, with a 512-byte guest that writes to its disk when it boots.
set -euo pipefail
cd "$(dirname "$0")/.."
node --import tsx --input-type=module -e '
  import { buildGolden } from "./scripts/golden.ts";
  await buildGolden(process.argv[1], { filledMiB: 16, ending: "power-button" });
' "$1"
