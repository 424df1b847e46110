import shutil
import sqlite3
import time
from functools import partial

import pytest
from sqlalchemy import create_engine

import jobs
from app_pages import APP, opened, texts
from db import queries, store
from db.engine import migrate, open_database, open_readonly
from db.verdicts import RegressionRow, SeriesKey, SuspectRow
from example_records import FP16, K8V4, M2_PRO, M5_MAX, build, cells, fill, record
from worker.job import Cell, Job

VIEWS = ["tonight", "devices", "bandwidth", "commits", "caches", "quality", "trust", "run"]

pytestmark = pytest.mark.slow


@pytest.fixture
def open_page(monkeypatch):
    return partial(opened, monkeypatch)


@pytest.mark.parametrize("view", VIEWS)
def test_every_page_opens_without_an_error(open_page, example_database, view):
    app = open_page(example_database, view)
    assert not app.exception
    assert not app.error
    assert app.title[0].value.lower() == view


@pytest.mark.parametrize("view", VIEWS)
def test_a_page_without_records_says_what_to_run(open_page, tmp_path, view):
    open_database(str(tmp_path / "empty.db")).dispose()
    app = open_page(tmp_path / "empty.db", view)
    assert not app.exception
    assert "`farm " in texts(app.info)


def test_a_farm_without_records_does_not_say_that_every_record_counts(open_page, tmp_path):
    open_database(str(tmp_path / "empty.db")).dispose()
    app = open_page(tmp_path / "empty.db", "trust")
    assert "no record yet" in texts(app.info)
    assert not app.success


def test_a_host_says_whether_it_was_ready(open_page, tmp_path):
    path = tmp_path / "farm.db"
    engine = open_database(str(path))
    for device, details in (
        (M5_MAX, {"not_ready": []}),
        (M2_PRO, {"not_ready": ["the GPU is used to 40%"]}),
    ):
        one = record(device, next(cells()), 0, run=device.host)
        one = one.model_copy(update={"details": details})
        store.record_run(engine, one.job.run, "smoke", one.started, [one.job])
        store.record_result(engine, one)
    engine.dispose()
    hosts = open_page(path).dataframe[-1].value.set_index("host")
    assert dict(hosts["ready"]) == {"laptop": "yes", "mini": "another process used the GPU to 40%"}
    assert hosts.loc["mini", "power"] == "ac, automatic"


def test_records_that_do_not_count_are_not_passed_over_in_silence(open_page, tmp_path):
    path = tmp_path / "farm.db"
    engine = open_database(str(path))
    one = record(M5_MAX, next(cells()), 0).model_copy(update={"invalid": jobs.BUSY})
    store.record_run(engine, one.job.run, "smoke", one.started, [one.job])
    store.record_result(engine, one)
    engine.dispose()
    warnings = texts(open_page(path, "devices").warning)
    assert "1 of 1 records" in warnings
    assert jobs.BUSY[0].sentence in warnings


def test_where_no_speed_counts_but_memory_does_the_pages_say_both(open_page, tmp_path):
    path = tmp_path / "farm.db"
    engine = open_database(str(path))
    for cell in cells():
        if cell.benchmark in ("decode", "memory"):
            one = record(M5_MAX, cell, 0).model_copy(update={"invalid": jobs.BUSY})
            store.record_run(engine, one.job.run, "smoke", one.started, [one.job])
            store.record_result(engine, one)
    engine.dispose()
    app = open_page(path, "devices")
    assert "No speed counts at this build" in texts(app.info)
    assert "KV memory" in texts(app.markdown)
    assert "memory is on Devices" in texts(open_page(path, "caches").info)


def test_devices_under_other_conditions_are_not_ranked_together(open_page, example_database):
    app = open_page(example_database, "devices")
    assert "mlx 0.31.1 instead of 0.32.4" in texts(app.warning)
    first, second = (frame.value for frame in app.dataframe[:2])
    assert set(first["device"]) & set(second["device"]) == set()


def test_a_filter_changes_the_table(open_page, example_database):
    app = open_page(example_database, "devices")
    app.selectbox(key="metric").set_value("kv_bytes").run()
    assert "KV memory" in app.markdown[0].value.replace("\\", "")
    assert app.query_params["metric"] == "kv_bytes"


def test_a_link_opens_its_view(open_page, example_database):
    app = open_page(
        example_database, "caches", context="4K", device="Apple M5 Max, 40 GPU cores, 128 GB"
    )
    assert app.selectbox(key="context").value == 4096
    assert "M5 Max" in app.selectbox(key="device").value


