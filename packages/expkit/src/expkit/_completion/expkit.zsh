# The last argument is what the word stands for, such as runs; those before it are compadd's.
# zsh quotes the answer, which is never evaluated.
_expkit_names() {
  local -a names
  names=("${(@0)$(command expkit __complete zsh "$@[-1]" "${(@)words[1,CURRENT-1]}" 2>/dev/null)}")
  names=("${(@)names:#}")
  compadd "${@[1,-2]}" -a names
}
