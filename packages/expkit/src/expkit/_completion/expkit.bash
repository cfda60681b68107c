
# Asks the command, whose answer is quoted and never evaluated. $1: what the word stands for.
_expkit_candidates() {
  command expkit __complete bash "$1" "$_expkit_kept" "${COMP_WORDS[@]:0:COMP_CWORD+1}" 2>/dev/null
}

# $1: what has been typed of a list; the rest: the values that an item may have.
_expkit_list() {
  local typed=$1 begun=""
  shift
  [[ $typed == *,* ]] && begun=${typed%,*},
  compgen -P "$begun" -W "$*" -- "${typed##*,}"
}

# Bash divides words at = and :, which names of runs may hold: puts them together again, and
# --option=value apart, then calls shtab's function.
_expkit() {
  local -a words=()
  local line=${COMP_LINE:0:COMP_POINT} rest word previous="" _expkit_kept
  local -i index last=-1
  for ((index = 0; index <= COMP_CWORD; index++)); do
    rest=${line#"${line%%[![:space:]]*}"}
    word=${COMP_WORDS[index]}
    ((index == COMP_CWORD)) && word=$rest
    if ((index)) && [[ $rest == "$line" && $previous$word == *[=:@]* &&
      ($previous =~ ^[=:@]+$ || $word =~ ^[=:@]+$ || -z $word) ]]; then
      words[last]+=$word
    else
      words[++last]=$word
    fi
    line=${rest#"$word"}
    previous=$word
  done
  if [[ ${words[last]} == --*=* ]]; then
    words[last + 1]=${words[last]#*=}
    words[last]=${words[last]%%=*}
    last+=1
  fi
  _expkit_kept=${words[last]%"$2"}
  COMP_WORDS=("${words[@]}")
  COMP_CWORD=$last
  _shtab_expkit
  if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == */ ]]; then
    compopt -o nospace 2>/dev/null # not before bash 4
  fi
}

complete -o bashdefault -F _expkit expkit
