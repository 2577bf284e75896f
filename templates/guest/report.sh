# shellcheck shell=sh disable=SC2154,SC2034
# The identity of the guest, for core/guest/identity-report.ts.

dropbear_key=/etc/dropbear/dropbear_ed25519_host_key

# The words of public host keys, after WORD.
say_keys() {
  for key in /etc/ssh/ssh_host_*_key.pub; do
    [ -f "$key" ] || continue
    # Include a last line without a line end.
    read -r type body _ <"$key"
    echo "$1 $type $body"
  done
  [ ! -f $dropbear_key ] || say_dropbear_key "$1"
}

# The file ends with the 32 bytes of the public key. To have dropbearkey say them takes an emulated guest longer.
say_dropbear_key() {
  body=$({ printf '\0\0\0\013ssh-ed25519\0\0\0\040' && tail -c 32 $dropbear_key; } 2>/dev/null | base64 2>/dev/null)
  # base64 may be missing.
  if [ ${#body} = 68 ]; then
    echo "$1 ssh-ed25519 $body"
    return
  fi
  dropbearkey -y -f $dropbear_key 2>/dev/null | while read -r type body _; do
    case $type in ssh-*) echo "$1 $type $body" ;; esac
  done
}

report_identity() {
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
  say_keys key
}
