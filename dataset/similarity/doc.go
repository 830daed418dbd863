// Package similarity finds pictures that are nearly the same: by two perceptual hashes of 64 bits, which
// survive compression, scaling and small changes, and by feature vectors, which also see colour. It decodes
// nothing and knows no files: pictures come decoded, and vectors of a stronger encoder may take the place of the built-in ones.
//
// Sources: pHash as in Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions (2010); dHash as
// described by Krawetz (2013).
package similarity
