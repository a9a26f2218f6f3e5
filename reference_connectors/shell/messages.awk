# Turns what mosquitto_sub prints into events, one short line each, fields separated by TAB:
#   up | down                                     the subscriptions are acknowledged; a connection is being made
#   offline                                       somebody, a late last will, says that we are offline
#   kept <device>                                 the broker keeps a state of this device
#   get <device> <`*`, or names of properties>
#   meta <question>
#   cmd <devices or groups> <name> <id as JSON, or -> <error code, or -> <message> <name=value ..., or ->
#   log <level> <text>
# Payloads arrive in hexadecimal, so that no byte of them can be taken for anything else.

BEGIN {
    root = ENVIRON["root"] "/"
    debug = ENVIRON["muted"] !~ /DEBUG/
    for (i = 0; i < 256; i++) byte[sprintf("%02x", i)] = sprintf("%c", i ? i : 1)  # NUL is as forbidden in JSON as \001
}

/^[|]/ { message(substr($0, 2, 1) + 0, substr($0, 4)); next }
/^Subscribed [(]mid: [0-9]+[)]:.*128/ { emit("log\tERROR\tthe broker refuses a subscription: " $0); next }
/^Subscribed / { emit("up"); next }
/^Client .* sending CONNECT$/ { emit("down") }
/^Client / { if (debug) emit("log\tDEBUG\t" $0); next }
/./ { emit("log\tWARNING\t" $0) }

# Lines stay below the 4096 bytes that a pipe takes in one piece, since the ticker writes to the same pipe.
function emit(line) { print substr(line, 1, 4000); fflush() }

function message(kept, rest,    cut, hex, level, levels) {
    cut = index(rest, "|")
    hex = substr(rest, 1, cut - 1)
    rest = substr(rest, cut + 1)
    if (index(rest, root) != 1 || length(rest) > length(root) + 300) return
    levels = split(substr(rest, length(root) + 1), level, "/")
    if (levels == 1) {
        if (!kept && hex == "6f66666c696e65") emit("offline")
    } else if (level[2] == "" || level[3] == "" || levels != 3) {
        return
    } else if (kept) {
        if (level[3] == "state") emit("kept\t" level[2])
    } else if (level[3] == "cmd") {
        command(level[1], level[2], decoded(hex))
    } else if (level[3] == "get") {
        get(level[2], hex == "" ? "null" : decoded(hex))
    } else if (level[1] == "meta") {
        emit("meta\t" level[3])
    }
}

