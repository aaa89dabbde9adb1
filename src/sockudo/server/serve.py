"""``sockudo serve``: options to overrides, then `sockudo.server.process` takes over."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sockudo.cli.outcome import ExitCode, note

if TYPE_CHECKING:
    from sockudo.config import Loaded

__all__ = ["serve"]


def serve(
    *,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="Configuration file, TOML or JSON.")
    ] = None,
    dev: Annotated[
        bool,
        typer.Option("--dev", help="For development: known credentials, every feature on, loopback only."),
    ] = False,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = None,
    metrics_port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port of the Prometheus metrics.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the files that the server keeps.")
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(metavar="N", help="Processes that share the port, one for each core that is to be used; or auto."),
    ] = None,
    shared_stores: Annotated[
        bool, typer.Option("--shared-stores", help="Start although another server uses the same data_dir or database.")
    ] = False,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="With --dev: pages of this origin may use the server too, like https://shop.example. May be repeated.",
        ),
    ] = None,
    log_level: Annotated[str | None, typer.Option(metavar="LEVEL", help="debug, info, warning or error.")] = None,
    log_format: Annotated[str | None, typer.Option(metavar="FORMAT", help="text or json.")] = None,
) -> None:
    """Run the server until SIGTERM or Ctrl-C. SIGHUP reads the configuration again.

    With several workers, what a running one cannot take over then has them replaced one by one, and no connection is
    refused meanwhile; `sockudo restart` replaces them in any case.
    """
    overrides = {
        "host": host,
        "port": port,
        "metrics.port": metrics_port,
        "workers": workers,
        "data_dir": None if data_dir is None else str(data_dir),
        "instance.shared_stores": True if shared_stores else None,
        "dev_origins": allow_origin or None,
        "log_level": log_level,
        "log_format": log_format,
    }

    def load() -> Loaded:
        import os

        from sockudo.config import load as read

        return read(path=config, environ=os.environ, cwd=Path.cwd(), dev=dev, overrides=overrides)

    # Nothing of what a start makes is garbage, and looking for some costs a tenth of it; `run` switches it on again.
    gc.disable()
    from sockudo.config import ConfigError
    from sockudo.server.began import BEGAN
    from sockudo.server.process import run

    try:
        code = run(load, BEGAN)
    except ConfigError as error:
        typer.secho("The configuration cannot be used:", fg=typer.colors.RED, err=True)
        for problem in error.located:
            note(f"  • {problem}")
        raise typer.Exit(ExitCode.REFUSED) from None
    finally:
        gc.enable()
    raise typer.Exit(code)
