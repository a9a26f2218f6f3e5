# Reads one JSON text (RFC 8259), however deep, without recursion.
#
# After json(text) has returned 1, for every value down to the fourth level:
#   token[path]     its source text if it is a scalar, `{` or `[` otherwise
#   size[path]      how many entries it has
#   entry[path, i]  the key (or index) of entry i, counted from 0
# A path is "" for the whole and grows by a TAB and the key: "\tvalues\tpower".

function json(text,    at, char, depth, here, key, last, need, open, part) {
    split("", token); split("", size); split("", entry)
    source = text; place = 1; need = "value"
    for (;;) {
        while ((char = substr(source, place, 1)) ~ /^[ \t\r\n]/) place++
        if (need == "end") return char == ""
        if (need == "colon") {
            if (char != ":") return 0
            place++; need = "value"; continue
        }
        if (need == "next" && char == ",") { place++; need = "entry"; continue }
        if ((need == "next" || need == "first") && char == (open[depth] == "{" ? "}" : "]")) {
            place++; need = --depth ? "next" : "end"; continue
        }
        if (need == "next" || char == "") return 0
        if (need != "value" && open[depth] == "{") {
            if (!(part = json_string())) return 0
            key = substr(part, 2, length(part) - 2); need = "colon"; continue
        }
        if (depth && open[depth] == "[") key = last[depth]
        here = depth && depth < 5 ? at[depth] "\t" key : ""
        if (depth && depth < 5) entry[at[depth], size[at[depth]]++] = key
        if (depth) last[depth]++
        if (char == "{" || char == "[") {
            if (depth < 5) { token[here] = char; size[here] = 0 }
            open[++depth] = char; at[depth] = here; last[depth] = 0
            place++; need = "first"; continue
        }
        if (!(part = char == "\"" ? json_string() : json_word())) return 0
        if (depth < 5) token[here] = part
        need = depth ? "next" : "end"
    }
}

# The string that begins here, quotes and escapes included; "" where there is none.
function json_string(    begin, char) {
    begin = place
    if (substr(source, place, 1) != "\"") return ""
    for (place++; ; place += RLENGTH) {
        if (match(substr(source, place, 200), /^[^"\\\001-\037]+/)) continue
        if ((char = substr(source, place, 1)) == "\"") return substr(source, begin, ++place - begin)
        if (!match(substr(source, place, 6), /^\\(["\\\/bfnrt]|u[0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f][0-9A-Fa-f])/)) return ""
    }
}

# The number, true, false or null that begins here; "" where there is none.
function json_word(    begin) {
    begin = place
    if (!match(substr(source, place, 400), /^(true|false|null|-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]+)?)/)) return ""
    place += RLENGTH
    return substr(source, begin, RLENGTH)
}
