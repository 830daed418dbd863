package worker

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"

	"yohaku/allreduce/fixedpoint"
	"yohaku/internal/rawbytes"
	"yohaku/internal/safetensors"
	"yohaku/internal/wire"
)

// stepKey is the metadata key of the number of steps applied.
const stepKey = "step"

// encode writes the sums, in the safetensors format, that led to the state after step steps.
func (c *complete) encode(step int) ([]byte, error) {
	sums := make([]byte, 0, 4*len(c.sums))
	for _, s := range c.sums {
		sums = binary.LittleEndian.AppendUint32(sums, uint32(s))
	}
	entries := []safetensors.Entry{
		{Name: "sums", DType: safetensors.I32, Shape: []int{len(c.sums)}, Data: sums},
		{Name: "exponents", DType: safetensors.I8, Shape: []int{len(c.exps)}, Data: rawbytes.Of(c.exps)},
		{Name: "needed", DType: safetensors.I8, Shape: []int{len(c.needed)}, Data: rawbytes.Of(c.needed)},
	}
	var out bytes.Buffer
	if err := safetensors.Write(&out, entries, map[string]string{stepKey: strconv.Itoa(step)}); err != nil {
		return nil, fmt.Errorf("write sums: %w", err)
	}
	return out.Bytes(), nil
}

// decode fills c with what encode wrote for the same step and model.
func (c *complete) decode(data []byte, step int) error {
	f, err := safetensors.Parse(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return fmt.Errorf("read sums: %w", err)
	}
	if got := f.Metadata()[stepKey]; got != strconv.Itoa(step) {
		return fmt.Errorf("read sums: they are of step %q, want %d", got, step)
	}
	sums, err := f.Bytes("sums")
	if err != nil {
		return fmt.Errorf("read sums: %w", err)
	}
	if len(sums) != 4*len(c.sums) {
		return fmt.Errorf("read sums: %d bytes, want %d: they belong to another model", len(sums), 4*len(c.sums))
	}
	for i := range c.sums {
		c.sums[i] = int32(binary.LittleEndian.Uint32(sums[4*i:]))
	}
	for name, dst := range map[string]fixedpoint.Exponents{"exponents": c.exps, "needed": c.needed} {
		b, err := f.Bytes(name)
		if err != nil {
			return fmt.Errorf("read sums: %w", err)
		}
		if len(b) != len(dst) {
			return fmt.Errorf("read sums: %d %s, want %d: they belong to another model", len(b), name, len(dst))
		}
		for i := range dst {
			dst[i] = int8(b[i])
		}
	}
	return nil
}

// takeSums fetches the complete sums of the step before the generation's first, and applies them.
func (r *rank) takeSums(ctx context.Context, ref wire.Ref) error {
	file, err := r.w.files.get(ctx, ref)
	if err != nil {
		return fmt.Errorf("fetch sums: %w", err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read sums: %w", err)
	}
	if err := os.Remove(file); err != nil {
		return fmt.Errorf("remove fetched sums: %w", err)
	}
	if err := r.w.unchanged(r.res, r.job.FirstStep-1); err != nil {
		return err
	}
	s := &r.res.sums
	if err := s.decode(data, r.job.FirstStep); err != nil {
		return err
	}
	r.res.trainer.Adopt(s.exps)
	r.res.trainer.Apply(r.job.FirstStep-1, s.sums, s.needed, fixedpoint.FirstNonFinite(s.needed) >= 0)
	return nil
}
