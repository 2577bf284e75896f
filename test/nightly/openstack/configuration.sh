# shellcheck shell=bash disable=SC2154 # read after common.sh
# Writes the configuration of all services. Read by start.sh.

# Any user of this machine can connect to 127.0.0.1, so every cloud has passwords of its own.
if [ ! -f "$dir/secrets" ]; then
  for name in admin user service database rabbit; do printf '%s_password=%s\n' $name "$(cat /proc/sys/kernel/random/uuid)"; done |
    (umask 077 && cat >"$dir/secrets.part")
  mv "$dir/secrets.part" "$dir/secrets"
fi
# shellcheck source=/dev/null
. "$dir/secrets"
export admin_password user_password service_password
export identity_url image_port compute_port placement_port network_port

rabbit_url=rabbit://cowherd:$rabbit_password@127.0.0.1:$rabbit_port/
database() { printf 'mysql+pymysql://cowherd:%s@localhost/%s?charset=utf8&unix_socket=%s\n' "$database_password" "$1" "$run/mariadb.sock"; }

# How the services log in to each other.
login() {
  cat <<CONF
auth_url = $identity_url
auth_type = password
user_domain_id = default
project_domain_id = default
project_name = service
username = service
password = $service_password
region_name = RegionOne
CONF
}

# What the services have in common.
common_conf() {
  cat <<CONF
[DEFAULT]
transport_url = $rabbit_url
[oslo_messaging_notifications]
driver = noop
[oslo_messaging_rabbit]
heartbeat_timeout_threshold = 0
kombu_reconnect_delay = 0.3
[oslo_concurrency]
lock_path = $dir/lock
[oslo_policy]
policy_dirs = $etc/no-policies
[keystone_authtoken]
www_authenticate_uri = $identity_url
memcached_servers = unix:$run/memcached.sock
$(login)
CONF
}

keystone_conf() {
  cat <<CONF
[DEFAULT]
log_file = $log/keystone.log
[database]
connection = $(database keystone)
[token]
provider = fernet
expiration = 86400
[fernet_tokens]
key_repository = $dir/keystone/fernet-keys
[credential]
key_repository = $dir/keystone/credential-keys
[cache]
enabled = true
backend = dogpile.cache.memcached
memcache_servers = unix:$run/memcached.sock
[oslo_policy]
policy_dirs = $etc/no-policies
[identity]
password_hash_rounds = 4
CONF
}

glance_conf() {
  common_conf
  cat <<CONF
[DEFAULT]
bind_host = 127.0.0.1
bind_port = $image_port
workers = 0
log_file = $log/glance.log
enabled_backends = disk:file
[glance_store]
default_backend = disk
[disk]
filesystem_store_datadir = $dir/glance/images
[os_glance_staging_store]
filesystem_store_datadir = $dir/glance/staging
[os_glance_tasks_store]
filesystem_store_datadir = $dir/glance/tasks
[database]
connection = $(database glance)
[paste_deploy]
flavor = keystone
config_file = /etc/glance/glance-api-paste.ini
CONF
}

placement_conf() {
  common_conf
  cat <<CONF
[DEFAULT]
log_file = $log/placement.log
[placement_database]
connection = $(database placement)
[placement]
# Many servers are created on one host at the same time.
allocation_conflict_retry_count = 50
CONF
}

databases_sql() {
  local name
  for name in keystone glance placement nova_api nova_cell0 nova_cell1; do
    printf 'CREATE DATABASE IF NOT EXISTS %s CHARACTER SET utf8;\n' $name
  done
  printf "CREATE USER IF NOT EXISTS 'cowherd'@'localhost' IDENTIFIED BY '%s';\n" "$database_password"
  printf "GRANT ALL ON *.* TO 'cowherd'@'localhost';\n"
}

rabbit_conf() {
  cat <<CONF
listeners.tcp.1 = 127.0.0.1:$rabbit_port
default_user = cowherd
default_pass = $rabbit_password
log.file.level = warning
vm_memory_high_watermark.absolute = 256MB
disk_free_limit.absolute = 50MB
CONF
}

# cloud_entry CLOUD PASSWORD: user and project have the same name.
cloud_entry() {
  cat <<CONF
    auth:
      auth_url: $identity_url
      username: $1
      password: $2
      project_name: $1
      user_domain_id: default
      project_domain_id: default
    region_name: RegionOne
    identity_api_version: '3'
CONF
}

# Written last: it says that the cloud is ready.
write_clouds_file() {
  {
    printf 'clouds:\n  nightly:\n'
    cloud_entry nightly "$user_password"
    printf '  nightly-admin:\n'
    cloud_entry admin "$admin_password"
  } | (umask 077 && cat >"$dir/clouds.yaml")
}

write_configuration() {
  # shellcheck source-path=SCRIPTDIR source=nova-configuration.sh
  . "$here/nova-configuration.sh"
  umask 077
  mkdir -p "$etc"/{no-policies,placement} "$dir"/{lock,glance/{images,staging,tasks}}
  keystone_conf >"$etc/keystone.conf"
  glance_conf >"$etc/glance.conf"
  placement_conf >"$etc/placement/placement.conf"
  databases_sql >"$etc/databases.sql"
  rabbit_conf >"$etc/rabbitmq.conf"
  : >"$etc/rabbit-plugins"
  write_nova_configuration
  umask 022
}
