package compile

import (
	"yohaku/model/backend"
	"yohaku/model/op"
)

// unwrap is the operator within a fused one.
func unwrap(d op.Def) op.Def {
	if a, ok := d.(backend.Accumulate); ok {
		return a.Product
	}
	return d
}

// fuse is not there yet.
func fuse(*program) {}
