# shellcheck shell=sh disable=SC2154,SC2034
# Host name, machine-id and MAC addresses.

set_hostname() {
  old_hostname=
  read -r old_hostname </proc/sys/kernel/hostname
  # hostnamectl would start a daemon to do the same; systemd's daemons watch this file.
  printf '%s\n' "$hostname" >/proc/sys/kernel/hostname
  printf '%s\n' "$hostname" >/etc/hostname
  [ -f /etc/hosts ] || return
  hosts=
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in
      127.0.1.1[!0-9]*) line="127.0.1.1 $hostname" ;;
      127.* | ::1*)
        set -f
        new_line=
        for word in $line; do
          [ "$word" != "$old_hostname" ] || [ "$word" = localhost ] || word=$hostname
          new_line="$new_line${new_line:+ }$word"
        done
        set +f
        line=$new_line
        ;;
    esac
    hosts="$hosts$line
"
  done </etc/hosts
  printf %s "$hosts" >/etc/hosts
}

set_machine_id() {
  printf '%s\n' "$machine_id" >/etc/machine-id
  # If it is a link, it points to the former.
  file=/var/lib/dbus/machine-id
  if [ -f $file ] && [ ! -L $file ]; then
    printf '%s\n' "$machine_id" >$file
  fi
}

# set_mac DEVICE NEW
set_mac() {
  # Both with one program, if it can: busybox cannot.
  if [ -n "$networkd" ] && ip -4 -batch - >/dev/null 2>&1 <<BATCH
link set dev $1 address $2
addr flush dev $1 dynamic
BATCH
  then
    flushed="$flushed $1 "
  elif ! ip link set dev "$1" address "$2" 2>/dev/null; then
    # Some drivers change it only while the link is down. That removes the routes, which DHCP restores.
    ip link set dev "$1" down
    ip link set dev "$1" address "$2" || note "could not set the MAC of $1"
    ip link set dev "$1" up
  fi
  # The link-local address was derived from the old MAC.
  v6=/proc/sys/net/ipv6/conf/$1/disable_ipv6
  is_off=
  [ ! -e "$v6" ] || read -r is_off <"$v6"
  if [ "$is_off" = 0 ]; then
    echo 1 >"$v6"
    echo 0 >"$v6"
  fi
}

set_macs() {
  todo=
  for pair in $macs; do
    for device in /sys/class/net/*; do
      # A bridge or VLAN may have the MAC of the card below it, and follows its change.
      [ -e "$device/device" ] || continue
      read -r address <"$device/address"
      case $address in
        "${pair%=*}") todo="$todo ${device##*/}=${pair#*=}" ;;
        # The guest booted with the new MAC, but its settings may still contain the old one.
        "${pair#*=}") ;;
        *) continue ;;
      esac
      patterns="$patterns -e ${pair%=*}"
      changes="${changes}s/${pair%=*}/${pair#*=}/Ig;"
      break
    done
  done
  for pair in $todo; do
    set_mac "${pair%%=*}" "${pair#*=}"
    changed="$changed ${pair%%=*}"
  done
  [ -n "$patterns" ] || return
  # Network settings that identify a card by its MAC.
  dirs=
  for dir in /etc/systemd/network /run/systemd/network /etc/netplan /etc/network /etc/NetworkManager/system-connections \
    /etc/sysconfig/network-scripts /etc/udev/rules.d; do
    [ ! -d $dir ] || dirs="$dirs $dir"
  done
  [ -n "$dirs" ] || return
  # shellcheck disable=SC2086 # words
  files=$(grep -rliF $patterns $dirs 2>/dev/null)
  [ -n "$files" ] || return
  while IFS= read -r file; do
    sed -i "$changes" "$file" || note "$file still contains the old MAC"
  done <<FILES
$files
FILES
}
