#!/bin/sh
# A connector in POSIX shell: the machine itself, and lamps whose state is a file.
#
# mosquitto_sub holds the connection; messages.awk turns what it prints into events; serve takes them one by one and
# publishes with mosquitto_pub, each time waiting for the acknowledgement. So everything happens in order.
set -uf
run=''
trap 'rm -rf ${run:+"$run"}; exit 0' TERM INT
LC_ALL=C
export LC_ALL
tab=$(printf '\t')
case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
read -r born _ </proc/uptime

# ---------------------------------------------------------------- environment
muted=''

log() { # level, text
    case " $muted " in *" $1 "*) ;; *) printf '%s %s\n' "$1" "$2" >&2 ;; esac
}

die() {
    log ERROR "$1"
    exit 1
}

# Sets the variable $2KEY for every KEY=VALUE line of the file $1, unless it is set already.
read_settings() {
    [ -r "$1" ] || return 0
    while IFS= read -r line || [ -n "$line" ]; do
        key=${line%%=*} value=${line#*=}
        case $key in "$line" | [0-9]* | *[!A-Za-z0-9_]*) continue ;; esac
        case $value in \"*\" | \'*\') value=${value#?} value=${value%?} ;; esac
        eval "[ -n \"\${$2$key+set}\" ] || { $2$key=\$value; export $2$key; }"
    done <"$1"
}

# Ends the script unless the setting $1 is a whole number from $3 to 65535.
need_number() {
    case $2 in '' | *[!0-9]* | ??????*) ;; *) [ "$2" -ge "$3" ] && [ "$2" -le 65535 ] && return ;; esac
    die "$1 is \`$2\`: it must be a whole number from $3 to 65535"
}

read_settings "${IOT2MQTT_PATH:-/app}/.env" ''
case $(printf %s "${LOG_LEVEL:-INFO}" | tr '[:lower:]' '[:upper:]') in
    DEBUG) ;;
    INFO) muted=DEBUG ;;
    WARN | WARNING) muted='DEBUG INFO' ;;
    ERROR | CRITICAL) muted='DEBUG INFO WARNING' ;;
    *) muted=DEBUG && log WARNING 'LOG_LEVEL is none of DEBUG, INFO, WARNING and ERROR: INFO is used' ;;
esac

[ -n "${INSTANCE_NAME:-}" ] || die 'INSTANCE_NAME is not set: it names the instance file and the topics'
instance=$INSTANCE_NAME type=${CONNECTOR_TYPE:-shell}
case $instance$type in
    *[/+#\"\\[:cntrl:]]*) die 'INSTANCE_NAME and CONNECTOR_TYPE must hold no /, +, #, ", \ or control character' ;;
esac
root=${MQTT_BASE_TOPIC:-IoT2mqtt}/v1/instances/$instance
client=${MQTT_CLIENT_PREFIX:-iot2mqtt}_$instance
qos=${MQTT_QOS:-1} keepalive=${MQTT_KEEPALIVE:-60} port=${MQTT_PORT:-1883} retain=-r
case $qos in [012]) ;; *) die "MQTT_QOS is \`$qos\`: it must be 0, 1 or 2" ;; esac
need_number MQTT_PORT "$port" 1
need_number MQTT_KEEPALIVE "$keepalive" 0
case ${MQTT_RETAIN:-true} in [Ff]alse | FALSE | 0 | no | off) retain='' ;; esac
if [ "$keepalive" -lt 5 ]; then
    log WARNING "MQTT_KEEPALIVE is $keepalive: 5 is used, since mosquitto_sub takes no less"
    keepalive=5
fi
unset mqtt_username mqtt_password
read_settings "${IOT2MQTT_SECRETS_DIR:-/run/secrets}/${instance}_mqtt" mqtt_
export root muted

