"""Push: its keys, its rules, which variable wins, and what is never shown (spec: push § 8 to 10)."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from sockudo.config import Loaded, Settings
from sockudo.config.push_rules import PushRule, read_rules
from sockudo.config.schema import declared
from sockudo.config.show import MASK, as_toml, as_tree

Load = Callable[..., Loaded]
Problems = Callable[..., tuple[str, ...]]


def test_what_lasts_is_the_default() -> None:
    push = Settings().push
    assert (push.storage_driver, push.queue_driver, push.in_memory) == ("sqlite", "sqlite", False)
    assert not any((push.fcm_enabled, push.apns_enabled, push.webpush_enabled, push.hms_enabled, push.wns_enabled))
    assert push.credential_encryption_key is None


def test_dev_has_everything_on_and_nothing_on_disk(loaded: Load) -> None:
    push = loaded(dev=True).settings.push
    assert push.in_memory
    assert push.fcm_enabled
    assert push.credential_encryption_key is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("storage_driver", "dynamodb"),
        ("storage_driver", "scylladb"),
        ("queue_driver", "kafka"),
        ("queue_driver", "sns"),
        ("queue_driver", "google_pubsub"),
    ],
)
def test_a_driver_of_another_version_is_refused_with_those_that_work(key: str, value: str, problems: Problems) -> None:
    (told,) = problems(f"[push]\n{key} = '{value}'")
    assert told.startswith(f"sockudo.toml: push.{key} = '{value}' is not supported by this version; the values are ")
    assert "'sqlite', 'memory', 'postgres', 'mysql'" in told


def test_other_spellings_of_a_driver(loaded: Load) -> None:
    assert loaded("[push]\nstorage_driver = 'pgsql'").settings.push.storage_driver == "postgres"
    assert loaded(env={"PUSH_QUEUE_DRIVER": "MariaDB"}).settings.push.queue_driver == "mysql"


def test_keys_that_nobody_reads_load_without_a_word(loaded: Load) -> None:
    got = loaded(
        """
        [push]
        accept_worker_count = 3
        queue_partition_count = 64
        channel_shard_count = "x"
        fanout_sync_threshold = 1
        stale_device_max_age_days = 90
        scheduler_interval_secs = 5
        dry_run = true
        analytics_enabled = true
        fcm_credential_ref = "a"
        wns_credential_ref = "b"
        kms_key_ref = "c"
        vault_secret_ref = "d"
        [push.payload_redaction]
        enabled = true
        [push.default_quotas]
        inflight_max = 5
        acceptance_rps = 7
        """,
        env={"PUSH_ACCEPT_WORKER_COUNT": "3", "PUSH_DRY_RUN": "1", "PUSH_DEFAULT_INFLIGHT_MAX": "2"},
    )
    assert got.warnings == ()
    assert got.settings.push.default_quotas.acceptance_rps == 7


def test_unknown_keys_are_refused_and_unknown_variables_told(problems: Problems, loaded: Load) -> None:
    assert problems("[push]\nstorage = 'x'") == (
        "sockudo.toml: unknown key 'push.storage'; did you mean 'push.storage_driver'?",
    )
    (told,) = problems("[push.providers.fcm]\nproject_id = 'x'")
    assert told.startswith("sockudo.toml: unknown key 'push.providers'")
    assert loaded(env={"PUSH_STORAGE_DRIVERS": "sqlite"}).warnings == (
        "PUSH_STORAGE_DRIVERS is not known; did you mean PUSH_STORAGE_DRIVER?",
    )


@pytest.mark.parametrize(
    ("environ", "project"),
    [
        ({"FCM_PROJECT_ID": "bare", "PUSH_FCM_PROJECT_ID": "prefixed"}, "bare"),
        ({"PUSH_FCM_PROJECT_ID": "prefixed"}, "prefixed"),
        ({"FCM_PROJECT_ID": "", "PUSH_FCM_PROJECT_ID": "prefixed"}, "prefixed"),
        ({"FCM_PROJECT_ID": "  "}, None),
        ({}, None),
    ],
)
def test_variables_of_providers(environ: dict[str, str], project: str | None, loaded: Load) -> None:
    assert loaded(env=environ).settings.push.fcm.project_id == project


def test_the_key_file_of_google_is_the_last_to_be_asked(loaded: Load) -> None:
    environ = {"GOOGLE_APPLICATION_CREDENTIALS": "/g.json"}
    assert loaded(env=environ).settings.push.fcm.service_account_json_path == "/g.json"
    environ["PUSH_FCM_SERVICE_ACCOUNT_JSON_PATH"] = "/own.json"
    assert loaded(env=environ).settings.push.fcm.service_account_json_path == "/own.json"


def test_a_limit_of_zero_lets_nothing_through_and_one_of_the_file_is_no_limit(loaded: Load) -> None:
    assert loaded(env={"PUSH_FANOUT_MAX": "0"}).settings.push.fanout_max == 0
    assert loaded(env={"PUSH_FANOUT_MAX": "none"}).settings.push.fanout_max is None
    assert loaded(env={"PUSH_DEFAULT_FANOUT_MAX": "0"}).settings.push.fanout_max is None
    toml = "[push.default_quotas]\nfanout_max = 9\ndelivery_quota_daily = 8"
    assert loaded(toml).settings.push.fanout_max == 9
    got = loaded(toml, env={"PUSH_FANOUT_MAX": "0", "PUSH_PROVIDER_APNS_DAILY_QUOTA": "4"}).settings.push
    assert (got.fanout_max, got.delivery_quota_daily, got.quotas.apns) == (0, 8, 4)


def test_memory_is_refused_in_production_only_while_something_is_sent(problems: Problems, loaded: Load) -> None:
    assert loaded("[push]\nqueue_driver = 'memory'").settings.push.in_memory
    (told,) = problems("[push]\nqueue_driver = 'memory'\nfcm_enabled = true")
    assert told == (
        "sockudo.toml: push.queue_driver = 'memory' would lose notifications with the process, and push.fcm_enabled is "
        "true: use 'sqlite', set push.allow_memory_drivers, or a `mode` other than 'production'"
    )
    loaded("[push]\nqueue_driver = 'memory'\nfcm_enabled = true\nallow_memory_drivers = true")
    loaded("mode = 'staging'\n[push]\nstorage_driver = 'memory'\nfcm_enabled = true")


def test_numbers_of_retries(problems: Problems) -> None:
    assert problems("[push.retry]\nmax_attempts = 101") == (
        "sockudo.toml: push.retry.max_attempts = 101 is not a whole number from 1 to 100",
    )
    assert problems(env={"PUSH_RETRY_INITIAL_BACKOFF_MS": "99", "PUSH_RETRY_MAX_BACKOFF_MS": "10"}) == (
        "PUSH_RETRY_INITIAL_BACKOFF_MS: push.retry.initial_backoff_ms = 99 is more than push.retry.max_backoff_ms = 10",
    )


def test_local_endpoints_are_told_where_others_can_reach_the_server(loaded: Load) -> None:
    (told,) = loaded(env={"PUSH_ALLOW_LOCAL_WEB_PUSH_ENDPOINTS": "1"}).warnings
    assert told.startswith("push.webpush.allow_local_endpoints: who registers")
    assert loaded(env={"PUSH_ALLOW_LOCAL_WEB_PUSH_ENDPOINTS": "1", "HOST": "127.0.0.1"}).warnings == ()


def test_no_secret_is_shown(loaded: Load) -> None:
    secret = [s for path, s in declared().items() if path.startswith("push.") and s.key.secret]
    assert {setting.path.rpartition(".")[2] for setting in secret} == {
        "credential_encryption_key", "service_account_json", "provider_token", "private_key", "vapid_private_key",
    }  # fmt: skip
    got = loaded(env={setting.key.names[0]: f"planted-{n}" for n, setting in enumerate(secret)})
    for shown in (as_toml(got), json.dumps(as_tree(got)), repr(got.settings.push), str(got.sources)):
        assert "planted" not in shown
    assert as_tree(got)["push"]["credential_encryption_key"] == MASK
    for part in (got.settings.push.fcm, got.settings.push.apns, got.settings.push.webpush):
        assert "planted" not in repr(part)


RULE = """
[[push_rules]]
channel_pattern = "parcel-*"
event_filter = ["shipped"]
"""


def test_a_rule_and_its_defaults(loaded: Load) -> None:
    got = loaded(RULE)
    (rule,) = got.settings.push_rules
    assert (rule.enabled, rule.rate_limit_per_second, rule.payload_mapping.title_field) == (True, 100, "title")
    assert as_tree(got)["push_rules"][0]["payload_mapping"]["template_data_field"] == "data"
    assert loaded(as_toml(got)).settings.push_rules == (rule,)
    assert got.warnings == ()


@pytest.mark.parametrize(
    ("pattern", "channel", "event", "matches"),
    [
        ("parcel-*", "parcel-1", "shipped", True),
        ("parcel-*", "parcel-", "shipped", True),
        ("parcel-*", "parcel", "shipped", False),
        ("parcel-*", "parcel-1", "lost", False),
        ("parcel", "parcel", "shipped", True),
        ("parcel", "parcel-1", "shipped", False),
        ("*", "anything", "shipped", True),
    ],
)
def test_which_events_a_rule_means(pattern: str, channel: str, event: str, matches: bool) -> None:
    assert PushRule(pattern, ("shipped",)).matches(channel, event) is matches
    assert not PushRule(pattern, ("shipped",), enabled=False).matches(channel, event)


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({"event_filter": ["a"]}, "the required field 'channel_pattern' is missing"),
        ({"channel_pattern": "", "event_filter": ["a"]}, "channel_pattern must be 1 to 256 bytes"),
        ({"channel_pattern": "é" * 129, "event_filter": ["a"]}, "channel_pattern must be 1 to 256 bytes"),
        ({"channel_pattern": "a*b", "event_filter": ["a"]}, "channel_pattern = 'a*b' may have one '*', at its end"),
        ({"channel_pattern": "**", "event_filter": ["a"]}, "channel_pattern = '**' may have one '*', at its end"),
        ({"channel_pattern": "a", "event_filter": []}, "event_filter must have 1 to 32 events"),
        ({"channel_pattern": "a", "event_filter": ["e"] * 33}, "event_filter must have 1 to 32 events"),
        ({"channel_pattern": "a", "event_filter": [""]}, "event_filter: an event must be 1 to 200 bytes"),
        ({"channel_pattern": "a", "event_filter": ["e" * 201]}, "event_filter: an event must be 1 to 200 bytes"),
        (
            {"channel_pattern": "a", "event_filter": ["a"], "rate_limit_per_second": 0},
            "rate_limit_per_second = 0 is not a whole number of 1 or more",
        ),
        (
            {"channel_pattern": "a", "event_filter": ["a"], "payload_mapping": {"body_field": ""}},
            "payload_mapping.body_field is empty",
        ),
        (
            {"channel_pattern": "a", "event_filter": ["a"], "payload_mapping": {"titel": "x"}},
            "field 'payload_mapping': the field 'titel' is not known",
        ),
    ],
)
def test_a_rule_that_is_refused(rule: dict[str, object], problem: str) -> None:
    assert read_rules([rule], "push_rules")[1] == [f"push_rules[0]: {problem}"]


def test_the_bounds_of_a_rule_are_within_it(problems: Problems) -> None:
    rules, told = read_rules(
        [{"channel_pattern": "a" * 256, "event_filter": ["e" * 200] * 32, "rate_limit_per_second": 1}], "push_rules"
    )
    assert len(rules) == 1
    assert told == []
    assert problems("push_rules = 5") == ("sockudo.toml: push_rules is not a list of rules",)
