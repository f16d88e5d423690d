"""Small text files on whatever file system Spark reaches: local, S3, ADLS, GCS, HDFS."""

from __future__ import annotations

from typing import Any

from pyspark.sql import SparkSession


def read_text(spark: SparkSession, path: str) -> str | None:
    """The text of a file; None when there is none."""
    java_path, files = _open(spark, path)
    if not files.exists(java_path):
        return None
    stream = files.open(java_path)
    try:
        return str(_jvm(spark).org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
    finally:
        stream.close()


def write_text(spark: SparkSession, path: str, text: str) -> None:
    """Write a file whole: beside its place first, then moved there."""
    target, files = _open(spark, path)
    unfinished = _jvm(spark).org.apache.hadoop.fs.Path(path + ".unfinished")
    stream = files.create(unfinished, True)
    try:
        stream.write(bytearray(text.encode()))
    finally:
        stream.close()
    files.delete(target, False)
    files.rename(unfinished, target)


def names(spark: SparkSession, folder: str) -> list[str]:
    """Names of what lies in a folder; none when there is no such folder."""
    java_path, files = _open(spark, folder)
    if not files.exists(java_path):
        return []
    return [str(status.getPath().getName()) for status in files.listStatus(java_path)]


def remove(spark: SparkSession, path: str) -> None:
    """Remove a file or a folder with all it holds."""
    java_path, files = _open(spark, path)
    files.delete(java_path, True)


def _jvm(spark: SparkSession) -> Any:
    return spark.sparkContext._jvm


def _open(spark: SparkSession, path: str) -> tuple[Any, Any]:
    java_path = _jvm(spark).org.apache.hadoop.fs.Path(path)
    return java_path, java_path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())
