"""Whatever bytes arrive, the connector goes on answering."""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from tempfile import TemporaryDirectory

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir, storage_directory

from iot2mqtt_conformance.rig import Rig, Stage
from iot2mqtt_conformance.scenarios.reconnect import ask

GENERATED = 60
LETTERS = 'aZ09 _-./+#"\\{}[]:,\x00\x1f\x7f\u00e9\u200b\ufffd\U0001f4a1'
"""What generated texts are made of: an alphabet of its own saves hypothesis the tables of all Unicode."""
BATCH = 12
NASTY: tuple[bytes, ...] = (
    b"\xff\xfe\xfd",
    b"",
    b'{"id": "cut off", "values": {',
    b"[]",
    b"null",
    b"true",
    b"42",
    b'"online"',
    b"[1, 2, {}]",
    b'{"values": null}',
    b'{"values": []}',
    b'{"values": "power"}',
    b'{"id": 7, "values": {"power": true}}',
    b'{"id": {"a": []}, "timestamp": [], "timeout": "soon", "values": {}}',
    b'{"properties": 5}',
    b'{"properties": [null, {}, 1]}',
    b'{"timestamp": 1e400, "values": {}}',
    b"NaN",
    b"[" * 5000 + b"]" * 5000,
    b'{"a":' * 3000 + b"1" + b"}" * 3000,
    b'{"values": {"' + b"x" * 1_000_000 + b'": 1}}',
    b"\x00" * 100,
)


def _text(longest: int) -> st.SearchStrategy[str]:
    return st.text(LETTERS, max_size=longest)


@contextmanager
def _nothing_kept() -> Iterator[None]:
    """Keep hypothesis's notes in a folder that goes away: even without a database it writes some where it runs."""
    usual = storage_directory(intent_to_write=False).home_directory
    with TemporaryDirectory(prefix="iot2mqtt-") as folder:
        set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            set_hypothesis_home_dir(usual)


def payloads(number: int) -> list[bytes]:
    """Return the payloads that a seed stands for."""
    found: list[bytes] = []
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | _text(20)
    values = st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text(8), inner, max_size=4)
    )
    envelope = st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("id", "timestamp", "values", "timeout", "properties"), values)
    )
    texts = (values | envelope).map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))

    @seed(number)
    @settings(
        max_examples=GENERATED,
        database=None,
        phases=[Phase.generate],
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(texts, st.binary(max_size=200)))
    def collect(payload: bytes) -> None:
        found.append(payload)

    with _nothing_kept():
        collect()
    return found


def _messages(rig: Rig) -> list[tuple[str, bytes]]:
    """Every nasty payload on a topic of each kind, and each generated one on the next topic in turn."""
    kinds = [f"devices/{rig.stage.declaration.enabled[0]}/cmd", f"devices/{rig.stage.declaration.enabled[0]}/get"]
    kinds += [f"groups/{(rig.stage.declaration.groups or ['nosuchgroup'])[0]}/cmd", "meta/request/nosuchthing"]
    others = [f"devices/{device}/{verb}" for device in rig.stage.declaration.enabled for verb in ("cmd", "get")]
    turns = cycle([*kinds, *others, "meta/request/devices_list"])
    messages = [(topic, payload) for topic in kinds for payload in NASTY]
    messages += [(next(turns), payload) for payload in rig.stage.payloads]
    random.Random(rig.stage.seed).shuffle(messages)
    return messages


async def play(stage: Stage) -> None:
    """Send nasty and generated payloads to every subscribed topic, with a question after every batch."""
    async with Rig(stage, "fuzz") as rig:
        if not await rig.online():
            return
        messages = _messages(rig)
        for start in range(0, len(messages), BATCH):
            for topic, payload in messages[start : start + BATCH]:
                await rig.send(topic, payload, probe="fuzz", shown=payload[:200].decode("latin-1"))
            if await rig.meta("info", probe="fuzz_batch") is None:
                return
        await ask(rig)
        rig.note("fuzz_end")
