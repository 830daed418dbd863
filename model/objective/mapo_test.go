package objective

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

var code = Config{Form: ReferenceCode, Beta: DefaultBeta, SNR: DefaultSNR, Scale: DefaultScale}

// exactLink returns x/(exp(x)−1) and its derivative to about 60 digits, from power series.
func exactLink(x float64) (value, slope float64) {
	const bits = 400
	f := func(v float64) *big.Float { return new(big.Float).SetPrec(bits).SetFloat64(v) }
	bx, term, exp := f(x), f(1), f(1)
	for k := 1; k < 400; k++ {
		term.Mul(term, bx).Quo(term, f(float64(k)))
		exp.Add(exp, term)
	}
	m := f(0).Sub(exp, f(1))
	value, _ = f(0).Quo(bx, m).Float64()
	slope, _ = f(0).Quo(f(0).Sub(m, f(0).Mul(bx, exp)), f(0).Mul(m, m)).Float64()
	return value, slope
}

func TestLinkIsAccurateEverywhere(t *testing.T) {
	for _, x := range []float64{1e-300, 1e-20, 1e-12, 1e-7, 1e-3, 0.05, 0.3, 0.7, 0.999999, 1, 1.000001, 1.5, 3, 10, 40} {
		value, slope := exactLink(x)
		if got := link(x); math.Abs(got-value) > 4e-16*value {
			t.Errorf("link(%g) = %v, want %v", x, got, value)
		}
		if got := linkSlope(x); math.Abs(got-slope) > 2e-15*math.Abs(slope) {
			t.Errorf("linkSlope(%g) = %v, want %v, relative error %.1e", x, got, slope, math.Abs(got/slope-1))
		}
	}
	if link(0) != 1 || linkSlope(0) != -0.5 {
		t.Errorf("at 0: link %v, slope %v, want 1, -0.5", link(0), linkSlope(0))
	}
	for _, x := range []float64{700, 745, 746, 1e4, math.MaxFloat64, math.Inf(1)} {
		if v, s := link(x), linkSlope(x); v < 0 || v > 1e-290 || s > 0 || s < -1e-290 {
			t.Errorf("at %g: link %v, slope %v, want both near 0", x, v, s)
		}
	}
}

func TestGradientsAgainstCentralDifferences(t *testing.T) {
	const seed = 7
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		c := code
		c.Scale = math.Pow(10, 3*r.Float64())
		switch r.IntN(4) {
		case 0:
			c = Config{Form: Paper, Beta: math.Pow(2, 10*r.Float64())}
		case 1:
			c = Config{Form: DPO, Beta: math.Pow(10, 3*r.Float64())}
		case 2:
			c = Config{Form: SFT}
		}
		terms := Terms{RefW: r.Float64(), RefL: r.Float64(), Weight: 2 * r.Float64(), Margin: 2 * r.Float64()}
		w := math.Pow(10, -4*r.Float64()) + 1e-3
		l := w * (0.9 + 0.2*r.Float64())
		p, h := c.Pair(w, l, terms), 1e-6*w
		numW := (c.Pair(w+h, l, terms).Loss - c.Pair(w-h, l, terms).Loss) / (2 * h)
		numL := (c.Pair(w, l+h, terms).Loss - c.Pair(w, l-h, terms).Loss) / (2 * h)
		if math.Abs(numW-p.GradW) > 1e-6*(1+math.Abs(p.GradW))*(1+1/w) || math.Abs(numL-p.GradL) > 1e-6*(1+math.Abs(p.GradL))*(1+1/w) {
			t.Errorf("seed %d, %+v, w %g, l %g: gradients %v %v, differences %v %v", seed, c, w, l, p.GradW, p.GradL, numW, numL)
		}
	}
}

// TestFormsAgree holds the design's claim: the two forms are one loss when the code's snr_value
// is the paper's β, its beta_mapo is 1/β and its margin scale is 1.
func TestFormsAgree(t *testing.T) {
	for _, beta := range []float64{1, 8, 32, 64, 1024} {
		paper := Config{Form: Paper, Beta: beta}
		same := Config{Form: ReferenceCode, Beta: 1 / beta, SNR: beta, Scale: 1}
		for _, w := range []float64{0, 1e-7, 0.01, 0.3, 2} {
			for _, l := range []float64{0, 1e-6, 0.012, 0.25, 3} {
				if got, want := paper.Pair(w, l, Plain), same.Pair(w, l, Plain); got != want {
					t.Errorf("β %v, w %v, l %v: paper %+v, code %+v", beta, w, l, got, want)
				}
			}
		}
		scaled := same
		scaled.Scale = DefaultScale
		if paper.Pair(0.01, 0.012, Plain) == scaled.Pair(0.01, 0.012, Plain) {
			t.Errorf("β %v: the margin scale makes no difference", beta)
		}
	}
}

