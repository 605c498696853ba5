//go:build cgo && !openclaw_auth_static

package openclawauth

// #cgo pkg-config: openclaw_auth
import "C"
