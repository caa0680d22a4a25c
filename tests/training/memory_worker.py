"""One of two ranks that count the bytes of their tensors; rank 0 writes them.

python memory_worker.py OUT
"""

import gc
import json
import sys
from pathlib import Path

from unified.training.launch import prepare_environment

prepare_environment()

import synthetic  # noqa: E402
import torch  # noqa: E402

from unified.objectives.base import build_objective  # noqa: E402
from unified.training import engine as engines  # noqa: E402
from unified.training import launch  # noqa: E402
from unified.training.config import RunConfig  # noqa: E402

RANKS = launch.start()
engines.PERSISTENT = 0
engines.BUCKET = 100_000
SHAPE = {"d_model": 256, "d_ff": 1024, "vocab_size": 4000}


def storages():
    """Those of all tensors that Python can see, and of their gradients, by address."""
    gc.collect()
    found = {}
    for thing in gc.get_objects():
        if not issubclass(type(thing), torch.Tensor):
            continue
        for tensor in (thing, thing.grad if thing.is_leaf else None):
            if tensor is not None and tensor.device.type != "meta":
                storage = tensor.untyped_storage()
                found[storage.data_ptr()] = storage
    return found


def measure(zero, precision):
    others = storages()  # of the engine before, which stay alive so that no new one takes their place

    def held():
        return sum(storage.nbytes() for place, storage in storages().items() if place not in others)

    config = RunConfig.model_validate(
        {
            "run": "unused",
            "model": {"size": "toy"},
            "tokenizer": "toy",
            "mixture": "made_up",
            "data": {"batch_size": 2},
            "optim": {"lr": 0.01, "steps": 10},
            "engine": {"zero": zero, "precision": precision},
        }
    )
    model = synthetic.model(**SHAPE)
    found = {
        "shape": model.config.to_json_string(),
        "parameters": model.num_parameters(),
        "bucket": engines.BUCKET,
    }
    engine = engines.TrainEngine(model, config, RANKS, 1)
    del model
    objective = build_objective("seq2seq", synthetic.TASKS)
    for n in range(2):
        batch = synthetic.batch([synthetic.example(n)])
        outputs = engine.forward(batch.inputs)
        loss, *_ = objective(outputs, batch, None)
        del outputs
        engine.backward(loss / batch.weight)
        del loss, batch
        found["before"] = held()
        engine.step(0.01)
        found["between"] = held()
        if zero == 0:  # gradients stay until the next backward pass clears them
            found["between"] -= sum(p.grad.nbytes for p in engine.module.parameters() if p.grad is not None)
    engine.deepspeed.destroy()
    return found


results = {
    f"{zero} {precision}": measure(zero, precision)
    for zero in range(4)
    for precision in ("fp32", "bf16")
    if zero or precision == "fp32"
}
if RANKS.main:
    Path(sys.argv[1]).write_text(json.dumps(results))
launch.stop()