# ---------------------------------------------------------------- the instance file
config=${IOT2MQTT_PATH:-/app}/instances/$instance.json
[ -r "$config" ] || die "$config cannot be read: write the instance configuration there"
found=$(awk -f "$here/json.awk" -f "$here/config.awk" <"$config") || die "$config is not usable: $found"
devices='' devices_count=0 groups='' groups_count=0 interval=-
while IFS=$tab read -r what rest; do
    case $what in
        interval) interval=$rest ;;
        device)
            devices_count=$((devices_count + 1)) devices="$devices$rest
"
            ;;
        group)
            groups_count=$((groups_count + 1)) groups="$groups$rest
"
            ;;
    esac
done <<EOF
$found
EOF

# Sets id, kind, enabled and model of the device $1; false where there is none.
find_device() {
    while IFS=$tab read -r id kind enabled model; do [ "$id" = "$1" ] && return; done <<EOF
$devices
EOF
    return 1
}

# Sets id, enabled and members of the group $1; false where there is none.
find_group() {
    while IFS=$tab read -r id enabled members; do [ "$id" = "$1" ] && return; done <<EOF
$groups
EOF
    return 1
}

# ---------------------------------------------------------------- publishing
# Both mosquitto programs read their options from files, so that no password stands in the list of processes.
write_options() {
    user=${mqtt_username:-${MQTT_USERNAME:-}} password=${mqtt_password:-${MQTT_PASSWORD:-}}
    printf '%s\n' "-h ${MQTT_HOST:-localhost}" "-p $port" "-k $keepalive" '-V mqttv311'
    if [ -n "$user" ]; then
        printf '%s\n' "-u $user" ${password:+"-P $password"}
    elif [ -n "$password" ]; then
        log WARNING 'MQTT_PASSWORD is not presented, since MQTT_USERNAME is empty'
    fi
    if [ "${MQTT_TLS:-false}" = true ] || [ "$port" = 8883 ]; then
        [ -n "${MQTT_CA_CERTS:-}" ] && echo "--cafile $MQTT_CA_CERTS" || echo --tls-use-os-certs
        printf '%s\n' ${MQTT_CERTFILE:+"--cert $MQTT_CERTFILE"} ${MQTT_KEYFILE:+"--key $MQTT_KEYFILE"}
    fi
}

# Publishes the payload $2 on {I}/$1 at QoS $3, with -r retained; false where it was not acknowledged in time.
publish() {
    log DEBUG "publishing on $1"
    { reason=$(timeout -s KILL 4 mosquitto_pub -i "$client/pub" -t "$root/$1" -m "$2" -q "$3" ${4:+"$4"} 2>&1) && return; } 2>/dev/null
    log WARNING "nothing published on $1: ${reason:-no acknowledgement within 4 s}"
    return 1
}

# Publishes an answer, or keeps it for the time when the broker is back.
deliver() {
    publish "$1" "$2" 1 || printf '%s\t%s\n' "$1" "$2" >>"$run/pending"
}

deliver_pending() {
    [ -s "$run/pending" ] || return 0
    mv "$run/pending" "$run/delivering"
    while IFS=$tab read -r topic payload; do deliver "$topic" "$payload"; done <"$run/delivering"
}

stamp() {
    now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
}

# ---------------------------------------------------------------- devices
# Sets properties, as name=value words, of the device that find_device found; false where it cannot be read.
read_device() {
    if [ "$kind" = lamp ]; then
        read -r properties <"$run/$id.lamp"
    else
        read -r up _ </proc/uptime && read -r load_1 load_5 load_15 _ </proc/loadavg || return
        while read -r name memory _; do [ "$name" = MemAvailable: ] && break; done </proc/meminfo
        properties="uptime=$up load_1=$load_1 load_5=$load_5 load_15=$load_15 free_memory_kb=$memory"
    fi 2>/dev/null
}

