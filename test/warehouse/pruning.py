"""Prints how many rows and bytes of a warehouse file an engine reads for one metric of one node.

    python3 pruning.py pyarrow|datafusion FILE METRIC NODE
"""
import io
import json
import os
import re
import sys

engine, path, metric, node = sys.argv[1:]


class CountingFile(io.FileIO):
    """Counts the bytes that are read, the footer included."""

    count = 0

    def read(self, size=-1):
        data = super().read(size)
        CountingFile.count += len(data)
        return data

    def readinto(self, buffer):
        length = super().readinto(buffer)
        CountingFile.count += length
        return length


def with_pyarrow():
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = pa.PythonFile(CountingFile(path), mode="r")
    filters = [("metric", "=", metric), ("node_id", "=", node)]
    table = pq.read_table(source, columns=["ts", "value"], filters=filters)
    return table.num_rows, CountingFile.count


def with_datafusion():
    from datafusion import SessionContext

    context = SessionContext()
    context.register_parquet("m", path)
    where = f"metric = '{metric}' AND node_id = '{node}'"
    rows = context.sql(f"SELECT ts, value FROM m WHERE {where}").count()
    plan = context.sql(f"EXPLAIN ANALYZE SELECT ts, value FROM m WHERE {where}").to_pydict()
    text = "\n".join(plan["plan"])
    number, unit = re.search(r"bytes_scanned=([\d.]+) ?([KM]?)", text).groups()
    return rows, int(float(number) * {"": 1, "K": 1000, "M": 1_000_000}[unit])


rows, count = with_pyarrow() if engine == "pyarrow" else with_datafusion()
print(json.dumps({"rows": rows, "bytes": count}), flush=True)
# Threads of pyarrow that still hold the file abort an ordinary exit now and then.
os._exit(0)
