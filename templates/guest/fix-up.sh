# shellcheck shell=sh disable=SC2154
# Run by the guest's agent after the guest's memory was restored, or was loaded into another VM. POSIX sh: busybox, Debian,
# Ubuntu, Fedora. cowherd puts these assignments before it, quoted; an empty value means: do not change.
#
#   clock       seconds since the epoch, with a fraction
#   entropy     random text from the host
#   renew       yes: request a new DHCP lease
#   hostname, machine_id
#   macs        OLD=NEW, one per word
#   host_keys   renew
#   new_TYPE, new_TYPE_pub   new OpenSSH host keys: ed25519, ecdsa, rsa
#   hook        a command line from the user
#
# At the end it prints the guest's identity, for core/guest/identity-report.ts. Processes are expensive in emulated guests, so
# the shell uses /proc and /sys where possible.

note() { notes="$notes
note $*"; }

# --- Clock and random numbers ---------------------------------------------------------------------------------------------

set_clock() {
  # Busybox accepts only whole seconds.
  date -u -s "@$clock" >/dev/null 2>&1 || date -u -s "@${clock%.*}" >/dev/null || note 'could not set the clock'
}

# Writing mixes the bytes in, but the kernel keeps its key for up to a minute, and generates the same numbers as every other
# VM with this memory. Only the ioctl RNDRESEEDCRNG makes it use a new key.
reseed() {
  printf %s "$entropy" >/dev/urandom || { note 'could not add random bytes of the host'; return; }
  command -v perl >/dev/null && perl -e 'exit(ioctl(STDIN, 0x5207, 0) ? 0 : 1)' </dev/urandom && return
  # Without Perl and Python, use a minimal program: 145 bytes of ELF.
  program=/run/cowherd-reseed.$$
  if ! command -v python3 >/dev/null 2>&1 && [ "$(uname -m)" = x86_64 ] && (
    set -C
    umask 077
    printf '\177\105\114\106\2\1\1\0\0\0\0\0\0\0\0\0\2\0\76\0\1\0\0\0\170\0\100\0\0\0\0\0\100\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\100\0\70\0\1\0\0\0\0\0\0\0' >$program &&
      printf '\1\0\0\0\5\0\0\0\0\0\0\0\0\0\0\0\0\0\100\0\0\0\0\0\0\0\100\0\0\0\0\0\221\0\0\0\0\0\0\0\221\0\0\0\0\0\0\0\0\20\0\0\0\0\0\0' >>$program &&
      # ioctl(0, RNDRESEEDCRNG, 0); exit(result)
      printf '\61\377\276\7\122\0\0\61\322\270\20\0\0\0\17\5\211\307\270\74\0\0\0\17\5' >>$program
  ); then
    chmod 700 $program
    $program </dev/urandom && reseeded=yes
    rm -f $program
  else
    python3 -ISEc 'import fcntl; fcntl.ioctl(0, 0x5207)' </dev/urandom 2>/dev/null && reseeded=yes
  fi
  [ -n "$reseeded" ] || note 'could not reseed the kernel random number generator: for up to a minute it may generate the same numbers as other VMs with this memory'
}

# --- Guest identity -------------------------------------------------------------------------------------------------------

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
  if ! ip link set dev "$1" address "$2" 2>/dev/null; then
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

# --- Services -------------------------------------------------------------------------------------------------------------

# Read all processes once; each pidof would read all of /proc.
find_services() {
  for process in /proc/[0-9]*; do
    name=
    { read -r name <"$process/comm"; } 2>/dev/null
    case $name in
      udhcpc) udhcpc="$udhcpc ${process#/proc/}" ;;
      dhclient) dhclient="$dhclient ${process#/proc/}" ;;
      dhcpcd) dhcpcd=yes ;;
      NetworkManager) network_manager=yes ;;
      systemd-network) networkd=${process#/proc/} ;;
    esac
  done
}

