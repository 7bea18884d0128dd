"""Multi-head latent attention (DeepSeek-V2, 2024): keys and values of all heads from one cached latent."""

from dataclasses import dataclass

from moelaws.exchange.architecture import AttentionCount, Weights
from moelaws.exchange.config_fields import Fields


@dataclass(frozen=True)
class Latent:
    """Its sizes.

    Attributes:
        heads: H.
        query_rank: width of the queries' latent; 0 where queries come from the residual stream at once.
        rank: width of the latent that is cached, r.
        plain, rotary: widths of the two parts of a head's keys; the rotary one is cached too, one for all heads.
        values: width of a head's values.
        biased: whether what makes the latents, and the output, have biases.
    """

    heads: int
    query_rank: int
    rank: int
    plain: int
    rotary: int
    values: int
    biased: bool

    @classmethod
    def of(cls, fields: Fields, query_rank: int) -> "Latent":
        """From a ``config.json``; its defaults are those of transformers' DeepSeek classes.

        Args:
            fields: of the file.
            query_rank: where the file has no field for it.
        """
        queries = "q_lora_rank"
        # Null says that there is none; absent, that it is the class's own.
        direct = queries in fields.content and fields.content[queries] is None
        return cls(
            heads=fields.whole("num_attention_heads"),
            query_rank=0 if direct else fields.whole(queries, absent=query_rank),
            rank=fields.whole("kv_lora_rank", absent=512),
            plain=fields.whole("qk_nope_head_dim", absent=128, least=0),
            rotary=fields.whole("qk_rope_head_dim", absent=64, least=0),
            values=fields.whole("v_head_dim", absent=128),
            biased=fields.flag("attention_bias"),
        )

    def count(self, width: int) -> AttentionCount:
        """Of one layer of a model of this width."""
        keys = self.plain + self.rotary
        made_from = self.query_rank or width
        matrices = (
            (width * self.query_rank if self.query_rank else 0)
            + made_from * self.heads * keys
            + width * (self.rank + self.rotary)
            + self.rank * self.heads * (self.plain + self.values)
            + self.heads * self.values * width
        )
        biases = self.query_rank + self.rank + self.rotary + width if self.biased else 0
        return AttentionCount(
            weights=Weights(matrices, self.query_rank + self.rank + biases),  # a norm's gain for each latent
            cached=self.rank + self.rotary,
            decode_pair=2 * self.heads * (2 * self.rank + self.rotary),
            forward_pair=2 * self.heads * (keys + self.values),
        )
