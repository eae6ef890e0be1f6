"""Envoy's configuration as `portal up` writes it."""

import base64
import json
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.rpc import code_pb2, error_details_pb2, status_pb2

from portal_server.run import edge
from portal_server.run.settings import Settings
from tests.support.stack import ROOT

CLUSTERS = {"portal", "streams", "ready"}


def prepared(folder: Path, **settings: Any) -> Any:
    """What is written for these settings."""
    edge.prepare(Settings.model_construct(**settings), folder, 1234)
    return json.loads((folder / "envoy.json").read_text())


def listeners(config: Any) -> dict[str, Any]:
    return {part["name"]: part for part in config["static_resources"]["listeners"]}


def mappers(config: Any) -> list[Any]:
    manager = listeners(config)["http"]["filter_chains"][0]["filters"][-1]
    found: list[Any] = manager["typed_config"]["local_reply_config"]["mappers"]
    return found


def test_envoy_takes_the_configuration(tmp_path: Path) -> None:
    command = edge.prepare(Settings.model_construct(), tmp_path, 100)
    edge.set_endpoints(tmp_path, [tmp_path / "0-0.sock"])
    found = subprocess.run(
        [*command, "--mode", "validate"], env=edge.ENVIRONMENT, capture_output=True, check=False
    )

    assert found.returncode == 0, found.stderr[-500:]


def test_envoy_takes_the_file_that_is_started_by_hand() -> None:
    command = ["--config-path", "envoy.yaml", "--mode", "validate", "--disable-hot-restart"]
    program = edge.program(Settings.model_construct())
    found = subprocess.run(
        [program, *command], env=edge.ENVIRONMENT, capture_output=True, check=False
    )

    assert found.returncode == 0, found.stderr[-500:]


def test_another_envoy_is_run_if_the_setting_names_it(tmp_path: Path) -> None:
    official = tmp_path / "envoy"
    official.symlink_to(edge.program(Settings.model_construct()))
    command = edge.prepare(Settings.model_construct(envoy=official), tmp_path, 100)
    edge.set_endpoints(tmp_path, [])
    found = subprocess.run([*command, "--mode", "validate"], env=edge.ENVIRONMENT, check=False)

    assert command[0] == str(official)
    assert found.returncode == 0


@pytest.mark.parametrize("name", ["missing", "folder", "text"])
def test_an_envoy_that_is_not_a_program_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").touch(0o644)
    wrong = Settings.model_construct(envoy=tmp_path / name)
    with pytest.raises(edge.EdgeError, match=f"^PORTAL_ENVOY: {tmp_path}/{name} is not a program"):
        edge.prepare(wrong, tmp_path, 100)


def test_only_the_owner_can_read_the_written_files(tmp_path: Path) -> None:
    prepared(tmp_path)
    edge.set_endpoints(tmp_path, [tmp_path / "0-0.sock"])
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}

    assert modes == {"envoy.json": 0o600, "endpoints.json": 0o600}


def test_the_settings_are_not_on_the_command_line(tmp_path: Path) -> None:
    command = edge.prepare(Settings.model_construct(cors_origins=("https://a.test",)), tmp_path, 9)

    assert str(tmp_path / "envoy.json") in command
    assert "a.test" not in " ".join(command)
    assert set(edge.ENVIRONMENT) == {"GLIBC_TUNABLES"}


def test_both_ports_have_the_same_rules(tmp_path: Path) -> None:
    both = listeners(prepared(tmp_path, host="192.0.2.1", http_port=1, grpc_port=2))
    addresses = {name: part.pop("address")["socket_address"] for name, part in both.items()}
    names = {part.pop("name") for part in both.values()}
    assert names == {part.pop("stat_prefix") for part in both.values()}

    assert addresses == {
        "http": {"address": "192.0.2.1", "port_value": 1},
        "grpc": {"address": "192.0.2.1", "port_value": 2},
    }
    assert names == {"http", "grpc"}
    assert both["http"] == both["grpc"]


def test_an_origin_may_call_on_both_ports(tmp_path: Path) -> None:
    config = prepared(tmp_path, cors_origins=("https://a.test",))
    chains = [chain for part in listeners(config).values() for chain in part["filter_chains"]]

    assert len(chains) == 4
    assert all("https://a.test" in json.dumps(chain) for chain in chains)