# restart PID [linked]: kills a program, and starts it again with the same arguments in the same cgroup; linked: when a card
# has a link.
restart() {
  pid=$1
  when=$2
  words=$(tr '\0' '\n' <"/proc/$pid/cmdline")
  group=
  while IFS= read -r group_line; do
    case $group_line in 0::/?*) group=/sys/fs/cgroup${group_line#0::}/cgroup.procs ;; esac
  done <"/proc/$pid/cgroup"
  set --
  while IFS= read -r word; do
    [ "$word" != "hostname:$old_hostname" ] || word=hostname:$hostname
    set -- "$@" "$word"
  done <<WORDS
$words
WORDS
  # KILL, because on TERM a DHCP client might release the lease of the other VM.
  kill -9 "$pid"
  # Wait until its sockets are free.
  tries=0
  while [ -d "/proc/$pid" ] && [ $tries -lt 20 ]; do
    tries=$((tries + 1))
    sleep 0.02
  done
  (
    # Otherwise it would exit together with the agent.
    [ ! -w "$group" ] || echo 0 >"$group"
    [ "$when" != linked ] || await_link
    exec "$@"
  ) >/dev/null 2>&1 </dev/null &
}

# These clients do not notice a link that comes up. That of a clone does after it has reported its identity, within a second.
await_link() {
  tries=0
  while [ $tries -lt 300 ]; do
    for device in $cards; do
      carrier=
      { read -r carrier <"/sys/class/net/$device/carrier"; } 2>/dev/null
      [ "$carrier" != 1 ] || return
    done
    tries=$((tries + 1))
    sleep 0.1
  done
}

