package objective

// Safeguard returns the factor λ in [0, 1] by which to scale the loser's gradient so that, to first order, the winner's
// error w cannot rise. With the errors e_w and e_l of the two predictions, product = mean(e_w·e_l) and their gradients
// compared where the network puts out its predictions:
//
//	GradW·mean(e_w²) + λ·GradL·mean(e_w·e_l) ≥ 0
//
// The loser's gradient is left alone, λ = 1, where it does not work against the winner. Source: Fu et al.,
// arXiv:2511.03317, the closed form with μ = 0, here for each pair.
func (p Pair) Safeguard(w, product float64) float64 {
	gain, harm := p.GradW*w, -p.GradL*product
	if harm <= gain {
		return 1
	}
	return max(0, gain/harm)
}
