"""What the farm's Ray nodes need and are started with; no Ray is imported here."""

from __future__ import annotations

import asyncio
import json
import platform
import sys
from concurrent.futures import Future
from importlib.metadata import version
from typing import Any

from farm.engines.ray.certificates import Certificate
from farm.errors import FarmError, HostError, HostRefusedError
from farm.hosts.answers import QUICK, answer
from farm.hosts.bootstrap import Site

_NO_ROUTE = 65  # EHOSTUNREACH on macOS
#: What members of the cluster listen on; a firewall admits these, among the farm's machines only.
GCS_PORT = 26379
PORTS = {
    "node-manager-port": 26380,
    "object-manager-port": 26381,
    "runtime-env-agent-port": 26382,
    "metrics-export-port": 26383,
    "dashboard-agent-listen-port": 26384,
    "dashboard-agent-grpc-port": 26385,
    "min-worker-port": 26400,
    "max-worker-port": 26499,
}
OBJECT_STORE = 100_000_000  # bytes; more than 2 GiB is refused on macOS

#: For head, nodes and driver alike.
SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN_PATH": "{folder}/token",
    "RAY_USE_TLS": "1",
    "RAY_TLS_SERVER_CERT": "{folder}/certificate.pem",
    "RAY_TLS_SERVER_KEY": "{folder}/key.pem",
    "RAY_TLS_CA_CERT": "{folder}/authority.pem",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1",
    "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL": "minor",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
    # A measurement must have its usual rank, and Ray must not choose what to kill.
    "RAY_worker_niceness": "0",
    "RAY_memory_monitor_refresh_ms": "0",
    # A host that is gone is noticed in about 8 s; 3 to 5 s without a network are survived.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_grpc_client_keepalive_time_ms": "5000",
    "RAY_grpc_client_keepalive_timeout_ms": "5000",
    # Ray's own housekeeping, rarer than usual: a host is to rest while it is timing.
    "RAY_raylet_report_resources_period_milliseconds": "5000",
    "RAY_raylet_check_gc_period_milliseconds": "60000",
    "RAY_report_worker_backlog_interval_ms": "10000",
    "RAY_kill_idle_workers_interval_ms": "10000",
    "RAY_local_fs_monitor_interval_ms": "60000",
    "RAY_object_manager_timer_freq_ms": "10000",
    "RAY_free_objects_period_milliseconds": "60000",
    "RAY_debug_dump_period_milliseconds": "0",
    "RAY_event_stats": "0",
    "RAY_event_stats_print_interval_ms": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_metrics_report_interval_ms": "600000",
    "RAY_task_events_report_interval_ms": "0",
    "RAY_core_worker_internal_heartbeat_ms": "10000",
    "RAY_raylet_liveness_self_check_interval_ms": "10000",
    "RAY_io_context_monitor_probe_interval_ms": "60000",
    "RAY_io_context_event_loop_lag_collection_interval_ms": "60000",
    "RAY_raylet_check_for_unexpected_worker_disconnect_interval_ms": "5000",
    "RAY_enable_pipe_based_agent_to_parent_health_check": "1",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
}
HEAD = {"RAY_gcs_storage": "rocksdb", "RAY_gcs_storage_path": "{folder}/gcs"}

_VERSIONS = """
import importlib.metadata, importlib.util, json, platform
ray = importlib.util.find_spec("ray") and importlib.metadata.version("ray")
print(json.dumps({"ray": ray, "python": platform.python_version()}))
"""
_REACH = """
import json, socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 10).close()
    print(json.dumps({}))
except OSError as error:
    print(json.dumps({"errno": error.errno, "error": str(error), "system": sys.platform}))
"""


