package kernel

// The kernels of this file work on one row, of a few thousand elements at most.

// NormRow computes dst = (x − mean)·rstd·gamma + beta for one row. dst may be x.
func NormRow(dst, x, gamma, beta []float32, mean, rstd float32) {
	checkSame(len(dst), len(x))
	checkSame(len(dst), len(gamma))
	checkSame(len(dst), len(beta))
	if len(x) > 0 {
		active.vectors.normRow(&dst[0], &x[0], &gamma[0], &beta[0], len(x), mean, rstd)
	}
}

// Moments returns the mean of x and the mean square of x less its mean, in float64, element i in lane i mod 8. There must
// be an element.
func Moments(x []float32) (mean, variance float64) {
	n := float64(len(x))
	mean = active.vectors.laneSum(&x[0], len(x)) / n
	return mean, active.vectors.laneSquares(&x[0], len(x), mean) / n
}

// LayerNormGrad computes, for one row with x̂ = (x − mean)·rstd,
//
//	dx = rstd·(gamma·dy − mean(gamma·dy) − x̂·mean(gamma·dy·x̂))
//
// and adds dy to dbeta and dy·x̂ to dgamma. The means are in float64, as those of Moments. dx may be x or dy.
func LayerNormGrad(dx []float32, dbeta, dgamma []float64, x, dy, gamma []float32, mean, rstd float32) {
	checkSame(len(dx), len(dbeta))
	checkSame(len(dx), len(dgamma))
	checkSame(len(dx), len(x))
	checkSame(len(dx), len(dy))
	checkSame(len(dx), len(gamma))
	if len(dx) == 0 {
		return
	}
	v, n := active.vectors, len(dx)
	sum, product := v.layerNormSums(&dbeta[0], &dgamma[0], &x[0], &dy[0], &gamma[0], n, mean, rstd)
	v.layerNormGrad(&dx[0], &x[0], &dy[0], &gamma[0], n, mean, rstd, float32(sum/float64(n)), float32(product/float64(n)))
}

// doubleLanes are eight running sums in float64: element i goes to lane i mod 8.
type doubleLanes [8]float64

func (l *doubleLanes) total() float64 {
	return ((l[0] + l[4]) + (l[1] + l[5])) + ((l[2] + l[6]) + (l[3] + l[7]))
}

func normRowGeneric(dst, x, gamma, beta *float32, n int, mean, rstd float32) {
	d, xs, g, b := at(dst, n), at(x, n), at(gamma, n), at(beta, n)
	for i := range d {
		d[i] = float32(float32((xs[i]-mean)*rstd)*g[i]) + b[i]
	}
}

func laneSumGeneric(x *float32, n int) float64 {
	var l doubleLanes
	for i, v := range at(x, n) {
		l[i%8] += float64(v)
	}
	return l.total()
}

func laneSquaresGeneric(x *float32, n int, mean float64) float64 {
	var l doubleLanes
	for i, v := range at(x, n) {
		e := float64(v) - mean
		l[i%8] += float64(e * e)
	}
	return l.total()
}

func layerNormSumsGeneric(dbeta, dgamma *float64, x, dy, gamma *float32, n int, mean, rstd float32) (float64, float64) {
	var sum, product doubleLanes
	db, dg, dys, gs := at(dbeta, n), at(dgamma, n), at(dy, n), at(gamma, n)
	for i, v := range at(x, n) {
		h, d := float64(float32((v-mean)*rstd)), float64(dys[i])
		db[i] += d
		dg[i] += float64(d * h)
		g := float64(d * float64(gs[i]))
		sum[i%8] += g
		product[i%8] += float64(g * h)
	}
	return sum.total(), product.total()
}

func layerNormGradGeneric(dx, x, dy, gamma *float32, n int, mean, rstd, sum, product float32) {
	d, xs, g, gs := at(dx, n), at(x, n), at(dy, n), at(gamma, n)
	for i := range d {
		h := float32((xs[i] - mean) * rstd)
		d[i] = rstd * (float32(g[i]*gs[i]) - sum - float32(h*product))
	}
}
