#!/usr/bin/env bash
# Builds a golden image of a tiny Linux system from the packages of the Debian or Ubuntu that it runs on, as an unprivileged user,
# without mounts or loop devices. Packages go into a cache (${XDG_CACHE_HOME:-~/.cache}/cowherd/tiny-linux); nothing is installed.
#
#   build.sh OUT.qcow2 [--ssh-key FILE.pub]... [--add DIR]...
#                                   --ssh-key: a public key that may log in as root
#                                   --add: files to copy into the root file system; they replace files of the same name
#
# Exit code 2: invalid arguments. Exit code 3: something is missing and cannot be downloaded.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

say() { printf 'tiny-linux: %s\n' "$*" >&2; }
wrong() { say "$*"; say 'usage: build.sh OUT.qcow2 [--ssh-key FILE.pub]... [--add DIR]...'; exit 2; }
give_up() { say "$*"; exit 3; }
have() { command -v "$1" >/dev/null 2>&1; }

out=
ssh_keys=()
additions=()
while [ $# -gt 0 ]; do
  case $1 in
    --ssh-key) [ $# -gt 1 ] || wrong '--ssh-key needs a file'; ssh_keys+=("$2"); shift ;;
    --ssh-key=*) ssh_keys+=("${1#*=}") ;;
    --add) [ $# -gt 1 ] || wrong '--add needs a directory'; additions+=("$2"); shift ;;
    --add=*) additions+=("${1#*=}") ;;
    -*) wrong "unknown option $1" ;;
    *) [ -z "$out" ] || wrong "one output file only, not $1 too"; out=$1 ;;
  esac
  shift
done
[ -n "$out" ] || wrong 'the output file is missing'
[ -d "$(dirname "$out")" ] || wrong "there is no directory $(dirname "$out")"
[ -w "$(dirname "$out")" ] || wrong "cannot write to $(dirname "$out")"
for key in "${ssh_keys[@]}"; do
  { [ -f "$key" ] && grep -qE '^(ssh|ecdsa|sk)-' "$key"; } || wrong "$key is not an OpenSSH public key file"
done
for directory in "${additions[@]}"; do
  [ -d "$directory" ] || wrong "$directory is not a directory"
  [ ! -e "$directory/bin" ] && [ ! -e "$directory/sbin" ] && [ ! -e "$directory/usr/sbin" ] ||
    wrong "bin, sbin and usr/sbin are links to usr/bin in this guest: put the programs of $directory into usr/bin"
done

# --- Required tools ----------------------------------------------------------------------------------------
export PATH=$PATH:/usr/sbin:/sbin LC_ALL=C
elsewhere='this builds on Debian 12 and 13 and Ubuntu 24.04 (amd64); elsewhere, build in a container or VM of one of them and copy the image'
for tool in apt-get apt-cache dpkg dpkg-deb; do
  have $tool || give_up "$tool is missing: $elsewhere"
done
[ "$(dpkg --print-architecture)" = amd64 ] || give_up "this is $(dpkg --print-architecture): $elsewhere"
have qemu-img || give_up 'qemu-img is missing: sudo apt-get install qemu-utils'

home=${HOME:-$(getent passwd "$(id -u)" | cut -d : -f 6)}
cache=${XDG_CACHE_HOME:-$home/.cache}/cowherd/tiny-linux
mkdir -p "$cache/debs" 2>/dev/null || give_up "cannot write to $cache: set XDG_CACHE_HOME to a directory of yours"
[ -w "$cache/debs" ] || give_up "cannot write to $cache/debs: set XDG_CACHE_HOME to a directory of yours"
cache=$(cd "$cache" && pwd)

work=$(mktemp -d)
part=$out.$$.part
trap 'rm -rf "$work" "$part"' EXIT
trap 'exit 130' INT TERM HUP

# --- Packages -----------------------------------------------------------------------------------------------------------
# Build tools, then programs of the guest. Libraries are found through dependencies.
packages=(
  syslinux syslinux-common systemd-boot-efi mtools
  busybox-static qemu-guest-agent dropbear-bin openssh-sftp-server
)
have mke2fs && have debugfs || packages+=(e2fsprogs)
# Metapackages of Debian and Ubuntu that depend on the current kernel.
kernels=(linux-image-cloud-amd64 linux-image-virtual)
initrd_modules=(drivers/virtio/virtio{,_ring,_pci,_pci_modern_dev,_pci_legacy_dev} drivers/block/virtio_blk)
# PCI hot-plug is built into these kernels, so network cards can be added later.
root_modules=(
  net/core/failover drivers/net/{net_failover,virtio_net}
  drivers/char/virtio_console drivers/char/hw_random/virtio-rng drivers/{acpi/button,input/evdev}
  drivers/cdrom/cdrom fs/isofs/isofs fs/nls/nls_utf8
)

