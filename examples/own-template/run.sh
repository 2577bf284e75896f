#!/usr/bin/env bash
# A custom domain template: eject, edit, render, spawn.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../own-store.sh"
cowherd() { printf '\n$ cowherd %s\n' "$*"; node "$here/../../bin/run.js" "$@"; }
fleet=${FLEET:-mine}

"$here/../golden.sh" "$work/golden.qcow2"
cd "$work"
cowherd template eject domain.xml.hbs
# Adds a title with a variable to each domain.
sed -i 's#  <metadata>#  <title>{{vars.role}} number {{index}}</title>\n  <metadata>#' domain.xml.hbs
cowherd base add golden.qcow2 --name "$fleet-golden"
cowherd template render "$fleet" 7 --base "$fleet-golden" --template domain.xml.hbs --var role=web | grep '<title>'
cowherd spawn "$fleet" --base "$fleet-golden" --count 2 --memory 16MiB --network none --template domain.xml.hbs --var role=web
# Changed domains are redefined; the change takes effect at the next start of each member.
cowherd spawn "$fleet" --var role=db --dry-run
cowherd teardown "$fleet" --with-base --yes
