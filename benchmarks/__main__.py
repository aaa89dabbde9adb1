"""``scripts/bench``: measures the server beside uWebSockets.js and a bare C loop, and prints one table.

With --v2 it measures protocol V2 beside V1, and what is stored beside what is not; with --operators what webhooks and watchers cost, and
how fast the dashboard is; with --push how many notifications it takes and delivers; with --features what all features together cost; with --cluster what
several nodes cost. Everything runs on this machine, over loopback: the server on one core, the load generator on another. Rates are
per second of CPU time that the server used, which a busy neighbour disturbs less than wall time.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from benchmarks import cluster, features, operators, push, v2
from benchmarks.docs import write_docs
from benchmarks.loads import GENERATOR_LOADS, LOADS
from benchmarks.peers import PEERS
from benchmarks.report import comparison, head, noise, plain, targets
from benchmarks.results import Results
from benchmarks.session import Plan, measure
from benchmarks.tools import Missing, build_generator

_EXAMPLES = """examples:
  scripts/bench --quick                     one short repetition of everything
  scripts/bench --rows fan-1,publish        only these
  scripts/bench --write-docs                measures, and puts the table into docs/benchmarks.md
  scripts/bench --peers --json peers.json   every peer that can be built here beside every other
  scripts/bench --v2 --quick                protocol V2: recovery, history, filters, deltas; about three minutes
  scripts/bench --v2 --rows fan,sqlite      only these of its rows
  scripts/bench --operators --quick         webhooks, the inspector and the dashboard; about two minutes
  scripts/bench --push --quick              notifications: admission, FCM, Web Push, and people on line beside them
  scripts/bench --features --quick          history, recovery, filters, deltas and webhooks all on; about four minutes
  scripts/bench --cluster --quick           workers, nodes over Redis, NATS and PostgreSQL, and Centrifugo; about three minutes
  scripts/bench --from peers.json --peers   prints the tables of an earlier run
"""


def _names(known: list[str], what: str) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown {what} {', '.join(unknown)}; there are {', '.join(known)}")
        return names

    return parse


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one repetition of 2 s each instead of three of 4 s")
    parser.add_argument("--repetitions", type=int, metavar="N", help="so many instead")
    parser.add_argument("--seconds", type=float, metavar="S", help="so long for each load instead")
    parser.add_argument("--rows", type=_names([*LOADS, *v2.GROUPS, *operators.GROUPS, *push.GROUPS, *features.GROUPS, *cluster.GROUPS], "row"), metavar="A,B", help="only these loads: " + ", ".join(LOADS) + "; with --v2: " + ", ".join(v2.GROUPS) + "; with --operators: " + ", ".join(operators.GROUPS) + "; with --push: " + ", ".join(push.GROUPS) + "; with --cluster: " + ", ".join(cluster.GROUPS))
    parser.add_argument("--v2", action="store_true", help="protocol V2 instead: its speed, durable publishes, recovery, filters and deltas")
    parser.add_argument("--operators", action="store_true", help="what webhooks and watchers cost, and how fast the dashboard is, instead")
    parser.add_argument("--push", action="store_true", help="how many notifications are taken and delivered, and what live events cost beside them, instead")
    parser.add_argument("--features", action="store_true", help="the server as it starts beside one with every feature on, instead")
    parser.add_argument("--cluster", action="store_true", help="workers, and nodes over brokers, beside one node and Centrifugo, instead")
    parser.add_argument("--peers", nargs="?", const=list(PEERS), type=_names(list(PEERS), "peer"), metavar="A,B", help="the comparison of all peers, or of these: " + ", ".join(PEERS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run there, after each one")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="source", help="measure nothing: use the runs of such a file")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/benchmarks.md")
    options = parser.parse_args()
    if sum(map(bool, (options.v2, options.operators, options.push, options.features, options.cluster, options.peers))) > 1:
        parser.error("--v2, --operators, --push, --features, --cluster and --peers are tables of their own")
    if unknown := set(options.rows or ()) - set(_known(options)):
        parser.error(f"no rows of this table: {', '.join(sorted(unknown))}")
    return options


def _own_table(options: argparse.Namespace) -> ModuleType | None:
    """The package that measures a table of its own."""
    own = {"v2": v2, "operators": operators, "push": push, "features": features, "cluster": cluster}
    return next((module for name, module in own.items() if getattr(options, name)), None)


def _known(options: argparse.Namespace) -> list[str]:
    own = _own_table(options)
    return list(LOADS if own is None else own.GROUPS)


def _command(options: argparse.Namespace) -> str:
    """The command that gives such a table again."""
    parts = ["scripts/bench"]
    parts += [f"--{name}" for name in ("v2", "operators", "push", "features", "cluster") if getattr(options, name)]
    parts += ["--quick"] if options.quick else []
    parts += ["--write-docs"] if options.write_docs else []
    for name in ("rows", "peers"):
        if chosen := getattr(options, name):
            parts += [f"--{name}"] + ([",".join(chosen)] if chosen != list(PEERS) else [])
    for name in ("repetitions", "seconds"):
        if value := getattr(options, name):
            parts += [f"--{name}", f"{value:g}"]
    return " ".join(parts)


def _results(options: argparse.Namespace) -> Results:
    if options.source:
        return Results.read(options.source)
    build_generator()
    plan = Plan(
        peers=options.peers or ["sockudo", "uws", "bun", "starlette"],
        loads=_loads(options),
        repetitions=options.repetitions or (1 if options.quick else 3),
        seconds=options.seconds or (2 if options.quick else 4),
        quick=options.quick,
        command=_command(options),
        save_to=options.json,
    )
    own = _own_table(options)
    return measure(plan) if own is None else own.measure(plan)


def _loads(options: argparse.Namespace) -> list[str]:
    if _own_table(options) is not None:
        return options.rows or _known(options)
    return [name for name in options.rows or LOADS if not options.peers or name in GENERATOR_LOADS]


def _part(options: argparse.Namespace) -> str:
    """The part of the page that the table belongs to."""
    return next((name for name in ("v2", "operators", "push", "features", "cluster", "peers") if getattr(options, name)), "targets")


def _tables(results: Results, options: argparse.Namespace) -> list[str]:
    if options.peers:
        return [f"{title}\n\n{plain(table)}" for title, table in comparison(results)]
    own = _own_table(options)
    return [plain(targets(results) if own is None else own.table(results))]


def main() -> int:
    """Exit code 0, also when a row is not reached; 1 when a run of the server failed; 2 when nothing can be built."""
    options = _options()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # stopped halfway, it still stops its servers
    try:
        results = _results(options)
    except Missing as missing:
        print(f"bench: {missing}", file=sys.stderr)
        return 2
    if options.write_docs:
        write_docs(results, _part(options))
    print("\n\n".join(filter(None, ["\n".join(head(results)), *_tables(results, options), noise(results)])))
    return int(any((_own_table(options) or run["peer"] == "sockudo") and not run["figures"]["ok"] for run in results.runs))


if __name__ == "__main__":
    sys.exit(main())
