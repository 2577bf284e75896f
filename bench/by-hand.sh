#!/usr/bin/env bash
# A typical script: a loop of qemu-img, sed, virsh define and virsh start.
#
#   by-hand.sh spawn|reset|teardown loop|xargs DIR BASE COUNT
#
# DIR/template.xml contains NAME, UUID and OVERLAY; overlays go to DIR/overlays.
set -euo pipefail
phase=$1 how=$2 dir=$3 base=$4 count=$5
export dir base LC_ALL=C
overlay() { qemu-img create -q -f qcow2 -F qcow2 -b "$base" "$dir/overlays/$1.qcow2"; }
spawn() {
  overlay "$1"
  sed -e "s#NAME#$1#g" -e "s#OVERLAY#$dir/overlays/$1.qcow2#" -e "s#UUID#$(cat /proc/sys/kernel/random/uuid)#" "$dir/template.xml" >"$dir/$1.xml"
  virsh -q define "$dir/$1.xml" >/dev/null
  virsh -q start "$1" >/dev/null
}
reset() {
  virsh -q destroy "$1" >/dev/null
  overlay "$1"
  virsh -q start "$1" >/dev/null
}
teardown() {
  virsh -q destroy "$1" >/dev/null
  virsh -q undefine "$1" >/dev/null
  rm -f "$dir/overlays/$1.qcow2" "$dir/$1.xml"
}
export -f overlay spawn reset teardown
mkdir -p "$dir/overlays"
names() { for i in $(seq "$count"); do printf 'cwt-hand-%03d\n' "$i"; done; }
if [ "$how" = loop ]; then
  for name in $(names); do "$phase" "$name"; done
else
  names | xargs -P8 -I{} bash -c "$phase {}"
fi
