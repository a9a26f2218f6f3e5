"""Images of Kafka and PostgreSQL made of what is installed here, with the variables of the official ones."""

from pathlib import Path

from iot2mqtt_pipeline.servers.kafka_jars import jars
from iot2mqtt_pipeline.servers.postgres import programs
from tests.conformance.base_images import USUAL_PATH, c_library, program, with_libraries
from tests.conformance.machine_image import Content, libraries, tree

KAFKA = """\
env | while IFS='=' read -r name value; do
  case $name in
    KAFKA_HEAP_OPTS) ;;
    KAFKA_*) echo "$(echo "${{name#KAFKA_}}" | tr A-Z_ a-z.)=$value" ;;
  esac
done >/tmp/server.properties
echo log.dirs=/tmp/data >>/tmp/server.properties
set -- {java} $KAFKA_HEAP_OPTS -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp '{jars}/*'
"$@" kafka.tools.StorageTool format -t Aiot2mqttAiot2mqttAAAA -c /tmp/server.properties || exit 1
exec "$@" kafka.Kafka /tmp/server.properties
"""
POSTGRES = """\
echo "$POSTGRES_PASSWORD" >/tmp/password
initdb --username="$POSTGRES_USER" --encoding=UTF8 --no-locale --auth=scram-sha-256 --no-sync --pwfile=/tmp/password \
  -D /tmp/data || exit 1
echo 'host all all all scram-sha-256' >>/tmp/data/pg_hba.conf
echo "create database $POSTGRES_DB" | postgres --single -D /tmp/data postgres || exit 1
exec postgres -D /tmp/data -c listen_addresses='*' -c unix_socket_directories= -c fsync=off
"""
SERVE = "/usr/local/bin/serve"
STARTED = f'CMD ["{SERVE}"]'


def kafka() -> Content:
    java = Path(program("java"))
    home = java.parents[1]
    runtime = {path for path in tree(home / "bin", home / "conf", home / "lib") if Path(path).exists()}
    compiled = {path for path in runtime if path.endswith(".so")}
    shell = with_libraries("/bin/sh", "/usr/bin/env", "/usr/bin/tr", str(java))
    return Content(
        files=frozenset({*runtime, *libraries(compiled), *shell, *c_library(), *tree(jars())}),
        scripts={SERVE: KAFKA.format(java=java, jars=jars())},
        variables={"PATH": USUAL_PATH},
        instructions=(STARTED,),
    )


def postgres() -> Content:
    folder = programs()
    home = folder.parent
    shared = Path("/usr/share/postgresql") / home.name
    files = {path for path in tree(home, shared, Path("/usr/share/zoneinfo")) if Path(path).exists()}
    compiled = {path for path in files if path.endswith(".so") or Path(path).parent == folder}
    return Content(
        files=frozenset({*files, *libraries(compiled), *with_libraries("/bin/sh"), *c_library()}),
        scripts={SERVE: POSTGRES},
        variables={"PATH": f"{folder}:{USUAL_PATH}"},
        # It refuses to serve as root.
        instructions=(STARTED, "USER nobody"),
    )
