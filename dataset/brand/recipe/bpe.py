"""CLIP's byte-pair tokenizer, learned until every word of the captions is one token."""
import collections
import json

from transformers import CLIPTokenizer


def byte_letters():
    """The 256 printable stand-ins for bytes, in CLIP's order."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in keep]
    return [chr(b) for b in keep] + [chr(256 + i) for i in range(len(rest))]


def merge(word, pair):
    out, i = [], 0
    while i < len(word):
        if tuple(word[i:i + 2]) == pair:
            out.append(word[i] + word[i + 1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return out


def learn_merges(words):
    split = {w: list(w[:-1]) + [w[-1] + "</w>"] for w in words}
    merges = []
    while True:
        pairs = collections.Counter(p for s in split.values() for p in zip(s, s[1:]))
        if not pairs:
            return merges
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        split = {w: merge(s, best) for w, s in split.items()}


def write_tokenizer(texts, folder, length):
    """Writes vocab.json, merges.txt and the two configuration files, for prompts of length tokens."""
    words = sorted({w for text in texts for w in text.split()})
    merges = learn_merges(words)
    letters = byte_letters()
    tokens = letters + [c + "</w>" for c in letters] + [a + b for a, b in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
               "pad_token": "<|endoftext|>"}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2))
    (folder / "tokenizer_config.json").write_text(json.dumps(
        {"tokenizer_class": "CLIPTokenizer", "model_max_length": length, "do_lower_case": True,
         "add_prefix_space": False, "errors": "replace", **special}, indent=2))
    t = CLIPTokenizer.from_pretrained(folder)
    assert all(len(t(w)["input_ids"]) == 3 for w in words), [(w, t.tokenize(w)) for w in words]
    print(len(words), "words,", len(merges), "merges,", len(tokens), "tokens")
