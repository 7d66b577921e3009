"""What every recipe's run shares: optimiser, schedule, average, state on disk, record, loop.

The released weights are an exponential average of the last steps'. The whole state (weights,
average, optimiser, position in the data) is written every few minutes, and the same command goes
on from it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import itertools
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from processor import lacks_bfloat16, processor

SAVE_SECONDS = 180
_FIXED = {"network", "data", "fold", "seed", "start_member"}


def ahead(make: Callable[..., Any], calls: Iterator[tuple[Any, ...]]) -> Iterator[Any]:
    """Batches made in the background, a few ahead."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = [pool.submit(make, *call) for call in itertools.islice(calls, 4)]
        try:
            while waiting:
                batch = waiting.pop(0).result()
                waiting += [pool.submit(make, *call) for call in itertools.islice(calls, 1)]
                yield batch
        finally:
            pool.shutdown(cancel_futures=True)


def learning_rate(recipe: Any, step: int) -> float:
    """Linear warm-up, over half of the steps at the most, then linear decay to zero at the last."""
    warmup_steps = max(1, min(recipe.warmup_steps, recipe.steps // 2))
    warm = min(1.0, (step + 1) / warmup_steps)
    left = max(0.0, 1 - step / recipe.steps)
    return recipe.max_learning_rate * min(
        warm, left / max(1 - warmup_steps / recipe.steps, 1 / recipe.steps)
    )


class Adam:
    """Adam (Kingma and Ba 2015) in one pass over memory for each variable.

    Keras' optimiser makes a dozen; on a CPU that took an eighth of a training step.
    """

    beta_1, beta_2, epsilon = 0.9, 0.98, 1e-9

    def __init__(self, variables: list[Any]) -> None:
        import tensorflow as tf

        self.count = tf.Variable(0.0, trainable=False)
        self.m = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in variables]
        self.v = [tf.Variable(tf.zeros(v.shape), trainable=False) for v in variables]

    @property
    def variables(self) -> list[Any]:
        return [self.count, *self.m, *self.v]

    def apply(self, gradients: list[Any], variables: list[Any], rate: Any) -> None:
        import tensorflow as tf

        count = self.count.assign_add(1.0)
        for m, v, gradient, variable in zip(self.m, self.v, gradients, variables, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=variable.value.handle,
                m=m.handle,
                v=v.handle,
                beta1_power=self.beta_1**count,
                beta2_power=self.beta_2**count,
                lr=rate,
                beta1=self.beta_1,
                beta2=self.beta_2,
                epsilon=self.epsilon,
                grad=gradient,
            )


class Run:
    """A training run in a folder: step, average, write the state, go on from it.

    Parameters
    ----------
    recipe : dataclass
        With network, steps, max_learning_rate, warmup_steps, average_every, average_decay, dtype
        and seed.
    folder : Path
    network : keras.Model
    """

    def __init__(self, recipe: Any, folder: Path, network: Any) -> None:
        import tensorflow as tf

        self.recipe, self.folder, self.step, self.seconds = recipe, folder, 0, 0.0
        self.network = network
        self.optimizer = Adam(network.trainable_variables)
        self.average = [tf.Variable(v.value, trainable=False) for v in network.weights]

    def update(self, *batch: Any) -> list[Any]:
        """One step on a batch; sums over it, the loss last."""
        raise NotImplementedError

    def descend(self, tape: Any, loss: Any, rate: Any) -> None:
        """Apply the clipped gradients of a loss."""
        import tensorflow as tf

        variables = self.network.trainable_variables
        gradients = tape.gradient(loss, [v.value for v in variables])
        gradients, _ = tf.clip_by_global_norm(gradients, 1.0)
        self.optimizer.apply(gradients, variables, rate)

    def update_average(self) -> None:
        decay = min(
            self.recipe.average_decay, self.step / (self.step + 10 * self.recipe.average_every)
        )
        for mean, variable in zip(self.average, self.network.weights, strict=True):
            mean.assign(decay * mean + (1 - decay) * variable.value)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """The network with the averaged weights, for as long as it lasts."""
        kept = [v.numpy() for v in self.network.weights]
        for variable, mean in zip(self.network.weights, self.average, strict=True):
            variable.assign(mean)
        try:
            yield
        finally:
            for variable, value in zip(self.network.weights, kept, strict=True):
                variable.assign(value)

    def train_on(self, batch: Any) -> np.ndarray:
        begin = time.perf_counter()
        sums = np.array([float(s) for s in self.update(*batch)])
        self.step += 1
        if self.step % self.recipe.average_every == 0:
            self.update_average()
        self.seconds += time.perf_counter() - begin
        if not math.isfinite(sums[-1]):
            raise FloatingPointError(f"the loss is {sums[-1]} at step {self.step}")
        return sums

    def save(self) -> None:
        """Write the whole state; an interrupted write leaves the old one."""
        arrays = {f"weight_{n}": v.numpy() for n, v in enumerate(self.network.weights)}
        arrays |= {f"average_{n}": v.numpy() for n, v in enumerate(self.average)}
        arrays |= {f"optimizer_{n}": v.numpy() for n, v in enumerate(self.optimizer.variables)}
        arrays |= {f"random_{n}": v.numpy() for n, v in enumerate(self._random_states())}
        temporary = self.folder / "state.partial.npz"
        np.savez(temporary, step=self.step, seconds=self.seconds, **arrays)
        os.replace(temporary, self.folder / "state.npz")

    def restore(self) -> bool:
        path = self.folder / "state.npz"
        if not path.exists():
            return False
        with np.load(path) as arrays:
            self.step, self.seconds = int(arrays["step"]), float(arrays["seconds"])
            for name, variables in (
                ("weight", self.network.weights),
                ("average", self.average),
                ("optimizer", self.optimizer.variables),
                ("random", self._random_states()),
            ):
                for n, variable in enumerate(variables):
                    variable.assign(arrays[f"{name}_{n}"])
        return True

    def _random_states(self) -> list[Any]:
        """The seeds of the dropout layers, which go on from step to step."""
        weights = {id(v) for v in self.network.weights}
        return [v for v in self.network.variables if id(v) not in weights]

    def start_from(self, checkpoint: str) -> None:
        """Give a new run the weights of a checkpoint, or the averaged ones of another run."""
        values = self.weights_to_start_with(checkpoint)
        for variable, mean in zip(self.network.weights, self.average, strict=True):
            variable.assign(values[variable.path])
            mean.assign(values[variable.path])

    def weights_to_start_with(self, checkpoint: str) -> dict[str, np.ndarray]:
        """The weights of a checkpoint, or the averaged ones of another run, by their paths."""
        if is_run(checkpoint):
            _, arrays = read_run(Path(checkpoint))
            return dict(zip((v.path for v in self.network.weights), arrays, strict=True))
        from rnnzoo.registry import load

        return load(checkpoint, dtype="float32").weights_by_path()

    def origin(self, checkpoint: str) -> dict[str, Any]:
        """What is written down of a checkpoint or run that this one starts from."""
        return origin(checkpoint)

    def begin(self, title: str, checkpoint: str | None) -> None:
        """Go on with what the folder holds, or start; write the record and say so."""
        resumed = self.restore()
        if checkpoint and not resumed:
            self.start_from(checkpoint)
        start = self.origin(checkpoint) if checkpoint else None
        record_recipe(self.recipe, self.folder, self.step, start)
        origin_name = f"going on from step {self.step:,}" if resumed else f"from {checkpoint}"
        if not (resumed or checkpoint):
            origin_name = "from the start"
        print(f"{title}, {self.network.count_params():,} parameters, {origin_name}", flush=True)
        if self.recipe.dtype == "mixed_bfloat16" and lacks_bfloat16():
            print(f"{processor()} has no bfloat16: --set 'dtype=\"float32\"' is faster", flush=True)

    def loop(
        self,
        stream: Iterator[Any],
        describe: Callable[[np.ndarray, float], str],
        validate: Callable[[], dict[str, float]],
        log_every: int = 100,
        validate_every: int = 1000,
    ) -> None:
        """Train on a stream of batches to the recipe's last step."""
        sums: Any = 0.0
        since = saved = time.perf_counter()
        for batch in stream:
            if self.step >= self.recipe.steps:
                break
            sums = sums + self.train_on(batch)
            if self.step % log_every == 0:
                now = time.perf_counter()
                print(
                    f"step {self.step:6d}  {describe(sums, now - since)}  "
                    f"{self.seconds / 60:.1f} min",
                    flush=True,
                )
                sums, since = 0.0, now
            if self.step % validate_every == 0 or self.step == self.recipe.steps:
                if figures := validate():
                    line = {"step": self.step, "seconds": self.seconds, **figures}
                    with (self.folder / "validation.jsonl").open("a") as log:
                        log.write(json.dumps(line) + "\n")
                    told = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
                    print(f"valid {told}", flush=True)
                since = time.perf_counter()
            if time.perf_counter() - saved > SAVE_SECONDS:
                self.save()
                saved = time.perf_counter()
        self.save()


def is_run(path: str) -> bool:
    """Whether this is the folder of a run."""
    return (Path(path) / "state.npz").is_file()


def origin(checkpoint: str) -> dict[str, Any]:
    """What a checkpoint or run was that a run starts from, for its record."""
    if is_run(checkpoint):
        record, _ = read_run(Path(checkpoint))
        told = {**training_record("", [record]), "folds": [record["recipe"].get("fold")]}
        return {"checkpoint": checkpoint, "recipe": told}
    from rnnzoo.manifest import package_manifest
    from rnnzoo.registry import locate

    entry = package_manifest().entries.get(checkpoint)
    made_by = {} if entry is None else {"recipe": entry.recipe}
    return {
        "checkpoint": checkpoint,
        "fingerprint": locate(checkpoint).config.fingerprint,
        **made_by,
    }


def record_recipe(
    recipe: Any, folder: Path, step: int, start: dict[str, Any] | None = None
) -> None:
    """Write what makes the run beside its state; a change on the way is written down with its
    step, the checkpoint that the run started from with the recipe that had made it."""
    path = folder / "recipe.json"
    fields = json.loads(json.dumps(dataclasses.asdict(recipe)))
    changes: list[str] = []
    if path.exists():
        old = json.loads(path.read_text(encoding="utf-8"))
        if step:  # before the first state is kept, it begins anew
            changes, start = old["changes"], old["start"]
        before = json.loads(json.dumps(dataclasses.asdict(type(recipe)(fields["network"], 0))))
        before |= old["recipe"]  # a field that is newer than the run had its default
        for key in _FIXED & set(fields):
            if before[key] != fields[key]:
                raise SystemExit(f"{folder} holds a run of another {key}: name another --run")
        for key, value in fields.items():
            if step and before[key] != value:
                changes.append(f"{key} {before[key]} until step {step:,}, then {value}")
    record = {
        "recipe": fields,
        "machine": f"{os.cpu_count()} cores of {processor()}",
        "changes": changes,
        "start": start,
    }
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def read_run(folder: Path) -> tuple[dict[str, Any], list[np.ndarray]]:
    """A run's record, with the steps and seconds it took, and its averaged weights in order."""
    record = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    with np.load(folder / "state.npz") as state:
        record["steps_done"], record["seconds"] = int(state["step"]), float(state["seconds"])
        names = [name for name in state.files if name.startswith("average_")]
        return record, [state[f"average_{n}"] for n in range(len(names))]


def learning_curve(command: str, folder: Path, lines: int = 20) -> dict[str, Any]:
    """The validation of a run as the fields of a table: its last line and about `lines` others."""
    text = (folder / "validation.jsonl").read_text(encoding="utf-8")
    whole = [json.loads(line) for line in text.splitlines()]
    rows = whole[:: -max(1, round(len(whole) / lines))][::-1]
    names = [name for name in whole[-1] if name not in ("step", "seconds")]
    return {
        "title": "learning curve",
        "data": "validation",
        "split": "averaged weights, as the run logged them",
        "columns": ("step", "minutes", *names),
        "cells": tuple(
            (row["step"], round(row["seconds"] / 60), *(_rounded(row.get(name)) for name in names))
            for row in rows
        ),
        "command": command,
    }


def _rounded(value: float | None) -> float | str:
    return "" if value is None else round(value, 4)


def training_record(command: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """How weights were trained: command, steps, time, machine, every setting of the recipe.

    `runs` are records of members of one kind; steps are a member's, minutes all members'. What was
    done before, where a run began with a released checkpoint, is counted in and told.
    """
    run = runs[0]
    if run["start"]:
        command += " --start-from CHECKPOINT"
    settings = {k: v for k, v in run["recipe"].items() if k not in ("network", "steps", "fold")}
    steps, minutes = run["steps_done"], sum(r["seconds"] for r in runs) / 60
    earlier: dict[str, Any] = {}
    start = run["start"] or {}
    if start and "recipe" not in start:  # a folder or a hub address, whose recipe is not known
        told = f"{start['checkpoint']}, fingerprint {start['fingerprint']}"
        earlier["before"] = [f"{told}: {start['member']}" if "member" in start else told]
    elif start:
        before = start["recipe"]
        earlier["of that"] = f"{steps:,} steps, {minutes:.0f} minutes, begun with those of before"
        earlier["before"] = [*before.get("before", ()), in_words(before)]
        if "fingerprint" in start:
            earlier["begun with"] = f"{start['checkpoint']}, fingerprint {start['fingerprint']}"
        steps, minutes = steps + before["steps"], minutes + before["minutes"]
    changes = [change for r in runs for change in r["changes"]]
    return {
        "command": command,
        "steps": steps,
        "minutes": round(minutes),
        **earlier,
        "machine": run["machine"],
        **({"changed on the way": changes} if changes else {}),
        "seed": settings.pop("seed"),
        "settings": settings,
        "network": run["recipe"]["network"],
    }


def tables(name: str, runs: list[Path]) -> tuple[Any, ...]:
    """How the figures on validation went, of each run: the tables of a card."""
    from rnnzoo.manifest import TableRecord

    command = f"python tools/train.py {name} --data DIR"
    return tuple(TableRecord(**learning_curve(command, run)) for run in runs)


def recipe_record(name: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """How the weights of an entry of one command were trained, for its card."""
    return training_record(f"python tools/train.py {name} --data DIR", runs)


def in_words(record: dict[str, Any]) -> str:
    """An earlier training record as a line."""
    told = {**record["settings"], **record["network"]}
    words = [f"{record['steps']:,} steps, {record['minutes']} minutes"]
    words += [f"{key} {value}" for key, value in told.items() if value != []]
    return "; ".join([", ".join(words), *record.get("changed on the way", ())])
