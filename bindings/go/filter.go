package openclawauth

import "strings"

// filter tells which header lines a generation looks at, so that a server copies a handful of
// lines instead of all.
type filter struct {
	generation uint64
	// Folded names by their length.
	names map[int][]string
	// Whether there is a name of that length.
	lengths  [128]bool
	prefixes []string
}

func newFilter(wanted string, generation uint64) *filter {
	f := &filter{generation: generation, names: map[int][]string{}}
	for name := range strings.SplitSeq(wanted, ",") {
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			f.prefixes = append(f.prefixes, prefix)
			continue
		}
		f.names[len(name)] = append(f.names[len(name)], name)
		f.lengths[min(len(name), len(f.lengths)-1)] = true
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
	if !f.lengths[min(len(name), len(f.lengths)-1)] {
		return false
	}
	for _, wanted := range f.names[len(name)] {
		if folds(name, wanted) {
			return true
		}
	}
	return false
}

// folds compares a name with a folded one of the same length.
func folds(name, folded string) bool {
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
