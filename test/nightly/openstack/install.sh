#!/usr/bin/env bash
# Installs the Debian 12 packages of a small OpenStack cloud: Keystone, Glance, Placement, Nova (Zed) and what they need. Starts no service.
# As root. Exit code 3: something is missing and cannot be installed.
set -euo pipefail

say() { printf 'openstack: %s\n' "$*" >&2; }
give_up() { say "$*"; exit 3; }

# mariadb-server and nova-compute-qemu would also change other packages, and install every emulator.
packages=(
  keystone glance-api placement-api nova-api nova-conductor nova-scheduler nova-compute nova-compute-kvm
  mariadb-server-core mariadb-client-core rabbitmq-server memcached
  uwsgi-core uwsgi-plugin-python3 python3-pymysql python3-libvirt python3-openstackclient tini
)
is_installed() { dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | grep -qx installed; }

missing=()
for package in "${packages[@]}"; do is_installed "$package" || missing+=("$package"); done
[ ${#missing[@]} -gt 0 ] || exit 0
command -v apt-get >/dev/null || give_up 'this is not Debian 12: the cloud needs its packages'
[ "$(id -u)" = 0 ] || give_up "installing packages needs root: sudo apt-get install --no-install-recommends ${missing[*]}"
say "installing ${missing[*]}"

# Services that packages would start listen on all addresses.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod 755 $policy
  trap 'rm -f "$policy"' EXIT
  trap 'exit 130' INT TERM HUP
fi
# The cloud has databases and settings of its own.
debconf-set-selections <<'SELECTIONS'
keystone keystone/configure_db boolean false
keystone keystone/create-admin-tenant boolean false
keystone keystone/register-endpoint boolean false
keystone-common keystone/configure_db boolean false
glance-api glance/register-endpoint boolean false
glance-common glance/configure_db boolean false
glance-common glance/configure_ksat boolean false
glance-common glance/configure_rabbit boolean false
placement-api placement/register-endpoint boolean false
placement-common placement/configure_db boolean false
placement-common placement/configure_ksat boolean false
nova-api nova/register-endpoint boolean false
nova-common nova/configure_db boolean false
nova-common nova/configure_api_db boolean false
nova-common nova/configure_ksat boolean false
nova-common nova/configure_rabbit boolean false
nova-common nova/configure_glance_api_servers boolean false
nova-common nova/configure_neutron_url boolean false
SELECTIONS

output=$(mktemp)
install_packages() {
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold "${missing[@]}" >"$output" 2>&1
}
# Package lists may be missing or old; fetch them only if needed.
install_packages || { apt-get update -qq && install_packages; } || {
  tail -n 30 "$output" >&2
  give_up "apt-get could not install ${missing[*]}; its output is in $output"
}
rm -f "$output"
