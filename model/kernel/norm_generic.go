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

// normGradAt is dh·a + x·b + c.
func normGradAt(dh, x, a, b, c float32) float32 { return float32(dh*a) + float32(x*b) + c }

func affineGradGeneric(dx, x, dy, a, b, c *float32, rows, n int) {
	d, xs, g := at(dx, rows*n), at(x, rows*n), at(dy, rows*n)
	as, bs, cs := at(a, n), at(b, n), at(c, n)
	for i := range d {
		j := i % n
		d[i] = normGradAt(g[i], xs[i], as[j], bs[j], cs[j])
	}
}

func affineSiLUGradGeneric(dx, x, dy, scale, shift, a, b, c *float32, rows, n int) {
	d, xs, g := at(dx, rows*n), at(x, rows*n), at(dy, rows*n)
	s, t, as, bs, cs := at(scale, n), at(shift, n), at(a, n), at(b, n), at(c, n)
	for i := range d {
		j := i % n
		dh := g[i] * siluGradGeneric(affineAt(xs[i], s[j], t[j]))
		d[i] = normGradAt(dh, xs[i], as[j], bs[j], cs[j])
	}
}

// columnSumsGeneric sums x and x² down the columns; stride is in bytes, as in the assembly.
func columnSumsGeneric(x, first, second *float32, rows, n, stride int) {
	s, q := at(first, n), at(second, n)
	clear(s)
	clear(q)
	ld := stride / 4
	xs := at(x, (rows-1)*ld+n)
	for r := range rows {
		for j, v := range xs[r*ld:][:n] {
			s[j] += v
			q[j] += float32(v * v)
		}
	}
}

func columnGradsGeneric(x, dy, first, second *float32, rows, n, stride int) {
	s, q := at(first, n), at(second, n)
	clear(s)
	clear(q)
	ld := stride / 4
	xs, g := at(x, (rows-1)*ld+n), at(dy, (rows-1)*ld+n)
	for r := range rows {
		for j := range n {
			i := r*ld + j
			s[j] += g[i]
			q[j] += float32(g[i] * xs[i])
		}
	}
}

func columnSiLUGradsGeneric(x, dy, scale, shift, first, second *float32, rows, n, stride int) {
	s, q, a, b := at(first, n), at(second, n), at(scale, n), at(shift, n)
	clear(s)
	clear(q)
	ld := stride / 4
	xs, g := at(x, (rows-1)*ld+n), at(dy, (rows-1)*ld+n)
	for r := range rows {
		for j := range n {
			i := r*ld + j
			dh := float32(g[i] * siluGradGeneric(affineAt(xs[i], a[j], b[j])))
			s[j] += dh
			q[j] += float32(dh * xs[i])
		}
	}
}
