"""Does a search that is killed again and again end as if nothing had happened?

A search runs in a process of its own once to its end. Then the same search is begun again with a checkpoint, killed
with SIGKILL at a random moment, resumed, killed, and so on. Some of the kills come while a file is being written; some
processes are frozen for a while before; after some kills the newest state file is cut short; and in some processes
the disk is full for a while. At the end lineage, weights, histories and the table of candidates must be the same to
the last bit. ``--disk FOLDER``, on a small file system such as a tmpfs, fills that up in earnest; otherwise a full disk
is one on which writing fails. The last line is JSON.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import datasets  # isort: skip

FULL, FROZEN, TRUNCATED, WRITING = "full disk", "frozen", "truncated", "while writing"


def main() -> None:
    options = parse()
    if options.worker:
        work(options)
        return
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        if options.cache:
            os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(scratch) / "programs")
            os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
        folder = (options.disk or Path(scratch)) / "search"
        if folder.exists():
            raise SystemExit(f"{folder} is there already: another search's end would be taken for this one's.")
        began = time.perf_counter()
        expected = finished(started(options, None))
        seconds = time.perf_counter() - began
        print(f"uninterrupted: {seconds:.0f} s, {expected['epochs']:.1f} epochs, {expected['fingerprint'][:16]}")
        print("| kill | after s | generation | trouble | folder kB |")
        print("|---|---|---|---|---|", flush=True)
        counts: dict[str, int] = {}
        kills = 0
        largest = 0
        while kills < options.kills:
            trouble = trouble_of(kills + 1)
            process = started(options, folder, failing=trouble == FULL and options.disk is None)
            # Sometimes before it has come any further, so that kills lie close together, sometimes a little later.
            n_states = chance.choice([0, 1, 1, 2, 3])
            waited = killed(process, folder, trouble, n_states, chance.uniform(0.0, options.most_seconds), options.disk)
            if waited is None:
                print("the search ended before it could be killed so often: raise --budget, or lower --most-seconds")
                break
            kills += 1
            counts[trouble or "none"] = counts.get(trouble or "none", 0) + 1
            if trouble == TRUNCATED:
                truncate_newest(folder)
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0
            largest = max(largest, size)
            print(f"| {kills} | {waited:.1f} | {generation(folder)} | {trouble} | {size / 1000:.0f} |", flush=True)
        found = finished(started(options, folder))
    same = {name: found[name] == expected[name] for name in expected}
    print(f"after {kills} kills: {found['epochs']:.1f} epochs, {found['fingerprint'][:16]}")
    print(
        json.dumps(
            {
                "kills": kills,
                "identical": all(same.values()),
                **{f"same_{name}": value for name, value in same.items()},
                "troubles": counts,
                "largest_folder_kb": round(largest / 1000),
                "seconds_uninterrupted": round(seconds),
            }
        )
    )
    sys.exit(0 if all(same.values()) else 1)


def trouble_of(number: int) -> str:
    """Every fifth process meets one of four troubles."""
    if number % 5:
        return ""
    return (WRITING, FULL, TRUNCATED, FROZEN)[number // 5 % 4]


def started(options: argparse.Namespace, folder: Path | None, failing: bool = False) -> subprocess.Popen[str]:
    """A process that searches and says ``searching`` when it begins to."""
    command = [sys.executable, __file__, "--worker", *sys.argv[1:]]
    if folder is not None:
        command += ["--folder", str(folder)]
    if failing:
        command += ["--failing"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> dict[str, Any]:
    lines = process.communicate()[0].splitlines()
    if process.returncode:
        raise SystemExit("a search failed")
    return dict(json.loads(lines[-1]))


def killed(
    process: subprocess.Popen[str], folder: Path, trouble: str, n_states: int, seconds: float, disk: Path | None
) -> float | None:
    """Kill the process `seconds` after it has written `n_states`; None if it had ended before.

    Gives the seconds since it began to search.
    """
    before = newest(folder)
    if process.stdout is None or process.stdout.readline() != "searching\n":
        raise SystemExit("a search could not begin")
    began = time.perf_counter()
    while process.poll() is None and newest(folder) < before + n_states:
        time.sleep(0.01)
    filler = None
    if trouble == FULL and disk is not None:
        filler = filled_up(disk)
    if trouble == FROZEN:
        time.sleep(seconds / 2)
        process.send_signal(signal.SIGSTOP)
        time.sleep(1.0)
        process.send_signal(signal.SIGCONT)
        seconds /= 2
    if trouble == WRITING:
        while process.poll() is None and not any(folder.rglob("*.tmp")):
            time.sleep(0.0005)
    else:
        time.sleep(seconds)
    if filler is not None:
        filler.unlink()
        time.sleep(seconds / 2)
    ended = process.poll() is not None
    process.kill()
    process.wait()
    process.stdout.close()
    return None if ended else time.perf_counter() - began


def filled_up(disk: Path) -> Path:
    """A file that takes what the disk has left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    return filler


