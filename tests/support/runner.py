"""What a runner of GitHub Actions does with the steps of a composite action or of a workflow's job.

Expressions are names joined by ``||``, as far as our files use them; another one is an error.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
NAME = re.compile(r"[a-z_]+(\.[a-z_-]+)+")
SHELL = ["bash", "--noprofile", "--norc", "-eo", "pipefail"]


@dataclass
class Runner:
    """A job's folder, event and variables; ``log`` is all that its steps printed."""

    folder: Path
    workspace: Path
    event: dict[str, object]
    event_name: str = "pull_request"
    variables: dict[str, str] = field(default_factory=dict)
    log: str = ""

    def __post_init__(self):
        self.folder.mkdir()
        (self.folder / "event.json").write_text(json.dumps(self.event))
        self.summary.touch()

    @property
    def summary(self) -> Path:
        return self.folder / "summary.md"

    def action(self, document: dict, given: dict[str, str]) -> tuple[int, dict[str, str]]:
        """Run a composite action; return its exit code and outputs."""
        unknown = set(given) - set(document["inputs"])
        assert not unknown, f"the action has no inputs {unknown}"
        inputs = {
            name: given.get(name, self.evaluate(str(one["default"]), {}))
            for name, one in document["inputs"].items()
        }
        contexts = {"inputs": inputs}
        code = self.steps(document["runs"]["steps"], contexts)
        outputs = document["outputs"].items()
        return code, {name: self.evaluate(one["value"], contexts) for name, one in outputs}

    def steps(self, steps: list[dict], contexts: dict) -> int:
        """Run scripts one after the other, up to the first that fails."""
        contexts["steps"] = {}
        for step in steps:
            outputs = self.folder / "output"
            outputs.write_text("")
            assert not EXPRESSION.search(step["run"]), "an expression in a script can be code"
            env = {k: self.evaluate(str(v), contexts) for k, v in step.get("env", {}).items()}
            done = subprocess.run(
                [*SHELL, "-c", step["run"]],
                cwd=self.workspace,
                env=self._environment() | env | {"GITHUB_OUTPUT": str(outputs)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            self.log += done.stdout
            lines = outputs.read_text().splitlines()
            found = dict(line.split("=", 1) for line in lines)
            contexts["steps"][step.get("id", step["name"])] = {"outputs": found}
            if done.returncode:
                return done.returncode
        return 0

    def evaluate(self, text: str, contexts: dict) -> str:
        """Put values in the place of expressions."""
        return EXPRESSION.sub(lambda match: self._first(match[1], contexts), text)

    def _first(self, expression: str, contexts: dict) -> str:
        known = contexts | {"github": {"event": self.event, "token": "the-token"}}
        for name in expression.split(" || "):
            assert NAME.fullmatch(name), f"this runner does not know {expression!r}"
            value = known
            for part in name.split("."):
                value = value.get(part, {})
            if value:
                return str(value)
        return ""

    def _environment(self) -> dict[str, str]:
        return self.variables | {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_EVENT_NAME": self.event_name,
            "GITHUB_EVENT_PATH": str(self.folder / "event.json"),
            "GITHUB_REPOSITORY": "somebody/something",
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_WORKSPACE": str(self.workspace),
            "HOME": str(self.folder),
            "PATH": os.environ["PATH"],
            "RUNNER_TEMP": str(self.folder),
        }
