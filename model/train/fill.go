package train

import (
	"fmt"

	"yohaku/model/layer"
	"yohaku/model/op"
	"yohaku/model/unet"
)

// Item is one (pair, timestep, noise) draw. Pictures are CHW, as files and noise keys have them; nothing is kept.
type Item struct {
	Winner, Loser []float32 // [C,h,w], scaled latents.
	Noise         []float32 // [C,h,w], standard normal, the same for both.
	Timestep      int       // In [0, num_train_timesteps).
	Context       []float32 // [L,D], the prompt's embedding.
	Pooled        []float32 // [P] and
	TimeIDs       []float32 // [6], for text_time models only.
	NoMargin      bool      // Leave the preference term out.
}

// Fill writes the micro-batch: for winner and loser of each item the noisy latents √ᾱ_t·x + √(1−ᾱ_t)·noise and the
// target of the schedule's prediction_type. It returns an error when the number of items, a length or a timestep does
// not fit; the inputs are then partly written.
func (s *Step) Fill(items []Item) error {
	if len(items) != s.config.Items {
		return fmt.Errorf("fill a micro-batch of %d items: got %d", s.config.Items, len(items))
	}
	for i := range items {
		if err := s.checkItem(&items[i]); err != nil {
			return fmt.Errorf("fill item %d: %w", i, err)
		}
		s.fillTerms(i, &items[i])
		s.fillShared(i, &items[i])
		s.fillSample(i, &items[i], items[i].Winner)
		if s.config.Objective.SamplesPerItem() == 2 {
			s.fillSample(len(items)+i, &items[i], items[i].Loser)
		}
	}
	return nil
}

// fillTerms writes what the loss of item i depends on beside the errors. The reference's come with Run.
func (s *Step) fillTerms(i int, it *Item) {
	row := s.exe.Input(inputTerms)[i*op.PairTerms:][:op.PairTerms]
	row[op.TermRefWinner], row[op.TermRefLoser] = 0, 0
	row[op.TermWeight], row[op.TermMargin] = s.config.Schedule.MinSNRWeight(it.Timestep, s.config.SNRGamma), 1
	if it.NoMargin {
		row[op.TermMargin] = 0
	}
}

func (s *Step) checkItem(it *Item) error {
	c := s.config
	n := len(s.noisy)
	switch {
	case len(it.Winner) != n || len(it.Loser) != n || len(it.Noise) != n:
		return fmt.Errorf("winner, loser and noise have %d, %d and %d elements, want %d×%d×%d", len(it.Winner), len(it.Loser), len(it.Noise), c.UNet.InChannels, c.Height, c.Width)
	case len(it.Context) != c.ContextLength*c.UNet.ContextDim():
		return fmt.Errorf("context has %d elements, want %d×%d", len(it.Context), c.ContextLength, c.UNet.ContextDim())
	case it.Timestep < 0 || it.Timestep >= len(c.Schedule.AlphasCumprod):
		return fmt.Errorf("timestep %d, want 0 to %d", it.Timestep, len(c.Schedule.AlphasCumprod)-1)
	case c.UNet.HasTextTime() && (len(it.Pooled) != c.UNet.PooledDim() || len(it.TimeIDs) != unet.TimeIDs):
		return fmt.Errorf("pooled embedding and time ids have %d and %d elements, want %d and %d", len(it.Pooled), len(it.TimeIDs), c.UNet.PooledDim(), unet.TimeIDs)
	}
	return nil
}

// fillSample writes row of the samples.
func (s *Step) fillSample(row int, it *Item, latents []float32) {
	c := s.config
	c.Schedule.AddNoise(s.noisy, latents, it.Noise, it.Timestep)
	c.Schedule.Target(s.target, latents, it.Noise, it.Timestep)
	n, channels := len(s.noisy), c.UNet.InChannels
	layer.ToHWC(s.exe.Input(inputSample)[row*n:(row+1)*n], s.noisy, channels)
	layer.ToHWC(s.exe.Input(inputTarget)[row*n:(row+1)*n], s.target, channels)
}

// fillShared writes what both samples of item i share.
func (s *Step) fillShared(i int, it *Item) {
	s.exe.Input(inputTimesteps)[i] = float32(it.Timestep)
	copy(s.exe.Input(inputContext)[i*len(it.Context):], it.Context)
	if s.config.UNet.HasTextTime() {
		copy(s.exe.Input(inputPooled)[i*len(it.Pooled):], it.Pooled)
		copy(s.exe.Input(inputTimeIDs)[i*len(it.TimeIDs):], it.TimeIDs)
	}
}