def check_versions(place: Site) -> None:
    """Refuse a host whose Ray or Python cannot join; raises HostRefusedError with the fix."""
    found = _ask(place, _VERSIONS)
    own = {"ray": version("ray"), "python": platform.python_version()}
    name = place.connection.name
    if found["ray"] != own["ray"]:
        fix = f"{place.python} -m pip install ray=={own['ray']}"
        words = f"has Ray {found['ray'] or 'not at all'}, the coordinator {own['ray']}"
        raise HostRefusedError(f"host {name!r}: {words}; there: {fix}; or: --engine ssh")
    if _minor(found["python"]) != _minor(own["python"]):
        words = f"has Python {found['python']}, the coordinator {own['python']}"
        fix = f"name a Python {_minor(own['python'])} by 'python' in the inventory"
        raise HostRefusedError(f"host {name!r}: {words}; {fix}; or: --engine ssh")


def _ask(place: Site, code: str, *arguments: str) -> dict[str, Any]:
    done = place.connection.run([place.python, "-c", code, *arguments], QUICK)
    return answer(place.connection.name, place.python, done)


def _minor(python: str) -> str:
    return ".".join(python.split(".")[:2])


def check_way(place: Site, coordinator: str) -> None:
    """See that a host reaches the head, which connections of Ray's need; raises HostError."""
    if found := _ask(place, _REACH, coordinator, str(GCS_PORT)):
        raise HostError(f"host {place.connection.name!r}: {unreachable(coordinator, **found)}")


def unreachable(coordinator: str, errno: int | None, error: str, system: str) -> str:
    """Return why a host cannot reach the head, and the remedy."""
    words = f"cannot reach the coordinator at {coordinator}:{GCS_PORT} ({error})"
    if (errno, system) == (_NO_ROUTE, "darwin"):
        return (
            f"{words}: macOS denies it the local network; allow Python there in System Settings > "
            "Privacy & Security > Local Network, or: --engine ssh"
        )
    return f"{words}; open the coordinator's firewall for it, or: --engine ssh"


async def listening(address: str, ended: Future[str]) -> None:
    """Wait until the head answers; raises FarmError when it has ended."""
    while True:
        if ended.done():
            words = f"Ray's head did not start: {ended.result()}"
            raise FarmError(f"{words}; free port {GCS_PORT}, or: --engine ssh")
        try:
            _, writer = await asyncio.open_connection(address, GCS_PORT)
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return


def environment(folder: str) -> dict[str, str]:
    """Return the settings of a process that shares a member's folder."""
    return {name: value.replace("{folder}", folder) for name, value in SETTINGS.items()}


def files(token: str, certificate: Certificate) -> dict[str, str]:
    """Return the secrets of one member, by file name."""
    return {
        "token": token,
        "certificate.pem": certificate.certificate,
        "key.pem": certificate.key,
        "authority.pem": certificate.authority,
    }


def head(address: str, secrets: dict[str, str]) -> str:
    """Return what ``worker.process.hold`` is to run on the coordinator, as a line of JSON."""
    own = ["--head", f"--port={GCS_PORT}", "--include-dashboard=false", "--no-monitor"]
    return _order(sys.executable, address, own, SETTINGS | HEAD, secrets)


def node(
    python: str, coordinator: str, address: str, resource: str, secrets: dict[str, str]
) -> str:
    """Return what ``worker.process.hold`` is to run on a host, as a line of JSON."""
    own = [f"--address={coordinator}:{GCS_PORT}", f"--resources={json.dumps({resource: 1})}"]
    return _order(python, address, own, SETTINGS, secrets)


def _order(
    python: str,
    address: str,
    own: list[str],
    environment: dict[str, str],
    secrets: dict[str, str],
) -> str:
    common = [
        "--block",
        f"--node-ip-address={address}",
        "--num-cpus=0",
        "--num-gpus=0",
        f"--object-store-memory={OBJECT_STORE}",
        "--temp-dir={folder}/ray",  # Ray opens it to every user; the folder around it stays shut
        "--include-log-monitor=false",
        "--disable-usage-stats",
        *(f"--{name}={port}" for name, port in PORTS.items()),
    ]
    command = [python, "-m", "ray.scripts.scripts", "start", *own, *common]
    return json.dumps({"command": command, "environment": environment, "files": secrets})
