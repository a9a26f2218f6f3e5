"""`iot2mqtt-pipeline dlq`: what could not be carried, and putting it back once it can."""

import json
from collections.abc import Callable
from typing import Any

import click

from iot2mqtt_pipeline import deadletter
from iot2mqtt_pipeline.adapters.kafka_letters import KafkaLetters
from iot2mqtt_pipeline.adapters.kafka_out import KafkaOutbox
from iot2mqtt_pipeline.cli._running import settings
from iot2mqtt_pipeline.deadletter import Found
from iot2mqtt_pipeline.errors import PermanentError
from iot2mqtt_pipeline.letters import SUFFIX
from iot2mqtt_pipeline.settings import Settings
from iot2mqtt_pipeline.topics import device_of

_SHOWN = 100
_of = click.option(
    "--of",
    "which",
    type=click.Choice(["raw", "decoded"]),
    default="raw",
    show_default=True,
    help="Whose dead letters: of the bridge and the processor, or of the sink.",
)
_reason = click.option("--reason", help="Only those of this reason.")
_device = click.option("--device", help="Only those of this device.")


@click.group()
def dlq() -> None:
    """List, show and replay dead letters."""


@dlq.command("list", epilog="Example: iot2mqtt-pipeline dlq list --reason bad_time")
@_of
@_reason
@_device
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(which: str, reason: str | None, device: str | None, as_json: bool) -> None:
    """Show each dead letter in a line: its place, stage, reason, device and error."""
    for found in deadletter.find(_letters(settings(), which), wanted=_wanted(reason, device)):
        facts = _facts(found)
        line = "{place}  {stage}  {reason}  {device}  {error}".format(**facts)
        click.echo(json.dumps(facts, ensure_ascii=False) if as_json else line)


@dlq.command(epilog="Example: iot2mqtt-pipeline dlq show 0/17")
@click.argument("place")
@_of
def show(place: str, which: str) -> None:
    """Show everything that is known of the dead letter at PLACE, which `dlq list` tells."""
    partition, offset = _place(place)
    found = deadletter.show(_letters(settings(), which), partition=partition, offset=offset)
    headers = {name: value.decode(errors="replace") for name, value in found.letter.headers}
    payload = found.letter.value.decode(errors="backslashreplace")
    known = {**_facts(found), "headers": headers, "replays": found.replays, "cut": found.cut, "payload": payload}
    click.echo(json.dumps(known, indent=2, ensure_ascii=False))


@dlq.command(epilog="Example: iot2mqtt-pipeline dlq replay --reason bad_parameters")
@click.argument("places", nargs=-1)
@_of
@_reason
@_device
@click.option("--all", "everything", is_flag=True, help="Replay all that match, without naming places.")
def replay(places: tuple[str, ...], which: str, reason: str | None, device: str | None, everything: bool) -> None:
    """Put dead letters back where they came from, to be carried anew: those at PLACES, or all that match."""
    if not (places or reason or device or everything):
        raise click.UsageError("say which: name places, --reason or --device, or give --all")
    found = settings()
    named = {_place(place) for place in places}
    matches = _wanted(reason, device)
    dead = _letters(found, which)
    # Of a record that has died again the last letter is enough; who names a place means that one.
    before = set() if named else deadletter.replayed(dead)

    def wanted(one: Found) -> bool:
        chosen = (one.partition, one.offset) in named if named else f"{one.partition}/{one.offset}" not in before
        return matches(one) and chosen

    outbox = KafkaOutbox(client=found.kafka.client())
    done = deadletter.replay(deadletter.find(dead, wanted=wanted), outbox, raw_topic=found.kafka.raw_topic)
    for one, why in done.failed:
        click.echo(f"{one.partition}/{one.offset} was not replayed: {why}", err=True)
    click.echo(f"replayed {done.sent}")
    if done.failed or len(named) > done.sent:
        raise click.exceptions.Exit(1)


def _letters(found: Settings, which: str) -> KafkaLetters:
    topic = found.kafka.raw_topic if which == "raw" else found.kafka.decoded_topic
    return KafkaLetters(client=found.kafka.client(), topic=topic + SUFFIX)


def _wanted(reason: str | None, device: str | None) -> Callable[[Found], bool]:
    return lambda one: reason in (None, one.letter.reason) and device in (None, _device_of(one))


def _device_of(found: Found) -> str:
    """Return the device, by its topic where the bridge has set its message aside; empty where nobody can tell."""
    letter = found.letter
    if letter.key is not None:
        return letter.key.decode(errors="replace")
    try:
        return device_of(letter.topic)
    except PermanentError:
        return ""


def _facts(found: Found) -> dict[str, Any]:
    letter = found.letter
    return {
        "place": f"{found.partition}/{found.offset}",
        "stage": letter.stage,
        "reason": letter.reason,
        "device": _device_of(found) or letter.topic,
        "origin": f"{letter.topic}/{letter.partition}/{letter.offset}",
        "error": letter.error[:_SHOWN],
    }


def _place(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition("/")
    if not (partition.isascii() and partition.isdigit() and offset.isascii() and offset.isdigit()):
        raise click.UsageError(f"{text!r} is no place of a dead letter: it is written as `dlq list` shows it, as 0/17")
    return int(partition), int(offset)