function get(device, text,    i, names, part) {
    if (!json(text) || token[""] !~ /^({|null)$/ || token["\tproperties"] !~ /^([[]|null)?$/) {
        emit("log\tINFO\tignored a get that is no object {properties: [...]}")
        return
    }
    if (token["\tproperties"] != "[") names = "*"
    for (i = 0; i < size["\tproperties"] && length(names) < 1000; i++) {
        part = token["\tproperties\t" i]
        if (part ~ /^"[a-z0-9_]+"$/ && length(part) < 40) names = names " " substr(part, 2, length(part) - 2)
    }
    emit("get\t" device "\t" (names == "" ? "-" : names))
}

function command(kind, name, text,    age, code, fault, i, id, key, now, stamp, values) {
    if (!json(text) || token[""] != "{" || length(token["\tid"]) > 2000) {
        emit("log\tINFO\tignored a command that is no JSON object, or whose id is longer than 2000 bytes")
        return
    }
    now = systime()
    id = token["\tid"] ~ /^"/ ? token["\tid"] : "-"
    if (id != "-" && repeated(kind "/" name "/" id, now)) {
        emit("log\tINFO\tignored a command whose id was seen before: " id)
        return
    }
    stamp = token["\ttimestamp"]
    age = stamp == "" || stamp == "null" ? 0 : now - moment(substr(stamp, 2, length(stamp) - 2))
    if (id == "-" && token["\tid"] !~ /^(null)?$/) fault = "id must be a string"
    else if (age > 1e11) fault = "timestamp must be an ISO 8601 date and time"
    else if (token["\ttimeout"] !~ /^(null|[1-9][0-9]*)?$/ || token["\ttimeout"] + 0 > 2147483647) fault = "timeout must be a whole number of milliseconds above 0"
    else if (token["\tvalues"] != "{") fault = "values must be an object"
    code = fault ? "invalid_command" : "-"
    if (!fault && age > 30) {
        code = "stale_command"
        fault = "the command is " age " s old, and 30 s are allowed"
    }
    for (i = 0; i < size["\tvalues"] && length(values) < 1000; i++) {
        key = entry["\tvalues", i]
        if (key ~ /^[a-z_]+$/ && length(key) < 40) values = values " " key "=" plain(token["\tvalues\t" key])
        else values = values " ?=?"
    }
    emit("cmd\t" kind "\t" name "\t" id "\t" code "\t" (fault ? fault : "-") "\t" (values == "" ? "-" : values))
}

# A value in its shortest form: 80.0 is 80; what is no number, true, false or null is of no use to a lamp.
function plain(value,    number) {
    number = value + 0
    if (value ~ /^-?[0-9]/ && number == int(number) && number < 1e9 && number > -1e9) return int(number)
    return value ~ /^[a-z0-9.eE+-]+$/ && length(value) < 40 ? value : "?"
}

function repeated(key, now,    old) {
    if (key in seen && now - seen[key] <= 300) return 1
    if (now - swept > 60) {
        for (old in seen) if (now - seen[old] > 300) delete seen[old]
        swept = now
    }
    seen[key] = now
    return 0
}

# Unix time of an ISO 8601 date and time, read as UTC where it has no offset; far in the past where it is none.
function moment(stamp,    day, days, month, offset, part, rest, sign, year) {
    if (substr(stamp, 1, 16) !~ /^[12][0-9][0-9][0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]$/) return -1e12
    rest = substr(stamp, 17)  # seconds and offset
    if (rest !~ /^(:[0-5][0-9]([.][0-9]+)?)?(Z|[+-][0-2][0-9](:?[0-5][0-9])?)?$/) return -1e12
    year = substr(stamp, 1, 4) + 0
    month = substr(stamp, 6, 2) + 0
    day = substr(stamp, 9, 2) + 0
    days = 31 - (month == 4 || month == 6 || month == 9 || month == 11)
    if (month == 2) days = 28 + (year % 4 == 0 && (year % 100 || year % 400 == 0))
    if (month < 1 || month > 12 || day < 1 || day > days || substr(stamp, 12, 2) + 0 > 23) return -1e12
    offset = 0
    if (match(rest, /[+-]/)) {
        sign = substr(rest, RSTART, 1) == "-" ? -1 : 1
        part = substr(rest, RSTART + 1)
        sub(":", "", part)
        if (substr(part, 1, 2) + 0 > 23) return -1e12
        offset = sign * (substr(part, 1, 2) * 3600 + substr(part, 3, 2) * 60)
    }
    if (month < 3) { month += 12; year-- }
    days = 365 * year + int(year / 4) - int(year / 100) + int(year / 400) + int((153 * month - 457) / 5) + day - 719469
    return days * 86400 + substr(stamp, 12, 2) * 3600 + substr(stamp, 15, 2) * 60 + substr(rest, 2, 2) * (rest ~ /^:/) - offset
}

# The bytes of a payload, or one that is never JSON where they are not UTF-8.
function decoded(hex,    at, from, high, low, more, one, part, text) {
    for (from = 1; from <= length(hex); from += 1024) {
        part = ""
        for (at = from; at < from + 1024 && at <= length(hex); at += 2) {
            one = substr(hex, at, 2)
            if (more) {
                if (one < low || one > high) return "\001"
                more--; low = "80"; high = "bf"
            } else if (one > "7f") {
                if (one < "c2" || one > "f4") return "\001"
                more = one < "e0" ? 1 : one < "f0" ? 2 : 3
                low = one == "e0" ? "a0" : one == "f0" ? "90" : "80"
                high = one == "ed" ? "9f" : one == "f4" ? "8f" : "bf"
            }
            part = part byte[one]
        }
        text = text part
    }
    return more ? "\001" : text
}
