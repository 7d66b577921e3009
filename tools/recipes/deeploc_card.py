"""What the cards of the localizers say, measured figures aside; runs as a task."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

from recipes.deeploc import NO_FOLD
from recipes.run import in_words, learning_curve, read_run, training_record

# human insulin's precursor (secreted), yeast's COX4 (mitochondrion), the first 155 residues of
# SV40's large T with its nuclear signal PKKKRKV
_GOLDEN_INPUTS: tuple[tuple[Any, dict[str, Any]], ...] = (
    (
        "MALWMRLLPLLALLALWGPDPAAAFVNQHLCGSHLVEALYLVCGERGFFYTPKTRREAEDLQVGQVELGGGPGAGSLQPLALEGSLQKRGIVEQ"
        "CCTSICSLYQLENYCN",
        {},
    ),
    (
        "MLSLRQSIRFFKPATRTLCSSRYLLQQKPVVKTAQNLAEVNGPETLIGPGAKEGTVPTDLDQETGLARLELLGKLEGIDVFDTKPLDSSRKGTM"
        "KDPIIIESYDDYRYVGCTGSPAGSHTIMWLKPTVNEVARCWECGSVYKLNPVGVPNDDHHH",
        {},
    ),
    ("MDKVLNREESLQLMDLLGLERSAWGNIPLMRKAYLKKCKEFHPDKGGDEEKMKKMNTLYKKMEDGVKYAHQPDFGGFWDATEIPTYGTDEWEQWWNA"
     "FNEENLFCSEEMPSSDDEATADSQHSTPPKKKRKVEDPKDFPSELLSFLSHAVFSNRT", {}),
)  # fmt: skip

_UNIPROT = {
    "licence": "CC BY 4.0",
    "url": "https://www.uniprot.org",
}
_MULTILOC = {
    "name": "MultiLoc (Swiss-Prot 42)",
    "citation": "UniProt Consortium; Höglund, Dönnes, Blum, Adolph and Kohlbacher, MultiLoc, "
    "Bioinformatics 22(10), 2006, doi 10.1093/bioinformatics/btl002.",
    "size": "5,959 proteins",
    **_UNIPROT,
}
_DEEPLOC = {
    "name": "DeepLoc 1.0 and 2.0 (Swiss-Prot), membrane labels partly reconstructed",
    "citation": "UniProt Consortium; Almagro Armenteros, Sønderby, Sønderby, Nielsen and "
    "Winther, DeepLoc: prediction of protein subcellular localization using deep learning, "
    "Bioinformatics 33(21), 2017, doi 10.1093/bioinformatics/btx431; Thumuluri, Almagro "
    "Armenteros, Johansen, Nielsen and Winther, DeepLoc 2.0, Nucleic Acids Research 50(W1), "
    "2022, doi 10.1093/nar/gkac278.",
    "size": "DeepLoc 1.0: 13,858 proteins, of them 2,773 for the test; of DeepLoc 2.0 those "
    "that are new and, as far as a search found them, no homologs of that test, of several "
    "locations too",
    **_UNIPROT,
}
_DATA = {
    "deeploc-attn": (
        _DEEPLOC,
        {**_MULTILOC, "size": "of 5,959 proteins those that DeepLoc 1.0 and 2.0 have not"},
    ),
    "deeploc-multiloc": (_MULTILOC,),
    "deeploc-multiloc-clean": (_MULTILOC,),
}
_SONDERBY = (
    "Sønderby, Sønderby, Nielsen and Winther, Convolutional LSTM Networks for Subcellular "
    "Localization of Proteins, 2015, arXiv 1503.01919",
)
_PAPERS = {
    "deeploc-attn": (
        "Almagro Armenteros et al., DeepLoc: prediction of protein subcellular localization using "
        "deep learning, 2017, doi 10.1093/bioinformatics/btx431",
    ),
    "deeploc-multiloc": _SONDERBY,
    "deeploc-multiloc-clean": _SONDERBY,
}
_SUMMARIES = {
    "deeploc-attn": "Where a protein goes: ten locations, membrane-bound or soluble, and which "
    "residues the network looked at (DeepLoc 2017)",
    "deeploc-multiloc": "Where a protein goes: Sønderby's network (2015) on MultiLoc's eleven "
    "locations, random split",
    "deeploc-multiloc-clean": "Where a protein goes: Sønderby's network (2015) on MultiLoc's "
    "eleven locations, clusters of homologs in training or in test, not in both",
}
_LIMITS = (
    "Eukaryotic proteins of one location each: a protein that is in several places gets one. Those "
    "of bacteria, archaea and viruses get a place in a eukaryotic cell all the same.",
    "Whole chains, as they are translated: a fragment or a mature chain may lack the signal that "
    "decides. Peptides shorter than what it was trained on (40 residues; MultiLoc: 13) and chains "
    "of X get a location without a warning.",
    "It reads the sequence alone: no homologs, no profiles. A likelihood is no experiment; do not "
    "use it for clinical or safety decisions, nor as the only evidence for a paper's claim.",
    "Rare locations (peroxisome, lysosome or vacuole, Golgi apparatus) are often missed, as the "
    "confusion matrix shows.",
    "Of chains of over 1,000 residues the middle is not read.",
    "Importance is attention: it says what the network looked at, not what causes the sorting.",
)


_LIMITS_OF = {
    "deeploc-attn": (
        "The table of results has the columns of DeepLoc 2's, but in them likelihoods with the sum "
        "1, where DeepLoc 2 has a score for each location with a threshold of its own: cut-offs "
        "made for those do not fit.",
        "`deeploc-attn` said Lysosome/Vacuole of 2 proteins of the test, wrongly both "
        "times, and of none of the 64 that are there: look at its likelihood, not for its name.",
    ),
}
_NOTES: dict[str, tuple[str, ...]] = {
    "deeploc-attn": (
        "Three members, averaged, each trained on all of DeepLoc 1.0's training set. The first "
        "began with fresh weights and was taught, for 20,100 steps, by the three of the "
        "checkpoint before (the mean of their likelihoods is 7 tenths of the target where there "
        "is a label, and all of it where there is none: of proteins of several locations, and of "
        "those not known to be membrane-bound or not). The second and third are of that "
        "checkpoint: begun with members that had each been trained on all folds but one (73.3 and "
        "71.1 % on folds 2 and 1, which nothing in them had seen) and trained on for 1,700 and "
        "1,400 steps with all folds. The settings are those that had been chosen with folds left "
        "out; steps were set by the time there was.",
        "Nothing of it could be validated: no fold is unseen any more. The first member was "
        "chosen instead by what it says of human proteins seen in microscopes, those of DeepLoc "
        "2.0's second test (Human Protein Atlas, proteinatlas.org; Thul et al. 2017) of at least "
        "40 residues that are not in the training data (1,676; their homologs may be), by a "
        "script that is not kept. That is a weak measure: right is a place that is one of the "
        "protein's, whoever always says Nucleus is right for 52.5 %, and so the cross-entropy "
        "counts. The first member: 51.8 %, cross-entropy 1.468; the one whose place it took: 49.9 "
        "%, 1.578; these three: 51.8 %, 1.419; those before: 51.0 %, 1.426. After 14,100 of its "
        "20,100 steps it had been measured on the official test, too (below).",
        "DeepLoc's 74 % with BLOSUM62 is read off a chart (its bar measures 73.6), 78 % with "
        "profiles and 92 % for membranes are in the authors' abstract (four models averaged); "
        "copying the nearest homolog gives 53.6 %. Of the checkpoint before this one the first "
        "member is better alone (73.6 % instead of 72.3, macro F1 0.631 instead of 0.617); the "
        "three together are not (both 74.2 %, macro F1 0.632 instead of 0.637), and tell "
        "membranes worse (90.7 instead of 91.3 %; one member 90.3 instead of 90.6). Two more "
        "candidates for the first member were measured on the test in between, 73.9 and 74.1 % "
        "together, 72.7 % each alone; the second of them is this one after those 14,100 steps "
        "(membranes 90.6 and 90.2 %). The checkpoints before had 71.5 and 72.0 % (one member), "
        "71.8, 72.6 and 73.6 % there (the last the best of four candidates), macro F1 0.575, "
        "0.567, 0.593, 0.604 and 0.626. Of 2,773 proteins an accuracy is known to 0.8 points "
        "(standard error): 74.2 % are not told from 74.",
        "Besides DeepLoc 1.0's proteins they were trained on those of DeepLoc 2.0 and of MultiLoc "
        "that are new, without the homologs of the test: 30 % identity over half of either chain "
        "(MMseqs2, asked with what was added). Asked with the test's proteins it finds 175 more "
        "among the 16,014, near 129 of the 2,773 (of 24 looked at 18 share 32 to 49 % of a chain "
        "in the alignment of the first search). The second and third member read these, the first "
        "111 of them in its first 10,234 steps and none in its last 9,866, though what its "
        "teachers, who had, say of others. Without these 129 the three have 73.9 %, the first "
        "73.3 %: 0.3 points less. The columns by homology count DeepLoc 1.0's training proteins "
        "only. The recipe's search asks from both sides since. All three were trained on proteins "
        "of several locations too: the second and third were told that they are in one of theirs, "
        "whichever the network finds likely, the first, for 6,000 steps, what its teachers find. "
        "With what was added and 3,800 to 7,000 steps more, at another learning rate, the members "
        "before had gone from 71.9 to 72.5 % (fold 0; MultiLoc), from 71.7 to 73.3 (fold 2; "
        "MultiLoc) and again 73.3 % (several; cross-entropy from 0.810 to 0.800), from 70.1 to "
        "71.1 % (fold 1; both). The same steps without what was added were not tried, nor "
        "substitution, shortening and the average of weights each by itself.",
        "Membrane-bound or not follows from the location of most of the 1,749: whoever knew it "
        "and said what most proteins there are would be right for 94.2 %. In the locations where "
        "both occur (515 proteins, in each of them the usual is right for 80.2 %) the network is "
        "right for 81.2 % (82.3 before), its first member for 80.2 %, no more than the usual "
        "gives.",
        "Where biology shows: without residues 2 to 30, where the signal peptides and transit "
        "peptides are, proteins lose most of the likelihood of their place (secreted 0.77 to "
        "0.19, plastid 0.78 to 0.19, mitochondrial 0.76 to 0.32, Golgi 0.27 to 0.09; table "
        "above), and nuclear ones little (0.69 to 0.66). The filters read stretches of L, F, V "
        "and Y, as in membrane helices, runs and pairs of K and R (nucleus), and one of the first "
        "member's, which secreted proteins excite most, the start of the chain.",
        "SKL at the C-terminus, the signal of peroxisomes, is looked at and read: the last three "
        "residues of peroxisomal proteins get 8 times the mean attention (of membrane proteins 6, "
        "of others 2.7 to 4.1); without their last 30 residues they lose most of their likelihood "
        "(0.354 to 0.092), and cytoplasmic proteins whose last three are made SKL get some 25 "
        "times what they had of it (0.007 to 0.182), which seldom decides.",
        "Where biology does not show: the first 30 residues get 3 to 5 times the mean attention "
        "in every location, in cytoplasmic proteins (4.4) more than in secreted ones (3.5): it "
        "does not tell signals there, cutting does. None of the twelve filters above is excited "
        "by mitochondrial or plastid proteins most, and none is of SKL. Lysosome/Vacuole is "
        "nearly never the likeliest location.",
        "What helped on validation: the ends of the chains first, 240 residues (some 1.5 minutes "
        "in, accuracy 56 instead of 38 %); 64 LSTM units alone on DeepLoc 1.0 reached 69.6 %, 128 "
        "units with DeepLoc 2.0's proteins 71 %. Rare locations are drawn again until each has 3 "
        "% of a pass (6 to 7 of 25 peroxisomal proteins were found then instead of none; 13 of 30 "
        "on the test), and DeepLoc 2.0's proteins have other shares of locations: to count that "
        "in (logit adjustment) for 200 steps more raised fold 0 from 70.8 to 71.9 % (shifting the "
        "logits without training: 71.3 %), fold 1 not (70.3 and 70.1 %). Teachers, two of whom "
        "were trained on that fold, from the same weights: 72.7 %.",
        "What did not: deciding from the decoder's last state instead of its last look (69.6 and "
        "69.6 %); DeepLoc 2.0's proteins in a network of 64 units (68.9 instead of 69.5 %); "
        "proteins of several locations as shared targets (at 1,000 steps 57.6 instead of 59.6 %); "
        "2,600 steps on DeepLoc 1.0 alone at the end (71.6 to 70.6 %); dropout 0.45, label "
        "smoothing 0.1 and more shortening after that (70.6 to 70.8 %). By the human proteins of "
        "the second note: the second member trained on for 2,400 steps, taught by the first, the "
        "third and one of those before, with the membranes' loss counted once instead of half "
        "(51.0 to 49.3 %, cross-entropy 1.491 to 1.520).",
    ),
    "deeploc-multiloc": (
        "Trained on folds 1 to 3 and validated on fold 4: 79.9 % after 2,600 steps, 81.0 after "
        "2,600 more (between 80.1 and 81.4 on the way, its cross-entropy a little worse at the "
        "end: 0.627 after 0.607), which is what these proteins gave a network of this size. Then "
        "on folds 1 to 4 for 1,000 steps, which nothing could validate: Sønderby et al. train on "
        "four folds of five, and copying, below, has four to copy from. Fold 5 was measured once "
        "for each checkpoint: for this one and for one before, of three folds (78.9 %, macro F1 "
        "0.635). Sønderby et al. are "
        "quoted with 85.4 % for one network with attention (not read in the paper by us) and "
        "report 90.2 % for ten without, on another random split, with profiles besides the "
        "sequence.",
        "The random split says little: three quarters of the test's proteins have a homolog among "
        "those trained on, and copying the nearest one gives 84.0 %, more than this network. "
        "`deeploc-multiloc-clean` is measured on proteins of other clusters of homologs.",
    ),
    "deeploc-multiloc-clean": (
        "The network of `deeploc-multiloc` on folds of whole clusters of 30 % identity: trained on "
        "folds 1 to 3 for 2,600 steps, validated on fold 4 (73.6 %), then on folds 1 to 4 for "
        "1,300 steps, which nothing could validate. Fold 5 was measured once for each checkpoint: "
        "for this one and for one before, of three folds (76.4 %, macro F1 0.599).",
        "Clusters of 30 % identity are whole in one fold, which does not part all homologs: of "
        "fold 5 19 % have a hit of at least 30 % over half their length in folds 1 to 4 (of the "
        "random split 76 %). Those are told better (84.4 %) than those without (74.8 %; of the "
        "random split 85.9 and 70.1 %). Copying the nearest homolog gives 53.2 %, the most "
        "frequent location where there is none.",
    ),
}


def golden_inputs(name: str) -> tuple[tuple[Any, dict[str, Any]], ...]:
    """What an entry's golden outputs are of, with options."""
    return _GOLDEN_INPUTS


