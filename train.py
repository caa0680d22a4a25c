"""Train one model over a mixture of tasks.

    python train.py configs/demo.yaml                                  # one process
    deepspeed --num_accelerators 2 train.py configs/demo.yaml          # two, on GPUs or CPU cores
    torchrun --nproc-per-node 2 train.py configs/demo.yaml optim.lr=1e-4 run=runs/other

The same command continues an interrupted run. Exit codes: 0 done; 1 a rank died; 2 bad input or a run that
cannot go on; 143 (SIGTERM) or 130 (Ctrl-C) stopped on request, after saving.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unified.errors import NO_ROOM, UserError, file_error
from unified.training.launch import await_verdict, is_main, prepare_environment, stop


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train one model over a mixture of tasks.")
    parser.add_argument("config", help="a YAML file, or the name of a shipped one (demo, toy, small)")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to it, e.g. optim.lr=1e-4")
    parser.add_argument(
        "--resume",
        default="auto",
        metavar="auto|none|PATH",
        help="continue from the run's newest checkpoint (default), from none, or from PATH",
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--dry-run", action="store_true", help="build everything, run one step, write nothing"
    )
    instead.add_argument(
        "--inspect",
        type=int,
        metavar="N",
        help="write RUN/inspect.html, the next N micro-batches as training would see them, and train nothing",
    )
    parser.add_argument("--debug", action="store_true", help="show the stack trace of an error")
    parser.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)  # some launchers pass it
    return parser.parse_intermixed_args(argv)


def say(text: str = "") -> None:
    if is_main():
        print(text, flush=True)


def train(args: argparse.Namespace, command: Sequence[str]) -> int:
    # ------------------------------------------------------------------------------ config
    from unified.training.config import load_config
    from unified.training.tracking import check_trackers

    config = load_config(args.config, args.overrides)
    check_trackers(config.track)

    # --------------------------------------------------------------------------- processes
    from unified.training import launch

    ranks = launch.start()
    micro_batch = config.data.micro_batch or max(1, config.data.batch_size // ranks.world)

    # ------------------------------------------------------------- tasks, tokenizers, model
    from unified.data.dataset import MixtureDataset, SkipLog, open_tasks
    from unified.data.loader import StepLoader
    from unified.data.mixture import mixture_table, rates
    from unified.data.order import MixtureOrder
    from unified.evaluation.model_folder import build_processor, check_images
    from unified.specs.load import to_yaml
    from unified.training import setup
    from unified.training.samples import SampleGrids, sampled_tasks

    mixture = setup.load_tasks(config)
    tasks = open_tasks(mixture, "train")
    setup.check_evaluation(config, [data.task for data in tasks])
    sampled = sampled_tasks(config, [data.task for data in tasks])
    rows = {data.task.name: setup.rows_to_learn(data, config.data.overfit) for data in tasks}
    shares = rates(mixture, rows)
    tokenizers = setup.load_tokenizers(config)
    model = setup.build_model(config, tokenizers)
    check_images(model.config, [data.task for data in tasks])
    config = setup.settle_precision(config, ranks)
    setup.choose_kernels(model, config.engine)
    image_tokenizer = setup.image_tokenizer(mixture, model.config, tokenizers)
    if config.init is None:
        setup.relate_embeddings(model, tokenizers, image_tokenizer)

    # ---------------------------------------------------------------------- order of the data
    order = MixtureOrder(config.seed, [(name, rows[name], shares[name]) for name in rows])
    processor = build_processor(model.config, tokenizers)
    codes = setup.cached_codes(config, tasks, tokenizers, processor.target_size)
    dataset = MixtureDataset(
        tasks, order, processor, vary=config.data.overfit is None, codes=codes, patches=config.data.patches
    )
    last_step = 1 if args.dry_run else config.optim.steps or sys.maxsize // config.data.batch_size

    # --------------------------------------------------------------------------------- resume
    from unified.training import checkpoints

    def meta(step: int, seconds: float) -> checkpoints.Meta:
        identities = {data.task.name: data.task.identity for data in tasks}
        return checkpoints.Meta.of(
            config,
            step,
            seconds,
            ranks.world,
            tokenizers.hash,
            identities,
            rows,
            shares,
            model.config.to_dict(),
        )

    checkpoint = None if args.dry_run else checkpoints.find_checkpoint(args.resume, config.folder)
    resumed = checkpoints.check_fits(checkpoint, meta(0, 0.0)) if checkpoint else None
    step, seconds = (resumed.step, resumed.seconds) if resumed else (0, 0.0)
    skipped = Path(os.devnull) if args.dry_run else config.folder / "skipped.jsonl"
    if not args.dry_run:
        setup.make_folder(config)
        if ranks.main and checkpoint is None and args.inspect is None:
            skipped.unlink(missing_ok=True)
    loader = StepLoader(
        dataset,
        batch_size=config.data.batch_size,
        micro_batch=micro_batch,
        rank=ranks.rank,
        world=ranks.world,
        workers=config.data.workers,
        start_step=step,
        steps=max(step, last_step),
        length_power=config.data.length_power,
        packing=config.data.packing and (config.data.packing.encoder, config.data.packing.decoder),
    )
    if args.inspect is not None:
        from unified.preview.batches import write_inspection

        if ranks.main:
            say(f"wrote {write_inspection(loader, args.inspect, processor, config.folder / 'inspect.html')}")
        return 0

    # --------------------------------------------------------------------------------- engine
    from unified.objectives.base import build_objective
    from unified.training.engine import TrainEngine
    from unified.training.loop import Feed, Meter, Trainer
    from unified.training.memory import states_text

    moved = resumed is not None and checkpoints.needs_conversion(resumed, meta(0, 0.0))
    engine = TrainEngine(model, config, ranks, micro_batch, universal=moved)
    if checkpoint and resumed:
        checkpoints.load_checkpoint(engine, checkpoint, resumed)
    objective = build_objective("seq2seq", list(rows))
    if image_tokenizer is not None:
        image_tokenizer.to(ranks.device)
    reads_codes = model.config.image_input == "codes"
    trainer = Trainer(engine, objective, list(rows), config, ranks, image_tokenizer, reads_codes)

    # ------------------------------------------------------------------- what is about to happen
    say(to_yaml(config.model_dump(mode="json")))
    say(mixture_table(mixture, rows))
    say(setup.batch_arithmetic(config, ranks.world, micro_batch, tasks))
    say(setup.where_codes_come_from(config, tasks, codes))
    say(states_text(model, config, ranks.world))
    say(setup.device_text(config, ranks))
    say(
        f"continues {checkpoint} at step {step:,}"
        if checkpoint
        else f"starts from {config.init or 'random weights'}"
    )

    # ------------------------------------------------------------------------------------ loop
    from unified.evaluation.evaluator import run_eval
    from unified.evaluation.report import write_report
    from unified.training.export import export
    from unified.training.schedules import progress
    from unified.training.signals import StopRequest
    from unified.training.tracking import ProgressLine, open_trackers

    writes = ranks.main and not args.dry_run
    trackers = (
        open_trackers(config.track, config.folder, config.model_dump(mode="json"), step) if writes else []
    )
    grids = None
    if sampled and not args.dry_run:
        grids = SampleGrids(config, sampled, processor, model.config, ranks, step)
    line = ProgressLine(list(rows)) if ranks.main else None
    skips = SkipLog(skipped, rows)
    meter = Meter(list(rows), config.data.batch_size)
    if resumed and resumed.meter:
        meter.restore(resumed.meter)
    saved_step, saved_at = step, seconds

    def report() -> None:
        values = meter.read(seconds)
        for tracker in trackers:
            tracker.log(step, {name: value for name, value in values.items() if math.isfinite(value)})
        if line is not None:
            line.show(step, 1.0 if args.dry_run else progress(config.optim, step, seconds), values)

    def save() -> None:
        nonlocal saved_step, saved_at
        with meter.paused():
            checkpoints.save_checkpoint(
                engine,
                ranks,
                config.folder,
                replace(meta(step, seconds), meter=meter.state()),
                config.checkpoint.keep,
            )
        saved_step, saved_at = step, agreed.seconds

    def publish(evaluate: bool) -> None:
        """Exports the model to `<run>/model` and evaluates it."""
        weights = engine.weights()
        with meter.paused(), ranks.main_alone():
            if ranks.main:
                specs = [data.task for data in tasks]
                folder = export(weights, model, tokenizers, specs, config, step=step, command=command)
                if evaluate:
                    out = config.folder / "eval" / f"step_{step:08d}"
                    run_eval(
                        folder, ",".join(rows), split=config.eval.split, limit=config.eval.limit, out=out
                    )

    def draw(grids: SampleGrids) -> None:
        """Shows what the model answers by now."""
        weights = engine.weights()
        with meter.paused(), ranks.main_alone():
            if ranks.main:
                images = grids.draw(weights, step)
                for tracker in trackers:
                    tracker.show(step, images)

    with StopRequest() as stop, Feed(loader, skips, stop) as feed:
        while True:
            started = time.monotonic()
            batches, error = feed.next() if step < last_step else (None, None)
            agreed = trainer.agree(batches, seconds, stop.number, error is not None)
            if error is not None:
                print(f"error: rank {ranks.rank}: {error}", file=sys.stderr, flush=True)
            if agreed.failed:
                return 2
            if agreed.signal or batches is None or progress(config.optim, step, agreed.seconds) >= 1:
                break

            meter.add(trainer.step(step, batches, agreed, loader.wait))
            step, seconds = step + 1, agreed.seconds + time.monotonic() - started

            if step % config.log_every == 0:
                report()
            if args.dry_run:
                continue
            if due(step, config.checkpoint.every_steps) or (
                config.checkpoint.every_minutes
                and agreed.seconds - saved_at >= 60 * config.checkpoint.every_minutes
            ):
                save()
            if due(step, config.eval.every_steps):
                publish(evaluate=True)
            if grids is not None and due(step, config.samples.every_steps):
                draw(grids)

        if meter.steps and not agreed.signal:
            report()
        for closing in (*trackers, *([line] if line else [])):
            closing.close()
        if args.dry_run:
            say(f"dry run: one step in {seconds:.1f} s, at most {peak_memory()} on rank 0; nothing written")
            return 0
        if step > saved_step:
            save()

    # ------------------------------------------------------------------------------ afterwards
    if agreed.signal:
        name = signal.Signals(agreed.signal).name
        say(f"stopped by {name} at step {step:,} and saved; the same command continues")
        return 128 + agreed.signal
    publish(evaluate=config.eval.at_end)
    with ranks.main_alone():
        if ranks.main:
            say(f"report: {write_report(config.folder)}")
    for name, count in skips.counts().items():
        say(f"{name}: {count:,} of {rows[name]:,} rows could not be used; they stand in {skips.path}")
    say(f"done: {step:,} steps in {seconds / 60:.1f} minutes; the model is in {config.folder / 'model'}")
    return 0


def due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0


def peak_memory() -> str:
    import torch

    if torch.cuda.is_available():
        return f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB of GPU memory"
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB of memory"


def main(argv: Sequence[str] | None = None) -> int:
    prepare_environment()
    args = parse(argv)
    given = sys.argv[1:] if argv is None else argv
    command = ["train.py", *(word for word in given if not word.startswith("--local_rank"))]
    try:
        code = train(args, command)
        stop()
        return code
    except (UserError, OSError) as error:  # an OSError: a full disk, a file that went away
        known = isinstance(error, UserError) or error.filename is not None or error.errno in NO_ROOM
        if not known:
            raise
        if args.debug:
            traceback.print_exc()
        message = str(error) if isinstance(error, UserError) else file_error(error)
        told = stop(message)  # rank 0 says what another has met
        if is_main() or not (told or isinstance(error, UserError)):
            print(f"error: {message}", file=sys.stderr, flush=True)
        return 2
    except RuntimeError:
        await_verdict()  # a collective fails where a rank has died, and then this process ends here
        raise
    except KeyboardInterrupt:  # before training began, or a second time
        print("stopped", file=sys.stderr, flush=True)
        return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
