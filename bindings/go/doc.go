// Package openclawauth keeps the credentials of AI-agent gateways: it reads an OpenClaw
// configuration with secret references, resolves every secret that is in use, and decides who may
// use the gateway and as whom.
//
//	engine, err := openclawauth.Open(ctx, openclawauth.Config{})
//	if err != nil {
//		return err
//	}
//	defer engine.Close()
//	http.ListenAndServe("127.0.0.1:18789", engine.Middleware(handler))
//
// An [Engine] and a [Snapshot] may be used by any number of goroutines. Methods that read files or
// run programs take a context; all others return in microseconds.
//
// # Linking
//
// The package is a thin layer over libopenclaw_auth, which ffi/install.sh of the project installs.
// It is found through pkg-config: set PKG_CONFIG_PATH when the library is in an unusual place,
// and LD_LIBRARY_PATH (or an rpath in CGO_LDFLAGS) to run. With the build tag openclaw_auth_static
// and a prefix made by ffi/install.sh --static-only, the library becomes part of the program.
// Without cgo the package compiles, and every call returns [ErrUnsupported].
package openclawauth
