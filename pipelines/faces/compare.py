"""compare: this run's model and the champion on the same test pairs; says whether it should take its place.

in   models/model.onnx, champion/ (champion.json: name, version, md5, or {} where there is none; the model beside
     it), data/aligned, data/split.parquet, data/pairs.parquet, section `compare` of params.yaml
out  results/compare.json   promote (true, false), reason; both models' numbers, the gain of the
                            deciding one, its interval and in which share of the draws of people it is reached
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from facelib import bootstrap, verification
from facelib.faces import Faces, Pairs, load_faces, load_pairs
from params import load
from params.compare import Params

ALIGNED, SPLIT, PAIRS = Path("data/aligned"), Path("data/split.parquet"), Path("data/pairs.parquet")
MODEL, CHAMPION, RESULT = Path("models/model.onnx"), Path("champion"), Path("results/compare.json")


class Embedding:
    """An exported model: faces, uint8 [N, side, side, 3], to vectors of unit length, float32 [N, D]."""

    def __init__(self, file: Path, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        self.side = int(self.session.get_inputs()[0].shape[1])

    def embed(self, faces: NDArray[np.uint8], batch: int) -> NDArray[np.float32]:
        """`batch` faces at a time."""
        chunks = range(0, len(faces), batch)
        return np.concatenate([self.session.run(None, {"faces": faces[i : i + batch]})[0] for i in chunks])


def score(model: Embedding, faces: Faces, pairs: Pairs, batch: int) -> NDArray[np.float64]:
    """The similarity of every pair by one model."""
    return verification.cosine(model.embed(faces.pixels, batch), pairs.a, pairs.b)


def decide(params: Params, numbers: dict[str, Any], name: str) -> tuple[bool, str]:
    """Whether the candidate takes the champion's place by the rule in params.yaml, and why."""
    gain, chance = numbers["gain"], numbers["chance"]
    ours, theirs = numbers["candidate"][params.metric], numbers["champion"][params.metric]
    told = (
        f"{params.metric} {ours:.6f} against {theirs:.6f} of {name}: {gain:+.6f}, reached in {chance:.0%} of the draws"
    )
    short = []
    if gain < params.min_gain:
        short.append(f"a gain of {params.min_gain:g} is asked for (compare.min_gain)")
    if chance < params.min_chance:
        short.append(f"it must be reached in {params.min_chance:.0%} (compare.min_chance)")
    return not short, "; ".join([told, *short])


def measure(
    params: Params, models: dict[str, Embedding], faces: Faces, pairs: Pairs
) -> dict[str, dict[str, float] | float]:
    """Both models' numbers, the gain of the deciding one, its 95 % interval and the chance that it is reached.

    The interval comes from drawing the test people again, the same ones for both models (facelib/bootstrap.py); it is
    left out where they are too few for one.
    Raises SystemExit where the test pairs are too few for the deciding metric.
    """
    if len(np.unique(pairs.fold)) < 2:
        raise SystemExit("compare: cross-validation needs two folds; add people or raise split.test_share")
    scores = {role: score(model, faces, pairs, params.batch) for role, model in models.items()}
    found = {role: verification.summary(values, pairs.same, pairs.fold) for role, values in scores.items()}
    if any(params.metric not in numbers for numbers in found.values()):
        raise SystemExit(
            f"compare: too few test pairs for {params.metric}; raise split.pairs_per_fold or set compare.metric"
        )
    ends = bootstrap.Ends.of(faces.identities, pairs.a, pairs.b)
    drawn = {
        role: bootstrap.replicates(values, pairs.same, pairs.fold, ends, params.draws, params.seed)
        for role, values in scores.items()
    }
    gains = bootstrap.difference(drawn["candidate"], drawn["champion"])[params.metric]
    interval = {
        f"gain_{end}": round(value, 6)
        for end, value in zip(("low", "high"), bootstrap.interval(gains) or (), strict=False)
    }
    # Rounded as they are told: a last digit decides nothing.
    gain = round(found["candidate"][params.metric] - found["champion"][params.metric], 6)
    known = gains[np.isfinite(gains)].round(6)
    rounded = {role: {key: round(value, 6) for key, value in numbers.items()} for role, numbers in found.items()}
    chance = float(np.mean(known >= params.min_gain)) if len(known) else 0.0
    return {**rounded, "gain": gain, **interval, "chance": round(chance, 4)}


def compare(params: Params) -> dict[str, Any]:
    """The content of results/compare.json."""
    pin = json.loads((CHAMPION / "champion.json").read_text())
    if not pin:
        return {"promote": True, "reason": "there is no champion to compare with"}
    name = f"{pin['name']} version {pin['version']}"
    if hashlib.md5(MODEL.read_bytes(), usedforsecurity=False).hexdigest() == pin["md5"]:
        return {"promote": False, "reason": f"it is {name}, the champion, byte for byte"}
    files = {"candidate": MODEL, "champion": CHAMPION / MODEL.name}
    models = {role: Embedding(file, params.threads) for role, file in files.items()}
    if models["candidate"].side != models["champion"].side:
        sides = " and ".join(f"{model.side} px" for model in models.values())
        reason = f"it and {name} take faces of different sizes ({sides}): move the alias by hand if it is meant"
        return {"promote": False, "reason": reason}
    faces = load_faces(ALIGNED, SPLIT, "test", params.memory_gb)
    numbers = measure(params, models, faces, load_pairs(PAIRS, "test", faces))
    promote, reason = decide(params, numbers, name)
    return {"promote": promote, "reason": reason, "compare": numbers}


def main() -> None:
    """Compare, write, print the decision."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    result = compare(load(Params, "compare"))
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(f"compare: {'promote' if result['promote'] else 'keep the champion'}: {result['reason']}", flush=True)


if __name__ == "__main__":
    main()
