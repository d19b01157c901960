"""Arrow streams for Ray Data, which has no reader of them."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
from ray.data.datasource import FileBasedDatasource


class ArrowStreams(FileBasedDatasource):
    """Some columns of files that hold a stream each, a block a record batch.

    Args:
        paths: Of the files.
        columns: Which are read.
    """

    _FILE_EXTENSIONS = ("arrow",)

    def __init__(self, paths: list[str], columns: Sequence[str]) -> None:
        super().__init__(paths)
        self._columns = list(columns)

    def _read_stream(self, f: pa.NativeFile, path: str) -> Iterator[pa.Table]:
        with pa.ipc.open_stream(f) as stream:
            for batch in stream:
                yield pa.Table.from_batches([batch]).select(self._columns)
