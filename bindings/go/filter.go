package openclawauth

import (
	"maps"
	"strings"
	"sync/atomic"
)

// filter tells which header lines a generation looks at, so that a server copies a handful of
// lines instead of all.
type filter struct {
	generation uint64
	names      map[string]bool
	prefixes   []string
	// Names as received, and whether they are wanted. Replaced as a whole, read without a lock.
	known atomic.Pointer[map[string]bool]
}

// Most names to remember; a client that sends others only loses the speed.
const mostNames = 1000

func newFilter(wanted string, generation uint64) *filter {
	f := &filter{generation: generation, names: map[string]bool{}}
	for name := range strings.SplitSeq(wanted, ",") {
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			f.prefixes = append(f.prefixes, prefix)
		} else {
			f.names[name] = true
		}
	}
	f.known.Store(&map[string]bool{})
	return f
}

// wants reports whether lines with this name must be passed.
func (f *filter) wants(name string) bool {
	known := *f.known.Load()
	if wanted, ok := known[name]; ok {
		return wanted
	}
	wanted := f.matches(fold(name))
	if len(known) < mostNames {
		next := maps.Clone(known)
		next[strings.Clone(name)] = wanted
		f.known.Store(&next)
	}
	return wanted
}

func (f *filter) matches(folded string) bool {
	if f.names[folded] {
		return true
	}
	for _, prefix := range f.prefixes {
		if strings.HasPrefix(folded, prefix) {
			return true
		}
	}
	return false
}

// fold makes look-alikes one: letters in lower case, whatever is neither letter nor digit as "-".
func fold(name string) string {
	folded := []byte(name)
	for i, c := range folded {
		switch {
		case c >= 'A' && c <= 'Z':
			folded[i] = c + 'a' - 'A'
		case (c < 'a' || c > 'z') && (c < '0' || c > '9'):
			folded[i] = '-'
		}
	}
	return string(folded)
}
