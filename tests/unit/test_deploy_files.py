"""The ready files of deploy/ fit the server: settings exist, stops are long enough, ports and probes are there."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from configparser import ConfigParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from sockudo.config import Loaded, load
from support.parts import cannot_run

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
CHART = DEPLOY / "helm" / "sockudo"
RENDERED = DEPLOY / "kubernetes" / "sockudo.yaml"
IMAGE = {"SOCKUDO_DATA_DIR": "/data", "METRICS_HOST": "0.0.0.0"}
"""Variables that the image sets (see the Dockerfile)."""


def settings_of(env: Mapping[str, str], tmp_path: Path) -> Loaded:
    """What a node with these variables runs with; fails on one that does not exist or has no effect."""
    loaded = load(path=None, environ={**IMAGE, **env}, cwd=tmp_path)
    [used] = [source for source in loaded.sources if source.startswith("environment: ")]
    read = used.removeprefix("environment: ").split(", ")
    assert {name for name in env if not name.startswith("SOCKUDO_DEFAULT_APP_")} <= set(read)
    # Apps are the same on all nodes, as they are configured.
    assert [text for text in loaded.warnings if not text.startswith("app_manager.driver")] == []
    assert [app.id for app in loaded.settings.apps] == ["shop"]
    return loaded


@pytest.fixture(params=["redis", "postgres"])
def compose(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    text = (DEPLOY / "compose" / f"{request.param}.yaml").read_text()
    wanted = set(re.findall(r"\$\{([A-Z_]+):\?", text))
    example = (DEPLOY / "compose" / "example.env").read_text()
    assert wanted <= set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE))
    filled = re.sub(r"\$\{([A-Z_]+):\?[^}]*\}", lambda name: "shop" if "_APP_" in name[1] else "0a1b2c3d4e", text)
    assert "${" not in filled
    return request.param, yaml.safe_load(filled)


def test_compose_starts_three_nodes_that_share_what_they_must(
    compose: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    driver, parts = compose
    services = parts["services"]
    nodes = {name: service for name, service in services.items() if name.startswith("node-")}
    assert len(nodes) == 3
    for name, node in nodes.items():
        settings = settings_of(node["environment"], tmp_path).settings
        assert settings.node_name == name
        assert settings.adapter.driver == driver
        assert settings.queue.driver.replace("pgsql", "postgres") == driver
        assert int(node["stop_grace_period"].removesuffix("s")) >= settings.shutdown_grace_period + 5
        assert node["volumes"] == [f"{name}:/data"]
        assert driver in services
        assert set(node["depends_on"]) <= set(services)
    assert set(parts["volumes"]) == {*nodes, driver}


def test_the_balancer_of_compose_reaches_every_node(compose: tuple[str, dict[str, Any]]) -> None:
    _driver, parts = compose
    nginx = (DEPLOY / "compose" / "nginx.conf").read_text()
    nodes = sorted(name for name in parts["services"] if name.startswith("node-"))
    assert sorted(re.findall(r"server (node-\d):6001 ", nginx)) == nodes
    assert re.search(r"listen (\d+);", nginx)[1] == parts["services"]["balancer"]["ports"][0].split(":")[1]  # type: ignore[index]
    # Clients are silent for up to two minutes, and have half a minute for an answer then.
    assert int(re.search(r"proxy_read_timeout (\d+)s", nginx)[1]) > 150  # type: ignore[index]


@pytest.mark.parametrize("joined", [False, True])
def test_the_unit_of_systemd_fits_its_configuration(joined: bool, tmp_path: Path) -> None:
    text = (DEPLOY / "systemd" / "sockudo.toml").read_text()
    if joined:
        text = text.replace("# [adapter]\n# url", "[adapter]\nurl")
        assert "\nurl = " in text
    file = tmp_path / "sockudo.toml"
    file.write_text(text)
    settings = load(path=file, environ={"SHOP_SECRET": "0a1b2c3d4e"}, cwd=tmp_path).settings
    assert [app.id for app in settings.apps] == ["shop"]
    assert settings.adapter.driver == ("redis" if joined else "local")
    unit = ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(DEPLOY / "systemd" / "sockudo.service")
    service = unit["Service"]
    assert service["ExecStart"].endswith("sockudo serve --config /etc/sockudo/sockudo.toml")
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert int(service["TimeoutStopSec"]) >= settings.shutdown_grace_period + 5
    assert f"/var/lib/{service['StateDirectory']}" == settings.data_dir


def manifests(text: str) -> dict[tuple[str, str], dict[str, Any]]:
    parsed: Iterator[Any] = yaml.safe_load_all(text)
    return {(one["kind"], one["metadata"]["name"]): one for one in parsed if one}


def check_manifests(found: Mapping[tuple[str, str], dict[str, Any]], tmp_path: Path) -> None:
    pod = found["Deployment", "sockudo"]["spec"]["template"]
    [container] = pod["spec"]["containers"]
    plain = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    secret = {each["name"] for each in container["env"] if "secretKeyRef" in each.get("valueFrom", {})}
    assert not [name for name in plain if re.search("SECRET|PASSWORD|URL", name)]
    given = {name: "redis://redis.internal" if name == "ADAPTER_URL" else "shop-0a1b2c" for name in secret}
    settings = settings_of({**plain, **given, "SOCKUDO_DEFAULT_APP_ID": "shop"}, tmp_path).settings
    assert settings.adapter.driver == "redis"
    before = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["spec"]["terminationGracePeriodSeconds"] >= before + settings.shutdown_grace_period + 5
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": settings.port, "metrics": settings.metrics.port}
    assert container["readinessProbe"]["httpGet"] == {"path": "/up", "port": "http"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/live", "port": "http"}
    # Each check of a part may take so long, and they are made at once.
    assert container["readinessProbe"]["timeoutSeconds"] * 1000 > settings.health_check_timeout_ms
    labels = pod["metadata"]["labels"].items()
    budget = found["PodDisruptionBudget", "sockudo"]["spec"]
    assert budget["selector"]["matchLabels"].items() <= labels
    for name in ("sockudo", "sockudo-metrics"):
        service = found["Service", name]["spec"]
        assert service["selector"].items() <= labels
        assert {port["targetPort"] for port in service["ports"]} <= set(ports)


def test_the_manifests_of_kubernetes_fit_the_server(tmp_path: Path) -> None:
    check_manifests(manifests(RENDERED.read_text()), tmp_path)


def helm(*options: str) -> subprocess.CompletedProcess[str]:
    binary = shutil.which("helm")
    if binary is None:
        cannot_run("the Helm chart", "helm is not installed (go install helm.sh/helm/v3/cmd/helm@latest)")
    command = [binary, "template", "sockudo", str(CHART), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_manifests_are_what_the_chart_makes() -> None:
    made = helm()
    assert made.returncode == 0, made.stderr
    assert manifests(made.stdout) == manifests(RENDERED.read_text()), f"helm template sockudo {CHART} > {RENDERED}"


def test_the_chart_with_everything_on(tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    lines = ("config: |", "  activity_timeout = 60", "env: {LOG_OUTPUT_FORMAT: json}", "imagePullSecrets: [{name: a}]")
    values.write_text("\n".join(lines))
    made = helm("-f", str(values), "--set", "ingress.enabled=true,ingress.tlsSecret=tls,serviceMonitor.enabled=true")
    assert made.returncode == 0, made.stderr
    found = manifests(made.stdout)
    check_manifests(found, tmp_path)
    assert found["ConfigMap", "sockudo"]["data"] == {"sockudo.toml": "activity_timeout = 60\n"}
    monitor, metrics = found["ServiceMonitor", "sockudo"]["spec"], found["Service", "sockudo-metrics"]["metadata"]
    assert monitor["selector"]["matchLabels"].items() <= metrics["labels"].items()
    assert found["Ingress", "sockudo"]["spec"]["tls"][0]["secretName"] == "tls"


def test_the_chart_refuses_nodes_that_are_not_joined() -> None:
    made = helm("--set", "join.secret=")
    assert made.returncode != 0
    assert "replicas > 1 needs join.secret" in made.stderr
