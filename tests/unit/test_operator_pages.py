"""What the pages for operators name has to exist: settings, variables, commands, metrics, files that load."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from sockudo.base.components import Component
from sockudo.cluster.network import join_carrier
from sockudo.cluster.owners import OwnerCounts
from sockudo.config import Settings, foreign, load, misspelt
from sockudo.config.schema import declared, sections, variables
from sockudo.config.webhooks import PUSH_EVENTS
from sockudo.drivers import MemoryHistoryStore
from sockudo.drivers.embedded_files import EMBEDDED_FILES
from sockudo.errors import CATALOGUE
from sockudo.history import History, PresenceHistory
from sockudo.hub import Hub, HubOptions
from sockudo.hub.view import HubView
from sockudo.monitoring import HistorySources, Metrics, history_measures
from sockudo.monitoring.nodes import node_measures
from sockudo.monitoring.prometheus import _ERROR_TYPES
from sockudo.server.commands import app as command_line
from sockudo.testing import FakeClock
from support.carriers import MemoryBroker

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("operations.md", "moving.md", "webhooks.md", "dashboard.md", "recovery.md", "history.md", "push.md")
TEXTS = {page: (DOCS / page).read_text() for page in PAGES}

# Laravel's, one that an example makes up, the TLS library's, and one that is said to mean nothing.
OTHER_VARIABLES = frozenset({"VAPID_PUBLIC_KEY", "BROADCAST_CONNECTION", "SHOP_SECRET", "SSL_CERT_FILE", "HTTPS_PROXY"})
HEALTH_WORDS = frozenset({"NOT_FOUND"})
OF_THE_COMMAND_LINE = frozenset({"SOCKUDO_URL", "SOCKUDO_APP_ID", "SOCKUDO_APP_KEY", "SOCKUDO_APP_SECRET"})


def blocks(page: str, language: str) -> list[str]:
    text = TEXTS.get(page) or (DOCS / page).read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def inline(page: str) -> set[str]:
    prose = re.sub(r"```.*?```", "", TEXTS[page], flags=re.DOTALL)
    return set(re.findall(r"`([^`\n]+)`", prose))


def is_variable(name: str) -> bool:
    if name in variables() or name in foreign.READ or foreign.advice(name) is not None:
        return True
    return misspelt._is_known(name) or name in OTHER_VARIABLES | OF_THE_COMMAND_LINE


@pytest.mark.parametrize("page", PAGES)
def test_variables_are_read_or_answered(page: str) -> None:
    texts = inline(page) | {line for block in blocks(page, "sh") for line in block.split()}
    names = {
        name
        for text in texts
        for name in re.findall(r"(?<![\w…])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?![\w…*])", text)
        if not text.startswith("CAP_") and "=CAP_" not in text
    }
    assert len(names) > {"dashboard.md": 0, "recovery.md": -1}.get(page, 5)
    assert {name for name in names - HEALTH_WORDS if not is_variable(name)} == set()


@pytest.mark.parametrize("page", PAGES)
def test_settings_exist(page: str) -> None:
    known = declared().keys() | sections().keys()
    roots = {path.split(".")[0] for path in known if "." in path}
    dotted = {
        text for text in inline(page) if re.fullmatch(r"[a-z_]+(\.[a-z_0-9]+)+", text) and text.split(".")[0] in roots
    }
    settings = {text for text in dotted - PUSH_EVENTS if not text.endswith(".sqlite3") and text != "push.recipient"}
    assert settings or page == "recovery.md"
    assert settings - known == set()


@pytest.mark.parametrize(
    ("page", "text"), [(page.name, text) for page in sorted(DOCS.glob("*.md")) for text in blocks(page.name, "toml")]
)
def test_configuration_files_load(page: str, text: str, tmp_path: Path) -> None:
    pem = tmp_path / "some.pem"
    pem.write_text("")
    path = tmp_path / "sockudo.toml"
    path.write_text(re.sub(r'"/etc/ssl/realtime/\w+\.pem"', f'"{pem}"', text))
    environ = {"PUSHER_APP_SECRET": "s", "PUSHER_APP_ID": "1001", "PUSHER_APP_KEY": "your-key"}
    environ |= {"APP_SECRET": "s", "SHOP_SECRET": "s"}
    loaded = load(path=path, environ=environ, cwd=tmp_path)
    # Examples of how nodes are joined say nothing of their apps.
    aside = ("secret", "not read", "not known to the others")
    assert [warning for warning in loaded.warnings if not any(each in warning for each in aside)] == []


def commands(page: str) -> Iterator[list[str]]:
    """The words after ``sockudo`` of every command line on the page."""
    shown = [line for block in blocks(page, "sh") for line in block.splitlines()]
    shown += re.findall(r"ExecStart(?:Pre)?=(.*)", TEXTS[page])
    shown += [text for text in inline(page) if text.startswith("sockudo ")]
    for line in shown:
        # Where another program has the word as an argument, it is a name and not ours.
        found = re.search(r"(?:^|/bin/|exec sockudo )sockudo ([a-z].*)", line)
        if found is not None:
            yield shlex.split(found[1].replace("…", "").replace("|", "/"), comments=True)


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_their_options_exist(page: str) -> None:
    root: Any = typer.main.get_command(command_line)
    seen = 0
    for words in commands(page):
        found = root
        while words and hasattr(found, "list_commands"):
            choices = words.pop(0).split("/")
            context = found.make_context("sockudo", [], resilient_parsing=True)
            assert set(choices) <= set(found.list_commands(context)), f"there is no command {choices}"
            found = found.get_command(context, choices[0])
        options = {name for option in found.params for name in (*option.opts, *option.secondary_opts)}
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used <= options, f"{found.name} does not have {used - options}"
        seen += 1
    assert seen > (0 if page == "recovery.md" else 5)


class _Loop:
    worst_ms = 0.0
    stalls = 0

    def take_worst_ms(self) -> float:
        return 0.0


async def test_metrics_exist() -> None:
    hub = Hub(lambda _: None, lambda: 0.0, HubOptions())
    clock = FakeClock()
    history = History(MemoryHistoryStore(), clock)
    durable = Component.opened("history", history)
    presence = PresenceHistory(history, lambda _: None, clock, durable=durable, node_id="n1", is_alive=lambda _: True)
    exposition = Metrics(
        HubView(hub),
        refused=Counter(),
        limits=lambda: None,
        loop=_Loop(),
        prefix="sockudo_",
        port=1,
        sources=[
            lambda: history_measures(HistorySources(lambda: history, lambda: presence)),
            lambda: node_measures(join_carrier(MemoryBroker().carrier(), "n1"), "nats", OwnerCounts()),
        ],
    ).render()
    known = {line.split()[2] for line in exposition.decode().splitlines() if line.startswith("# TYPE ")}
    text = TEXTS["operations.md"]
    named = set(re.findall(r"\b(?:sockudo|process)_[a-z_]+[a-z]", text)) - {"sockudo_servers"}
    assert {name.removesuffix("_bucket") for name in named} - known == set()
    documented = {line for line in named if f"`{line}`" in text}
    own = {name for name in known if name.startswith("sockudo_")}
    assert own - documented == set(), "every metric of ours is in the table"


def test_error_types_exist() -> None:
    kinds = set(CATALOGUE) - set(_ERROR_TYPES) | set(_ERROR_TYPES.values())
    text = TEXTS["operations.md"]
    listed = re.search(r"Values of `error_type`: (.*?); everything else", text, re.DOTALL)
    assert listed is not None
    named = set(re.findall(r"`(\w+)`", listed[1]))
    for used in re.findall(r'error_type=~?"([^"]+)"', text):
        named.update(used.split("|"))
    assert named - kinds == set()


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]*)(?:#[^)]*)?\)", TEXTS[page]):
            assert not target or (DOCS / target).exists(), f"{page}: {target}"
        anchors = {
            re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
            for title in re.findall(r"^#+ (.*)$", TEXTS[page], re.MULTILINE)
        }
        inner = set(re.findall(r"\]\(#([^)]*)\)", TEXTS[page]))
        assert inner - anchors == set()


def test_the_server_is_installed_from_a_checkout() -> None:
    """A bare name, in a page or a text, would be looked for in a public index, where it can be another's package."""
    root = DOCS.parent
    texts = [*root.glob("*.md"), *DOCS.glob("*.md"), *(root / "src" / "sockudo").rglob("*.py")]
    bare = re.compile(r"(?:pipx?|uv) install[^\n]*[\s'\"]sockudo(?:\[|[\s'\"`.,)]|$)", re.MULTILINE)
    for path in texts:
        found = bare.search(path.read_text())
        assert found is None, f"{path.name}: {found and found[0]}"
        assert "npm install @sockudo" not in path.read_text(), path.name


def test_backups_name_every_file() -> None:
    section = TEXTS["operations.md"].partition("## Backups")[2].partition("\n## ")[0]
    for file in EMBEDDED_FILES:
        assert f"`{file.name}`" in section, file.name


def test_the_image_is_reached_by_other_containers() -> None:
    """Loopback of a container, where metrics and dashboard listen by default, is its own."""
    dockerfile = (DOCS.parent / "Dockerfile").read_text()
    given = dict(re.findall(r"^\s*(?:ENV )?([A-Z_]+)=(\S+)", dockerfile, re.MULTILINE))
    environment = {name: value for name, value in given.items() if name in variables()}
    assert environment.keys() == {"SOCKUDO_DATA_DIR", "METRICS_HOST"}
    settings = load(path=None, environ=environment, cwd=DOCS).settings
    assert (settings.metrics.host, Settings().metrics.host) == ("0.0.0.0", "127.0.0.1")
    exposed = re.findall(r"^EXPOSE (\d+) (\d+)$", dockerfile, re.MULTILINE)
    assert exposed == [(str(settings.port), str(settings.metrics.port))]
