package vector

// The twins are the specification of the assembly.

func lineSiLUGradientTwin(g, dy, x, a, b []float32) {
	for i, v := range x {
		g[i] = dy[i] * SiLUSlope(float32(v*a[i])+b[i])
	}
}

func gegluTwin(y, v, g []float32) {
	for i, x := range g {
		y[i] = v[i] * float32(x*Normal(x))
	}
}

func gegluGradientTwin(dv, dg, v, g, dy []float32) {
	for i, x := range g {
		p, value, d := Normal(x), v[i], dy[i]
		dv[i] = d * float32(x*p)
		dg[i] = d * float32(value*(p+float32(x*Density(x))))
	}
}

func columnSumsTwin(sum []float64, x []float32, rows, stride int) {
	for c := range sum {
		var s float64
		for r := range rows {
			s += float64(x[r*stride+c])
		}
		sum[c] = s
	}
}

func columnSquaresTwin(sum, square []float64, x []float32, rows, stride int) {
	for c := range sum {
		var s, q float64
		for r := range rows {
			v := float64(x[r*stride+c])
			s += v
			q += float64(v * v)
		}
		sum[c], square[c] = s, q
	}
}

func columnProductsTwin(sum, product []float64, g, x []float32, rows, stride int) {
	for c := range sum {
		var s, q float64
		for r := range rows {
			v := float64(g[r*stride+c])
			s += v
			q += float64(v * float64(x[r*stride+c]))
		}
		sum[c], product[c] = s, q
	}
}

// lanes are eight running sums: element i goes to lane i mod 8, so that the order does not depend on the width of
// a register.
type lanes [8]float64

func (l *lanes) total() float64 {
	return ((l[0] + l[4]) + (l[1] + l[5])) + ((l[2] + l[6]) + (l[3] + l[7]))
}

func laneSumsTwin(l *lanes, x []float32) {
	for i, v := range x {
		l[i%8] += float64(v)
	}
}

func laneSquaresTwin(l *lanes, x []float32, mean float64) {
	for i, v := range x {
		e := float64(v) - mean
		l[i%8] += float64(e * e)
	}
}

func layerNormSumsTwin(sum, product *lanes, db, dg []float64, x, dy, gamma []float32, mean, inverse float32) {
	for i, v := range x {
		h, d := float64(float32((v-mean)*inverse)), float64(dy[i])
		db[i] += d
		dg[i] += float64(d * h)
		g := float64(d * float64(gamma[i]))
		sum[i%8] += g
		product[i%8] += float64(g * h)
	}
}

func layerNormGradientTwin(dx, x, dy, gamma []float32, mean, inverse, sum, product float32) {
	for i, v := range x {
		h := float32((v - mean) * inverse)
		dx[i] = inverse * (float32(dy[i]*gamma[i]) - sum - float32(h*product))
	}
}
