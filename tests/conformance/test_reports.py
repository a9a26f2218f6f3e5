"""Reports of a connector that sends whatever it likes: whole, valid, harmless, without secrets, and the same again."""

import json
import re
import subprocess
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from iot2mqtt_conformance.clauses import JUDGES
from iot2mqtt_conformance.declaration import Declaration, load
from iot2mqtt_conformance.judging import Played
from iot2mqtt_conformance.report import files as report_files
from iot2mqtt_conformance.report.data import Judged, as_data
from iot2mqtt_conformance.report.page import PICTURES, page
from iot2mqtt_conformance.report.redact import masked
from iot2mqtt_conformance.report.terminal import summary
from iot2mqtt_conformance.transcript import Origin, Record, Transcript, TranscriptError
from iot2mqtt_conformance.transcript import load as load_transcript
from iot2mqtt_conformance.verdict import Outcome, Ruling, Standing, Verdict, rule
from tests.conformance.browsing import browse
from tests.conformance.suite_runs import REFERENCES, connector, run_suite

NAME = "evil/<img src=x onerror=document.title='owned'>"
STEM = "evil_img_src_x_onerror_document.title_owned_"
BAIT = (
    "</script><script>document.title='owned'</script><img src=http://bait.example/x onerror=\"document.title='owned'\">"
)
SECRETS = {"password": "correct-horse", "api_key": 'quo"ted-battery', "stream": "rtsp://lamp:staple-42@127.0.0.1/1"}
HIDDEN = ("correct-horse", 'quo"ted-battery', r"quo\"ted-battery", "staple-42", "pa55-word")
EVIL = f"""
import json, os, signal, sys, threading, time
import paho.mqtt.client as mqtt

BAIT = {BAIT!r}
root = f"{{os.environ['MQTT_BASE_TOPIC']}}/v1/instances/{{os.environ['INSTANCE_NAME']}}"
file = f"{{os.environ['IOT2MQTT_PATH']}}/instances/{{os.environ['INSTANCE_NAME']}}.json"
secrets = json.load(open(file))["connection"]
began = time.monotonic()

def tell(topic, payload, **options):
    client.publish(topic, payload if isinstance(payload, (str, bytes)) else json.dumps(payload), 1, **options)

def connected(client, *_):
    client.subscribe([(f"{{root}}/meta/request/+", 1), (f"{{root}}/devices/+/get", 1)])
    tell(f"{{root}}/status", "online", retain=True)
    tell(f"outside/<b onclick=alert(1)>", BAIT)
    tell(f"outside/secrets", {{"spoken": list(secrets.values()), "broker": os.environ["MQTT_PASSWORD"]}})
    tell(f"outside/bytes", secrets["password"].encode() + bytes([255, 0]))
    tell(f"outside/controls", "\\x1b[31mred\\u202e" + BAIT + '"\\\\ud800"')
    print(BAIT, secrets, os.environ["MQTT_PASSWORD"], "\\x1b]0;owned\\x07", file=sys.stderr, flush=True)

def asked(client, _, message):
    if "/meta/" in message.topic:
        info = {{"instance_id": BAIT, "connector_type": "x", "devices_count": 1, "groups_count": 0}}
        tell(f"{{root}}/meta/info", {{**info, "uptime": time.monotonic() - began}})
    state()

def state():
    tell(f"{{root}}/devices/light1/state", {{"timestamp": BAIT, "device_id": "\\ud800", "state": {{"power": True}}}})

client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=os.environ["INSTANCE_NAME"])
client.on_connect, client.on_message = connected, asked
client.username_pw_set("conformance", os.environ["MQTT_PASSWORD"])
client.connect("127.0.0.1", int(os.environ["MQTT_PORT"]))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
client.loop_start()
while True:
    state()
    threading.Event().wait(0.2)
"""
CHOSEN = "--iot2mqtt-clauses=I2M-[PM][UE][BT]*-0[12]"
"""Two clauses of PUB and two of META, for which little has to be played."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run of the evil connector: its folder, its report, and what the terminal showed."""

    connector: Path
    report: Path
    text: str
    code: int

    def file(self, ending: str) -> Path:
        return self.report / f"{STEM}.{ending}"

    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file("report.json").read_text(encoding="utf-8"))
        return found


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = connector(tmp_path_factory.mktemp("evil"), EVIL, name=json.dumps(NAME), start_deadline="4")
    instance = {"devices": [{"device_id": "light1"}], "connection": SECRETS}
    (folder / "instance.json").write_text(json.dumps(instance), encoding="utf-8")
    report = folder / "deep" / "report"
    done = run_suite(CHOSEN, f"--iot2mqtt-report={report}", cwd=folder)
    return Run(folder, report, done.stdout + done.stderr, done.returncode)


