package layer

// ToHWC writes src, channels × pixels as files and noise keys have it, to dst, pixels × channels as the engine has it.
func ToHWC(dst, src []float32, channels int) { transpose(dst, src, channels, len(src)/channels) }

// ToCHW is the inverse of ToHWC.
func ToCHW(dst, src []float32, channels int) { transpose(dst, src, len(src)/channels, channels) }

// transpose writes src [m,n] to dst [n,m].
func transpose(dst, src []float32, m, n int) {
	for i := range m {
		for j, v := range src[i*n : (i+1)*n] {
			dst[j*m+i] = v
		}
	}
}
