package kernel

// The passes of attention for the set generic. The other sets fuse multiply-adds in the exponential, so these are no twins.

func scaleColumnsGeneric(x, factor *float32, rows, n int) {
	xs, f := at(x, rows*n), at(factor, n)
	for i := range xs {
		xs[i] *= f[i%n]
	}
}

func attentionGradGeneric(s, dp, logSum, dot *float32, rows, n int) {
	p, d, sum, dots := at(s, rows*n), at(dp, rows*n), at(logSum, n), at(dot, n)
	for i := range p {
		p[i] = expGeneric(p[i] - sum[i%n])
		d[i] = p[i] * (d[i] - dots[i%n])
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
			row[j] = expGeneric(v - m[j])
			sum[j] += row[j]
		}
	}
}
