package kernel

import "math"

// The passes of attention for the set generic. The other sets fuse multiply-adds in the exponential, so these are no twins.

func scaleColumnsGeneric(x, factor *float32, rows, n int) {
	xs, f := at(x, rows*n), at(factor, n)
	for i := range xs {
		xs[i] *= f[i%n]
	}
}

// The constants of exp2 are those of the generator.
const (
	exp2High  = float32(127)
	exp2Low   = float32(-127)
	exp2Shift = float32(3<<22 + 127)
)

var exp2Coefficients = [...]float32{1.326472731307149e-3, 9.671512991189957e-3, 5.550733581185341e-2, 2.4022242426872253e-1, 6.931470036506653e-1, 1}

// exp2Generic is 2^x within 3e-7. Arguments above 127 count as 127; below −126.5 the result is 0.
func exp2Generic(x float32) float32 {
	if x > exp2High {
		x = exp2High
	}
	if x < exp2Low {
		x = exp2Low
	}
	z := x + exp2Shift
	x -= z - exp2Shift
	return horner(exp2Coefficients[:], x) * math.Float32frombits(math.Float32bits(z)<<23)
}

func attentionGradGeneric(s, dp, p, ds, shift, dot *float32, rows, n, stride int) {
	ld := stride / 4
	scores, grads, shifts, dots := at(s, rows*n), at(dp, rows*n), at(shift, n), at(dot, n)
	ps, dss := at(p, (rows-1)*ld+n), at(ds, (rows-1)*ld+n)
	for r := range rows {
		for j := range n {
			i := r*n + j
			v := exp2Generic(scores[i] - shifts[j])
			grads[i] = v * (grads[i] - dots[j])
			ps[r*ld+j], dss[r*ld+j] = v, grads[i]
		}
	}
}

func columnDotsGeneric(a, b, dot *float32, rows, n, stride int) {
	d, ld := at(dot, n), stride/4
	clear(d)
	as, bs := at(a, (rows-1)*ld+n), at(b, (rows-1)*ld+n)
	for r := range rows {
		row := bs[r*ld:][:n]
		for j, v := range as[r*ld:][:n] {
			d[j] += float32(v * row[j])
		}
	}
}

func columnMaxGeneric(x, first *float32, rows, n, stride int) {
	m, ld := at(first, n), stride/4
	xs := at(x, (rows-1)*ld+n)
	for r := range rows {
		for j, v := range xs[r*ld:][:n] {
			if v > m[j] {
				m[j] = v
			}
		}
	}
}

func columnExpGeneric(x, shift, total *float32, rows, n, stride int) {
	sum, m, ld := at(total, n), at(shift, n), stride/4
	clear(sum)
	xs := at(x, (rows-1)*ld+n)
	for r := range rows {
		row := xs[r*ld:][:n]
		for j, v := range row {
			row[j] = exp2Generic(v - m[j])
			sum[j] += row[j]
		}
	}
}
