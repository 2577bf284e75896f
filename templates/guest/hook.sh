# shellcheck shell=sh disable=SC2154,SC2034
# The user's hook.

run_hook() {
  # To a file: a daemon left by the hook would keep a pipe open, and the agent limits the output.
  log=/run/cowherd-hook.$$
  (set -C && umask 077 && : >$log) || log=/dev/null
  sh -c "$hook" >$log 2>&1
  hook_code=$?
  if [ $log != /dev/null ]; then
    [ $hook_code = 0 ] || tail -c 2000 $log >&2
    rm -f $log
  fi
}
