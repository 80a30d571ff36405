"""The split of a dataset's rows, and X, y and split as one table."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from modelyard.errors import BadInput

SPLITS = ("train", "validation", "test")


def dataset_table(X: pa.Table, y: pa.Table, split: Any, extra: pa.Table | None = None) -> pa.Table:
    """One table of n rows with the columns ``X.<name>``, ``y.<name>``, ``split`` and ``extra.<name>``, in this order.

    A dataset's digest is the digest of this table.

    Args:
        X: features, n rows.
        y: targets, n rows.
        split: n strings out of ``SPLITS``, Array or ChunkedArray.
        extra: n rows of other columns, or None.

    Raises:
        BadInput: the numbers of rows differ.
    """
    rows = {"X": X.num_rows, "y": y.num_rows, "split": len(split)}
    rows |= {"extra": extra.num_rows} if extra is not None else {}
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{name} {count:,}" for name, count in rows.items())
        raise BadInput(f"the parts of a dataset must have the same number of rows; these have: {counts}")
    fields, columns = [], []
    for prefix, table in (("X.", X), ("y.", y), ("", pa.table({"split": split})), ("extra.", extra)):
        if table is not None:
            fields += [field.with_name(prefix + field.name) for field in table.schema]
            columns += table.columns
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def check_split(split: Any, groups: Any = None) -> None:
    """Check that a split can be trained and tested on; takes and raises what ``SplitCheck`` does."""
    check = SplitCheck()
    check.update(split, groups)
    check.close()


class SplitCheck:
    """Checks that a split can be trained and tested on, a chunk of rows at a time; ``counts`` are rows per split."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(SPLITS, 0)
        self._pairs: pa.Table | None = None

    def update(self, split: Any, groups: Any = None) -> None:
        """Add rows.

        Args:
            split: n strings, Array or ChunkedArray.
            groups: n values, e.g. participants, each of which must stay on one side of the split, or None.

        Raises:
            BadInput: a value other than train, validation and test, or rows without a group.
        """
        counts = {row["values"]: row["counts"] for row in pc.value_counts(_decoded(split)).to_pylist()}
        unknown = sorted({str(value) for value in counts} - set(SPLITS))
        if unknown:
            raise BadInput(f"a split is one of {', '.join(SPLITS)}; found {', '.join(unknown[:5])}")
        for name, count in counts.items():
            self.counts[name] += count
        if groups is None:
            return
        if len(groups) != len(split):
            raise BadInput(f"there are {len(groups):,} groups for {len(split):,} rows")
        pairs = pa.table({"group": _decoded(groups), "split": _decoded(split)}).group_by(["group", "split"])
        found = pairs.aggregate([])
        if found["group"].null_count:
            raise BadInput(
                "there are rows without a group, so no side of the split can be told for them; drop or name them"
            )
        known = found if self._pairs is None else pa.concat_tables([self._pairs, found])
        self._pairs = known.group_by(["group", "split"]).aggregate([])

    def close(self) -> None:
        """Check all rows together.

        Raises:
            BadInput: no row in train or test, or groups on more than one side, with examples.
        """
        empty = [name for name in ("train", "test") if not self.counts[name]]
        if empty:
            raise BadInput(
                f"the split leaves no row in {' and '.join(empty)}: {self.counts}; change the shares or add data"
            )
        if self._pairs is None:
            return
        sides = self._pairs.group_by("group").aggregate([("split", "count"), ("split", "list")])
        torn = sides.filter(pc.field("split_count") > 1).sort_by("group")
        if torn.num_rows:
            examples = [
                f"{row['group']!r} ({', '.join(sorted(row['split_list']))})" for row in torn.slice(0, 3).to_pylist()
            ]
            raise BadInput(
                f"groups are on more than one side of the split ({torn.num_rows:,} of {sides.num_rows:,}), "
                f"e.g. {'; '.join(examples)}; split by group"
            )


def _decoded(column: Any) -> Any:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column
