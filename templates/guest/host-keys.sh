# shellcheck shell=sh disable=SC2154,SC2034
# New ssh host keys.

renew_host_keys() {
  say_keys former-key
  [ ! -e /etc/ssh/sshd_config ] || openssh_keys
  [ ! -f $dropbear_key ] || dropbear_keys
}

openssh_keys() {
  rsa=
  for key in /etc/ssh/ssh_host_*_key; do
    kind=${key#/etc/ssh/ssh_host_}
    kind=${kind%_key}
    given=
    case $kind in
      ed25519) given=$new_ed25519 public=$new_ed25519_pub ;;
      ecdsa) given=$new_ecdsa public=$new_ecdsa_pub ;;
      rsa) given=$new_rsa public=$new_rsa_pub ;;
    esac
    if [ -n "$given" ]; then
      # In place, without a process: nothing boots from this disk before everything is synced.
      printf '%s\n' "$given" >"$key" && printf '%s root@%s\n' "$public" "$hostname" >"$key.pub"
      continue
    fi
    case $kind in
      # Takes seconds on an emulated CPU, so run it in the background.
      rsa) rsa=yes ;;
      ed25519 | ecdsa) openssh_key "$kind" ;;
    esac
    case $kind in ed25519 | ecdsa) ;; *) rm -f "$key" "$key.pub" ;; esac
  done
  for certificate in /etc/ssh/ssh_host_*-cert.pub; do
    [ ! -e "$certificate" ] || rm -f "$certificate"
  done
  reads_keys_itself || hang_up
  [ -z "$rsa" ] || {
    note 'the new RSA host key is still being generated'
    (openssh_key rsa && { reads_keys_itself || hang_up; }) >/dev/null 2>&1 </dev/null &
  }
}

# openssh_key TYPE: moves the key into place only when it is complete.
openssh_key() {
  new=/etc/ssh/.cowherd-$1
  rm -f "$new" "$new.pub"
  ssh-keygen -q -t "$1" -N '' -C "root@$hostname" -f "$new" &&
    mv -f "$new" "/etc/ssh/ssh_host_$1_key" && mv -f "$new.pub" "/etc/ssh/ssh_host_$1_key.pub"
}

# Before OpenSSH 9.8, each connection is served by a new sshd that reads the keys from the disk. Later versions pass the keys to
# sshd-session. Where other distributions put that program is not known here.
reads_keys_itself() {
  [ -f /var/lib/dpkg/info/openssh-server.list ] && [ ! -e /usr/lib/openssh/sshd-session ] || return
  pid=
  { read -r pid </run/sshd.pid; } 2>/dev/null
  title=
  { read -r title <"/proc/${pid:-none}/cmdline"; } 2>/dev/null
  # With -r, it uses the keys that it read at start.
  case ${title%%'[listener]'*} in *' -'*r*) return 1 ;; 'sshd: '*) ;; *) return 1 ;; esac
}

# sshd rereads its keys and keeps its connections.
hang_up() {
  pid=
  { read -r pid </run/sshd.pid; } 2>/dev/null
  [ -z "$pid" ] || kill -HUP "$pid"
}

dropbear_keys() {
  for key in /etc/dropbear/dropbear_*_host_key; do
    [ "$key" = $dropbear_key ] || rm -f "$key"
  done
  if [ -n "$new_dropbear" ]; then
    # shellcheck disable=SC2059 # octal escapes only
    printf "$new_dropbear" >$dropbear_key
  else
    rm -f $dropbear_key
    dropbearkey -t ed25519 -f $dropbear_key >/dev/null 2>&1 || note 'dropbearkey did not create a host key'
  fi
  pid=
  { read -r pid </run/dropbear.pid; } 2>/dev/null
  [ ! -d "/proc/${pid:-none}" ] || restart "$pid"
}
