#!/usr/bin/env bash
# Starts what is not running of a cloud, and waits until servers can be created. Called by up.sh inside the namespaces of the cloud.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=$1
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$here/common.sh"
# shellcheck source-path=SCRIPTDIR source=configuration.sh
. "$here/configuration.sh"
export TMPDIR=$dir/tmp
cd "$dir"

# --- Processes ------------------------------------------------------------------------------------------------------------
running() { pid_of "$run/$1.pid" >/dev/null; }

# start NAME COMMAND...: in a session of its own.
start() {
  local name=$1
  shift
  ! running "$name" || return 0
  # The shell is no leader of a process group, so that setsid does not fork.
  setsid "$@" </dev/null >>"$log/$name.out" 2>&1 &
  record "$!" >"$run/$name.pid"
}

# ended NAME: fails the start, with the end of its logs.
ended() {
  say "$1 $2; the end of its logs:"
  tail -n 15 "$log/$1".* >&2 || true
  exit 1
}

# wait_for NAME SECONDS COMMAND...: until the command succeeds, as long as the process is running.
wait_for() {
  local name=$1 end=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ ! -e "$run/$name.pid" ] || running "$name" || ended "$name" 'has ended'
    [ $SECONDS -lt $end ] || ended "$name" 'does not answer'
    sleep 0.1
  done
}
answers() { curl -s -o /dev/null -m 5 "http://127.0.0.1:$1"; }
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }
admin() { /usr/bin/python3 "$here/admin.py" "$@"; }

# --- Database, messages, cache --------------------------------------------------------------------------------------------
start_infrastructure() {
  start memcached memcached -u root -s "$run/memcached.sock" -a 0600 -m 32 -t 1
  if [ ! -d "$dir/mysql/mysql" ]; then
    # Removed first: an earlier attempt may have been stopped half-way.
    rm -rf "$dir/mysql"
    mariadb-install-db --no-defaults --user=root --datadir="$dir/mysql" --skip-test-db --auth-root-authentication-method=normal \
      >"$log/mariadb-install.out" 2>&1 || ended mariadb-install 'failed'
  fi
  # Nothing of this has to survive a power failure.
  start mariadb mariadbd --no-defaults --user=root --datadir="$dir/mysql" --socket="$run/mariadb.sock" --pid-file="$run/mariadbd.own" \
    --skip-networking --skip-log-bin --max-connections=300 --transaction-isolation=READ-COMMITTED --performance-schema=0 \
    --innodb-flush-log-at-trx-commit=0 --innodb-doublewrite=0 --innodb-flush-method=nosync \
    --innodb-buffer-pool-size=64M --innodb-log-file-size=48M --init-file="$etc/databases.sql"
  mkdir -p "$dir/rabbit"
  export ERL_EPMD_PORT=$epmd_port ERL_EPMD_ADDRESS=127.0.0.1
  start epmd epmd
  wait_for epmd 10 listens "$epmd_port"
  start rabbitmq env HOME="$dir/rabbit" RABBITMQ_NODENAME=cowherd@localhost RABBITMQ_MNESIA_BASE="$dir/rabbit/mnesia" \
    RABBITMQ_LOG_BASE="$log/rabbit" RABBITMQ_CONFIG_FILE="$etc/rabbitmq.conf" RABBITMQ_ENABLED_PLUGINS_FILE="$etc/rabbit-plugins" \
    RABBITMQ_DIST_PORT="$erlang_port" \
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS='+S 1:1 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}' \
    /usr/lib/rabbitmq/bin/rabbitmq-server
  wait_for mariadb 60 test -S "$run/mariadb.sock"
}

