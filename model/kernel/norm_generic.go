package kernel

// affineAt is x·scale + shift.
func affineAt(x, scale, shift float32) float32 { return float32(x*scale) + shift }

func affineGeneric(dst, x, scale, shift *float32, rows, n int) {
	d, xs, a, b := at(dst, rows*n), at(x, rows*n), at(scale, n), at(shift, n)
	for i := range d {
		d[i] = affineAt(xs[i], a[i%n], b[i%n])
	}
}

func affineSiLUGeneric(dst, x, scale, shift *float32, rows, n int) {
	d, xs, a, b := at(dst, rows*n), at(x, rows*n), at(scale, n), at(shift, n)
	for i := range d {
		d[i] = siluGeneric(affineAt(xs[i], a[i%n], b[i%n]))
	}
}

func affineGradGeneric(dx, x, dy, a, b, c *float32, rows, n int) {
	d, xs, g := at(dx, rows*n), at(x, rows*n), at(dy, rows*n)
	as, bs, cs := at(a, n), at(b, n), at(c, n)
	for i := range d {
		j := i % n
		d[i] = float32(g[i]*as[j]) + float32(xs[i]*bs[j]) + cs[j]
	}
}

func affineSiLUGradGeneric(dh, x, dy, scale, shift *float32, rows, n int) {
	d, xs, g, a, b := at(dh, rows*n), at(x, rows*n), at(dy, rows*n), at(scale, n), at(shift, n)
	for i := range d {
		d[i] = g[i] * siluGradGeneric(affineAt(xs[i], a[i%n], b[i%n]))
	}
}