def test_a_link_to_something_gone_is_told(open_page, example_database):
    app = open_page(example_database, "caches", device="Apple M9")
    assert "“Apple M9”" in texts(app.warning)
    assert not app.exception


def test_a_broken_cache_is_judged_worse_although_it_is_small(open_page, example_database):
    table = open_page(example_database, "caches").dataframe[0].value.set_index("cache")
    assert table.loc["quantized(bits=4)", "verdict"] == "worse: quality"


def test_a_record_shows_its_samples_first(open_page, example_database):
    app = open_page(example_database, "run", record="400")
    assert app.selectbox(key="part").options == ["Samples", "Environment", "Repeat it"]
    assert app.get("vega_lite_chart")
    assert "gpu clock: 1398 MHz before, 1398 MHz after" in texts(app.caption)


def test_a_link_opens_a_record_at_its_environment(open_page, example_database):
    app = open_page(example_database, "run", record="400", part="Environment")
    assert "nothing differs" in texts(app.markdown)
    assert not app.get("vega_lite_chart")


def test_a_record_is_repeated_by_a_command_that_hands_its_job_to_the_worker_in_one_line(
    open_page, example_database
):
    app = open_page(example_database, "run", record="400", part="Repeat it")
    locally, remotely, _ = (block.value for block in app.code)
    command, job, end = locally.splitlines()
    assert command == "python -m worker --builds .farm/builds <<'JOB'"
    assert end == "JOB"
    stored = queries.record(open_readonly(str(example_database)), 400)
    assert Job.model_validate_json(job) == stored.job
    assert remotely.startswith(f"ssh {stored.job.host} ")
    assert "-m worker --builds builds' <<'JOB'" in remotely


def test_a_record_that_is_gone_is_told(open_page, example_database):
    assert "no record 999999" in texts(open_page(example_database, "run", record="999999").warning)


def test_a_failed_record_shows_its_log(open_page, example_database):
    with sqlite3.connect(example_database) as connection:
        query = "SELECT id FROM record WHERE status = 'failed'"
        (number,) = connection.execute(query).fetchone()
    app = open_page(example_database, "run", record=str(number))
    assert "killed for memory" in texts(app.error)
    assert "Killed: 9" in texts(app.code)


def test_an_invalid_record_says_why_it_does_not_count(open_page, example_database):
    with sqlite3.connect(example_database) as connection:
        query = "SELECT id FROM record WHERE json_array_length(invalid) > 0"
        (number,) = connection.execute(query).fetchone()
    assert "thermal level" in texts(open_page(example_database, "run", record=str(number)).warning)


def test_what_runs_against_the_roofline_is_flagged(open_page, example_database):
    app = open_page(example_database, "bandwidth", model="mlx-community/Qwen2.5-1.5B-Instruct-8bit")
    assert "4 of 4 figures are suspicious" in texts(app.warning)
    assert "46% of fp16" in texts(app.markdown)


def test_what_a_device_reads_stands_beside_its_specification(open_page, example_database):
    table = open_page(example_database, "bandwidth").dataframe[0].value.set_index("device")
    mini = table.loc[M2_PRO.name]
    assert mini["figure"] == pytest.approx(160, rel=0.03)
    assert mini["nominal"] == 200
    assert mini["of specified"] == pytest.approx(0.8, rel=0.03)


def test_a_quality_that_was_measured_at_another_context_is_told(open_page, example_database):
    captions = texts(
        open_page(example_database, "caches", context="512", device=M5_MAX.name).caption
    )
    assert "Measured at another context: KL divergence at 4K" in captions


def test_published_figures_stand_beside_measured_ones_and_are_marked(open_page, example_database):
    chart = open_page(example_database, "devices").get("vega_lite_chart")[0]
    assert "published" in str(chart.proto)


def test_only_what_changed_between_two_commits_is_shown_first(open_page, example_database):
    app = open_page(example_database, "commits", view="Compare two commits")
    changed = app.dataframe[1].value
    app.selectbox(key="answer").set_value("all").run()
    assert len(app.dataframe[1].value) > len(changed) > 0
    assert "same" not in set(changed["answer"])


