package runstore

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"yohaku/internal/wire"
)

// Share says which micro-batches of a step a node computed.
type Share struct {
	Node         string `json:"node"`
	MicroBatches []int  `json:"micro_batches"`
}

// LedgerLine is one committed step. Previous is the SHA-256 of the line before, without its line
// end, so that a line cannot be changed or taken out unseen; the first line's is empty.
type LedgerLine struct {
	Previous     string  `json:"previous"`
	Step         int     `json:"step"`
	Epoch        uint64  `json:"epoch"`
	Generation   uint64  `json:"generation"`
	Shares       []Share `json:"shares"`
	Items        int     `json:"items"`
	Skipped      bool    `json:"skipped,omitempty"`
	SumsSHA256   string  `json:"sums_sha256"`
	ParamsSHA256 string  `json:"params_sha256"`
}

// ledger is the chained file.
type ledger struct {
	*appender
	last string // Digest of the last line.
}

func openLedger(path string) (*ledger, error) {
	a, err := openAppender(path)
	if err != nil {
		return nil, err
	}
	last, err := lastLineDigest(path)
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return &ledger{a, last}, nil
}

// lastLineDigest is the SHA-256 of the file's last line, or "" when there is none.
func lastLineDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("open ledger: %w", err)
	}
	defer f.Close() // Only read.
	digest := ""
	s := bufio.NewScanner(f)
	s.Buffer(nil, wire.MaxMessageBytes)
	for s.Scan() {
		digest = LineDigest(s.Bytes())
	}
	return digest, s.Err()
}

// LineDigest is how a ledger line names the one before it: its SHA-256, without the line end.
func LineDigest(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// shares names the nodes that computed the step.
func sharesOf(s wire.StepReport) []Share {
	shares := make([]Share, len(s.Nodes))
	for rank, name := range s.Nodes {
		shares[rank] = Share{Node: name, MicroBatches: s.Shares[rank]}
	}
	return shares
}

func (l *ledger) append(s wire.StepReport) error {
	line := LedgerLine{
		Previous: l.last, Step: s.Step, Epoch: s.Epoch, Generation: s.Generation, Shares: sharesOf(s), Items: s.Items, Skipped: s.Skipped,
		SumsSHA256: s.SumsSHA256, ParamsSHA256: s.ParamsSHA256,
	}
	data, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("encode ledger line: %w", err)
	}
	l.last = LineDigest(data)
	return l.Append(line)
}