def newest(folder: Path) -> int:
    """The number of the newest state, 0 if there is none."""
    return max((int(path.stem.removeprefix("state-")) for path in states(folder)), default=0)


def states(folder: Path) -> list[Path]:
    return sorted(folder.glob("state-*.json"))


def truncate_newest(folder: Path) -> None:
    """As if the disk had lost the end of it; there must be another state to fall back on."""
    if len(states(folder)) > 1:
        newest = states(folder)[-1]
        os.truncate(newest, newest.stat().st_size * 2 // 3)


def generation(folder: Path) -> str:
    for path in reversed(states(folder)):
        try:
            search = json.loads(path.read_text())["search"]
        except ValueError:
            continue
        return f"{search['generation']} {search['phase']} {search['round']}"
    return "none"


def work(options: argparse.Namespace) -> None:
    """Search, to the end if nobody kills this process, and say what came of it."""
    images = datasets.load(options.data, options.dataset, options.samples)

    import keras

    from keras_ectonas import ECToNASTrainer
    from keras_ectonas.bridge import network_of

    keras.utils.set_random_seed(options.seed)
    model = keras.Sequential(
        [
            keras.Input(images.x_train.shape[1:]),
            keras.layers.Conv2D(3, 3, padding="same"),
            keras.layers.AveragePooling2D(2, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("relu"),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.1),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(int(images.y_train.max()) + 1, activation="softmax"),
        ]
    )
    trainer = ECToNASTrainer(
        model,
        budget=options.budget,
        engine=options.engine,
        n_jobs=options.jobs,
        checkpoint=options.folder,
        resume=options.folder is not None,
        random_state=options.seed,
        verbose=0,
    )
    if options.failing:
        threading.Timer(0.5, let_writing_fail, [options.seed]).start()
    print("searching", flush=True)
    trainer.fit(images.x_train, images.y_train)
    columns = {name: column for name, column in trainer.candidates_.items() if name != "seconds"}
    print(
        json.dumps(
            {
                "fingerprint": network_of(trainer.model_).fingerprint(),
                "lineage": hashed([str(entry) for entry in trainer.lineage_]),
                "candidates": hashed(columns),
                "history": hashed(trainer.history_),
                "epochs": trainer.n_epochs_,
            }
        )
    )


def let_writing_fail(seed: int) -> None:
    """From now on every other write meets a full disk."""
    plain, chance = os.fsync, random.Random(seed)

    def fsync(descriptor: int) -> None:
        if chance.random() < 0.5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        plain(descriptor)

    os.fsync = fsync


def hashed(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    datasets.add_options(parser, "fashion_mnist", samples=2000, validation=1000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--most-seconds", type=float, default=2.0, help="until a kill, after a state was written")
    parser.add_argument("--budget", type=float, default=300)
    parser.add_argument("--engine", default="auto", choices=["auto", "fit", "compiled"])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", action="store_true", help="let JAX keep compiled programs, which is much faster")
    parser.add_argument("--disk", type=Path, help="folder on a small file system, which is filled up at times")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--failing", action="store_true", help=argparse.SUPPRESS)
    return datasets.few_rows_of_digits(parser.parse_args())


if __name__ == "__main__":
    main()
