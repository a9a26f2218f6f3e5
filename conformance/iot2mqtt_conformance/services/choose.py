"""Which broker to use, and why, in a sentence; and what the pipeline runs on."""

from collections.abc import Callable

from iot2mqtt_conformance.services import docker, embedded, local
from iot2mqtt_conformance.services.base import Broker, ServiceError
from iot2mqtt_conformance.services.warehouse import Warehouse, lacking

MODES = ("auto", "local", "embedded", "docker")

Choice = tuple[Callable[[], Broker], str]


def choose(mode: str) -> Choice:
    """Return what makes brokers in a mode, and a sentence that says which and why.

    Args:
        mode: `local`, `embedded`, `docker`, or `auto` for the first of them that is to be had.

    Raises:
        ServiceError: There is no such mode, or it is not to be had on this machine.
    """
    if mode not in MODES:
        raise ServiceError(f"services `{mode}` are not known: choose one of {', '.join(MODES)}")
    if mode == "docker":
        return _docker()
    mosquitto = local.find() if mode != "embedded" else None
    if mosquitto is not None:
        path, version = mosquitto
        return lambda: local.mosquitto(path, version), f"broker: mosquitto {version} of this machine ({path})"
    if mode == "local":
        raise ServiceError(
            "services `local` need the program mosquitto: install it, or use --iot2mqtt-services=embedded"
        )
    amqtt = embedded.find()
    if amqtt is not None:
        why = ", because mosquitto is not installed" if mode == "auto" else ""
        return lambda: embedded.amqtt(amqtt), f"broker: amqtt {amqtt} from pip, MQTT 3.1.1 only{why}"
    if mode == "embedded":
        raise ServiceError("services `embedded` need amqtt: run pip install 'iot2mqtt-sdk[embedded]'")
    return _last_resort()


def _docker() -> Choice:
    engine = docker.find()
    return lambda: docker.mosquitto(engine), f"broker: {docker.image('mosquitto')} in Docker {engine}"


def _last_resort() -> Choice:
    try:
        make, said = _docker()
    except ServiceError:
        raise ServiceError(
            "no broker: install mosquitto, run pip install 'iot2mqtt-sdk[embedded]', or start Docker"
        ) from None
    return make, f"{said}, because neither mosquitto nor amqtt is installed"


def choose_warehouse(mode: str) -> Callable[[], Warehouse]:
    """Return what makes Kafka and PostgreSQL in a mode.

    Args:
        mode: As for the broker; which of them serves is known, and told, once they run.

    Raises:
        ServiceError: The pipeline is not installed, or Docker is asked for and is not there.
    """
    lack = lacking()
    if lack is not None:
        raise ServiceError(lack)
    if mode != "docker":
        return lambda: Warehouse(mode)
    docker.find()
    from iot2mqtt_conformance.services.docker_warehouse import ContainerWarehouse

    return ContainerWarehouse