def again(evil: Run, file: Path, *options: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return run_suite(CHOSEN, f"--iot2mqtt-transcript={file}", *options, cwd=folder or evil.connector)


# ---------------------------------------------------------------------- what is written
def test_a_run_writes_page_data_badge_and_transcript_and_names_them(evil: Run) -> None:
    assert evil.code == 1, evil.text
    names = {f"{STEM}.{ending}" for ending in ("report.html", "report.json", "badge.svg", "transcript.ndjson")}
    assert {file.name for file in evil.report.iterdir()} == names
    assert all(name in evil.text for name in names)


def schema() -> dict[str, Any]:
    text = files("iot2mqtt_conformance.report").joinpath("report.schema.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_data_fit_their_schema_and_the_counts_are_right(evil: Run) -> None:
    Draft202012Validator.check_schema(schema())
    data = evil.data()
    Draft202012Validator(schema()).validate(data)
    assert data["counts"] == dict(Counter(clause["outcome"] for clause in data["clauses"]))
    assert (data["connector"], data["result"], data["complete"]) == (NAME, "fail", False)
    assert data["counts"]["fail"] >= 2
    assert data["counts"]["pass"] >= 1


def test_the_schema_refuses_what_no_report_holds(evil: Run) -> None:
    validator = Draft202012Validator(schema())
    assert not validator.is_valid({**evil.data(), "version": 2})
    assert not validator.is_valid({**evil.data(), "result": "fine"})
    assert not validator.is_valid({**evil.data(), "clauses": [{"id": "I2M-PUB-01"}]})


def test_no_secret_is_in_any_file_or_on_the_terminal(evil: Run) -> None:
    texts = {file.name: file.read_text(encoding="utf-8") for file in evil.report.iterdir()} | {"terminal": evil.text}
    found = [(name, secret) for name, text in texts.items() for secret in HIDDEN if secret in text]
    assert found == []
    assert "***secret" in texts[f"{STEM}.transcript.ndjson"]


def test_nothing_that_a_connector_sends_reaches_the_terminal_as_a_control(evil: Run) -> None:
    assert [c for c in evil.text if c in "\x1b\x07\u202e"] == []


def test_nothing_that_a_connector_prints_before_it_dies_reaches_the_terminal_as_a_control(tmp_path: Path) -> None:
    done = run_suite(cwd=connector(tmp_path, r"print('\x1b]0;owned\x07 \x1b[31mred'); raise SystemExit(3)"))
    assert done.returncode == 1
    assert r"\x1b]0;owned\x07 \x1b[31mred" in done.stdout
    assert "\x1b" not in done.stdout


def test_a_failure_shows_the_decisive_payload_at_length(evil: Run) -> None:
    line = next(line for line in evil.text.splitlines() if line.startswith(">") and "outside/<b onclick" in line)
    assert BAIT in line


# ---------------------------------------------------------------------- the page
class Elements(HTMLParser):
    """Counts the elements of a page, and collects the addresses and handlers in it."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs


def test_what_a_connector_sends_is_text_on_the_page_and_never_an_element(evil: Run) -> None:
    text = evil.file("report.html").read_text(encoding="utf-8")
    assert "bait.example" in text
    elements = Elements()
    elements.feed(text)
    assert elements.tags["script"] == elements.tags["style"] == 1
    assert not {"img", "iframe", "link", "object", "b onclick=alert(1)"} & set(elements.tags)
    assert [name for name, _ in elements.attributes if name.startswith("on") or name in ("src", "style")] == []
    assert {value for name, value in elements.attributes if name == "href" and not str(value).startswith("#")} == set()


def test_a_browser_opens_the_page_without_a_complaint_or_a_request(evil: Run, tmp_path: Path) -> None:
    seen = browse(evil.file("report.html"), tmp_path)
    assert (seen.complaints, seen.requests) == ([], [])
    assert re.search(r"<title>evil/.*: IoT2MQTT conformance</title>", seen.dom)
    number = len(evil.data()["clauses"])
    assert f">{number} of {number} clauses<" in seen.dom


def test_the_browser_would_have_noticed_errors_and_requests(tmp_path: Path) -> None:
    file = tmp_path / "bad.html"
    file.write_text(f"<title>fine</title><script>throw new Error('boom')</script>{BAIT}", encoding="utf-8")
    seen = browse(file, tmp_path)
    assert "boom" in "".join(seen.complaints)
    assert "http://bait.example/x" in seen.requests
    assert "<title>owned</title>" in seen.dom


@pytest.mark.parametrize(
    ("fragment", "keeps"),
    [
        ("#verdict=fail", lambda clause: clause["outcome"] == "fail"),
        ("#area=PUB", lambda clause: clause["area"] == "PUB"),
        ("#verdict=pass&area=META", lambda clause: clause["outcome"] == "pass" and clause["area"] == "META"),
        ("#text=pub-01", lambda clause: clause["id"] == "I2M-PUB-01"),
    ],
)
def test_filters_leave_the_rows_and_failures_that_fit(evil: Run, tmp_path: Path, fragment: str, keeps: Any) -> None:
    seen = browse(evil.file("report.html"), tmp_path, fragment)
    clauses = evil.data()["clauses"]
    kept = {clause["id"] for clause in clauses if keeps(clause)}
    rows = re.findall(
        r'<tr data-verdict="[^"]*" data-area="[A-Z]+"( hidden="")?><th scope="row">.*?(I2M-\w+-\d+)', seen.dom
    )
    assert {clause_id for hidden, clause_id in rows if not hidden} == kept
    assert len(rows) == len(clauses)
    cards = re.findall(r'<article class="card fail" id="(I2M-\w+-\d+)" [^>]*?( hidden="")?>', seen.dom)
    failed = {clause["id"] for clause in clauses if clause["outcome"] == "fail"}
    assert {clause_id for clause_id, hidden in cards if not hidden} == kept & failed
    assert f">{len(kept)} of {len(clauses)} clauses<" in seen.dom
    assert seen.complaints == []


def test_the_timeline_of_a_failure_marks_what_decided(evil: Run) -> None:
    text = evil.file("report.html").read_text(encoding="utf-8")
    card = text[text.index('id="I2M-PUB-01"') : text.index("</article>", text.index('id="I2M-PUB-01"'))]
    decided = (
        r'aria-label="decisive"(?:(?!listitem).)*"from connector to broker"(?:(?!listitem).)*PUBLISH</tspan> outside/'
    )
    assert re.search(decided, card)
    assert card.count('class="band"') >= 1
    assert all(f">{lane}</text>" in card for lane in ("connector", "broker", "suite"))


# ---------------------------------------------------------------------- judged again
def test_a_transcript_judged_again_gives_the_same_report_and_exit_code_without_running_anything(
    evil: Run, tmp_path: Path
) -> None:
    file = evil.file("transcript.ndjson")
    text = (evil.connector / "main.py").read_text(encoding="utf-8")
    (evil.connector / "main.py").write_text("raise SystemExit('started')", encoding="utf-8")
    try:
        done = again(evil, file, f"--iot2mqtt-report={tmp_path}")
    finally:
        (evil.connector / "main.py").write_text(text, encoding="utf-8")
    assert done.returncode == 1, done.stdout
    assert "nothing is started" in done.stdout
    for ending in ("report.json", "transcript.ndjson", "report.html", "badge.svg"):
        assert (tmp_path / f"{STEM}.{ending}").read_bytes() == evil.file(ending).read_bytes(), ending


def cut(text: str) -> str:
    return text[: len(text) // 2]


def without_a_line(text: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join([*lines[:9], *lines[10:]])


def changed(text: str) -> str:
    return text.replace("outside/secrets", "inside/secrets", 1)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (cut, "it is cut short"),
        (without_a_line, "it is cut short, or lines were added or taken away"),
        (changed, "it was changed after it was recorded"),
        (lambda text: text.replace('"format": 2', '"format": 1', 1), "it has the form 1, and this version reads 2"),
        (lambda text: re.sub('"suite": "[^"]*"', '"suite": "0"', text, count=1), "version 0 of the suite recorded it"),
        (lambda _text: "", "it is cut short, or no transcript"),
        (lambda _text: "[]\n[]\n", "it is cut short, or no transcript"),
    ],
    ids=["cut short", "a line less", "edited", "old form", "other suite", "empty", "something else"],
)
def test_a_transcript_that_is_not_whole_and_unchanged_is_refused_in_one_sentence(
    evil: Run, tmp_path: Path, harm: Any, says: str
) -> None:
    file = tmp_path / "t.ndjson"
    file.write_text(harm(evil.file("transcript.ndjson").read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(TranscriptError, match=re.escape(says)) as refused:
        load_transcript(file)
    assert "\n" not in str(refused.value)


def test_a_harmed_transcript_ends_a_run_with_that_sentence_alone(evil: Run, tmp_path: Path) -> None:
    file = tmp_path / "t.ndjson"
    file.write_text(changed(evil.file("transcript.ndjson").read_text(encoding="utf-8")), encoding="utf-8")
    done = again(evil, file)
    assert done.returncode == 4, done.stdout
    said = (done.stdout + done.stderr).strip()
    assert "it was changed after it was recorded" in said
    assert len(said.splitlines()) == 1, said


def test_a_transcript_that_does_not_exist_or_is_of_another_connector_is_refused(evil: Run, tmp_path: Path) -> None:
    done = again(evil, tmp_path / "none.ndjson")
    assert (done.returncode, "No such file" in done.stderr) == (4, True), done.stderr
    done = again(evil, evil.file("transcript.ndjson"), folder=REFERENCES / "simple")
    assert done.returncode == 4
    assert f"is a transcript of the connector `{NAME}`, and `simple` is to be judged" in done.stderr


def test_a_clause_whose_scenario_was_not_recorded_is_not_run_and_never_green(evil: Run) -> None:
    done = run_suite(
        "--iot2mqtt-clauses=I2M-LIFE-01",
        f"--iot2mqtt-transcript={evil.file('transcript.ndjson')}",
        "-rs",
        cwd=evil.connector,
    )
    assert done.returncode == 1, done.stdout
    assert "was recorded without shutdown" in done.stdout


# ---------------------------------------------------------------------- where reports go
def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_played(evil: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = run_suite(CHOSEN, f"--iot2mqtt-report={tmp_path / 'file' / 'report'}", cwd=evil.connector)
    assert done.returncode == 4, done.stdout
    said = (done.stdout + done.stderr).strip()
    assert len(said.splitlines()) == 1, said
    assert "--iot2mqtt-report:" in said
    assert "cannot be written" in said


def test_connectors_of_one_name_do_not_overwrite_each_others_reports() -> None:
    assert report_files.names(["a", "a", "a-2", "../x", "..", "b c"]) == ["a", "a-2", "a-2-2", "_x", "connector", "b_c"]


def test_under_xdist_the_report_is_the_controllers_and_as_complete(evil: Run, tmp_path: Path) -> None:
    done = again(evil, evil.file("transcript.ndjson"), "-n", "2", f"--iot2mqtt-report={tmp_path}")
    assert done.returncode == 1, done.stdout
    assert (tmp_path / f"{STEM}.report.json").read_bytes() == evil.file("report.json").read_bytes()


# ---------------------------------------------------------------------- many failures, other results
@pytest.fixture(scope="module")
def simple() -> Declaration:
    return load(REFERENCES / "simple")


def long_transcript() -> Transcript:
    root = "site/boot/v1/instances/boot"
    facts = {"root": root, "password": "pass", "config": {}}
    packet = {"conn": 1, "dir": "c2b", "type": "PUBLISH", "topic": f"{root}/x", "qos": 1, "retain": True}
    records = [Record(0, 0.0, "boot", "run", facts)]
    records += [Record(i, i / 10, "boot", "packet", {**packet, "payload": f"{'<&>' * 200}{i}"}) for i in range(1, 200)]
    return Transcript(records, wall=1.0, origin=Origin(connector="simple", scenarios={"boot": 20.0}))


def judged(rulings: dict[str, Ruling], smoke: str | None = None) -> Judged:
    transcript = long_transcript()
    return Judged("simple", Played(transcript, smoke, {"boot": 20.0}, 0.1), rulings, 7, "a broker", "pytest")


def rulings(standing: Standing) -> Iterator[tuple[str, Ruling]]:
    outcome = Outcome.PASS if standing is Standing.PASS else Outcome.FAIL
    for clause_id in JUDGES:
        yield clause_id, Ruling(Verdict(outcome, tuple(range(1, 190)), "<a> " * 900, "<b> " * 900, "<c>"), standing)


def test_a_page_with_every_clause_failed_stays_below_two_megabytes() -> None:
    text = page(judged(dict(rulings(Standing.FAIL))))
    assert len(text.encode()) < 2_000_000
    assert text.count('role="list"') > PICTURES


@pytest.mark.parametrize(
    ("standing", "besides", "result"),
    [
        (Standing.PASS, None, "pass"),
        (Standing.PASS, Standing.WARNING, "pass with reservations"),
        (Standing.PASS, Standing.EXPECTED_FAILURE, "pass with reservations"),
        (Standing.PASS, Standing.NOT_RUN, "fail"),
        (Standing.PASS, Standing.UNEXPECTED_PASS, "fail"),
        (Standing.NOT_APPLICABLE, None, "fail"),
    ],
)
def test_the_result_is_never_better_than_its_worst_clause(
    standing: Standing, besides: Standing | None, result: str
) -> None:
    found = dict(rulings(standing))
    if besides is not None:
        found |= {next(iter(found)): Ruling(Verdict(Outcome.FAIL), besides)}
    assert as_data(judged(found))["result"] == result


@pytest.mark.parametrize(("seconds", "told"), [(2.0, True), (0.5, False)])
def test_the_summary_says_that_the_machine_was_too_busy_where_that_may_matter(seconds: float, told: bool) -> None:
    busy = judged(dict(rulings(Standing.PASS)))
    busy.played.transcript.records.append(Record(200, 20.0, "", "stalled", {"seconds": seconds}))
    assert any("no processor for up to 2.0 s" in line for line in summary(busy)) == told


def test_a_part_of_the_clauses_is_no_pass_and_a_dead_connector_is_not_judged() -> None:
    one = dict(list(rulings(Standing.PASS))[:1])
    assert as_data(judged(one))["result"] == "partial"
    dead = judged({}, smoke="it ended\n  stderr: <script>alert(1)</script>")
    assert as_data(dead)["result"] == "not judged"
    assert "stderr: &lt;script&gt;" in page(dead)


def test_a_badge_is_an_image_that_says_result_and_numbers(tmp_path: Path) -> None:
    found = dict(rulings(Standing.PASS))
    found |= {next(iter(found)): rule(Verdict(Outcome.FAIL), level="MUST", expected=None, strict=False)}
    for file in report_files.write(tmp_path, "simple", judged(found)):
        assert file.stat().st_size
    badge = ET.parse(tmp_path / "simple.badge.svg").getroot()  # noqa: S314 - our own
    assert badge.get("aria-label") == f"IoT2MQTT conformance: fail, {len(JUDGES) - 1} of {len(JUDGES)} clauses"


def test_masks_hide_by_name_keep_equality_and_leave_short_words_alone() -> None:
    config = {"wifiPassword": "longer-one", "pin": "1234", "monkey": "banana", "bypass": "no"}
    records = [
        Record(0, 0.0, "a", "run", {"password": "longer-one", "config": config}),
        Record(1, 0.0, "a", "out", {"line": "said longer-one, 1234 and banana"}),
    ]
    first, second = (record.data for record in masked(Transcript(records)))
    assert first["password"] == first["config"]["wifiPassword"] == "***secret1***"
    assert first["config"] | {"wifiPassword": ""} == {**config, "wifiPassword": "", "pin": "***secret2***"}
    assert second["line"] == "said ***secret1***, 1234 and banana"
    again = masked(masked(Transcript(records)))
    assert [record.data for record in again] == [first, second]


def test_numbers_and_what_setup_json_calls_secret_are_masked_too() -> None:
    call = {"input": {"host": "h", "code": "hunter22", "serial": 987654}, "secret_names": ["code", "serial"]}
    records = [
        Record(0, 0.0, "a", "run", {"config": {"pin": 123456, "port": 1883}}),
        Record(1, 0.0, "a", "out", {"line": "pairing with pin 123456 on port 1883"}),
        Record(1, 0.0, "a", "packet", {"payload": '{"pressure": 123456, "pin": "123456"}'}),
        Record(2, 0.0, "actions", "action", {**call, "stdin": '{"input": {"code": "hunter22", "serial": 987654}}'}),
    ]
    first, second, said, third = (record.data for record in masked(Transcript(records)))
    assert said["payload"] == '{"pressure": 123456, "pin": "***secret1***"}'
    assert first["config"] == {"pin": "***secret1***", "port": 1883}
    assert second["line"] == "pairing with pin ***secret1*** on port 1883"
    assert third["input"] == {"host": "h", "code": "***secret2***", "serial": "***secret3***"}
    assert third["stdin"] == '{"input": {"code": "***secret2***", "serial": ***secret3***}}'


def test_a_secret_that_is_a_name_as_well_leaves_topics_and_keys_as_they_are() -> None:
    config = {"connection": {"password": "password", "token": "light1"}, "devices": [{"device_id": "light1"}]}
    records = [
        Record(0, 0.0, "a", "run", {"password": "offline", "config": config}),
        Record(1, 0.0, "a", "packet", {"topic": "x/devices/light1/state", "payload": "offline", "password": "offline"}),
    ]
    first, second = (record.data for record in masked(Transcript(records)))
    assert first["config"]["connection"] == {"password": "***secret2***", "token": "***secret3***"}
    assert second == {"topic": "x/devices/light1/state", "payload": "offline", "password": "***secret1***"}


def test_words_of_the_suite_itself_stay_where_a_secret_is_the_same_word() -> None:
    call = {"case": "secret", "field": "password", "secret_names": ["password", "token"]}
    given = {"input": {"password": "password", "token": "secret"}, "stdout": "password, secret"}
    (found,) = masked(Transcript([Record(0, 0.0, "actions", "action", {**call, **given})]))
    assert {key: found.data[key] for key in call} == call
    assert found.data["input"] == {"password": "***secret1***", "token": "***secret2***"}
    assert found.data["stdout"] == "***secret1***, ***secret2***"


@pytest.mark.parametrize("value", [1234, 123456, "1234", "123456", "long-enough"])
def test_a_commanded_value_is_masked_as_in_the_payloads_that_it_is_compared_with(value: Any) -> None:
    """The property of a lock is called like a secret."""
    records = [
        Record(0, 0.0, "commands", "step", {"name": "send", "values": {"pin": value}}),
        Record(1, 0.0, "commands", "packet", {"payload": json.dumps({"state": {"pin": value}})}),
    ]
    sent, shown = (record.data for record in masked(Transcript(records)))
    assert json.loads(shown["payload"])["state"] == sent["values"]


def test_a_number_in_the_answer_of_a_script_stays_one_and_in_its_texts_is_masked() -> None:
    answer = {"ok": True, "result": {"serial": 1234567, "label": "pin 12345"}}
    facts = {"input": {"pin": 12345}, "secret_names": ["pin"], "stdout": json.dumps(answer), "stderr": "pin 12345"}
    (found,) = masked(Transcript([Record(0, 0.0, "actions", "action", facts)]))
    assert json.loads(found.data["stdout"])["result"] == {"serial": 1234567, "label": "pin ***secret1***"}
    assert found.data["stderr"] == "pin ***secret1***"
