"""The jobs a scheduler starts, on tables written by hand: evaluation, export, quality, upkeep."""

from __future__ import annotations

import csv
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructField, StructType

from databases import drop_database, fresh_database
from headrace.cli import main
from headrace.clock import DAY, MINUTE, format_instant, parse_instant
from headrace.embedded import Servers
from headrace.engine.state import CURRENT, pack_members
from headrace.errors import OperatorError
from headrace.jobs import export, keep, quality, recompute
from headrace.jobs.expectations import judge
from headrace.rules.folder import load_rules
from headrace.runtime import publish
from headrace.settings import Settings
from headrace.spark.evaluations import TABLE, forget_members, keep_members, kept_members
from headrace.spark.header import Header
from headrace.spark.plans import KeptPlans
from headrace.spark.rewrites import ASKED
from headrace.spark.session import Session
from headrace.spark.tables import TABLES, Lake, TableName
from headrace.store import Store
from rule_folders import CATALOG, write_rules

NOW = parse_instant("2026-11-01T12:00:00Z")
SUITES = Path(__file__).resolve().parents[2] / "conf" / "expectations"
WEEKLY = "  refresh: 0 3 * * 1"
PEOPLE = [f"u{n:02}" for n in range(30)]
MOVED, STAYED = PEOPLE[:15], PEOPLE[15:]  # from Germany to France ten minutes ago

GERMAN = {"country": "DE", "motto": "=1+2"}


@dataclass(frozen=True)
class Shop:
    """Thirty people, of whom half have just left the segment `german`."""

    settings: Settings
    store: Store
    lake: Lake


