"""The test kit: what it shows when a point is missing."""

import pytest

from datakit_framework import DataKitFramework
from pythond.testing import run_once


class Disk(DataKitFramework):
    def __init__(self, device="sda"):
        super().__init__()
        self.device = device

    def run(self):
        self.feed_metric(measurement="disk_wait", tags={"dev": self.device}, fields={"r_await": 0.4, "n": 3})


def test_a_point_is_found_by_values_and_types(agent):
    run_once(Disk, device="sdb")
    point = agent.assert_metric("disk_wait", tags={"dev": "sdb"}, fields={"r_await": float, "n": 3})
    assert point.fields == {"r_await": 0.4, "n": 3}
    agent.assert_no_rejections()


@pytest.mark.parametrize(
    "wanted, hint",
    [
        ({"measurement": "disk_await"}, "name is `disk_wait` (0.95)"),
        ({"measurement": "disk_wait", "tags": {"dev": "sdb"}}, "tag `dev` is 'sda', not 'sdb'"),
        ({"measurement": "disk_wait", "fields": {"r_wait": float}}, "field `r_wait` is missing; there is `r_await`"),
        ({"measurement": "disk_wait", "fields": {"n": str}}, "field `n` is 3, not a str"),
        ({"measurement": "disk_wait", "category": "logging"}, "category is metric"),
    ],
)
def test_a_near_miss_is_shown_with_what_differs(agent, wanted, hint):
    run_once(Disk())
    with pytest.raises(AssertionError) as caught:
        agent.assert_point(**wanted)
    assert hint in str(caught.value)
    assert "nearest: metric disk_wait  tags dev=sda  fields r_await=0.4 n=3" in str(caught.value)


def test_nothing_reported_is_said(agent):
    with pytest.raises(AssertionError, match="nothing was reported"):
        agent.assert_point("m")


def test_rejections_are_named(agent):
    Disk().feed_system_event(df_status="bad", df_event_id="e", df_title="t")
    with pytest.raises(AssertionError, match=r"keyevent.0.: `df_status` is `bad`"):
        agent.assert_no_rejections()
