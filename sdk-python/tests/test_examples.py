"""Every collector that is shipped runs and reports."""

import os

import pytest

from support import CORE, frames_of, jobs_of, one

SHIPPED = os.path.join(os.path.dirname(CORE), "python.d")
SCRIPTS = sorted(
    os.path.join(folder, name)
    for folder, folders, names in os.walk(SHIPPED)
    if os.path.relpath(folder, SHIPPED).split(os.sep)[0] != "core"
    for name in names
    if name.endswith(".py") and not name.endswith(".chart.py")
)


def test_there_are_examples():
    assert os.path.join(SHIPPED, "Demo", "demo.py") in SCRIPTS


@pytest.mark.parametrize("path", SCRIPTS, ids=[os.path.basename(path) for path in SCRIPTS])
def test_a_shipped_collector_runs_and_reports(agent, path):
    config = {"url": "http://{}:{}/v1/ping".format(*agent.address)}
    frames, status = frames_of(path, "once", agent=agent, spec={"config": config, "times": 2})
    for end in (frame for frame in frames if frame["t"] == "end"):
        assert end["ok"], end
        assert end["points"] > 0
    assert status == 0
    assert one(frames, "ready") and jobs_of(frames)
    assert [frame for frame in frames if frame["t"] in ("warn", "refused")] == []
    agent.assert_no_rejections()


def test_the_demo_reports_its_metric_each_time_and_its_start_once(agent):
    frames_of(os.path.join(SHIPPED, "Demo", "demo.py"), "once", agent=agent, spec={"times": 3})
    assert [point.measurement for point in agent.points if point.category == "metric"] == ["demo"] * 3
    events = [point for point in agent.points if point.category == "keyevent"]
    assert [event.fields["df_status"] for event in events] == ["info"]
    agent.assert_metric("demo", tags={"platform": str}, fields={"load1": float, "cpus": int})
