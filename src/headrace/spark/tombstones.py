"""Who is forgotten, and up to when: by the HMAC of an id, when nothing names it any more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from headrace.engine.identity import FORGOTTEN, LINKS, Link
from headrace.engine.tombstone import tombstone
from headrace.errors import OperatorError
from headrace.spark.erased import Erased
from headrace.spark.files import read_text, write_text
from headrace.spark.tables import Lake

BLOCK = 64  # bytes of SHA-256's blocks, RFC 2104


@dataclass(frozen=True, slots=True)
class Tombstones:
    """The tombstones of batches before ``before``, if that is given, and the key to read them.

    What they say of facts of batches up to ``erased`` has been carried out: those are gone.
    """

    lake: Lake
    secret: str = field(repr=False)
    before: int | None = None
    erased: int = -1

    @staticmethod
    def needed(spark: SparkSession, lake: Lake, secret: str, *, n: int) -> Tombstones | None:
        """For who tells stored facts anew as of batch ``n``.

        None where they still hold every deletion themselves: no removal has begun yet.
        """
        erased = Erased.read(spark, lake)
        if erased is None:
            return None
        return Tombstones(lake, secret, before=n + 1, erased=erased.n)

    def newest(self, spark: SparkSession) -> DataFrame:
        """(key, until, carried_out, carried_out_at) of every id that is forgotten now.

        The latter are number and now of the batch that carried the newest deletion out.
        """
        rows = self.lake.read(spark, "tombstones")
        if self.before is not None:
            rows = rows.where(F.col("n") < self.before)
        newest = rows.groupBy("key").agg(
            F.max_by("until", "n").alias("until"),
            F.max("n").alias("carried_out"),
            F.max_by("at", "n").alias("carried_out_at"),
        )
        return newest.where("until >= 0")

    def among(self, users: DataFrame) -> DataFrame:
        """Those of ``users`` (user_id, ...) who are forgotten, with what `newest` says of them."""
        keyed = users.withColumn("key", hmac("user_id", self.secret))
        return keyed.join(self.newest(users.sparkSession), "key").drop("key")

    def instants(self, spark: SparkSession, ids: Iterable[str]) -> dict[str, int]:
        """Up to when those of ``ids`` are forgotten that are."""
        names = sorted(ids)
        keys = [tombstone(name, self.secret) for name in names]
        asked = spark.createDataFrame(
            pa.table({"user_id": pa.array(names, pa.string()), "key": pa.array(keys, pa.string())})
        )
        found = self.newest(spark).join(F.broadcast(asked), "key").select("user_id", "until")
        return {row["user_id"]: row["until"] for row in found.collect()}

    def deletions(self, spark: SparkSession, links: Iterable[Link]) -> list[Link]:
        """The deletions of ids that ``links`` name: those that carried them out may be gone."""
        ids = {user for link in links for user in link[2:] if user}
        found = self.instants(spark, ids) if ids else {}
        return [(until, "delete", user, "") for user, until in found.items()]

    def marked(self, facts: DataFrame, doubtful: Column) -> DataFrame:
        """``facts`` (sent_id, ts, type, ...), those forgotten of type FORGOTTEN.

        Only ``doubtful`` ones are worth a hash. Joins and deletions stay what they are.
        """
        doubtful = doubtful & ~F.col("type").isin(*LINKS)
        keyed = facts.withColumn("key", F.when(doubtful, hmac("sent_id", self.secret)))
        until = self.newest(facts.sparkSession).select("key", "until")
        kept = F.col("until").isNull() | (F.col("ts") > F.col("until"))
        columns = [
            F.when(kept, F.col(name)).otherwise(FORGOTTEN).alias(name)
            if name == "type"
            else F.col(name)
            for name in facts.columns
        ]
        return keyed.join(until, "key", "left").select(*columns)

    def check_key(self, spark: SparkSession) -> None:
        """Remember which key tombstones are made with; raises OperatorError for another one."""
        path = self.lake.path("_tombstones.key")
        found = read_text(spark, path)
        known = sha256(f"headrace\0{self.secret}".encode()).hexdigest()
        if found is None:
            write_text(spark, path, known)
        elif found.strip() != known:
            raise OperatorError(
                "setting 'tombstone_key' is not the key that the tombstones under "
                f"{self.lake.root} were made with: forgotten users would come back",
                code="HR916",
            )


def hmac(column: str, secret: str) -> Column:
    """HMAC-SHA256 of a text column in hex, as RFC 2104 builds it from SHA-256."""
    key = secret.encode()
    if len(key) > BLOCK:
        key = sha256(key).digest()
    key = key.ljust(BLOCK, b"\0")
    inner, outer = (bytes(byte ^ pad for byte in key) for pad in (0x36, 0x5C))
    digest = F.sha2(F.concat(F.lit(inner), F.encode(column, "utf-8")), 256)
    return F.sha2(F.concat(F.lit(outer), F.unhex(digest)), 256)
