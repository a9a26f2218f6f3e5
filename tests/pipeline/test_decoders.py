"""Every encoding against its vectors, and the table of encodings against the pages."""

import json
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iot2mqtt_pipeline.decoders import DECODERS, Encoding, add_decoders
from iot2mqtt_pipeline.decoders.boolean import Boolean
from iot2mqtt_pipeline.decoding import try_decode
from iot2mqtt_pipeline.errors import PermanentError
from iot2mqtt_pipeline.parameters import Parameters, parse
from iot2mqtt_pipeline.record import encode_raw, read_raw
from iot2mqtt_sdk.errors import ConfigurationError
from tests.docs.pages import DOCS, blocks, rows, section

VECTORS = Path(__file__).parent / "decoders"
PAGE = DOCS / "pipeline" / "decoders.md"

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
PAYLOADS = st.one_of(
    st.binary(),
    st.text().map(str.encode),
    JSON.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(["data", "value", "status", "state", "timestamp", "a"]), JSON).map(
        lambda value: json.dumps(value).encode()
    ),
    st.from_regex(r"(0x)?[0-9a-f ]{0,20}", fullmatch=True).map(str.encode),
    st.integers(1, 2000).map(lambda depth: b"[" * depth + b"]" * depth),
    st.integers(1, 1200).map(lambda depth: b'{"data":' * depth + b"1" + b"}" * depth),
)


def vectors() -> Iterator[Any]:
    for file in sorted(VECTORS.glob("*.toml")):
        for number, vector in enumerate(tomllib.loads(file.read_text(encoding="utf-8"))["vector"]):
            yield pytest.param(file.stem, vector, id=f"{file.stem}-{number}")


def parameters_of(encoding: str, vector: dict[str, Any]) -> Parameters:
    return parse(encoding, None, vector.get("scaling", "1"), vector.get("decode"), 1)


def decoded(parameters: Parameters, payload: bytes) -> Any:
    raw = read_raw(encode_raw(topic="t", device_id="d", payload=payload, arrived=0.0))
    found = parameters.decoder.decode(raw.payload, parameters.scaling)
    if not isinstance(found, list):
        return found
    return [{name: part for name, part in reading._asdict().items() if part is not None} for reading in found]


@pytest.mark.parametrize(("encoding", "vector"), list(vectors()))
def test_an_encoding_does_what_its_vectors_say(encoding: str, vector: dict[str, Any]) -> None:
    assert len(vector.keys() & {"value", "refused", "unusable"}) == 1
    payload = bytes.fromhex(vector["hex"]) if "hex" in vector else vector["payload"].encode()
    if "unusable" in vector:
        with pytest.raises(ValueError, match=re.escape(vector["unusable"])):
            parameters_of(encoding, vector)
        return
    parameters = parameters_of(encoding, vector)
    if "refused" in vector:
        with pytest.raises(PermanentError, match=re.escape(vector["refused"])) as caught:
            decoded(parameters, payload)
        assert caught.value.reason == "bad_value"
        return
    assert json.dumps(decoded(parameters, payload)) == json.dumps(vector["value"])


def test_every_encoding_has_vectors_and_every_file_an_encoding() -> None:
    assert {file.stem for file in VECTORS.glob("*.toml")} == DECODERS.keys()


def usable() -> list[tuple[str, Parameters]]:
    """Return every setup that stands in the vectors."""
    files = [(file.stem, tomllib.loads(file.read_text(encoding="utf-8"))["vector"]) for file in VECTORS.glob("*.toml")]
    return [
        (encoding, parameters_of(encoding, vector))
        for encoding, found in files
        for vector in found
        if "unusable" not in vector
    ]


@given(payload=PAYLOADS, chosen=st.sampled_from(usable()))
def test_no_payload_makes_an_encoding_fail_in_another_way_than_by_refusing_it(
    payload: bytes, chosen: tuple[str, Parameters]
) -> None:
    try:
        value = decoded(chosen[1], payload)
    except PermanentError as refused:
        assert len(str(refused)) < 1000  # noqa: PT017
    else:
        assert json.loads(json.dumps(value, allow_nan=False)) == value