# apt with a separate cache, and with the package lists of the system or private ones.
own_lists=$cache/apt
lists=system
apt() {
  local command=$1 options=(
    # If the configuration disables this index, as container images do, each call would take half a second.
    -o Dir::Cache="$cache/apt/cache-$lists" -o Dir::Cache::pkgcache=pkgcache.bin
    # As root, do not switch to apt's sandbox user, which cannot write here.
    -o APT::Sandbox::User=root
  )
  [ $lists = system ] || options+=(-o Dir::State="$own_lists/state" -o Dir::State::status=/var/lib/dpkg/status)
  mkdir -p "$cache/apt/cache-$lists/archives/partial"
  shift
  "$command" "${options[@]}" "$@"
}

update_own_lists() {
  say 'fetching package lists of its own (the system has none, or old ones)'
  mkdir -p "$own_lists/state/lists/partial"
  # A failing source does not matter as long as the packages are found; system hooks may fail without root.
  apt apt-get update -qq -o Acquire::Languages=none >"$work/apt.log" 2>&1 || true
}

# dependencies_of PATTERN PACKAGE...: the names that match among what the packages depend on.
dependencies_of() {
  local pattern=$1
  shift
  apt apt-cache depends --important "$@" 2>>"$work/apt.log" | sed -nE "s/^ *[|]?(Pre)?Depends: *($pattern)$/\2/p" | sort -u
}

# Sets wanted: the packages, a kernel, and their direct and indirect libraries.
wanted=()
resolve_packages() {
  local meta kernel= name next
  : >"$work/apt.log"
  for meta in "${kernels[@]}"; do
    kernel=$(dependencies_of 'linux-image-[^ ]+' "$meta") && [ -n "$kernel" ] && break
  done
  [ -n "$kernel" ] || return
  wanted=()
  next="${packages[*]} $kernel"
  while [ -n "$next" ]; do
    # shellcheck disable=SC2206 # package names, one per word
    wanted+=($next)
    # Ubuntu has kernel modules in a separate package.
    # shellcheck disable=SC2086
    next=$(
      dependencies_of '(lib|linux-modules-)[^ ]+' $next | while read -r name; do
        [[ " ${wanted[*]} " == *" $name "* ]] || echo "$name"
      done
    ) || return
  done
}

# Downloads packages that the cache lacks. Sets debs. The output of apt is in apt.log.
debs=()
get_packages() {
  local file digest missing
  resolve_packages || return
  # In an empty directory: apt skips files that already exist.
  mkdir -p "$work/download"
  (cd "$work/download" && apt apt-get download -qq --print-uris "${wanted[@]}") \
    >"$work/uris" 2>"$work/apt.log" || return

  debs=()
  while read -r _ file _ digest; do
    [[ $digest == SHA256:* ]] || return
    debs+=("$cache/debs/$file")
    printf '%s  %s\n' "${digest#SHA256:}" "$file"
  done <"$work/uris" >"$work/digests"
  missing=$(cd "$cache/debs" && sha256sum --check --quiet "$work/digests" 2>/dev/null | sed 's/_.*//') || true
  [ -n "$missing" ] || return 0

  say "downloading $(wc -l <<<"$missing") of ${#debs[@]} packages"
  # Move only complete files to the cache, in case the download is interrupted.
  (
    cd "$work/download" || exit
    # shellcheck disable=SC2086 # package names, one per word
    apt apt-get download -qq $missing >"$work/apt.log" 2>&1 || exit
    sha256sum --check --status --ignore-missing "$work/digests" || exit
    for file in *.deb; do
      mv "$file" "$cache/debs/$file.part" && mv "$cache/debs/$file.part" "$cache/debs/$file" || exit
    done
  )
  local result=$?
  rm -rf "$work/download"
  return "$result"
}

# Take a lock: parallel builds share the cache.
exec 9>"$cache/lock"
flock 9
[ "$own_lists/updated" -nt /var/lib/apt/lists ] && lists=own
if ! get_packages; then
  lists=own
  update_own_lists
  if get_packages; then
    touch "$own_lists/updated"
  else
    sed 's/^/  /' "$work/apt.log" >&2
    give_up "apt found or fetched not all packages: $elsewhere, with a network for the first build"
  fi
