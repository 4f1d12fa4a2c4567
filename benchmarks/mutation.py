"""Would the tests notice a wrong formula? A seeded sample of mutants of decision/'s arithmetic, run by cosmic-ray.

    python -m benchmarks.mutation [--mutants 400] [--seed 0] [--processes 2] [--out mutation.json]
    python -m benchmarks.mutation --again mutation.json        the survivors once more, after tests were added

Works on copies of the committed tree, so that no mutant ever touches this one. Prints killed mutants by module and the
diff of every survivor; exit code 1 where fewer than 90% are killed.
"""

import argparse
import json
import os
import random
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cosmic_ray.work_db import WorkDB, use_db

ENOUGH_KILLED = 0.9
MODULES = (
    "arrays", "calibration", "certificates", "differences", "holdout", "intervals", "label_shift", "label_shift_fit",
    "mixtures", "policy", "preview", "priors", "rules",
)  # fmt: skip
SECONDS = 120.0
RUN_TESTS = [sys.executable, "-m", "benchmarks.mutation", "--run-tests"]
NOT_ARITHMETIC = ("tests/decision/test_images.py", "tests/decision/test_bundle.py")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path)
    parser.add_argument("--again", type=Path, metavar="JSON")
    parser.add_argument("--run-tests", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run_tests:
        return run_tests()
    with tempfile.TemporaryDirectory() as folder:
        if given.again:
            return report(again(json.loads(given.again.read_text()), Path(folder), given.processes), given.again)
        shards = [Shard(Path(folder) / str(i)) for i in range(given.processes)]
        there_are = {shard.sample(given.mutants, given.seed, i, given.processes) for i, shard in enumerate(shards)}
        with ThreadPoolExecutor(given.processes) as pool:
            results = [row for rows in pool.map(Shard.run, shards) for row in rows]
    print(f"a sample of the {max(there_are):,} mutants there are")
    return report(results, given.out)


def report(results: list[dict], out: Path | None) -> int:
    if out:
        out.write_text(json.dumps(results, indent=1) + "\n")
    killed = sum(row["killed"] for row in results)
    print(table(results))
    print(*(row["diff"] for row in results if not row["killed"]), sep="\n\n")
    print(f"\n{killed} of {len(results)} mutants killed ({killed / len(results):.1%})")
    return int(killed < ENOUGH_KILLED * len(results))


def again(results: list[dict], folder: Path, processes: int) -> list[dict]:
    """The same, with the tests of now run for those that survived: tests that were added take none back."""
    trees = [clone(folder / str(i)) for i in range(processes)]
    survivors = [row for row in results if not row["killed"]]

    def retry(part: int) -> None:
        for row in survivors[part::processes]:
            patch = row["diff"].split("\n", 1)[1] + "\n"
            subprocess.run(["patch", "--quiet", "-p1"], cwd=trees[part], input=patch, text=True, check=True)
            row["killed"] = subprocess.run(RUN_TESTS, cwd=trees[part], env=of_tree(trees[part]),
                                           stdout=subprocess.DEVNULL).returncode != 0  # fmt: skip
            subprocess.run(["git", "checkout", "--quiet", "."], cwd=trees[part], check=True)

    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(retry, range(processes)))
    return results


def clone(tree: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ".", str(tree)], check=True)
    return tree


def of_tree(tree: Path) -> dict[str, str]:
    """An environment in which the copy is what is imported."""
    return os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}


def run_tests() -> int:
    """The tests of the module that is mutated here, and then, if they notice nothing, all others of the arithmetic."""
    changed = subprocess.run(["git", "diff", "--name-only", "decision"], capture_output=True, text=True, check=True)
    own = [
        test for path in changed.stdout.split() if (test := Path(f"tests/decision/test_{Path(path).name}")).is_file()
    ]
    others = [path for path in sorted(Path("tests/decision").glob("test_*.py"))
              if path not in own and str(path) not in NOT_ARITHMETIC]  # fmt: skip
    pytest = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
    return next((1 for part in (own, others) if part and subprocess.run([*pytest, *part]).returncode), 0)


class Shard:
    """A copy of the committed tree with its part of the sample."""

    def __init__(self, tree: Path) -> None:
        self.tree, self.session = clone(tree), tree / "session.sqlite"
        modules = ", ".join(f'"decision/{name}.py"' for name in MODULES)
        (tree / "mutation.toml").write_text(
            f'[cosmic-ray]\nmodule-path = [{modules}]\ntimeout = {SECONDS}\ntest-command = "{shlex.join(RUN_TESTS)}"\n'
            'excluded-modules = []\n[cosmic-ray.distributor]\nname = "local"\n'
        )

    def cosmic_ray(self, *arguments: str) -> None:
        command = [str(Path(sys.executable).with_name("cosmic-ray")), *arguments]
        subprocess.run(command, cwd=self.tree, env=of_tree(self.tree), check=True, stdout=subprocess.DEVNULL)

    def sample(self, mutants: int, seed: int, part: int, parts: int) -> int:
        """Keep every `parts`-th of the sampled mutants; how many there are in all."""
        self.cosmic_ray("init", "mutation.toml", self.session.name)
        with use_db(self.session, WorkDB.Mode.open) as database:
            items = sorted(database.work_items, key=lambda item: repr(item.mutations))
            chosen = random.Random(seed).sample(items, min(mutants, len(items)))
            database.clear()
            database.add_work_items(chosen[part::parts])
        return len(items)

    def run(self) -> list[dict]:
        self.cosmic_ray("baseline", "mutation.toml")
        self.cosmic_ray("exec", "mutation.toml", self.session.name)
        with use_db(self.session, WorkDB.Mode.open) as database:
            mutations = {item.job_id: item.mutations[0] for item in database.work_items}
            return [
                {"module": str(mutations[job].module_path), "line": mutations[job].start_pos[0],
                 "operator": mutations[job].operator_name, "killed": result.is_killed, "diff": result.diff}
                for job, result in database.results
            ]  # fmt: skip


def table(results: list[dict]) -> str:
    lines = ["| module | mutants | killed |", "|---|---|---|"]
    for module in sorted({row["module"] for row in results}):
        own = [row["killed"] for row in results if row["module"] == module]
        lines.append(f"| {module} | {len(own)} | {sum(own)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
