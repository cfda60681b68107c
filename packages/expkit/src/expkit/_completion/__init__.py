"""What shells complete: the script that `expkit completion` prints, and the names it asks for.

`script` builds it from the verbs' parsers; the shells' own parts lie beside it. `candidates`
answers the script at each key press, so it imports little. Both stand on `shell_words`.
"""
