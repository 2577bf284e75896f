#!/usr/bin/env bash
# Builds a golden image of a Debian 12 server with cloud-init, ssh and the QEMU guest agent, without a loop device, kernel
# module or virtual machine. Packages come from this machine's apt sources if it runs Debian 12, otherwise from mmdebstrap's
# default mirror. As root, missing tools are installed; other users need uidmap and a range in /etc/subuid.
#
#   build.sh OUT.qcow2
#
# Exit code 2: invalid arguments. Exit code 3: something is missing and cannot be installed.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

say() { printf 'debian-12: %s\n' "$*" >&2; }
wrong() { say "$*"; say 'usage: build.sh OUT.qcow2'; exit 2; }
give_up() { say "$*"; exit 3; }
have() { command -v "$1" >/dev/null 2>&1; }

[ $# = 1 ] || wrong 'give one output file'
case $1 in -*) wrong "unknown option $1" ;; esac
out=$1
[ -d "$(dirname "$out")" ] || wrong "there is no directory $(dirname "$out")"
[ -w "$(dirname "$out")" ] || wrong "cannot write to $(dirname "$out")"

# --- Required tools ----------------------------------------------------------------------------------------
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C
for tool in apt-get dpkg; do
  have $tool || give_up "$tool is missing: this builds on Debian or Ubuntu (amd64); copy the image from there"
done
[ "$(dpkg --print-architecture)" = amd64 ] || give_up "this is $(dpkg --print-architecture), and the image is for amd64"

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
missing=()
have mmdebstrap || missing+=(mmdebstrap)
have mke2fs || missing+=(e2fsprogs)
have qemu-img || missing+=(qemu-utils)
[ -f $keyring ] || missing+=(debian-archive-keyring)
[ "$(id -u)" = 0 ] || have newuidmap || missing+=(uidmap)
if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || give_up "missing packages: sudo apt-get install ${missing[*]}"
  say "installing missing packages: ${missing[*]}"
  install_packages() {
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  }
  install_packages 2>/dev/null || { apt-get update -qq && install_packages; } || give_up "apt-get could not install ${missing[*]}"
fi

work=$(mktemp -d)
part=$out.$$.part
mode=root
# Without root, all commands on the tree run as root of a user namespace, where files have the right owners.
if [ "$(id -u)" != 0 ]; then
  mode=unshare
  chmod 711 "$work"
fi
in_tree() { if [ $mode = root ]; then "$@"; else mmdebstrap --unshare-helper "$@"; fi; }
trap 'in_tree rm -rf --one-file-system "$work/place/tree"; rm -rf "$work" "$part"' EXIT
trap 'exit 130' INT TERM HUP

if [ $mode = unshare ] && ! in_tree true 2>"$work/log"; then
  sed 's/^/  /' "$work/log" >&2
  give_up 'user namespaces do not work for this user (a range in /etc/subuid and /etc/subgid?): run it as root'
fi

# --- The tree -----------------------------------------------------------------------------------------------------------
packages=(
  # system
  linux-image-cloud-amd64 grub-pc systemd-sysv systemd-resolved systemd-timesyncd udev dbus libpam-systemd libnss-myhostname
  # needed by cowherd
  cloud-init cloud-guest-utils fdisk openssh-server qemu-guest-agent sudo
  # usual on a server
  apt-utils bash-completion ca-certificates cron curl iproute2 iputils-ping less logrotate nano netbase procps tzdata vim-tiny zstd
)

# The machine's apt sources, and the settings needed to reach them.
apt-config dump | grep -E '^Acquire::(http|https|Check-|Retries|ForceIPv)[^ ]* ' >"$work/apt.conf" || true
# shellcheck disable=SC2016 # apt's own variables
mapfile -t sources < <(
  apt-get indextargets --format '$(ORIGIN) $(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
    awk '($1 == "Debian" || $1 ~ /ORIGIN/) && $2 ~ /^https?:/ && $3 ~ /^bookworm(-updates|-security)?$/ && $4 == "main" {
      print "deb", $2, $3, $4
    }' | sort -u
)
# A source with updates only is not enough.
[[ " ${sources[*]} " == *' bookworm main '* ]] || sources=()