fi
for file in "$cache"/debs/*; do
  [[ " ${debs[*]} " == *" $file "* ]] || rm -f "$file"
done

tree=$work/tree
# Older releases have files in /bin and /lib, newer ones in /usr only.
mkdir -p "$tree"/usr/{bin,sbin,lib,lib64}
for directory in bin sbin lib lib64; do
  ln -s usr/$directory "$tree/$directory"
done
for deb in "${debs[@]}"; do
  patterns=('*')
  if [[ $deb == */linux-* ]]; then
    # The package has a hundred megabytes, of which twenty are needed. Some kernels have some modules built in or in another package.
    patterns=("${initrd_modules[@]}" "${root_modules[@]}")
    patterns=("${patterns[@]/#/*/kernel/}")
    patterns=('./boot/vmlinuz-*' '*/modules.builtin' "${patterns[@]/%/.ko*}")
  fi
  dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$tree" --keep-directory-symlink --wildcards "${patterns[@]}" 2>"$work/tar.log" ||
    { [[ $deb == */linux-* ]] && ! grep -v 'Not found in archive\|previous errors' "$work/tar.log"; } ||
    give_up "$(basename "$deb") does not unpack as expected; is there room in ${TMPDIR:-/tmp}? Else: $elsewhere"
done
exec 9>&-
# Prefer programs on PATH; run only missing ones from the tree.
PATH=$PATH:$tree/usr/bin
libraries=$tree/usr/lib/x86_64-linux-gnu
loader=$libraries/ld-linux-x86-64.so.2
busybox=$tree/bin/busybox
# Use the tree's own loader, because its libraries may not match the system's.
have mke2fs || mke2fs() { "$loader" --library-path "$libraries" "$tree/sbin/mke2fs" "$@"; }
have debugfs || debugfs() { "$loader" --library-path "$libraries" "$tree/sbin/debugfs" "$@"; }

kernel=$(basename "$tree"/lib/modules/*)

# put_modules DIR MODULE...: copies kernel modules that are not built in, with the index for modprobe. The guest's busybox reads
# uncompressed modules only.
put_modules() {
  local base=$1/lib/modules/$kernel from=$tree/lib/modules/$kernel module
  shift
  mkdir -p "$base"
  for module; do
    if [ -f "$from/kernel/$module.ko" ]; then
      cp "$from/kernel/$module.ko" "$base/"
    elif [ -f "$from/kernel/$module.ko.xz" ]; then
      "$busybox" xzcat "$from/kernel/$module.ko.xz" >"$base/${module##*/}.ko"
    elif [ -f "$from/kernel/$module.ko.zst" ]; then
      have zstd || give_up 'zstd is missing: sudo apt-get install zstd'
      zstd -qdc "$from/kernel/$module.ko.zst" >"$base/${module##*/}.ko"
    else
      grep -qx "kernel/$module.ko" "$from/modules.builtin" || give_up "Linux $kernel has no module $module: $elsewhere"
    fi
  done
  (cd "$base/../../.." && "$busybox" depmod -b . "$kernel")
}

# put_programs DIR FILE...: copies programs of the tree and all libraries that they load.
put_programs() {
  local base=$1 program library
  shift
  mkdir -p "$base/lib64" "$base/lib/x86_64-linux-gnu"
  cp -L "$loader" "$base/lib64/"
  for program; do
    install -D -m 755 "$tree/$program" "$base/$program"
    "$loader" --library-path "$libraries" --list "$tree/$program" >"$work/list"
    ! grep 'not found' "$work/list" >&2 || give_up "a library of $program is missing: $elsewhere"
    while read -r library; do
      [ -e "$base/lib/x86_64-linux-gnu/$(basename "$library")" ] || cp -L "$library" "$base/lib/x86_64-linux-gnu/"
    done < <(awk '$2 == "=>" && $3 ~ /^\// && $1 !~ /ld-linux/ { print $3 }' "$work/list")
  done
}

# --- The initial ramdisk: busybox and the disk driver -------------------------------------------------------
initrd=$work/initrd
mkdir -p "$initrd"/{bin,dev,new,proc}
cp "$busybox" "$initrd/bin/"
for applet in sh mount umount modprobe usleep switch_root; do
  ln -s busybox "$initrd/bin/$applet"
done
install -m 755 "$here/initrd/init" "$initrd/init"
put_modules "$initrd" "${initrd_modules[@]}"
(cd "$initrd" && find . | "$busybox" cpio -o -H newc -R 0:0 2>/dev/null) >"$work/initrd.cpio"

