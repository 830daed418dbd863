package blob

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// The subjects below a service's prefix.
const (
	subjectGet    = ".blob.get"
	subjectBegin  = ".blob.begin"
	subjectChunk  = ".blob.chunk"
	subjectCommit = ".blob.commit"
)

// The codes that errors travel with.
const (
	codeNotFound = "not_found"
	codeDigest   = "digest"
	codeUpload   = "no_upload" // The service does not know the upload (any more): begin again.
	codeBusy     = "busy"      // Too many uploads: try again later.
)

// request heads every message to a service.
type request struct {
	Ref    Ref    `json:"ref"`
	Offset int64  `json:"offset,omitempty"` // A multiple of ChunkBytes.
	Upload string `json:"upload,omitempty"` // The client's own name for an upload.
}

// begun answers a begin.
type begun struct {
	Complete bool  `json:"complete"` // The blob is there already.
	Offset   int64 `json:"offset"`   // The first byte that is missing.
}

const maxHeadBytes = 1 << 10

// encode puts a request and its data into one message: uint32 length of the JSON head, head, data.
func encode(r request, data []byte) ([]byte, error) {
	head, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode blob request: %w", err)
	}
	msg := make([]byte, 0, 4+len(head)+len(data))
	msg = binary.BigEndian.AppendUint32(msg, uint32(len(head)))
	return append(append(msg, head...), data...), nil
}

func decode(msg []byte) (r request, data []byte, err error) {
	if len(msg) < 4 {
		return r, nil, errors.New("blob request is too short")
	}
	n := int64(binary.BigEndian.Uint32(msg))
	if n > maxHeadBytes || n > int64(len(msg)-4) {
		return r, nil, fmt.Errorf("blob request announces a head of %d bytes, at most %d are allowed and %d are there", n, maxHeadBytes, len(msg)-4)
	}
	if err := json.Unmarshal(msg[4:4+n], &r); err != nil {
		return r, nil, fmt.Errorf("blob request: %w", err)
	}
	data = msg[4+n:]
	if err := r.Ref.Check(); err != nil {
		return r, nil, err
	}
	if r.Offset < 0 || r.Offset > r.Ref.Size || r.Offset%ChunkBytes != 0 {
		return r, nil, fmt.Errorf("offset %d of %v is not a multiple of %d within it", r.Offset, r.Ref, ChunkBytes)
	}
	if len(r.Upload) > 64 {
		return r, nil, fmt.Errorf("upload name has %d bytes, at most 64 are allowed", len(r.Upload))
	}
	return r, data, nil
}

// chunkLen is how many bytes the chunk at offset has.
func chunkLen(ref Ref, offset int64) int { return int(min(ChunkBytes, ref.Size-offset)) }

// codedError is an error with a code that travels to the client.
type codedError struct {
	code string
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Code() string  { return e.code }
func (e *codedError) Unwrap() error { return e.err }

// coded gives the store's sentinels their codes.
func coded(err error) error {
	switch {
	case errors.Is(err, ErrNotFound):
		return &codedError{codeNotFound, err}
	case errors.Is(err, ErrDigest):
		return &codedError{codeDigest, err}
	}
	return err
}
