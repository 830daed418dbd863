package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"yohaku/internal/safetensors"
)

// MaxBatchPairs bounds the pairs of a batch.
const MaxBatchPairs = 4096

// BatchPair is a pair on its way to a worker: the prompt and two encoded pictures.
type BatchPair struct {
	ID            string
	Prompt        string
	Winner, Loser []byte
	LoserFirst    bool // The loser is image 0 of its row, whose size both pictures take.
}

// Batch is what an encode job works on. It travels as a blob in the safetensors format: the tensors
// "0.winner", "0.loser", … hold the pictures' bytes, the metadata key "pairs" the ids and prompts.
type Batch []BatchPair

type batchText struct {
	ID         string `json:"id"`
	Prompt     string `json:"prompt"`
	LoserFirst bool   `json:"loser_first,omitempty"`
}

// Encode writes the batch. The same pairs give the same bytes.
func (b Batch) Encode() ([]byte, error) {
	var entries []safetensors.Entry
	texts := make([]batchText, len(b))
	for i, p := range b {
		texts[i] = batchText{p.ID, p.Prompt, p.LoserFirst}
		for _, picture := range []struct {
			name string
			data []byte
		}{{"winner", p.Winner}, {"loser", p.Loser}} {
			entries = append(entries, safetensors.Entry{
				Name: strconv.Itoa(i) + "." + picture.name, DType: safetensors.U8, Shape: []int{len(picture.data)}, Data: picture.data,
			})
		}
	}
	var out bytes.Buffer
	err := safetensors.Write(&out, entries, map[string]string{"pairs": string(Encode(texts))})
	return out.Bytes(), err
}

// DecodeBatch reads what Encode wrote.
func DecodeBatch(data []byte) (Batch, error) {
	f, err := safetensors.Parse(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("read batch: %w", err)
	}
	var texts []batchText
	if err := json.Unmarshal([]byte(f.Metadata()["pairs"]), &texts); err != nil {
		return nil, fmt.Errorf("read batch: metadata key pairs: %w", err)
	}
	if len(texts) == 0 || len(texts) > MaxBatchPairs {
		return nil, fmt.Errorf("read batch: %d pairs, want 1 to %d", len(texts), MaxBatchPairs)
	}
	b := make(Batch, len(texts))
	for i, t := range texts {
		b[i].ID, b[i].Prompt, b[i].LoserFirst = t.ID, t.Prompt, t.LoserFirst
		if b[i].Winner, err = f.Bytes(strconv.Itoa(i) + ".winner"); err != nil {
			return nil, fmt.Errorf("read batch: %w", err)
		}
		if b[i].Loser, err = f.Bytes(strconv.Itoa(i) + ".loser"); err != nil {
			return nil, fmt.Errorf("read batch: %w", err)
		}
	}
	return b, nil
}