func TestMeanAndSum(t *testing.T) {
	w, l := []float64{0.1, 0.2, 0}, []float64{0.3, 0.1, 0}
	r, err := MaPO(w, l, code)
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for i := range w {
		sum += code.Pair(w[i], l[i], Plain).Loss
	}
	if r.Sum != sum || r.Mean != sum/3 || len(r.GradW) != 3 || r.GradL[1] != r.Pairs[1].GradL {
		t.Errorf("got %+v, want sum %v", r, sum)
	}
	zero := r.Pairs[2]
	if zero.LogOdds != 0 || zero.Loss != DefaultBeta*math.Ln2 || math.IsNaN(zero.GradW+zero.GradL) {
		t.Errorf("pair of zeros: %+v, want a loss of β·ln 2 and finite gradients", zero)
	}
	if p := code.Pair(math.NaN(), 1, Plain); !math.IsNaN(p.Loss) || !math.IsNaN(p.GradW) {
		t.Errorf("NaN in, %+v out", p)
	}
	if p := code.Pair(1e30, 1e-30, Plain); math.IsNaN(p.Loss) || math.IsNaN(p.GradW) || math.IsNaN(p.GradL) {
		t.Errorf("far apart: %+v", p)
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		w, l []float64
	}{{nil, nil}, {[]float64{1}, nil}, {[]float64{1, 2}, []float64{1}}} {
		if _, err := MaPO(c.w, c.l, code); !errors.Is(err, ErrShape) {
			t.Errorf("%v, %v: got %v, want ErrShape", c.w, c.l, err)
		}
	}
	for want, c := range map[string]Config{
		`form must be reference_code, paper, dpo or sft, got "kto"`:                                                                                                           {Form: "kto", Beta: 1, SNR: 1, Scale: 1},
		"beta_dpo must be a finite number above 0, got 0 (default 5000)":                                                                                                      {Form: DPO},
		"loser_safeguard scales the loser's gradient, which form sft does not have":                                                                                           {Form: SFT, LoserSafeguard: true},
		"beta_mapo must be a finite number above 0, got -1 (default 0.1)":                                                                                                     {Form: ReferenceCode, Beta: -1, SNR: 1, Scale: 1},
		"beta_mapo must be a finite number above 0, got NaN (default 0.1)":                                                                                                    {Form: ReferenceCode, Beta: math.NaN(), SNR: 1, Scale: 1},
		"snr_value must be a finite number above 0, got 0 (default 0.5)":                                                                                                      {Form: ReferenceCode, Beta: 1, Scale: 1},
		"num_train_timesteps must be a finite number above 0, got +Inf (default 1000)":                                                                                        {Form: ReferenceCode, Beta: 1, SNR: 1, Scale: math.Inf(1)},
		"beta_mapo must be a finite number above 0, got 0 (form paper has no default; the paper's best: preference 8, culture 32, safety 64, style 64, personalization 1024)": {Form: Paper},
	} {
		if err := c.Validate(); err == nil || err.Error() != want {
			t.Errorf("%+v: got %v, want %s", c, err, want)
		}
	}
	if err := (Config{Form: Paper, Beta: 8}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestPairDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { _ = code.Pair(0.3, 0.2, Plain) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestDPOAtTheReferenceIsLogTwo(t *testing.T) {
	c := Config{Form: DPO, Beta: DefaultBetaDPO}
	p := c.Pair(0.3, 0.4, Terms{RefW: 0.3, RefL: 0.4, Margin: 1})
	if p.LogOdds != 0 || math.Abs(p.Loss-math.Ln2) > 1e-16 || p.GradW != DefaultBetaDPO/4 || p.GradL != -DefaultBetaDPO/4 {
		t.Errorf("got %+v, want ln 2 and gradients ±β/4", p)
	}
}

// TestSafeguard holds λ to what it promises, and to leaving alone what does no harm.
func TestSafeguard(t *testing.T) {
	const seed = 11
	r := rand.New(rand.NewPCG(seed, 0))
	scaled := 0
	for range 500 {
		c := Config{Form: DPO, Beta: 10}
		if r.IntN(2) == 0 {
			c = code
		}
		w, l := r.Float64()+0.01, r.Float64()+0.01
		product := (2*r.Float64() - 1) * 3 * math.Sqrt(w*l) // Above what two errors can give, too.
		p := c.Pair(w, l, Terms{RefW: 0.3, RefL: 0.3, Weight: 1, Margin: 1})
		lambda := p.Safeguard(w, product)
		change := p.GradW*w + lambda*p.GradL*product
		if lambda < 0 || lambda > 1 || change < -1e-12 {
			t.Fatalf("seed %d: %+v, w %g, product %g: λ %g, the winner's error rises by %g", seed, p, w, product, lambda, -change)
		}
		if lambda < 1 {
			scaled++
			if math.Abs(change) > 1e-12*math.Abs(p.GradW*w) {
				t.Fatalf("seed %d: λ %g is smaller than it has to be: %g is left", seed, lambda, change)
			}
		} else if p.GradW*w+p.GradL*product < 0 {
			t.Fatalf("seed %d: harm was left alone", seed)
		}
	}
	if scaled < 20 {
		t.Errorf("only %d of 500 were scaled: the test does not test", scaled)
	}
}
