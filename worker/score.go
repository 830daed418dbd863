package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image/png"
	"os"
	"strings"

	"yohaku/dataset/look"
	"yohaku/dataset/palette"
	"yohaku/internal/picture"
	"yohaku/internal/wire"
	"yohaku/model/scorer"
)

// maxPictureBytes bounds a picture to score.
const maxPictureBytes = 64 << 20

// score judges the pictures of a job.
func (w *Worker) score(ctx context.Context, j wire.ScoreJob) (wire.Done, error) {
	colours := palette.Brand
	if j.Palette != "" {
		var err error
		if colours, err = palette.Read(strings.NewReader(j.Palette)); err != nil {
			return wire.Done{}, err
		}
	}
	encoder, err := w.encoder(ctx, j.Encoder)
	if err != nil {
		return wire.Done{}, err
	}
	if j.Judge != wire.JudgePalette && (j.Judge != wire.JudgeEncoder || encoder == nil) {
		return wire.Done{}, fmt.Errorf("judge %q is not known, or comes without its model", j.Judge)
	}
	var done wire.Done
	for _, r := range j.Pictures {
		if ctx.Err() != nil {
			return wire.Done{}, context.Cause(ctx)
		}
		s, err := w.scoreOne(ctx, r, j.Judge, colours, encoder)
		if err != nil {
			return wire.Done{}, fmt.Errorf("score the picture of %q: %w", r.Prompt, err)
		}
		done.Scores = append(done.Scores, s)
	}
	return done, nil
}

func (w *Worker) scoreOne(ctx context.Context, r wire.ScoreRequest, judge string, colours palette.Palette, encoder *scorer.Scorer) (wire.PictureScore, error) {
	data, err := w.pictureBytes(ctx, r.Ref)
	if err != nil {
		return wire.PictureScore{}, err
	}
	m, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return wire.PictureScore{}, fmt.Errorf("decode: %w", err)
	}
	stats, features := look.Of(m)
	s := wire.PictureScore{Score: palette.Score(m, colours), Features: features, Look: wire.Look(stats)}
	if encoder == nil {
		return s, nil
	}
	rgb, err := picture.Decode(data)
	if err != nil {
		return wire.PictureScore{}, err
	}
	said, err := encoder.Score(r.Prompt, rgb)
	if err != nil {
		return wire.PictureScore{}, err
	}
	s.Consistency, s.Features = &said.Cosine, said.Picture
	if judge == wire.JudgeEncoder {
		s.Score = said.Logit
	}
	return s, nil
}

func (w *Worker) pictureBytes(ctx context.Context, ref wire.Ref) ([]byte, error) {
	if ref.Size > maxPictureBytes {
		return nil, fmt.Errorf("picture of %d bytes, at most %d", ref.Size, maxPictureBytes)
	}
	file, err := w.files.get(ctx, ref)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read picture: %w", err)
	}
	return data, nil
}

// openScorer is the scorer of the last score job.
type openScorer struct {
	digest string
	scorer *scorer.Scorer
}

// encoder opens the encoder of a job, nil for none; the last one stays open for the next job.
func (w *Worker) encoder(ctx context.Context, m wire.Model) (*scorer.Scorer, error) {
	if len(m.Files) == 0 {
		return nil, nil //nolint:nilnil // None is a valid answer.
	}
	folder, digest, err := w.modelFolder(ctx, m)
	if err != nil {
		return nil, err
	}
	if digest == "" {
		return nil, errors.New("a worker without a cluster has no encoder")
	}
	if w.scorer.digest != digest {
		s, err := scorer.Open(folder, w.backend)
		if err != nil {
			return nil, err
		}
		w.scorer = openScorer{digest, s}
	}
	return w.scorer.scorer, nil
}
