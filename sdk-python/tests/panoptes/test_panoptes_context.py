"""What a plugin gets with a run: enrichment, settings, a logger; and plugins that are run by hand."""

import pytest
from panoptes_support import POLLING, Host, checked, info, resource, write
from test_panoptes_job import fields, polling, resources_file

from pythond import dialects
from pythond.dialects import panoptes

# --- enrichment, secrets, log ---

ENRICHMENT = """
from yahoo_panoptes.enrichment.enrichment_plugin import PanoptesEnrichmentPlugin
from yahoo_panoptes.enrichment.schema.heartbeat import PanoptesHeartbeatEnrichmentGroup
from yahoo_panoptes.framework.enrichment import PanoptesEnrichmentGroupSet, PanoptesEnrichmentSet


class E(PanoptesEnrichmentPlugin):
    def run(self, context):
        group = PanoptesHeartbeatEnrichmentGroup(600, 60)
        group.add_enrichment_set(PanoptesEnrichmentSet("ping", {"timestamp": 1.5}))
        found = PanoptesEnrichmentGroupSet(context.data)
        found.add_enrichment_group(group)
        return found
"""


def test_what_an_enrichment_unit_finds_a_polling_unit_reads_until_its_time_is_over(tmp_path):
    given = resources_file(tmp_path, resource("a"))
    write(tmp_path / "e" / "e.py", ENRICHMENT)
    path = write(tmp_path / "e" / "e.panoptes-plugin", info("E", "e"))
    maker = checked(path, Host(tmp_path, id="panoptes.E", resources=given), "enrichment")
    maker.run()
    body = "value = context.enrichment.get_enrichment_value('self', 'heartbeat_ns', 'ping')['timestamp']"
    code = POLLING.replace('"v", 1', '"v", value').replace("        groups =", f"        {body}\n        groups =")
    more = "[enrichment]\npreload = self:heartbeat_ns\n"
    job, host = polling(tmp_path, code=code, host=Host(tmp_path, resources=given), more=more)
    job.run()
    assert fields(host) == [{"v__gauge": 1.5}]
    later = job._shared.store.clock() + 601
    job._shared.store.clock = lambda: later
    job._runs.all_now()
    with pytest.raises(Exception, match="Failed to get data for resource a namespace heartbeat_ns"):
        job.run()
    job.stop()
    maker.stop()


def test_there_is_no_enrichment_without_its_section(tmp_path):
    job, host = polling(tmp_path, "assert context.enrichment is None")
    job.run()
    job.stop()
    assert len(host.rows) == 1


def test_the_context_has_what_the_settings_say(tmp_path):
    body = (
        "assert context.sites == {'local', 'east'}; assert context.snmp['port'] == 1161; "
        "assert context.snmp['retries'] == 1; assert context.secrets.get_by_site('pw', 'local') == 'x'; "
        "assert context.kv.getset('n', 'v') is None; context.config['main']['mine'] = 'changed'; "
        "assert context.config['nothing'] == {}"
    )
    host = Host(
        tmp_path,
        resources=resources_file(tmp_path, resource("a")),
        sites=["local", "east"],
        snmp={"port": 1161},
        secrets={"pw:default": "x"},
    )
    job, _ = polling(tmp_path, body, host=host)
    job.run()
    job.stop()
    assert len(host.rows) == 1
    assert "mine" not in job._plugin.config()["main"]


def test_the_log_says_of_which_run_a_line_is(tmp_path, capsys):
    job, _ = polling(
        tmp_path,
        "context.logger.info('100%% of %s', 5); context.logger.debug('no'); context.logger.getChild('x').warn('w')",
        name="Tutorial Plugin",
    )
    job.run()
    job.stop()
    said = capsys.readouterr().err.splitlines()
    assert said == ["INFO Tutorial Plugin[a] : 100% of 5", "WARNING Tutorial Plugin[a] : w"]


# --- by hand ---


def test_once_runs_everything_at_once_each_time_and_prints_the_groups(tmp_path, capsys):
    given = [resource(str(number)) for number in range(30)]
    host = Host(tmp_path, mode="once", resources=resources_file(tmp_path, *given), concurrency=4)
    job, _ = polling(tmp_path, host=host)
    job.run()
    assert len(host.rows) == 30
    job.run()
    assert len(host.rows) == 60
    assert capsys.readouterr().out.count('"metrics_group_type": "g"') == 60
    job.stop()


def test_once_may_be_against_one_resource(tmp_path):
    given = resources_file(tmp_path, resource("a"), resource("b"))
    job, host = polling(tmp_path, host=Host(tmp_path, mode="once", resources=given, resource="b"))
    job.run()
    job.stop()
    assert [row.tags["resource_endpoint"] for row in host.rows] == ["b"]


def by_hand(tmp_path, path, **settings):
    host = Host(tmp_path, mode="once", resources=resources_file(tmp_path, resource("a")), **settings)
    panoptes.load(dialects.Unit("x", str(path), roots=[str(tmp_path)], input="panoptes"), host)
    (job,) = host.jobs
    job.check()
    job.run()
    job.stop()
    return host, job


def test_a_module_alone_runs_with_the_info_file_beside_it(tmp_path):
    path = write(tmp_path / "p" / "x.py", POLLING)
    write(tmp_path / "p" / "other.panoptes-plugin", info("Other", "other.py"))
    write(tmp_path / "p" / "mine.panoptes-plugin", info("Mine", "/container/x.py", every=30))
    host, job = by_hand(tmp_path, path)
    assert (job.key, job.every, len(host.rows)) == ("Mine", 30.0, 1)


def test_of_several_info_files_of_a_module_one_that_is_well_is_taken(tmp_path):
    path = write(tmp_path / "p" / "x.py", POLLING)
    write(tmp_path / "p" / "a.panoptes-plugin", info("A", query="nonsense"))
    write(tmp_path / "p" / "b.panoptes-plugin", info("B"))
    write(tmp_path / "p" / "x.panoptes-plugin", info("X", more="[x"))
    assert by_hand(tmp_path, path)[1].key == "B"
    write(tmp_path / "p" / "x.panoptes-plugin", info("X"))
    assert by_hand(tmp_path, path)[1].key == "X"


def test_a_module_without_an_info_file_runs_with_defaults_and_a_note(tmp_path):
    host, job = by_hand(tmp_path, write(tmp_path / "p" / "x.py", POLLING))
    assert (job.key, job.every, len(host.rows)) == ("x", 60.0, 1)
    assert "has no `*.panoptes-plugin` file beside it" in host.warnings[0][1]


def test_the_type_of_an_info_file_by_hand_is_that_of_its_module(tmp_path):
    write(tmp_path / "e" / "e.py", ENRICHMENT)
    _, job = by_hand(tmp_path, write(tmp_path / "e" / "e.panoptes-plugin", info("E", "e")))
    assert job._plugin.type == "enrichment"
