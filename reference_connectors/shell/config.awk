# Turns the instance file into lines for the shell, or says in one sentence what is wrong with it:
#   interval <seconds, or - for none>
#   device <id> <kind> <enabled> <model as JSON>
#   group <id> <enabled> <members, separated by blanks>

{ whole = whole $0 "\n" }

END {
    if (!json(whole)) fault("it is not valid JSON")
    if (token[""] != "{") fault("it must hold a JSON object")
    interval = value("\tupdate_interval", "10")
    if (interval != "null" && (interval !~ /^[0-9]/ || interval + 0 < 0.1 || interval + 0 > 31536000))
        fault("update_interval must be a number of seconds from 0.1 to 31536000, or null")
    lines = "interval\t" (interval == "null" ? "-" : sprintf("%.3f", interval))
    for (i = 0; i < list("\tdevices"); i++) {
        id = name("\tdevices\t" i, "device_id")
        kind = value("\tdevices\t" i "\ttype", "\"\"")
        if (kind != "\"host\"" && kind != "\"lamp\"") fault("devices." i ".type must be \"host\" or \"lamp\"")
        model = value("\tdevices\t" i "\tmodel", "null")
        if (model !~ /^("|null$)/) fault("devices." i ".model must be a string")
        lines = lines "\ndevice\t" id "\t" unquoted(kind) "\t" flag("\tdevices\t" i) "\t" model
    }
    for (i = 0; i < list("\tgroups"); i++) {
        id = name("\tgroups\t" i, "group_id")
        members = ""
        for (j = 0; j < list("\tgroups\t" i "\tdevices"); j++) members = members " " clean("\tgroups\t" i "\tdevices\t" j)
        lines = lines "\ngroup\t" id "\t" flag("\tgroups\t" i) "\t" (members ? substr(members, 2) : "-")
    }
    print lines
}

function value(path, otherwise) { return path in token ? token[path] : otherwise }
function unquoted(text) { return substr(text, 2, length(text) - 2) }
function shown(path) { gsub("\t", ".", path); return substr(path, 2) }

function list(path) {
    if (value(path, "[") != "[") fault(shown(path) " must be a list")
    return size[path] + 0
}

function clean(path) {
    if (value(path, "") !~ /^"[A-Za-z0-9_.-]+"$/) fault(shown(path) " must be a string of letters, digits, `_`, `.` and `-`")
    return unquoted(token[path])
}

function name(path, key,    id) {
    if (value(path, "") != "{") fault(shown(path) " must be an object")
    id = clean(path "\t" key)
    if ((key, id) in known) fault("the " key " `" id "` is used twice")
    known[key, id] = 1
    return id
}

function flag(path) {
    if (value(path "\tenabled", "true") !~ /^(true|false)$/) fault(shown(path) ".enabled must be true or false")
    return value(path "\tenabled", "true")
}

function fault(sentence) {
    print sentence
    exit 1
}
