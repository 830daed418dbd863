package train

import (
	"testing"

	"yohaku/model/backend/cpu"
	"yohaku/model/diffusion"
	"yohaku/model/objective"
	"yohaku/model/unet"
)

// BenchmarkStep times a micro-batch, forward and backward, on two threads.
func BenchmarkStep(b *testing.B) {
	for _, bb := range []struct {
		name, json string
		items      int
	}{
		{"S", `{"block_out_channels":[32,64,64],"layers_per_block":1,"attention_head_dim":8,"cross_attention_dim":64,
			"down_block_types":["CrossAttnDownBlock2D","CrossAttnDownBlock2D","DownBlock2D"],"up_block_types":["UpBlock2D","CrossAttnUpBlock2D","CrossAttnUpBlock2D"]}`, 4},
		{"M", `{"block_out_channels":[64,128,256],"layers_per_block":2,"attention_head_dim":8,"cross_attention_dim":256,
			"down_block_types":["CrossAttnDownBlock2D","CrossAttnDownBlock2D","DownBlock2D"],"up_block_types":["UpBlock2D","CrossAttnUpBlock2D","CrossAttnUpBlock2D"]}`, 2},
	} {
		b.Run(bb.name, func(b *testing.B) { benchmarkStep(b, bb.json, bb.items) })
	}
}

func benchmarkStep(b *testing.B, json string, items int) {
	u, err := unet.ParseConfig([]byte(json))
	if err != nil {
		b.Fatal(err)
	}
	be := cpu.New(2)
	b.Cleanup(be.Close)
	s, err := New(Config{
		UNet: u, Schedule: diffusion.Default("DDPMScheduler").Schedule(), Items: items, Height: 32, Width: 32, ContextLength: 77,
		Objective: objective.Config{Form: objective.ReferenceCode, Beta: 0.1, SNR: 0.5, Scale: 1000},
	}, be)
	if err != nil {
		b.Fatal(err)
	}
	for i, x := range normal(1, len(s.ParamSlab())) {
		s.ParamSlab()[i] = 0.02 * x
	}
	batch := make([]Item, items)
	for i := range batch {
		n := u.InChannels * 32 * 32
		batch[i] = Item{Winner: normal(2, n), Loser: normal(3, n), Noise: normal(4, n), Timestep: 500, Context: normal(5, 77*u.ContextDim())}
	}
	if err := s.Fill(batch); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Run(nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(s.Plan().FLOPs)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	b.ReportMetric(float64(s.Plan().SlabBytes)/1e6, "slab-MB")
}
