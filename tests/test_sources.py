import csv
import gzip
from pathlib import Path
from uuid import UUID

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
import upath
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contract import LEADS, ContractError, Finding
from features.readers import read
from features.sources import locate


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def refused(source: str | Path) -> tuple[Finding, ...]:
    with pytest.raises(ContractError) as raised:
        located = locate("leads", source)
        located.read(located.names, [])
    return raised.value.findings


def the_only(source: str | Path) -> Finding:
    (finding,) = refused(source)
    assert (finding.table, finding.severity) == ("leads", "error")
    return finding


# ---- CSV ----------------------------------------------------------------------------------


def test_a_csv_is_text_whatever_it_holds(tmp_path: Path):
    source = locate("leads", write(tmp_path / "l.csv", "id,n,class\n007,1,製造業\n8,,\n"))
    assert source.names == ("id", "n", "class")
    assert source.untyped
    extract = source.read(["class", "id", "n"], [])
    assert extract.columns.to_pydict() == {
        "class": ["製造業", None],
        "id": ["007", "8"],
        "n": ["1", None],
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_are_counted_with_byte_order_marks_blank_lines_and_line_ends_in_cells(
    tmp_path: Path, encoding: str, end: str
):
    lines = ['"id",note', 'a,"one', '""two"" ,', 'three"', "", 'b,5" pipe', "", "c,"]
    source = locate("leads", write(tmp_path / "l.csv", end.join(lines) + end, encoding))
    extract = source.read(["id", "note"], [])
    assert extract.columns["id"].to_pylist() == ["a", "b", "c"]
    assert extract.columns["note"][0].as_py() == f'one{end}"two" ,{end}three'
    assert extract.layout.places([2, 0, 1, 2]) == ["line 8", "line 2", "line 6", "line 8"]


def test_a_cell_of_ten_megabytes(tmp_path: Path):
    cells = ["x" * 10_000_000, "y\n" * 5_000_000]
    text = "id,note\n" + "".join(f'{n},"{cell}"\n' for n, cell in enumerate(cells)) + "9,\n"
    limit = csv.field_size_limit()
    extract = locate("leads", write(tmp_path / "l.csv", text)).read(["id", "note"], [])
    assert extract.columns["note"].to_pylist() == [*cells, None]
    assert extract.layout.places([2]) == ["line 5000004"]
    assert csv.field_size_limit() == limit


def test_a_compressed_csv(tmp_path: Path):
    path = tmp_path / "l.csv.gz"
    path.write_bytes(gzip.compress(b"id,n\na,1\nb,2\n"))
    extract = locate("leads", path).read(["id"], [])
    assert extract.columns.to_pydict() == {"id": ["a", "b"]}
    assert extract.layout.places([1]) == ["line 3"]


def test_a_truncated_compressed_csv(tmp_path: Path):
    path = tmp_path / "l.csv.gz"
    path.write_bytes(gzip.compress(b"id,n\n" + bytes(range(48, 58)) * 10_000)[:50])
    assert the_only(path).rule == "not_csv"


@pytest.mark.parametrize("text", ["id,n", "id,n\n", "id,n\r\n\r\n"])
def test_a_csv_with_a_header_only_has_no_rows(tmp_path: Path, text: str):
    source = locate("leads", write(tmp_path / "l.csv", text))
    extract = source.read(["id", "n"], ["n"])
    assert extract.columns.schema == pa.schema(
        [("id", pa.string()), ("n", pa.dictionary(pa.int32(), pa.string()))]
    )
    assert extract.columns.num_rows == 0


def test_rows_with_other_than_the_headers_cells_are_named_and_left_out(tmp_path: Path):
    text = 'id,n\na,1\nb\nc,"2\n2",3\n\nd,4\n'
    extract = locate("leads", write(tmp_path / "l.csv", text)).read(["id"], [])
    assert extract.columns["id"].to_pylist() == ["a", "d"]
    assert [(each.where, each.value) for each in extract.ragged] == [
        ("line 3", "b"),
        ("line 4", "c,2\n2,3"),
    ]
    assert extract.layout.places([0, 1]) == ["line 2", "line 7"]


@pytest.mark.parametrize(
    "text",
    [
        'id,n\na,1\nb,"2\nc,3\nd,4\n',
        'id,n\na,1\nb,"2\nc,3\nd,"4"\ne,5\n',
        'id,n\r\na,1\r\nb,"2\r\nc,3\r\n',
        'id,n\ra,1\rb,"2\rc,3\r',
    ],
)
def test_a_quote_left_open_swallows_no_rows_in_silence(tmp_path: Path, text: str):
    path = write(tmp_path / "l.csv", text)
    with pytest.raises(ContractError) as raised:
        locate("leads", path).read(["id"], [])
    (finding,) = raised.value.findings
    assert finding.rule == "open_quote"
    assert f"line 3 of {path}" in finding.mend


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(
        st.lists(st.text(st.sampled_from('a"\n,'), max_size=4), min_size=2, max_size=2), max_size=5
    )
)
def test_whatever_cells_hold_a_well_written_csv_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "l.csv"
    with path.open("w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["id", "n"], *rows])
    columns = locate("leads", path).read(["id", "n"], []).columns
    assert [[cell or "" for cell in row.values()] for row in columns.to_pylist()] == rows


@pytest.mark.parametrize(
    ("delimiter", "name"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")]
)
def test_other_delimiters(tmp_path: Path, delimiter: str, name: str):
    finding = the_only(write(tmp_path / "l.csv", delimiter.join(["id", "n"]) + "\n"))
    assert finding.rule == "wrong_delimiter"
    assert finding.mend.endswith(f"its header has one column, and {name} in it.")


def test_one_column_is_no_wrong_delimiter(tmp_path: Path):
    source = locate("leads", write(tmp_path / "l.csv", "id\na;b\n"))
    assert source.read(["id"], []).columns.to_pydict() == {"id": ["a;b"]}


@pytest.mark.parametrize("place", ["header", "cell", "category"])
def test_text_that_is_not_utf8_is_named_by_its_lines(tmp_path: Path, place: str):
    head = "id,業種" if place == "header" else "id,n"
    path = write(tmp_path / "l.csv", f"{head}\na,1\nb,製造\nc,商社\nd,卸\n", "shift_jis")
    with pytest.raises(ContractError) as raised:
        locate("leads", path).read(["id", "n"], ["n"] if place == "category" else [])
    (finding,) = raised.value.findings
    assert finding.rule == "not_utf8"
    first = ["line 1", "line 3", "line 4"] if place == "header" else ["line 3", "line 4", "line 5"]
    assert [example.where for example in finding.examples] == first
    assert finding.mend == f"Save {path} as UTF-8 (in a spreadsheet: “CSV UTF-8”)."


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
def test_what_spreadsheets_call_unicode_text(tmp_path: Path, encoding: str):
    assert refused(write(tmp_path / "l.csv", "id,n\nä,1\n", encoding))[0].rule in {
        "not_utf8",
        "not_csv",
    }


@pytest.mark.parametrize("text", ["\n", "\n\r\n", "\ufeff"])
def test_a_csv_without_a_header(tmp_path: Path, text: str):
    assert the_only(write(tmp_path / "l.csv", text)).rule == "empty_file"


# ---- Parquet ------------------------------------------------------------------------------


def test_parquet_is_read_by_its_content_and_keeps_its_types(tmp_path: Path):
    path = tmp_path / "leads"
    pq.write_table(pa.table({"id": [7], "a.b": ["x"], "kind": ["web"]}), path)
    source = locate("leads", path)
    assert not source.untyped
    extract = source.read(["id", "a.b", "kind"], ["kind", "id"])
    assert extract.columns.schema.types == [
        pa.int64(),
        pa.string(),
        pa.dictionary(pa.int32(), pa.string()),
    ]
    assert extract.columns.to_pydict() == {"id": [7], "a.b": ["x"], "kind": ["web"]}
    assert extract.layout.places([0]) == ["row 1"]


@pytest.mark.parametrize("content", [b"PAR1 and no more", b"id,n\n1,2\n"])
def test_what_is_called_parquet_and_is_not(tmp_path: Path, content: bytes):
    path = tmp_path / "l.parquet"
    path.write_bytes(content)
    finding = the_only(path)
    assert finding.rule == "not_parquet"
    assert finding.mend.startswith(f"Export {path} again: Parquet magic bytes not found")


def test_a_damaged_parquet_file(tmp_path: Path):
    path = tmp_path / "l.parquet"
    pq.write_table(pa.table({"id": [str(n) for n in range(1_000)]}), path)
    content = bytearray(path.read_bytes())
    content[10:60] = b"\xff" * 50
    path.write_bytes(content)
    assert the_only(path).rule == "not_parquet"


@pytest.mark.parametrize("name", ["l.csv", "l.parquet", "l"])
def test_a_file_of_zero_bytes(tmp_path: Path, name: str):
    path = write(tmp_path / name, "")
    finding = the_only(path)
    assert (finding.rule, finding.mend) == ("empty_file", f"Export {path} again.")


def test_a_path_that_is_not_there(tmp_path: Path):
    finding = the_only(tmp_path / "l.csv")
    assert finding.rule == "no_such_file"
    assert finding.mend == f"Check the path: {tmp_path / 'l.csv'} does not exist."


# ---- a folder of parts --------------------------------------------------------------------


def test_the_parts_of_a_folder_follow_each_other_by_name(tmp_path: Path):
    write(tmp_path / "b.csv", "n,id\n2,b\n3,c\n")
    write(tmp_path / "a.csv", "id,n\na,1\n")
    write(tmp_path / "c.csv", "id,n\n")
    write(tmp_path / "_SUCCESS", "")
    write(tmp_path / ".a.csv.crc", "")
    source = locate("leads", tmp_path)
    assert source.findings == ()
    extract = source.read(["id", "n"], [])
    assert extract.columns.to_pydict() == {"id": ["a", "b", "c"], "n": ["1", "2", "3"]}
    assert extract.layout.places([2, 0]) == ["b.csv, line 3", "a.csv, line 2"]


def test_the_parts_may_write_one_type_in_different_ways(tmp_path: Path):
    one = {
        "id": pa.array(["a"], pa.large_string()),
        "at": pa.array([1], pa.timestamp("us", "UTC")),
        "n": pa.array([1]),
        "gone": pa.nulls(1),
        "kind": pa.array(["x"]).dictionary_encode(),
    }
    two = {
        "id": pa.array(["b"]),
        "at": pa.array([2_000], pa.timestamp("ns", "Asia/Tokyo")),
        "n": pa.array([1.5]),
        "gone": pa.array(["x"]),
        "kind": pa.array(["y"]),
    }
    pq.write_table(pa.table(one), tmp_path / "1.parquet")
    pq.write_table(pa.table(two), tmp_path / "2.parquet")
    extract = locate("leads", tmp_path).read(["id", "at", "n", "gone", "kind"], ["kind", "gone"])
    assert extract.columns["id"].to_pylist() == ["a", "b"]
    assert extract.columns["at"].cast(pa.int64()).to_pylist() == [1, 2]
    assert extract.columns["n"].to_pylist() == [1.0, 1.5]
    assert extract.columns["gone"].to_pylist() == [None, "x"]
    assert extract.columns["kind"].to_pylist() == ["x", "y"]
    assert extract.layout.places([1]) == ["2.parquet, row 1"]


def test_parts_that_differ_are_all_named(tmp_path: Path):
    pq.write_table(pa.table({"id": ["a"], "n": [1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"id": [7], "n": [1]}), tmp_path / "2.parquet")
    pq.write_table(pa.table({"id": ["a"], "m": [1]}), tmp_path / "3.parquet")
    finding = the_only(tmp_path)
    assert finding.rule == "parts_differ"
    assert [str(example) for example in finding.examples] == [
        "2.parquet: id is int64, not string",
        "3.parquet: has no n",
        "3.parquet: has a m too",
    ]
    assert "the first one, 1.parquet," in finding.mend


@pytest.mark.parametrize("others", [[], ["_SUCCESS", ".part.csv"], ["notes.txt"]])
def test_a_folder_without_parts(tmp_path: Path, others: list[str]):
    for name in others:
        write(tmp_path / name, "x")
    finding = the_only(tmp_path)
    assert finding.rule == "empty_folder"
    assert finding.mend == f"Put CSV or Parquet files directly into {tmp_path}."


def test_other_files_of_a_folder_are_named_once(tmp_path: Path):
    write(tmp_path / "a.csv", "id\na\n")
    write(tmp_path / "readme.md", "x")
    (finding,) = locate("leads", tmp_path).findings
    assert (finding.rule, finding.severity) == ("ignored_files", "note")
    assert [example.value for example in finding.examples] == ["readme.md"]


def test_all_bad_parts_of_a_folder_are_named(tmp_path: Path):
    write(tmp_path / "a.csv", "")
    write(tmp_path / "b.csv", "id\na\n")
    write(tmp_path / "c.parquet", "no")
    write(tmp_path / "d.csv", "")
    assert [finding.mend for finding in refused(tmp_path)] == [
        f"Export {tmp_path / 'a.csv'} again.",
        f"Export {tmp_path / 'd.csv'} again.",
    ]
    (tmp_path / "a.csv").unlink()
    (tmp_path / "d.csv").unlink()
    assert the_only(tmp_path).rule == "not_parquet"


# ---- SQL ----------------------------------------------------------------------------------


@pytest.fixture
def database(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'crm 顧客.db'}"
    metadata = sa.MetaData()
    leads = sa.Table(
        "leads",
        metadata,
        sa.Column("id", sa.Integer),
        sa.Column("created", sa.DateTime),
        sa.Column("size", sa.Float),
        sa.Column("key", sa.Uuid),
        sa.Column("photo", sa.LargeBinary),
        sa.Column("select", sa.String),
    )
    engine = sa.create_engine(url)
    metadata.create_all(engine)
    row = {"created": None, "size": 1.5, "key": None, "photo": b"x", "select": "製造"}
    with engine.begin() as connection:
        connection.execute(
            leads.insert(), [{**row, "id": 1, "key": UUID(int=7)}, {"id": None, **row}]
        )
    engine.dispose()
    return url


def test_a_table_of_a_database(database: str):
    source = locate("leads", f"{database}#leads")
    assert source.names == ("id", "created", "size", "key", "photo", "select")
    assert source.kinds["photo"] == pa.binary()
    extract = source.read(["id", "size", "select", "created"], ["select"])
    assert extract.columns.to_pydict() == {
        "id": [1, None],
        "size": [1.5, 1.5],
        "select": ["製造", "製造"],
        "created": [None, None],
    }
    assert pa.types.is_integer(extract.columns.schema.field("id").type)
    assert extract.layout.places([1]) == ["row 2"]


def test_a_database_is_read_in_parts_of_different_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("features.sql_table.ROWS_AT_ONCE", 2)
    url = f"sqlite:///{tmp_path / 'mixed.db'}"
    engine = sa.create_engine(url)
    rows = [(None, None), (None, 2), (7, 2.5), ("b", 1)]
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE leads (id INTEGER, n REAL)"))
        for one, other in rows:
            values = {"one": one, "other": other}
            connection.execute(sa.text("INSERT INTO leads VALUES (:one, :other)"), values)
    engine.dispose()
    extract = locate("leads", f"{url}#leads").read(["n", "id"], [])
    assert extract.columns.to_pydict() == {
        "n": [None, 2.0, 2.5, 1.0],
        "id": [None, None, "7", "b"],
    }


def test_an_id_of_a_database_may_be_a_uuid(database: str):
    extract = locate("leads", f"{database}#leads").read(["key"], [])
    assert extract.columns.to_pydict() == {"key": ["00000000000000000000000000000007", None]}


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("sqlite:///{folder}/none.db#leads", "{folder}/none.db does not exist"),
        ("{database}#orders", "there is no table orders"),
        ("{database}", "no table is named after a #"),
        ("nosuch://host/db#leads", "Can't load plugin: sqlalchemy.dialects:nosuch"),
    ],
)
def test_a_database_that_cannot_be_read(tmp_path: Path, database: str, url: str, reason: str):
    facts = {"folder": str(tmp_path), "database": database}
    finding = the_only(url.format(**facts))
    assert finding.rule == "cannot_query"
    assert reason.format(**facts) in finding.mend
    assert not (tmp_path / "none.db").exists()


def test_a_password_is_not_shown():
    finding = the_only("postgresql://crm:hunter2@127.0.0.1:1/crm#leads")
    assert finding.rule == "cannot_query"
    assert "hunter2" not in str(finding)


@pytest.fixture
def store():
    """A folder of a store that is no disk."""
    folder = upath.UPath("memory://crm/leads")
    folder.mkdir(parents=True)
    yield folder
    folder.fs.rm("/crm", recursive=True)


@pytest.mark.parametrize("name", ["leads.csv", "leads.csv.gz", "leads.csv.zst", "leads.parquet"])
def test_files_of_a_remote_store_are_read_as_those_of_a_disk(store, tmp_path, name):
    table = pa.table({"lead_id": ["a", "b"], "created_at": ["2026-01-01T00:00:00Z"] * 2})
    local = tmp_path / name
    if name.endswith("parquet"):
        pq.write_table(table, local)
    else:
        with pa.output_stream(str(local), compression="detect") as file:
            pa_csv.write_csv(table, file)
    (store / name).write_bytes(local.read_bytes())
    expected = read(LEADS, local)
    for source in (str(store / name), str(store)):
        got = read(LEADS, source)
        assert got.table.equals(expected.table)
        assert not got.findings
    (batch,) = (t for _, t, _ in locate("leads", str(store)).batches(["lead_id"]) if len(t))
    assert batch["lead_id"].to_pylist() == ["a", "b"]
    (store / name).write_bytes(b"PAR1 nonsense")
    assert read(LEADS, str(store)).findings


def test_a_remote_store_that_cannot_be_read_is_told_with_what_is_missing():
    for address, reason in (("s3://bucket/leads", "s3fs"), ("nonsense://leads", "nonsense")):
        finding = the_only(address)
        assert finding.rule == "cannot_reach"
        assert address in finding.mend
        assert reason in finding.mend
    assert the_only("memory://nowhere.csv").rule == "no_such_file"
