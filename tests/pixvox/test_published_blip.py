"""A checkpoint with the names, shapes and config.json of Salesforce/blip-image-captioning-base.

That repository was made in 2022: one PyTorch archive of 474 tensors, among them a buffer that
transformers no longer has, the word embeddings beside a head that is not tied to them, and a
config.json full of options of generation. The numbers here are random.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from torch import Tensor
from transformers import BlipConfig, BlipForConditionalGeneration

from pixvox.blip import from_blip
from pixvox.weights import resolve


def _options(names: str, value: object) -> dict[str, Any]:
    return dict.fromkeys(names.split(), value)


LEGACY: dict[str, Any] = {
    **_options(
        """architectures bad_words_ids begin_suppress_tokens cross_attention_hidden_size
        decoder_start_token_id exponential_decay_length_penalty finetuning_task
        forced_bos_token_id forced_eos_token_id prefix problem_type suppress_tokens
        task_specific_params tokenizer_class torch_dtype""",
        None,
    ),
    **_options(
        """add_cross_attention do_sample early_stopping is_encoder_decoder output_attentions
        output_hidden_states output_scores remove_invalid_values return_dict_in_generate
        tf_legacy_loss tie_encoder_decoder torchscript use_bfloat16""",
        False,
    ),
    **_options(
        """chunk_size_feed_forward diversity_penalty encoder_no_repeat_ngram_size min_length
        no_repeat_ngram_size""",
        0,
    ),
    **_options("num_beam_groups num_beams num_return_sequences", 1),
    **_options("length_penalty repetition_penalty temperature top_p typical_p", 1.0),
    "_name_or_path": "",
    "hidden_act": "gelu",
    "hidden_size": 768,
    "id2label": {"0": "LABEL_0", "1": "LABEL_1"},
    "initializer_factor": 1.0,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "label2id": {"LABEL_0": 0, "LABEL_1": 1},
    "max_length": 20,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pruned_heads": {},
    "return_dict": True,
    "tie_word_embeddings": True,
    "top_k": 50,
    "transformers_version": "4.26.0.dev0",
}
TEXT = LEGACY | {
    "attention_probs_dropout_prob": 0.0,
    "bos_token_id": 30522,
    "eos_token_id": 2,
    "hidden_dropout_prob": 0.0,
    "is_decoder": True,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "model_type": "blip_text_model",
    "pad_token_id": 0,
    "projection_dim": 768,
    "sep_token_id": 102,
    "use_cache": True,
    "vocab_size": 30524,
}
VISION = LEGACY | {
    "attention_dropout": 0.0,
    "bos_token_id": None,
    "dropout": 0.0,
    "eos_token_id": None,
    "image_size": 384,
    "is_decoder": False,
    "layer_norm_eps": 1e-05,
    "model_type": "blip_vision_model",
    "num_channels": 3,
    "pad_token_id": None,
    "patch_size": 16,
    "projection_dim": 512,
    "sep_token_id": None,
}
CONFIG = {
    "_commit_hash": None,
    "architectures": ["BlipForConditionalGeneration"],
    "image_text_hidden_size": 256,
    "initializer_factor": 1.0,
    "logit_scale_init_value": 2.6592,
    "model_type": "blip",
    "projection_dim": 512,
    "text_config": TEXT,
    "torch_dtype": "float32",
    "transformers_version": None,
    "vision_config": VISION,
}
UNUSED = {
    "text_decoder.bert.embeddings.position_ids",
    "text_decoder.bert.embeddings.word_embeddings.weight",
    "text_decoder.cls.predictions.bias",
    "text_decoder.cls.predictions.decoder.bias",
    "text_decoder.cls.predictions.decoder.weight",
}
"""What PixVoxLM has no use for: words go in and out through codebooks instead."""


def _published() -> dict[str, Tensor]:
    """The checkpoint's 474 tensors in float16; all large ones are parts of one."""
    with torch.device("meta"):
        model = BlipForConditionalGeneration(BlipConfig(text_config=TEXT, vision_config=VISION))
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    torch.manual_seed(0)
    numbers = torch.randn(24_000_000).mul_(0.02).half()
    state = {}
    for index, (name, shape) in enumerate(shapes.items()):
        state[name] = numbers[997 * index :][: shape.numel()].view(shape)
        if "norm" in name.lower() and name.endswith(".weight"):
            state[name] = state[name] + 1
    return state | {"text_decoder.bert.embeddings.position_ids": torch.arange(512)[None]}


def _prints(state: Mapping[str, Tensor]) -> dict[tuple[Any, ...], str]:
    """Name of each tensor by its shape and its first numbers."""
    return {
        (tuple(value.shape), *value.flatten()[:16].float().tolist()): name
        for name, value in state.items()
    }


def test_a_full_size_checkpoint_is_loaded_whole_and_gives_what_blip_gives(tmp_path: Path) -> None:
    published = _published()
    assert len(published) == 474
    assert sum(value.nbytes for value in published.values()) == 2 * 247_444_600 + 4096
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    torch.save(published, tmp_path / "pytorch_model.bin")
    pixels, units = torch.randn(1, 3, 64, 64), torch.randint(0, 16, (1, 4, 5))

    ours = from_blip(str(tmp_path), num_codebooks=4, codebook_size=16, head_transform=True)
    assert (ours.config.num_attention_heads, ours.config.vision_config.image_size) == (12, 384)
    held, wanted = _prints(ours.state_dict()), _prints(published)
    assert len(wanted) == 474
    assert {wanted[key] for key in wanted.keys() - held.keys()} == UNUSED
    new = {held[key] for key in held.keys() - wanted.keys()}
    assert {name.split(".")[0] for name in new} == {"embeddings", "heads"}
    outputs: list[Tensor] = []
    ours.layers[-1].register_forward_hook(lambda *call: outputs.append(call[2]))
    with torch.inference_mode():
        states = ours.vision(pixels, interpolate_pos_encoding=True).last_hidden_state
        ours.step(units, ours.remember(states), None, 0)
        inputs = sum(e(units[:, q]) for q, e in enumerate(ours.embeddings.codebooks))
        transformed = ours.transform(outputs[0])
    # One model of this size at a time.
    del ours

    theirs = BlipForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32).eval()
    with torch.inference_mode():
        expected = theirs.vision_model(pixels, interpolate_pos_encoding=True).last_hidden_state
        decoded = theirs.text_decoder.bert(
            inputs_embeds=inputs, encoder_hidden_states=states, is_decoder=True
        ).last_hidden_state
        head = theirs.text_decoder.cls.predictions.transform(decoded)
    torch.testing.assert_close(states, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(outputs[0], decoded, atol=1e-5, rtol=0)
    torch.testing.assert_close(transformed, head, atol=1e-5, rtol=0)


def test_a_repository_without_safetensors_is_fetched_with_its_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def fetch(name: str, allow_patterns: list[str]) -> str:
        asked.append(allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert resolve("Salesforce/blip-image-captioning-base") == tmp_path
    assert ["pytorch_model*.bin" in patterns for patterns in asked] == [False, True]
    (tmp_path / "model.safetensors").touch()
    resolve("Salesforce/blip-image-captioning-base")
    assert ["pytorch_model*.bin" in patterns for patterns in asked] == [False, True, False]