# Copied before the packages are installed, so that cloud-init and GRUB find their settings.
tar -C "$here/root" --owner=0 --group=0 --mode=u=rwX,go=rX -cf "$work/files.tar" .
# Root of a namespace may not be able to read a home directory.
install -m 755 "$here/customize.sh" "$work/"

tree=$work/place/tree
mkdir -m 1777 "$work/place"
say "installing Debian 12 (${#sources[@]} apt sources of this machine's)"
# Translations are excluded. With a configured disk, GRUB would look for that disk at each of its upgrades.
# shellcheck disable=SC2016 # $1 is for the hook
mmdebstrap --mode=$mode --variant=minbase --format=directory --keyring=$keyring \
  --include="$(IFS=,; echo "${packages[*]}")" --aptopt="$work/apt.conf" \
  --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-include=/usr/share/locale/locale.alias' \
  --essential-hook='echo grub-pc grub-pc/install_devices_empty boolean true | chroot "$1" debconf-set-selections' \
  --essential-hook="tar-in '$work/files.tar' /" \
  --customize-hook='mkdir -p "$1/boot/grub"' --customize-hook="upload '$here/grub.cfg' /boot/grub/grub.cfg" \
  --customize-hook="sh '$work/customize.sh' \"\$1\"" \
  bookworm "$tree" "${sources[@]}" 2>"$work/log" || {
  tail -n 20 "$work/log" | sed 's/^/  /' >&2
  give_up "mmdebstrap failed; it needs apt sources of Debian 12, or a network, and a gigabyte in ${TMPDIR:-/tmp}"
}

# --- The disk: an MBR with GRUB behind it, one ext4 partition ------------------------------------------------------------
size=8192 root_at=1 # MiB
disk=$work/disk
truncate -s ${size}M "$disk"
[ $mode = root ] || chmod 666 "$disk"

# Without lazy initialization, so that the file system does not write zeros to each overlay later. GRUB 2.06 cannot read newer features.
features=none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,flex_bg,64bit
features+=,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum
in_tree mke2fs -q -t ext4 -O $features -m 1 -J size=32 -L root \
  -E offset=$((root_at << 20)),root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0 -d "$tree" "$disk" $((size - root_at))M

in_tree cat "$tree/usr/lib/grub/i386-pc/boot.img" >"$work/boot.img"
in_tree cat "$tree/boot/grub/i386-pc/core.img" >"$work/core.img"
[ "$(stat -c %s "$work/core.img")" -lt $(((root_at << 20) - 512)) ] || give_up "GRUB's core does not fit before the partition"

# little_endian NUMBER: four bytes, as an escape for printf.
little_endian() {
  local shift
  for shift in 0 8 16 24; do printf '\\x%02x' $(($1 >> shift & 255)); done
}
{
  head -c 440 "$work/boot.img"
  printf '%b' "$(little_endian $((RANDOM << 15 | RANDOM)))\0\0"
  # One entry of four: bootable, Linux, first sector and count; CHS says "too large".
  printf '%b' "\x80\xfe\xff\xff\x83\xfe\xff\xff$(little_endian $((root_at * 2048)))$(little_endian $(((size - root_at) * 2048)))"
  head -c 48 /dev/zero
  printf '\x55\xaa'
  cat "$work/core.img"
} >"$work/start"
dd if="$work/start" of="$disk" bs=1M conv=notrunc status=none

qemu-img convert -O qcow2 "$disk" "$part"
mv "$part" "$out"
say "$out: Linux $(in_tree readlink "$tree/vmlinuz" | sed 's/.*vmlinuz-//'), $(($(stat -c %s "$out") >> 20)) MiB"