# Gives the name=value words $1 to the lamp that find_device found: all of them, or none.
set_lamp() {
    read_device || { refuse device_error 'the file of the lamp cannot be read' && return; }
    power=${properties%% *} brightness=${properties#* }
    for word in $1; do
        case $word in
            power=true | power=false) power=$word ;;
            brightness=[0-9] | brightness=[1-9][0-9] | brightness=100) brightness=$word ;;
            power=*) refuse invalid_value 'power must be true or false' && return ;;
            brightness=*) refuse invalid_value 'brightness must be a whole number from 0 to 100' && return ;;
            *) refuse unsupported_property 'a lamp has only power and brightness' && return ;;
        esac
    done
    echo "$power $brightness" >"$run/$id.lamp" || refuse device_error 'the file of the lamp cannot be written'
}

# Sets json to an object of those name=value words $1 that $2 names, of all where $2 is `*`.
to_json() {
    json=''
    for word in $1; do
        case " $2 " in ' * ' | *" ${word%%=*} "*) json="$json,\"${word%%=*}\":${word#*=}" ;; esac
    done
    json="{${json#,}}"
}

# Publishes the state of the device that find_device found: the properties that $1 names, or all where it is `*`.
report() {
    stamp
    if read_device; then
        [ ! -e "$run/$id.failures" ] || rm "$run/$id.failures"
        to_json "$properties online=true" "$1"
    else
        fail 'the device cannot be read'
        json='{"online":false}'
    fi
    # A partial answer is not retained, so that the retained state stays whole.
    keep=$retain
    [ "$1" = '*' ] || keep=''
    publish "devices/$id/state" "{\"timestamp\":\"$now\",\"device_id\":\"$id\",\"state\":$json}" "$qos" "$keep"
}

# Reports on the error topic what is wrong with the device that find_device found.
fail() {
    attempt=0
    [ -s "$run/$id.failures" ] && read -r attempt <"$run/$id.failures"
    attempt=$((attempt + 1))
    echo "$attempt" >"$run/$id.failures"
    log WARNING "device $id: $1 (attempt $attempt)"
    publish "devices/$id/error" "{\"timestamp\":\"$now\",\"error_code\":\"device_error\",\"message\":\"$1\",\
\"severity\":\"error\",\"retry_info\":{\"attempt\":$attempt}}" 1
}

poll() {
    while IFS=$tab read -r id kind enabled model; do
        if [ "$enabled" = true ]; then report '*' || return; fi
    done <<EOF
$devices
EOF
}

# A tick that had to wait for an interval or more is void: the next one is there already.
tick() {
    read -r up _ </proc/uptime
    if [ "$connected" ] && [ $((${up%.*} - $1)) -le "${interval%.*}" ]; then poll && deliver_pending; fi
}

# ---------------------------------------------------------------- commands and questions
refuse() { # code, message
    code=$1 message=$2
}

# Carries out the name=value words $2 on the device $1; sets code, `-` if all went well, and message.
execute() {
    code=- message=-
    if ! find_device "$1"; then
        refuse unknown_device 'no such device is configured'
    elif [ "$enabled" = false ]; then
        refuse device_disabled 'the device is disabled'
    elif [ "$kind" = host ]; then
        refuse unsupported_property 'the machine has no property that can be set'
    else
        set_lamp "$2"
        # What the lamp shows now, or that it cannot be read.
        case $code in - | device_error) report '*' ;; esac
    fi
}

# Sets json to the status and the reason of what execute or the message's own faults have come to.
to_outcome() {
    retriable=false
    case $code in
        -) json='"status":"success"' && return ;;
        stale_command | device_error) retriable=true ;;
    esac
    json="\"status\":\"error\",\"error\":{\"code\":\"$code\",\"message\":\"$message\",\"retriable\":$retriable}"
}

# Answers the command with the id $2 on {I}/$1/cmd/response, where it has one; $3 are the members that say what came of it.
answer() {
    log INFO "command for $1: $code"
    [ "$2" = - ] && return
    stamp
    deliver "$1/cmd/response" "{\"cmd_id\":$2,\"timestamp\":\"$now\",$3}"
}