@pytest.fixture(scope="module")
def once_regressed(tmp_path_factory):
    """Return a database with one open regression; it must not be changed."""
    path = tmp_path_factory.mktemp("regressed") / "farm.db"
    engine = open_database(str(path))
    fill(engine, nights=2, devices=(M5_MAX,))
    (row, *_) = queries.newest(engine, ["generation_tps"])
    series = {"cell": row.cell, "metric": row.metric, "device": row.device, "effect": -0.05}
    good, bad = (str(build(night).commit) for night in (0, 1))
    store.record_regression(engine, RegressionRow("main", good, bad, -0.05, (series,), found=1))
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    engine.dispose()
    return path


@pytest.fixture
def regressed(once_regressed, tmp_path):
    """Return a database of one's own with one open regression."""
    return shutil.copy(once_regressed, tmp_path / "farm.db")


def test_an_open_regression_is_on_the_first_page(open_page, regressed):
    app = open_page(regressed)
    assert app.metric[3].value == "1"
    assert "decode at 512 with fp16 is 5.0% slower on M5 Max" in texts(app.markdown)


def test_a_suspected_change_point_is_on_the_timeline(open_page, regressed):
    engine = open_database(str(regressed))
    (one,) = queries.regressions(engine)[0].series
    key = SeriesKey(one["cell"], one["device"], one["metric"])
    store.record_suspect(engine, SuspectRow(key, str(build(1).commit), "night", changed=True))
    engine.dispose()
    app = open_page(regressed, "commits", view="Timeline", regressions_only="yes")
    assert "confirmed by the gate" in str(app.get("vega_lite_chart")[0].proto)


def test_the_timeline_can_be_of_regressions_only(open_page, regressed):
    app = open_page(regressed, "commits", view="Timeline", regressions_only="yes")
    assert app.selectbox(key="metric").options == ["decode speed"]
    assert len(app.selectbox(key="series").options) == 1


def test_a_regression_is_acknowledged_with_author_reason_and_expiry(open_page, regressed):
    app = open_page(regressed, "commits", view="Regressions")
    app.text_input(key="author-1").set_value("Ada")
    app.text_input(key="reason-1").set_value("the price of correct masks")
    app.button[0].click().run()
    (stored,) = queries.regressions(open_database(str(regressed)))
    assert (stored.state, stored.author, stored.reason) == (
        "acknowledged",
        "Ada",
        "the price of correct masks",
    )
    assert stored.expires > stored.found
    assert "Acknowledged by Ada" in texts(app.markdown)


def test_an_acknowledged_regression_can_be_opened_again(open_page, regressed):
    engine = open_database(str(regressed))
    (row,) = queries.regressions(engine)
    gone = {"state": "acknowledged", "author": "Ada", "reason": "x", "expires": 2e9}
    store.record_regression(engine, RegressionRow(**(vars(row) | gone)))
    app = open_page(regressed, "commits", view="Regressions")
    app.button(key="reopen-1").click().run()
    (stored,) = queries.regressions(engine)
    assert (stored.state, stored.author, stored.expires) == ("open", None, None)
    engine.dispose()


def test_records_of_others_stand_apart_and_do_not_silence_the_alarm(open_page, regressed):
    engine = open_database(str(regressed))
    theirs = record(M2_PRO, next(cells()), 9, run="night@alice")
    recent = theirs.model_copy(update={"started": time.time() - 60})
    store.import_records(engine, [recent], "alice")
    engine.dispose()
    app = open_page(regressed)
    assert "The farm is silent" in texts(app.warning)
    assert app.dataframe[-1].value["from"].tolist() == ["alice"]
    assert "night@alice" not in str(app.dataframe[1].value)


def test_figures_are_numbers_with_their_spread_beside_them(open_page, example_database):
    table = open_page(example_database, "devices").dataframe[0].value
    assert table["figure"].dtype == table["spread"].dtype == float


@pytest.fixture
def first_day(tmp_path):
    """Return a database as after one run of the bundled model, decode measured in two ways."""
    path = tmp_path / "farm.db"
    engine = open_database(str(path))
    bare = next(cells())
    decode = [
        Cell(benchmark="decode", model="reference", cache=cache, params=params)
        for cache in (FP16, K8V4)
        for params in (
            {"context": 512, "tokens": 32},
            {"context": 4096, "tokens": 32},
            {"context": 4096, "tokens": 16},
        )
    ]
    for cell in (bare, *decode):
        one = record(M5_MAX, cell, 0, run="first")
        store.record_run(engine, one.job.run, "default", one.started, [one.job])
        store.record_result(engine, one)
    engine.dispose()
    return path


