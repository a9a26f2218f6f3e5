"""Records in words: one line each, short enough for a terminal, the same in failures and in pages."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from iot2mqtt_conformance.transcript import Record, Transcript

INSTANCE = "{I}"
"""How the instance's topic is written, as in the contract."""
PAYLOAD = 110
"""Characters of a payload in a line."""
WHOLE = 900
"""Characters of the payload of a decisive record: what is wrong must not be what is left out."""
FACTS = 170
"""Characters of what else is known, in a line."""
NOISE = frozenset({"PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "PINGREQ", "PINGRESP"})
"""Packets that are left out unless they decide."""


class Actor(Enum):
    """Who did it, with the sign that stands for it in a line."""

    CONNECTOR = "→"
    BROKER = "←"
    SUITE = "·"
    PROCESS = "*"


@dataclass(frozen=True, slots=True)
class Told:
    """A record in words.

    Attributes:
        actor: Who did it.
        what: The kind, such as `PUBLISH` or `waited in vain`.
        subject: The topic, or what it is about.
        payload: The content of a message.
        facts: Whatever else is known.
    """

    actor: Actor
    what: str
    subject: str = ""
    payload: str = ""
    facts: str = ""

    def __str__(self) -> str:
        """Return all of it in one line."""
        return " ".join(part for part in (self.actor.value, self.what, self.subject, self.payload, self.facts) if part)


def printable(text: str) -> str:
    """Return a text in which nothing can act on a terminal or a page: control characters are written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def printable_lines(text: str) -> str:
    """Return the same of a text of several lines."""
    return "\n".join(printable(line) for line in text.split("\n"))


def shortened(text: str, most: int) -> str:
    """Return the beginning of a text, and how much is missing."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most} more)"


def root_of(transcript: Transcript, run: str) -> str:
    """Return the instance's topic in a launch; empty where the launch is not known."""
    return next((str(r.data["root"]) for r in transcript.of(run) if r.kind == "run"), "")


def is_noise(record: Record) -> bool:
    """Whether a record says little unless it decides: acknowledgements, and output, which is shown apart."""
    return record.kind == "out" or (record.kind == "packet" and record.data.get("type") in NOISE)


def tell(record: Record, root: str = "", *, decides: bool = False) -> Told:
    """Return a record in words.

    Args:
        record: What happened.
        root: The instance's topic, which is shortened to `{I}`.
        decides: Whether the record is decisive, and so shown at length.
    """
    known = _KINDS.get(record.kind)
    told = known(record.data) if known else Told(Actor.SUITE, record.kind, facts=_facts(record.data))
    return Told(
        told.actor,
        told.what,
        in_short(told.subject, root),
        shortened(in_short(told.payload, root), WHOLE if decides else PAYLOAD),
        shortened(in_short(told.facts, root), WHOLE if decides else FACTS),
    )


def in_short(text: str, root: str) -> str:
    """Return a text of one line, printable, with the instance's topic shortened to `{I}`."""
    return printable(text.replace(root, INSTANCE) if root else text)


def _facts(data: dict[str, Any], *without: str) -> str:
    left = ((key, value) for key, value in data.items() if key not in without and value not in (None, "", [], {}))
    return " ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in left)


def _packet(data: dict[str, Any]) -> Told:
    actor = Actor.CONNECTOR if data["dir"] == "c2b" else Actor.BROKER
    kind = data["type"]
    if kind == "PUBLISH":
        return Told(actor, kind, data["topic"], _content(data), _flags(data))
    if kind == "SUBSCRIBE":
        filters = ", ".join(f"{f['filter']} (QoS {f['qos']})" for f in data.get("filters", []))
        return Told(actor, kind, facts=filters)
    if kind == "CONNECT":
        return Told(actor, kind, facts=_connect(data))
    left = {key: value for key, value in data.items() if value is not False}
    return Told(actor, kind, facts=_facts(left, "dir", "type", "conn", "version"))


def _connect(data: dict[str, Any]) -> str:
    will = data.get("will")
    parts = [
        f"as {data.get('client_id')!r}",
        f"user {data['username']!r}" if data.get("username") is not None else "no user name",
        "a password" if data.get("password") is not None else "no password",
        f"will {will['topic']} '{will.get('payload')}' {_flags(will)}" if will else "no will",
        f"keep-alive {data.get('keepalive')} s",
        "clean" if data.get("clean") else "not clean",
    ]
    return ", ".join(parts)


def _content(data: dict[str, Any]) -> str:
    if "payload" in data:
        return f"'{data['payload']}'"
    if "payload_start" in data:
        return f"'{data['payload_start']}' ({data['payload_size']} bytes)"
    return f"base64 {data.get('payload_b64', '')}"


def _flags(data: dict[str, Any]) -> str:
    words = [f"QoS {data.get('qos', 0)}"]
    words += ["retained"] if data.get("retain") else []
    words += ["a repetition (DUP)"] if data.get("dup") else []
    return f"[{', '.join(words)}]"


def _step(data: dict[str, Any]) -> Told:
    name = data["name"]
    if name == "send":
        about = f"({data['probe']})" if data.get("probe") else ""
        return Told(Actor.SUITE, "suite sends", f"{INSTANCE}/{data['suffix']}", facts=about)
    if name == "timeout":
        return Told(Actor.SUITE, f"suite waited {data['seconds']:.1f} s in vain for", str(data["what"]))
    return Told(Actor.SUITE, f"suite: {name.replace('_', ' ')}", facts=_facts(data, "name"))


def _seen(data: dict[str, Any]) -> Told:
    flags = "[retained]" if data.get("retained") else ""
    return Told(Actor.SUITE, "suite receives", data["topic"], f"'{data['payload']}'", flags)


def _exit(data: dict[str, Any]) -> Told:
    code = data["code"]
    how = f"by signal {-code}" if isinstance(code, int) and code < 0 else f"with exit code {code}"
    return Told(Actor.PROCESS, f"process ended {how}")


def _closed(data: dict[str, Any]) -> Told:
    how = "" if data.get("clean") else ", without DISCONNECT"
    return Told(Actor.PROCESS, f"connection {data['conn']} closed by the {data['by']}{how}")


def _action(data: dict[str, Any]) -> Told:
    how = f"ended with exit code {data['code']}" if data["itself"] else "did not end"
    return Told(
        Actor.PROCESS,
        f"action {data['tool']} ({data['case']})",
        payload=f"'{data['stdout'].strip()}'",
        facts=f"{how} after {data['seconds']:.3f} s",
    )


_KINDS: dict[str, Callable[[dict[str, Any]], Told]] = {
    "packet": _packet,
    "step": _step,
    "seen": _seen,
    "run": lambda data: Told(
        Actor.SUITE, "launch", facts=_facts(data, "config", "environment_set", "root", "password")
    ),
    "out": lambda data: Told(Actor.PROCESS, data["stream"], payload=data["line"]),
    "proc.start": lambda _data: Told(Actor.PROCESS, "process started"),
    "proc.signal": lambda data: Told(Actor.SUITE, "suite sends the signal", data["signal"]),
    "proc.exit": _exit,
    "conn.open": lambda data: Told(Actor.PROCESS, f"connection {data['conn']} opened"),
    "conn.close": _closed,
    "action": _action,
    "file": lambda data: Told(Actor.SUITE, "suite reads", data["name"], facts=data["fault"]),
    "upstream.unreachable": lambda data: Told(Actor.PROCESS, f"connection {data['conn']} found no broker"),
}
