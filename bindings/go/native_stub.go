//go:build !cgo

package openclawauth

// Without cgo the package compiles, for editors and vet, and does nothing.

type (
	engineHandle   struct{}
	snapshotHandle struct{}
)

func openEngine(*Config) (*engineHandle, error)                 { return nil, ErrUnsupported }
func freeEngine(*engineHandle)                                  {}
func reloadEngine(*engineHandle) (string, error)                { return "", ErrUnsupported }
func generationOf(*engineHandle) uint64                         { return 0 }
func isDegraded(*engineHandle) bool                             { return true }
func filesChanged(*engineHandle) (bool, error)                  { return false, ErrUnsupported }
func nextEvent(*engineHandle) (string, bool, error)             { return "", false, ErrUnsupported }
func snapshotOf(*engineHandle) *snapshotHandle                  { return nil }
func freeSnapshot(*snapshotHandle)                              {}
func snapshotGeneration(*snapshotHandle) uint64                 { return 0 }
func secretAt(*snapshotHandle, string) (string, error)          { return "", ErrUnsupported }
func secretByRef(*snapshotHandle, string) (string, error)       { return "", ErrUnsupported }
func diagnosticsOf(*snapshotHandle) (string, error)             { return "", ErrUnsupported }
func wantedHeaders(*engineHandle) (string, uint64)              { return "", 0 }
func authorizePacked(_ *engineHandle, _ *packer, out *Decision) { *out = refusal }
func authorizeNothing(_ *engineHandle, out *Decision)           { *out = refusal }