@pytest.fixture(scope="module")
def shop(
    servers: Servers, spark: Session, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    url, folder = fresh_database(servers), tmp_path_factory.mktemp("shop")
    settings = Settings(
        home=folder / "home",
        namespace=f"t{uuid.uuid4().hex[:8]}",
        postgres_url=url,
        kafka_bootstrap=servers.kafka_bootstrap,
        redis_url=servers.redis_url,
    )
    store = Store(url, settings.namespace)
    segments = {
        "german": "{trait: country, eq: DE}",
        "weekly": f"{{trait: country, ne: DE}}\n{WEEKLY}",
        "nobody": f"{{trait: country, eq: XX}}\n{WEEKLY}",
    }
    catalog = f"{CATALOG}  motto: {{type: string}}\n"
    rules = load_rules(write_rules(folder / "rules", segments, catalog)).require()
    plan = publish(store, settings, rules, author="test").plan
    lake = Lake(settings.tables_root)
    lake.create(spark)
    KeptPlans(spark, lake.root).keep(plan)
    (german,) = (program.version_id for program in plan.programs)
    header = Header(n=7, now=NOW, plan=plan.hash, linked=7)
    before, lately = NOW - 2 * DAY, NOW - 10 * MINUTE
    write(spark, lake, "events", [
        *(event(n, user, before, GERMAN) for n, user in enumerate(PEOPLE)),
        *(event(40 + n, user, lately, {"country": "FR"}) for n, user in enumerate(MOVED)),
    ], header)  # fmt: skip
    write(spark, lake, "transitions", [
        *(transition(user, "enter", before) for user in PEOPLE),
        *(transition(user, "exit", lately) for user in MOVED),
    ], header)  # fmt: skip
    write(spark, lake, "profiles", [
        *(profile(user, "FR", []) for user in MOVED),
        *(profile(user, "DE", [german]) for user in STAYED),
    ], header)  # fmt: skip
    yield Shop(settings, store, lake)
    store.close()
    drop_database(servers, url)


def write(spark: Session, lake: Lake, name: TableName, rows: list[dict], header: Header) -> None:
    fields = [StructField(column, kind) for column, kind, _ in TABLES[name].columns]
    table = pa.Table.from_pylist(rows, schema=to_arrow_schema(StructType(fields)))
    writer = spark.createDataFrame(table).coalesce(1).write.format("delta").mode("append")
    writer.option("userMetadata", header.to_json()).save(lake.path(name))


def day(at: int) -> object:
    return datetime.fromtimestamp(at / 1000, UTC).date()


def event(offset: int, user: str, at: int, traits: dict[str, str]) -> dict[str, object]:
    return {
        "user_id": user, "type": "traits", "ts": at, "properties": json.dumps(traits), "n": 7,
        "at": at, "day": day(at), "verdict": "accepted", "partition": 0, "offset": offset,
    }  # fmt: skip


def transition(user: str, change: str, at: int) -> dict[str, object]:
    return {
        "user_id": user,
        "segment": "german",
        "change": change,
        "at": at,
        "day": day(at),
        "n": 7,
    }


def profile(user: str, country: str, members: list[int]) -> dict[str, object]:
    values = {"country": country, "motto": '-"2"' if country == "FR" else "=1+2"}
    return {
        "user_id": user, "n": 7, "at": NOW, "layout": CURRENT, "first_seen": NOW, "bucket": 0,
        "traits": json.dumps({name: {"ts": 1, "v": value} for name, value in values.items()}),
        "members": pack_members(members),
    }  # fmt: skip


def test_an_evaluation_is_kept_once_for_each_segment_and_instant(
    shop: Shop, spark: Session
) -> None:
    asked = {"at": format_instant(NOW), "segments": ["weekly", "nobody"], "output": None}
    assert recompute.run(shop.settings, **asked, keep=True) == 0
    earlier = spark.createDataFrame([("weekly", "u29")], "segment string, user_id string")
    for _ in range(2):  # told again it comes to the same
        keep_members(earlier, shop.lake, segments=["weekly"], at=NOW - DAY, n=6)
    assert instants(shop, spark) == [
        ("nobody", NOW, 0), ("weekly", NOW - DAY, 1), ("weekly", NOW, 15),
    ]  # fmt: skip
    kept = {(row["segment"], row["user_id"]) for row in kept_members(spark, shop.lake).collect()}
    assert kept == {("weekly", user) for user in MOVED}
    forget_members(spark, shop.lake, before=NOW + DAY)
    assert instants(shop, spark) == [("nobody", NOW, 0), ("weekly", NOW, 15)]


def instants(shop: Shop, spark: Session) -> list[tuple[str, int, int]]:
    """What is kept: segment, instant, members; the row that says "evaluated" is no member."""
    rows = shop.lake.read(spark, TABLE).groupBy("segment", "at").count().collect()
    return sorted((row["segment"], row["at"], row["count"] - 1) for row in rows)


def exported(shop: Shop, folder: Path, segment: str) -> list[dict[str, str]]:
    assert export.run(shop.settings, segment=segment, format="csv", output=str(folder)) == 0
    (file,) = folder.glob("*.csv")
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_an_export_holds_members_with_traits_and_no_formula(shop: Shop, tmp_path: Path) -> None:
    first, *others = exported(shop, tmp_path / "german", "german")
    assert first == {"user_id": "u15", "country": "DE", "motto": "'=1+2"}
    assert len(others) == 14
    first, *_ = exported(shop, tmp_path / "weekly", "weekly")
    assert first == {"user_id": "u00", "country": "FR", "motto": '\'-"2"'}
    with pytest.raises(OperatorError, match=r"no active segment 'germa' \(did you mean 'german'"):
        exported(shop, tmp_path, "germa")


def test_a_segment_that_loses_too_many_is_held_until_released(
    shop: Shop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = shop.settings
    assert quality.run(settings, suites=SUITES) == 1
    told = capsys.readouterr().out
    assert "FAILED: no segment of 20 members or more loses 40 %" in told
    assert "passed: no property comes as another JSON type" in told
    [row] = shop.store.progress("quality", kind="quality")
    assert (row.details["held"], row.exit_code) == (["german"], 1)
    page = (settings.home / "quality" / "latest.html").read_text()
    assert "1 of 5 claims do not hold" in page
    assert "src=" not in page and "href=" not in page
    metrics = (settings.home / "metrics" / "quality.prom").read_text()
    assert 'headrace_quality_failed_claims{suite="segments"} 1.0' in metrics
    assert 'headrace_segment_held{segment="german"} 1.0' in metrics
    with pytest.raises(OperatorError, match=r"outputs of german are held since .* lost_share 0\.5"):
        exported(shop, tmp_path, "german")

    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HEADRACE_POSTGRES_URL", settings.postgres_url.get_secret_value())
        environment.setenv("HEADRACE_NAMESPACE", settings.namespace)
        assert main(["quality", "holds", "--output", "json"]) == 0
        assert [hold["segment_id"] for hold in json.loads(capsys.readouterr().out)] == ["german"]
        assert main(["quality", "release", "german", "--author", "ann"]) == 0
        assert main(["quality", "release", "german"]) == 1
        assert main(["schedules", "--write", str(tmp_path / "new" / "schedules.json")]) == 0
    assert shop.store.holds() == []
    written = json.loads((tmp_path / "new" / "schedules.json").read_text())
    assert written == {"german": "continuous", "nobody": "0 3 * * 1", "weekly": "0 3 * * 1"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        pytest.param("segments", "{}", "is no suite of expectations", id="without expectations"),
        pytest.param("volume", "{}", "there is no table 'volume'", id="of no table"),
        pytest.param("", "", "no suites of expectations in", id="none"),
    ],
)
def test_a_broken_suite_is_a_sentence(tmp_path: Path, name: str, text: str, message: str) -> None:
    if name:
        (tmp_path / f"{name}.json").write_text(text)
    with pytest.raises(OperatorError, match=message):
        judge(tmp_path, {"segments": pl.DataFrame({"segment": ["a"]})})


def test_upkeep_forgets_what_is_old(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    evaluations = shop.settings.home / "evaluations"
    for name in ("old", "new"):
        (evaluations / name).mkdir(parents=True)
    os.utime(evaluations / "old", (0, 0))
    assert keep.run(shop.settings) == 0
    assert [path.name for path in evaluations.iterdir()] == ["new"]
    assert "removed 1 old files and folders, 0 old runs; vacuum took" in capsys.readouterr().out
    assert (Path(shop.settings.tables_root) / ASKED).exists()