def test_after_the_first_run_bandwidth_shows_this_machine_and_the_bundled_model(
    open_page, first_day
):
    app = open_page(first_day, "bandwidth")
    assert app.query_params["model"] == "reference"
    assert M5_MAX.name in app.query_params["devices"]
    read = next(f.value for f in app.dataframe if "nominal" in f.value.columns)
    assert read.set_index("device").loc[M5_MAX.name, "of specified"] == pytest.approx(0.8, rel=0.03)


@pytest.mark.parametrize("page", ["devices", "caches", "bandwidth"])
def test_two_ways_to_measure_are_chosen_between_and_never_on_one_line(open_page, first_day, page):
    app = open_page(first_day, page)
    assert app.selectbox(key="variant").options == ["decode, tokens=32", "decode, tokens=16"]
    app.selectbox(key="variant").set_value("decode, tokens=16").run()
    assert not app.exception
    assert app.query_params["variant"] == "decode, tokens=16"


def test_cells_of_one_name_are_told_apart_by_what_differs(open_page, first_day):
    options = open_page(first_day, "commits", view="Timeline").selectbox(key="series").options
    assert "decode K8V4 @ 4K, reference [tokens=16]" in options
    assert "decode K8V4 @ 512, reference" in options
    assert len(options) == len(set(options))


def test_a_partial_build_does_not_empty_the_pages_and_can_be_chosen(open_page, tmp_path):
    path = tmp_path / "farm.db"
    engine = open_database(str(path))
    fill(engine, nights=1, devices=(M5_MAX,))
    one = record(M5_MAX, next(cells()), 5)
    store.record_run(engine, one.job.run, "try", one.started, [one.job])
    store.record_result(engine, one)
    engine.dispose()
    app = open_page(path, "devices")
    assert app.query_params["build"] == build(0).hash
    assert "1 newer ones were measured in part" in texts(app.caption)
    app.selectbox(key="build").set_value(app.selectbox(key="build").options[0])
    assert len(app.selectbox(key="build").options) == 2


def test_an_acknowledgement_needs_a_reason(open_page, regressed):
    app = open_page(regressed, "commits", view="Regressions")
    app.text_input(key="author-1").set_value("Ada")
    app.button[0].click().run()
    assert "needs an author and a reason" in texts(app.error)
    assert queries.regressions(open_database(str(regressed)))[0].state == "open"


def older(path):
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        migrate(connection, "0001")


def newer(path):
    open_database(str(path)).dispose()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")


def foreign(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE album (id)")


def no_database(path):
    path.write_bytes(b"not a database, but long enough to look at " * 100)


def cut(path):
    open_database(str(path)).dispose()
    with path.open("r+b") as file:
        file.truncate(8192)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (older, "older turbofarm"),
        (newer, "another turbofarm (revision 9999)"),
        (foreign, "tables of another program"),
        (no_database, "not a database"),
        (cut, "malformed"),
        (lambda path: None, "make it with: farm run"),
    ],
)
def test_a_database_that_cannot_be_read_is_told_in_a_sentence(open_page, tmp_path, make, told):
    path = tmp_path / "odd.db"
    make(path)
    app = open_page(path)
    assert told in texts(app.error)
    assert not app.exception


def test_a_database_that_vanishes_is_told(open_page, tmp_path):
    path = tmp_path / "farm.db"
    open_database(str(path)).dispose()
    app = open_page(path)
    path.unlink()
    assert "make it with: farm run" in texts(app.run().error)


def test_a_dashboard_without_a_database_is_told(open_page, monkeypatch):
    assert "farm dashboard" in texts(open_page("").error)


def test_a_writer_at_work_does_not_disturb_the_page(open_page, example_database, tmp_path):
    writer = sqlite3.connect(example_database, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    try:
        assert not open_page(example_database, "devices").error
    finally:
        writer.execute("ROLLBACK")
        writer.close()


def test_a_database_that_another_program_has_locked_is_told(open_page, tmp_path):
    path = tmp_path / "farm.db"
    open_database(str(path)).dispose()
    locker = sqlite3.connect(path, isolation_level=None)
    locker.execute("PRAGMA locking_mode = EXCLUSIVE")
    locker.execute("BEGIN EXCLUSIVE")
    try:
        app = open_page(path)
        assert "end the other program" in texts(app.error)
        assert not app.exception
    finally:
        locker.close()


def test_no_folder_is_called_pages_for_streamlit_would_open_it_without_the_password():
    assert not APP.with_name("pages").exists()
