"""`unified mixture`: rates of a mixture, lengths of its examples."""

from __future__ import annotations

import argparse

from unified.cli.parsing import Commands, command, group


def add(commands: Commands) -> None:
    mixture = group(commands, "mixture", "rates of a mixture, lengths of its examples")
    p = command(mixture, "show", mixture_show, "rows, rate and epochs per million examples of each task")
    p.add_argument("name", help="mixture name or path of a YAML file")
    p = command(
        mixture, "lengths", mixture_lengths, "how long a run's examples are; budgets for packing them"
    )
    p.add_argument("config", help="of the run: a YAML file, or the name of a shipped one")
    p.add_argument(
        "overrides", nargs="*", metavar="key=value", help="changes to it, e.g. data.micro_batch=32"
    )
    p.add_argument("-n", dest="examples", type=int, default=512, help="examples to read (default: 512)")


def mixture_show(args: argparse.Namespace) -> int:
    from unified.data.dataset import open_tasks
    from unified.data.mixture import mixture_table
    from unified.specs.load import load_mixture

    mixture = load_mixture(args.name)
    print(mixture_table(mixture, {d.task.name: len(d.source) for d in open_tasks(mixture, "train")}))
    return 0


def mixture_lengths(args: argparse.Namespace) -> int:
    from unified.data.dataset import MixtureDataset, open_tasks
    from unified.data.lengths import lengths_table, measure
    from unified.data.mixture import rates
    from unified.data.order import MixtureOrder
    from unified.evaluation.model_folder import build_processor
    from unified.training import setup
    from unified.training.config import load_config

    config = load_config(args.config, args.overrides)
    mixture, tokenizers = setup.load_tasks(config), setup.load_tokenizers(config)
    tasks = open_tasks(mixture, "train")
    rows = {data.task.name: setup.rows_to_learn(data, config.data.overfit) for data in tasks}
    shares = rates(mixture, rows)
    order = MixtureOrder(config.seed, [(name, rows[name], shares[name]) for name in rows])
    processor = build_processor(setup.model_shape(config, tokenizers), tokenizers)
    micro_batch = config.data.micro_batch or config.data.batch_size
    dataset = MixtureDataset(tasks, order, processor, patches=config.data.patches)
    print(lengths_table(measure(dataset, max(args.examples, micro_batch)), micro_batch))
    return 0