def description(name: str) -> dict[str, Any]:
    """Task, summary, licence, data, limits and papers of an entry."""
    from rnnzoo.manifest import DataRecord

    return {
        "task": "localization",
        "summary": _SUMMARIES[name],
        "licence": "CC BY 4.0",
        "data": tuple(DataRecord(**data) for data in _DATA[name]),
        "limits": (*_LIMITS, *_LIMITS_OF.get(name, ())),
        "papers": _PAPERS[name],
        "notes": _NOTES.get(name, ()),
    }


def headline(figures: dict[tuple[str, str, str], float]) -> str:
    """The README's figures, of records by data, split and metric."""
    copying = "copying the nearest homolog"
    for data, split, where in (
        ("deeploc-1.0", "test", f"official DeepLoc test; {copying}: 53.6 %"),
        ("deeploc-1.0", "valid", "validation split of DeepLoc 1.0"),
        ("multiloc", "test, random split", f"MultiLoc, random split; {copying}: 84.0 %"),
        (
            "multiloc",
            "test, homology-clean split",
            f"MultiLoc, homology-clean split; {copying}: 53.2 %",
        ),
    ):
        if (data, split, "accuracy") in figures:
            return (
                f"accuracy {100 * figures[data, split, 'accuracy']:.1f} %, "
                f"Gorodkin {figures[data, split, 'Gorodkin']:.3f} ({where})"
            )
    return ""


