# shellcheck shell=sh disable=SC2154,SC2034
# Clock and random numbers.

set_clock() {
  # Busybox accepts only whole seconds.
  for time in "$clock" "${clock%.*}"; do
    set_to=$(date -u -s "@$time" +%s.%N 2>/dev/null) && return
  done
  set_to=
  note 'could not set the clock'
}

# Writing mixes the bytes in, but the kernel keeps its key for up to a minute, and generates the same numbers as every other
# VM with this memory. Only the ioctl RNDRESEEDCRNG makes it use a new key.
reseed() {
  printf %s "$entropy" >/dev/urandom || { note 'could not add random bytes of the host'; return; }
  command -v perl >/dev/null && perl -e 'exit(ioctl(STDIN, 0x5207, 0) ? 0 : 1)' </dev/urandom && return
  # Without Perl and Python, use a minimal program: 145 bytes of ELF.
  program=/run/cowherd-reseed.$$
  arch=
  # Linux 6.1 and later
  { read -r arch </proc/sys/kernel/arch; } 2>/dev/null || arch=$(uname -m)
  if ! command -v python3 >/dev/null 2>&1 && [ "$arch" = x86_64 ] && (
    set -C
    umask 077
    printf '\177\105\114\106\2\1\1\0\0\0\0\0\0\0\0\0\2\0\76\0\1\0\0\0\170\0\100\0\0\0\0\0\100\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\100\0\70\0\1\0\0\0\0\0\0\0' >$program &&
      printf '\1\0\0\0\5\0\0\0\0\0\0\0\0\0\0\0\0\0\100\0\0\0\0\0\0\0\100\0\0\0\0\0\221\0\0\0\0\0\0\0\221\0\0\0\0\0\0\0\0\20\0\0\0\0\0\0' >>$program &&
      # ioctl(0, RNDRESEEDCRNG, 0); exit(result)
      printf '\61\377\276\7\122\0\0\61\322\270\20\0\0\0\17\5\211\307\270\74\0\0\0\17\5' >>$program
  ); then
    chmod 700 $program
    $program </dev/urandom && reseeded=yes
    rm -f $program
  else
    python3 -ISEc 'import fcntl; fcntl.ioctl(0, 0x5207)' </dev/urandom 2>/dev/null && reseeded=yes
  fi
  [ -n "$reseeded" ] || note 'could not reseed the kernel random number generator: for up to a minute it may generate the same numbers as other VMs with this memory'
}
