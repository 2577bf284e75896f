/** Completion scripts. Each calls `cowherd __complete`, which prints one candidate per line, with a description after a tab. */

const bash = `# cowherd completion for bash: source <(cowherd completion bash)
_cowherd() {
  local line="\${COMP_LINE:0:COMP_POINT}" cur="\${COMP_WORDS[COMP_CWORD]}" candidate token
  local -a words
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  token="\${words[\${#words[@]}-1]}"
  # Bash splits words at = and :, and replaces only the part after the last one.
  [[ $cur == [=:] ]] && cur=""
  COMPREPLY=()
  while IFS= read -r candidate; do
    candidate="\${candidate%%$'\\t'*}"
    COMPREPLY+=("\${candidate#"\${token%"$cur"}"}")
  done < <("$1" __complete -- "\${words[@]:1}" 2>/dev/null)
  [[ \${#COMPREPLY[@]} -eq 1 && \${COMPREPLY[0]} == *[=:] ]] && compopt -o nospace
}
complete -o bashdefault -o default -F _cowherd cowherd
`;

const zsh = `#compdef cowherd
# cowherd completion for zsh: source <(cowherd completion zsh)
_cowherd() {
  local line
  local -a candidates described
  for line in \${(f)"$(\${words[1]} __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)"}; do
    candidates+=("\${line%%$'\\t'*}")
    if [[ $line == *$'\\t'* ]]; then
      described+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
    else
      described+=("\${line//:/\\\\:}")
    fi
  done
  if (( \${#candidates} == 0 )); then
    _files
  else
    _describe -t candidates 'cowherd' described candidates
  fi
}
compdef _cowherd cowherd
`;

const fish = `# cowherd completion for fish: cowherd completion fish | source
function __cowherd_complete
  set -l words (commandline -opc)
  set -l candidates ($words[1] __complete -- $words[2..-1] (commandline -ct) 2>/dev/null)
  if test (count $candidates) -eq 0
    __fish_complete_path (commandline -ct)
  else
    printf '%s\\n' $candidates
  end
end
complete -c cowherd -f -a '(__cowherd_complete)'
`;

export const completionScripts = { bash, zsh, fish } as const;