# A client must not continue with the lease of the other VM: it starts without a lease.
renew_lease() {
  cards=
  for device in /sys/class/net/*; do
    [ ! -e "$device/device" ] || cards="$cards ${device##*/}"
  done
  is_new=$machine_id$changed
  [ -n "$is_new" ] || waiting=any
  if [ -n "$networkd" ]; then
    if [ -n "$is_new" ]; then
      # It identifies itself by the machine-id that it read at start. It was stopped since then, so it has sent nothing.
      flush_leases
      rm -f /run/systemd/netif/leases/* /run/systemd/netif/links/*
      kill -9 "$networkd"
      systemctl --no-block start systemd-networkd
    else
      # shellcheck disable=SC2086 # words
      networkctl renew $cards 2>/dev/null || networkctl reconfigure $cards
    fi
  elif [ -n "$network_manager" ]; then
    [ -z "$is_new" ] || nmcli connection reload
    for device in $cards; do nmcli -w 0 device connect "$device" >/dev/null; done
  elif [ -n "$dhcpcd" ]; then
    if [ -n "$is_new" ]; then
      flush_leases
      rm -f /var/lib/dhcpcd/*.lease /var/lib/dhcpcd/duid /var/lib/dhcpcd5/*.lease /etc/dhcpcd.duid
      for device in $cards; do dhcpcd -n "$device"; done
    else
      for device in $cards; do dhcpcd -N "$device"; done
    fi >/dev/null
  fi
  if [ -n "$dhclient" ]; then
    if [ -n "$is_new" ]; then
      flush_leases
      rm -f /var/lib/dhcp/*.leases /var/lib/dhclient/*.leases /run/dhclient*.leases
    fi
    for client in $dhclient; do restart "$client" "${is_new:+linked}"; done
  fi
  if [ -n "$udhcpc" ]; then
    [ -z "$is_new" ] || flush_leases
    for client in $udhcpc; do
      if [ -n "$is_new" ]; then restart "$client" linked; else kill -USR1 "$client"; fi
    done
  fi
  [ -n "$networkd$network_manager$dhcpcd$dhclient$udhcpc" ] || note 'no DHCP client is running in the guest: no lease was requested'
}

# Addresses of the other VM. Addresses from DHCP have an expiry if the client sets one; busybox's script does not.
flush_leases() {
  for device in ${changed:-$cards}; do
    if [ -n "$udhcpc" ]; then
      ip -4 addr flush dev "$device"
    else
      ip -4 addr flush dev "$device" dynamic
    fi
    waiting="$waiting $device"
  done
}

openssh_keys() {
  rsa=
  for key in /etc/ssh/ssh_host_*_key; do
    kind=${key#/etc/ssh/ssh_host_}
    kind=${kind%_key}
    given=
    case $kind in
      ed25519) given=$new_ed25519 public=$new_ed25519_pub ;;
      ecdsa) given=$new_ecdsa public=$new_ecdsa_pub ;;
      rsa) given=$new_rsa public=$new_rsa_pub ;;
    esac
    if [ -n "$given" ]; then
      # In place, without a process: nothing boots from this disk before everything is synced.
      printf '%s\n' "$given" >"$key" && printf '%s root@%s\n' "$public" "$hostname" >"$key.pub"
      continue
    fi
    case $kind in
      # Takes seconds on an emulated CPU, so run it in the background.
      rsa) rsa=yes ;;
      ed25519 | ecdsa) openssh_key "$kind" ;;
    esac
    case $kind in ed25519 | ecdsa) ;; *) rm -f "$key" "$key.pub" ;; esac
  done
  for certificate in /etc/ssh/ssh_host_*-cert.pub; do
    [ ! -e "$certificate" ] || rm -f "$certificate"
  done
  hang_up
  [ -z "$rsa" ] || {
    note 'the new RSA host key is still being generated'
    (openssh_key rsa && hang_up) >/dev/null 2>&1 </dev/null &
  }
}

# openssh_key TYPE: moves the key into place only when it is complete.
openssh_key() {
  new=/etc/ssh/.cowherd-$1
  rm -f "$new" "$new.pub"
  ssh-keygen -q -t "$1" -N '' -C "root@$hostname" -f "$new" &&
    mv -f "$new" "/etc/ssh/ssh_host_$1_key" && mv -f "$new.pub" "/etc/ssh/ssh_host_$1_key.pub"
}

# sshd rereads its keys and keeps its connections.
hang_up() {
  pid=
  { read -r pid </run/sshd.pid; } 2>/dev/null
  [ -z "$pid" ] || kill -HUP "$pid"
}

dropbear_keys() {
  new=/etc/dropbear/.cowherd-key
  rm -f $new
  if ! dropbearkey -t ed25519 -f $new >/dev/null 2>&1; then
    note 'dropbearkey did not create a host key'
    return
  fi
  for key in /etc/dropbear/dropbear_*_host_key; do
    [ "$key" = $dropbear_key ] || rm -f "$key"
  done
  mv -f $new $dropbear_key
  pid=
  { read -r pid </run/dropbear.pid; } 2>/dev/null
  [ ! -d "/proc/${pid:-none}" ] || restart "$pid"
}

# --- Identity report -----------------------------------------------------------------------------------------------------

# The words of public host keys, after WORD.
say_keys() {
  for key in /etc/ssh/ssh_host_*_key.pub; do
    [ -f "$key" ] || continue
    # Include a last line without a line end.
    read -r type body _ <"$key"
    echo "$1 $type $body"
  done
  [ ! -f $dropbear_key ] || dropbearkey -y -f $dropbear_key 2>/dev/null | while read -r type body _; do
    case $type in ssh-*) echo "$1 $type $body" ;; esac
  done
}

# Wait for leases: for each card that lost its address, or for any card if none has an address.
await_addresses() {
  pauses='0.1 0.1 0.2 0.3 0.4 0.5 0.5 0.5 0.6 0.8 1'
  missing=
  for device in $waiting; do
    carrier=1
    [ ! -e "/sys/class/net/$device" ] || { read -r carrier <"/sys/class/net/$device/carrier"; } 2>/dev/null || carrier=0
    if [ "$carrier" = 1 ]; then missing="$missing $device"; else notes="$notes
no-link $device"; fi
  done
  while :; do
    listing=$(ip -4 -o addr)
    addresses=
    devices=any
    while read -r _ device _ address rest; do
      case $device in '' | lo) continue ;; esac
      devices="$devices $device"
      addresses="${addresses}address ${address%/*}
"
      [ -e "/sys/class/net/$device/device" ] || continue
      case $rest in
        # With an expiry, or chosen by the guest itself.
        *' dynamic '* | *'scope link'*) kind=dynamic ;;
        *) kind=lasting ;;
      esac
      addresses="${addresses}card-address ${address%/*} $kind
"
    done <<LISTING
$listing
LISTING
    still=
    for device in $missing; do
      case "${addresses:+$devices} " in *"$device "*) ;; *) still="$still $device" ;; esac
    done
    missing=$still
    { [ -n "$missing" ] && [ -n "$pauses" ]; } || break
    sleep "${pauses%% *}"
    case $pauses in *' '*) pauses=${pauses#* } ;; *) pauses= ;; esac
  done
  [ -z "$missing" ] || note "no DHCP address within 5 s:$missing"
}

say_self() {
  await_addresses
  echo "cowherd-self 1"
  read -r name </proc/sys/kernel/hostname
  echo "hostname $name"
  id=
  [ ! -f /etc/machine-id ] || read -r id </etc/machine-id
  [ -z "$id" ] || echo "machine-id $id"
  for device in /sys/class/net/*; do
    [ -e "$device/device" ] || continue
    read -r address <"$device/address"
    echo "mac $address"
  done
  printf %s "$addresses"
  case $addresses in *' lasting'*) [ -n "$renew" ] || find_services ;; esac
  for client in ${udhcpc:+udhcpc} ${dhclient:+dhclient} ${dhcpcd:+dhcpcd} ${network_manager:+NetworkManager} ${networkd:+networkd}; do
    echo "dhcp-client $client"
  done
  [ -z "$former_keys" ] || echo "$former_keys"
  say_keys key
  [ -z "$hook_code" ] || echo "hook $hook_code"
  echo "clock $(date +%s.%N)$notes"
  echo cowherd-end
}

run_hook() {
  # To a file: a daemon left by the hook would keep a pipe open, and the agent limits the output.
  log=/run/cowherd-hook.$$
  (set -C && umask 077 && : >$log) || log=/dev/null
  sh -c "$hook" >$log 2>&1
  hook_code=$?
  if [ $log != /dev/null ]; then
    [ $hook_code = 0 ] || tail -c 2000 $log >&2
    rm -f $log
  fi
}

main() {
  export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
  dropbear_key=/etc/dropbear/dropbear_ed25519_host_key
  for variable in notes changed patterns changes waiting former_keys hook_code reseeded old_hostname \
    udhcpc dhclient dhcpcd network_manager networkd; do
    eval "$variable="
  done
  [ -z "$clock" ] || set_clock
  [ -z "$entropy" ] || reseed
  [ -z "$machine_id" ] || set_machine_id
  [ -z "$hostname" ] || set_hostname
  [ -z "$renew" ] || find_services
  # Otherwise it would request and get the other VM's address as soon as it saw the new MAC.
  [ -z "$networkd" ] || [ -z "$machine_id" ] || kill -STOP "$networkd"
  [ -z "$macs" ] || set_macs
  [ -z "$renew" ] || renew_lease
  if [ -n "$host_keys" ]; then
    former_keys=$(say_keys former-key)
    [ ! -e /etc/ssh/sshd_config ] || openssh_keys
    [ ! -f $dropbear_key ] || dropbear_keys
  fi
  # Otherwise a guest that is killed before its kernel has written the changes would boot as the other VM.
  [ -z "$hostname$machine_id$host_keys" ] || sync
  [ -z "$hook" ] || run_hook
  say_self
}
# The shell reads this text from its standard input; no other program may read from it.
main </dev/null
