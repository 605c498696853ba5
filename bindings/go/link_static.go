//go:build cgo && openclaw_auth_static

package openclawauth

// #cgo pkg-config: --static openclaw_auth
// #cgo CFLAGS: -DOCA_STATIC
import "C"
