#!/usr/bin/env bash
# Prepares a Debian or Ubuntu machine to run cowherd from this checkout: packages, node_modules, dist, a running libvirtd.
# Lists missing packages before it installs them. Does not reconfigure services that it did not start.
#
#   setup.sh [--guests] [--tests] [--bench] [--nightly]
#                                   --guests: also tools for Linux guests: seeds, ssh, libvirt networks, building the image
#                                   --tests: also tools for the tests: UEFI firmware, an emulated TPM, virt-install, Ansible, Chromium and others
#                                   --bench: also tools for the benchmarks
#                                   --nightly: also tools to create a fresh Debian of another release
#
# Exit code 3: something is missing and cannot be installed.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }
give_up() { say "$*"; exit 3; }
have() { command -v "$1" >/dev/null 2>&1; }

if [ "$(id -u)" = 0 ]; then
  as_root() { "$@"; }
  can_be_root=yes
elif have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
  as_root() { sudo -- "$@"; }
  can_be_root=yes
else
  as_root() { return 1; }
  can_be_root=no
fi

# --- Node -----------------------------------------------------------------------------------------------------------------
needed=$(sed -n 's/^ *"node": "\(.*\)".*/\1/p' package.json)
have node && have npm || give_up "Node.js and npm are missing. Install Node.js $needed; see docs/install.md."
# The range in package.json is what the dependencies require: "^20.18.1 || >=22.9.0" and the like.
node -e '
  const [major, minor] = process.versions.node.split(".").map(Number);
  const fits = (range) => {
    const [, operator, a, b] = /(\^|>=)(\d+)\.(\d+)/.exec(range);
    return major == a ? minor >= b : operator === ">=" && major > a;
  };
  process.exit(process.argv[1].split("||").some(fits) ? 0 : 1);
' "$needed" || give_up "Node.js $(node --version) is not supported: cowherd needs $needed; see docs/install.md."

# --- Debian packages ------------------------------------------------------------------------------------------------------
service_manager=none
[ -d /run/systemd/system ] && service_manager=systemd

declare -A package_of=(
  [virsh]=libvirt-clients
  [libvirtd]=libvirt-daemon-system
  [qemu-img]=qemu-utils
  [qemu-system-x86_64]=qemu-system-x86
  [flock]=util-linux
)
[ "$service_manager" = none ] && package_of[tini]=tini

case " $* " in
  *' --guests '*)
    package_of+=(
      [genisoimage]=genisoimage [ssh]=openssh-client [dnsmasq]=dnsmasq-base [dhcp_release]=dnsmasq-utils [iptables]=iptables [mke2fs]=e2fsprogs
    ) ;;
esac

case " $* " in
  *' --tests '*)
    package_of+=(
      [swtpm]=swtpm [swtpm_setup]=swtpm-tools [virt-install]=virtinst [strace]=strace [script]=bsdutils [ansible-inventory]=ansible-core
      [curl]=curl [xz]=xz-utils [zstd]=zstd [bzip2]=bzip2 [zsh]=zsh [fish]=fish [chromium]=chromium [gpg]=gpg [gpg-agent]=gpg-agent [gpgv]=gpgv
      [openssl]=openssl [sfdisk]=fdisk
    ) ;;
esac

case " $* " in
  *' --nightly '*) package_of+=([mmdebstrap]=mmdebstrap [slirp4netns]=slirp4netns) ;;
esac

missing=()
PATH=$PATH:/usr/sbin:/sbin
for tool in "${!package_of[@]}"; do
  have "$tool" || missing+=("${package_of[$tool]}")
done
# libvirt-daemon contains only libvirtd; this package adds users, groups and networks.
have libvirtd && ! getent group libvirt >/dev/null && missing+=(libvirt-daemon-system)
if [[ " $* " == *' --tests '* ]] && ! [ -f /usr/share/OVMF/OVMF_CODE_4M.fd ]; then
  missing+=(ovmf)
fi
# SPICE is part of QEMU on some releases, and a separate package on others.
if [[ " $* " == *' --tests '* ]] && ! { have qemu-system-x86_64 && qemu-system-x86_64 -device help | grep -q '"qxl"'; }; then
  missing+=("$(apt-cache show qemu-system-modules-spice >/dev/null 2>&1 && echo qemu-system-modules-spice || echo qemu-system-x86)")
