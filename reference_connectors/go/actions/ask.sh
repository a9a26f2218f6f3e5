# Lets the program answer as the tool $1: it knows how to ask a gateway. Called by the scripts beside this one.
program=${0%/*}/../bin/meters
[ -x "$program" ] && exec "$program" "$1"
echo '{"ok": false, "error": {"code": "not_built", "retriable": false, "message":' \
    '"bin/meters is not there: build it with `go build -o bin/ ./cmd/...` in the folder of the connector"}}'
