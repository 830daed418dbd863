// Package tokenizer turns prompts into CLIP's token ids: byte-level BPE with a marker at the end
// of words, between a start and an end token.
//
// Two programs exist that read the same files and differ on rare input. Fast is the tokenizers
// library, which transformers 5 and diffusers use. Slow is the Python class of transformers 4,
// which the reference MaPO code asks for (use_fast=False): it first repairs text with ftfy, or,
// where ftfy is not installed (SlowBasic), with BERT's basic tokenizer. They part on full-width
// punctuation, curly quotes, ligatures, CJK spacing, invisible characters and final sigmas.
//
// Of ftfy's repairs, Slow leaves out the guess at text decoded with a wrong encoding.
//
// Source: transformers tokenization_clip.py, huggingface/tokenizers, rspeer/python-ftfy 6.3.
package tokenizer
