"""Templates: one set of parameters for many devices of a model."""

from collections.abc import Iterable, Mapping

from psycopg.types.json import Jsonb

from iot2mqtt_pipeline.adapters.postgres import connect, translated
from iot2mqtt_pipeline.parameters import ParameterRow

_PUT = (
    "INSERT INTO parameter_templates AS known (template, connector_mode, component_type, component_id, encoding_type,"
    " units, scaling_factor, decode) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
    " ON CONFLICT (template, connector_mode, component_type, component_id) DO UPDATE"
    " SET encoding_type = EXCLUDED.encoding_type, units = EXCLUDED.units,"
    " scaling_factor = EXCLUDED.scaling_factor, decode = EXCLUDED.decode"
    " WHERE (known.encoding_type, known.units, known.scaling_factor, known.decode) IS DISTINCT FROM"
    " (EXCLUDED.encoding_type, EXCLUDED.units, EXCLUDED.scaling_factor, EXCLUDED.decode)"
)
_ASSIGN = (
    "INSERT INTO device_templates AS known (device_id, template) SELECT one, %s FROM unnest(%s::text[]) AS one"
    " ON CONFLICT (device_id) DO UPDATE SET template = EXCLUDED.template WHERE known.template <> EXCLUDED.template"
)


def put_template(
    parameters: Mapping[str, str | int], template: str, rows: Iterable[ParameterRow], devices: Iterable[str]
) -> None:
    """Add or replace the rows of a template, and have devices follow it, all or nothing.

    Args:
        parameters: How libpq connects.
        template: Its name.
        rows: Its rows, each with the template's name as device_id.
        devices: Those that follow it from now on.

    Raises:
        TransientError: The database is away.
        ConfigurationError: The tables are missing, or not ours to write.
    """
    values = [(*row[:7], None if row.decode is None else Jsonb(row.decode)) for row in rows]
    with connect(parameters, name="iot2mqtt params") as connection, translated(parameters), connection.transaction():
        connection.cursor().executemany(_PUT, values)
        connection.execute(_ASSIGN, [template, list(devices)])
