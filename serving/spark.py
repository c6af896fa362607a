"""The backlog on Spark: one shuffle brings the rows of a lead together, then the same kernel runs.

Needs the extra ``spark``; the executors need this package, too. Tables are read under the contract
as elsewhere. Ids are text, as it stands, or whole numbers.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, reduce
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features import partitions
from features.arrow_types import inner, is_text
from features.checked_table import Plan
from features.column_map import per_table
from features.contract import CHANGES, EVENTS, LEADS
from features.faults import NO_ROWS, Int64
from features.findings import ContractError, UsageError
from features.parquet_file import ParquetFile
from features.partitions import ROW, Held, placed, whole_numbers
from features.readings import Clues, readings
from features.sources import Form, Layout, Source
from serving.answers import REASON, Answers
from serving.backlog_rows import Reader
from serving.blocks import score_backlog
from serving.shares import Told
from serving.spark_session import spark_session
from training.registry import open_model
from training.scorer import LeadScorer

if TYPE_CHECKING:
    from pyspark import Accumulator, Broadcast
    from pyspark.accumulators import AccumulatorParam
    from pyspark.sql import Column, DataFrame, SparkSession

KEY, KIND = "__leadqual_key__", "__leadqual_kind__"
"""A hash of the lead's id, by which rows are shuffled and sorted, and the table a row is of."""
CLUES = "clues"
ROWS_AT_ONCE = 250_000
"""So many rows are scored together; those of one lead always are."""
LAST_PLAIN, IN_PATHS = 127, "!$&'()*+,;=:@~"
REASONS = "array<struct<" + ", ".join(f"{field.name}: string" for field in REASON) + ">>"
ANSWERS = {
    "lead_id": "string",
    "as_of": "timestamp",
    "score": "double",
    "percentile": "double",
    "grade": "string",
    "decision": "string",
    "why": "string",
    "reasons": REASONS,
    "model": "string",
}


def score(
    leads: "DataFrame",
    events: "DataFrame",
    as_of: int | str,
    model: str | LeadScorer,
    *,
    changes: "DataFrame | None" = None,
    language: str | None = None,
    timezone: str | None = None,
    columns: Mapping[str, Mapping[str, str]] | None = None,
) -> "DataFrame":
    """Score leads of DataFrames, in whatever job they belong to; nothing runs before it is asked.

    With changes one job over them and the leads runs at once: how a history is read, only all of
    them tell.

    Parameters
    ----------
    leads, events : DataFrame
        The tables of the data contract.
    as_of : int or str
        Microseconds since the epoch (UTC), or the column of the leads with each row's moment.
    model : str or LeadScorer
        A folder, ``models:/NAME@champion`` or ``models:/NAME/3``; or an opened model.
    changes : DataFrame, optional
        The history of attributes.
    language : "en" or "ja", optional
        Give reasons for the hand-offs in it.
    timezone, columns
        As the readers take them; by default the columns are mapped as for the training.

    Returns
    -------
    DataFrame
        A row for every row of the leads, in no certain order, with the columns of `leadqual score`.

    Raises
    ------
    ContractError, UsageError
        At once where a column is missing or ids are of another type; rows that break the contract
        make the job fail, with the same error in its message. One id for events of several leads is
        not looked for.
    """
    scorer = open_model(model) if isinstance(model, str) else model
    mapped = per_table(scorer.card.config.get("columns", {})) if columns is None else columns
    reader = Reader(as_of, timezone, mapped, None, scorer.card.undated)
    frames = {LEADS.name: leads, EVENTS.name: events}
    frames |= {} if changes is None else {CHANGES.name: changes}
    return _scored(frames, {}, reader, scorer, language=language, told=None)


