package blob

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	// ChunkBytes is the size of every chunk but a blob's last.
	ChunkBytes = 512 << 10
	// MaxBytes is the largest blob.
	MaxBytes = 256 << 30
)

var (
	// ErrNotFound: the store has no such blob. The caller asks another node, or gives up.
	ErrNotFound = errors.New("blob not found")
	// ErrDigest: the bytes are not those that the reference names. The caller must not use them;
	// trying again helps only if the source is another one.
	ErrDigest = errors.New("digest mismatch")
)

// Ref names a blob by its content.
type Ref struct {
	SHA256 string `json:"sha256"` // 64 lower-case hexadecimal digits.
	Size   int64  `json:"size"`   // Bytes.
}

// String is short, for messages.
func (r Ref) String() string { return fmt.Sprintf("blob %.12s (%d bytes)", r.SHA256, r.Size) }

// Check refuses what is not a reference. It makes SHA256 safe as a file name.
func (r Ref) Check() error {
	if r.Size < 0 || r.Size > MaxBytes {
		return fmt.Errorf("blob size %d is not within 0 to %d", r.Size, int64(MaxBytes))
	}
	if len(r.SHA256) != 2*sha256.Size {
		return fmt.Errorf("blob digest has %d characters, it must have %d", len(r.SHA256), 2*sha256.Size)
	}
	for _, c := range []byte(r.SHA256) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return errors.New("blob digest is not lower-case hexadecimal")
		}
	}
	return nil
}

// RefOf names the blob that is data.
func RefOf(data []byte) Ref {
	ref, _ := refOfReader(bytes.NewReader(data)) // Memory does not fail.
	return ref
}

// RefOfFile reads the file at path and names its content.
func RefOfFile(path string) (Ref, error) {
	f, err := os.Open(path)
	if err != nil {
		return Ref{}, fmt.Errorf("hash file: %w", err)
	}
	defer func() { _ = f.Close() }() // Read only.
	ref, err := refOfReader(f)
	if err != nil {
		return Ref{}, fmt.Errorf("hash file %s: %w", path, err)
	}
	return ref, ref.Check()
}

func refOfReader(r io.Reader) (Ref, error) {
	h := sha256.New()
	n, err := io.CopyBuffer(h, struct{ io.Reader }{r}, make([]byte, ChunkBytes))
	return Ref{SHA256: hex.EncodeToString(h.Sum(nil)), Size: n}, err
}

func digestError(what string, ref Ref, got string) error {
	return fmt.Errorf("%s: SHA-256 is %.12s…, %v was asked for; the source is damaged or changed: %w", what, got, ref, ErrDigest)
}
