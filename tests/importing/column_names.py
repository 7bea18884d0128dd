"""Names of columns as people write them, and names that only sound so."""

NAMES = {
    "loss": "metrics.val_loss|summary/eval/loss|validation CE|test_nll|val_loss_final|best_val_loss|val loss (nats)"
    "|dev_loss|cross_entropy_loss|c4_val_loss|val/lm_loss|holdout_loss|L_val|mean_loss|pile_loss|valLoss"
    "|Validation loss [nats]",
    "tokens": "num_train_tokens|total_train_tokens|config.train_tokens|seen_tokens|tokens_total|Tokens [10^9]|tokens_e9"
    "|total tokens trained|n_tokens_B|numTrainTokens",
    "active_params": "model/active_params_M|n_params_active|active N|active_size|params.active|N_act (M)"
    "|params_active_m",
    "total_params": "model/total_params_M|num_params_total|N_tot|model_params|model.num_params|params.n_params|#params",
    "train_flops": "flops_total|total_flos|train/total_flos|exaflops|train_exaflops|PF-days|compute (PF-days)|flop"
    "|total_compute_flops|total_pflops|C (FLOPs)|compute (1e18 FLOPs)",
    "n_experts": "config.num_experts|n_routed|E_total|num_moe_experts|moe.n_experts|params.num_experts",
    "top_k": "moe/top_k|router.top_k|k_active|num_experts_per_token|active_experts|Top-K",
    "shared_experts": "moe.num_shared_experts",
    "sparsity": "sparsity_pct|moe_sparsity|Sparsity (%)",
    "learning_rate": "params.lr|config.optimizer.lr|peak_learning_rate",
    "seed": "config.seed|random seed",
    "bits_per_byte": "val/bpb|eval bits per byte",
}
"""Names for a column as people write them."""

OTHERS = (
    "loss_std|aux_loss|router_z_loss|load_balancing_loss|val_loss_step_1000|n_val_loss|tokens_per_second|tokens/param"
    "|batch_tokens|warmup_tokens|context_tokens|flops_per_token|tflops|gflops|model_flops_utilization|tflops_per_gpu"
    "|peak_flops|expert_params|embedding_params|router_params|generation.top_k|attention_sparsity|expert_parallel"
    "|num_expert_groups|expert|parameter|token|lr_warmup|lr_schedule|val_accuracy|total_seconds|total_petaflops_per_second|data_seed_offset|mean_router_loss"
)
"""Names that look like one of these and are none."""
