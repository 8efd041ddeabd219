"""The same expressions on Spark: every value of the training set equals that of DuckDB."""

import os
import shutil
import sys

import ibis
import pandas as pd
import pytest

from casebook.data import pipeline
from casebook.worlds.takeaway import Takeaway

pyspark = pytest.importorskip("pyspark", reason="pyspark is not installed: the optional group 'spark'")
if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
    pytest.skip("Spark needs Java 17, and there is none on the PATH", allow_module_level=True)


@pytest.fixture(scope="module")
def spark(tmp_path_factory):
    from pyspark.sql import SparkSession

    # The worker's Python is that of the test, on this machine alone.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    session = (
        SparkSession.builder.master("local[1]")
        .appName("casebook")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("warehouse")))
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()


@pytest.mark.parametrize("as_of", ["last night", "end of log"])
def test_spark_and_duckdb_agree_on_every_value(spark, tmp_path, as_of):
    world = Takeaway(users=60, towns=2)
    tables = pipeline.events_of(world.log(9).frame, world.restaurants)
    engine = ibis.pyspark.connect(spark)
    files = {}
    for name, table in tables.tables().items():
        path = tmp_path / f"{name}.parquet"
        table.to_parquet(path)
        files[name] = engine.read_parquet(str(path))
    there = pipeline.training_set(pipeline.Events(**files), start=3, now=8.5, mature=1, as_of=as_of)
    here = pipeline.training_set(
        pipeline.connect(tables, ibis.duckdb.connect()), start=3, now=8.5, mature=1, as_of=as_of
    )
    frames = [side.to_pandas().sort_values(pipeline.KEYS).reset_index(drop=True) for side in (there, here)]
    assert len(frames[0]) > 500
    pd.testing.assert_frame_equal(*frames, check_dtype=False, check_exact=True)
