"""The alert rules, judged by Prometheus' own tool."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests import needs
from tests.servers.prometheus import amtool, promtool
from tools.monitoring.rules import Alert, Record, alerts, records
from tools.monitoring.timing import Timing, duration

HERE = Path(__file__).parent
CASES = ("minutes.test.yml", "days.test.yml")
FOLDER = needs.ROOT / "dashboards"
_FIRES = re.compile(r'alertname="(\w+)"')


def run(*command: str) -> None:
    """Run a tool that must find nothing wrong."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_and_the_example_configurations_are_valid() -> None:
    """As Prometheus and Alertmanager read them."""
    run(promtool(), "check", "rules", "--lint-fatal", str(FOLDER / "streamgate.rules.yml"))
    run(promtool(), "check", "config", str(FOLDER / "prometheus.yml"))
    run(amtool(), "check-config", str(FOLDER / "alertmanager.yml"))


@pytest.mark.parametrize("cases", CASES)
def test_alerts_fire_where_they_must_and_keep_still_elsewhere(cases: str) -> None:
    """Each case of the file holds."""
    run(promtool(), "test", "rules", str(HERE / cases))


def test_every_alert_has_a_case_in_which_it_fires() -> None:
    """And the same case names what must keep still beside it."""
    expected: set[str] = set()
    for name in CASES:
        for case in yaml.safe_load((HERE / name).read_text(encoding="utf-8"))["tests"]:
            for check in case["promql_expr_test"]:
                for sample in check["exp_samples"]:
                    expected |= set(_FIRES.findall(sample["labels"]))
    assert expected == {alert.name for alert in alerts()}


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_an_alert_tells_what_is_wrong_and_what_to_do(alert: Alert) -> None:
    """Three texts in whole sentences, with the camera in the first or in its labels."""
    texts = [alert.summary, alert.description, alert.action]
    assert all(len(text) > 20 for text in texts)
    assert len(texts[0]) < 100
    assert not texts[0].endswith(".")
    assert all(text.endswith(".") for text in texts[1:])
    assert "$labels.camera" in texts[0] + texts[1]


def test_inhibitions_name_alerts_that_exist() -> None:
    """A misspelt alert would be told beside the one that says more."""
    names = {alert.name for alert in alerts()}
    config = yaml.safe_load((FOLDER / "alertmanager.yml").read_text(encoding="utf-8"))
    for rule in config["inhibit_rules"]:
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            value = matcher.split('"')[1]
            if value != "Streamgate.*":
                assert set(value.split("|")) <= names, matcher


def test_other_windows_change_nothing_but_durations() -> None:
    """The rules that are tried against a live camera are those of the fleet."""
    scaled = Timing(
        window_s=7, trend_s=11, hour_s=13, day_s=17, week_s=119,
        at_once_s=1, soon_s=2, later_s=3, long_s=4,
    )  # fmt: skip
    pattern = re.compile(r"\b\d+(s|m|h|d|w)\b")

    def shape(timing: Timing) -> list[tuple[str, str]]:
        everything: list[Alert | Record] = [*records(timing), *alerts(timing)]
        return [(rule.name, pattern.sub("T", rule.expr)) for rule in everything]

    assert shape(scaled) == shape(Timing())


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5s"), (90, "90s"), (300, "5m"), (7200, "2h"), (604_800, "1w")]
)
def test_durations_are_written_as_prometheus_reads_them(seconds: int, text: str) -> None:
    """In the largest unit that divides them."""
    assert duration(seconds) == text