def _scored(
    frames: "Mapping[str, DataFrame]",
    forms: Mapping[str, Mapping[str, Form]],
    reader: Reader,
    scorer: LeadScorer,
    *,
    language: str | None,
    told: "Accumulator[list[Told]] | None",
    conflicting: Int64 = NO_ROWS,
) -> "DataFrame":
    """Bring the tables into one, a lead's rows together, and score them a part after the other."""
    shapes = {name: _shape(frame, forms.get(name)) for name, frame in frames.items()}
    plans = reader.plans(shapes)
    settled = {
        name: _with_text(each, plans[name].chosen["lead_id"]) for name, each in shapes.items()
    }
    settled[EVENTS.name] = replace(settled[EVENTS.name], conflicting=conflicting)
    if CHANGES.name in frames:
        few = {name: frames[name] for name in (LEADS.name, CHANGES.name)}
        task = _Clues({name: settled[name] for name in few}, reader)
        told_of = _by_lead(few, shapes, plans).mapInArrow(task, f"`{CLUES}` string").collect()
        found = readings(map(_clues_from_json, (row[CLUES] for row in told_of)))
        settled[CHANGES.name] = replace(settled[CHANGES.name], readings=found)
    ordered = _by_lead(frames, shapes, plans)
    context = ordered.sparkSession.sparkContext
    model = _Model(scorer.digest, scorer.name, scorer.version, context.broadcast(_files(scorer)))
    scoring = _Task(model, settled, reader, language, told)
    numbered = ROW in frames[LEADS.name].columns
    kinds = {name: kind for name, kind in ANSWERS.items() if language or name != "reasons"}
    schema = ", ".join(f"`{n}` {k}" for n, k in [*kinds.items(), *[(ROW, "long")] * numbered])
    return ordered.mapInArrow(scoring, schema)


def _by_lead(
    frames: "Mapping[str, DataFrame]", shapes: Mapping[str, Source], plans: Mapping[str, Plan]
) -> "DataFrame":
    """Bring tables into one, the rows of a lead one after the other."""
    from pyspark.sql import functions as F  # noqa: N812, PLC0415

    parts = []
    for name, frame in frames.items():
        lead, shape = plans[name].chosen["lead_id"], shapes[name]
        ids = _ids(name, frame[f"`{lead}`"], shape.form(lead), shape.kinds[lead])
        others = [c for c in (*plans[name].names, ROW) if c in frame.columns and c != lead]
        columns = (ids.alias(lead), *(frame[f"`{column}`"] for column in others))
        # within a list, what a row of another table has not is one null, not one for every column
        row = F.array(F.struct(*columns)).alias(name)
        kind = F.lit([*frames].index(name)).alias(KIND)
        parts.append(frame.select(F.xxhash64(ids).alias(KEY), kind, row))
    together = reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), parts)
    return together.repartition(KEY).sortWithinPartitions(KEY)


@dataclass(frozen=True)
class _Model:
    """A model on its way to the executors, each of which is sent its files once."""

    digest: str
    name: str
    version: str
    files: "Broadcast[Mapping[str, bytes]]" = field(compare=False)

    def open(self) -> LeadScorer:
        """Open it, once in a process."""
        return _opened(self)


@dataclass(frozen=True)
class _Task:
    """What an executor does with its rows; it is sent there.

    Attributes
    ----------
    model : _Model
    shapes : mapping of table name to Source
        Without parts.
    reader : Reader
    language : str or None
    told : Accumulator or None
        Takes what is found; without it the first error ends the job.
    """

    model: _Model
    shapes: Mapping[str, Source]
    reader: Reader
    language: str | None
    told: "Accumulator[list[Told]] | None"

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Score all rows of a partition."""
        pa.set_cpu_count(1)
        scorer = self.model.open()
        for rows in whole_leads(batches):
            yield from self._answers(scorer, rows)

    def _answers(self, scorer: LeadScorer, rows: pa.Table) -> Iterator[pa.RecordBatch]:
        held = _held(self.shapes, rows)
        sources = _sources(self.shapes, held)
        try:
            backlog = self.reader.read(sources)
        except ContractError as error:
            if self.told is None:
                raise
            self.told.add([Told(error.findings)])
            return
        if self.told is not None:
            self.told.add([Told.of(scorer, backlog, {})])
        if not len(backlog):
            return
        scores = score_backlog(scorer, backlog, threads=1)
        table = Answers(scorer, backlog, scores, None, self.language).of(slice(0, len(backlog)))
        leads = held[LEADS.name]
        if ROW in leads.schema.names:
            row = leads.rows if backlog.source_rows is None else leads.rows[backlog.source_rows]
            table = table.append_column(ROW, pa.array(row))
        yield from table.cast(_plain(table.schema)).to_batches()


@dataclass(frozen=True)
class _Clues:
    """What an executor reads of leads and changes before anything is scored; it is sent there."""

    shapes: Mapping[str, Source]
    reader: Reader

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Tell, of all rows of a partition, how histories are to be read."""
        pa.set_cpu_count(1)
        for rows in whole_leads(batches):
            found = self.reader.clues(_sources(self.shapes, _held(self.shapes, rows)))
            text = json.dumps({name: each.to_list() for name, each in found.items()})
            yield pa.RecordBatch.from_pydict({CLUES: [text]})