fi
if [[ " $* " == *' --bench '* ]] && ! /usr/bin/python3 -c 'import libvirt' 2>/dev/null; then
  missing+=(python3-libvirt)
fi

if [ ${#missing[@]} -gt 0 ]; then
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  say "missing packages: ${missing[*]}"
  have apt-get || give_up "This system is not Debian or Ubuntu. Install the equivalents of: ${missing[*]}"
  [ "$can_be_root" = yes ] || give_up "Installing packages needs root: sudo apt-get install ${missing[*]}"
  say "installing them with apt-get"
  install_packages() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  }
  # Package lists may be missing or old; fetch them only if needed.
  install_packages 2>/dev/null || { as_root apt-get update -qq && install_packages; } || give_up "apt-get could not install ${missing[*]}"
fi

# --- Emulated TPMs --------------------------------------------------------------------------------------------------------
# libvirt runs swtpm as the user tss, or as root if that user was created after libvirtd was started. Files that root has left in the
# directory of swtpm's local certificate authority then block tss after the next start of libvirtd: no TPM can be created.
tpm_authority=/var/lib/swtpm-localca
if [[ " $* " == *' --tests '* ]] && [ "$can_be_root" = yes ] && as_root test -d "$tpm_authority"; then
  owner=$(as_root stat -c %U "$tpm_authority")
  if [ -n "$(as_root find "$tpm_authority" -mindepth 1 ! -user "$owner" -print -quit)" ]; then
    say "giving the files in $tpm_authority to $owner, like the directory itself"
    as_root chown -R "$owner" "$tpm_authority"
  fi
fi

# --- node_modules and dist ------------------------------------------------------------------------------------------------
if [ ! -f node_modules/.package-lock.json ] || [ package-lock.json -nt node_modules/.package-lock.json ]; then
  say "installing npm packages (npm ci)"
  npm ci --no-audit --no-fund --loglevel=error
  touch node_modules/.package-lock.json
fi
if [ ! -f dist/.built ] || [ -n "$(find src scripts/bundle.ts vite.config.ts package.json tsconfig.json -newer dist/.built -print -quit)" ]; then
  say "building"
  npm run --silent build
  touch dist/.built
fi

# --- libvirtd -------------------------------------------------------------------------------------------------------------
answers() { LC_ALL=C as_root timeout 20 virsh -q -c qemu:///system uri >/dev/null 2>&1; }

start_by_hand() {
  local run=/run/cowherd-setup
  as_root mkdir -p "$run"
  if [ -c /dev/kvm ] && [ "$(stat -c %a:%G /dev/kvm)" != 660:kvm ]; then
    # udev does this elsewhere. Otherwise libvirt considers its cache of QEMU capabilities invalid at every call.
    say "giving /dev/kvm to the group kvm, mode 660"
    as_root chgrp kvm /dev/kvm && as_root chmod 660 /dev/kvm
  fi
  # Lets members of the group libvirt connect, as polkit does on systems with a service manager.
  printf '%s\n' 'unix_sock_group = "libvirt"' 'unix_sock_rw_perms = "0770"' 'auth_unix_rw = "none"' |
    as_root tee "$run/libvirtd.conf" >/dev/null
  # tini reaps QEMU processes immediately; with a slow init every stop takes two seconds.
  # A second virtlogd exits if one is already running.
  # shellcheck disable=SC2016
  as_root sh -c '
    ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
    setsid tini -s -- virtlogd </dev/null >"$1/virtlogd.log" 2>&1 &
    setsid tini -s -- libvirtd --config "$1/libvirtd.conf" </dev/null >"$1/libvirtd.log" 2>&1 &
  ' sh "$run"
  for _ in $(seq 60); do
    answers && return
    sleep 0.5
  done
  give_up "libvirtd did not start; see $run/libvirtd.log"
}

if [ "$can_be_root" = no ]; then
  say "not root: not changing the system's libvirtd; qemu:///session needs no setup"
elif ! answers; then
  if [ "$service_manager" = systemd ]; then
    say "starting libvirtd (systemctl start libvirtd)"
    as_root systemctl start libvirtd
    answers || give_up "libvirtd does not answer; see: journalctl -u libvirtd"
  else
    say "starting virtlogd and libvirtd (no service manager found); they run until you stop them"
    start_by_hand
  fi
fi
