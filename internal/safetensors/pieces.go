package safetensors

import (
	"fmt"
	"runtime/debug"
)

// holds returns an error unless the tensor has so many elements.
func (i Info) holds(file string, elements int) error {
	if elements != i.Elements() {
		return fmt.Errorf("%s: tensor %q has shape %v, %d elements were asked for", file, i.Name, i.Shape, elements)
	}
	return nil
}

// each calls visit with n of the tensor's elements, from first on, in pieces of whole elements, and with how many came
// before. Of a mapped file the pieces lie in the mapping, and their pages leave the process when all were visited: a
// model that is loaded tensor by tensor is never in memory twice.
func (f *File) each(info Info, first, n int, visit func(i int, src []byte) error) error {
	if first < 0 || n < 0 || first > info.Elements()-n {
		return fmt.Errorf("%s: tensor %q has shape %v, %d elements from %d on were asked for", f.name, info.Name, info.Shape, n, first)
	}
	size := info.DType.Size()
	at := f.base + info.Begin + int64(first)*int64(size)
	if f.mapped != nil {
		return f.visitMapped(f.mapped, at, n, size, visit)
	}
	buf := make([]byte, min(chunkBytes, n*size))
	return pieces(n, size, func(i, bytes int) error {
		if err := readAt(f.name, f.r, buf[:bytes], at+int64(i*size)); err != nil {
			return err
		}
		return visit(i, buf[:bytes])
	})
}

// pieces calls visit for n elements, with the first one and the bytes of each piece.
func pieces(n, size int, visit func(i, bytes int) error) error {
	for i := 0; i < n; i += chunkBytes / size {
		if err := visit(i, size*min(chunkBytes/size, n-i)); err != nil {
			return err
		}
	}
	return nil
}

// visitMapped is each within the mapping. A file that is cut off while it is mapped faults where a read would return an
// error; the fault is made one.
func (f *File) visitMapped(mapped []byte, at int64, n, size int, visit func(i int, src []byte) error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		p := recover()
		if fault, ok := p.(interface{ Addr() uintptr }); ok {
			err = fmt.Errorf("read %s: the file changed while it was read (fault at %#x); keep it unchanged and load it again", f.name, fault.Addr())
		} else if p != nil {
			panic(p)
		}
	}()
	defer dropPages(mapped, int(at), n*size)
	return pieces(n, size, func(i, bytes int) error {
		from := int(at) + i*size
		return visit(i, mapped[from:from+bytes:from+bytes])
	})
}
