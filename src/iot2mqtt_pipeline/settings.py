"""Typed settings of the pipeline. The environment is read here and nowhere else.

Any variable NAME may be given as NAME_FILE instead: the path of a file that holds the value, as Docker secrets do. A
file that is named and cannot be read is an error, never a reason to go on without it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, model_validator

from iot2mqtt_sdk.errors import ConfigurationError

TLS_PORT = 8883
LARGEST_FILE = 64 * 1024
"""Bytes that a file named by a NAME_FILE may have."""

Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1)]
Days = Annotated[int, Field(ge=1, le=36_500)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Moment = Annotated[float, Field(gt=0, le=30, allow_inf_nan=False)]
"""What a stage may wait without being taken for stuck."""


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_TLS_FILES = {"ca_certs", "certfile", "keyfile"}


class Mqtt(_Part):
    """The broker that devices and connectors publish to; variables MQTT_*.

    Attributes:
        host: MQTT_HOST: a name or address.
        port: MQTT_PORT.
        username: MQTT_USERNAME.
        password: MQTT_PASSWORD.
        base_topic: MQTT_BASE_TOPIC: what the topics of IoT2MQTT connectors begin with.
        client_id: MQTT_CLIENT_ID: whose session the broker keeps for the bridge; two bridges need two.
        share: MQTT_SHARE: the name of the shared subscription with which several bridges divide the work.
        keepalive: MQTT_KEEPALIVE, in seconds.
        version: MQTT_VERSION: what the bridge tries first; where the broker knows no better, 3.1.1 it is.
        tls: MQTT_TLS; true by default on port 8883, and where a file for TLS is named.
        ca_certs: MQTT_CA_CERTS, a file; the system's by default.
        certfile: MQTT_CERTFILE, the client's certificate.
        keyfile: MQTT_KEYFILE, its key.
    """

    host: str = "localhost"
    port: Port = 1883
    username: str | None = None
    password: SecretStr | None = None
    base_topic: str = "IoT2mqtt"
    client_id: str = "iot2mqtt-bridge"
    share: str | None = None
    keepalive: Annotated[int, Field(ge=1, le=65535)] = 60
    version: Literal["5", "3.1.1"] = "5"
    tls: bool = False
    ca_certs: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _tls_where_it_is_meant(cls, values: Any) -> Any:
        if isinstance(values, dict) and (str(values.get("port")) == str(TLS_PORT) or _TLS_FILES & values.keys()):
            values.setdefault("tls", True)
        return values

    @model_validator(mode="after")
    def _no_files_without_tls(self) -> Self:
        if not self.tls and (named := sorted(_TLS_FILES & self.model_fields_set)):
            files = " and ".join(f"MQTT_{name.upper()}" for name in named)
            raise ValueError(f"{files} would be of no use with MQTT_TLS=false: unset either")
        if self.keyfile and not self.certfile:
            raise ValueError("MQTT_KEYFILE is the key of a certificate: set MQTT_CERTFILE as well")
        return self


class Kafka(_Part):
    """Kafka; variables KAFKA_*.

    Attributes:
        bootstrap_servers: KAFKA_BOOTSTRAP_SERVERS, host:port with commas between.
        raw_topic: KAFKA_RAW_TOPIC, from the bridge to the processor.
        decoded_topic: KAFKA_DECODED_TOPIC, from the processor to the sink.
        partitions: KAFKA_PARTITIONS: of a topic that does not exist yet; so many workers can share it.
        security_protocol: KAFKA_SECURITY_PROTOCOL: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.
        sasl_mechanism: KAFKA_SASL_MECHANISM: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
        username: KAFKA_USERNAME.
        password: KAFKA_PASSWORD.
        ca_certs: KAFKA_CA_CERTS, a file; the system's by default.
    """

    bootstrap_servers: str = "localhost:9092"
    raw_topic: str = "raw_iot_data"
    decoded_topic: str = "decoded_iot_data"
    partitions: Count = 4
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None
    ca_certs: Path | None = None

    @model_validator(mode="after")
    def _nothing_that_cannot_work(self) -> Self:
        protocol = f"KAFKA_SECURITY_PROTOCOL={self.security_protocol}"
        if not self.security_protocol.startswith("SASL") and (self.username or self.password):
            raise ValueError(
                f"KAFKA_USERNAME and KAFKA_PASSWORD are not sent with {protocol}: set it to SASL_SSL, or unset them"
            )
        if not self.security_protocol.endswith("SSL") and self.ca_certs:
            raise ValueError(f"KAFKA_CA_CERTS is not used with {protocol}: set it to SSL or SASL_SSL, or unset it")
        if self.raw_topic == self.decoded_topic:
            raise ValueError(f"KAFKA_RAW_TOPIC and KAFKA_DECODED_TOPIC are both {self.raw_topic}: set one to another")
        return self

    def client(self) -> dict[str, str]:
        """Return what every client of this Kafka is configured with, in librdkafka's names."""
        found = {"bootstrap.servers": self.bootstrap_servers, "security.protocol": self.security_protocol}
        if self.security_protocol.startswith("SASL"):
            password = self.password.get_secret_value() if self.password else ""
            found |= {"sasl.mechanism": self.sasl_mechanism, "sasl.username": self.username or ""}
            found |= {"sasl.password": password}
        if self.ca_certs is not None:
            found["ssl.ca.location"] = str(self.ca_certs)
        return found