def _clues_from_json(text: str) -> dict[str, Clues]:
    return {name: Clues.from_list(each) for name, each in json.loads(text).items()}


def _held(shapes: Mapping[str, Source], rows: pa.Table) -> dict[str, Held]:
    """Take the tables apart that `_by_lead` put together."""
    held = {}
    for kind, name in enumerate(shapes):
        own = rows.filter(pc.equal(rows[KIND], kind))
        held[name] = Held(pa.Table.from_struct_array(pc.list_flatten(own[name]).combine_chunks()))
    return held


def _sources(shapes: Mapping[str, Source], held: Mapping[str, Held]) -> dict[str, Source]:
    return {name: _source(shape, held[name]) for name, shape in shapes.items()}


def _source(shape: Source, held: Held) -> Source:
    if not len(shape.conflicting):
        return replace(shape, parts=(held,))
    held = Held(held.table.sort_by(ROW))  # of events with one id the first is told by their order
    here = np.flatnonzero(np.isin(held.rows, shape.conflicting))
    return replace(shape, parts=(held,), conflicting=here)


def whole_leads(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Put batches together until there are enough rows, and keep the rows of the last lead back.

    Parameters
    ----------
    batches : iterable of pa.RecordBatch
        In order of the column `KEY`, a hash of the lead's id.
    """
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += len(batch)
        if rows >= ROWS_AT_ONCE:
            table = pa.Table.from_batches(waiting)
            key = table[KEY]
            first = pc.index(key, key[-1]).as_py()
            if first > 0:
                yield table.slice(0, first)
                waiting, rows = table.slice(first).to_batches(), rows - first
    if rows:
        yield pa.Table.from_batches(waiting)


def run(
    sources: Mapping[str, Source],
    reader: Reader,
    scorer: LeadScorer,
    language: str | None,
    *,
    folder: Path,
    memory: int,
) -> tuple[list[Path], int, list[Told]]:
    """Score Parquet files in one job, each part of the answers in the order of the leads.

    Parameters
    ----------
    sources : mapping of table name to Source
    reader, scorer, language
        As for the local engine.
    folder : Path
        Where the answers go, and what Spark spills.
    memory : int
        Bytes for Spark's own process, where it is started here.

    Returns
    -------
    list of Path, int, list of Told
        The parts, the number of rows, what was found.

    Raises
    ------
    UsageError
        A table is no Parquet file, or Spark cannot run.
    ContractError
        What is wrong in any row.
    """
    for name, source in sources.items():
        _refuse_others(name, source)
    with spark_session(folder, memory) as session:
        told = session.sparkContext.accumulator([], _lists())
        starts = {name: _starts(source) for name, source in sources.items()}
        frames = {
            name: _numbered(session, source, starts[name]) for name, source in sources.items()
        }
        plans = reader.plans(sources)
        forms = {name: _forms(plans[name], source) for name, source in sources.items()}
        ids = folder / "ids"
        ids.mkdir()
        conflicting = partitions.conflicting(plans[EVENTS.name], sources[EVENTS.name], ids)
        answers = _scored(
            frames,
            forms,
            reader,
            scorer,
            language=language,
            told=told,
            conflicting=conflicting,
        )
        place = folder.absolute() / "parts"
        answers.sortWithinPartitions(ROW).write.parquet(str(place))
        found: list[Told] = told.value
    layouts = {
        name: Layout(source.parts, np.array(starts[name])) for name, source in sources.items()
    }
    findings = placed((f for each in found for f in each.findings), layouts)
    if any(finding.severity == "error" for finding in findings):
        raise ContractError(findings)
    merged = Told(
        findings,
        sum((Counter(each.types) for each in found), Counter()),
        tuple(look for each in found for look in each.looks),
    )
    return sorted(place.glob("*.parquet")), starts[LEADS.name][-1], [merged]


def _numbered(session: "SparkSession", source: Source, starts: tuple[int, ...]) -> "DataFrame":
    """Read Parquet files, with the row of the source in `ROW`."""
    from pyspark.sql import functions as F  # noqa: N812, PLC0415

    frame = session.read.parquet(*(str(path.absolute()) for path in source.files))
    first = zip(source.files, starts[:-1], strict=True)
    start_of = {name: start for path, start in first for name in _as_spark_writes(path.name)}
    pairs = F.create_map(*(F.lit(each) for pair in start_of.items() for each in pair))
    start = F.coalesce(
        pairs[F.col("_metadata.file_name")],
        F.raise_error(F.concat(F.lit("unknown file "), F.col("_metadata.file_name"))).cast("long"),
    )
    return frame.withColumn(ROW, start + F.col("_metadata.row_index"))


def _as_spark_writes(name: str) -> set[str]:
    """Give the name of a file as Spark may: with all encoded that no URI has, or the plain part."""
    plain = (each if ord(each) > LAST_PLAIN else quote(each, safe=IN_PATHS) for each in name)
    return {name, quote(name, safe=IN_PATHS), "".join(plain)}


def _starts(source: Source) -> tuple[int, ...]:
    return tuple(np.cumsum([0, *(part.about()[0] for part in source.parts)]).tolist())


def _refuse_others(name: str, source: Source) -> None:
    for part in source.parts:
        if not (isinstance(part, ParquetFile) and isinstance(part.path, Path)):
            raise UsageError(
                f"--engine spark reads Parquet files or folders of them, and --{name} "
                f"{getattr(part, 'path', 'of a database')} is none: use --engine local, or export "
                "it as Parquet"
            )


def _lists() -> "AccumulatorParam[list[Told]]":
    from pyspark.accumulators import AccumulatorParam  # noqa: PLC0415

    class Lists(AccumulatorParam):  # type: ignore[type-arg]
        def zero(self, value: list[Told]) -> list[Told]:
            return []

        def addInPlace(self, one: list[Told], other: list[Told]) -> list[Told]:  # noqa: N802
            return one + other

    return Lists()


def _shape(frame: "DataFrame", forms: Mapping[str, Form] | None) -> Source:
    """Describe a DataFrame as a source without parts; without `forms` text ids stand as they do."""
    from pyspark.sql.pandas.types import to_arrow_schema  # noqa: PLC0415

    schema = to_arrow_schema(frame.drop(ROW).schema, timezone="UTC")
    kinds = dict(zip(schema.names, schema.types, strict=True))
    if forms is None:
        forms = {name: Form(whole=pa.types.is_integer(inner(kinds[name]))) for name in kinds}
    return Source((), tuple(kinds), kinds, forms=forms)


def _with_text(shape: Source, lead: str) -> Source:
    """Describe the source with its lead's ids as `_ids` gives them."""
    forms = {**(shape.forms or {}), lead: Form(whole=False)}
    return replace(shape, kinds={**shape.kinds, lead: pa.string()}, forms=forms)


def _forms(planned: Plan, source: Source) -> dict[str, Form]:
    wholes = whole_numbers(planned, source)
    return {column: Form(whole=whole) for column, whole in wholes.items()}


def _ids(table: str, column: "Column", form: Form, kind: pa.DataType) -> "Column":
    """Give ids as text, as `as_text` does."""
    from pyspark.sql import functions as F  # noqa: N812, PLC0415

    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        if not form.whole:
            raise UsageError(
                f"lead ids in {table} are fractions: cast them to text or whole numbers"
            )
        return column.cast("long").cast("string")
    text = column.cast("string")
    return F.regexp_replace(text, r"\.0+$", "") if form.whole and is_text(kind) else text


def _plain(schema: pa.Schema) -> pa.Schema:
    """Give the types without dictionaries, which Spark does not take."""
    return pa.schema([(field.name, inner(field.type)) for field in schema])


def _files(scorer: LeadScorer) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        scorer.save(Path(folder) / "model")
        return {path.name: path.read_bytes() for path in (Path(folder) / "model").iterdir()}


@lru_cache(maxsize=2)
def _opened(model: _Model) -> LeadScorer:
    with tempfile.TemporaryDirectory() as folder:
        for file, content in model.files.value.items():
            (Path(folder) / file).write_bytes(content)
        return LeadScorer.load(
            Path(folder), expect_digest=model.digest, name=model.name, version=model.version
        )