command_device() { # device, id, values; code and message are those of the message
    [ "$code" = - ] && execute "$1" "$3"
    to_outcome
    outcome=$json
    if [ "$code" = - ]; then
        to_json "$3" '*'
        outcome="$outcome,\"result\":$json"
    fi
    answer "devices/$1" "$2" "$outcome"
}

command_group() { # group, id, values; code and message are those of the message
    results='' obeyed=0 refused=0
    if [ "$code" = - ] && ! find_group "$1"; then
        refuse unknown_group 'no such group is configured'
    elif [ "$code" = - ] && [ "$enabled" = false ]; then
        refuse group_disabled 'the group is disabled'
    elif [ "$code" = - ]; then
        for member in $members; do
            execute "$member" "$3"
            case $code in
                unknown_device | device_disabled) continue ;;
                -) obeyed=$((obeyed + 1)) ;;
                *) refused=$((refused + 1)) ;;
            esac
            to_outcome
            results="$results,\"$member\":{$json}"
        done
        code=-
    fi
    to_outcome
    case $obeyed,$refused in
        *,0) ;;
        0,*) json='"status":"error"' ;;
        *) json='"status":"partial"' ;;
    esac
    answer "groups/$1" "$2" "$json,\"results\":{${results#,}}"
}

tell_info() {
    read -r up _ </proc/uptime
    age=$(((${up%.*} - ${born%.*}) * 100 + 1${up#*.} - 1${born#*.})) cents=$((age % 100 + 100))
    publish meta/info "{\"instance_id\":\"$instance\",\"connector_type\":\"$type\",\"devices_count\":$devices_count,\
\"groups_count\":$groups_count,\"uptime\":$((age / 100)).${cents#1}}" 1
}

tell_devices() {
    list=''
    while IFS=$tab read -r id kind enabled model; do
        [ -n "$id" ] || continue
        online=false
        [ "$enabled" = true ] && read_device && online=true
        list="$list,{\"device_id\":\"$id\",\"global_id\":\"${instance}_$id\",\"model\":$model,\
\"enabled\":$enabled,\"online\":$online}"
    done <<EOF
$devices
EOF
    publish meta/devices_list "[${list#,}]" 1
}

# ---------------------------------------------------------------- the connection
# stdbuf, because mosquitto_sub would hold back its lines about the connection; without SIGPIPE it disconnects in good order
# when nobody reads its lines any more.
connect() {
    (
        trap '' PIPE
        exec stdbuf -oL mosquitto_sub -d -i "$client" -q 1 -F '|%r|%x|%t' -t "$root/devices/+/cmd" -t "$root/devices/+/get" \
            -t "$root/groups/+/cmd" -t "$root/meta/request/+" -t "$root/devices/+/state" -t "$root/status"
    ) >"$run/wire" 2>&1 &
    subscriber=$!
    echo "$subscriber" >"$run/subscriber"
    {
        $awk -f "$here/json.awk" -f "$here/messages.awk" <"$run/wire" &
        echo "$!" >"$run/reader"
        wait "$!" 2>/dev/null
        echo gone
    } >"$run/events" &
}

go_online() {
    if ! publish status online 1 -r; then
        log WARNING 'the broker takes no messages: connecting again'
        kill -9 "$subscriber"
        return
    fi
    connected=1
    echo online >"$run/status"
    log INFO "online: $root"
    poll
    deliver_pending
}

go_offline() {
    [ "$connected" ] && log WARNING 'the connection is lost'
    connected=''
    echo offline >"$run/status"
}

connect_again() {
    go_offline
    kill -9 "$subscriber" 2>/dev/null
    wait "$subscriber" 2>/dev/null
    sleep 1
    connect
}

# Says offline, and waits for mosquitto_sub. It is not killed at first: its signal handler can deadlock with a message that
# arrives. Instead, nobody reads what it prints, and our own `offline`, which it is subscribed to, makes it notice that.
leave() {
    log INFO 'stopping'
    if [ "$connected" ]; then
        read -r reader <"$run/reader" && kill -9 "$reader"
        publish status offline 1 -r
    else
        kill "$subscriber" 2>/dev/null
    fi
    waited=0
    while kill -0 "$subscriber" 2>/dev/null; do
        case $waited in 20) kill "$subscriber" ;; 40) kill -9 "$subscriber" ;; esac
        waited=$((waited + 1))
        sleep 0.05
    done
}

# Takes the events one by one. Signals are not for this process: the script turns them into the event `stop`.
serve() {
    trap '' TERM INT
    connected=''
    connect
    while IFS=$tab read -r event a b c code message values; do
        [ "$values" = - ] && values=''
        case $event in
            up) go_online ;;
            down) go_offline ;;
            gone) connect_again ;;
            offline) [ "$connected" ] && publish status online 1 -r ;;
            tick) tick "$a" ;;
            kept) find_device "$a" || publish "devices/$a/state" '' 1 -r ;;
            get) find_device "$a" && [ "$enabled" = true ] && report "$b" ;;
            cmd)
                case $a in
                    devices) command_device "$b" "$c" "$values" ;;
                    groups) command_group "$b" "$c" "$values" ;;
                esac
                ;;
            meta)
                case $a in
                    info) tell_info ;;
                    devices_list) tell_devices ;;
                    *) log INFO 'ignored an unknown question' ;;
                esac
                ;;
            log) log "$a" "$b" ;;
            stop) leave && return ;;
        esac
    done
}

