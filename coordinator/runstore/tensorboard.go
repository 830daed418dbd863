package runstore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"yohaku/internal/wire"
)

// eventFile writes TensorBoard's event format: TFRecord frames of tensorflow.Event messages.
//
// Source: tensorflow/core/lib/io/record_writer.h and tensorflow/core/util/event.proto.
type eventFile struct{ file *os.File }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func createEventFile(dir string, now time.Time) (*eventFile, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	name := fmt.Sprintf("events.out.tfevents.%010d.%s.%d", now.Unix(), host, os.Getpid())
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("create event file: %w", err)
	}
	e := &eventFile{f}
	version := protowire.AppendTag(eventTime(nil, now), 3, protowire.BytesType)
	return e, e.record(protowire.AppendString(version, "brain.Event:2"))
}

// eventTime appends Event.wall_time, in seconds.
func eventTime(b []byte, now time.Time) []byte {
	b = protowire.AppendTag(b, 1, protowire.Fixed64Type)
	return protowire.AppendFixed64(b, math.Float64bits(float64(now.UnixNano())/1e9))
}

// record writes one frame: length, its checksum, data, its checksum.
func (e *eventFile) record(data []byte) error {
	frame := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	frame = binary.LittleEndian.AppendUint32(frame, maskedCRC(frame))
	frame = append(frame, data...)
	frame = binary.LittleEndian.AppendUint32(frame, maskedCRC(data))
	if _, err := e.file.Write(frame); err != nil {
		return fmt.Errorf("append to %s: %w; free some space and --resume the run", e.file.Name(), err)
	}
	return nil
}

// maskedCRC is TFRecord's masked CRC-32C.
func maskedCRC(data []byte) uint32 {
	c := crc32.Checksum(data, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

// appendStep writes the scalars of one step as one event.
func (e *eventFile) appendStep(s wire.StepReport) error {
	var summary []byte
	for _, scalar := range []struct {
		tag   string
		value float64
	}{
		{"train/loss", s.Loss}, {"train/loss_mse", s.LossMSE}, {"train/loss_ratio", s.LossRatio},
		{"train/winner_mse", s.WinnerMSE}, {"train/loser_mse", s.LoserMSE}, {"train/log_odds", s.LogOdds},
		{"train/grad_norm", s.GradNorm}, {"train/learning_rate", s.LearningRate}, {"speed/items_per_second", s.ItemsPerSecond},
	} {
		var value []byte // Summary.Value: tag = 1, simple_value = 2.
		value = protowire.AppendString(protowire.AppendTag(value, 1, protowire.BytesType), scalar.tag)
		value = protowire.AppendFixed32(protowire.AppendTag(value, 2, protowire.Fixed32Type), math.Float32bits(float32(scalar.value)))
		summary = protowire.AppendBytes(protowire.AppendTag(summary, 1, protowire.BytesType), value)
	}
	event := eventTime(nil, time.Now())
	event = protowire.AppendVarint(protowire.AppendTag(event, 2, protowire.VarintType), uint64(s.Step))
	event = protowire.AppendBytes(protowire.AppendTag(event, 5, protowire.BytesType), summary)
	return e.record(event)
}

// Close closes the file.
func (e *eventFile) Close() error { return e.file.Close() }
