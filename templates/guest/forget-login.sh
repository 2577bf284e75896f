# shellcheck shell=sh disable=SC2154
# Run in a guest before its last shutdown: removes the key with which cowherd logs in to this guest only. POSIX sh.
#
#   own_key   the public key, as in authorized_keys; not empty

# Other keys were added on purpose. The file keeps its owner and its mode.
for file in /root/.ssh/authorized_keys /home/*/.ssh/authorized_keys; do
  grep -qF "$own_key" "$file" 2>/dev/null || continue
  others=$(grep -vF "$own_key" "$file")
  printf '%s' "${others:+$others
}" >"$file" || exit 1
done
