# Reads the few keys of a NoCloud seed that this guest understands; anything else is skipped.
#
#   awk -v out=DIR -v keys='KEY ...' -f seed.awk FILE
#
# FILE is YAML as usual for cloud-init: top-level keys, and below them block lists or one block
# map of strings. A string is plain, in single or double (JSON) quotes, or a block scalar (| or >). KEYs that have a value:
#   DIR/KEY            a string, or each string of a list on its own line
#   DIR/runcmd.NNN     each command in a separate file, because it may have several lines
#   DIR/ed25519_private  from ssh_keys

BEGIN {
  split(keys, names, " ")
  for (i in names) wanted[names[i]] = 1
}

{ sub(/\r$/, ""); line[NR] = $0 }

END {
  at = 1
  while (at <= NR) {
    key = key_of(line[at])
    if (key == "" || indent_of(line[at]) > 0 || !(key in wanted)) { at++; continue }
    if (key == "ssh_keys") read_map()
    else if (value_of(line[at]) == "") read_list(key)
    else emit(key, read_string(value_of(line[at]), 0))
  }
}

function read_list(key,    dash, nth, text) {
  dash = -1
  for (at++; at <= NR;) {
    if (is_blank(line[at])) { at++; continue }
    if (line[at] !~ /^ *-( |$)/) return
    if (dash < 0) dash = indent_of(line[at])
    if (indent_of(line[at]) != dash) return
    text = left(substr(line[at], dash + 2))
    nth++
    if (text ~ /^[[{&*!]/ || text ~ /^-( |$)/) {
      print "seed: " key ": item " nth " is not a string: ignored" > "/dev/stderr"
      read_string(text, dash)
      continue
    }
    text = read_string(text, dash)
    if (key == "runcmd") emit(sprintf("runcmd.%03d", nth), text)
    else emit(key, text)
  }
}

function read_map(    level, key, text) {
  level = -1
  for (at++; at <= NR;) {
    if (is_blank(line[at])) { at++; continue }
    if (indent_of(line[at]) == 0) return
    if (level < 0) level = indent_of(line[at])
    key = key_of(line[at])
    text = read_string(value_of(line[at]), level)
    if (key == "ed25519_private") emit(key, text)
  }
}

# The string that begins with `text` on the line `at`, in a node indented by `outer`. Leaves `at` on the line after it.
function read_string(text, outer) {
  at++
  if (text ~ /^[|>][-+0-9]*[ \t]*(#.*)?$/) return read_block(substr(text, 1, 1), outer)
  if (text ~ /^"/) return read_double(substr(text, 2))
  if (text ~ /^'/) return read_single(substr(text, 2))
  return read_plain(text, outer)
}

# A plain string ends at a comment, and continues in lines that are indented deeper.
function read_plain(text, outer,    next_line, gap) {
  while (!sub(/(^|[ \t]+)#.*$/, "", text)) {
    for (next_line = at; next_line <= NR && trim(line[next_line]) == "";) next_line++
    if (next_line > NR || is_blank(line[next_line]) || indent_of(line[next_line]) <= outer) break
    gap = fold()
    text = trim(text) gap trim(line[at++])
  }
  return trim(text)
}

# Literal (|): line breaks stay. Folded (>): one is a space, except next to a line that is indented further.
function read_block(style, outer,    inner, text, breaks, now, before) {
  inner = -1
  for (; at <= NR; at++) {
    if (trim(line[at]) == "") { breaks = breaks "\n"; continue }
    if (indent_of(line[at]) <= outer) break
    if (inner < 0) inner = indent_of(line[at])
    now = substr(line[at], inner + 1)
    if (before == "" || style == "|" || now ~ /^[ \t]/ || before ~ /^[ \t]/) text = text (before == "" ? "" : "\n") breaks now
    else text = text (breaks == "" ? " " : breaks) now
    before = now
    breaks = ""
  }
  return text
}

function read_double(rest,    text, c, joined) {
  text = ""
  while (1) {
    # Spaces at the end of a line are ignored, except after a backslash.
    if (match(rest, /[ \t]+$/)) rest = substr(rest, 1, RSTART - 1) (substr(rest, 1, RSTART - 1) ~ /(^|[^\\])(\\\\)*\\$/ ? " " : "")
    joined = 0
    while (rest != "") {
      # Take everything up to the next special character.
      if (!match(rest, /["\\]/)) { text = text rest; break }
      text = text substr(rest, 1, RSTART - 1)
      c = substr(rest, RSTART, 1)
      rest = substr(rest, RSTART + 1)
      if (c == "\"") return text
      if (rest == "") { joined = 1; break }
      c = substr(rest, 1, 1)
      rest = substr(rest, 2)
      if (c == "n") text = text "\n"
      else if (c == "t") text = text "\t"
      else if (c == "r") text = text "\r"
      else if (c == "u") { text = text ascii(substr(rest, 1, 4)); rest = substr(rest, 5) }
      else text = text c
    }
    # The closing quote is on a later line. A backslash at the end of a line joins it to the next.
    if (!joined) text = text fold()
    if (at > NR) return text
    rest = left(line[at++])
  }
}

function read_single(rest,    text) {
  text = ""
  while (1) {
    while (match(rest, /'/)) {
      text = text substr(rest, 1, RSTART - 1)
      rest = substr(rest, RSTART + 1)
      if (rest !~ /^'/) return text
      text = text "'"
      rest = substr(rest, 2)
    }
    text = text right(rest) fold()
    if (at > NR) return text
    rest = left(line[at++])
  }
}

# What a line break inside a string means: a space, or a line break for each empty line that follows.
function fold(    breaks) {
  for (; at <= NR && trim(line[at]) == ""; at++) breaks = breaks "\n"
  return breaks == "" ? " " : breaks
}

function emit(name, text) { if (text != "") print text > (out "/" name) }

function is_blank(text) { return text ~ /^[ \t]*(#.*)?$/ }

function indent_of(text) { match(text, /^ */); return RLENGTH }

function left(text) { sub(/^[ \t]+/, "", text); return text }

function right(text) { sub(/[ \t]+$/, "", text); return text }

function trim(text) { return left(right(text)) }

# The key of a line `key: value`, with or without quotes round the key; "" when it is not such a line.
function key_of(text) {
  if (!match(text, /^ *["']?[A-Za-z0-9_-]+["']?[ \t]*:([ \t]|$)/)) return ""
  text = substr(text, 1, RLENGTH)
  gsub(/["': \t]/, "", text)
  return text
}

function value_of(text) {
  match(text, /^[^:]*:[ \t]*/)
  text = left(substr(text, RLENGTH + 1))
  return text ~ /^#/ ? "" : text
}

# The character of four hexadecimal digits; non-ASCII characters become a question mark.
function ascii(digits,    i, code) {
  for (i = 1; i <= 4; i++) code = code * 16 + index("0123456789abcdef", tolower(substr(digits, i, 1))) - 1
  return code < 128 ? sprintf("%c", code) : "?"
}
