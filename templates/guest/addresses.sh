# shellcheck shell=sh disable=SC2154,SC2034
# IPv4 addresses.

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