# --- The root file system -----------------------------------------------------------------------------------------------
root=$work/root
mkdir -p "$root"/{dev,mnt,proc,run,sys,tmp,etc/dropbear,root/.ssh,usr/{bin,lib},var/{lib,log}}
cp -R "$here/root/." "$root/"
# One directory for all programs; the other paths are links to it.
ln -s usr/bin "$root/bin"
ln -s usr/bin "$root/sbin"
ln -s bin "$root/usr/sbin"
# Hard links made by a single copy: three hundred calls of ln would take a second.
cp "$busybox" "$root/bin/"
"$root/bin/busybox" --install "$root/bin"
put_programs "$root" usr/sbin/qemu-ga usr/sbin/dropbear usr/bin/{dropbearkey,dropbearconvert} usr/lib/openssh/sftp-server
# The path where dropbear looks for it.
ln -s openssh/sftp-server "$root/usr/lib/sftp-server"
put_modules "$root" "${root_modules[@]}"
ln -s /run "$root/var/run"
# Empty: the guest writes it at its first boot. A machine-id in a golden image would be shared by all its clones.
: >"$root/etc/machine-id"
for directory in "${additions[@]}"; do
  # Most programs are hard links to one file: writing to one would change all.
  cp -R --remove-destination "$directory/." "$root/"
done
chmod -R u=rwX,go=rX "$root"
chmod 755 "$root"/{etc/rc,etc/acpi/PWRF/00000080,usr/bin/{cloud-init,netup,shutdown},usr/share/udhcpc/default.script}
chmod 1777 "$root/tmp"
[ ${#ssh_keys[@]} = 0 ] || awk 1 "${ssh_keys[@]}" >"$root/root/.ssh/authorized_keys"
chmod -R go= "$root/root" "$root/etc/shadow"

# --- The disk: an MBR, FAT12 with the boot loader and kernel, ext4 -------------------------------------------------------
boot_at=1 boot_size=24 root_at=25 root_size=48 # MiB

truncate -s ${boot_size}M "$work/boot.fat"
export MTOOLSRC=/dev/null
# Clusters of 32 KiB: with 2 KiB, the boot loader needs a fifth of a second more under emulation.
mformat -i "$work/boot.fat" -T $((boot_size * 2048)) -h 255 -s 63 -c 64 -H $((boot_at * 2048)) ::
mcopy -i "$work/boot.fat" "$tree/boot/vmlinuz-$kernel" ::vmlinuz
mcopy -i "$work/boot.fat" "$work/initrd.cpio" ::initrd
mcopy -i "$work/boot.fat" "$here/boot/syslinux.cfg" ::syslinux.cfg
syslinux --install "$work/boot.fat"
# UEFI firmware starts EFI/BOOT/BOOTX64.EFI, which boots the same kernel with the same arguments.
mkdir -p "$work"/uefi/{EFI/BOOT,loader/entries}
cp "$tree/usr/lib/systemd/boot/efi/systemd-bootx64.efi" "$work/uefi/EFI/BOOT/BOOTX64.EFI"
arguments=$(sed -n 's/^ *APPEND //p' "$here/boot/syslinux.cfg")
printf 'linux /vmlinuz\ninitrd /initrd\noptions %s\n' "$arguments" >"$work/uefi/loader/entries/linux.conf"
mcopy -s -i "$work/boot.fat" "$work"/uefi/{EFI,loader} ::

truncate -s ${root_size}M "$work/root.ext4"
mke2fs -q -t ext4 -O ^metadata_csum,^64bit -m 0 -J size=4 -L root -E lazy_itable_init=0 -d "$root" "$work/root.ext4"
# mke2fs made the building user the owner of every file; change the owner to root.
(cd "$root" && find . -printf 'set_inode_field "/%P" uid 0\nset_inode_field "/%P" gid 0\n') >"$work/owners"
debugfs -w -f "$work/owners" "$work/root.ext4" >/dev/null 2>&1

# partition FLAG TYPE START SIZE: an entry of the partition table. START and SIZE are MiB, in the table 512-byte sectors.
partition() {
  local entry="\\x$1\\xfe\\xff\\xff\\x$2\\xfe\\xff\\xff" sectors shift
  for sectors in $(($3 * 2048)) $(($4 * 2048)); do
    for shift in 0 8 16 24; do
      entry+=\\x$(printf %02x $((sectors >> shift & 255)))
    done
  done
  printf %b "$entry"
}
{
  head -c 440 "$tree/usr/lib/syslinux/mbr/mbr.bin" | dd bs=440 conv=sync status=none
  printf 'tiny\0\0'
  partition 80 0e $boot_at $boot_size
  partition 00 83 $root_at $root_size
  head -c 32 /dev/zero
  printf '\x55\xaa'
} >"$work/disk"
truncate -s $((root_at + root_size))M "$work/disk"
dd if="$work/boot.fat" of="$work/disk" bs=1M seek=$boot_at conv=notrunc,sparse status=none
dd if="$work/root.ext4" of="$work/disk" bs=1M seek=$root_at conv=notrunc,sparse status=none

qemu-img convert -O qcow2 "$work/disk" "$part"
mv "$part" "$out"
say "$out: Linux $kernel, $(($(stat -c %s "$out") >> 20)) MiB"
