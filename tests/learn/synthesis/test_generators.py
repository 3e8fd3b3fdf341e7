"""Rules and a tiny language model as generators."""

from __future__ import annotations

import json

import pytest

from orthant.errors import InputError, NotFoundError
from orthant.learn.synthesis.generator import TextGenerator
from orthant.learn.synthesis.local_model import HuggingFaceLocal
from orthant.learn.synthesis.rule_based import RULES, RuleBased

DOCUMENT = (
    "Return the inverse of readBuffer_size as JSON. The parser raises ValueError for damaged buffers. "
    "Use loads2bytes for streaming parser output."
)


def _one(rule, document=DOCUMENT, **options):
    return RuleBased(rule).generate([document], **options)[0].text


def test_each_rule_does_what_it_says():
    assert _one("summary") == "Return the inverse of readBuffer_size as JSON."
    assert _one("keywords") == "readbuffer_size parser valueerror loads2bytes streaming"
    assert _one("question") == "What is readbuffer_size parser loads2bytes?"
    assert _one("paraphrase") == (
        "The parser raises value error for damaged buffers. Use loads2bytes for streaming parser output. "
        "Return the inverse of read buffer size as JSON."
    )
    noisy = RuleBased("noise", strength=0.9).generate([DOCUMENT])[0].text
    assert noisy != _one("summary") and len(noisy.split()) < 7
    assert RuleBased("noise", strength=0.0).generate([DOCUMENT])[0].text == _one("summary")


def test_the_document_is_what_stands_below_the_marker():
    assert _one("summary", f"Ask about it.\n\nDocument:\n{DOCUMENT}") == _one("summary")


@pytest.mark.parametrize("rule", RULES)
def test_texts_depend_on_document_and_seed_alone(rule):
    others = ["Something else entirely. With two sentences.", DOCUMENT]
    first = RuleBased(rule).generate([DOCUMENT], temperature=1.0, seed=4)[0]
    assert RuleBased(rule).generate(others, temperature=1.0, seed=4)[1] == first
    drawn = {RuleBased(rule).generate([DOCUMENT], temperature=1.0, seed=s)[0].text for s in range(12)}
    assert (len(drawn) > 1) == (rule != "summary")


def test_length_and_stop():
    cut = RuleBased("summary").generate([DOCUMENT], max_tokens=3)[0]
    assert (cut.text, cut.finish, cut.completion_tokens) == ("Return the inverse", "length", 3)
    assert _one("summary", stop=[" of"]) == "Return the inverse"
    assert _one("keywords", "a of the") == "" == _one("question", "...")


def test_unknown_rules_are_refused():
    with pytest.raises(InputError, match="rule='title'"):
        RuleBased("title")
    with pytest.raises(InputError, match="strength"):
        RuleBased("noise", strength=2)
    assert isinstance(RuleBased(), TextGenerator)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("gpt2")
    vocabulary = {c: i for i, c in enumerate(["<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    raw = Tokenizer(models.BPE(vocabulary, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    transformers.PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<end>").save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=len(vocabulary), n_positions=64, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def test_a_local_model_equals_its_own_arg_max(tiny):
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(tiny), AutoModelForCausalLM.from_pretrained(tiny).eval()
    prompts = ["What is gout?", "Hm"]
    expected = []
    for prompt in prompts:
        ids = tokenizer(prompt)["input_ids"]
        start = len(ids)
        with torch.inference_mode():
            while len(ids) < start + 9 and (len(ids) == start or ids[-1] != 0):
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        expected.append(tokenizer.decode(ids[start:], skip_special_tokens=True))
    generator = HuggingFaceLocal(tiny)
    found = generator.generate(prompts, max_tokens=9)
    assert [g.text for g in found] == expected
    assert isinstance(generator, TextGenerator) and generator.fingerprint == HuggingFaceLocal(tiny).fingerprint
    assert found[0].prompt_tokens == len("What is gout?") and found[0].completion_tokens <= 9


def test_a_local_model_samples_by_seed_and_leaves_torch_alone(tiny):
    torch = pytest.importorskip("torch")
    generator = HuggingFaceLocal(tiny)
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    options = {"max_tokens": 8, "temperature": 1.0}
    alone = generator.generate(["abc"], seed=1, **options)[0]
    both = generator.generate(["xy", "abc"], seed=1, **options)[1]
    assert both == alone != generator.generate(["abc"], seed=2, **options)[0]
    assert torch.equal(torch.random.get_rng_state(), state)
    end = alone.text[3]
    cut = generator.generate(["abc"], seed=1, stop=[end], **options)[0]
    assert cut.text == alone.text[: alone.text.index(end)] and cut.finish == "stop"


def test_a_local_model_refuses_what_does_not_fit(tiny, tmp_path):
    with pytest.raises(NotFoundError, match=r"no config\.json"):
        HuggingFaceLocal(tmp_path)
    with pytest.raises(InputError, match=r"prompts\[0\] of 60 tokens and max_tokens=5"):
        HuggingFaceLocal(tiny).generate(["x" * 60], max_tokens=5)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(InputError, match="transformers cannot load"):
        HuggingFaceLocal(tmp_path).generate(["x"])