def test_the_page_lists_every_encoding_and_no_other() -> None:
    assert rows(section(PAGE, "## The encodings")) == DECODERS.keys()


def test_the_page_names_the_members_of_decode_of_every_encoding() -> None:
    table = re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|$", section(PAGE, "## The encodings"), re.MULTILINE)
    said = {name: set(re.findall(r"`(\w+)`", cell)) for name, cell in table}
    registers = set(DECODERS["hex_registers"].model_fields)
    assert said.pop("base64") == {"hex_registers", "crc"}
    assert set(DECODERS["base64"].model_fields) == registers - {"crc"}
    assert said.pop("json_path") == {"path"}
    assert said == {name: set(DECODERS[name].model_fields) for name in said}


def test_the_page_explains_every_member_of_decode() -> None:
    cells = re.findall(r"^\| ([^|]*) \|", section(PAGE, "## Members of `decode`"), re.MULTILINE)
    explained = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert explained == {name for kind in DECODERS.values() for name in kind.model_fields}


@pytest.fixture
def _table_as_before() -> Iterator[None]:
    before = dict(DECODERS)
    yield
    DECODERS.clear()
    DECODERS.update(before)


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write the page's example as a module, and return its name."""
    [code] = [block.code for block in blocks("python", PAGE)]
    (tmp_path / "celsius_text_example.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return "celsius_text_example"


@pytest.mark.usefixtures("_table_as_before")
def test_another_package_adds_the_encoding_of_the_page(example: str) -> None:
    entry = EntryPoint("celsius_text", f"{example}:CelsiusText", "iot2mqtt_pipeline.decoders")
    add_decoders([entry])
    add_decoders([entry])
    assert try_decode("celsius_text", "21.5 C", "10", None) == [{"name": None, "value": 215.0, "unit": None}]
    with pytest.raises(PermanentError, match="is not a temperature"):
        try_decode("celsius_text", "warm C", "1", None)


@pytest.mark.usefixtures("_table_as_before")
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("boolean", "{example}:CelsiusText", "a name that is taken"),
        ("new", "{example}:Nothing", "cannot be loaded"),
        ("new", "no_such_module_anywhere:Thing", "cannot be loaded"),
        ("new", "{example}:wrong", "no subclass of Encoding"),
    ],
)
def test_a_package_with_a_wrong_encoding_is_named(example: str, name: str, value: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        add_decoders([EntryPoint(name, value.format(example=example), "iot2mqtt_pipeline.decoders")])
    assert name in str(caught.value)
    assert DECODERS["boolean"] is Boolean


def test_what_is_installed_here_can_be_added() -> None:
    add_decoders()
    assert all(issubclass(kind, Encoding) for kind in DECODERS.values())


@pytest.mark.parametrize(
    ("encoding", "scaling", "decode", "words"),
    [
        ("hex", "1", None, "encoding_type 'hex' is none of boolean"),
        ("float", "a lot", None, "cannot be used"),
        ("float", "1", "{", "cannot be used"),
        ("float", "1", "[]", "cannot be used"),
        ("bitmask", "1", "{}", "bits"),
    ],
)
def test_trying_out_wrong_parameters_says_what_is_wrong(
    encoding: str, scaling: str, decode: str | None, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        try_decode(encoding, "1", scaling, decode)


def test_trying_out_a_frame_shows_every_point_with_its_unit() -> None:
    decode = (
        '{"points": [{"name": "t", "type": "int16"}, {"name": "h", "offset": 2, "type": "uint8", "unit": "percent"}]}'
    )
    assert try_decode("hex_registers", "00 EA 32", "0.1", decode) == [
        {"name": "t", "value": 23.4, "unit": None},
        {"name": "h", "value": 5.0, "unit": "percent"},
    ]
