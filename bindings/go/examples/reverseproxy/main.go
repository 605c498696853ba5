// The program reverseproxy lets callers through to the providers of the configuration:
// /proxy/<provider>/... goes to the address given for it, with a leased credential in place of
// whatever the caller sent. Who may call is decided by gateway.auth.
package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"time"

	openclawauth "github.com/openclaw-auth/openclaw-auth/bindings/go"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:18790", "address to listen on")
	upstreams := map[string]*url.URL{}
	flag.Func("provider", "name=https://address, may be repeated", func(text string) error {
		name, address, _ := strings.Cut(text, "=")
		target, err := url.Parse(address)
		upstreams[name] = target
		return err
	})
	flag.Parse()
	engine, err := openclawauth.Open(context.Background(), openclawauth.Config{
		RequireAccess: true,
		Logger:        slog.Default(),
	})
	if err != nil {
		slog.Error("cannot start", "error", err)
		os.Exit(1)
	}
	go reload(engine)
	server := &http.Server{
		Addr:              *listen,
		Handler:           engine.Middleware(proxy(engine, upstreams)),
		ReadHeaderTimeout: 10 * time.Second,
	}
	slog.Error("stopped", "error", server.ListenAndServe())
}

// proxy forwards; the transport puts a credential into each request, and turns to the next one when
// the provider answers with a rate limit.
func proxy(engine *openclawauth.Engine, upstreams map[string]*url.URL) http.Handler {
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Path = "/" + r.In.PathValue("path")
			r.SetURL(upstreams[r.In.PathValue("provider")])
			for _, name := range []string{"Authorization", "Cookie", "X-Api-Key", "X-Goog-Api-Key"} {
				r.Out.Header.Del(name)
			}
		},
		Transport: &openclawauth.Transport{
			Engine: engine,
			RequestFor: func(r *http.Request) openclawauth.LeaseRequest {
				return openclawauth.LeaseRequest{Provider: r.PathValue("provider")}
			},
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			status := http.StatusBadGateway
			if errors.Is(err, openclawauth.ErrAllUnavailable) {
				status = http.StatusTooManyRequests
			}
			http.Error(w, err.Error(), status)
		},
	}
	routes := http.NewServeMux()
	routes.HandleFunc("/proxy/{provider}/{path...}", func(w http.ResponseWriter, r *http.Request) {
		if upstreams[r.PathValue("provider")] == nil {
			http.Error(w, "no such provider", http.StatusNotFound)
			return
		}
		forward.ServeHTTP(w, r)
	})
	return routes
}

// reload follows changes of the files behind the configuration.
func reload(engine *openclawauth.Engine) {
	for range time.Tick(time.Second) {
		if changed, err := engine.FilesChanged(); err == nil && changed {
			// The logger hears of a failure; the last good secrets stay in use.
			_, _ = engine.Reload(context.Background())
		}
	}
}
