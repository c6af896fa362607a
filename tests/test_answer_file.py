"""A file of answers is there whole or not at all."""

import codecs
import resource
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.findings import UsageError
from serving.answer_file import OutputError, answer_file, check_name

TABLE = pa.table(
    {
        "lead_id": ["L-1", 'a "quoted", リード'],
        "as_of": pa.array([0, 1_500_000], pa.timestamp("us", "UTC")),
        "score": [0.1 + 0.2, None],
        "decision": pa.array(["hand_off", "abstain"]).dictionary_encode(),
    }
)


@contextmanager
def files_of_at_most(size):
    """What a full disk does: writing more fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def opened(path):
    check_name(path)
    with answer_file(path, path.with_name(f".{path.name}.part")) as write:
        yield write


def test_parquet_holds_all_tables_in_order_with_plain_types(tmp_path):
    with opened(tmp_path / "scores.parquet") as write:
        write(TABLE)
        write(TABLE.slice(1))
    plain = TABLE.set_column(3, "decision", TABLE["decision"].cast(pa.string()))
    read = pq.read_table(tmp_path / "scores.parquet")
    assert read.equals(pa.concat_tables([plain, plain.slice(1)]))


def test_a_csv_has_a_mark_a_header_iso_times_and_whole_numbers(tmp_path):
    with opened(tmp_path / "scores.csv") as write:
        write(TABLE)
        write(TABLE.slice(0, 0))
    raw = (tmp_path / "scores.csv").read_bytes()
    assert raw.startswith(codecs.BOM_UTF8)
    assert raw.decode("utf-8-sig").splitlines() == [
        '"lead_id","as_of","score","decision"',
        '"L-1","1970-01-01T00:00:00.000000Z",0.30000000000000004,"hand_off"',
        '"a ""quoted"", リード","1970-01-01T00:00:01.500000Z",,"abstain"',
    ]


@pytest.mark.parametrize("name", ["scores.parquet", "scores.csv"])
def test_no_rows_make_a_file_of_columns(tmp_path, name):
    with opened(tmp_path / name) as write:
        write(TABLE.slice(0, 0))
    if name.endswith("csv"):
        assert (tmp_path / name).read_text("utf-8-sig").count("\n") == 1
    else:
        assert pq.read_table(tmp_path / name).column_names == TABLE.column_names


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("scores.xlsx", UsageError, r"ends in \.parquet or \.csv"),
        ("scores", UsageError, r"ends in \.parquet or \.csv"),
        ("folder.csv", UsageError, r"is a folder.*folder\.csv/scores\.parquet"),
        ("nowhere/scores.csv", OutputError, "No such file or directory.*check that its folder"),
        ("a_file/scores.csv", OutputError, "Not a directory"),
        (f"{'long' * 80}.csv", OutputError, "File name too long"),
    ],
)
def test_a_file_that_cannot_be_is_refused_before_the_work(tmp_path, name, error, said):
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "a_file").touch()
    with pytest.raises(error, match=said), opened(tmp_path / name):
        pytest.fail("the work began")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a_file", "folder.csv"]


@pytest.mark.parametrize("name", ["scores.parquet", "scores.csv"])
@pytest.mark.parametrize("size", [50_000, 100])
def test_a_full_disk_leaves_what_was_there_and_nothing_else(tmp_path, name, size):
    rows = np.random.default_rng(0).random(20_000)
    (tmp_path / name).write_text("yesterday's")
    with (
        files_of_at_most(size),
        pytest.raises(OutputError, match=f"{name} cannot be written .*space left"),
        opened(tmp_path / name) as write,
    ):
        write(pa.table({"score": rows}))
        write(pa.table({"score": rows}))
    assert (tmp_path / name).read_text() == "yesterday's"
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, FileNotFoundError])
def test_work_that_fails_leaves_what_was_there_and_its_own_error(tmp_path, error):
    path = tmp_path / "scores.parquet"
    path.write_text("yesterday's")
    with pytest.raises(error, match="mine"), opened(path) as write:
        write(TABLE)
        raise error("mine")
    assert path.read_text() == "yesterday's"
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_file_replaces_the_old_one_only_at_the_end(tmp_path):
    path = tmp_path / "scores.parquet"
    for rows in (1, 2):
        with opened(path) as write:
            write(TABLE.slice(0, rows))
            assert not path.exists() or pq.read_metadata(path).num_rows == rows - 1
    assert pq.read_metadata(path).num_rows == 2
    assert list(tmp_path.iterdir()) == [path]
