# shellcheck shell=sh disable=SC2154,SC2034
# DHCP.

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
    waiting="$waiting $device"
    case $flushed in *" $device "*) continue ;; esac
    if [ -n "$udhcpc" ]; then
      ip -4 addr flush dev "$device"
    else
      ip -4 addr flush dev "$device" dynamic
    fi
  done
}

# systemd starts networkd again when it was killed, unless its unit was changed. Asking for it takes as much time as several programs.
ensure_networkd() {
  pid=
  { read -r pid </sys/fs/cgroup/system.slice/systemd-networkd.service/cgroup.procs; } 2>/dev/null
  case $pid in '' | "$networkd") systemctl --no-block start systemd-networkd ;; esac
}
