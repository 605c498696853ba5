package openclawauth

import "strings"

// filter tells which header lines a generation looks at, so that a server copies a handful of
// lines instead of all.
type filter struct {
	generation uint64
	// Folded names by their length; the last place is for all that are longer.
	names [64][]string
	// The last bytes of the names of a length, one bit for each; most names fail here.
	lasts    [64]uint64
	prefixes []string
}

func newFilter(wanted string, generation uint64) *filter {
	f := &filter{generation: generation}
	for name := range strings.SplitSeq(wanted, ",") {
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			f.prefixes = append(f.prefixes, prefix)
			continue
		}
		place := min(len(name), len(f.names)-1)
		f.names[place] = append(f.names[place], name)
		f.lasts[place] |= lastBit(name)
	}
	return f
}

// wants reports whether lines with this name must be passed.
func (f *filter) wants(name string) bool {
	for _, prefix := range f.prefixes {
		if len(name) >= len(prefix) && folds(name[:len(prefix)], prefix) {
			return true
		}
	}
	place := min(len(name), len(f.names)-1)
	if f.lasts[place]&lastBit(name) == 0 {
		return false
	}
	for _, wanted := range f.names[place] {
		if len(name) == len(wanted) && folds(name, wanted) {
			return true
		}
	}
	return false
}

// lastBit is one of 64 bits for the folded last byte of a name.
func lastBit(name string) uint64 {
	if name == "" {
		return 1
	}
	return 1 << (fold[name[len(name)-1]] & 63)
}

// folds compares a name with a folded one of the same length. Names of one length often begin alike,
// so the last byte tells them apart first.
func folds(name, folded string) bool {
	if last := len(name) - 1; last >= 0 && fold[name[last]] != folded[last] {
		return false
	}
	for i := range len(name) {
		if fold[name[i]] != folded[i] {
			return false
		}
	}
	return true
}

// fold makes look-alikes one: letters in lower case, "-" for whatever is neither letter nor digit.
var fold = func() (table [256]byte) {
	for i := range table {
		c := byte(i)
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case (c < 'a' || c > 'z') && (c < '0' || c > '9'):
			c = '-'
		}
		table[i] = c
	}
	return table
}()
