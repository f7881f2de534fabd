"""Convert sequences of item ids and a table of titles to files that recipes read.

python examples/amazon_beauty.py FOLDER OUT      Beauty.txt and titles.tsv in FOLDER -> log.csv and items.csv in OUT

Research code keeps Amazon reviews (2014, 5-core) in such files: one line per user, oldest item first. The time of a row
is its position in the sequence.
"""

import csv
import sys
from pathlib import Path


def convert(source: Path, out: Path) -> None:
    """Write OUT/log.csv (user, item, time) and OUT/items.csv (item, title)."""
    out.mkdir(parents=True, exist_ok=True)
    with (source / "Beauty.txt").open() as lines, (out / "log.csv").open("w", newline="") as file:
        log = csv.writer(file)
        log.writerow(["user", "item", "time"])
        for line in lines:
            user, *items = line.split()
            log.writerows((user, item, time) for time, item in enumerate(items))
    with (source / "titles.tsv").open(encoding="utf-8") as lines, (out / "items.csv").open("w", newline="") as file:
        items = csv.writer(file)
        items.writerow(["item", "title"])
        items.writerows(line.rstrip("\n").split("\t") for line in list(lines)[1:])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