# --- Identity and placement: WSGI applications ----------------------------------------------------------------------------
# start_wsgi NAME PORT SCRIPT VARIABLE=VALUE
start_wsgi() {
  # uwsgi closes the connection after each reply. Without the header a client may send its next request on it, and gets no reply: this
  # is how nova-scheduler and nova-compute fail at their start, now and then.
  start "$1" env "$4" uwsgi_python3 --need-app --http-socket "127.0.0.1:$2" --wsgi-file "$3" --master --die-on-term --lazy-apps \
    --enable-threads --processes 1 --threads 8 --thunder-lock --add-header 'Connection: close' --buffer-size 65535 --listen 100 \
    --disable-logging
}
start_keystone() {
  start_wsgi keystone "$identity_port" /usr/bin/keystone-wsgi-public OS_KEYSTONE_CONFIG_FILES="$etc/keystone.conf"
  wait_for keystone 60 answers "$identity_port/v3"
}

# --- Tables, keys, users and endpoints: once ------------------------------------------------------------------------------
create_tables() {
  local nova=(nova-manage --config-file "$etc/nova.conf") jobs=()
  {
    (umask 077 && mkdir -p "$dir"/keystone/{fernet-keys,credential-keys})
    keystone-manage --config-file "$etc/keystone.conf" db_sync
    keystone-manage --config-file "$etc/keystone.conf" fernet_setup --keystone-user root --keystone-group root
    keystone-manage --config-file "$etc/keystone.conf" credential_setup --keystone-user root --keystone-group root
    OS_BOOTSTRAP_PASSWORD=$admin_password keystone-manage --config-file "$etc/keystone.conf" bootstrap --bootstrap-region-id RegionOne \
      --bootstrap-admin-url "$identity_url" --bootstrap-internal-url "$identity_url" --bootstrap-public-url "$identity_url"
    glance-manage --config-file "$etc/glance.conf" db_sync
    placement-manage --config-file "$etc/placement/placement.conf" db sync
  } >"$log/tables.out" 2>&1 &
  jobs+=($!)
  {
    "${nova[@]}" api_db sync
    "${nova[@]}" cell_v2 map_cell0 --database_connection "$(database nova_cell0)"
    # 2: it exists already.
    "${nova[@]}" cell_v2 create_cell --name cell1 --database_connection "$(database nova_cell1)" --transport-url "$rabbit_url" || [ $? = 2 ]
    "${nova[@]}" db sync
  } >"$log/nova-tables.out" 2>&1 &
  jobs+=($!)
  wait "${jobs[0]}" || ended tables 'could not be created'
  wait "${jobs[1]}" || ended nova-tables 'could not be created'
}

# --- The cloud ------------------------------------------------------------------------------------------------------------
start_services() {
  start_wsgi placement "$placement_port" /usr/bin/placement-api OS_PLACEMENT_CONFIG_DIR="$etc/placement"
  start glance glance-api --config-file "$etc/glance.conf"
  start neutron-stub /usr/bin/python3 "$here/neutron-stub.py" "$network_port"
  wait_for rabbitmq 90 listens "$rabbit_port"
  wait_for placement 60 answers "$placement_port/"
  local name
  for name in api conductor scheduler; do
    start "nova-$name" "nova-$name" --config-file "$etc/nova.conf" --log-file "$log/nova-$name.log"
  done
  # Last: a host that finds no Placement reports its size a minute later, and gets no servers until then.
  for name in "${hosts[@]}"; do
    start "host-$name" bash "$here/host.sh" "$dir" "$name"
  done
  wait_for glance 60 answers "$image_port/"
  wait_for nova-api 90 answers "$compute_port/"
}

write_configuration
start_infrastructure
if [ ! -e "$dir/has-tables" ]; then
  create_tables
  start_keystone
  admin users
  : >"$dir/has-tables"
fi
start_keystone
start_services
admin flavors
for name in "${hosts[@]}"; do wait_for "host-$name" 120 admin ready "$name"; done
for name in nova-conductor nova-scheduler; do running $name || ended $name 'has ended'; done
write_clouds_file
say "the cloud is ready after $SECONDS s: OS_CLIENT_CONFIG_FILE=$dir/clouds.yaml"