class Database(_Part):
    """A PostgreSQL database; variables POSTGRES_* for device parameters, TIMESCALE_* for measurements.

    Attributes:
        host: …_HOST: a name or address, or the folder of a Unix socket.
        port: …_PORT.
        db: …_DB.
        user: …_USER.
        password: …_PASSWORD.
        sslmode: …_SSLMODE, as libpq names them.
    """

    host: str = "localhost"
    port: Port = 5432
    db: str = "iot2mqtt"
    user: str = "iot2mqtt"
    password: SecretStr | None = None
    sslmode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = "prefer"

    def connection(self) -> dict[str, str | int]:
        """Return the parameters with which libpq connects."""
        found: dict[str, str | int] = {"host": self.host, "port": self.port, "dbname": self.db, "user": self.user}
        found["sslmode"] = self.sslmode
        if self.password is not None:
            found["password"] = self.password.get_secret_value()
        return found


class Settings(_Part):
    """Everything that a stage may be told.

    Attributes:
        mqtt: The broker.
        kafka: Kafka.
        postgres: Where device parameters are.
        timescale: Where measurements go; what is not set is as in postgres.
        batch_size: BATCH_SIZE: the most records of one transaction.
        batch_timeout: BATCH_TIMEOUT: seconds after which a smaller batch is written; 30 at the most.
        unknown: UNKNOWN_COMPONENTS: `pass` carries what has no parameters undecoded, `deadletter` sets it aside.
        retention_days: RETENTION_DAYS: days after which measurements are dropped; never where it is unset.
        publish_interval: PUBLISH_INTERVAL: seconds between two messages of a simulated device.
        log_level: LOG_LEVEL: DEBUG, INFO, WARNING, ERROR or CRITICAL.
        http_host: HTTP_HOST: where /metrics and /health are served.
        http_port: HTTP_PORT: theirs; they are not served where it is unset.
    """

    mqtt: Mqtt = Mqtt()
    kafka: Kafka = Kafka()
    postgres: Database = Database()
    timescale: Database = Database()
    batch_size: Annotated[int, Field(ge=1, le=100_000)] = 5000
    batch_timeout: Moment = 0.2
    unknown: Literal["pass", "deadletter"] = "pass"
    retention_days: Days | None = None
    publish_interval: Seconds = 5.0
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)] = "INFO"
    http_host: str = "127.0.0.1"
    http_port: Port | None = None

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None) -> Self:
        """Read the settings.

        Args:
            environment: The process environment by default.

        Raises:
            ConfigurationError: A variable has a value that it cannot have, or a NAME_FILE cannot be read; the message
                names all of them.
        """
        given = os.environ if environment is None else environment
        read = {variable: value for variable in variables() if (value := _value(variable, given)) is not None}
        try:
            return cls.model_validate(_nested(read))
        except ValidationError as error:
            faults = [_fault(found["loc"], found["msg"], read) for found in error.errors()]
            raise ConfigurationError("; ".join(dict.fromkeys(faults))) from None


_PARTS: dict[str, type[_Part]] = {"mqtt": Mqtt, "kafka": Kafka, "postgres": Database, "timescale": Database}
_NAMES = {"unknown": "UNKNOWN_COMPONENTS"}
"""Variables that are not called as their attribute is."""


def variables() -> dict[str, tuple[str, ...]]:
    """Return every variable with the place of its value in Settings."""
    found: dict[str, tuple[str, ...]] = {}
    for name in Settings.model_fields:
        if name in _PARTS:
            found |= {f"{name}_{inner}".upper(): (name, inner) for inner in _PARTS[name].model_fields}
        else:
            found[_NAMES.get(name, name.upper())] = (name,)
    return found


def _value(variable: str, environment: Mapping[str, str]) -> str | None:
    """Return the value of a variable, from its file where it has one; None where it is unset or empty."""
    named = environment.get(f"{variable}_FILE")
    if not named:
        return _text(variable, environment.get(variable) or None)
    if environment.get(variable):
        raise ConfigurationError(f"{variable} and {variable}_FILE are both set: keep one of them")
    try:
        with Path(named).open("rb") as file:
            raw = file.read(LARGEST_FILE + 1)
        text = raw.decode("utf-8-sig").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigurationError(f"{variable}_FILE={named} cannot be read: {reason}") from None
    if not text or len(raw) > LARGEST_FILE:
        raise ConfigurationError(f"{variable}_FILE={named} is empty or larger than {LARGEST_FILE} bytes")
    return text


def _text(variable: str, value: str | None) -> str | None:
    """Return a value that is text; the environment may hold any bytes."""
    if value is not None and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ConfigurationError(f"{variable} must be UTF-8 text") from None
    return value


def _nested(read: Mapping[str, str]) -> dict[str, Any]:
    places = variables()
    found: dict[str, Any] = {name: {} for name in _PARTS}
    for variable, value in read.items():
        *part, name = places[variable]
        (found[part[0]] if part else found)[name] = value
    # Most run one server for both: what TIMESCALE_* does not say, POSTGRES_* does.
    found["timescale"] = {**found["postgres"], **found["timescale"]}
    return found


def _fault(place: tuple[int | str, ...], message: str, read: Mapping[str, str]) -> str:
    """Return one sentence on a value that cannot be; the value of a secret is never in it."""
    variable = next((name for name, known in variables().items() if known == place[: len(known)]), None)
    if variable is None:  # it is about several variables, and names them itself
        return message.removeprefix("Value error, ")
    if variable not in read:
        variable = variable.replace("TIMESCALE_", "POSTGRES_")
    shown = "" if variable.endswith("PASSWORD") else f"={read.get(variable)!r}"
    return f"{variable}{shown}: {message[:1].lower()}{message[1:]}"
