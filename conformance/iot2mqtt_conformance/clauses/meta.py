"""I2M-META: what the connector tells about itself."""

from iot2mqtt_conformance.clauses.registry import judges
from iot2mqtt_conformance.contract import schema_fault
from iot2mqtt_conformance.declaration import Declaration
from iot2mqtt_conformance.verdict import Verdict, failed, passed
from iot2mqtt_conformance.view import View


@judges("I2M-META-01", "boot")
def devices_list_names_every_device(view: View, _declaration: Declaration) -> Verdict:
    """One entry a configured device, of the right form."""
    boot = view.run("boot")
    answers = boot.published("meta/devices_list") if boot else []
    if boot is None or not answers:
        return failed("an answer on meta/devices_list", "none", at=boot.sent("devices_list") if boot else [])
    for answer in answers:
        fault = schema_fault("devices_list", answer.value) if isinstance(answer.value, list) else "it is no array"
        if fault is not None:
            return failed(
                "an array of {device_id, global_id, model, enabled, online}",
                f"{answer.text}: {fault}",
                at=[answer.record],
            )
        listed = [entry["device_id"] for entry in answer.value]
        if sorted(listed) != sorted(boot.configured):
            return failed(
                f"one entry each of {sorted(boot.configured)}, the disabled ones included",
                f"{sorted(listed)}",
                at=[answer.record],
            )
        wrong = next((e for e in answer.value if e["global_id"] != f"{boot.facts['instance']}_{e['device_id']}"), None)
        if wrong is not None:
            return failed(
                f"global_id {boot.facts['instance']}_{wrong['device_id']}", f"{wrong['global_id']}", at=[answer.record]
            )
        flags = {d["device_id"]: d.get("enabled", True) for d in boot.facts["config"]["devices"]}
        lie = next((e for e in answer.value if e["enabled"] is not flags[e["device_id"]]), None)
        if lie is not None:
            return failed(
                f"enabled: {flags[lie['device_id']]} for {lie['device_id']}", f"{lie['enabled']}", at=[answer.record]
            )
    return passed(answer.record for answer in answers)


@judges("I2M-META-02", "boot")
def info_is_true(view: View, declaration: Declaration) -> Verdict:
    """instance_id, connector_type and the counts are those of environment and configuration."""
    boot = view.run("boot")
    answers = boot.published("meta/info") if boot else []
    if boot is None or not answers:
        return failed("an answer on meta/info", "none")
    wanted = {
        "instance_id": boot.facts["instance"],
        "connector_type": declaration.name,
        "devices_count": len(boot.configured),
        "groups_count": len(boot.groups),
    }
    for answer in answers:
        fault = schema_fault("info", answer.value) if isinstance(answer.value, dict) else "it is no object"
        seen = {key: answer.value.get(key) for key in wanted} if isinstance(answer.value, dict) else None
        if fault is not None or seen != wanted:
            return failed(f"{wanted} and uptime", f"{answer.text}{f': {fault}' if fault else ''}", at=[answer.record])
    return passed(answer.record for answer in answers)


@judges("I2M-META-03", "boot")
def uptime_counts_from_the_start(view: View, _declaration: Declaration) -> Verdict:
    """Uptime is at most the process's age, and grows."""
    boot = view.run("boot")
    start = boot.first("proc.start") if boot else None
    answers = [p for p in boot.published("meta/info") if isinstance(p.value, dict)] if boot else []
    values = [(p, p.value.get("uptime")) for p in answers]
    if start is None or len(values) < 2:  # noqa: PLR2004 - growth takes two
        return failed("two answers on meta/info", f"{len(values)}")
    for answer, uptime in values:
        age = answer.record.t - start.t
        if not isinstance(uptime, int | float) or isinstance(uptime, bool) or not 0 <= uptime <= age + 1:
            return failed(
                f"an uptime between 0 and the age of the process, {age:.1f} s",
                f"uptime {uptime!r}",
                at=[start, answer.record],
                hint="subtract the time of start; a Unix time is no uptime",
            )
    if values[-1][1] <= values[0][1]:
        seen = f"{values[0][1]} and, {values[-1][0].record.t - values[0][0].record.t:.1f} s later, {values[-1][1]}"
        return failed("an uptime that grows", seen, at=[values[0][0].record, values[-1][0].record])
    return passed([start, values[0][0].record, values[-1][0].record])
