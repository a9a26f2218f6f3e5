"""The contract as an AsyncAPI document: valid, complete, and of one meaning with the schemas and clauses."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from tests.sdk.cli.command import call

from iot2mqtt_sdk.contract.asyncapi import TOPICS, document
from iot2mqtt_sdk.contract.clauses import load_clauses
from iot2mqtt_sdk.contract.schemas import names, schema

PAYLOADS = [name for name in names() if schema(name)["description"].startswith("Payload of")]


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref":
                yield item
            else:
                yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_the_command_prints_the_document() -> None:
    assert json.loads(call("contract", "asyncapi").stdout) == document()


def test_every_reference_leads_somewhere() -> None:
    made = document()
    found = set(references(made))
    assert len(found) > len(TOPICS)
    for reference in found:
        place: Any = made
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_every_parameter_of_an_address_is_described() -> None:
    for channel in document()["channels"].values():
        assert set(re.findall(r"\{(\w+)\}", channel["address"])) == set(channel["parameters"])


def test_every_payload_of_the_contract_has_its_topic() -> None:
    assert {topic.payload for topic in TOPICS if topic.payload} == set(PAYLOADS)


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_schema_names_its_topic_as_the_document_does(name: str) -> None:
    told = schema(name)["description"].replace("{BASE}", "{base}")
    below_an_instance = [topic for topic in TOPICS if topic.payload == name and "{instance_id}" in topic.suffix]
    for channel in [topic.name for topic in below_an_instance]:
        assert document()["channels"][channel]["address"] in told


def test_the_topics_that_the_clauses_list_are_all_there() -> None:
    (grammar,) = [clause.text for clause in load_clauses() if clause.id == "I2M-PUB-05"]
    ours = " ".join(topic.suffix for topic in TOPICS)
    words = set(re.findall(r"[a-z_]+", grammar.partition(":")[2])) - {"d", "p", "g", "discovered"}
    assert [word for word in words if word not in ours] == []


@pytest.mark.parametrize("name", PAYLOADS)
def test_examples_and_strangers_are_judged_as_by_the_contracts_own_schema(name: str) -> None:
    made = document()
    ours = Draft7Validator({"$ref": f"#/components/schemas/{name}", "components": made["components"]})
    original = Draft202012Validator(schema(name))
    samples = [*schema(name)["examples"], None, 5, "online", [], {}, {"timestamp": "yesterday"}, [{}]]
    assert [ours.is_valid(sample) for sample in samples] == [original.is_valid(sample) for sample in samples]
