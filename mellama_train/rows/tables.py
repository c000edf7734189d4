"""Records of Parquet files and of data sets of the Hugging Face hub, by the library `datasets` (`mibe[hub]`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mellama_train.errors import DataError, one_line
from mellama_train.recipe.stages import HubDataset

PARQUET = ".parquet"


def parquet_records(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, record) of each row of a Parquet file. Raises `DataError`."""
    datasets = _library(str(file))

    def opened() -> Any:
        return datasets.load_dataset("parquet", data_files=str(file), split="train", streaming=True)

    return _records(opened, str(file))


def dataset_records(source: HubDataset) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, record) of each row of one split: of a hub's data set, a folder of data files, or what
    `save_to_disk` wrote. Raises `DataError`."""
    datasets, path = _library(source.dataset), Path(source.dataset)

    def opened() -> Any:
        if (path / "dataset_dict.json").is_file():
            return datasets.load_from_disk(source.dataset)[source.split]
        if (path / "state.json").is_file():
            return datasets.load_from_disk(source.dataset)
        return datasets.load_dataset(source.dataset, source.subset, split=source.split, revision=source.revision)

    return _records(opened, f"{source.dataset}, {source.split} split")


def _records(opened: Callable[[], Any], what: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows by number, from 1. What reading raises is as manifold as the forms of data sets."""
    errors: tuple[type[Exception], ...] = (OSError, ValueError, KeyError, RuntimeError, *_own_errors())
    try:
        for number, record in enumerate(opened(), start=1):
            yield f"{what}, record {number}", _without_nulls(record)
    except errors as error:
        raise DataError(f"cannot read {what}: {one_line(error)}") from error


def _own_errors() -> tuple[type[Exception], ...]:
    from datasets.exceptions import DatasetsError
    from pyarrow import ArrowException

    return DatasetsError, ArrowException


def _library(what: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise DataError(f'{what} is read by the package datasets: pip install "mibe[hub]"') from None
    datasets.disable_progress_bars()
    return datasets


def _without_nulls(value: Any) -> Any:
    """A record as its JSON line was: a table has every key of a column in every row, empty where there was none."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
