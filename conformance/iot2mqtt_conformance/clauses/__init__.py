"""One pure judge a clause, in one file an area."""

from iot2mqtt_conformance.clauses import cmd, env, get, life, meta, pub, state, status, sub
from iot2mqtt_conformance.clauses.registry import JUDGES, Judge

__all__ = ["JUDGES", "Judge", "cmd", "env", "get", "life", "meta", "pub", "state", "status", "sub"]
