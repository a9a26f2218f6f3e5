"""Runs the tools of a flow, or plays their recorded answers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import JsonValue, ValidationError

from iot2mqtt_sdk.action_runner import run_tool
from iot2mqtt_sdk.contract.actions import ACTION_OUTPUT
from iot2mqtt_sdk.contract.models import explain
from iot2mqtt_sdk.setup_flow.errors import SetupError
from iot2mqtt_sdk.setup_flow.files import RecordedFile


class Tools:
    """The tools of one connector.

    Args:
        folder: The connector's folder.
        recorded: Answers to play instead; None runs the scripts.
    """

    def __init__(self, *, folder: Path, recorded: RecordedFile | None) -> None:
        self._folder = folder
        self._recorded = recorded
        self._played: dict[str, int] = {}

    def run(self, name: str, key: str, inputs: Mapping[str, JsonValue]) -> dict[str, Any]:
        """Return a tool's answer, an ActionOutput (clause I2M-ACT-02).

        Args:
            name: The tool.
            key: Under which its answer is recorded.
            inputs: The tool's inputs.

        Raises:
            SetupError: There is no recorded answer, or it is malformed.
        """
        if self._recorded is not None:
            return self._play(self._recorded, key)
        return run_tool(self._folder, name, inputs)

    def _play(self, recorded: RecordedFile, key: str) -> dict[str, Any]:
        if key not in recorded.tools:
            raise SetupError(f"the recorded answers have no tools.{key}; add the answer of that tool")
        answer = recorded.tools[key]
        if isinstance(answer, list):
            number = self._played.get(key, 0)
            self._played[key] = number + 1
            if number >= len(answer):
                raise SetupError(f"the recorded answers of tools.{key} are used up after {number} runs; add another")
            answer = answer[number]
        try:
            return ACTION_OUTPUT.validate_python(answer).model_dump(mode="json")
        except ValidationError as error:
            raise SetupError(f"the recorded answer tools.{key} is malformed: {explain(error)}") from None