def test_connections_and_the_admin_interface_follow_the_settings(tmp_path: Path) -> None:
    config = prepared(tmp_path)
    monitors = config["overload_manager"]["resource_monitors"]
    bounds = [part["typed_config"].get("max_active_downstream_connections") for part in monitors]

    limits = {
        chain["filters"][0]["typed_config"]["max_connections"]
        for part in listeners(config).values()
        for chain in part["filter_chains"]
    }

    assert 1234 in bounds
    assert limits == {1234 // 4}
    assert config["admin"]["address"] == {
        "pipe": {"path": str(tmp_path / "admin.sock"), "mode": 0o600}
    }


def test_every_cluster_has_the_servers_of_the_folder(tmp_path: Path) -> None:
    clusters = {part["name"]: part for part in prepared(tmp_path)["static_resources"]["clusters"]}
    paths = {
        part["eds_cluster_config"]["eds_config"]["path_config_source"]["path"]
        for part in clusters.values()
    }

    assert set(clusters) == CLUSTERS
    assert paths == {str(tmp_path / "endpoints.json")}


def test_the_endpoints_are_replaced_by_another_file(tmp_path: Path) -> None:
    edge.set_endpoints(tmp_path, [Path("/run/0-0.sock")])
    with (tmp_path / "endpoints.json").open() as old:
        edge.set_endpoints(tmp_path, [Path("/run/0-1.sock"), Path("/run/1-0.sock")])
        before = old.read()
    after = (tmp_path / "endpoints.json").read_text()

    assert "0-0.sock" in before
    assert "0-0.sock" not in after
    assert "0-1.sock" in after
    assert "1-0.sock" in after
    assert [file.name for file in tmp_path.iterdir()] == ["endpoints.json"]


def test_no_endpoint_at_all_is_not_an_error(tmp_path: Path) -> None:
    edge.set_endpoints(tmp_path, [])

    [assignment] = json.loads((tmp_path / "endpoints.json").read_text())["resources"]
    assert assignment["endpoints"] == [{"lb_endpoints": []}]


def test_a_rejection_without_servers_reports_when_to_retry(tmp_path: Path) -> None:
    added = {
        mapper["body"]["inline_string"]: {
            part["header"]["key"]: part["header"]["value"] for part in mapper["headers_to_add"]
        }
        for mapper in mappers(prepared(tmp_path))
        if "grpc-status-details-bin" in json.dumps(mapper.get("headers_to_add"))
    }
    [(text, headers)] = added.items()
    encoded = headers["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(base64.b64decode(encoded + "=" * (-len(encoded) % 4)))
    info = error_details_pb2.RetryInfo()

    assert (status.code, status.message) == (code_pb2.UNAVAILABLE, text)
    assert status.details[0].Unpack(info)
    assert info.retry_delay.seconds == 1


def named_files(part: Any) -> set[str]:
    """The files that a configuration names."""
    if isinstance(part, list):
        return set().union(*map(named_files, part))
    if not isinstance(part, dict):
        return set()
    own = {part[name] for name in ("filename", "proto_descriptor") if name in part}
    return own.union(*map(named_files, part.values()))


def test_every_file_is_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = named_files(prepared(tmp_path))
    source = named_files(yaml.safe_load((ROOT / "envoy.yaml").read_text()))

    assert len(names) == len(source) > 5
    assert all(Path(name).is_absolute() for name in names)
    assert {Path(name).resolve() for name in names} == {ROOT / name for name in source}


def test_the_package_has_no_second_copy() -> None:
    files = Path(edge.__file__).parents[1] / "envoy"

    assert (files / "envoy.yaml").resolve() == ROOT / "envoy.yaml"
    assert (files / "edge").resolve() == ROOT / "edge"


def test_the_files_of_an_own_configuration_are_searched_in_its_folder_first(
    tmp_path: Path,
) -> None:
    own = tmp_path / "own"
    (own / "edge").mkdir(parents=True)
    shutil.copy("envoy.yaml", own / "own.yaml")
    shutil.copy("edge/rest.lua", own / "edge")
    names = named_files(prepared(tmp_path, envoy_config=own / "own.yaml"))

    assert str(own / "edge/rest.lua") in names
    assert ROOT / "edge/metadata.lua" in {Path(name).resolve() for name in names}


def rejection(file: Path) -> str:
    with pytest.raises(edge.EdgeError) as raised:
        edge.prepare(Settings.model_construct(envoy_config=file), file.parent, 1)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_missing_configuration_is_one_clear_line(tmp_path: Path) -> None:
    assert rejection(tmp_path / "own.yaml") == f"{tmp_path}/own.yaml: No such file or directory"


def test_a_missing_file_of_a_configuration_is_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(Path("envoy.yaml").read_text().replace("edge/rest.lua", "edge/mine.lua"))

    assert rejection(file) == f"{file}: the file edge/mine.lua not found"


@pytest.mark.parametrize("text", ["a: [", "\t", "[]", "text", "\x00"])
def test_a_file_that_is_not_a_configuration_is_one_clear_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(text)

    assert rejection(file).startswith(f"{file} is not ")


@pytest.mark.parametrize("part", ["admin", "static_resources", "overload_manager"])
def test_a_file_that_lacks_a_part_is_one_clear_line(tmp_path: Path, part: str) -> None:
    config = yaml.safe_load(Path("envoy.yaml").read_text())
    del config[part]
    file = tmp_path / "own.yaml"
    file.write_text(json.dumps(config))

    assert part in rejection(file)