def task_of_runs(runs: list[Path]) -> tuple[Any, list[dict[str, Any]]]:
    """The localizer whose members are the averaged weights of runs, and the runs' records."""
    from recipes.deeploc import read_locations
    from rnnzoo.deeploc import (
        DecisionOptions,
        DeepLocConfig,
        PreprocessorConfig,
        ProteinLocalizer,
        ProteinPreprocessor,
    )

    records, weights = zip(*map(read_run, runs), strict=True)
    networks = [DeepLocConfig(**record["recipe"]["network"]) for record in records]
    if any(network != networks[0] for network in networks):
        raise SystemExit("the runs' networks differ: members have to be of one kind")
    config = dataclasses.replace(networks[0], num_members=len(runs))
    names = read_locations(records[0]["recipe"]["data"])
    task = ProteinLocalizer(
        config, ProteinPreprocessor(PreprocessorConfig(names)), DecisionOptions(), "float32"
    )
    paths = [weight.path for weight in task.network.weights]  # a member after the other
    values = [array for of_member in weights for array in of_member]
    task.assign_weights(dict(zip(paths, values, strict=True)))
    return task, list(records)


def tables(name: str, runs: list[Path]) -> tuple[Any, ...]:
    """How each member's figures on its own fold went, of those that have one."""
    from rnnzoo.manifest import TableRecord

    found = []
    for number, run in enumerate(runs):
        record, _ = read_run(run)
        fold = record["recipe"]["fold"]
        if fold == NO_FOLD:
            continue
        fields = learning_curve(f"python tools/train.py {name} --data DIR", run, lines=8)
        fields["title"] = f"learning curve of member {number}"
        fields["data"] = f"fold {fold}"
        if fold not in unseen_folds(record):
            fields["data"] += ", which its teachers or what it began with have seen"
        found.append(TableRecord(**fields))
    return tuple(found)