# ---------------------------------------------------------------- life
for program in mosquitto_sub mosquitto_pub stdbuf timeout; do
    command -v $program >/dev/null || die "$program is not installed: see README.md"
done
awk='awk'
case $(awk -W version 2>&1 </dev/null) in mawk*) awk='awk -W interactive' ;; esac

umask 077
run=$(mktemp -d "${TMPDIR:-/tmp}/iot2mqtt.XXXXXX") || die 'no folder can be made for the lamps: set TMPDIR'
mkfifo "$run/wire" "$run/events" "$run/alive"
write_options >"$run/mosquitto_pub"
# Only the connection that commands arrive on stands for us: a message that is cut off must not say that we are offline.
{
    cat "$run/mosquitto_pub"
    printf '%s\n' "--will-topic $root/status" '--will-payload offline' '--will-qos 1' --will-retain
} >"$run/mosquitto_sub"
export XDG_CONFIG_HOME="$run"
while IFS=$tab read -r id kind _; do
    if [ "$kind" = lamp ]; then echo 'power=false brightness=100' >"$run/$id.lamp"; fi
done <<EOF
$devices
EOF
log INFO "the lamps are in $run"

exec 3<>"$run/events"
trap 'echo stop >&3' TERM INT
serve <&3 3<&- &
server=$!
ticker=''
if [ "$interval" != - ]; then
    {
        trap 'kill "$!"; exit' TERM
        while sleep "$interval" & wait "$!"; do
            read -r up _ </proc/uptime
            echo "tick$tab${up%.*}"
        done
    } >"$run/events" 2>/dev/null 3<&- &
    ticker=$!
fi
# When this process is killed, nobody holds the pipe any more: the others are ended, and the broker publishes the last will.
{
    read -r _ <"$run/alive"
    read -r subscriber <"$run/subscriber"
    kill -9 "$server" "$subscriber"
    kill ${ticker:+"$ticker"}
    rm -rf "$run"
} 2>/dev/null 3<&- &
guard=$!
exec 4>"$run/alive"

while
    wait "$server"
    code=$?
    kill -0 "$server" 2>/dev/null # the wait was ended by a signal
do :; done
# Where serve has not ended by itself, the guard stays to end what it left behind.
if [ "$code" = 0 ]; then
    kill "$guard" ${ticker:+"$ticker"}
    rm -rf "$run"
fi
exit "$code"
