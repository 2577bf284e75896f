# shellcheck shell=bash disable=SC2154 # read after common.sh
# Writes the configuration of Nova: of its services, and of each compute host. Read by configuration.sh.

# nova_conf HOST
nova_conf() {
  local state=$dir/hosts/$1 compute_driver=libvirt.LibvirtDriver
  [ "$driver" = libvirt ] || compute_driver=fake.FakeDriver
  common_conf
  cat <<CONF
[DEFAULT]
host = $1
my_ip = 127.0.0.1
state_path = $state
instances_path = $state/instances
compute_driver = $compute_driver
# Otherwise base images are converted to raw files.
force_raw_images = false
enabled_apis = osapi_compute
osapi_compute_listen = 127.0.0.1
osapi_compute_listen_port = $compute_port
osapi_compute_workers = 1
# All guests are on this machine: hosts that are full are not what is tested.
initial_cpu_allocation_ratio = 64
initial_ram_allocation_ratio = 4
initial_disk_allocation_ratio = 16
reserved_host_memory_mb = 0
max_concurrent_builds = 4
update_resources_interval = 30
sync_power_state_interval = 30
heal_instance_info_cache_interval = -1
instance_build_timeout = 300
rpc_response_timeout = 180
service_down_time = 60
report_interval = 5
# Otherwise periodic tasks, such as the discovery of hosts, begin up to a minute after the start.
periodic_fuzzy_delay = 0
shutdown_timeout = 10
[api]
max_limit = 1000
[wsgi]
api_paste_config = /etc/nova/api-paste.ini
[conductor]
workers = 1
[scheduler]
workers = 1
discover_hosts_in_cells_interval = 5
[filter_scheduler]
enabled_filters = ComputeFilter,ComputeCapabilitiesFilter,ImagePropertiesFilter,ServerGroupAntiAffinityFilter,ServerGroupAffinityFilter
# Otherwise all servers of requests at the same time are placed on the same one of two equal hosts.
shuffle_best_same_weighed_hosts = true
[placement]
$(login)
[glance]
endpoint_override = http://127.0.0.1:$image_port
$(login)
[neutron]
endpoint_override = http://127.0.0.1:$network_port
http_retries = 0
$(login)
[cinder]
auth_type = none
[libvirt]
connection_uri = qemu:///system
virt_type = qemu
cpu_mode = none
images_type = qcow2
hw_machine_type = x86_64=pc
disk_cachemodes = file=unsafe
inject_partition = -2
num_pcie_ports = 0
live_migration_inbound_addr = 127.0.0.1
[vnc]
enabled = false
[spice]
enabled = false
[serial_console]
enabled = false
[quota]
instances = 200
cores = -1
ram = -1
[image_cache]
manager_interval = 0
CONF
  # Without sudo: all of this is root already.
  local context
  for context in nova_sys_admin vif_plug_ovs_privileged os_brick_privileged; do
    printf '[%s]\nhelper_command = /usr/bin/privsep-helper --config-file %s\n' $context "$etc/nova-$1.conf"
  done
}

write_nova_configuration() {
  local name
  # nova-compute refuses a configuration that names a database.
  for name in "${hosts[@]}"; do nova_conf "$name" >"$etc/nova-$name.conf"; done
  {
    nova_conf controller
    printf '[database]\nconnection = %s\n[api_database]\nconnection = %s\n' "$(database nova_cell1)" "$(database nova_api)"
  } >"$etc/nova.conf"
}
