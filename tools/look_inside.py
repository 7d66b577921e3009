"""See what a localizer learned: `python tools/look_inside.py NAME --data DIR [--pictures DIR]`.

On DeepLoc 1.0's test, which no member has seen: the mean attention at both ends for each location,
the convolutions that tell locations apart best, and what becomes of a location's likelihood when an
end of the chains is cut off, or SKL, the signal of peroxisomes, put there. Draws the first two, and
prints tables as `evaluate.py` does its records, for `release.py --metrics`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

START, END, SHOWN, CUT = 30, 10, 12, 30
_PEROXISOME = "Peroxisome"


def main(arguments: list[str] | None = None) -> None:
    import numpy as np
    from recipes.deeploc_measure import check_unseen, read_set
    from recipes.protein_data import spelled

    import rnnzoo
    from rnnzoo.inspect import attention_profile, filter_logos, plot_logos

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", help="a registered name, a checkpoint folder or an hf:// address")
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data set")
    parser.add_argument("--pictures", type=Path, default=ROOT / "tools" / "pictures")
    parser.add_argument("--limit", type=int, help="only the first proteins")
    options = parser.parse_args(arguments)

    check_unseen(options.name, "test")
    model = rnnzoo.load(options.name)
    ((data, split, proteins),) = read_set(options.data, "test")
    proteins = proteins.take(np.arange(len(proteins))[: options.limit])
    chains = [chain for _, chain in spelled(proteins)]
    labels = [proteins.locations[place] for place in proteins.location]

    found = model.predict(chains, verbose=0)
    profile = attention_profile(found, labels)
    logos = filter_logos(model, chains, labels)
    options.pictures.mkdir(parents=True, exist_ok=True)
    profile.plot().savefig(options.pictures / "attention-profile.png", dpi=80)
    plot_logos(logos[:SHOWN]).savefig(options.pictures / "filters.png", dpi=80)

    limit = f" --limit {options.limit}" if options.limit else ""
    shared = {
        "data": data,
        "split": split,
        "command": f"python tools/look_inside.py {options.name} --data DIR{limit}",
    }
    attention = [
        [
            name,
            count,
            round(float(np.nanmean(profile.start[name][:START])), 2),
            round(float(np.nanmean(profile.end[name][-END:])), 2),
            round(float(np.nanmean(profile.end[name][-3:])), 2),
        ]
        for name, count in profile.counts.items()
    ]
    filters = [
        [f"{g.width}:{g.number}", g.consensus, g.location, round(g.enrichment, 2),
         round(g.position, 2)]
        for g in logos[:SHOWN]
    ]  # fmt: skip
    changed = {
        f"without residues 2 to {CUT}": [chain[0] + chain[CUT:] for chain in chains],
        f"without the last {CUT}": [chain[:-CUT] or chain for chain in chains],
        "ending in SKL": [chain[:-3] + "SKL" for chain in chains],
    }
    likelihoods = {
        "as it is": [one.likelihoods for one in found],
        **{
            title: [one.likelihoods for one in model.predict(others, verbose=0)]
            for title, others in changed.items()
        },
    }
    ends = []
    for name in proteins.locations:
        rows = [n for n, label in enumerate(labels) if label == name and len(chains[n]) > 2 * CUT]

        def mean(title: str, location: str, rows: list[int] = rows) -> float:
            return round(float(np.mean([likelihoods[title][n][location] for n in rows])), 3)

        if rows:
            own = [mean(title, name) for title in likelihoods]
            ends.append([name, len(rows), *own[:3], mean("as it is", _PEROXISOME),
                         mean("ending in SKL", _PEROXISOME)])  # fmt: skip
    tables = [
        {
            "title": f"mean likelihood of the true location, chains of over {2 * CUT} residues",
            "columns": ["location", "proteins", *list(likelihoods)[:3], _PEROXISOME,
                        f"{_PEROXISOME} if ending in SKL"],
            "cells": ends,
            **shared,
        },
        {
            "title": "mean attention a residue gets, 1 if all were alike",
            "columns": ["location", "proteins", f"first {START}", f"last {END}", "last 3"],
            "cells": attention,
            **shared,
        },
        {
            "title": "filters of the first member that tell locations apart best",
            "columns": ["width:filter", "consensus", "excited by", "standard deviations",
                        "place in the chain, 0 to 1"],
            "cells": filters,
            **shared,
        },
    ]  # fmt: skip
    for table in tables:
        for row in table["cells"]:
            print(*row, sep="\t", file=sys.stderr)
    print(json.dumps(tables, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
