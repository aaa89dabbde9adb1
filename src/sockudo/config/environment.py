"""Environment variables: our own, those of other servers, and those without effect here
(spec: platform § 1.2 to 1.5)."""

from __future__ import annotations

from collections.abc import Mapping

from sockudo.config import foreign, log_filter, misspelt, unsupported
from sockudo.config.draft import Draft
from sockudo.config.schema import declared, variables

__all__ = ["read", "settle_log_level"]

_LOG_PRESETS = {True: "SOCKUDO_LOG_DEBUG", False: "SOCKUDO_LOG_PROD"}


def read(draft: Draft, environ: Mapping[str, str]) -> None:
    """Puts every variable into the draft; an empty or blank one counts as not set."""
    given = {name: value for name, value in environ.items() if value.strip()}
    used = _read_own(draft, given)
    if used:
        draft.sources.append(f"environment: {', '.join(dict.fromkeys(used))}")
    _read_foreign(draft, given)
    _note_parts(draft, given)
    draft.warnings.extend(misspelt.notes(given))


def _read_own(draft: Draft, given: Mapping[str, str]) -> list[str]:
    used: list[str] = []
    for setting in declared().values():
        for name in setting.key.names:
            if name not in given or (name == "DEBUG" and not unsupported.switched_on(given[name])):
                continue
            if name == "RUST_LOG" and _unusable(given[name]):
                draft.warnings.append("RUST_LOG is not read: it is no list of level and logger=level")
                continue
            used.append(name)
            draft.read(setting, given[name], place="environment", name=name, origin=name)
            if name != "DEBUG_MODE":
                break
    return used


def _read_foreign(draft: Draft, given: Mapping[str, str]) -> None:
    for name, path in foreign.READ.items():
        if name not in given:
            continue
        setting = declared()[path]
        winner = draft.origins.get(path)
        if winner in setting.key.names or winner in foreign.READ:
            draft.warnings.append(f"{name} is not read: {winner} sets {path} already")
            continue
        draft.read(setting, given[name], place="environment", name=name, origin=name)
        draft.sources.append(f"{name} read as {setting.key.names[0] if setting.key.names else path}")
    by_advice: dict[str, list[str]] = {}
    for name in sorted(given):
        advice = foreign.advice(name)
        if advice is not None:
            by_advice.setdefault(advice, []).append(name)
    draft.warnings.extend(f"{', '.join(names)} not read: {advice}" for advice, names in by_advice.items())


def _note_parts(draft: Draft, given: Mapping[str, str]) -> None:
    idle: dict[str, list[str]] = {}
    for name in sorted(given):
        found = unsupported.part_of_variable(name)
        if found is None or name in variables():
            continue
        path, switch = found
        part = unsupported.part_of(path)
        reason = part[1] if part else "nothing reads it"
        if switch is not None:
            if unsupported.switched_on(given[name]):
                draft.problems.append(f"environment: {name} = {given[name]!r}: {reason}")
        else:
            idle.setdefault(reason, []).append(name)
    draft.warnings.extend(
        f"{', '.join(names)} {'has' if len(names) == 1 else 'have'} no effect: {reason}"
        for reason, names in idle.items()
    )
    if "CONFIG_FILE" in given:
        draft.warnings.append("CONFIG_FILE is not read: use --config")


def settle_log_level(draft: Draft, environ: Mapping[str, str]) -> None:
    """The filter in force: the command line, SOCKUDO_LOG, RUST_LOG, the preset for the mode, the file, a built-in."""
    debug = draft.values.get("debug", False)
    preset = _LOG_PRESETS[debug]
    origin = draft.origins.get("log_level")
    if environ.get(preset) and origin not in {"command line", "SOCKUDO_LOG", "RUST_LOG"}:
        draft.put("log_level", environ[preset], preset)
        draft.sources.append(f"log filter from {preset}")
    elif origin is None and debug:
        draft.put("log_level", log_filter.preset(debug=True), draft.origins["debug"])
    text = draft.values.get("log_level")
    problem = _unusable(text) if text is not None else None
    if problem:
        draft.problems.append(f"{draft.origins['log_level']}: the log filter {text!r} {problem}")


def _unusable(text: str) -> str | None:
    try:
        log_filter.parse(text)
    except ValueError as error:
        return str(error)
    return None
