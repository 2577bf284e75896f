#!/usr/bin/env bash
# Linux guests with a script: an overlay, a seed and a domain for each, and a loop that polls until agent and ssh answer.
#
#   by-hand-guests.sh prepare DIR BASE COUNT TEMPLATE | spawn DIR BASE COUNT | teardown DIR BASE COUNT
set -euo pipefail
# A guest that never becomes ready must not block the others.
if [ "$1" = spawn ] && [ -z "${BOUNDED:-}" ]; then exec env BOUNDED=yes timeout 300 bash "$0" "$@"; fi
phase=$1 dir=$2 base=$3 count=$4
export LC_ALL=C
names() { for i in $(seq "$count"); do printf 'cwt-hand-%03d\n' "$i"; done; }
case $phase in
  prepare)
    mkdir -p "$dir"
    printf '%s\n' "$5" >"$dir/template.xml"
    ssh-keygen -q -t ed25519 -N '' -f "$dir/key"
    ;;
  spawn)
    port=23000
    for name in $(names); do
      port=$((port + 1))
      mkdir "$dir/$name.d"
      printf 'instance-id: %s\nlocal-hostname: %s\n' "$name" "$name" >"$dir/$name.d/meta-data"
      ssh-keygen -q -t ed25519 -N '' -f "$dir/$name.key"
      {
        printf '#cloud-config\nssh_authorized_keys:\n  - %s\nssh_keys:\n  ed25519_private: |\n' "$(cat "$dir/key.pub")"
        sed 's/^/    /' "$dir/$name.key"
      } >"$dir/$name.d/user-data"
      genisoimage -quiet -V cidata -J -r -o "$dir/$name.iso" "$dir/$name.d"
      qemu-img create -q -f qcow2 -F qcow2 -b "$base" "$dir/$name.qcow2"
      sed -e "s#DIR#$dir#g" -e "s#NAME#$name#g" -e "s#UUID#$(cat /proc/sys/kernel/random/uuid)#" -e "s#PORT#$port#" \
        -e "s#MAC#52:54:00:be:ef:$(printf %02x $((port % 256)))#" "$dir/template.xml" >"$dir/$name.xml"
      virsh -q define "$dir/$name.xml" >/dev/null
      virsh -q start "$name" >/dev/null
    done
    port=23000
    for name in $(names); do
      port=$((port + 1))
      until virsh -q qemu-agent-command "$name" '{"execute":"guest-ping"}' >/dev/null 2>&1; do sleep 1; done
      until timeout 3 bash -c 'exec 3<>/dev/tcp/127.0.0.1/'"$port"' && read -r line <&3 && [[ $line == SSH-* ]]' 2>/dev/null; do sleep 1; done
    done
    ;;
  teardown)
    for name in $(names); do
      virsh -q destroy "$name" >/dev/null
      virsh -q undefine "$name" >/dev/null
      rm -rf "$dir/$name".*
    done
    ;;
esac
