//go:build !cgo

package openclawauth

// Without cgo the package compiles, for editors and vet, and does nothing.

type (
	engineHandle   struct{}
	snapshotHandle struct{}
	leaseHandle    struct{}
	flowHandle     struct{}
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

func callEngine(*engineHandle, engineCall, ...string) (string, error) { return "", ErrUnsupported }
func eligibility(*engineHandle, string, string, string) (string, error) {
	return "", ErrUnsupported
}
func statusCheck(*engineHandle, string, uint64) (int, error) { return 0, ErrUnsupported }
func flush(*engineHandle) (bool, error)                      { return false, ErrUnsupported }
func oauthToken(*engineHandle, string, string, int64, bool) (string, error) {
	return "", ErrUnsupported
}
func acquireLease(*engineHandle, *LeaseRequest) (*leaseHandle, error) { return nil, ErrUnsupported }
func freeLease(*leaseHandle)                                          {}
func readLease(*leaseHandle) Credential                               { return Credential{} }
func leaseDocument(*leaseHandle, bool) (string, error)                { return "", ErrUnsupported }
func reportLease(*leaseHandle, *Outcome) (Verdict, error)             { return Verdict{}, ErrUnsupported }
func classify(*engineHandle, string, string, *Outcome) (string, error) {
	return "", ErrUnsupported
}
func beginFlow(*engineHandle, string, string) (*flowHandle, error) { return nil, ErrUnsupported }
func freeFlow(*flowHandle)                                         {}
func flowTexts(*flowHandle) (string, string)                       { return "", "" }
func callFlow(*flowHandle, flowCall, string, uint64) (string, error) {
	return "", ErrUnsupported
}
