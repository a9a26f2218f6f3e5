from collections.abc import Mapping

import pytest

from iot2mqtt_sdk.contract.clauses import Clause, load_clauses, parse_clauses

GOOD = {"id": "I2M-STATUS-01", "level": "MUST", "text": "text", "check": "check"}


def toml(*entries: Mapping[str, object]) -> str:
    tables = ["\n".join(f"{key} = {value!r}" for key, value in entry.items()) for entry in entries]
    return "\n".join("[[clause]]\n" + table for table in tables)


def test_the_contract_loads_in_its_order_with_both_levels() -> None:
    clauses = load_clauses()
    assert clauses[0].id == "I2M-ENV-01"
    assert clauses[-1].id == "I2M-PIPE-02"
    assert {clause.level for clause in clauses} == {"MUST", "SHOULD"}


def test_every_field_of_a_clause_is_kept() -> None:
    entry = {**GOOD, "needs": "stimulus:device_fails", "seen": "seen"}
    assert parse_clauses(toml(entry)) == (
        Clause(
            id="I2M-STATUS-01", level="MUST", text="text", check="check", needs="stimulus:device_fails", seen="seen"
        ),
    )
    assert parse_clauses(toml(GOOD))[0].needs is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "must hold .* entries and nothing else"),
        ("clause = 1", "must hold .* entries"),
        ("clause = []", "must hold .* entries"),
        ("clause = [1]", "clause number 1 in clauses.toml must be a table"),
        ("version = 1\n" + toml(GOOD), "nothing else"),
        (toml(GOOD, GOOD), "I2M-STATUS-01 appears twice"),
        (toml({**GOOD, "id": "I2M-STATUS-1"}), "I2M-STATUS-1 in clauses.toml: the id must look like"),
        (toml({**GOOD, "id": 5}), "clause number 1 in clauses.toml: `id` must be a text"),
        (toml({**GOOD, "level": "MAY"}), "`level` must be MUST or SHOULD"),
        (toml({**GOOD, "text": " "}), "`text` must be a text that is not empty"),
        (toml({**GOOD, "need": "groups"}), "unknown key `need`"),
        (toml({**GOOD, "needs": "the groups"}), "`needs` must be a feature"),
        (
            toml({key: value for key, value in GOOD.items() if key != "check"}),
            "I2M-STATUS-01 in clauses.toml has no `check`",
        ),
        ("[[clause", "Expected"),
    ],
)
def test_a_faulty_file_is_refused_with_the_place_and_the_fault(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        parse_clauses(text)