def unseen_folds(run: dict[str, Any]) -> set[str]:
    """The folds that neither a run, nor what it began with, nor its teachers were trained on."""
    unseen = {run["recipe"]["fold"]} - {NO_FOLD}
    start = run["start"] or {}
    start = start.get("recipe", start)
    unseen &= set(start.get("unseen_folds", start.get("folds", unseen)))
    for teacher in run["recipe"].get("teachers", ()):
        unseen &= unseen_folds(read_run(Path(teacher))[0])
    return unseen


def recipe_record(name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """How the weights were trained, which fold each member was validated on, and which folds
    nothing in them has seen: settings are the first member's, steps and minutes all members' with
    what they began with, and of several each is told in words."""
    records = [_record(name, run) for run in runs]
    folds = [run["recipe"]["fold"] for run in runs]
    starts = [run["start"] for run in runs if run["start"]]
    told = [
        f"{'all folds' if fold == NO_FOLD else f'fold {fold}'}: "
        + "; ".join([in_words(record), *record.get("before", ())])
        for fold, record in zip(folds, records, strict=True)
    ]
    return {
        **records[0],
        **{
            unit: sum(record[unit] for record in records)
            + sum(_before(start, unit) for start in starts)
            for unit in ("steps", "minutes")
        },
        "folds": folds,
        "unseen_folds": sorted(set.intersection(*map(unseen_folds, runs))),
        "unseen_folds_by_member": [sorted(unseen_folds(run)) for run in runs],
        "members": told if len(told) > 1 else _watched(folds[0]),
    }


def _before(start: dict[str, Any], unit: str) -> int:
    """The steps or minutes of a member of a released ensemble, which is told in words; those of a
    run are counted in its record."""
    told = re.search(rf"([\d,]+) {unit}", start.get("member", ""))
    return int(told[1].replace(",", "")) if told else 0


def _watched(fold: str) -> str:
    return "validated on no fold" if fold == NO_FOLD else f"validated on fold {fold}"


def _record(name: str, run: dict[str, Any]) -> dict[str, Any]:
    """A member's record: the command with what it changes of the recipe, and of teachers theirs."""
    from recipes.deeploc import RECIPES

    usual = json.loads(json.dumps(dataclasses.asdict(RECIPES[name])))
    changed = {key: value for key, value in run["recipe"].items() if usual.get(key) != value}
    if "teachers" in changed:
        changed["teachers"] = [Path(teacher).name for teacher in changed["teachers"]]
    sets = "".join(f" --set '{key}={json.dumps(value)}'" for key, value in changed.items())
    record = training_record(f"python tools/train.py {name} --data DIR --run RUN{sets}", [run])
    if record["settings"].pop("teachers", ()):
        taught = [(Path(path).name, read_run(Path(path))[0]) for path in run["recipe"]["teachers"]]
        record["taught by"] = [
            f"{teacher}, fold {of['recipe']['fold']}: {in_words(training_record('', [of]))}"
            for teacher, of in taught
        ]
    return record
