"""Small files of the kinds that other programs leave, made here: what they hold is invented, how it lies is theirs."""

import json
from pathlib import Path

MODEL = {
    "model_type": "mixtral", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 4, "intermediate_size": 128, "vocab_size": 1000, "num_local_experts": 8,
    "num_experts_per_tok": 2, "tie_word_embeddings": False,
}  # fmt: skip


def trainer(folder: Path) -> Path:
    """Three runs of Trainer: one with a final state, one with checkpoints alone, one that was stopped."""
    for number, (experts, steps, last, flops) in enumerate(
        [(8, 100, 100, 6e12), (4, 100, 100, 7e12), (2, 100, 40, 1e12)]
    ):
        run = folder / f"run{number}"
        states = [(run, last)] if number == 0 else [(run / f"checkpoint-{s}", s) for s in (last // 2, last)]
        for place, step in states:
            place.mkdir(parents=True)
            log = [
                {"step": step // 2, "loss": 5.0, "learning_rate": 1e-3, "grad_norm": float("nan"), "epoch": 0.5},
                {"step": step, "loss": 4.0 - number / 10, "epoch": 1.0},
                {"step": step, "eval_loss": 4.1 - number / 10 + (last - step) / 100, "eval_runtime": 1.0},
                {"step": step, "train_loss": 4.9, "train_runtime": 3.0, "total_flos": flops},
            ]
            state = {
                "global_step": step, "max_steps": steps, "log_history": log, "total_flos": flops * step / last,
                "num_input_tokens_seen": 50_000 if number == 0 else 0,
            }  # fmt: skip
            # As Python writes it: NaN is none of JSON's words.
            (place / "trainer_state.json").write_text(json.dumps(state))
            (place / "config.json").write_text(json.dumps(MODEL | {"num_local_experts": experts}))
            (place / "training_args.bin").write_bytes(b"\x80\x04never read")
    return folder


def tracker(folder: Path) -> Path:
    """Two runs of Levanter as Marin keeps them, one of them cut short."""
    for name, experts, progress in (
        ("isoflop-1e+18-d512-L6-B32-nemo", 8, 1.0),
        ("isoflop-3e+18-d512-L6-B32-nemo", 1, 0.4),
    ):
        run = folder / name
        run.mkdir(parents=True)
        model = {
            "hidden_dim": 64,
            "num_layers": 2,
            "num_heads": 4,
            "num_kv_heads": 4,
            "intermediate_dim": 128,
            "max_seq_len": 256,
        }
        if experts > 1:
            model |= {"n_routed_experts": experts, "num_experts_per_tok": 2}
        config = {"model": model, "trainer": {"train_batch_size": 32, "num_train_steps": 1000, "seed": 3}}
        summary = {
            "eval/loss": 3.2, "eval/paloma/c4_en/loss": 3.5, "eval/paloma/c4_en/bpb": 1.2, "run_progress": progress,
            "parameter_count": 600_000, "throughput/total_tokens": 8_192_000,
            "throughput/total_gflops": 1.5e4 if experts > 1 else 2.95e4,
            "train/loss": 3.1,
        }  # fmt: skip
        (run / "tracker_metrics.jsonl").write_text(json.dumps({"config": config, "summary": summary}) + "\n")
    return folder


RUNS_CSV = (
    '"Name","State","ID","Notes","Created","Runtime","lr","model.n_experts","num_params","train/loss","val/loss","total_tokens"\n'
    '"amber-1","finished","a1","","2026-01-01","100","0.001","8","1000000","3.0","3.1","20000000"\n'
    '"birch-2","crashed","b2","","2026-01-01","50","0.001","8","1000000","3.5","","9000000"\n'
    '"cedar-3","finished","c3","","2026-01-01","100","0.001","1","1000000","3.2","3.3","20000000"\n'
)
"""The table on a project's page, exported."""

CHART_CSV = (
    '"Step","amber-1 - val/loss","amber-1 - val/loss__MIN","amber-1 - val/loss__MAX","b - x - val/loss",'
    '"b - x - val/loss__MIN","b - x - val/loss__MAX"\n'
    '"0","5.0","5.0","5.0","5.1","5.1","5.1"\n"100","3.1","3.1","3.1","","",""\n"200","","","","3.3","3.3","3.3"\n'
)
"""One chart, exported: ``run - metric`` and its spread."""

FRAME_CSV = (
    ",summary,config,name\n"
    "0,\"{'val/loss': 3.1, '_step': 9, 'tokens_seen': 20000000, 'hist': {'bins': [1, 2]}, 'grad': nan}\","
    "\"{'model': {'n_experts': 8}, 'num_params': 1000000, 'note': 'a, b'}\",amber-1\n"
    "1,\"{'val/loss': 3.3, '_step': 9, 'tokens_seen': 20000000}\","
    "\"{'model': {'n_experts': 1}, 'num_params': 1000000}\",cedar-3\n"
)
"""What the export in W&B's own guide writes with pandas: mappings as Python prints them."""


def history(folder: Path) -> Path:
    """Histories as JSON lines, with configuration and summary beside them."""
    for name, loss in (("amber-1", 3.1), ("cedar-3", 3.3)):
        lines = [
            {"_step": 0, "_runtime": 1.0, "train/loss": 6.0},
            {"_step": 5, "_runtime": 6.0, "train/loss": loss - 0.1, "tokens_seen": 20_000_000},
            {"_step": 5, "_runtime": 7.0, "eval/loss": loss},
        ]
        (folder / name).mkdir(parents=True)
        (folder / name / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / name / "wandb-summary.json").write_text(json.dumps({"num_params": 1_000_000, "eval/loss": loss}))
    return folder
